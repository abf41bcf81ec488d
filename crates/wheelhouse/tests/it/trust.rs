//! Dependency confusion and tampering: indexes that reject requests, and files, metadata and locks that differ from
//! what was published.

use std::path::Path;

use crate::support::{Behavior, Index, Sandbox, Sdist, Wheel, sha256, tree};

const PAGE: &str = "/simple/alpha/";
const METADATA: &str = "/files/alpha-1.0-py3-none-any.whl.metadata";

/// Returns an index with one version of `alpha`.
fn with_alpha(version: &str) -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", version));
    index
}

fn refuse(index: &Index, status: u16) {
    index.always(PAGE, Behavior::Status(status, Vec::new()));
}

#[test]
fn rejected_credentials_of_extra_index_are_an_error() {
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
fn rejection_by_main_index_is_an_error() {
    for status in [401, 403] {
        let (private, public) = (Index::start(), with_alpha("99.0"));
        refuse(&private, status);
        let run = Sandbox::new().build(&private, &["--extra-index-url", &public.url(), "alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["`alpha`", &private.url(), &status.to_string()]);
    }
}

#[test]
fn rejection_is_an_error_for_dependencies_and_build_requirements() {
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
fn login_page_of_index_is_an_error() {
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
            private.always(PAGE, Behavior::Status(302, home));
            private.always("/simple/", Behavior::Body("text/html", page.into()));
        } else {
            private.always(PAGE, Behavior::Body("text/html", page.into()));
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
    // An index page without files is a valid answer.
    let (private, public) = (Index::start(), with_alpha("99.0"));
    let page = "<!DOCTYPE html><h1>Links for alpha</h1>";
    private.always(PAGE, Behavior::Body("text/html", page.into()));
    let run = Sandbox::new().build(&public, &["--extra-index-url", &private.url(), "alpha"]);
    run.assert_success();
}

#[test]
fn index_may_reject_unneeded_package() {
    let (private, public) = (Index::start(), with_alpha("1.0"));
    private.always("/simple/beta/", Behavior::Status(403, Vec::new()));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&public, &["--extra-index-url", &private.url(), "alpha"]);
    run.assert_success();
}

#[test]
fn first_index_strategy_uses_only_first_index_with_package() {
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
fn rejects_metadata_with_wrong_digest() {
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
fn checks_metadata_digest_with_cached_page() {
    let index = with_alpha("1.0");
    let right = Wheel::new("alpha", "1.0").metadata_text().into_bytes();
    let wrong = Wheel::new("alpha", "1.0").requires("evil").metadata_text();
    let sandbox = Sandbox::new();
    // Only the page is cached.
    index.always(METADATA, Behavior::Status(404, Vec::new()));
    index.always(
        "/files/alpha-1.0-py3-none-any.whl",
        Behavior::Status(404, Vec::new()),
    );
    sandbox.build(&index, &["alpha"]).assert_exit(4);
    index.always(METADATA, Behavior::Body("text/plain", wrong.into_bytes()));
    sandbox
        .build(&index, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl.metadata", "SHA-256"]);
    index.always(METADATA, Behavior::Body("text/plain", right));
    index.always("/files/alpha-1.0-py3-none-any.whl", Behavior::Normal);
    sandbox.build(&index, &["alpha"]).assert_success();
}

/// Writes a wheel whose RECORD has a wrong digest to `name` in the sandbox.
fn write_corrupt_wheel(sandbox: &Sandbox, name: &str) {
    let wheel = Wheel::new("alpha", "1.0").record("alpha.py,sha256=AAAA,16\n");
    let path = sandbox.write(name, "");
    std::fs::write(path, wheel.bytes()).unwrap();
}

#[test]
fn rejects_corrupt_wheel_without_digest() {
    let index = Index::start();
    let by_path = ["./alpha-1.0-py3-none-any.whl"];
    let by_place = ["--no-index", "--find-links", ".", "alpha"];
    for arguments in [&by_path[..], &by_place] {
        let sandbox = Sandbox::new();
        write_corrupt_wheel(&sandbox, "alpha-1.0-py3-none-any.whl");
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
fn rejects_wheel_with_script_outside_environment() {
    let scripts = "[console_scripts]\n../evil = alpha:f\n";
    let wheel = Wheel::new("alpha", "1.0").file("alpha-1.0.dist-info/entry_points.txt", scripts);
    let index = Index::start();
    index.add(&wheel);
    Sandbox::new()
        .build(&index, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "../evil"]);
}

/// Returns `lock` with another URL and other bytes for the file that it pins.
fn tampered_lock(lock: &str, bytes: &[u8], replacement: &[u8], url: &str) -> String {
    let lines = lock.lines().map(|line| match line.split_once(" = ") {
        Some(("url", _)) => format!("url = \"{url}\""),
        Some(("size", _)) => format!("size = {}", replacement.len()),
        _ => line.replace(&sha256(bytes), &sha256(replacement)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn ignores_urls_of_unknown_lock_in_output() {
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
        let lock = tampered_lock(&before, &honest.bytes(), &hostile.bytes(), &url);
        assert_ne!(lock, before);
        // A checkout contains only the lock.
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
fn prefers_versions_of_unknown_lock() {
    let (index, sandbox) = (with_alpha("1.0"), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    index.add(&Wheel::new("alpha", "2.0"));
    std::fs::remove_dir_all(sandbox.cache()).unwrap();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn rejects_link_of_remote_page_to_local_file() {
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
            Behavior::Body(content_type, body.clone().into_bytes()),
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
fn rejects_requirement_of_index_package_on_local_file() {
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
