//! Registry errors: transient ones are retried, others are reported once.

use super::{assert_same, run, stdout_of, wheelhouse};
use crate::support::fake_registry::{FakeRegistry, Fault, RegistryRequest};
use crate::support::{RunResult, Sandbox};

fn start() -> (Sandbox, FakeRegistry) {
    (wheelhouse(), FakeRegistry::start())
}

/// Checks that a push and a pull succeed.
#[track_caller]
fn assert_push_and_pull(sandbox: &Sandbox, registry: &FakeRegistry) {
    stdout_of(sandbox, &["image", "out", &registry.image()]);
    run(sandbox, &["extract", &registry.image(), "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
}

#[test]
fn retries_transient_errors() {
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
    assert_push_and_pull(&sandbox, &registry);
}

/// A registry may reject a manifest while another client uploads the same blobs.
#[test]
fn retries_manifest_whose_digest_is_rejected() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/manifests/", Fault::Code("DIGEST_INVALID"));
    assert_push_and_pull(&sandbox, &registry);

    let (sandbox, registry) = start();
    for _ in 0..10 {
        registry.fail("PUT", "/manifests/", Fault::Code("DIGEST_INVALID"));
    }
    let arguments = ["image", "out", &registry.image(), "--retries", "1"];
    run(&sandbox, &arguments)
        .assert_exit(7)
        .assert_error_names(&["acme/wheels", "the manifest", "DIGEST_INVALID"]);
    let pushed = |request: &&RegistryRequest| {
        request.method == "PUT" && request.path.contains("/manifests/")
    };
    assert_eq!(registry.requests().iter().filter(pushed).count(), 2);
}

#[test]
fn resumes_interrupted_upload() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::CutAfter(700_000));
    assert_push_and_pull(&sandbox, &registry);
    let resumed: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|request| request.headers.contains_key("content-range"))
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
fn restarts_upload_that_registry_forgot() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::CutAfter(700_000));
    registry.fail("GET", "/uploads/", Fault::Status(404, Vec::new()));
    assert_push_and_pull(&sandbox, &registry);
    let begun = registry
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .count();
    // Five layers, the configuration, the SBOM and its configuration, and one repetition.
    assert_eq!(begun, 9);
}

#[test]
fn resumes_interrupted_blob_download() {
    let (sandbox, registry) = start();
    stdout_of(&sandbox, &["image", "out", &registry.image()]);
    registry.fail("GET", "/blobs/sha256", Fault::CutResponseAfter(500));
    registry.fail("GET", "/blobs/sha256", Fault::CutResponseAfter(90_000));
    run(&sandbox, &["extract", &registry.image(), "back"]).assert_success();
    assert_same(&sandbox.path("back"), &sandbox.out());
    assert!(
        registry
            .requests()
            .iter()
            .any(|request| request.headers.contains_key("range"))
    );
}

