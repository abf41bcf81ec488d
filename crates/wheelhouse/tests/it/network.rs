//! Servers that are busy, slow, broken or wrong: retries, resumed downloads and errors.

use std::time::{Duration, Instant};

use crate::support::{Behavior, Index, RunResult, Sandbox, Wheel, sha256, tree};

const FILE: &str = "/files/alpha-1.0-py3-none-any.whl";
const PAGE: &str = "/simple/alpha/";

/// Returns an index with one wheel of about 300 KB, and the wheel.
fn index() -> (Index, Wheel) {
    let index = Index::start();
    let wheel = Wheel::new("alpha", "1.0").padded(300_000);
    index.add(&wheel);
    (index, wheel)
}

#[track_caller]
fn assert_has(sandbox: &Sandbox, wheel: &Wheel) {
    let written = std::fs::read(sandbox.out().join(wheel.filename())).unwrap();
    assert_eq!(sha256(&written), sha256(&wheel.bytes()));
    assert_eq!(tree::wheels(&sandbox.out()), [wheel.filename()]);
}

fn busy(status: u16, seconds: u64) -> Behavior {
    Behavior::Status(status, vec![("Retry-After", seconds.to_string())])
}

#[test]
fn retries_file_after_retry_after_seconds() {
    let (index, wheel) = index();
    index.script(
        FILE,
        [
            busy(429, 1),
            busy(503, 1),
            Behavior::Status(500, Vec::new()),
        ],
    );
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests("alpha-1.0-py3-none-any.whl");
    assert_eq!(requests.len(), 4);
    for pair in requests[..3].windows(2) {
        assert!(
            pair[1].at - pair[0].at >= Duration::from_secs(1),
            "retried too early"
        );
    }
}

#[test]
fn retries_file_after_retry_after_date() {
    let (index, wheel) = index();
    // HTTP dates have a resolution of one second.
    let begun = Instant::now();
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    index.script(FILE, [Behavior::Status(503, vec![("Retry-After", date)])]);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests("alpha-1.0-py3-none-any.whl");
    assert!(
        requests[1].at - begun >= Duration::from_secs(4),
        "retried too early"
    );
}

#[test]
fn retries_index_page() {
    let (index, wheel) = index();
    let broken = Behavior::Status(500, Vec::new());
    index.script(PAGE, [busy(429, 1), busy(503, 1), broken]);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests(PAGE);
    assert!(requests.len() >= 4);
    for pair in requests[..3].windows(2) {
        assert!(
            pair[1].at - pair[0].at >= Duration::from_millis(950),
            "retried too early"
        );
    }
}

