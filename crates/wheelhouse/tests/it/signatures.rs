//! Signatures of manifests and provenance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::{Index, Sandbox, Sdist, Wheel, services};

const SIGNATURES: &str = "wheelhouse.signatures.jsonl";
const STATEMENT: &str = "alpha-1.0-py3-none-any.whl.provenance.json";

const ED25519: &[&str] = &["-algorithm", "ed25519"];
const ECDSA: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A key in the format of cosign, encrypted by libsodium with the password `correct horse`; for tests only.
const COSIGN: &str = include_str!("../../../attest/src/fixtures/cosign.key");

const COSIGN_PUBLIC: &str = include_str!("../../../attest/src/fixtures/cosign.pub");

/// A private key and its public key.
struct KeyFiles {
    private: PathBuf,
    public: PathBuf,
}

/// Generates a key with OpenSSL.
fn generate(sandbox: &Sandbox, name: &str, options: &[&str]) -> KeyFiles {
    let key = KeyFiles {
        private: sandbox.path(&format!("{name}.pem")),
        public: sandbox.path(&format!("{name}.pub")),
    };
    let mut generate = Command::new("openssl");
    services::run(
        generate
            .arg("genpkey")
            .args(options)
            .arg("-out")
            .arg(&key.private),
    );
    let mut public = Command::new("openssl");
    public.args(["pkey", "-pubout", "-in"]).arg(&key.private);
    services::run(public.arg("-out").arg(&key.public));
    key
}

/// Returns an index with `alpha` to build and `beta` as a wheel.
fn index() -> Index {
    let index = Index::start();
    index.add_sdist(&Sdist::new("alpha", "1.0").static_metadata());
    index.add(&Wheel::new("beta", "1.0"));
    index
}

fn sign(sandbox: &Sandbox, index: &Index, key: &Path) {
    let arguments = ["alpha", "beta", "--sign", key.to_str().unwrap()];
    sandbox.build(index, &arguments).assert_success();
}

fn verify(sandbox: &Sandbox, key: &Path) -> crate::support::RunResult {
    sandbox.wheelhouse(&[
        "verify",
        "out",
        "--no-install",
        "--key",
        key.to_str().unwrap(),
    ])
}

