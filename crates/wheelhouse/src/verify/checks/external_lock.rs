//! A lock from elsewhere: whether the files of a directory are those that it has.
//!
//! Never tells that a package is missing: that is told with what is not complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Package;
use wheelhouse_types::toml_reader::{self, Entry};
use wheelhouse_types::{
    Artifact, Kind, Lock, PackageName, Result, Source, Target, Version, WheelFilename,
};

use super::super::inventory::{Survey, sdist};
use super::super::report::{Check, Examination, Finding, Name};
use super::super::wheel_contents::{Examined, digests};
use super::wheels::is_candidate;
use wheelhouse_fs::input;

/// A lock, as one target reads it.
pub(crate) struct Given<'a> {
    path: &'a Path,
    pub(crate) lock: Lock,
    /// What the lock has as source distributions, perhaps beside wheels: what is there of it may
    /// have been built.
    sdists: BTreeSet<(PackageName, Option<Version>)>,
}

impl<'a> Given<'a> {
    /// Reads the lock at `path`. Of the wheels of a package it means one that the directory has.
    ///
    /// # Errors
    /// `Input` when it cannot be read.
    pub(crate) fn read(path: &'a Path, survey: &Survey, target: &Target) -> Result<Self> {
        let unreadable = || format!("failed to read the lock {}", path.display());
        let text = input::read_to_string(path).context(Kind::Input, unreadable)?;
        let base = path.parent().unwrap_or(path);
        let lock = super::lock::read(&text, base, survey, Some(target));
        Ok(Self {
            path,
            lock: lock.context(Kind::Input, unreadable)?,
            sdists: sdists(&text).context(Kind::Input, unreadable)?,
        })
    }

    /// Compares the files that are there for `target` with those of the lock.
    pub(crate) fn check(
        &self,
        survey: &Survey,
        wheels: &BTreeMap<String, Examined>,
        target: &Target,
    ) -> Check {
        let mut check = Examination::of(Name::Lock);
        check.count(self.lock.packages.len(), "package");
        let fit = WheelCompatibility::new(target);
        for package in &self.lock.packages {
            let Some(artifact) = package.source.artifact() else {
                continue;
            };
            let here = here(artifact, survey, wheels);
            if let Some(name) = here {
                self.compare(name, artifact, survey, &mut check);
            }
            let is_of_use = |name: &String| is_for(name, &fit);
            if !here.is_some_and(is_of_use) && self.has_wheels_alone(package) {
                self.tell_of_others(package, survey, &fit, &mut check);
            }
        }
        check.finish()
    }

    /// Compares each digest that the lock states with that of the file `name`.
    fn compare(&self, name: &str, artifact: &Artifact, survey: &Survey, check: &mut Examination) {
        let path = self.path.display();
        let locked = &artifact.hashes.0;
        let algorithms = locked.keys().map(String::as_str);
        // What cannot be read is told where it is examined.
        let Ok(here) = digests(&survey.directory.join(name), algorithms) else {
            return;
        };
        for (algorithm, locked) in locked {
            let message = match &here[algorithm.as_str()] {
                Some(here) if here == locked => continue,
                Some(here) => format!("has the {algorithm} {here} where {path} says {locked}"),
                None => format!(
                    "cannot be compared with its `{algorithm}` in {path}: that cannot be computed"
                ),
            };
            check.fail(Finding::new(name, message));
        }
    }

    fn has_wheels_alone(&self, package: &Package) -> bool {
        let key = |version| (package.name.clone(), version);
        let version = Some(package.version.clone());
        matches!(package.source, Source::Wheel(_))
            && !self.sdists.contains(&key(version))
            && !self.sdists.contains(&key(None))
    }

    /// Tells of the files that are there in place of the wheels of `package`.
    fn tell_of_others(
        &self,
        package: &Package,
        survey: &Survey,
        fit: &WheelCompatibility,
        check: &mut Examination,
    ) {
        let (name, version) = (&package.name, &package.version);
        let message = format!(
            "is none of the wheels that {} has of {name} {version}",
            self.path.display()
        );
        let others = survey.wheels.iter().chain(&survey.sdists);
        for other in others.filter(|other| is_for(other, fit)) {
            if identity(other)
                .is_some_and(|(name, version)| name == package.name && version == package.version)
            {
                check.fail(Finding::new(other, &message));
            }
        }
    }
}

/// Which packages the lock `text` has as source distributions.
fn sdists(text: &str) -> Result<BTreeSet<(PackageName, Option<Version>)>> {
    let table = toml_reader::parse(text)?;
    let entries = Entry::root(&table).entries("packages")?.into_iter();
    let entries = entries.filter(|entry| entry.has("sdist"));
    entries
        .map(|entry| {
            let name = entry.required("name", entry.parsed("name")?)?;
            Ok((name, entry.parsed("version")?))
        })
        .collect()
}

/// The file of the directory that `artifact` is: one that is called so, or a wheel of these bytes,
/// since what a URL names may have the name of no wheel.
fn here<'a>(
    artifact: &Artifact,
    survey: &'a Survey,
    wheels: &'a BTreeMap<String, Examined>,
) -> Option<&'a String> {
    let wheel: Option<WheelFilename> = artifact.filename.parse().ok();
    let is_called_so = |wheel: &WheelFilename| {
        let mut wheels = wheels.iter();
        wheels.find(|(_, here)| here.filename.as_ref() == Some(wheel))
    };
    let same_bytes = || {
        let sha256 = artifact.hashes.sha256()?;
        let mut wheels = wheels.iter();
        wheels.find(|(_, here)| here.sha256() == Some(sha256))
    };
    let found = wheel.as_ref().and_then(is_called_so).or_else(same_bytes);
    found
        .map(|(name, _)| name)
        .or_else(|| survey.sdists.get(&artifact.filename))
}

/// Whether a target that `fit` is of could use the file `name`.
fn is_for(name: &str, fit: &WheelCompatibility) -> bool {
    let wheel = name.parse();
    wheel.is_ok_and(|wheel| is_candidate(&wheel, fit)) || sdist(name).is_some()
}

/// The package and the version that the file `name` is called after.
fn identity(name: &str) -> Option<(PackageName, Version)> {
    if let Ok(wheel) = name.parse::<WheelFilename>() {
        return Some((wheel.name, wheel.version));
    }
    let (name, version) = sdist(name)?;
    Some((name.parse().ok()?, version.parse().ok()?))
}