#[test]
fn reports_retries_of_a_host_once() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let names = ["alpha", "beta", "gamma"];
    for name in names {
        index.add(&Wheel::new(name, "1.0"));
    }
    let busy_first = || {
        for name in names {
            index.script(&format!("/simple/{name}/"), [busy(503, 0), busy(503, 0)]);
            index.script(
                &format!("/files/{name}-1.0-py3-none-any.whl"),
                [busy(503, 0)],
            );
        }
    };
    let notices = |run: &RunResult| {
        let lines = run.stderr.lines().filter(|line| line.contains("retrying "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for (option, count) in [("--no-progress", 1), ("-q", 0)] {
        busy_first();
        let _ = std::fs::remove_dir_all(sandbox.cache());
        let run = sandbox.build(&index, &[&names[..], &[option]].concat());
        run.assert_success();
        let lines = notices(&run);
        assert_eq!(lines.len(), count, "{}", run.stderr);
        let host = index.url().replace("http://", "").replace("/simple/", "");
        for line in lines {
            assert!(
                line.contains(&host) && line.contains("it answered 503"),
                "{line}"
            );
        }
    }
}

#[test]
fn fails_after_retries_of_file() {
    let (index, _) = index();
    index.always(FILE, Behavior::Status(503, Vec::new()));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "--retries", "2"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("alpha-1.0-py3-none-any.whl"), "503"]);
    assert_eq!(index.requests("alpha-1.0-py3-none-any.whl").len(), 3);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn fails_after_retries_of_index_page() {
    let (index, _) = index();
    index.always(PAGE, Behavior::Status(503, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha", "--retries", "1"]);
    run.assert_exit(4).assert_error_names(&["alpha", "503"]);
}

/// Every `fetch-started` event has a matching end, so that a consumer does not wait for it.
#[test]
fn every_started_fetch_reports_its_end() {
    let (index, _) = index();
    index.add(&Wheel::new("beta", "1.0"));
    index.always(FILE, Behavior::Status(404, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha", "beta", "--keep-going", "--json"]);
    run.assert_exit(4);
    let count = |event: &str, name: &str| {
        let holds = |line: &&str| line.contains(event) && line.contains(name);
        run.stdout.lines().filter(holds).count()
    };
    for (name, ends) in [
        ("alpha-1.0", "fetch-failed"),
        ("beta-1.0", "fetch-finished"),
    ] {
        assert_eq!(count("fetch-started", name), 1, "{}", run.stdout);
        assert_eq!(count(ends, name), 1, "{}", run.stdout);
    }
}

#[test]
fn missing_file_is_an_error_with_url() {
    let (index, _) = index();
    index.always(FILE, Behavior::Status(404, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("alpha-1.0-py3-none-any.whl"), "404"]);
}

/// Builds with `broken` as the first response and returns the requested ranges.
fn requested_ranges(broken: Behavior, then: Behavior) -> Vec<Option<String>> {
    let (index, wheel) = index();
    index.script(FILE, [broken, then]);
    let sandbox = Sandbox::new();
    sandbox
        .build(&index, &["alpha", "--timeout", "1"])
        .assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests("alpha-1.0-py3-none-any.whl");
    requests
        .iter()
        .map(|request| request.range().map(str::to_owned))
        .collect()
}

#[test]
fn resumes_download_after_connection_reset() {
    let ranges = requested_ranges(Behavior::ResetAfter(100_000), Behavior::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn resumes_download_after_stall() {
    let ranges = requested_ranges(Behavior::StallAfter(100_000), Behavior::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn resumes_download_after_truncated_body() {
    let ranges = requested_ranges(Behavior::TruncateAt(100_000), Behavior::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn resumes_truncated_download_of_unknown_length() {
    let ranges = requested_ranges(Behavior::CloseAt(100_000), Behavior::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn restarts_download_from_server_without_ranges() {
    let ranges = requested_ranges(Behavior::ResetAfter(100_000), Behavior::WithoutRanges);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn does_not_resume_download_without_digest() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let wheel = Wheel::new("alpha", "1.0").padded(300_000);
    index.add(&wheel);
    index.claim_digest(&wheel.filename(), "");
    let file = format!("/files/{}", wheel.filename());
    index.script(&file, [Behavior::ResetAfter(100_000), Behavior::Normal]);
    sandbox.build(&index, &["alpha"]).assert_success();
    let requests = index.requests(&file);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].range(), None);
}

#[test]
fn downloads_file_of_unknown_length() {
    let (index, wheel) = index();
    index.always(FILE, Behavior::WithoutLength);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn progress_resets_retry_count() {
    let (index, wheel) = index();
    let steps = [80_000, 80_000, 80_000].map(Behavior::TruncateAt);
    index.script(FILE, steps);
    let sandbox = Sandbox::new();
    sandbox
        .build(&index, &["alpha", "--retries", "1"])
        .assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn times_out_on_silent_file_server() {
    let (index, _) = index();
    index.always(FILE, Behavior::StallAfter(1000));
    let run = Sandbox::new().build(&index, &["alpha", "--timeout", "1", "--retries", "1"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl"]);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
}

#[test]
fn times_out_on_silent_index() {
    let (index, _) = index();
    index.always(PAGE, Behavior::StallAfter(10));
    let run = Sandbox::new().build(&index, &["alpha", "--timeout", "1", "--retries", "1"]);
    run.assert_exit(4).assert_error_names(&["alpha"]);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
}

#[test]
fn rejects_wrong_bytes_of_correct_length() {
    let (index, wheel) = index();
    let mut wrong = wheel.bytes();
    wrong[1000] ^= 1;
    index.always(FILE, Behavior::Body("application/zip", wrong));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "sha256"]);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn rejects_wheel_with_wrong_digest() {
    let (index, wheel) = index();
    index.claim_digest(&wheel.filename(), &"0".repeat(64));
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "sha256"]);
}

#[test]
fn rejects_sdist_with_wrong_digest() {
    let index = Index::start();
    let sdist = crate::support::Sdist::new("gamma", "1.0");
    index.add_sdist(&sdist);
    index.claim_digest(&sdist.filename(), &"0".repeat(64));
    let run = Sandbox::new().build(&index, &["gamma"]);
    run.assert_exit(4)
        .assert_error_names(&["gamma-1.0.tar.gz", "sha256"]);
}

#[test]
fn rejects_file_of_wrong_size() {
    for size in [10, 10_000_000] {
        let (index, wheel) = index();
        index.claim_size(&wheel.filename(), size);
        let run = Sandbox::new().build(&index, &["alpha", "--retries", "1"]);
        run.assert_exit(4)
            .assert_error_names(&["alpha-1.0-py3-none-any.whl", "bytes"]);
    }
}

#[test]
fn redirect_loop_is_an_error() {
    for path in [FILE, PAGE] {
        let (index, _) = index();
        index.always(
            path,
            Behavior::Status(302, vec![("Location", path.to_owned())]),
        );
        let run = Sandbox::new().build(&index, &["alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["alpha", "redirect"]);
        assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    }
}

#[test]
fn invalid_index_page_is_an_error_with_url() {
    let bodies = [
        ("application/pdf", "%PDF-1.5"),
        ("application/vnd.pypi.simple.v1+json", "{\"files\": ["),
        ("application/vnd.pypi.simple.v1+json", "<html>"),
        ("image/png", "\u{0}\u{1}"),
    ];
    for (content_type, body) in bodies {
        let (index, _) = index();
        index.always(PAGE, Behavior::Body(content_type, body.into()));
        let run = Sandbox::new().build(&index, &["alpha"]);
        run.assert_exit(4).assert_error_names(&[PAGE]);
    }
}

#[test]
fn page_without_files_has_no_versions() {
    let (index, _) = index();
    index.always(
        PAGE,
        Behavior::Body("text/html", b"<html>Welcome to the hotel network".to_vec()),
    );
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(3).assert_error_names(&["alpha"]);
}

#[test]
fn supports_html_index_without_metadata_or_digests() {
    let (index, wheel) = index();
    index.only_html();
    index.without_metadata();
    index.claim_digest(&wheel.filename(), "");
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn unreachable_index_is_an_error_with_address() {
    let (index, _) = index();
    let sandbox = Sandbox::new();
    let url = {
        let gone = Index::start();
        gone.url()
    };
    let run = sandbox.build(
        &index,
        &["alpha", "--extra-index-url", &url, "--retries", "1"],
    );
    run.assert_exit(4).assert_error_names(&["127.0.0.1"]);
}

#[test]
fn follows_redirect() {
    let (index, wheel) = index();
    let elsewhere = Behavior::Status(302, vec![("Location", format!("{FILE}?elsewhere"))]);
    index.always(FILE, elsewhere);
    index.always(
        &format!("{FILE}?elsewhere"),
        Behavior::Body("application/zip", wheel.bytes()),
    );
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn retries_metadata_file() {
    let metadata = format!("{FILE}.metadata");
    for behavior in [
        Behavior::ResetAfter(10),
        Behavior::TruncateAt(10),
        Behavior::Status(503, Vec::new()),
    ] {
        let (index, wheel) = index();
        index.script(&metadata, [behavior]);
        let sandbox = Sandbox::new();
        sandbox.build(&index, &["alpha"]).assert_success();
        assert_has(&sandbox, &wheel);
    }
}

#[test]
fn reads_metadata_from_wheel_if_metadata_file_is_missing() {
    let (index, wheel) = index();
    let missing = || Behavior::Status(404, Vec::new());
    index.always(&format!("{FILE}.metadata"), missing());
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    index.always(FILE, missing());
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("alpha-1.0-py3-none-any.whl"), "404"]);
}

#[test]
fn rejects_file_without_required_hash() {
    let (index, wheel) = index();
    let sandbox = Sandbox::new();
    for (digest, code) in [("0".repeat(64), 4), (sha256(&wheel.bytes()), 0)] {
        sandbox.write(
            "requirements.txt",
            &format!("alpha==1.0 --hash=sha256:{digest}\n"),
        );
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        if code == 0 {
            run.assert_success();
            assert_has(&sandbox, &wheel);
        } else {
            assert!(matches!(run.status.code(), Some(3 | 4)), "{}", run.stderr);
            run.assert_error_names(&["alpha"]);
        }
    }
}
