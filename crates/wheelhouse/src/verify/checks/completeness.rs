//! Checks completeness: a resolver must satisfy the requirements with the files of the directory alone.
//!
//! If the resolver finds no solution, [`find_unsatisfied`] lists all missing packages: it does not resolve, but finds more
//! than the first conflict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use wheelhouse_engine::{
    ArtifactProvider, Engine, EngineOptions, Host, WheelCompatibility, WheelFile,
};
use wheelhouse_types::request::{Building, Formats, Packages, Requirement};
use wheelhouse_types::requirement::{Named, named};
use wheelhouse_types::unsatisfied::{Available, Unsatisfied, find_unsatisfied};
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Kind, Lock, PackageName, Request, Result,
    Source, Target,
};

use super::super::inventory::{DirectoryInventory, sdist};
use super::super::offline_build::{self, NullObserver};
use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::requirements::RequiredPackages;
use super::super::wheel_contents::{WheelContents, digests, is_candidate};
use crate::pipeline;
use wheelhouse_archive::Limits;
use wheelhouse_fs::scratch::Scratch;

const ADD_HINT: &str =
    "Build or download the missing packages into the directory, for the same Python.";

/// The resolution of requirements with the files of a directory.
pub(crate) struct Proof<'a> {
    pub(crate) inventory: &'a DirectoryInventory,
    pub(crate) wheels: &'a BTreeMap<String, WheelContents>,
    pub(crate) required: &'a RequiredPackages,
    /// The lines as they were written, with their hashes.
    pub(crate) lines: &'a [Requirement],
    pub(crate) target: &'a Target,
    /// A directory for temporary files.
    pub(crate) scratch: &'a Path,
    /// Allows to build source distributions for their metadata.
    pub(crate) build: bool,
    pub(crate) building: &'a Building,
}

