//! Indexes that refuse to answer, and what publishers state: it is compared with what comes, and
//! nothing replaces it in silence.

use std::path::Path;

use crate::support::{Behaviour, Index, Sandbox, Sdist, Wheel, sha256, tree};

const PAGE: &str = "/simple/alpha/";
const METADATA: &str = "/files/alpha-1.0-py3-none-any.whl.metadata";

/// An index with one version of alpha.
fn with_alpha(version: &str) -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", version));
    index
}

fn refuse(index: &Index, status: u16) {
    index.always(PAGE, Behaviour::Status(status, Vec::new()));
}

#[test]
fn an_index_that_refuses_to_answer_is_not_passed_over() {
    for status in [401, 403] {
        for strategy in ["best-match", "first-index", "first-match"] {
            let (private, public) = (Index::start(), with_alpha("99.0"));
            refuse(&private, status);
            let url = private.url_for("user", "expired");
            let sandbox = Sandbox::new();
            let options = ["--index-strategy", strategy, "--extra-index-url", &url];
            let code = status.to_string();
            let run = sandbox.build(&public, &[&options[..], &["alpha"]].concat());
            run.assert_exit(4).assert_error_names(&[
                "`alpha`",
                &private.url().replace("//", "//****@"),
                &code,
                "--ignore-error-codes",
            ]);
            assert!(!run.stderr.contains("expired"), "{}", run.stderr);
            assert!(!sandbox.out().exists(), "a failed run left an output");
            let ignored = ["--ignore-error-codes", &code, "alpha"];
            let run = sandbox.build(&public, &[&options[..], &ignored].concat());
            run.assert_success();
            assert_eq!(
                tree::wheels(&sandbox.out()),
                ["alpha-99.0-py3-none-any.whl"]
            );
        }
    }
}

