//! Registries that fail: what passes is waited for, what does not ends with one message.

use super::{assert_same, printed, run, wheelhouse};
use crate::support::fake_registry::{Came, FakeRegistry, Fault};
use crate::support::{Finished, Sandbox};

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

/// A registry that redirects whoever asks for its largest blob to another that has it, too, and the
/// digest of that blob.
fn redirecting(sandbox: &Sandbox) -> (FakeRegistry, FakeRegistry, String) {
    let (registry, elsewhere) = (FakeRegistry::start(), FakeRegistry::start());
    printed(sandbox, &["image", "out", &elsewhere.image()]);
    printed(sandbox, &["image", "out", &registry.image()]);
    let mut came = registry.came().into_iter();
    let large = came.find(|came| came.method == "PUT" && came.body > 1_000_000);
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

/// Extracts the image of a registry, for which there is this credential.
fn extract_with(sandbox: &Sandbox, registry: &FakeRegistry, credential: &str) -> Finished {
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

fn has_credentials(came: &Came) -> bool {
    came.headers.contains_key("authorization") || came.method == "POST"
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let sandbox = wheelhouse();
    let (registry, elsewhere, digest) = redirecting(&sandbox);
    registry.fail(
        "GET",
        "/manifests/",
        challenge("Basic realm=\"x\"".to_owned()),
    );
    extract_with(&sandbox, &registry, PASSWORD).assert_success();
    assert!(registry.came().iter().any(has_credentials));
    let came = elsewhere.came();
    let mut followed = came.iter().filter(|came| came.method == "GET");
    assert!(
        followed.clone().any(|came| came.path.contains(&digest)),
        "{came:?}"
    );
    assert!(!followed.any(has_credentials), "{came:?}");
}

#[test]
fn credentials_are_not_for_those_whom_a_redirect_leads_to() {
    for scheme in ["Basic", "Bearer"] {
        let sandbox = wheelhouse();
        let (registry, elsewhere, digest) = redirecting(&sandbox);
        let realm = format!(
            "{scheme} realm=\"http://127.0.0.1:{}/token\"",
            elsewhere.port
        );
        let blob: &'static str = format!("/blobs/{digest}").leak();
        elsewhere.fail("GET", blob, challenge(realm));
        extract_with(&sandbox, &registry, PASSWORD)
            .assert_exit(4)
            .assert_error_names(&["401"]);
        let came = elsewhere.came();
        let asked = came.iter().filter(|came| came.method == "GET");
        assert!(!asked.clone().any(has_credentials), "{came:?}");
        assert!(
            !asked.clone().any(|came| came.path.contains("token")),
            "{came:?}"
        );
    }
}

#[test]
fn a_server_of_tokens_does_not_lead_elsewhere() {
    for credential in [PASSWORD, REFRESH_TOKEN] {
        let (sandbox, registry) = start();
        let elsewhere = FakeRegistry::start();
        printed(&sandbox, &["image", "out", &registry.image()]);
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
        assert!(elsewhere.came().is_empty(), "{:?}", elsewhere.came());
        assert!(
            registry
                .came()
                .iter()
                .any(|came| came.path.starts_with("/token"))
        );
    }
}

#[test]
fn tokens_are_not_asked_of_another_machine_in_plain() {
    let (sandbox, registry) = start();
    printed(&sandbox, &["image", "out", &registry.image()]);
    // An address of documentation (RFC 5737).
    let realm = "Bearer realm=\"http://192.0.2.1/token\"".to_owned();
    registry.fail("GET", "/manifests/", challenge(realm));
    extract_with(&sandbox, &registry, PASSWORD)
        .assert_exit(4)
        .assert_error_names(&["without TLS"]);
}

#[test]
fn a_registry_that_says_it_has_more_than_there_is_is_not_believed() {
    let (sandbox, registry) = start();
    registry.fail("PUT", "/uploads/", Fault::Status(503, Vec::new()));
    let location = "/v2/acme/wheels/blobs/uploads/1".to_owned();
    let range = "0-18446744073709551615".to_owned();
    let lie = Fault::Status(204, vec![("Location", location), ("Range", range)]);
    registry.fail("GET", "/uploads/", lie);
    assert_goes_through(&sandbox, &registry);
}

#[test]
fn a_date_to_come_again_is_kept() {
    let (sandbox, registry) = start();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    registry.fail(
        "POST",
        "/uploads/",
        Fault::Status(503, vec![("Retry-After", date)]),
    );
    let begun = std::time::Instant::now();
    printed(&sandbox, &["image", "out", &registry.image()]);
    assert!(begun.elapsed() > std::time::Duration::from_millis(1900));
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
        .assert_error_names(&["the manifest", "larger than 4 MiB"]);
}

#[test]
fn a_daemon_that_cannot_be_reached_is_told_for_what_is_done() {
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
