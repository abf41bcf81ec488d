//! Cached layer digests, and files that have changed since.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};

use super::{run, stdout_of, wheelhouse};
use crate::support::Sandbox;
use crate::support::services::{Registry, RegistryOptions};

const DRY: [&str; 3] = ["image", "out", "--dry-run"];

/// Returns the wheel of `alpha`.
fn wheel(sandbox: &Sandbox) -> PathBuf {
    let mut names = fs::read_dir(sandbox.out()).unwrap();
    let wheel = names.find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        name.starts_with("alpha").then_some(path)
    });
    wheel.unwrap()
}

/// Replaces the wheel by another of the same size, with or without its modification time.
fn replace(wheel: &Path, keep_time: bool) {
    let before = fs::metadata(wheel).unwrap();
    let mut bytes = fs::read(wheel).unwrap();
    bytes[10] ^= 1;
    fs::remove_file(wheel).unwrap();
    fs::write(wheel, bytes).unwrap();
    if keep_time {
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        File::open(wheel).unwrap().set_times(times).unwrap();
    }
}

fn assert_refused(sandbox: &Sandbox, arguments: &[&str]) {
    run(sandbox, arguments)
        .assert_exit(6)
        .assert_error_names(&["alpha-1.0", "differs from the manifest of the wheelhouse"]);
}

#[test]
fn reuses_layer_digest_until_files_change() {
    let sandbox = wheelhouse();
    let digest = stdout_of(&sandbox, &DRY);
    let wheel = wheel(&sandbox);
    replace(&wheel, true);
    // A dry run does not read the files of cached layers.
    assert_eq!(stdout_of(&sandbox, &DRY), digest);
    replace(&wheel, false);
    replace(&wheel, false);
    assert_refused(&sandbox, &DRY);
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn digests_written_layers_again() {
    let sandbox = wheelhouse();
    stdout_of(&sandbox, &["image", "out", "oci:whole:1"]);
    replace(&wheel(&sandbox), true);
    for destination in [
        "oci:layout:1",
        "oci-archive:a.tar:1",
        "docker-archive:b.tar",
    ] {
        assert_refused(&sandbox, &["image", "out", destination]);
    }
    assert!(!sandbox.path("layout/index.json").exists());
    let registry = Registry::start(&sandbox.path("registry"), &RegistryOptions::default());
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    assert_refused(&sandbox, &["image", "out", &image]);
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
}

#[test]
fn cached_and_uncached_layers_are_identical() {
    let sandbox = wheelhouse();
    let [known, unknown] = ["known", "unknown"].map(|name| format!("oci:{name}:1"));
    let digest = stdout_of(&sandbox, &["image", "out", &unknown, "--no-cache"]);
    stdout_of(&sandbox, &DRY);
    assert_eq!(stdout_of(&sandbox, &["image", "out", &known]), digest);
    let blobs = |name: &str| {
        let blobs = fs::read_dir(sandbox.path(name).join("blobs/sha256")).unwrap();
        let read = blobs.map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        });
        read.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(blobs("known") == blobs("unknown"));
}
