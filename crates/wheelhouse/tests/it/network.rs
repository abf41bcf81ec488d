//! Servers that are busy, slow, broken or wrong.

use std::time::{Duration, Instant};

use crate::support::{Behaviour, Finished, Index, Sandbox, Wheel, sha256, tree};

const FILE: &str = "/files/alpha-1.0-py3-none-any.whl";
const PAGE: &str = "/simple/alpha/";

/// An index with one wheel of some 300 KB.
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

fn busy(status: u16, seconds: u64) -> Behaviour {
    Behaviour::Status(status, vec![("Retry-After", seconds.to_string())])
}

#[test]
fn a_busy_file_server_is_asked_again_when_it_says() {
    let (index, wheel) = index();
    index.script(
        FILE,
        [
            busy(429, 1),
            busy(503, 1),
            Behaviour::Status(500, Vec::new()),
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
            "asked again too early"
        );
    }
}

#[test]
fn a_date_may_say_when_to_ask_again() {
    let (index, wheel) = index();
    // A date has whole seconds, so that it may be up to one earlier.
    let begun = Instant::now();
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    index.script(FILE, [Behaviour::Status(503, vec![("Retry-After", date)])]);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests("alpha-1.0-py3-none-any.whl");
    assert!(
        requests[1].at - begun >= Duration::from_secs(4),
        "asked again too early"
    );
}

#[test]
fn a_busy_index_is_asked_again() {
    let (index, wheel) = index();
    let broken = Behaviour::Status(500, Vec::new());
    index.script(PAGE, [busy(429, 1), busy(503, 1), broken]);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
    let requests = index.requests(PAGE);
    assert!(requests.len() >= 4);
    for pair in requests[..3].windows(2) {
        assert!(
            pair[1].at - pair[0].at >= Duration::from_millis(950),
            "asked again too early"
        );
    }
}

