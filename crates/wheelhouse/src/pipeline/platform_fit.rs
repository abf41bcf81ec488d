//! Checks that wheels fit the system of `--platform`, or warns if they do not fit common systems.

use std::collections::BTreeMap;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::target::{Platform, glibc_of_wheel};
use wheelhouse_types::{Error, Event, Kind, Observer, Result, Target};

use super::publish::ResolvedSet;
use super::worker::WheelArtifact;

/// The glibc of RHEL 8, which common systems have: `--platform linux` means it, too, and the manylinux images with which
/// most projects build are based on it.
const COMMON: (u16, u16) = (2, 28);

/// The number of wheels that a warning names.
const NAMED: usize = 5;

/// Returns the target of the host, restricted to wheels that fit `platform`, too.
///
/// # Errors
/// [`Kind::Input`] when this host cannot build for `platform`.
pub(super) fn target(host: &Target, platform: Option<&Platform>) -> Result<Target> {
    let Some(platform) = platform else {
        return Ok(host.clone());
    };
    let own: Platform = host.platform.parse()?;
    if !platform.is_older(&own) {
        let message = format!("wheels for {platform} cannot be built on {own}");
        return Err(Error::new(Kind::Input, message).with_hint(
            "Name a system of the same kind that is not newer than this one, or use `wheelhouse download` for others.",
        ));
    }
    Ok(Target {
        platform: platform.to_string(),
        ..host.clone()
    })
}

/// Checks that all wheels fit `target`, the target of `--platform`. Only wheels that were built here can fail, because the
/// resolver chooses published ones that fit.
///
/// # Errors
/// [`Kind::Build`], naming the wheels and what they need.
pub(super) fn check(sets: &[ResolvedSet], target: &Target) -> Result<()> {
    let fit = WheelCompatibility::new(target);
    let most = target
        .platform
        .parse()
        .ok()
        .as_ref()
        .and_then(Platform::glibc);
    let unfit = wheels(sets).into_values().filter_map(|wheel| {
        let needed = needed(wheel).filter(|needed| most.is_some_and(|most| *needed > most));
        let refused = wheel
            .filename
            .parse()
            .ok()
            .and_then(|name| fit.accepts(&name))
            == Some(false);
        match needed {
            Some(needed) => Some(format!("{} needs {}", wheel.filename, glibc(needed))),
            None if refused => Some(format!("{} is for another system", wheel.filename)),
            None => None,
        }
    });
    let unfit: Vec<String> = unfit.collect();
    if unfit.is_empty() {
        return Ok(());
    }
    let message = format!("wheels that were built here do not fit {}", target.platform);
    Err(Error::new(Kind::Build, message)
        .with_detail(unfit.join("\n"))
        .with_hint(
            "Build on such a system, for instance in a container of PyPA's manylinux images; take published wheels with \
             --only-binary NAME; or leave out --platform.",
        ))
}

/// Warns of wheels that need a newer glibc than common systems have.
pub(super) fn warn(sets: &[ResolvedSet], observer: &dyn Observer) {
    let newer = wheels(sets).into_values().filter_map(|wheel| {
        let needed = needed(wheel).filter(|needed| *needed > COMMON)?;
        Some(format!("{} ({})", wheel.filename, glibc(needed)))
    });
    let newer: Vec<String> = newer.collect();
    if newer.is_empty() {
        return;
    }
    let named = newer.iter().take(NAMED).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match newer.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (major, minor) = COMMON;
    observer.observe(&Event::Warning {
        message: format!(
            "wheels need a newer glibc than {major}.{minor}, which older systems do not have: {named}{more}"
        ),
        hint: Some(
            "They install on systems such as this one. Choose wheels for older ones with --platform, such as --platform \
             linux."
                .to_owned(),
        ),
    });
}

/// Returns the wheels of all sets, each once.
fn wheels(sets: &[ResolvedSet]) -> BTreeMap<&str, &WheelArtifact> {
    let wheels = sets.iter().flat_map(|set| &set.wheels);
    wheels
        .map(|wheel| (wheel.filename.as_str(), wheel))
        .collect()
}

/// Returns the glibc that a wheel needs by its tags, or by its binaries if it was built here.
fn needed(wheel: &WheelArtifact) -> Option<(u16, u16)> {
    let built = wheel.built.as_ref().and_then(|built| built.glibc);
    glibc_of_wheel(&wheel.filename).max(built)
}

fn glibc((major, minor): (u16, u16)) -> String {
    format!("glibc {major}.{minor}")
}