#[test]
fn permanent_failure_is_one_error() {
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

/// Returns a registry that redirects requests for its largest blob to another registry with that blob, and the digest
/// of the blob.
fn redirecting_registry(sandbox: &Sandbox) -> (FakeRegistry, FakeRegistry, String) {
    let (registry, elsewhere) = (FakeRegistry::start(), FakeRegistry::start());
    stdout_of(sandbox, &["image", "out", &elsewhere.image()]);
    stdout_of(sandbox, &["image", "out", &registry.image()]);
    let mut requests = registry.requests().into_iter();
    let large = requests.find(|request| request.method == "PUT" && request.body > 1_000_000);
    let path = large.unwrap().path.replace("%3A", ":");
    let digest = path.split_once("digest=").unwrap().1.to_owned();
    let target = format!(
        "http://127.0.0.1:{}/v2/acme/wheels/blobs/{digest}",
        elsewhere.port
    );
    let blob: &'static str = format!("/blobs/{digest}").leak();
    registry.fail("GET", blob, Fault::Status(307, vec![("Location", target)]));
    (registry, elsewhere, digest)
}

/// Extracts the image of a registry with a credential for it.
fn extract_with(sandbox: &Sandbox, registry: &FakeRegistry, credential: &str) -> RunResult {
    let host = format!("127.0.0.1:{}", registry.port);
    let file = format!(r#"{{"auths": {{"{host}": {{{credential}}}}}}}"#);
    let path = sandbox.write("auth.json", &file);
    let image = registry.image();
    let options = ["--authfile", path.to_str().unwrap(), "--retries", "0"];
    run(
        sandbox,
        &[&["extract", &image, "back"], &options[..]].concat(),
    )
}

/// `me:secret`.
const PASSWORD: &str = r#""auth": "bWU6c2VjcmV0""#;
const REFRESH_TOKEN: &str = r#""identitytoken": "secret""#;

fn challenge(text: String) -> Fault {
    Fault::Status(401, vec![("WWW-Authenticate", text)])
}

fn has_credentials(request: &RegistryRequest) -> bool {
    request.headers.contains_key("authorization") || request.method == "POST"
}

#[test]
fn does_not_send_credentials_to_redirect_target() {
    let sandbox = wheelhouse();
    let (registry, elsewhere, digest) = redirecting_registry(&sandbox);
    registry.fail(
        "GET",
        "/manifests/",
        challenge("Basic realm=\"x\"".to_owned()),
    );
    extract_with(&sandbox, &registry, PASSWORD).assert_success();
    assert!(registry.requests().iter().any(has_credentials));
    let requests = elsewhere.requests();
    let mut followed = requests.iter().filter(|request| request.method == "GET");
    assert!(
        followed
            .clone()
            .any(|request| request.path.contains(&digest)),
        "{requests:?}"
    );
    assert!(!followed.any(has_credentials), "{requests:?}");
}

#[test]
fn does_not_answer_challenge_of_redirect_target() {
    for scheme in ["Basic", "Bearer"] {
        let sandbox = wheelhouse();
        let (registry, elsewhere, digest) = redirecting_registry(&sandbox);
        let realm = format!(
            "{scheme} realm=\"http://127.0.0.1:{}/token\"",
            elsewhere.port
        );
        let blob: &'static str = format!("/blobs/{digest}").leak();
        elsewhere.fail("GET", blob, challenge(realm));
        extract_with(&sandbox, &registry, PASSWORD)
            .assert_exit(4)
            .assert_error_names(&["401"]);
        let requests = elsewhere.requests();
        let asked = requests.iter().filter(|request| request.method == "GET");
        assert!(!asked.clone().any(has_credentials), "{requests:?}");
        assert!(
            !asked.clone().any(|request| request.path.contains("token")),
            "{requests:?}"
        );
    }
}

#[test]
fn does_not_follow_redirect_of_token_server() {
    for credential in [PASSWORD, REFRESH_TOKEN] {
        let (sandbox, registry) = start();
        let elsewhere = FakeRegistry::start();
        stdout_of(&sandbox, &["image", "out", &registry.image()]);
        let realm = format!("Bearer realm=\"http://127.0.0.1:{}/token\"", registry.port);
        registry.fail("GET", "/manifests/", challenge(realm));
        let target = format!("http://127.0.0.1:{}/token", elsewhere.port);
        for method in ["GET", "POST"] {
            let redirect = Fault::Status(307, vec![("Location", target.clone())]);
            registry.fail(method, "/token", redirect);
        }
        extract_with(&sandbox, &registry, credential)
            .assert_exit(4)
            .assert_error_names(&["token"]);
        assert!(
            elsewhere.requests().is_empty(),
            "{:?}",
            elsewhere.requests()
        );
        assert!(
            registry
                .requests()
                .iter()
                .any(|request| request.path.starts_with("/token"))
        );
    }
}

#[test]
fn rejects_token_server_without_tls() {
    let (sandbox, registry) = start();
    stdout_of(&sandbox, &["image", "out", &registry.image()]);
    // An address reserved for documentation (RFC 5737).
    let realm = "Bearer realm=\"http://192.0.2.1/token\"".to_owned();
    registry.fail("GET", "/manifests/", challenge(realm));
    extract_with(&sandbox, &registry, PASSWORD)
        .assert_exit(4)
        .assert_error_names(&["without TLS"]);
}

#[test]
fn ignores_upload_range_beyond_blob() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::Status(503, Vec::new()));
    let location = "/v2/acme/wheels/blobs/uploads/1".to_owned();
    let range = "0-18446744073709551615".to_owned();
    let lie = Fault::Status(204, vec![("Location", location), ("Range", range)]);
    registry.fail("GET", "/uploads/", lie);
    assert_push_and_pull(&sandbox, &registry);
}

#[test]
fn waits_until_retry_after_date() {
    let (sandbox, registry) = start();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    registry.fail(
        "POST",
        "/uploads/",
        Fault::Status(503, vec![("Retry-After", date)]),
    );
    let begun = std::time::Instant::now();
    stdout_of(&sandbox, &["image", "out", &registry.image()]);
    assert!(begun.elapsed() > std::time::Duration::from_millis(1900));
}

#[test]
fn rejects_oversized_manifest() {
    let (sandbox, registry) = start();
    stdout_of(&sandbox, &["image", "out", &registry.image()]);
    // A manifest of 100 MB under the tag.
    registry.put("manifests/1", vec![b' '; 100 << 20]);
    let finished = run(&sandbox, &["extract", &registry.image(), "back"]);
    finished
        .assert_exit(4)
        .assert_error_names(&["the manifest", "larger than 4 MiB"]);
}

#[test]
fn unreachable_daemon_is_an_error_of_the_operation() {
    let mut sandbox = wheelhouse();
    let image = "docker-daemon:acme/wheels:1";
    sandbox.set(
        "DOCKER_HOST",
        format!("unix://{}", sandbox.path("nowhere").display()),
    );
    run(&sandbox, &["image", "out", image]).assert_exit(7);
    run(&sandbox, &["extract", image, "back"]).assert_exit(4);
    sandbox.set("DOCKER_HOST", "tcp://127.0.0.1:1");
    for arguments in [["image", "out", image], ["extract", image, "back"]] {
        run(&sandbox, &arguments)
            .assert_exit(2)
            .assert_error_names(&["DOCKER_HOST", "tcp://127.0.0.1:1"]);
    }
}
