//! Rules for paths that an unprivileged process sets for itself, by Landlock.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope, path_beneath_rules,
};
use wheelhouse_types::sandbox::Protection;

use crate::profile::{PathAccess, Profile};
use crate::system_paths;

/// The first version with all rights that change the contents of files.
const FILES: ABI = ABI::V3;

/// The first version that limits signals.
const SIGNALS: ABI = ABI::V6;

/// The newest version that is used.
const NEWEST: ABI = ABI::V7;

/// Devices without a state.
const DEVICES: [&str; 5] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// Descriptions of the machine. Those of processes contain their command lines, so all others are left out.
const MACHINE: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
];

/// Restricts this process to the paths of `profile`, and returns what is enforced.
pub(crate) fn restrict(profile: &Profile) -> io::Result<Vec<Protection>> {
    let of = |access| {
        let mounts = profile.mounts.iter();
        let mounts = mounts.filter(move |mount| mount.access == access);
        mounts
            .map(|mount| mount.outside.clone())
            .collect::<Vec<PathBuf>>()
    };
    let readable = system_paths::without(&of(PathAccess::Read), &profile.all_hidden());
    let writable = of(PathAccess::Write);
    let failed = |error: landlock::RulesetError| io::Error::other(error.to_string());
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(FILES))
        .map_err(failed)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|ruleset| {
            ruleset
                .add_rules(path_beneath_rules(readable, AccessFs::from_read(NEWEST)))?
                .add_rules(path_beneath_rules(MACHINE, AccessFs::from_read(NEWEST)))?
                .add_rules(path_beneath_rules(DEVICES, AccessFs::from_all(NEWEST)))?
                .add_rules(path_beneath_rules(writable, AccessFs::from_all(NEWEST)))?
                .restrict_self()
        })
        .map_err(failed)?;
    let mut protections = vec![Protection::Files];
    if let LandlockStatus::Available { effective_abi, .. } = status.landlock
        && effective_abi >= SIGNALS
    {
        protections.push(Protection::Processes);
    }
    Ok(protections)
}
