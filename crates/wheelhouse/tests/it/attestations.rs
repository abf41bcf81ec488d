//! Attestations of an index (PEP 740): fetched with a wheelhouse, and verified against a policy. They are real ones, of a
//! wheel that was attested at the staging instance of Sigstore.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Behavior, Index, RunResult, Sandbox, Sdist, Wheel, sha256};

const WHEEL: &str = "rfc8785-0.1.2-py3-none-any.whl";

const PUBLISHER: &str = r#"{kind = "Other", issuer = "https://github.com/login/oauth", subject = "william@yossarian.net"}"#;

fn fixture(name: &str) -> PathBuf {
    let attest =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../attest/src/attestation/tests/fixtures");
    attest.join(name)
}

fn object_name() -> String {
    format!("{WHEEL}.provenance")
}

/// Returns an index with the wheel and its attestations.
fn index() -> Index {
    let index = Index::start();
    let bytes = fs::read(fixture(WHEEL)).unwrap();
    let object_url = index.file_url("").replace("/files/", "/integrity/rfc8785");
    let page = json!({
        "meta": {"api-version": "1.4"}, "name": "rfc8785",
        "files": [{
            "filename": WHEEL, "url": index.file_url(WHEEL), "hashes": {"sha256": sha256(&bytes)},
            "provenance": object_url,
        }],
    });
    index.add_bytes(WHEEL, bytes, None);
    let json = "application/vnd.pypi.simple.v1+json";
    index.always(
        "/simple/rfc8785/",
        Behavior::Body(json, page.to_string().into_bytes()),
    );
    let object = fs::read(fixture(&object_name())).unwrap();
    index.always(
        "/integrity/rfc8785",
        Behavior::Body("application/vnd.pypi.integrity.v1+json", object),
    );
    index
}

fn verify(sandbox: &Sandbox, policy: &str, root: &str, arguments: &[&str]) -> RunResult {
    let policy = sandbox.write("policy.toml", policy);
    let root = fixture(root);
    let common = [
        "verify",
        "out",
        "--no-install",
        "--attestations",
        policy.to_str().unwrap(),
    ];
    let common = [&common[..], &["--trust-root", root.to_str().unwrap()]].concat();
    sandbox.wheelhouse(&[&common[..], arguments].concat())
}

fn rule(publisher: &str) -> String {
    format!("[[package]]\nname = \"rfc8785\"\npublishers = [{publisher}]\n")
}

/// Returns the check of attestations in the JSON document of `run`.
fn check(run: &RunResult) -> Value {
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let mut checks = checks.iter();
    checks
        .find(|check| check["name"] == "attestations")
        .unwrap()
        .clone()
}

const STAGING: &str = "trusted_root_staging.json";

#[test]
fn fetches_and_verifies_attestations() {
    let (index, sandbox) = (index(), Sandbox::new());
    for run in [
        sandbox.build(&index, &["rfc8785", "--attestations"]),
        sandbox.download(&index, &["rfc8785", "--attestations", "--no-bootstrap"]),
    ] {
        run.assert_success();
        let object = fs::read(sandbox.out().join(object_name())).unwrap();
        assert_eq!(object, fs::read(fixture(&object_name())).unwrap());
        let run = verify(&sandbox, &rule(PUBLISHER), STAGING, &["--json"]);
        run.assert_success();
        let check = check(&run);
        assert_eq!(check["outcome"], "passed");
        assert_eq!(
            check["counts"],
            json!([{"number": 1, "noun": "attested file"}])
        );
    }
    // The object of the output is kept without network.
    assert_eq!(index.requests("/integrity/rfc8785").len(), 1);
    let offline = sandbox.build(&index, &["rfc8785", "--attestations", "--offline"]);
    offline.assert_success();
    assert!(sandbox.out().join(object_name()).is_file());
    // It is not there without the option.
    sandbox.build(&index, &["rfc8785"]).assert_success();
    assert!(!sandbox.out().join(object_name()).exists());
    let offline = sandbox.build(&index, &["rfc8785", "--attestations", "--offline"]);
    offline.assert_exit(4);
    offline.assert_error_names(&["attestations of rfc8785", "--offline", "hint: "]);
    assert_eq!(index.requests("/integrity/rfc8785").len(), 1);
}

