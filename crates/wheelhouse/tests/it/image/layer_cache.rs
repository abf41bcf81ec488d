//! Layers that were digested before, and files that have changed since.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};

use super::{printed, run, wheelhouse};
use crate::support::Sandbox;
use crate::support::services::{Registry, Terms};

const DRY: [&str; 3] = ["image", "out", "--dry-run"];

/// The wheel that has a layer of its own or shares one, it does not matter.
fn wheel(sandbox: &Sandbox) -> PathBuf {
    let mut names = fs::read_dir(sandbox.out()).unwrap();
    let wheel = names.find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        name.starts_with("alpha").then_some(path)
    });
    wheel.unwrap()
}

/// Replaces the wheel by another of its size: its time is kept by `cp -p`, say, or it is not.
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
        .assert_error_names(&["alpha-1.0", "is not what its manifest says"]);
}

#[test]
fn a_layer_is_believed_as_long_as_nobody_writes_to_its_files() {
    let sandbox = wheelhouse();
    let digest = printed(&sandbox, &DRY);
    let wheel = wheel(&sandbox);
    replace(&wheel, true);
    // Nothing is read when nothing is written.
    assert_eq!(printed(&sandbox, &DRY), digest);
    replace(&wheel, false);
    replace(&wheel, false);
    assert_refused(&sandbox, &DRY);
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn what_is_written_is_digested_all_the_same() {
    let sandbox = wheelhouse();
    printed(&sandbox, &["image", "out", "oci:whole:1"]);
    replace(&wheel(&sandbox), true);
    for destination in [
        "oci:layout:1",
        "oci-archive:a.tar:1",
        "docker-archive:b.tar",
    ] {
        assert_refused(&sandbox, &["image", "out", destination]);
    }
    assert!(!sandbox.path("layout/index.json").exists());
    let registry = Registry::start(&sandbox.path("registry"), &Terms::default());
    let image = format!("docker://{}/acme/wheels:1", registry.host());
    assert_refused(&sandbox, &["image", "out", &image]);
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
}

#[test]
fn layers_are_the_same_whether_they_are_known_or_not() {
    let sandbox = wheelhouse();
    let [known, unknown] = ["known", "unknown"].map(|name| format!("oci:{name}:1"));
    let digest = printed(&sandbox, &["image", "out", &unknown, "--no-cache"]);
    printed(&sandbox, &DRY);
    assert_eq!(printed(&sandbox, &["image", "out", &known]), digest);
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
