//! Completeness: a resolver's proof that the files of a directory satisfy requirements, alone.
//!
//! The resolver is given the directory and no index. Where it finds no solution, all that is
//! missing is named, by [`wants`](wheelhouse_types::unsatisfied), which is no proof but knows more than
//! the first reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use wheelhouse_engine::{
    ArtifactProvider, Engine, EngineOptions, Host, WheelCompatibility, WheelFile,
};
use wheelhouse_types::request::{Building, Formats, Packages, Requirement};
use wheelhouse_types::unsatisfied::{self, Named, Offer, Open, named};
use wheelhouse_types::{
    Artifact, Distribution, Error, Kind, Location, Lock, PackageName, Request, Result, Source,
    Target,
};

use super::super::inventory::{Survey, sdist};
use super::super::report::{Check, Examination, Finding, Name};
use super::super::requirements::Wanted;
use super::super::wheel_contents::{Examined, digests};
use super::sdists::{Nobody, scratch_build};
use super::wheels::is_candidate;
use crate::pipeline;
use wheelhouse_archive::Limits;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_store::Store;

const ADD: &str = "Build or download what is missing into the directory, for the same Python.";

/// What is to be proven of which files.
pub(crate) struct Proof<'a> {
    pub(crate) survey: &'a Survey,
    pub(crate) wheels: &'a BTreeMap<String, Examined>,
    pub(crate) wanted: &'a Wanted,
    /// The lines as they were written, some with hashes.
    pub(crate) lines: &'a [Requirement],
    pub(crate) target: &'a Target,
    /// A directory for what is only of use while this goes on.
    pub(crate) scratch: &'a Path,
    /// Whether source distributions may be built to know their metadata.
    pub(crate) build: bool,
    pub(crate) building: &'a Building,
}

