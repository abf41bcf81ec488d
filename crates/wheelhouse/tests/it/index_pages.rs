//! Index pages: malformed entries, responses that are not index pages, mislabeled files.

use crate::support::{Behavior, Index, RunResult, Sandbox, Sdist, Wheel, sha256, tree};

const PAGE: &str = "/simple/alpha/";
const ALPHA: &str = "alpha-1.0-py3-none-any.whl";

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    index
}

fn set_page(index: &Index, content_type: &'static str, body: &str) {
    index.always(PAGE, Behavior::Body(content_type, body.as_bytes().to_vec()));
}

#[track_caller]
fn assert_builds_alpha(index: &Index, arguments: &[&str]) -> RunResult {
    let sandbox = Sandbox::new();
    let run = sandbox.build(index, &[&["alpha"], arguments].concat());
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    run
}

#[test]
fn skips_malformed_link_but_reads_page() {
    let index = index();
    let digest = "0".repeat(40);
    for odd in [
        "href='/files/alpha-0.9.tar.gz#egg=alpha-0.9'".to_owned(),
        "href='/files/alpha-0.9.tar.gz#egg=alpha&sha1=0'".to_owned(),
        format!("href='/files/alpha-0.9.tar.gz#sha1={digest}'"),
        format!("href='/files/alpha-0.9.tar.gz#MD5={}'", "A".repeat(32)),
        "href='/files/alpha-0.9.tar.gz#sha9=1'".to_owned(),
        "href='http://[/alpha-0.9.tar.gz#sha9=1'".to_owned(),
        "href='/files/%ff.tar.gz'".to_owned(),
        "href='/files/alpha-2.0.tar.gz#sha9=1' data-requires-python='new'".to_owned(),
    ] {
        let html = format!("<a {odd}>odd</a><a href='/files/{ALPHA}'>{ALPHA}</a>");
        set_page(&index, "text/html", &html);
        assert_builds_alpha(&index, &[]);
    }
}

#[test]
fn skips_entry_with_invalid_field_but_reads_page() {
    let index = index();
    for odd in [
        r#"{"size": null}"#,
        r#"{"yanked": null}"#,
        r#"{"hashes": null}"#,
        r#"{"upload-time": "yesterday"}"#,
        r#"{"filename": null}"#,
        r#"{"url": null}"#,
        r#"{"core-metadata": "no"}"#,
        r#"{"requires-python": 3}"#,
    ] {
        let mut file = serde_json::json!({
            "filename": "alpha-0.9.tar.gz", "url": "/files/alpha-0.9.tar.gz", "hashes": {},
        });
        let odd: serde_json::Value = serde_json::from_str(odd).unwrap();
        for (name, value) in odd.as_object().unwrap() {
            file[name] = value.clone();
        }
        let good = serde_json::json!({
            "filename": ALPHA, "url": format!("/files/{ALPHA}"), "hashes": {},
        });
        let json = serde_json::json!({"files": [file, good, 1]});
        set_page(
            &index,
            "application/vnd.pypi.simple.v1+json",
            &json.to_string(),
        );
        assert_builds_alpha(&index, &[]);
    }
}

/// uv ignores SHA-1 digests.
#[test]
fn checks_sha1_digest() {
    let index = index();
    let link = format!("<a href='/files/{ALPHA}#sha1={}'>a</a>", "0".repeat(40));
    set_page(&index, "text/html", &link);
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4).assert_error_names(&[ALPHA]);
}

#[test]
fn error_states_why_file_was_skipped() {
    let index = index();
    let link = format!("<a href='/files/{ALPHA}#sha256=12'>a</a>");
    set_page(
        &index,
        "text/html; charset=utf-8",
        &format!("{link}<a href='x.zip#sha9=1'>b</a>"),
    );
    let run = Sandbox::new().build(&index, &["alpha"]);
    assert!(
        run.stderr.contains("its sha256 is not a digest"),
        "{}",
        run.stderr
    );
}

#[test]
fn error_names_file_with_invalid_requires_python() {
    let index = index();
    let link = format!("<a href='/files/{ALPHA}' data-requires-python='&gt;&gt;3'>a</a>");
    set_page(&index, "text/html", &link);
    let sandbox = Sandbox::new();
    let links = format!("{}alpha/", index.url());
    for arguments in [
        &["alpha"][..],
        &["alpha", "--no-index", "--find-links", &links],
    ] {
        let run = sandbox.build(&index, arguments);
        run.assert_exit(3)
            .assert_error_names(&[ALPHA, "was skipped", "`>>3`"]);
    }
}