#[test]
fn the_main_index_may_not_refuse_either() {
    for status in [401, 403] {
        let (private, public) = (Index::start(), with_alpha("99.0"));
        refuse(&private, status);
        let run = Sandbox::new().build(&private, &["--extra-index-url", &public.url(), "alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["`alpha`", &private.url(), &status.to_string()]);
    }
}

#[test]
fn a_refusal_counts_for_what_packages_and_builds_require() {
    let (private, public) = (Index::start(), with_alpha("99.0"));
    refuse(&private, 403);
    public.add(&Wheel::new("beta", "1.0").requires("alpha"));
    public.add_sdist(&Sdist::new("gamma", "1.0").requires("alpha"));
    for (package, code) in [("beta", 4), ("gamma", 5)] {
        let run = Sandbox::new().build(&public, &["--extra-index-url", &private.url(), package]);
        run.assert_exit(code)
            .assert_error_names(&["`alpha`", &private.url(), "403"]);
    }
}

#[test]
fn an_index_that_shows_another_page_is_not_passed_over() {
    let login = "<!DOCTYPE html><p>Please sign in</p>";
    let form = "<form><input type='password'></form>";
    for (page, cause) in [
        ("", "an empty page"),
        (login, "a login page"),
        (form, "a login page"),
        ("<!DOCTYPE html><p>Welcome</p>", "another page"),
    ] {
        let (private, public) = (Index::start(), with_alpha("99.0"));
        if cause == "another page" {
            let home = vec![("Location", private.url())];
            private.always(PAGE, Behaviour::Status(302, home));
            private.always("/simple/", Behaviour::Body("text/html", page.into()));
        } else {
            private.always(PAGE, Behaviour::Body("text/html", page.into()));
        }
        for strategy in ["best-match", "first-index", "first-match"] {
            let extra = ["--extra-index-url", &private.url()];
            let run = Sandbox::new().build(
                &public,
                &[&extra[..], &["--index-strategy", strategy, "alpha"]].concat(),
            );
            run.assert_exit(4)
                .assert_error_names(&["`alpha`", &private.url(), cause]);
        }
    }
    // It has no files, and says so.
    let (private, public) = (Index::start(), with_alpha("99.0"));
    let page = "<!DOCTYPE html><h1>Links for alpha</h1>";
    private.always(PAGE, Behaviour::Body("text/html", page.into()));
    let run = Sandbox::new().build(&public, &["--extra-index-url", &private.url(), "alpha"]);
    run.assert_success();
}

#[test]
fn an_index_may_refuse_what_is_not_needed() {
    let (private, public) = (Index::start(), with_alpha("1.0"));
    private.always("/simple/beta/", Behaviour::Status(403, Vec::new()));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&public, &["--extra-index-url", &private.url(), "alpha"]);
    run.assert_success();
}

#[test]
fn the_first_index_that_has_a_package_is_asked_alone() {
    let (private, public) = (with_alpha("1.0"), with_alpha("99.0"));
    let sandbox = Sandbox::new();
    let extra = ["--extra-index-url", &private.url(), "alpha"];
    let first = [&extra[..], &["--index-strategy", "first-index"]].concat();
    sandbox.build(&public, &first).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
    assert!(public.requests(PAGE).is_empty());
    let sandbox = Sandbox::new();
    sandbox.build(&public, &extra).assert_success();
    assert_eq!(
        tree::wheels(&sandbox.out()),
        ["alpha-99.0-py3-none-any.whl"]
    );
}

#[test]
fn metadata_with_another_digest_is_refused() {
    for html in [false, true] {
        let index = with_alpha("1.0");
        if html {
            index.only_html();
        }
        index.claim_metadata_digest("alpha-1.0-py3-none-any.whl", &"0".repeat(64));
        let sandbox = Sandbox::new();
        sandbox
            .build(&index, &["alpha"])
            .assert_exit(4)
            .assert_error_names(&[
                "alpha-1.0-py3-none-any.whl.metadata",
                "SHA-256",
                &"0".repeat(64),
            ]);
        assert!(!sandbox.out().exists(), "a failed run left an output");
    }
}

#[test]
fn the_digest_of_metadata_is_known_when_the_page_comes_from_the_cache() {
    let index = with_alpha("1.0");
    let right = Wheel::new("alpha", "1.0").metadata_text().into_bytes();
    let wrong = Wheel::new("alpha", "1.0").requires("evil").metadata_text();
    let sandbox = Sandbox::new();
    // The page is cached, and nothing else comes.
    index.always(METADATA, Behaviour::Status(404, Vec::new()));
    index.always(
        "/files/alpha-1.0-py3-none-any.whl",
        Behaviour::Status(404, Vec::new()),
    );
    sandbox.build(&index, &["alpha"]).assert_exit(4);
    index.always(METADATA, Behaviour::Body("text/plain", wrong.into_bytes()));
    sandbox
        .build(&index, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl.metadata", "SHA-256"]);
    index.always(METADATA, Behaviour::Body("text/plain", right));
    index.always("/files/alpha-1.0-py3-none-any.whl", Behaviour::Normal);
    sandbox.build(&index, &["alpha"]).assert_success();
}

/// Writes a wheel in which one byte of a file is changed, to `name` below `sandbox`.
fn spoiled(sandbox: &Sandbox, name: &str) {
    let wheel = Wheel::new("alpha", "1.0").record("alpha.py,sha256=AAAA,16\n");
    let path = sandbox.write(name, "");
    std::fs::write(path, wheel.bytes()).unwrap();
}

#[test]
fn a_damaged_wheel_without_a_digest_is_refused() {
    let index = Index::start();
    let by_path = ["./alpha-1.0-py3-none-any.whl"];
    let by_place = ["--no-index", "--find-links", ".", "alpha"];
    for arguments in [&by_path[..], &by_place] {
        let sandbox = Sandbox::new();
        spoiled(&sandbox, "alpha-1.0-py3-none-any.whl");
        sandbox
            .build(&index, arguments)
            .assert_exit(4)
            .assert_error_names(&[
                "alpha-1.0-py3-none-any.whl is damaged",
                "alpha.py",
                "RECORD",
            ]);
    }
    let unvouched = Index::start();
    let wheel = Wheel::new("alpha", "1.0").record("alpha.py,sha256=AAAA,16\n");
    unvouched.add(&wheel);
    unvouched.claim_digest(&wheel.filename(), "");
    Sandbox::new()
        .build(&unvouched, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl is damaged"]);
}

#[test]
fn a_wheel_whose_scripts_lead_out_is_refused() {
    let scripts = "[console_scripts]\n../evil = alpha:f\n";
    let wheel = Wheel::new("alpha", "1.0").file("alpha-1.0.dist-info/entry_points.txt", scripts);
    let index = Index::start();
    index.add(&wheel);
    Sandbox::new()
        .build(&index, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "../evil"]);
}

/// The lock of a wheelhouse, with another place and other bytes for the file that it names.
fn tampered(lock: &str, bytes: &[u8], replacement: &[u8], url: &str) -> String {
    let lines = lock.lines().map(|line| match line.split_once(" = ") {
        Some(("url", _)) => format!("url = \"{url}\""),
        Some(("size", _)) => format!("size = {}", replacement.len()),
        _ => line.replace(&sha256(bytes), &sha256(replacement)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_lock_of_an_output_does_not_say_where_files_come_from() {
    let (index, foreign) = (Index::start(), Index::start());
    let honest = Sdist::new("alpha", "1.0");
    let hostile = Sdist::new("alpha", "1.0").script("open('/ran', 'w')");
    index.add_sdist(&honest);
    foreign.add_sdist(&hostile);
    let sandbox = Sandbox::new();
    let local = sandbox.path(&hostile.filename());
    std::fs::write(&local, hostile.bytes()).unwrap();
    let local = url::Url::from_file_path(local).unwrap();
    for url in [foreign.file_url(&hostile.filename()), local.to_string()] {
        sandbox.build(&index, &["alpha"]).assert_success();
        let path = sandbox.out().join("pylock.toml");
        let before = std::fs::read_to_string(&path).unwrap();
        let lock = tampered(&before, &honest.bytes(), &hostile.bytes(), &url);
        assert_ne!(lock, before);
        // A checkout has the lock alone.
        std::fs::remove_dir_all(sandbox.out()).unwrap();
        std::fs::create_dir(sandbox.out()).unwrap();
        std::fs::write(&path, lock).unwrap();
        let run = sandbox.build(&index, &["alpha"]);
        run.assert_success();
        assert!(
            run.stderr
                .contains("pylock.toml was not written with this cache"),
            "{}",
            run.stderr
        );
        let after = std::fs::read_to_string(&path).unwrap();
        assert_eq!(after, before);
        assert!(foreign.requests(&hostile.filename()).is_empty());
    }
}

#[test]
fn the_versions_of_an_unknown_lock_are_preferred() {
    let (index, sandbox) = (with_alpha("1.0"), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    index.add(&Wheel::new("alpha", "2.0"));
    std::fs::remove_dir_all(sandbox.cache()).unwrap();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn a_page_does_not_lead_to_files_of_this_machine() {
    let sandbox = Sandbox::new();
    let hostile = Sdist::new("alpha", "2.0").script("open('/ran', 'w')");
    let local = sandbox.path(&hostile.filename());
    std::fs::write(&local, hostile.bytes()).unwrap();
    let directory = url::Url::from_directory_path(local.parent().unwrap()).unwrap();
    let (name, honest) = (hostile.filename(), "alpha-1.0-py3-none-any.whl");
    let entry = |file: &str, url: &str| {
        format!(r#"{{"filename": "{file}", "url": "{url}", "hashes": {{}}}}"#)
    };
    let json = |url: &str| {
        let files = [
            entry(&name, url),
            entry(honest, &format!("/files/{honest}")),
        ];
        format!(
            r#"{{"meta": {{"api-version": "1.0"}}, "files": [{}]}}"#,
            files.join(", ")
        )
    };
    let html =
        |url: &str| format!("<a href='/files/{honest}'>{honest}</a><a href='{url}'>{name}</a>");
    let (html_type, json_type) = ("text/html", "application/vnd.pypi.simple.v1+json");
    for (content_type, body) in [
        (json_type, json(&format!("{directory}{name}"))),
        (
            json_type,
            json(&format!("{directory}{name}").replacen('f', "\\u0066", 1)),
        ),
        (
            json_type,
            json(&format!("{directory}{name}").replacen("file:", "FILE:", 1)),
        ),
        (html_type, html(&format!("{directory}{name}"))),
        (
            html_type,
            html(&format!("{directory}{name}").replacen('f', "&#102;", 1)),
        ),
        (
            html_type,
            format!("<base href='{directory}'><a href='{name}'>{name}</a>"),
        ),
    ] {
        let index = with_alpha("1.0");
        index.always(
            PAGE,
            Behaviour::Body(content_type, body.clone().into_bytes()),
        );
        let run = sandbox.build(&index, &["alpha==2.0", "--upgrade"]);
        run.assert_exit(3)
            .assert_error_names(&[&name, "leads to a file of this machine"]);
        if content_type == html_type {
            let page = index.url().replace("/simple/", PAGE);
            let links = ["--no-index", "--find-links", &page];
            let links = |wanted| [&links[..], &[wanted]].concat();
            sandbox
                .build(&index, &links("alpha==2.0"))
                .assert_exit(3)
                .assert_error_names(&[&name, "leads to a file of this machine"]);
        }
        if body.contains("/files/") {
            sandbox
                .build(&index, &["alpha", "--upgrade"])
                .assert_success();
            assert_eq!(tree::wheels(&sandbox.out()), [honest]);
        }
    }
}

#[test]
fn a_package_of_an_index_does_not_require_files_of_this_machine() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let hostile = Sdist::new("delta", "1.0").script("open('/ran', 'w')");
    let local = sandbox.path(&hostile.filename());
    std::fs::write(&local, hostile.bytes()).unwrap();
    let tree = sandbox.path("tree");
    sandbox.write("tree/setup.py", "open('/ran', 'w')");
    for path in [local, tree] {
        let url = url::Url::from_file_path(path).unwrap();
        let requirement = format!("delta @ {url}");
        index.add(&Wheel::new("alpha", "1.0").requires(&requirement));
        sandbox
            .build(&index, &["alpha", "--upgrade"])
            .assert_exit(4)
            .assert_error_names(&["delta"]);
        assert!(!Path::new("/ran").exists());
    }
}
