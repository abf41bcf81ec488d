//! The files of a directory against its manifest: nothing else, nothing extra, nothing missing.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME, Sdist, Wheel};
use wheelhouse_types::{Manifest, WheelFilename};

use super::super::inventory::{Survey, is_inside};
use super::super::report::{Check, Examination, Finding, Name};
use super::super::wheel_contents::{Examined, digest};

const TAKEN: &str = "Move it away: pip takes it as well.";

/// Compares what is there with what the manifest names.
pub(crate) fn check(survey: &Survey, wheels: &BTreeMap<String, Examined>) -> Check {
    let mut check = Examination::of(Name::Files);
    check.count(survey.wheels.len(), "wheel");
    if let Some(damage) = &survey.damage {
        check.fail(damage.clone());
    }
    let Some(manifest) = &survey.manifest else {
        plain(survey, &mut check);
        return check.finish();
    };
    if !manifest.sdists.is_empty() {
        check.count(manifest.sdists.len(), "source distribution");
    }
    check.count(manifest.files.len(), "other file");
    let mut named = BTreeSet::new();
    for wheel in &manifest.wheels {
        if !named.insert(wheel.filename.as_str()) {
            let message = format!("is named twice by {MANIFEST_NAME}");
            check.fail(Finding::new(&wheel.filename, message));
        } else if is_safe(&wheel.filename, &mut check) {
            compare(wheel, survey, wheels, &mut check);
        }
    }
    for sdist in &manifest.sdists {
        if !named.insert(sdist.filename.as_str()) {
            let message = format!("is named twice by {MANIFEST_NAME}");
            check.fail(Finding::new(&sdist.filename, message));
        } else if is_safe(&sdist.filename, &mut check) {
            compare_sdist(sdist, survey, &mut check);
        }
    }
    for file in &manifest.files {
        if is_safe(file, &mut check) && !survey.directory.join(file).is_file() {
            check.fail(Finding::new(file, "is missing").hint(super::super::AGAIN));
        }
    }
    extra(survey, manifest, &mut check);
    check.finish()
}

/// What can be said without a manifest.
fn plain(survey: &Survey, check: &mut Examination) {
    check.count(survey.sdists.len(), "source distribution");
    if survey.wheels.is_empty() && survey.sdists.is_empty() && survey.damage.is_none() {
        let message = "holds no wheels and no source distributions";
        let directory = survey.directory.display().to_string();
        check.fail(Finding::new(directory, message));
    }
    for name in survey
        .no_files()
        .filter(|name| survey.sdists.contains(*name))
    {
        check.fail(Finding::new(name, "is no file"));
    }
    let reason = format!("there is no usable {MANIFEST_NAME} to compare with");
    check.leave_out(reason);
}

fn is_safe(name: &str, check: &mut Examination) -> bool {
    let is_safe = is_inside(name);
    if !is_safe {
        let message = format!("names `{}`, outside the directory", name.escape_debug());
        check.fail(Finding::new(MANIFEST_NAME, message));
    }
    is_safe
}

/// Compares one wheel with what the manifest says of it.
fn compare(
    wheel: &Wheel,
    survey: &Survey,
    wheels: &BTreeMap<String, Examined>,
    check: &mut Examination,
) {
    let fail = |message: String| Finding::new(&wheel.filename, message).hint(super::super::AGAIN);
    if !agrees_with_its_name(wheel) {
        let (name, version) = (&wheel.name, &wheel.version);
        check.fail(fail(format!("is {name} {version} for {MANIFEST_NAME}")));
    }
    let Some(examined) = wheels.get(&wheel.filename) else {
        let message = if survey.directory.join(&wheel.filename).exists() {
            "is no file at the top of the directory"
        } else {
            "is missing"
        };
        check.fail(fail(message.to_owned()));
        return;
    };
    // What cannot be read is a fault of the wheel.
    let Some((sha256, size)) = examined.bytes else {
        return;
    };
    if size != wheel.size {
        let message = format!("has {size} bytes where {MANIFEST_NAME} says {}", wheel.size);
        check.fail(fail(message));
    } else if sha256 != wheel.sha256 {
        let said = wheel.sha256;
        let message = format!("has the SHA-256 {sha256} where {MANIFEST_NAME} says {said}");
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

/// Compares one source distribution with what the manifest says of it.
fn compare_sdist(sdist: &Sdist, survey: &Survey, check: &mut Examination) {
    let fail = |message: String| Finding::new(&sdist.filename, message).hint(super::super::AGAIN);
    let Ok((sha256, size)) = digest(&survey.directory.join(&sdist.filename)) else {
        check.fail(fail("is missing".to_owned()));
        return;
    };
    if size != sdist.size {
        let message = format!("has {size} bytes where {MANIFEST_NAME} says {}", sdist.size);
        check.fail(fail(message));
    } else if sha256 != sdist.sha256 {
        let said = sdist.sha256;
        let message = format!("has the SHA-256 {sha256} where {MANIFEST_NAME} says {said}");
        check.fail(fail(message));
    }
}

fn agrees_with_its_name(wheel: &Wheel) -> bool {
    let parsed = wheel.filename.parse::<WheelFilename>();
    parsed.is_ok_and(|parsed| {
        wheel.name.parse().ok() == Some(parsed.name)
            && wheel.version.parse().ok() == Some(parsed.version)
    })
}

/// Tells of what no run put there.
fn extra(survey: &Survey, manifest: &Manifest, check: &mut Examination) {
    let known: BTreeSet<&str> = manifest
        .distributions()
        .map(|file| file.filename)
        .chain(manifest.files.iter().map(String::as_str))
        .chain([MANIFEST_NAME])
        .collect();
    let foreign = format!("is not in {MANIFEST_NAME}");
    for name in survey.wheels.iter().chain(&survey.sdists) {
        if !known.contains(name.as_str()) {
            check.fail(Finding::new(name, &foreign).hint(TAKEN));
        }
    }
    for name in &survey.others {
        if name == PENDING_NAME {
            let message = "tells that a run was stopped half-way";
            check.warn(Finding::new(name, message));
        } else if !known.contains(name.as_str()) {
            check.warn(Finding::new(name, &foreign));
        }
    }
}
