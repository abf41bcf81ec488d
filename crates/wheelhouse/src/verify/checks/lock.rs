//! Checks that the locks of a wheelhouse pin its wheels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::lock::Package;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Lock, Manifest, Result, Source, Target, WheelFilename, pylock};

use super::super::inventory::DirectoryInventory;
use super::super::report::{Check, CheckBuilder, CheckName, Finding, RERUN_HINT};
use super::super::wheel_contents::is_candidate;

/// The locks of a wheelhouse.
#[derive(Default)]
pub(crate) struct DirectoryLocks {
    /// The locks of the main set, by the full names of their targets.
    pub(crate) targets: BTreeMap<String, Lock>,
    /// The locks of additional sets, by name.
    pub(crate) sets: BTreeMap<String, Lock>,
}

impl DirectoryLocks {
    fn all(&self) -> impl Iterator<Item = &Lock> {
        self.targets.values().chain(self.sets.values())
    }
}

/// Compares every lock of the manifest with its files, and returns the locks.
pub(crate) fn check(
    inventory: &DirectoryInventory,
    targets: &[Target],
) -> Option<(Check, DirectoryLocks)> {
    let manifest = inventory.manifest.as_ref()?;
    let mut check = CheckBuilder::new(CheckName::Lock);
    let mut locks = DirectoryLocks::default();
    for file in manifest.files.iter().filter(|file| is_lock(file)) {
        // A missing lock fails the check of files.
        let Some(bytes) = inventory.read_file(file) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        let set = manifest.sets.iter().find(|set| set.lock_name() == *file);
        let target = target_of(file, targets);
        match read(&text, &inventory.directory, inventory, target) {
            Ok(lock) => {
                compare(file, &lock, manifest, &mut check);
                if let Some(set) = set {
                    locks.sets.insert(set.name.clone(), lock);
                } else {
                    let target = target.map_or_else(String::new, Target::full_name);
                    locks.targets.insert(target, lock);
                }
            }
            Err(error) => {
                let message = format!("is damaged: {}", error.display_chain());
                check.fail(Finding::new(file, message).hint(RERUN_HINT));
            }
        }
    }
    check.count(locks.all().map(|lock| lock.packages.len()).sum(), "package");
    check_unlocked(&locks, manifest, &mut check);
    Some((check.finish(), locks))
}

/// Returns the target in the name of the lock `file`; `pylock.toml` is for the first target.
fn target_of<'a>(file: &str, targets: &'a [Target]) -> Option<&'a Target> {
    let mut named = Target::names(targets).into_iter().zip(targets);
    let named = named.find(|(name, _)| file == format!("pylock.{name}.toml"));
    named.map(|(_, target)| target).or_else(|| targets.first())
}

/// Returns whether `name` is the name of a lock (PEP 751).
fn is_lock(name: &str) -> bool {
    let middle = name
        .strip_prefix("pylock.")
        .and_then(|rest| rest.strip_suffix("toml"));
    !name.contains('/') && middle.is_some_and(|middle| middle.is_empty() || middle.ends_with('.'))
}

/// Reads a lock for `target`. If a package has several wheels, one in the directory is selected, preferably one that
/// fits the target.
///
/// # Errors
/// As [`pylock::read`].
pub(crate) fn read(
    text: &str,
    base: &Path,
    inventory: &DirectoryInventory,
    target: Option<&Target>,
) -> Result<Lock> {
    let environment = target.and_then(Target::marker_environment);
    let fit = target.map(WheelCompatibility::new);
    let here = inventory.wheels.iter();
    let here: BTreeSet<String> = here.filter_map(|name| normalized(name)).collect();
    pylock::read(
        text,
        base,
        &mut |wheels| {
            let is_here = |wheel: &WheelFilename| here.contains(&wheel.to_string());
            let fits = |wheel: &WheelFilename| {
                let fit = fit.as_ref();
                is_here(wheel) && fit.is_none_or(|fit| is_candidate(wheel, fit))
            };
            let position = wheels.iter().position(fits);
            let position = position.or_else(|| wheels.iter().position(is_here));
            position.or(Some(0))
        },
        &mut |marker| {
            let environment = environment.as_ref();
            environment.is_none_or(|environment| marker.holds(environment))
        },
    )
}

/// Returns the normalized form of the wheel name `name`.
fn normalized(name: &str) -> Option<String> {
    let filename: WheelFilename = name.parse().ok()?;
    Some(filename.to_string())
}

fn compare(file: &str, lock: &Lock, manifest: &Manifest, check: &mut CheckBuilder) {
    for package in &lock.packages {
        if let Some(message) = difference(package, manifest) {
            check.fail(Finding::new(file, message).hint(RERUN_HINT));
        }
    }
}

/// Returns how the manifest differs from `package`.
fn difference(package: &Package, manifest: &Manifest) -> Option<String> {
    let (name, version) = (&package.name, &package.version);
    let wheels = manifest.wheels.iter();
    let wheels = wheels.map(|wheel| (&wheel.name, &wheel.version, wheel.sha256));
    let sdists = manifest.sdists.iter();
    let sdists = sdists.map(|sdist| (&sdist.name, &sdist.version, sdist.sha256));
    let same_name: Vec<_> = wheels
        .chain(sdists)
        .filter(|(other, ..)| other.parse().ok().as_ref() == Some(name))
        .collect();
    let mut fitting = same_name
        .iter()
        .filter(|(_, other, _)| other.parse().ok().as_ref() == Some(version))
        .peekable();
    if fitting.peek().is_none() {
        let versions: Vec<&str> = same_name
            .iter()
            .map(|(_, version, _)| version.as_str())
            .collect();
        let instead = match versions.as_slice() {
            [] => "no version of it".to_owned(),
            versions => versions.join(", "),
        };
        return Some(format!(
            "pins {name} {version}; {MANIFEST_NAME} has {instead}"
        ));
    }
    let Source::Wheel(artifact) = &package.source else {
        return None;
    };
    let locked = artifact.hashes.sha256()?;
    let is_known = fitting.any(|(_, _, sha256)| *sha256 == locked);
    (!is_known).then(|| format!("has a different digest for {name} {version} than {MANIFEST_NAME}"))
}

/// Reports wheels that no lock pins.
fn check_unlocked(locks: &DirectoryLocks, manifest: &Manifest, check: &mut CheckBuilder) {
    if locks.all().next().is_none() {
        check.skip_part("there is no readable lock");
        return;
    }
    let pinned: BTreeSet<String> = locks
        .all()
        .flat_map(|lock| &lock.packages)
        .map(|package| package.name.to_string())
        .collect();
    for wheel in &manifest.wheels {
        if !wheel.build_only && !wheel.added && !pinned.contains(&wheel.name) {
            let finding = Finding::new(&wheel.filename, "is not pinned by any lock");
            check.fail(finding.hint(RERUN_HINT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_names_of_locks() {
        for name in ["pylock.toml", "pylock.cp311.toml"] {
            assert!(is_lock(name), "{name}");
        }
        for name in [
            "pylock.txt",
            "pylock.toml.bak",
            "simple/pylock/index.html",
            "mypylock.toml",
        ] {
            assert!(!is_lock(name), "{name}");
        }
    }
}