#[test]
fn a_host_that_is_asked_again_is_told_once() {
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
    let told = |run: &Finished| {
        let lines = run
            .stderr
            .lines()
            .filter(|line| line.contains("is asked again"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for (option, count) in [("--no-progress", 1), ("-q", 0)] {
        busy_first();
        let _ = std::fs::remove_dir_all(sandbox.cache());
        let run = sandbox.build(&index, &[&names[..], &[option]].concat());
        run.assert_success();
        let lines = told(&run);
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
fn a_server_that_stays_busy_is_given_up() {
    let (index, _) = index();
    index.always(FILE, Behaviour::Status(503, Vec::new()));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "--retries", "2"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("alpha-1.0-py3-none-any.whl"), "503"]);
    assert_eq!(index.requests("alpha-1.0-py3-none-any.whl").len(), 3);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn an_index_that_stays_busy_is_given_up() {
    let (index, _) = index();
    index.always(PAGE, Behaviour::Status(503, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha", "--retries", "1"]);
    run.assert_exit(4).assert_error_names(&["alpha", "503"]);
}

/// Whatever begins to arrive is told to have ended, so that nobody waits for it.
#[test]
fn every_fetch_that_begins_is_told_to_end() {
    let (index, _) = index();
    index.add(&Wheel::new("beta", "1.0"));
    index.always(FILE, Behaviour::Status(404, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha", "beta", "--keep-going", "--json"]);
    run.assert_exit(4);
    let told = |event: &str, name: &str| {
        let holds = |line: &&str| line.contains(event) && line.contains(name);
        run.stdout.lines().filter(holds).count()
    };
    for (name, ends) in [
        ("alpha-1.0", "fetch-failed"),
        ("beta-1.0", "fetch-finished"),
    ] {
        assert_eq!(told("fetch-started", name), 1, "{}", run.stdout);
        assert_eq!(told(ends, name), 1, "{}", run.stdout);
    }
}

#[test]
fn a_file_that_is_gone_is_named() {
    let (index, _) = index();
    index.always(FILE, Behaviour::Status(404, Vec::new()));
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&[&index.file_url("alpha-1.0-py3-none-any.whl"), "404"]);
}

/// Runs with `broken` as the first answer and returns the ranges that were asked for.
fn interrupted(broken: Behaviour, then: Behaviour) -> Vec<Option<String>> {
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
fn after_a_reset_only_the_rest_is_asked_for() {
    let ranges = interrupted(Behaviour::ResetAfter(100_000), Behaviour::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn after_a_stall_only_the_rest_is_asked_for() {
    let ranges = interrupted(Behaviour::StallAfter(100_000), Behaviour::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn after_a_truncated_body_only_the_rest_is_asked_for() {
    let ranges = interrupted(Behaviour::TruncateAt(100_000), Behaviour::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn a_body_that_ends_early_without_a_length_is_noticed() {
    let ranges = interrupted(Behaviour::CloseAt(100_000), Behaviour::Normal);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let ranges = interrupted(Behaviour::ResetAfter(100_000), Behaviour::WithoutRanges);
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn a_file_that_nobody_vouches_for_is_not_put_together_from_parts() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let wheel = Wheel::new("alpha", "1.0").padded(300_000);
    index.add(&wheel);
    index.claim_digest(&wheel.filename(), "");
    let file = format!("/files/{}", wheel.filename());
    index.script(&file, [Behaviour::ResetAfter(100_000), Behaviour::Normal]);
    sandbox.build(&index, &["alpha"]).assert_success();
    let requests = index.requests(&file);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].range(), None);
}

#[test]
fn a_server_need_not_know_the_length() {
    let (index, wheel) = index();
    index.always(FILE, Behaviour::WithoutLength);
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn a_server_that_gets_on_a_little_each_time_is_not_given_up() {
    let (index, wheel) = index();
    let steps = [80_000, 80_000, 80_000].map(Behaviour::TruncateAt);
    index.script(FILE, steps);
    let sandbox = Sandbox::new();
    sandbox
        .build(&index, &["alpha", "--retries", "1"])
        .assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn a_silent_server_is_given_up() {
    let (index, _) = index();
    index.always(FILE, Behaviour::StallAfter(1000));
    let run = Sandbox::new().build(&index, &["alpha", "--timeout", "1", "--retries", "1"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl"]);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
}

#[test]
fn a_silent_index_is_given_up() {
    let (index, _) = index();
    index.always(PAGE, Behaviour::StallAfter(10));
    let run = Sandbox::new().build(&index, &["alpha", "--timeout", "1", "--retries", "1"]);
    run.assert_exit(4).assert_error_names(&["alpha"]);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
}

#[test]
fn wrong_bytes_of_the_right_length_are_refused() {
    let (index, wheel) = index();
    let mut wrong = wheel.bytes();
    wrong[1000] ^= 1;
    index.always(FILE, Behaviour::Body("application/zip", wrong));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "sha256"]);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn a_wrong_digest_on_the_page_is_refused() {
    let (index, wheel) = index();
    index.claim_digest(&wheel.filename(), &"0".repeat(64));
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "sha256"]);
}

#[test]
fn a_wrong_digest_of_an_sdist_is_refused() {
    let index = Index::start();
    let sdist = crate::support::Sdist::new("gamma", "1.0");
    index.add_sdist(&sdist);
    index.claim_digest(&sdist.filename(), &"0".repeat(64));
    let run = Sandbox::new().build(&index, &["gamma"]);
    run.assert_exit(4)
        .assert_error_names(&["gamma-1.0.tar.gz", "sha256"]);
}

#[test]
fn a_wrong_size_is_refused() {
    for size in [10, 10_000_000] {
        let (index, wheel) = index();
        index.claim_size(&wheel.filename(), size);
        let run = Sandbox::new().build(&index, &["alpha", "--retries", "1"]);
        run.assert_exit(4)
            .assert_error_names(&["alpha-1.0-py3-none-any.whl", "bytes"]);
    }
}

#[test]
fn redirects_in_a_circle_end() {
    for path in [FILE, PAGE] {
        let (index, _) = index();
        index.always(
            path,
            Behaviour::Status(302, vec![("Location", path.to_owned())]),
        );
        let run = Sandbox::new().build(&index, &["alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["alpha", "redirect"]);
        assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    }
}

#[test]
fn a_page_that_is_no_page_is_named() {
    let bodies = [
        ("application/pdf", "%PDF-1.5"),
        ("application/vnd.pypi.simple.v1+json", "{\"files\": ["),
        ("application/vnd.pypi.simple.v1+json", "<html>"),
        ("image/png", "\u{0}\u{1}"),
    ];
    for (content_type, body) in bodies {
        let (index, _) = index();
        index.always(PAGE, Behaviour::Body(content_type, body.into()));
        let run = Sandbox::new().build(&index, &["alpha"]);
        run.assert_exit(4).assert_error_names(&[PAGE]);
    }
}

#[test]
fn a_page_without_files_says_that_nothing_is_there() {
    let (index, _) = index();
    index.always(
        PAGE,
        Behaviour::Body("text/html", b"<html>Welcome to the hotel network".to_vec()),
    );
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(3).assert_error_names(&["alpha"]);
}

#[test]
fn an_old_index_without_json_metadata_or_digests_is_used() {
    let (index, wheel) = index();
    index.only_html();
    index.without_metadata();
    index.claim_digest(&wheel.filename(), "");
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn nobody_at_home_is_told() {
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
fn a_redirect_is_followed() {
    let (index, wheel) = index();
    let elsewhere = Behaviour::Status(302, vec![("Location", format!("{FILE}?elsewhere"))]);
    index.always(FILE, elsewhere);
    index.always(
        &format!("{FILE}?elsewhere"),
        Behaviour::Body("application/zip", wheel.bytes()),
    );
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha"]).assert_success();
    assert_has(&sandbox, &wheel);
}

#[test]
fn metadata_beside_a_wheel_is_asked_for_again() {
    let metadata = format!("{FILE}.metadata");
    for behaviour in [
        Behaviour::ResetAfter(10),
        Behaviour::TruncateAt(10),
        Behaviour::Status(503, Vec::new()),
    ] {
        let (index, wheel) = index();
        index.script(&metadata, [behaviour]);
        let sandbox = Sandbox::new();
        sandbox.build(&index, &["alpha"]).assert_success();
        assert_has(&sandbox, &wheel);
    }
}

#[test]
fn metadata_that_the_page_promises_in_vain_is_read_out_of_the_wheel() {
    let (index, wheel) = index();
    let missing = || Behaviour::Status(404, Vec::new());
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
fn a_file_other_than_the_user_demands_is_refused() {
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
