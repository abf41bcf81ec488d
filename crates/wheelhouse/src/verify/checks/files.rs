//! Compares the files of a directory with its manifest: none may differ, be missing, or be additional.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME, Wheel};
use wheelhouse_types::{Manifest, Sha256, WheelFilename};

use super::super::inventory::{DirectoryInventory, is_inside};
use super::super::report::{Check, CheckBuilder, CheckName, Finding, RERUN_HINT};
use super::super::wheel_contents::{WheelContents, digest};

const MOVE_HINT: &str = "Move it away: pip would use it, too.";

/// Compares the files with those of the manifest.
pub(crate) fn check(
    inventory: &DirectoryInventory,
    wheels: &BTreeMap<String, WheelContents>,
) -> Check {
    let mut check = CheckBuilder::new(CheckName::Files);
    check.count(inventory.wheels.len(), "wheel");
    if let Some(damage) = &inventory.damage {
        check.fail(damage.clone());
    }
    let Some(manifest) = &inventory.manifest else {
        check_without_manifest(inventory, &mut check);
        return check.finish();
    };
    if !manifest.sdists.is_empty() {
        check.count(manifest.sdists.len(), "source distribution");
    }
    if !manifest.crates.is_empty() {
        check.count(manifest.crates.len(), "crate");
    }
    check.count(manifest.files.len(), "other file");
    let mut named = BTreeSet::new();
    for wheel in &manifest.wheels {
        if !named.insert(wheel.filename.as_str()) {
            let message = format!("is listed twice in {MANIFEST_NAME}");
            check.fail(Finding::new(&wheel.filename, message));
        } else if is_safe(&wheel.filename, &mut check) {
            compare(wheel, inventory, wheels, &mut check);
        }
    }
    for sdist in &manifest.sdists {
        if !named.insert(sdist.filename.as_str()) {
            let message = format!("is listed twice in {MANIFEST_NAME}");
            check.fail(Finding::new(&sdist.filename, message));
        } else if is_safe(&sdist.filename, &mut check) {
            let stated = (sdist.sha256, sdist.size);
            compare_stored(&sdist.filename, stated, inventory, &mut check);
        }
    }
    for entry in &manifest.crates {
        if is_safe(&entry.path, &mut check) {
            let stated = (entry.sha256, entry.size);
            compare_stored(&entry.path, stated, inventory, &mut check);
        }
    }
    for file in &manifest.files {
        if is_safe(file, &mut check) && !inventory.directory.join(file).is_file() {
            check.fail(Finding::new(file, "is missing").hint(RERUN_HINT));
        }
    }
    check_additional_files(inventory, manifest, &mut check);
    check.finish()
}

/// Checks the files of a directory without a manifest.
fn check_without_manifest(inventory: &DirectoryInventory, check: &mut CheckBuilder) {
    check.count(inventory.sdists.len(), "source distribution");
    if inventory.wheels.is_empty() && inventory.sdists.is_empty() && inventory.damage.is_none() {
        let message = "contains no wheels and no source distributions";
        let directory = inventory.directory.display().to_string();
        check.fail(Finding::new(directory, message));
    }
    for name in inventory
        .irregular_files()
        .filter(|name| inventory.sdists.contains(*name))
    {
        check.fail(Finding::new(name, "is not a regular file"));
    }
    let reason = format!("there is no valid {MANIFEST_NAME} to compare with");
    check.skip_part(reason);
}

fn is_safe(name: &str, check: &mut CheckBuilder) -> bool {
    let is_safe = is_inside(name);
    if !is_safe {
        let message = format!(
            "lists `{}`, which is outside the directory",
            name.escape_debug()
        );
        check.fail(Finding::new(MANIFEST_NAME, message));
    }
    is_safe
}

/// Compares one wheel with its entry in the manifest.
fn compare(
    wheel: &Wheel,
    inventory: &DirectoryInventory,
    wheels: &BTreeMap<String, WheelContents>,
    check: &mut CheckBuilder,
) {
    let fail = |message: String| Finding::new(&wheel.filename, message).hint(RERUN_HINT);
    if !matches_its_name(wheel) {
        let (name, version) = (&wheel.name, &wheel.version);
        check.fail(fail(format!(
            "is listed as {name} {version} in {MANIFEST_NAME}"
        )));
    }
    let Some(contents) = wheels.get(&wheel.filename) else {
        let message = if inventory.directory.join(&wheel.filename).exists() {
            "is not a regular file"
        } else {
            "is missing"
        };
        check.fail(fail(message.to_owned()));
        return;
    };
    // A wheel that cannot be read fails the check of wheels.
    let Some((sha256, size)) = contents.bytes else {
        return;
    };
    if size != wheel.size {
        let message = format!(
            "has {size} bytes instead of {} in {MANIFEST_NAME}",
            wheel.size
        );
        check.fail(fail(message));
    } else if sha256 != wheel.sha256 {
        let expected = wheel.sha256;
        let message = format!("has the SHA-256 {sha256} instead of {expected} in {MANIFEST_NAME}");
        check.fail(fail(message));
    } else {
        return;
    }
    let mut others = wheels.iter().filter(|(name, _)| **name != wheel.filename);
    let other = others.find(|(_, other)| other.sha256() == Some(sha256));
    if let Some((other, _)) = other {
        check.fail(fail(format!("has the bytes of {other}")));
    }
}

/// Compares the source distribution or crate `name` with the digest and the size that the manifest states.
fn compare_stored(
    name: &str,
    stated: (Sha256, u64),
    inventory: &DirectoryInventory,
    check: &mut CheckBuilder,
) {
    let fail = |message: String| Finding::new(name, message).hint(RERUN_HINT);
    let Ok((sha256, size)) = digest(&inventory.directory.join(name)) else {
        check.fail(fail("is missing".to_owned()));
        return;
    };
    let (expected, expected_size) = stated;
    if size != expected_size {
        let message = format!("has {size} bytes instead of {expected_size} in {MANIFEST_NAME}");
        check.fail(fail(message));
    } else if sha256 != expected {
        let message = format!("has the SHA-256 {sha256} instead of {expected} in {MANIFEST_NAME}");
        check.fail(fail(message));
    }
}

fn matches_its_name(wheel: &Wheel) -> bool {
    let parsed = wheel.filename.parse::<WheelFilename>();
    parsed.is_ok_and(|parsed| {
        wheel.name.parse().ok() == Some(parsed.name)
            && wheel.version.parse().ok() == Some(parsed.version)
    })
}

/// Reports files that the manifest does not list.
fn check_additional_files(
    inventory: &DirectoryInventory,
    manifest: &Manifest,
    check: &mut CheckBuilder,
) {
    let known: BTreeSet<&str> = manifest
        .stored_files()
        .map(|file| file.filename)
        .chain(manifest.files.iter().map(String::as_str))
        .chain([MANIFEST_NAME])
        .collect();
    let foreign = format!("is not in {MANIFEST_NAME}");
    for name in inventory.wheels.iter().chain(&inventory.sdists) {
        if !known.contains(name.as_str()) {
            check.fail(Finding::new(name, &foreign).hint(MOVE_HINT));
        }
    }
    for name in &inventory.others {
        if name == PENDING_NAME {
            let message = "shows that a run was interrupted while it published the directory";
            check.warn(Finding::new(name, message));
        } else if !known.contains(name.as_str()) && !wheelhouse_publish::is_companion(name) {
            check.warn(Finding::new(name, &foreign));
        }
    }
}