#[test]
fn run_fails_without_the_attestations_that_the_index_states() {
    for behavior in [
        Behavior::Status(404, Vec::new()),
        Behavior::Body("application/json", b"{}".to_vec()),
        Behavior::Body("application/json", vec![b' '; 3 << 20]),
    ] {
        let (index, sandbox) = (index(), Sandbox::new());
        index.always("/integrity/rfc8785", behavior);
        let run = sandbox.build(&index, &["rfc8785", "--attestations"]);
        assert!(!sandbox.out().exists(), "{}", run.stderr);
        run.assert_error_names(&["attestations of rfc8785"]);
        sandbox.build(&index, &["rfc8785"]).assert_success();
    }
}

#[test]
fn names_files_that_the_policy_does_not_accept() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox
        .build(&index, &["rfc8785", "--attestations"])
        .assert_success();
    let other = r#"{kind = "GitHub", repository = "trailofbits/rfc8785.py"}"#;
    let run = verify(&sandbox, &rule(other), STAGING, &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "failed       attestations",
        WHEEL,
        "attestation 1 is by a publisher that the policy does not accept: william@yossarian.net of https://github.com/login/oauth",
    ]);
    let run = verify(&sandbox, &rule(PUBLISHER), "trusted_root.json", &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "attestation 1 was recorded by a log that the trust root does not have",
    ]);
    let run = verify(&sandbox, "[[package]]\nname = \"other\"\n", STAGING, &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&["is of a package for which the policy has no rule", "hint: "]);
    // Another wheel under the same name.
    let wheel = sandbox.out().join(WHEEL);
    let mut bytes = fs::read(&wheel).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&wheel).unwrap();
    fs::write(&wheel, bytes).unwrap();
    let run = verify(&sandbox, &rule(PUBLISHER), STAGING, &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&["attestation 1 is about a file with other contents"]);
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn policy_decides_on_files_without_attestations() {
    let (index, sandbox) = (index(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    index.add_sdist(&Sdist::new("beta", "1.0").static_metadata());
    let key = sandbox.path("key.pem");
    let mut generate = std::process::Command::new("openssl");
    generate
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&key);
    crate::support::services::run(&mut generate);
    let public = sandbox.path("key.pub");
    let mut export = std::process::Command::new("openssl");
    export
        .args(["pkey", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&public);
    crate::support::services::run(&mut export);
    let arguments = [
        "rfc8785",
        "alpha",
        "beta",
        "--attestations",
        "--sign",
        key.to_str().unwrap(),
    ];
    sandbox.build(&index, &arguments).assert_success();
    let key = ["--key", public.to_str().unwrap(), "--json"];
    let abouts = |check: &Value, part: &str| -> Vec<String> {
        let findings = check[part].as_array().unwrap().iter();
        findings
            .map(|finding| finding["about"].as_str().unwrap().to_owned())
            .collect()
    };
    let (alpha, beta) = ("alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl");
    let run = verify(&sandbox, &rule(PUBLISHER), STAGING, &["--json"]);
    run.assert_exit(6);
    assert_eq!(abouts(&check(&run), "failures"), [alpha, beta]);
    // The signature vouches for what was built here.
    let run = verify(&sandbox, &rule(PUBLISHER), STAGING, &key);
    run.assert_exit(6);
    assert_eq!(abouts(&check(&run), "failures"), [alpha]);
    let warning = format!("without-attestations = \"warn\"\n{}", rule(PUBLISHER));
    let run = verify(&sandbox, &warning, STAGING, &key);
    run.assert_success();
    assert_eq!(abouts(&check(&run), "warnings"), [alpha]);
    let accepted = "[[package]]\nname = \"a*\"\nwithout-attestations = \"accept\"\n";
    let run = verify(
        &sandbox,
        &format!("{}{accepted}", rule(PUBLISHER)),
        STAGING,
        &key,
    );
    run.assert_success();
    assert_eq!(check(&run)["outcome"], "passed");
}

#[test]
fn rejects_unusable_policy_and_trust_root() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["rfc8785"]).assert_success();
    let run = verify(&sandbox, "[[package]]\nname = \"*x\"\n", STAGING, &[]);
    run.assert_exit(2);
    run.assert_error_names(&["policy.toml", "`*x`"]);
    let run = verify(&sandbox, &rule(PUBLISHER), &object_name(), &[]);
    run.assert_exit(2);
    run.assert_error_names(&["trust root", "mediaType"]);
    let run = sandbox.wheelhouse(&["verify", "out", "--attestations", "policy.toml"]);
    run.assert_exit(2);
    run.assert_error_names(&["--trust-root"]);
}