impl Proof<'_> {
    /// Tries to prove it with `host`, whose target it is.
    ///
    /// # Errors
    /// `Input` when a requirement is none.
    pub(crate) async fn check(&self, host: Host) -> Result<Check> {
        let mut check = Examination::of(Name::Completeness).target(&self.wanted.label(self.target));
        check.count(self.wanted.roots.len(), "requirement");
        if !self.wanted.nameless.is_empty() {
            let nameless = self.wanted.nameless.join(", ");
            check.leave_out(format!(
                "it is not known which package is meant by {nameless}"
            ));
        }
        if self.wanted.roots.is_empty() && self.wanted.pins.is_empty() {
            check.leave_out("there is nothing to prove of what is there");
        }
        if let Some(name) = self.survey.no_files().next() {
            check.leave_out(format!("{name} is no file"));
            self.tell_open(&mut check);
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
            requirements: [&self.wanted.roots[..], &self.wanted.pins].concat(),
            constraints: self.wanted.constraints.clone(),
            formats: Formats {
                // A source distribution does not belong there that the manifest does not name.
                only_binary: match &self.survey.manifest {
                    Some(manifest) if manifest.sdists.is_empty() => Packages::All,
                    _ => Packages::default(),
                },
                ..Formats::default()
            },
            ..super::super::alone(&self.survey.directory)
        };
        if self.build && !self.survey.sdists.is_empty() {
            return Box::pin(self.preview(request)).await;
        }
        let setup = EngineOptions {
            host,
            request: &request,
            logs: &self.scratch.join("logs"),
            observer: Arc::new(Nobody),
        };
        let engine = Engine::start(setup).await?;
        let companion = Bystander { build: self.build };
        Ok(engine.resolve(self.target, &[], &companion).await?.lock)
    }

    /// Resolves as a build would, which may build what tells the requirements of others.
    async fn preview(&self, mut request: Request) -> Result<Lock> {
        request.building = self.building.clone();
        let store = Store::open(self.scratch.join("store"))?;
        let output = self.scratch.join("preview");
        let job = scratch_build(request, self.target, store, output);
        let preview = Box::pin(pipeline::preview(job, Arc::new(Nobody))).await?;
        Ok(preview.lock)
    }

    /// Names everything that is missing, or else says what the resolver said.
    fn explain(&self, error: &Error, check: &mut Examination) {
        let is_open = self.tell_open(check);
        if !is_open && error.kind() == Kind::Build && !self.build {
            check.leave_out(error.sentence());
        } else if !is_open || error.kind() != Kind::Resolution {
            let finding = Finding::new("the requirements", format!("fail: {}", error.sentence()));
            check.fail(finding.detail(error.detail().unwrap_or_default()));
        }
    }

    /// Names everything that is missing, and returns whether anything is.
    fn tell_open(&self, check: &mut Examination) -> bool {
        let roots = self.wanted.roots.iter().chain(&self.wanted.pins);
        let roots: Vec<_> = roots
            .map(|line| (line.text.clone(), line.origin.clone()))
            .collect();
        let open = unsatisfied::open(&roots, &self.offers(), self.target).unwrap_or_default();
        for open in open.chunk_by(|one, next| one.name == next.name) {
            check.fail(missing(open).hint(ADD));
        }
        !open.is_empty()
    }

    /// What the directory has for the target, with what it requires as far as that is known.
    fn offers(&self) -> BTreeMap<PackageName, Vec<Offer>> {
        let mut offers: BTreeMap<PackageName, Vec<Offer>> = BTreeMap::new();
        let fit = WheelCompatibility::new(self.target);
        for wheel in self.wheels.values() {
            let Some(filename) = &wheel.filename else {
                continue;
            };
            if is_candidate(filename, &fit) {
                let offer = Offer {
                    version: filename.version.clone(),
                    requires: wheel.values("Requires-Dist"),
                };
                offers.entry(filename.name.clone()).or_default().push(offer);
            }
        }
        for sdist in &self.survey.sdists {
            if let Some((name, offer)) = sdist_offer(sdist) {
                offers.entry(name).or_default().push(offer);
            }
        }
        offers
    }

    /// Compares the hashes that lines demand with those of the files that were chosen.
    fn compare_hashes(&self, lock: &Lock, check: &mut Examination) {
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
            if let Some(message) = self.hash_fault(file, line) {
                self.tell_of_other_hash(file, message, check);
            }
        }
    }

    /// Why `file` is not shown to have one of the hashes of `line`, if it is not.
    fn hash_fault(&self, file: &str, line: &Requirement) -> Option<String> {
        let hashes: Vec<(&str, &str)> = line
            .hashes
            .iter()
            .map(|hash| hash.split_once(':').unwrap_or((hash, "")))
            .collect();
        let algorithms = hashes.iter().map(|(algorithm, _)| *algorithm);
        // What cannot be read is told where it is examined.
        let here = digests(&self.survey.directory.join(file), algorithms).ok()?;
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
                "cannot be compared with the hashes of {}: `{unknown}` cannot be computed",
                line.origin
            ),
        })
    }

    /// What was built has another digest than the source that the hash may be of.
    fn tell_of_other_hash(&self, file: &str, message: String, check: &mut Examination) {
        let manifest = self.survey.manifest.iter();
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

/// What is wrong with one package, by all that is open of it.
fn missing(open: &[Open]) -> Finding {
    let versions: Vec<String> = open[0].present.iter().map(ToString::to_string).collect();
    let wants = |open: &Open| format!("{} wants `{}`", open.wanted_by, open.requirement);
    let wants: Vec<String> = open.iter().map(wants).collect();
    let wants = wants.join("; ");
    let message = if versions.is_empty() {
        format!("is missing: {wants}")
    } else {
        format!("is there as {}, but {wants}", versions.join(", "))
    };
    Finding::new(open[0].name.to_string(), message)
}

fn sdist_offer(filename: &str) -> Option<(PackageName, Offer)> {
    let (name, version) = sdist(filename)?;
    let offer = Offer {
        version: version.parse().ok()?,
        requires: Vec::new(),
    };
    Some((name.parse().ok()?, offer))
}

/// Goes along with a resolution and makes nothing.
struct Bystander {
    /// Whether source distributions may be built to know their metadata.
    build: bool,
}

impl Bystander {
    /// The metadata that a source distribution states, where it is not to be built.
    fn stated(&self, distribution: &Distribution) -> Result<Option<Vec<u8>>> {
        let artifact = match &distribution.source {
            Source::Sdist(artifact) if !self.build => artifact,
            _ => return Ok(None),
        };
        let Location::Path(path) = &artifact.location else {
            return Ok(None);
        };
        let into = Scratch::new()?;
        let filename = &artifact.filename;
        let tree = wheelhouse_archive::unpack(path, filename, into.path(), &Limits::default())?;
        let stated = wheelhouse_archive::static_metadata(&tree);
        stated.map(Some).ok_or_else(|| {
            let message = format!("what {filename} requires is only known when it is built");
            Error::new(Kind::Build, message)
        })
    }
}

impl ArtifactProvider for Bystander {
    fn prefetch(&self, _distribution: &Distribution) {}

    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async { self.stated(distribution) })
    }

    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>> {
        Box::pin(async {
            let artifact = distribution.source.artifact();
            if let Some(Location::Path(path)) = artifact.map(|artifact| &artifact.location) {
                pipeline::worker::examine(path.clone()).await?;
            }
            // The engine finds it in the directory.
            Ok(None)
        })
    }

    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(pipeline::worker::examine(path.to_owned()))
    }

    fn wheels<'a>(
        &'a self,
        wanted: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>> {
        let found = wanted.iter().map(present).collect();
        Box::pin(async { found })
    }

    fn fallback_metadata(&self, _distribution: &Distribution, _reason: &Error) -> Option<Vec<u8>> {
        None
    }

    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>> {
        let message = format!("the tree {} is no part of the directory", path.display());
        Box::pin(async { Err(Error::new(Kind::Resolution, message)) })
    }
}

/// The wheel of the directory that a build requirement is.
fn present(distribution: &Distribution) -> Result<WheelFile> {
    match &distribution.source {
        Source::Wheel(Artifact {
            filename,
            location: Location::Path(path),
            ..
        }) => Ok(WheelFile {
            filename: filename.clone(),
            path: path.clone(),
        }),
        _ => Err(Error::new(
            Kind::Build,
            format!("{distribution} must be built itself before others can be built with it"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_all_who_want_it() {
        let open = |wanted_by: &str, present: &[&str]| Open {
            name: "beta".parse().unwrap(),
            requirement: "beta>=2".to_owned(),
            wanted_by: wanted_by.to_owned(),
            present: present
                .iter()
                .map(|version| version.parse().unwrap())
                .collect(),
        };
        assert_eq!(
            missing(&[open("alpha 1.0", &[]), open("r.txt:1", &[])]).message,
            "is missing: alpha 1.0 wants `beta>=2`; r.txt:1 wants `beta>=2`"
        );
        assert_eq!(
            missing(&[open("alpha 1.0", &["1.0"])]).message,
            "is there as 1.0, but alpha 1.0 wants `beta>=2`"
        );
    }

    #[test]
    fn sdists_offer_the_version_of_their_names() {
        let (name, offer) = sdist_offer("my_pkg-1.0.tar.gz").unwrap();
        assert_eq!(
            (name.as_ref(), offer.version.to_string()),
            ("my-pkg", "1.0".to_owned())
        );
        assert!(sdist_offer("notes.txt").is_none());
    }
}
