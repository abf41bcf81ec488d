//! Registries that fail: what passes is waited for, what does not ends with one message.

use super::{assert_same, printed, run, wheelhouse};
use crate::support::Sandbox;
use crate::support::fake_registry::{FakeRegistry, Fault};

fn start() -> (Sandbox, FakeRegistry) {
    (wheelhouse(), FakeRegistry::start())
}

/// Pushes and pulls, which both end well.
#[track_caller]
fn assert_goes_through(sandbox: &Sandbox, registry: &FakeRegistry) {
    printed(sandbox, &["image", "out", &registry.image()]);
    run(sandbox, &["extract", &registry.image(), "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
fn what_passes_is_waited_for() {
    let (sandbox, registry) = start();
    let status = |status| Fault::Status(status, Vec::new());
    registry.fail("HEAD", "/blobs/", status(503));
    registry.fail(
        "POST",
        "/uploads/",
        Fault::Status(429, vec![("Retry-After", "1".to_owned())]),
    );
    registry.fail("PUT", "/uploads/", status(502));
    registry.fail("PUT", "/manifests/", status(500));
    registry.fail("GET", "/manifests/", status(504));
    registry.fail("GET", "/blobs/sha256", status(503));
    assert_goes_through(&sandbox, &registry);
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::CutAfter(700_000));
    assert_goes_through(&sandbox, &registry);
    let resumed: Vec<_> = registry
        .came()
        .into_iter()
        .filter(|came| came.headers.contains_key("content-range"))
        .collect();
    let [resumed] = &resumed[..] else {
        panic!("{resumed:?}")
    };
    assert!(
        resumed.headers["content-range"].starts_with("700000-"),
        "{resumed:?}"
    );
}

#[test]
fn an_upload_that_the_registry_forgot_begins_again() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::CutAfter(700_000));
    registry.fail("GET", "/uploads/", Fault::Status(404, Vec::new()));
    assert_goes_through(&sandbox, &registry);
    let begun = registry
        .came()
        .into_iter()
        .filter(|came| came.method == "POST")
        .count();
    // Five layers, the configuration, the bill of materials and its own, and once again.
    assert_eq!(begun, 9);
}

#[test]
fn a_blob_that_breaks_off_goes_on_where_it_was() {
    let (sandbox, registry) = start();
    printed(&sandbox, &["image", "out", &registry.image()]);
    registry.fail("GET", "/blobs/sha256", Fault::CutAnswerAfter(500));
    registry.fail("GET", "/blobs/sha256", Fault::CutAnswerAfter(90_000));
    run(&sandbox, &["extract", &registry.image(), "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
    assert!(
        registry
            .came()
            .iter()
            .any(|came| came.headers.contains_key("range"))
    );
}

#[test]
fn what_does_not_pass_ends_with_one_message() {
    for (status, word) in [(401, "401"), (403, "403"), (429, "429"), (503, "503")] {
        let (sandbox, registry) = start();
        for _ in 0..20 {
            registry.fail("POST", "/uploads/", Fault::Status(status, Vec::new()));
        }
        let finished = run(
            &sandbox,
            &["image", "out", &registry.image(), "--retries", "1"],
        );
        finished
            .assert_exit(7)
            .assert_error_names(&[word, "acme/wheels"]);
        assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    }
    let (sandbox, registry) = start();
    for _ in 0..40 {
        registry.fail("PUT", "/uploads/", Fault::CutAfter(1000));
    }
    let finished = run(
        &sandbox,
        &["image", "out", &registry.image(), "--retries", "1"],
    );
    finished
        .assert_exit(7)
        .assert_error_names(&["acme/wheels", "hint: "]);
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let (sandbox, registry) = start();
    let elsewhere = FakeRegistry::start();
    // Whoever is asked for the blob sends on to another server.
    printed(&sandbox, &["image", "out", &elsewhere.image()]);
    printed(&sandbox, &["image", "out", &registry.image()]);
    let challenge = vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())];
    registry.fail("GET", "/manifests/", Fault::Status(401, challenge));
    let digest = registry
        .came()
        .into_iter()
        .filter(|came| came.method == "PUT" && came.body > 1_000_000)
        .find_map(|came| {
            came.path
                .split_once("digest=")
                .map(|(_, digest)| digest.replace("%3A", ":"))
        })
        .unwrap();
    let target = format!(
        "http://127.0.0.1:{}/v2/acme/wheels/blobs/{digest}",
        elsewhere.port
    );
    let blob: &'static str = format!("/blobs/{digest}").leak();
    registry.fail("GET", blob, Fault::Status(307, vec![("Location", target)]));
    // `me:secret`.
    let file = format!(
        r#"{{"auths": {{"127.0.0.1:{}": {{"auth": "bWU6c2VjcmV0"}}}}}}"#,
        registry.port
    );
    let path = sandbox.write("auth.json", &file);
    let extract = [
        "extract",
        &registry.image(),
        "back",
        "--authfile",
        path.to_str().unwrap(),
    ];
    run(&sandbox, &extract).assert_success();
    assert!(
        registry
            .came()
            .iter()
            .any(|came| came.headers.contains_key("authorization"))
    );
    let followed: Vec<_> = elsewhere
        .came()
        .into_iter()
        .filter(|came| came.method == "GET")
        .collect();
    assert!(
        followed.iter().any(|came| came.path.contains(&digest)),
        "{followed:?}"
    );
    assert!(
        !followed
            .iter()
            .any(|came| came.headers.contains_key("authorization"))
    );
}

#[test]
fn a_manifest_that_does_not_end_is_refused() {
    let (sandbox, registry) = start();
    printed(&sandbox, &["image", "out", &registry.image()]);
    // 100 MB under the tag, as if somebody had pushed that.
    registry.put("manifests/1", vec![b' '; 100 << 20]);
    let finished = run(&sandbox, &["extract", &registry.image(), "back"]);
    finished
        .assert_exit(4)
        .assert_error_names(&["longer than 4194304 bytes"]);
}
