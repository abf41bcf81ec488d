//! One lock for several targets: shared entries and their markers.

use std::collections::BTreeMap;

use uv_pep508::{MarkerEnvironment, MarkerTree};

use super::{artifact, at, base, name};
use crate::lock::{Build, Lock, Package, Pin};
use crate::pylock::{read, write_shared};
use crate::{Origin, Source, Target};

fn target(name: &str) -> Target {
    name.parse().unwrap()
}

/// Returns a package of an index with the file `filename`.
fn package(named: &str, version: &str, filename: &str) -> Package {
    let file = artifact(filename, at(&format!("https://files.example/{filename}")));
    let is_sdist = filename.ends_with(".tar.gz");
    let source = if is_sdist {
        Source::Sdist(file)
    } else {
        Source::Wheel(file)
    };
    let index = Origin::Index {
        url: "https://index.example/simple".to_owned(),
    };
    super::package(named, version, index, source)
}

fn pure(named: &str, version: &str) -> Package {
    package(
        named,
        version,
        &format!("{named}-{version}-py3-none-any.whl"),
    )
}

fn lock(packages: Vec<Package>) -> Lock {
    Lock {
        packages,
        ..Lock::default()
    }
}

fn shared(locks: &[(&str, Lock)]) -> crate::Result<String> {
    let targets: Vec<Target> = locks.iter().map(|(name, _)| target(name)).collect();
    let locks: Vec<_> = targets
        .iter()
        .zip(locks.iter().map(|(_, lock)| lock))
        .collect();
    write_shared(&locks, "request", &BTreeMap::new(), base())
}

/// Returns the lock that `shared` contains for a target; wheels are selected by a part of their names.
fn for_target(shared: &str, name: &str, tag: &str) -> Vec<Package> {
    let environment: MarkerEnvironment = target(name).marker_environment().unwrap();
    let mut choose = |names: &[crate::WheelFilename]| {
        names.iter().position(|name| name.to_string().contains(tag))
    };
    let mut applies = |marker: &crate::pylock::Marker<'_>| marker.holds(&environment);
    read(shared, base(), &mut choose, &mut applies)
        .unwrap()
        .packages
}

#[test]
fn every_target_reads_back_its_lock() {
    let linux = vec![
        package("alpha", "1", "alpha-1-cp311-cp311-linux_x86_64.whl"),
        pure("beta", "1"),
    ];
    let windows = vec![
        package("alpha", "1", "alpha-1.tar.gz"),
        pure("beta", "2"),
        pure("gamma", "1"),
    ];
    let text = shared(&[
        ("3.11-linux", lock(linux.clone())),
        ("3.12-linux", lock(linux.clone())),
        ("3.11-windows", lock(windows.clone())),
    ])
    .unwrap();
    assert_eq!(for_target(&text, "3.12-linux", ""), linux);
    let mut read = for_target(&text, "3.11-windows", "any");
    read[0].source = windows[0].source.clone();
    assert_eq!(read, windows);
    insta::assert_snapshot!(text);
}

#[test]
fn rejects_differences_that_no_marker_distinguishes() {
    let glibc = || ("3.11-linux", lock(vec![pure("alpha", "1")]));
    let error = shared(&[glibc(), ("3.11-alpine", lock(vec![pure("alpha", "2")]))]).unwrap_err();
    let sentence = error.display_chain();
    assert!(sentence.contains("manylinux") && sentence.contains("musllinux"));
    assert!(sentence.contains("alpha"));
    let musl = package("alpha", "1", "alpha-1-cp311-cp311-musllinux_1_2_x86_64.whl");
    let text = shared(&[glibc(), ("3.11-alpine", lock(vec![musl]))]).unwrap();
    assert!(!text.contains("marker"));
    assert_eq!(text.matches("[[packages.wheels]]").count(), 2);
}

#[test]
fn build_pins_have_markers_where_they_differ() {
    let build = |setuptools: &str| Lock {
        packages: vec![package("alpha", "1", "alpha-1.tar.gz")],
        builds: vec![Build {
            name: name("alpha"),
            version: "1".parse().unwrap(),
            requires: vec!["setuptools".to_owned()],
            closure: vec![Pin {
                requirement: format!("setuptools=={setuptools}"),
                hashes: vec![format!("sha256:{setuptools}")],
            }],
            crates: Vec::new(),
        }],
        ..Lock::default()
    };
    let text = shared(&[("3.8-linux", build("75")), ("3.12-linux", build("82"))]).unwrap();
    let lock = super::read_first(&text).unwrap();
    let [build] = &lock.builds[..] else {
        panic!("{text}");
    };
    let holds = |pin: &Pin, python: &str| {
        let (_, marker) = pin.requirement.split_once(" ; ").unwrap();
        let marker: MarkerTree = marker.parse().unwrap();
        let environment = target(python).marker_environment().unwrap();
        marker.evaluate(&environment, &[])
    };
    assert_eq!(build.closure.len(), 2);
    for (pin, own, other) in [
        (&build.closure[0], "3.8-linux", "3.12-linux"),
        (&build.closure[1], "3.12-linux", "3.8-linux"),
    ] {
        assert!(holds(pin, own) && !holds(pin, other), "{pin:?}");
    }
}
