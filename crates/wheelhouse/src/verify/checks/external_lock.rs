//! Compares the files of a directory with a lock from another place.
//!
//! Missing packages are reported by the check of completeness.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Package;
use wheelhouse_types::toml_reader::{self, TomlReader};
use wheelhouse_types::{
    Artifact, Kind, Lock, PackageName, Result, Source, Target, Version, WheelFilename,
};

use super::super::inventory::{DirectoryInventory, sdist};
use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::wheel_contents::{WheelContents, digests, is_candidate};
use wheelhouse_fs::input;

/// A lock, as it applies to one target.
pub(crate) struct ExternalLock<'a> {
    path: &'a Path,
    pub(crate) lock: Lock,
    /// The packages that have a source distribution in the lock: their wheels in the directory may have been built.
    sdists: BTreeSet<(PackageName, Option<Version>)>,
}

impl<'a> ExternalLock<'a> {
    /// Reads the lock at `path`. If a package has several wheels, one in the directory is selected.
    ///
    /// # Errors
    /// [`Kind::Input`] when it cannot be read.
    pub(crate) fn read(
        path: &'a Path,
        inventory: &DirectoryInventory,
        target: &Target,
    ) -> Result<Self> {
        let unreadable = || format!("failed to read the lock {}", path.display());
        let text = input::read_to_string(path).context(Kind::Input, unreadable)?;
        let base = path.parent().unwrap_or(path);
        let lock = super::lock::read(&text, base, inventory, Some(target));
        Ok(Self {
            path,
            lock: lock.context(Kind::Input, unreadable)?,
            sdists: sdists(&text).context(Kind::Input, unreadable)?,
        })
    }

    /// Compares the files for `target` with those of the lock.
    pub(crate) fn check(
        &self,
        inventory: &DirectoryInventory,
        wheels: &BTreeMap<String, WheelContents>,
        target: &Target,
    ) -> Check {
        let mut check = CheckBuilder::new(CheckName::Lock);
        check.count(self.lock.packages.len(), "package");
        let fit = WheelCompatibility::new(target);
        for package in &self.lock.packages {
            let Some(artifact) = package.source.artifact() else {
                continue;
            };
            let here = here(artifact, inventory, wheels);
            if let Some(name) = here {
                self.compare(name, artifact, inventory, &mut check);
            }
            let is_usable = |name: &String| is_for(name, &fit);
            if !here.is_some_and(is_usable) && self.has_only_wheels(package) {
                self.report_other_files(package, inventory, &fit, &mut check);
            }
        }
        check.finish()
    }

    /// Compares each digest that the lock states with that of the file `name`.
    fn compare(
        &self,
        name: &str,
        artifact: &Artifact,
        inventory: &DirectoryInventory,
        check: &mut CheckBuilder,
    ) {
        let path = self.path.display();
        let locked = &artifact.hashes.0;
        let algorithms = locked.keys().map(String::as_str);
        // A file that cannot be read fails the check of wheels.
        let Ok(here) = digests(&inventory.directory.join(name), algorithms) else {
            return;
        };
        for (algorithm, locked) in locked {
            let message = match &here[algorithm.as_str()] {
                Some(here) if here == locked => continue,
                Some(here) => format!("has the {algorithm} {here} instead of {locked} in {path}"),
                None => format!(
                    "cannot be compared with its `{algorithm}` in {path}: the algorithm is not supported"
                ),
            };
            check.fail(Finding::new(name, message));
        }
    }

    fn has_only_wheels(&self, package: &Package) -> bool {
        let key = |version| (package.name.clone(), version);
        let version = Some(package.version.clone());
        matches!(package.source, Source::Wheel(_))
            && !self.sdists.contains(&key(version))
            && !self.sdists.contains(&key(None))
    }

    /// Reports files that the directory has instead of the wheels of `package`.
    fn report_other_files(
        &self,
        package: &Package,
        inventory: &DirectoryInventory,
        fit: &WheelCompatibility,
        check: &mut CheckBuilder,
    ) {
        let (name, version) = (&package.name, &package.version);
        let message = format!(
            "is not one of the wheels of {name} {version} in {}",
            self.path.display()
        );
        let others = inventory.wheels.iter().chain(&inventory.sdists);
        for other in others.filter(|other| is_for(other, fit)) {
            if identity(other)
                .is_some_and(|(name, version)| name == package.name && version == package.version)
            {
                check.fail(Finding::new(other, &message));
            }
        }
    }
}

/// Returns the packages that have a source distribution in the lock `text`.
fn sdists(text: &str) -> Result<BTreeSet<(PackageName, Option<Version>)>> {
    let table = toml_reader::parse(text)?;
    let entries = TomlReader::root(&table).entries("packages")?.into_iter();
    let entries = entries.filter(|entry| entry.has("sdist"));
    entries
        .map(|entry| {
            let name = entry.required("name", entry.parsed("name")?)?;
            Ok((name, entry.parsed("version")?))
        })
        .collect()
}

/// Returns the file of the directory for `artifact`: one with its name, or a wheel with its digest, because the file at
/// a URL may have another name.
fn here<'a>(
    artifact: &Artifact,
    inventory: &'a DirectoryInventory,
    wheels: &'a BTreeMap<String, WheelContents>,
) -> Option<&'a String> {
    let wheel: Option<WheelFilename> = artifact.filename.parse().ok();
    let has_name = |wheel: &WheelFilename| {
        let mut wheels = wheels.iter();
        wheels.find(|(_, here)| here.filename.as_ref() == Some(wheel))
    };
    let same_bytes = || {
        let sha256 = artifact.hashes.sha256()?;
        let mut wheels = wheels.iter();
        wheels.find(|(_, here)| here.sha256() == Some(sha256))
    };
    let found = wheel.as_ref().and_then(has_name).or_else(same_bytes);
    found
        .map(|(name, _)| name)
        .or_else(|| inventory.sdists.get(&artifact.filename))
}

/// Returns whether the target of `fit` may use the file `name`.
fn is_for(name: &str, fit: &WheelCompatibility) -> bool {
    let wheel = name.parse();
    wheel.is_ok_and(|wheel| is_candidate(&wheel, fit)) || sdist(name).is_some()
}

/// Returns the package and the version in the name of the file `name`.
fn identity(name: &str) -> Option<(PackageName, Version)> {
    if let Ok(wheel) = name.parse::<WheelFilename>() {
        return Some((wheel.name, wheel.version));
    }
    let (name, version) = sdist(name)?;
    Some((name.parse().ok()?, version.parse().ok()?))
}
