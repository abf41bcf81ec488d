//! Which systems the wheels of a run fit: the one that was asked for, or those that are common.

use std::collections::BTreeMap;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::target::{Platform, System, glibc_of_wheel};
use wheelhouse_types::{Error, Event, Kind, Observer, Result, Target};

use super::publish::ResolvedSet;
use super::worker::Made;

/// The glibc that common systems have: that of RHEL 8, which the name `linux` stands for, too, and which the manylinux
/// images are made of that most projects build with.
const COMMON: (u16, u16) = (2, 28);

/// How many wheels are named.
const NAMED: usize = 5;

/// Makes of `host` the target whose wheels fit `platform`, too.
///
/// # Errors
/// `Input` when this host cannot build for it.
pub(super) fn restricted(host: &Target, platform: &Platform) -> Result<Target> {
    let own: Platform = host.platform.parse()?;
    if !platform.is_older(&own) {
        let message = format!("wheels for {platform} cannot be built on {own}");
        return Err(Error::new(Kind::Input, message).with_hint(
            "Name the same kind of system, no newer than this one; `wheelhouse download` fetches wheels for others.",
        ));
    }
    Ok(Target {
        platform: platform.to_string(),
        ..host.clone()
    })
}

/// Refuses wheels that do not fit `target`, which was asked for by its platform. These were built here: others are chosen
/// to fit.
///
/// # Errors
/// `Build`, naming the wheels and what they need.
pub(super) fn check(sets: &[ResolvedSet], target: &Target) -> Result<()> {
    let fit = WheelCompatibility::new(target);
    let most = target.platform.parse().ok().as_ref().and_then(glibc_of);
    let unfit = wheels(sets).into_values().filter_map(|made| {
        let needed = needed(made).filter(|needed| most.is_some_and(|most| *needed > most));
        let refused = made
            .filename
            .parse()
            .ok()
            .and_then(|name| fit.accepts(&name))
            == Some(false);
        match needed {
            Some(needed) => Some(format!("{} needs {}", made.filename, glibc(needed))),
            None if refused => Some(format!("{} is for another system", made.filename)),
            None => None,
        }
    });
    let unfit: Vec<String> = unfit.collect();
    if unfit.is_empty() {
        return Ok(());
    }
    let message = format!("what was built here does not fit {}", target.platform);
    Err(Error::new(Kind::Build, message)
        .with_detail(unfit.join("\n"))
        .with_hint(
            "Build on such a system, for instance in a container of PyPA's manylinux images; take published wheels with \
             --only-binary NAME; or leave out --platform.",
        ))
}

/// Warns of wheels that need a newer glibc than common systems have.
pub(super) fn warn(sets: &[ResolvedSet], observer: &dyn Observer) {
    let newer = wheels(sets).into_values().filter_map(|made| {
        let needed = needed(made).filter(|needed| *needed > COMMON)?;
        Some(format!("{} ({})", made.filename, glibc(needed)))
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

/// The wheels of all sets, each once.
fn wheels(sets: &[ResolvedSet]) -> BTreeMap<&str, &Made> {
    let made = sets.iter().flat_map(|set| &set.made);
    made.map(|made| (made.filename.as_str(), made)).collect()
}

/// The glibc that a wheel needs, by its tags, and by its binaries if it was built here.
fn needed(made: &Made) -> Option<(u16, u16)> {
    let built = made.built.as_ref().and_then(|built| built.glibc);
    glibc_of_wheel(&made.filename).max(built)
}

fn glibc_of(platform: &Platform) -> Option<(u16, u16)> {
    match platform.system {
        System::Manylinux { major, minor } => Some((major, minor)),
        _ => None,
    }
}

fn glibc((major, minor): (u16, u16)) -> String {
    format!("glibc {major}.{minor}")
}
