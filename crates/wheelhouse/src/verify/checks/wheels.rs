//! The wheels of a directory by themselves: whether each is what its name says, and made for the
//! targets.

use std::collections::BTreeMap;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::{Target, Version, VersionSpecifiers, WheelFilename};

use super::super::inventory::Survey;
use super::super::report::{Check, Examination, Finding, Name};
use super::super::wheel_contents::Examined;

/// Looks at every wheel. `targets` are those of the manifest, or the host.
pub(crate) fn check(
    survey: &Survey,
    wheels: &BTreeMap<String, Examined>,
    targets: &[Target],
) -> Check {
    let mut check = Examination::of(Name::Wheels);
    check.count(wheels.len(), "wheel");
    let fits: Vec<WheelCompatibility> = targets.iter().map(WheelCompatibility::new).collect();
    for (name, wheel) in wheels {
        for fault in &wheel.faults {
            check.fail(Finding::new(name, fault));
        }
        // What a digest vouches for is as it was published, and pip installs it nevertheless.
        let vouched = is_vouched(survey, name, wheel);
        for irregularity in &wheel.irregularities {
            let finding = Finding::new(name, irregularity);
            if vouched {
                check.warn(finding);
            } else {
                check.fail(finding);
            }
        }
        if let Some(finding) = misfit(name, wheel, targets, &fits) {
            // Whoever has no manifest may collect wheels for several platforms.
            if survey.manifest.is_some() {
                check.fail(finding);
            } else {
                check.warn(finding);
            }
        }
    }
    check.finish()
}

fn is_vouched(survey: &Survey, name: &str, wheel: &Examined) -> bool {
    let manifest = survey.manifest.iter();
    manifest
        .flat_map(|manifest| &manifest.wheels)
        .any(|known| known.filename == *name && Some(known.sha256) == wheel.sha256())
}

/// Why `wheel` fits none of `targets`, if it does not.
fn misfit(
    name: &str,
    wheel: &Examined,
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
        let message = format!("is from a wrong platform: its tags do not fit {labels}");
        return Some(Finding::new(name, message));
    }
    let required = wheel.values("Requires-Python").into_iter().next()?;
    let versions: VersionSpecifiers = required.parse().ok()?;
    let accepts = |target: &Target| {
        let version: Option<Version> = target.python_version.parse().ok();
        version.is_none_or(|version| versions.contains(&version))
    };
    let message = format!("wants Python {required}, which {labels} is not");
    (!targets.iter().any(accepts)).then(|| Finding::new(name, message))
}

/// Whether a target that `fit` is of could take the wheel `filename`; so also when that is not known.
pub(crate) fn is_candidate(filename: &WheelFilename, fit: &WheelCompatibility) -> bool {
    fit.accepts(filename) != Some(false)
}