impl Proof<'_> {
    /// Resolves the requirements on `host`.
    ///
    /// # Errors
    /// [`Kind::Input`] when a requirement is not valid; [`Kind::Interrupted`].
    pub(crate) async fn check(&self, host: Host) -> Result<Check> {
        let mut check =
            CheckBuilder::new(CheckName::Completeness).target(&self.required.label(self.target));
        check.count(self.required.roots.len(), "requirement");
        if !self.required.nameless.is_empty() {
            let nameless = self.required.nameless.join(", ");
            check.skip_part(format!("the package of {nameless} is unknown"));
        }
        if self.required.roots.is_empty() && self.required.pins.is_empty() {
            check.skip_part("there are no requirements to check");
        }
        if let Some(name) = self.inventory.irregular_files().next() {
            check.skip_part(format!("{name} is not a regular file"));
            self.report_unsatisfied(&mut check);
            return Ok(check.finish());
        }
        match Box::pin(self.resolve(host)).await {
            Ok(lock) => {
                check.count(lock.packages.len(), "package");
                self.compare_hashes(&lock, &mut check);
            }
            Err(error) if matches!(error.kind(), Kind::Input | Kind::Interrupted) => {
                return Err(error);
            }
            Err(error) => self.explain(&error, &mut check),
        }
        Ok(check.finish())
    }

    async fn resolve(&self, host: Host) -> Result<Lock> {
        let request = Request {
            requirements: [&self.required.roots[..], &self.required.pins].concat(),
            constraints: self.required.constraints.clone(),
            formats: Formats {
                // Source distributions are used only if the manifest lists some.
                only_binary: match &self.inventory.manifest {
                    Some(manifest) if manifest.sdists.is_empty() => Packages::All,
                    _ => Packages::default(),
                },
                ..Formats::default()
            },
            ..offline_build::request(&self.inventory.directory)
        };
        if self.build && !self.inventory.sdists.is_empty() {
            return Box::pin(self.preview(request)).await;
        }
        let setup = EngineOptions {
            host,
            request: &request,
            logs: &self.scratch.join("logs"),
            observer: Arc::new(NullObserver),
        };
        let engine = Engine::start(setup).await?;
        let provider = ReadOnlyProvider { build: self.build };
        Ok(engine.resolve(self.target, &[], &provider).await?.lock)
    }

    /// Resolves as a build does, which may build source distributions for their metadata.
    async fn preview(&self, mut request: Request) -> Result<Lock> {
        request.building = self.building.clone();
        let job = offline_build::job(request, self.target, self.scratch, "preview")?;
        let preview = Box::pin(pipeline::preview(job, Arc::new(NullObserver))).await?;
        Ok(preview.lock)
    }

    /// Reports all missing packages, or else the error of the resolver.
    fn explain(&self, error: &Error, check: &mut CheckBuilder) {
        let is_incomplete = self.report_unsatisfied(check);
        if !is_incomplete && error.kind() == Kind::Build && !self.build {
            check.skip_part(error.display_chain());
        } else if !is_incomplete || error.kind() != Kind::Resolution {
            let finding = Finding::new(
                "the requirements",
                format!("fail: {}", error.display_chain()),
            );
            check.fail(finding.detail(error.detail().unwrap_or_default()));
        }
    }

    /// Reports all missing packages. Returns whether there are any.
    fn report_unsatisfied(&self, check: &mut CheckBuilder) -> bool {
        let roots = self.required.roots.iter().chain(&self.required.pins);
        let roots: Vec<_> = roots
            .map(|line| (line.text.clone(), line.origin.clone()))
            .collect();
        let open = find_unsatisfied(&roots, &self.offers(), self.target).unwrap_or_default();
        for open in open.chunk_by(|one, next| one.name == next.name) {
            check.fail(missing(open).hint(ADD_HINT));
        }
        !open.is_empty()
    }

    /// Returns the packages in the directory for the target, with their known requirements.
    fn offers(&self) -> BTreeMap<PackageName, Vec<Available>> {
        let mut offers: BTreeMap<PackageName, Vec<Available>> = BTreeMap::new();
        let fit = WheelCompatibility::new(self.target);
        for wheel in self.wheels.values() {
            let Some(filename) = &wheel.filename else {
                continue;
            };
            if is_candidate(filename, &fit) {
                let offer = Available {
                    version: filename.version.clone(),
                    requires: wheel.values("Requires-Dist"),
                };
                offers.entry(filename.name.clone()).or_default().push(offer);
            }
        }
        for sdist in &self.inventory.sdists {
            if let Some((name, offer)) = sdist_offer(sdist) {
                offers.entry(name).or_default().push(offer);
            }
        }
        offers
    }

    /// Compares the hashes of requirements with the files that were selected.
    fn compare_hashes(&self, lock: &Lock, check: &mut CheckBuilder) {
        for line in self.lines.iter().filter(|line| !line.hashes.is_empty()) {
            let name = match named(&line.text) {
                Named::Package(name, _) | Named::Direct(name, _) => name,
                Named::Nameless => continue,
            };
            let mut packages = lock.packages.iter();
            let chosen = packages.find(|package| package.name == name);
            let file = chosen.and_then(|package| package.source.artifact());
            let Some(file) = file.map(|file| &file.filename) else {
                continue;
            };
            if let Some(message) = self.hash_mismatch(file, line) {
                self.report_hash_mismatch(file, message, check);
            }
        }
    }

    /// Returns a message if `file` has none of the hashes of `line`, or if they cannot be compared.
    fn hash_mismatch(&self, file: &str, line: &Requirement) -> Option<String> {
        let hashes: Vec<(&str, &str)> = line
            .hashes
            .iter()
            .map(|hash| hash.split_once(':').unwrap_or((hash, "")))
            .collect();
        let algorithms = hashes.iter().map(|(algorithm, _)| *algorithm);
        // A file that cannot be read fails the check of wheels.
        let here = digests(&self.inventory.directory.join(file), algorithms).ok()?;
        let is_here = |(algorithm, digits): &(&str, &str)| {
            let here = here[algorithm].as_ref();
            here.is_some_and(|here| here.eq_ignore_ascii_case(digits))
        };
        if hashes.iter().any(is_here) {
            return None;
        }
        let unknown = here.iter().find(|(_, digest)| digest.is_none());
        Some(match unknown {
            None => format!("has none of the hashes of {}", line.origin),
            Some((unknown, _)) => format!(
                "cannot be compared with the hashes of {}: `{unknown}` is not supported",
                line.origin
            ),
        })
    }

    /// Reports a hash mismatch, unless the wheel was built: then the hash may be that of its source.
    fn report_hash_mismatch(&self, file: &str, message: String, check: &mut CheckBuilder) {
        let manifest = self.inventory.manifest.iter();
        let mut wheels = manifest.flat_map(|manifest| &manifest.wheels);
        let known = wheels.find(|wheel| wheel.filename == file);
        match known {
            Some(wheel) if wheel.built.is_some() => {}
            None if self.wheels.contains_key(file) => check.warn(Finding::new(
                file,
                format!("{message}; it may have been built"),
            )),
            _ => check.fail(Finding::new(file, message)),
        }
    }
}

