//! Checks each wheel on its own: it must match its name and fit a target.

use std::collections::BTreeMap;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::{Target, Version, VersionSpecifiers};

use super::super::inventory::DirectoryInventory;
use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::wheel_contents::WheelContents;

/// Checks all wheels. `targets` are those of the manifest, or that of the host.
pub(crate) fn check(
    inventory: &DirectoryInventory,
    wheels: &BTreeMap<String, WheelContents>,
    targets: &[Target],
) -> Check {
    let mut check = CheckBuilder::new(CheckName::Wheels);
    check.count(wheels.len(), "wheel");
    let fits: Vec<WheelCompatibility> = targets.iter().map(WheelCompatibility::new).collect();
    for (name, wheel) in wheels {
        for fault in &wheel.faults {
            check.fail(Finding::new(name, fault));
        }
        // A wheel with the digest of the manifest is as it was published, and pip installs it in spite of
        // irregularities.
        let is_known = has_known_digest(inventory, name, wheel);
        for irregularity in &wheel.irregularities {
            let finding = Finding::new(name, irregularity);
            if is_known {
                check.warn(finding);
            } else {
                check.fail(finding);
            }
        }
        if let Some(finding) = misfit(name, wheel, targets, &fits) {
            // A directory without a manifest may have wheels for several platforms.
            if inventory.manifest.is_some() {
                check.fail(finding);
            } else {
                check.warn(finding);
            }
        }
    }
    check.finish()
}

fn has_known_digest(inventory: &DirectoryInventory, name: &str, wheel: &WheelContents) -> bool {
    let manifest = inventory.manifest.iter();
    manifest
        .flat_map(|manifest| &manifest.wheels)
        .any(|known| known.filename == *name && Some(known.sha256) == wheel.sha256())
}

/// Returns a finding if `wheel` fits none of `targets`.
fn misfit(
    name: &str,
    wheel: &WheelContents,
    targets: &[Target],
    fits: &[WheelCompatibility],
) -> Option<Finding> {
    let filename = wheel.filename.as_ref()?;
    let labels: Vec<String> = targets.iter().map(Target::label).collect();
    let labels = labels.join(", ");
    if targets.is_empty() {
        return None;
    }
    if fits.iter().all(|fit| fit.accepts(filename) == Some(false)) {
        let message = format!("is for another platform: its tags do not fit {labels}");
        return Some(Finding::new(name, message));
    }
    let required = wheel.values("Requires-Python").into_iter().next()?;
    let versions: VersionSpecifiers = required.parse().ok()?;
    let accepts = |target: &Target| {
        let version: Option<Version> = target.python_version.parse().ok();
        version.is_none_or(|version| versions.contains(&version))
    };
    let message = format!("requires Python {required}, which {labels} is not");
    (!targets.iter().any(accepts)).then(|| Finding::new(name, message))
}