/// Returns the payload and the signature of each envelope, after OpenSSL has verified the signature.
fn verified_by_openssl(sandbox: &Sandbox, public: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(sandbox.out().join(SIGNATURES)).unwrap();
    let payloads = text.lines().map(|line| {
        let envelope: Value = serde_json::from_str(line).unwrap();
        let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let payload = decoded(&envelope["payload"]);
        let payload_type = envelope["payloadType"].as_str().unwrap();
        let (type_length, length) = (payload_type.len(), payload.len());
        let signed = format!("DSSEv1 {type_length} {payload_type} {length} ");
        let signed = [signed.as_bytes(), &payload].concat();
        fs::write(sandbox.path("signed"), signed).unwrap();
        fs::write(
            sandbox.path("signature"),
            decoded(&envelope["signatures"][0]["sig"]),
        )
        .unwrap();
        let mut openssl = sandbox.command("openssl");
        openssl.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-in", "signed"]);
        services::run(
            openssl
                .args(["-sigfile", "signature", "-inkey"])
                .arg(public),
        );
        payload
    });
    payloads.collect()
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn openssl_verifies_signatures_of_manifest_and_provenance() {
    for (name, options) in [("ed25519", ED25519), ("ecdsa", ECDSA)] {
        let (index, sandbox) = (index(), Sandbox::new());
        let key = generate(&sandbox, name, options);
        sign(&sandbox, &index, &key.private);
        let payloads = verified_by_openssl(&sandbox, &key.public);
        let read = |name: &str| fs::read(sandbox.out().join(name)).unwrap();
        assert_eq!(payloads, [read("wheelhouse.json"), read(STATEMENT)]);
        let verified = verify(&sandbox, &key.public);
        verified.assert_success();
        assert!(
            verified.stdout.contains("2 signatures"),
            "{}",
            verified.stdout
        );
        // An unchanged wheelhouse is not signed again, also not with another signature of ECDSA.
        let before = read(SIGNATURES);
        sign(&sandbox, &index, &key.private);
        assert_eq!(read(SIGNATURES), before);
        let plain = sandbox.wheelhouse(&["verify", "out", "--no-install"]);
        plain.assert_success();
    }
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn verification_rejects_other_keys_and_changed_files() {
    let (index, sandbox) = (index(), Sandbox::new());
    let [key, other] = ["key", "other"].map(|name| generate(&sandbox, name, ED25519));
    sandbox.build(&index, &["alpha", "beta"]).assert_success();
    let unsigned = verify(&sandbox, &key.public);
    unsigned
        .assert_exit(6)
        .assert_stdout_contains(&[SIGNATURES, "is missing"]);
    sign(&sandbox, &index, &key.private);
    let foreign = verify(&sandbox, &other.public);
    foreign.assert_exit(6);
    foreign.assert_stdout_contains(&["wheelhouse.json is not signed by this key", STATEMENT]);
    let change = |name: &str, change: &dyn Fn(String) -> String| {
        let path = sandbox.out().join(name);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(before.clone())).unwrap();
        let run = verify(&sandbox, &key.public);
        fs::write(&path, before).unwrap();
        run
    };
    let run = change("wheelhouse.json", &|text| {
        text.replace("\"beta\"", "\"Beta\"")
    });
    run.assert_exit(6);
    run.assert_stdout_contains(&["wheelhouse.json is not the one that was signed"]);
    let run = change(STATEMENT, &|text| text.replace("\"backend\"", "\"other\""));
    run.assert_exit(6)
        .assert_stdout_contains(&[STATEMENT, "is not signed"]);
    let run = change(SIGNATURES, &|text| text.replace("payloadType", "type"));
    run.assert_exit(6)
        .assert_stdout_contains(&[SIGNATURES, "damaged in line 1"]);
    verify(&sandbox, &key.public).assert_success();
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn images_carry_the_signatures() {
    let (index, sandbox) = (index(), Sandbox::new());
    let [key, other] = ["key", "other"].map(|name| generate(&sandbox, name, ED25519));
    sign(&sandbox, &index, &key.private);
    let verify = |image: &str, key: &Path| {
        let key = key.to_str().unwrap();
        sandbox.wheelhouse(&["verify", image, "--no-install", "--key", key])
    };
    let image = "oci:signed:1.0";
    sandbox
        .wheelhouse(&["image", "out", image])
        .assert_success();
    verify(image, &key.public).assert_success();
    verify(image, &other.public).assert_exit(6);
    let run = sandbox.wheelhouse(&["extract", image, "extracted"]);
    run.assert_success();
    assert!(!run.stderr.contains(SIGNATURES), "{}", run.stderr);
    let read = |place: &str| fs::read(sandbox.path(place).join(SIGNATURES)).unwrap();
    assert_eq!(read("extracted"), read("out"));
    verify("extracted", &key.public).assert_success();
    fs::remove_file(sandbox.out().join(SIGNATURES)).unwrap();
    let image = "oci:unsigned:1.0";
    sandbox
        .wheelhouse(&["image", "out", image])
        .assert_success();
    let unsigned = verify(image, &key.public);
    unsigned.assert_exit(6);
    unsigned.assert_stdout_contains(&[SIGNATURES, "is missing"]);
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn unusable_keys_are_errors_before_the_run() {
    let (index, mut sandbox) = (index(), Sandbox::new());
    let key = generate(&sandbox, "key", ED25519);
    let rsa = generate(&sandbox, "rsa", &["-algorithm", "RSA"]);
    let encrypted = sandbox.write("cosign.key", COSIGN);
    let refuse = |sandbox: &Sandbox, key: &Path, words: &[&str]| {
        let arguments = ["alpha", "--sign", key.to_str().unwrap()];
        let run = sandbox.build(&index, &arguments);
        run.assert_exit(2).assert_error_names(words);
    };
    refuse(
        &sandbox,
        &rsa.private,
        &["rsa.pem", "Ed25519", "openssl genpkey"],
    );
    refuse(&sandbox, &key.public, &["key.pub", "`PUBLIC KEY`"]);
    refuse(&sandbox, &sandbox.path("missing"), &["missing"]);
    refuse(&sandbox, &encrypted, &["cosign.key", "COSIGN_PASSWORD"]);
    sandbox.set("COSIGN_PASSWORD", "wrong horse");
    refuse(&sandbox, &encrypted, &["cosign.key", "password is wrong"]);
    assert!(index.requests("").is_empty(), "the run had begun");
    let run = verify(&sandbox, &key.private);
    run.assert_exit(2)
        .assert_error_names(&["key.pem", "`PRIVATE KEY`"]);
    sandbox.set("COSIGN_PASSWORD", "correct horse");
    sign(&sandbox, &index, &encrypted);
    let public = sandbox.write("cosign.pub", COSIGN_PUBLIC);
    verified_by_openssl(&sandbox, &public);
    verify(&sandbox, &public).assert_success();
}