/// Returns a finding about one package from its unsatisfied requirements.
fn missing(open: &[Unsatisfied]) -> Finding {
    let versions: Vec<String> = open[0].present.iter().map(ToString::to_string).collect();
    let requires =
        |open: &Unsatisfied| format!("{} requires `{}`", open.required_by, open.requirement);
    let requires: Vec<String> = open.iter().map(requires).collect();
    let requires = requires.join("; ");
    let message = if versions.is_empty() {
        format!("is missing: {requires}")
    } else {
        format!("is present as {}, but {requires}", versions.join(", "))
    };
    Finding::new(open[0].name.to_string(), message)
}

fn sdist_offer(filename: &str) -> Option<(PackageName, Available)> {
    let (name, version) = sdist(filename)?;
    let offer = Available {
        version: version.parse().ok()?,
        requires: Vec::new(),
    };
    Some((name.parse().ok()?, offer))
}

/// Provides the engine with files of the directory, and makes no wheels.
struct ReadOnlyProvider {
    /// Allows to build source distributions for their metadata.
    build: bool,
}

impl ReadOnlyProvider {
    /// Returns the static metadata of a source distribution that may not be built.
    fn static_metadata(&self, distribution: &Distribution) -> Result<Option<Vec<u8>>> {
        let artifact = match &distribution.source {
            Source::Sdist(artifact) if !self.build => artifact,
            _ => return Ok(None),
        };
        let ArtifactLocation::Path(path) = &artifact.location else {
            return Ok(None);
        };
        let into = Scratch::new()?;
        let filename = &artifact.filename;
        let sdist = wheelhouse_archive::unpack(path, filename, into.path(), &Limits::default())?;
        let metadata = wheelhouse_archive::static_metadata(&sdist.root);
        metadata.map(Some).ok_or_else(|| {
            let message = format!("the requirements of {filename} are only known when it is built");
            Error::new(Kind::Build, message)
        })
    }
}

impl ArtifactProvider for ReadOnlyProvider {
    fn prefetch(&self, _distribution: &Distribution) {}

    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async { self.static_metadata(distribution) })
    }

    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>> {
        Box::pin(async {
            let artifact = distribution.source.artifact();
            if let Some(ArtifactLocation::Path(path)) = artifact.map(|artifact| &artifact.location)
            {
                pipeline::worker::examine(path.clone()).await?;
            }
            // The engine reads the file in the directory.
            Ok(None)
        })
    }

    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(pipeline::worker::examine(path.to_owned()))
    }

    fn wheels<'a>(
        &'a self,
        required: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>> {
        let found = required.iter().map(wheel_file).collect();
        Box::pin(async { found })
    }

    fn fallback_metadata(&self, _distribution: &Distribution, _reason: &Error) -> Option<Vec<u8>> {
        None
    }

    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>> {
        let message = format!("the tree {} is not part of the directory", path.display());
        Box::pin(async { Err(Error::new(Kind::Resolution, message)) })
    }
}

/// Returns the wheel of a build requirement in the directory.
fn wheel_file(distribution: &Distribution) -> Result<WheelFile> {
    match &distribution.source {
        Source::Wheel(Artifact {
            filename,
            location: ArtifactLocation::Path(path),
            hashes,
            ..
        }) => Ok(WheelFile {
            filename: filename.clone(),
            path: path.clone(),
            sha256: hashes.sha256(),
            built_from: None,
            requirements: Vec::new(),
            crates: Vec::new(),
        }),
        _ => Err(Error::new(
            Kind::Build,
            format!("{distribution} is required for a build, and is not available as a wheel"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_missing_package_with_all_dependents() {
        let open = |required_by: &str, present: &[&str]| Unsatisfied {
            name: "beta".parse().unwrap(),
            requirement: "beta>=2".to_owned(),
            required_by: required_by.to_owned(),
            present: present
                .iter()
                .map(|version| version.parse().unwrap())
                .collect(),
        };
        assert_eq!(
            missing(&[open("alpha 1.0", &[]), open("r.txt:1", &[])]).message,
            "is missing: alpha 1.0 requires `beta>=2`; r.txt:1 requires `beta>=2`"
        );
        assert_eq!(
            missing(&[open("alpha 1.0", &["1.0"])]).message,
            "is present as 1.0, but alpha 1.0 requires `beta>=2`"
        );
    }

    #[test]
    fn reads_version_from_name_of_sdist() {
        let (name, offer) = sdist_offer("my_pkg-1.0.tar.gz").unwrap();
        assert_eq!(
            (name.as_ref(), offer.version.to_string()),
            ("my-pkg", "1.0".to_owned())
        );
        assert!(sdist_offer("notes.txt").is_none());
    }
}
