//! Signed records: only those of the named key are used.

use std::path::PathBuf;
use std::process::Command;

use super::{BUILDS, Site, builds, warnings};
use crate::support::{services, tree};

/// Generates a key with OpenSSL, and returns the paths of the private and the public key.
fn generate(site: &Site, name: &str) -> [PathBuf; 2] {
    let private = site.sandbox.path(&format!("{name}.pem"));
    let public = site.sandbox.path(&format!("{name}.pub"));
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "ed25519", "-out"]);
    services::run(openssl.arg(&private));
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-pubout", "-in"]).arg(&private);
    services::run(openssl.arg("-out").arg(&public));
    [private, public]
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn signed_records_are_used() {
    let site = Site::directory();
    let [private, public] = generate(&site, "own");
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let to = ["--cache-to", &site.location, "--sign", private];
    site.build("first", &to).assert_success();
    let from = ["--cache-from", &site.location];
    let verified = [&from[..], &["--cache-verify-key", public]].concat();
    let second = site.build("second", &verified);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    assert_eq!(warnings(&second), Vec::<String>::new());
    tree::assert_same(&site.wheels("second"), &site.wheels("first"));
    // Without a key, signed records are used like others.
    let third = site.build("third", &from);
    third.assert_success();
    assert_eq!(builds(&third), 0, "{}", third.stdout);
}

/// Builds from a location whose records are not acceptable.
#[track_caller]
fn assert_rejected(site: &Site, public: &str) {
    let verified = ["--cache-from", &site.location, "--cache-verify-key", public];
    let run = site.build("second", &verified);
    run.assert_success();
    assert_eq!(builds(&run), BUILDS, "{}", run.stdout);
    assert!(!warnings(&run).is_empty(), "{}", run.stdout);
    tree::assert_same(&site.wheels("second"), &site.wheels("first"));
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn unsigned_records_are_rejected() {
    let site = Site::directory();
    let [_, public] = generate(&site, "own");
    site.fill();
    assert_rejected(&site, public.to_str().unwrap());
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn records_of_another_key_are_rejected() {
    let site = Site::directory();
    let [other, _] = generate(&site, "other");
    let [_, public] = generate(&site, "own");
    let to = [
        "--cache-to",
        &site.location,
        "--sign",
        other.to_str().unwrap(),
    ];
    site.build("first", &to).assert_success();
    assert_rejected(&site, public.to_str().unwrap());
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires openssl")]
fn signed_records_under_another_key_are_rejected() {
    let site = Site::directory();
    let [private, public] = generate(&site, "own");
    let to = [
        "--cache-to",
        &site.location,
        "--sign",
        private.to_str().unwrap(),
    ];
    site.build("first", &to).assert_success();
    let directory = site.sandbox.path("shared/ac");
    let mut records: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    records.sort();
    let [one, other] = &records[..] else {
        panic!("{records:?}")
    };
    let content = std::fs::read(one).unwrap();
    std::fs::copy(other, one).unwrap();
    std::fs::write(other, content).unwrap();
    assert_rejected(&site, public.to_str().unwrap());
}
