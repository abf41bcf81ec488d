//! Requirements and constraints files at URLs.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Behavior, Index, RunResult, Sandbox, Wheel, tree};

const FILE: &str = "/files/requirements.txt";

/// Returns an index with two versions of `alpha`, with `beta`, and with `files`.
fn index(files: &[(&str, &str)]) -> Index {
    let index = Index::start();
    for wheel in [("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0")] {
        index.add(&Wheel::new(wheel.0, wheel.1));
    }
    for (name, content) in files {
        index.add_bytes(name, content.as_bytes().to_vec(), None);
    }
    index
}

fn run(index: &Index, arguments: &[&str]) -> (Sandbox, RunResult) {
    let sandbox = Sandbox::new();
    let url = index.file_url("requirements.txt");
    let run = sandbox.build(index, &[&["-r", &url][..], arguments].concat());
    (sandbox, run)
}

const ALPHA_1: &str = "alpha-1.0-py3-none-any.whl";
const BETA: &str = "beta-1.0-py3-none-any.whl";

#[test]
fn resolves_relative_references_in_remote_file() {
    let index = index(&[
        ("requirements.txt", "-r sub/more.txt\nalpha\n"),
        ("sub/more.txt", "-c ../constraints.txt\nbeta\n"),
        ("constraints.txt", "alpha<2\n"),
    ]);
    let (sandbox, run) = run(&index, &[]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA_1, BETA]);
}

#[test]
fn local_file_may_include_remote_files_of_any_kind() {
    let index = index(&[("constraints.txt", "alpha<2\n"), ("beta.txt", "beta\n")]);
    let url = |name: &str| index.file_url(name);
    let sandbox = Sandbox::new();
    sandbox.write(
        "requirements.txt",
        &format!("alpha\n-r {}\n", url("beta.txt")),
    );
    let arguments = ["-r", "requirements.txt", "-c", &url("constraints.txt")];
    sandbox.build(&index, &arguments).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA_1, BETA]);
    for option in ["--override", "--build-constraint"] {
        let run = sandbox.build(&index, &["alpha", option, &url("constraints.txt")]);
        run.assert_success();
    }
}

#[test]
fn uses_find_links_of_remote_file() {
    let index = index(&[]);
    let content = format!(
        "--no-index\n--find-links {}\nalpha<2\n",
        index.file_url("links.html")
    );
    index.add_bytes("requirements.txt", content.into_bytes(), None);
    let page = format!("<a href=\"{ALPHA_1}\">{ALPHA_1}</a>");
    index.always(
        "/files/links.html",
        Behavior::Body("text/html", page.into_bytes()),
    );
    let (sandbox, run) = run(&index, &["--no-index"]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA_1]);
    assert!(index.requests("/simple/alpha/").is_empty());
}

#[test]
fn missing_file_is_an_error_with_including_line() {
    let index = index(&[("requirements.txt", "\n-r gone.txt\n")]);
    let (sandbox, run) = run(&index, &[]);
    run.assert_exit(4).assert_error_names(&[
        &index.file_url("gone.txt"),
        "requirements.txt` line 2",
        "404",
    ]);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn retries_busy_or_broken_server() {
    let index = index(&[("requirements.txt", "alpha<2\n")]);
    let busy = Behavior::Status(503, vec![("Retry-After", "1".to_owned())]);
    index.script(FILE, [busy, Behavior::TruncateAt(3)]);
    let (sandbox, run) = run(&index, &[]);
    run.assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [ALPHA_1]);
    let requests = index.requests(FILE);
    assert_eq!(requests.len(), 3);
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1));
}

#[test]
fn fails_after_retries() {
    let index = index(&[]);
    index.always(FILE, Behavior::Status(503, Vec::new()));
    let (_, run) = run(&index, &["--retries", "1"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("requirements.txt"), "503"]);
    assert_eq!(index.requests(FILE).len(), 2);
}

#[test]
fn interrupts_request_to_silent_server() {
    let index = index(&[("requirements.txt", "alpha\n")]);
    index.always(FILE, Behavior::StallAfter(2));
    let sandbox = Sandbox::new();
    let url = index.file_url("requirements.txt");
    let run = sandbox.start(&index, &["-r", &url]);
    while index.requests(FILE).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    run.signal(Signal::INT);
    let run = run.finish();
    run.assert_exit(130);
    assert!(run.took < Duration::from_secs(10), "took {:?}", run.took);
}

#[test]
fn rejects_response_that_is_not_a_requirements_file() {
    let page = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n".to_owned();
    for (content, words) in [
        (page, "requirements.txt"),
        ("# nothing\n".repeat(1_100_000), "10 MiB"),
        ("--frobnicate\n".to_owned(), "line 1"),
    ] {
        let index = index(&[("requirements.txt", &content)]);
        let (_, run) = run(&index, &[]);
        run.assert_exit(2)
            .assert_error_names(&[&index.file_url("requirements.txt"), words]);
    }
}

#[test]
fn offline_run_requests_nothing() {
    let index = index(&[("requirements.txt", "alpha\n")]);
    let (_, run) = run(&index, &["--offline"]);
    run.assert_exit(4).assert_error_names(&[
        &index.file_url("requirements.txt"),
        "--offline",
        "hint: ",
    ]);
    assert!(index.requests("").is_empty());
}

#[test]
fn rejects_remote_project() {
    let index = index(&[]);
    let url = index.file_url("pyproject.toml");
    let run = Sandbox::new().build(&index, &["-r", &url]);
    run.assert_exit(2).assert_error_names(&[&url, "hint: "]);
}

const USER: &str = "somebody";
const PASSWORD: &str = "hunter2secret";

#[test]
fn uses_and_hides_credentials_for_included_files() {
    let index = index(&[
        ("requirements.txt", "-r more.txt\n-r gone.txt\n"),
        ("more.txt", "alpha\n"),
    ]);
    index.require_credentials(USER, PASSWORD);
    let with = |url: String| url.replace("http://", &format!("http://{USER}:{PASSWORD}@"));
    let url = with(index.file_url("requirements.txt"));
    for verbosity in ["-v", "--json"] {
        let run = Sandbox::new().build(&index, &["-r", &url, verbosity]);
        run.assert_exit(4);
        let output = format!("{}{}", run.stdout, run.stderr);
        assert!(output.contains("/files/gone.txt answered 404"), "{output}");
        assert!(!output.contains(PASSWORD), "{output}");
    }
    index.add_bytes("gone.txt", b"beta\n".to_vec(), None);
    let sandbox = Sandbox::new();
    let run = sandbox.build(
        &index,
        &["-r", &url, "--extra-index-url", &with(index.url())],
    );
    run.assert_success();
    for (name, bytes) in tree::read(&sandbox.path("")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD), "{name} has the password");
    }
}

#[test]
fn uses_credentials_of_netrc_and_index() {
    let index = index(&[("requirements.txt", "alpha<2\n")]);
    index.require_credentials(USER, PASSWORD);
    let sandbox = Sandbox::new();
    let url = index.file_url("requirements.txt");
    sandbox
        .build(&index, &["-r", &url])
        .assert_exit(4)
        .assert_error_names(&[&url, "401", ".netrc"]);
    let of_index = index.url_for(USER, PASSWORD);
    sandbox
        .build(&index, &["-r", &url, "--extra-index-url", &of_index])
        .assert_success();
    let netrc = format!("machine 127.0.0.1\nlogin {USER}\npassword {PASSWORD}\n");
    sandbox.write("home/.netrc", &netrc);
    sandbox.build(&index, &["-r", &url]).assert_success();
}