#[test]
fn reads_malformed_local_page_like_remote_page() {
    let sandbox = Sandbox::new();
    let wheel = Wheel::new("alpha", "1.0");
    let build = |more: &[&str]| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(["build", "alpha", "-o", "out", "--no-cache"]);
        command.args(more);
        sandbox.spawn(command).finish()
    };
    let directory = sandbox.path("files");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join(ALPHA), wheel.bytes()).unwrap();
    let url = format!("file://{}", sandbox.path("simple").display());
    let page = format!("{url}/alpha/index.html");
    let good = format!("<a href='../../files/{ALPHA}'>a</a>");
    let unreadable = good.replace("<a ", "<a data-requires-python='>>3' ");
    for odd in [
        "<a href='../../files/alpha-0.9.tar.gz#egg=alpha-0.9'>odd</a>",
        "<a href='../../files/alpha-0.8.tar.gz#sha9=1'>odd</a>",
    ] {
        sandbox.write("simple/alpha/index.html", &format!("{odd}{good}"));
        for place in [
            &["--index-url", &url][..],
            &["--no-index", "--find-links", &page],
        ] {
            let _ = std::fs::remove_dir_all(sandbox.out());
            build(place).assert_success();
            assert_eq!(tree::wheels(&sandbox.out()), [ALPHA], "{place:?}");
        }
    }
    for page in [
        unreadable.clone(),
        format!("<a href='x.zip#sha9=1'></a>{unreadable}"),
    ] {
        sandbox.write("simple/alpha/index.html", &page);
        build(&["--index-url", &url])
            .assert_exit(3)
            .assert_error_names(&[ALPHA, "`>>3`"]);
    }
}

#[test]
fn treats_response_that_is_not_a_page_as_not_found() {
    let (index, other) = (index(), Index::start());
    let extra = other.url();
    for odd in [
        Behavior::Body("text/plain", b"no such package".to_vec()),
        Behavior::Body("application/json", b"{}".to_vec()),
        Behavior::Status(410, Vec::new()),
        Behavior::Status(404, Vec::new()),
    ] {
        other.always(PAGE, odd.clone());
        let run = assert_builds_alpha(&index, &["--extra-index-url", &extra]);
        let is_told = run.stderr.contains(&extra);
        assert_eq!(
            is_told,
            !matches!(odd, Behavior::Status(404, _)),
            "{}",
            run.stderr
        );
    }
    // A busy index is an error, not a missing package.
    other.always(PAGE, Behavior::Status(503, Vec::new()));
    let arguments = ["alpha", "--extra-index-url", &extra, "--retries", "0"];
    Sandbox::new().build(&index, &arguments).assert_exit(4);
    // Without another index, the error names the response.
    set_page(&index, "text/plain", "hello");
    let run = Sandbox::new().build(&index, &["alpha"]);
    assert!(run.stderr.contains("text/plain"), "{}", run.stderr);
}

#[test]
fn skips_wheels_of_other_packages() {
    let wheel = Wheel::new("aplha", "2.0");
    let (name, digest) = (wheel.filename(), sha256(&wheel.bytes()));
    let foreign = format!("<a href='/files/{name}#sha256={digest}'>{name}</a>");
    let entry =
        |name: &str| format!(r#"{{"filename": "{name}", "url": "/files/{name}", "hashes": {{}}}}"#);
    let html = format!("<!DOCTYPE html><a href='/files/{ALPHA}'>{ALPHA}</a>{foreign}");
    let json = format!(
        r#"{{"meta": {{"api-version": "1.0"}}, "files": [{}, {}]}}"#,
        entry(ALPHA),
        entry(&name)
    );
    for (content_type, body) in [
        ("text/html", &html),
        ("application/vnd.pypi.simple.v1+json", &json),
    ] {
        let index = index();
        index.add(&wheel);
        set_page(&index, content_type, body);
        assert_builds_alpha(&index, &[]);
        // A page without any file of the package is not its page, and a cached one is not either.
        set_page(&index, content_type, &body.replace(ALPHA, &name));
        let sandbox = Sandbox::new();
        for _ in 0..2 {
            sandbox
                .build(&index, &["alpha"])
                .assert_exit(4)
                .assert_error_names(&["`alpha`", &name, "another package"]);
        }
        // The URL of a page that was redirected need not name the package.
        let moved = Behavior::Body(content_type, body.as_bytes().to_vec());
        index.always("/pages/7/", moved);
        let target = vec![("Location", "/pages/7/".to_owned())];
        index.always(PAGE, Behavior::Status(302, target));
        assert_builds_alpha(&index, &[]);
        sandbox.write("simple/alpha/index.html", &html.replace("/files/", ""));
        let file = sandbox.path("simple/alpha").join(ALPHA);
        std::fs::write(file, Wheel::new("alpha", "1.0").bytes()).unwrap();
        let local = format!("file://{}", sandbox.path("simple").display());
        sandbox
            .build(&index, &["alpha", "--index-url", &local])
            .assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [ALPHA]);
    }
}

#[test]
fn error_names_available_versions_and_index() {
    let index = index();
    index.add(&Wheel::new("alpha", "1.1"));
    let run = Sandbox::new().build(&index, &["alpha==2.0"]);
    assert!(
        run.stderr.contains("The versions of alpha are 1.1, 1.0."),
        "{}",
        run.stderr
    );
    let run = Sandbox::new().build(&index, &["beta"]);
    assert!(
        run.stderr.contains("The queried index is http://"),
        "{}",
        run.stderr
    );
}

#[test]
fn ignores_content_encoding_of_files() {
    let (index, sdist) = (index(), Sdist::new("beta", "1.0"));
    index.add_sdist(&sdist);
    for name in [sdist.filename(), ALPHA.to_owned()] {
        index.always(
            &format!("/files/{name}"),
            Behavior::Header("Content-Encoding", "gzip"),
        );
    }
    let url = index.file_url(&sdist.filename());
    for requirement in ["beta", &url, &format!("beta @ {url}")] {
        let sandbox = Sandbox::new();
        sandbox.build(&index, &[requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
    }
    assert_builds_alpha(&index, &[]);
}

#[test]
fn accepts_archive_url_without_extension() {
    let (index, sdist) = (Index::start(), Sdist::new("beta", "1.0"));
    index.always(
        "/files/v1",
        Behavior::Body("application/x-gzip", sdist.bytes()),
    );
    let found = vec![("Location", index.file_url("v1"))];
    index.always("/download?id=5", Behavior::Status(302, found));
    let url = index.file_url("v1");
    let download = index.url().replace("simple/", "download?id=5");
    for requirement in [&format!("beta @ {url}"), &url, &download] {
        let sandbox = Sandbox::new();
        sandbox.build(&index, &[requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
        index.forget_requests();
        sandbox
            .build(&index, &[requirement, "--frozen"])
            .assert_success();
        assert!(index.requests("v1").is_empty());
    }
}

#[test]
fn package_of_private_index_may_require_url() {
    let index = index();
    let url = index.file_url(ALPHA);
    index.add(&Wheel::new("beta", "1.0").requires(&format!("alpha @ {url}")));
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["beta"]).assert_success();
    assert_eq!(
        tree::wheels(&sandbox.out()),
        [ALPHA, "beta-1.0-py3-none-any.whl"]
    );
}

#[test]
fn fetches_wheel_once() {
    let index = index();
    index.without_metadata();
    index.always(&format!("/files/{ALPHA}"), Behavior::WithoutRanges);
    assert_builds_alpha(&index, &[]);
    let requests = index.requests(ALPHA);
    let fetched = requests.iter().filter(|request| request.method == "GET");
    assert_eq!(fetched.count(), 1, "{requests:?}");
}

#[test]
fn skips_wheel_with_metadata_of_another_version() {
    let index = index();
    let metadata = "Metadata-Version: 2.1\nName: alpha\nVersion: 2.0\n";
    index.add(&Wheel::new("alpha", "3.0").metadata(metadata));
    assert_builds_alpha(&index, &[]);
    let run = Sandbox::new().build(&index, &["alpha==3.0"]);
    run.assert_exit(3);
    assert!(run.stderr.contains("alpha==2.0"), "{}", run.stderr);
}

#[test]
fn exclude_newer_does_not_apply_to_file_index() {
    let (index, sandbox, wheel) = (index(), Sandbox::new(), Wheel::new("beta", "1.0"));
    let name = wheel.filename();
    sandbox.write(
        "simple/beta/index.html",
        &format!("<a href='{name}#sha256={}'>b</a>", sha256(&wheel.bytes())),
    );
    std::fs::write(sandbox.path("simple/beta").join(&name), wheel.bytes()).unwrap();
    let local = format!("file://{}", sandbox.path("simple").display());
    let arguments = [
        "beta",
        "--extra-index-url",
        &local,
        "--exclude-newer",
        "2020-01-01",
    ];
    sandbox.build(&index, &arguments).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [name]);
}
