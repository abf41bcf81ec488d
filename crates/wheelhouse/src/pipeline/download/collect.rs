//! Collects the files of one target: those of its lock, and the build closure of each sdist.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tracing::instrument;
use wheelhouse_engine::{BuildRequirements, WheelCompatibility};
use wheelhouse_types::lock::Build;
use wheelhouse_types::{
    Artifact, Distribution, Error, Event, Kind, Lock, Outcome, Result, Sha256, Source, Target,
    WheelFilename, event::Unknown,
};

use super::super::build_closure;
use super::super::executor::summarize;
use super::super::worker::{
    LocalWorker, Prefetcher, StoredCrate, WheelArtifact, Worker as _, identity,
};
use super::resolve::TargetResolution;
use wheelhouse_store::{BuildRecord, StoredFile};

/// Collects the files of one target.
pub(super) struct Collector<'a> {
    worker: &'a Rc<LocalWorker>,
    resolution: &'a TargetResolution,
    prefetcher: Prefetcher,
    fit: WheelCompatibility,
}

/// The files of one target.
pub(super) struct CollectedTarget {
    pub(super) target: Target,
    pub(super) name: String,
    pub(super) lock: Lock,
    /// The files of the lock and of build closures.
    pub(super) files: Vec<CollectedFile>,
    /// The crates that building the sdists takes.
    pub(super) crates: Vec<StoredCrate>,
    /// The sdists whose build requirements could not be determined on this machine.
    pub(super) unknown: Vec<Unknown>,
}

/// A file in the store.
#[derive(Clone)]
pub(super) struct CollectedFile {
    pub(super) distribution: Distribution,
    pub(super) filename: String,
    pub(super) stored: StoredFile,
    pub(super) outcome: Outcome,
    /// The record of its build, unless it was published as a wheel.
    pub(super) built: Option<BuildRecord>,
    /// The digest of the sdist that it was built from.
    pub(super) sdist: Option<Sha256>,
    /// Set for a file of the lock.
    pub(super) is_locked: bool,
}

impl CollectedFile {
    pub(super) fn is_wheel(&self) -> bool {
        Path::new(&self.filename)
            .extension()
            .is_some_and(|extension| extension == "whl")
    }
}

impl CollectedTarget {
    pub(super) fn event(&self) -> Event {
        Event::TargetFinished {
            target: self.name.clone(),
            label: self.target.label(),
            host: self.target.interpreter.is_some(),
            packages: self.lock.packages.len(),
            wheels: self.files.iter().filter(|file| file.is_wheel()).count(),
            to_build: self.to_build(),
            unknown: self.unknown.clone(),
        }
    }

    /// Returns the distributions that have an sdist and no wheel.
    fn to_build(&self) -> Vec<String> {
        let distributions = |are_wheels: bool| -> BTreeSet<String> {
            let files = self.files.iter();
            let files = files.filter(|file| file.is_wheel() == are_wheels);
            files.map(|file| file.distribution.to_string()).collect()
        };
        let (sdists, wheels) = (distributions(false), distributions(true));
        sdists.difference(&wheels).cloned().collect()
    }
}

/// The reason to download a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Locked,
    /// It is required to build another file, or to set up an environment.
    Required,
    /// It is the sdist of a package that is locked as a wheel.
    ExtraSdist,
}

#[derive(Clone)]
struct PendingFile {
    distribution: Distribution,
    role: Role,
}

impl PendingFile {
    fn required(distribution: Distribution) -> Self {
        let role = Role::Required;
        Self { distribution, role }
    }
}

/// A file, and the files that are required to build it.
struct Collected {
    file: CollectedFile,
    requires: Vec<Distribution>,
    /// The build closure of an sdist, if its build backend could be asked.
    build: Option<Build>,
    /// The crates of an sdist.
    crates: Vec<StoredCrate>,
}

impl Collected {
    fn wheel(pending: PendingFile, wheel: WheelArtifact) -> Self {
        Self {
            file: CollectedFile {
                filename: wheel.filename,
                stored: wheel.stored,
                outcome: wheel.outcome,
                built: wheel.built,
                sdist: wheel.sdist,
                is_locked: pending.role == Role::Locked,
                distribution: pending.distribution,
            },
            requires: Vec::new(),
            build: None,
            crates: Vec::new(),
        }
    }
}

/// Returns whether a published digest of `sdist` is one of the required ones, if there are any.
fn is_allowed(sdist: &Artifact, required_hashes: &[String]) -> bool {
    let published = sdist.hashes.0.iter();
    let mut published = published.map(|(algorithm, digest)| format!("{algorithm}:{digest}"));
    required_hashes.is_empty() || published.any(|digest| required_hashes.contains(&digest))
}

impl<'a> Collector<'a> {
    /// Creates a collector for the target of `resolution`.
    pub(super) fn new(worker: &'a Rc<LocalWorker>, resolution: &'a TargetResolution) -> Self {
        Self {
            worker,
            resolution,
            prefetcher: Prefetcher::for_target(worker, &resolution.target),
            fit: WheelCompatibility::new(&resolution.target),
        }
    }

    /// Collects the files of the lock, the extra sdists, and the packages that `bootstrap` requires.
    ///
    /// # Errors
    /// When a file cannot be downloaded, or build requirements cannot be resolved.
    #[instrument(name = "collect files", skip_all, fields(name = self.resolution.name))]
    pub(super) async fn collect(&self, bootstrap: &BuildRequirements) -> Result<CollectedTarget> {
        let TargetResolution { lock, sdists, .. } = self.resolution;
        let locked = lock.packages.iter().map(|package| PendingFile {
            distribution: package.distribution(),
            role: Role::Locked,
        });
        let extra = lock.packages.iter().filter_map(|package| {
            let sdist = sdists.get(&package.name)?;
            if !is_allowed(sdist, &package.required_hashes) {
                let message = format!(
                    "{} is left out: none of the required hashes is a hash of it",
                    sdist.filename
                );
                self.worker
                    .context
                    .observer
                    .observe(&Event::warning(message));
                return None;
            }
            Some(PendingFile {
                distribution: Distribution {
                    source: Source::Sdist(sdist.clone()),
                    ..package.distribution()
                },
                role: Role::ExtraSdist,
            })
        });
        let mut pending: Vec<PendingFile> = locked.chain(extra).collect();
        let bootstrap = self.resolve_closure(bootstrap).await?;
        pending.extend(bootstrap.into_iter().map(PendingFile::required));
        let (files, builds, crates) = self.get_all(pending).await?;
        Ok(CollectedTarget {
            target: self.resolution.target.clone(),
            name: self.resolution.name.clone(),
            unknown: self.unknown(&files),
            lock: Lock {
                builds,
                ..lock.clone()
            },
            files,
            crates,
        })
    }

    /// Returns the sdists among `files` whose build backends fail on this machine, with the reasons.
    fn unknown(&self, files: &[CollectedFile]) -> Vec<Unknown> {
        let sdists = files.iter().filter(|file| !file.is_wheel());
        let unknown = sdists.filter_map(|file| {
            Some(Unknown {
                package: file.distribution.to_string(),
                reason: self.worker.unknown(&file.distribution)?,
            })
        });
        unknown.collect()
    }

    /// Collects `files` and the files that are required to build them, each once.
    ///
    /// # Errors
    /// The first failure; with `--keep-going` one error that lists all failures.
    async fn get_all(
        &self,
        files: Vec<PendingFile>,
    ) -> Result<(Vec<CollectedFile>, Vec<Build>, Vec<StoredCrate>)> {
        let mut seen = BTreeSet::new();
        let mut pending: FuturesUnordered<LocalBoxFuture<'_, Result<Collected>>> =
            FuturesUnordered::new();
        let mut next = files;
        let (mut files, mut builds, mut crates) = (Vec::new(), Vec::new(), Vec::new());
        let mut failures = Vec::new();
        loop {
            for file in next.drain(..) {
                if seen.insert(identity(&file.distribution)) {
                    pending.push(self.get(file).boxed_local());
                }
            }
            match pending.next().await {
                None => break,
                Some(Ok(collected)) => {
                    files.push(collected.file);
                    builds.extend(collected.build);
                    crates.extend(collected.crates);
                    next.extend(collected.requires.into_iter().map(PendingFile::required));
                }
                Some(Err(error)) if self.worker.context.keep_going => failures.push(error),
                Some(Err(error)) => return Err(error),
            }
        }
        let message = |failed| format!("failed to collect {failed} of {} files", seen.len());
        builds.sort();
        summarize(failures, message).map_or(Ok((files, builds, crates)), Err)
    }

    async fn get(&self, pending: PendingFile) -> Result<Collected> {
        match &pending.distribution.source {
            Source::Wheel(_) => {
                let wheel = self.worker.make(&pending.distribution).await?;
                Ok(Collected::wheel(pending, wheel))
            }
            Source::Sdist(artifact) => {
                let artifact = artifact.clone();
                self.get_sdist(pending, &artifact).await
            }
            Source::Tree { .. } | Source::Git { .. } => self.get_built(pending).await,
        }
    }

    /// Downloads an sdist and resolves its build closure. For a foreign target, builds its wheel instead if that fits
    /// every platform.
    async fn get_sdist(&self, pending: PendingFile, artifact: &Artifact) -> Result<Collected> {
        let distribution = &pending.distribution;
        if pending.role != Role::ExtraSdist
            && self.may_serve(distribution).await
            && let Ok(wheel) = self.worker.make(distribution).await
            && serves(&wheel.filename, &self.fit)
        {
            return Ok(Collected::wheel(pending, wheel));
        }
        let outcome = self.worker.outcome_of(artifact).await;
        let stored = self.worker.file(distribution, artifact).await?;
        let requirements = self.build_requirements(distribution).await?;
        let requires = self.resolve_closure(&requirements).await?;
        let crates = self.worker.crates(distribution).await?;
        let crates = self.worker.crate_files(&crates).await?;
        let build = match self.worker.unknown(distribution) {
            Some(_) => None,
            None => Some(
                build_closure::build(self.worker, distribution, &requirements, &requires).await?,
            ),
        };
        Ok(Collected {
            build,
            crates,
            requires,
            file: CollectedFile {
                filename: artifact.filename.clone(),
                stored,
                outcome,
                built: None,
                sdist: None,
                is_locked: pending.role == Role::Locked,
                distribution: pending.distribution,
            },
        })
    }

    /// Returns whether building `distribution` on this machine might make a wheel for the target.
    async fn may_serve(&self, distribution: &Distribution) -> bool {
        self.is_foreign()
            && !self.resolution.platform_bound.contains(&distribution.name)
            && self.worker.unknown(distribution).is_none()
            // If it cannot be unpacked, collecting it fails with that error.
            && !self.worker.would_compile(distribution).await.unwrap_or(false)
    }

    /// Returns the build requirements of `distribution`. If its build backend fails on this machine, a foreign target
    /// gets those that the source declares.
    async fn build_requirements(&self, distribution: &Distribution) -> Result<BuildRequirements> {
        let worker = self.worker;
        if worker.unknown(distribution).is_none() {
            match worker.build_requirements(distribution).await {
                Err(error) if self.is_foreign() && error.kind() == Kind::Build => {
                    worker.mark_unknown(distribution, &error);
                }
                answer => return answer,
            }
        }
        worker.declared_requirements(distribution).await
    }

    /// Builds the wheel of a source that is not published as a file.
    async fn get_built(&self, pending: PendingFile) -> Result<Collected> {
        let wheel = self.worker.make(&pending.distribution).await?;
        if self.is_foreign() && !serves(&wheel.filename, &self.fit) {
            let message = format!(
                "{} was built from a source tree into {}, which does not fit {}",
                pending.distribution,
                wheel.filename,
                self.resolution.target.label()
            );
            return Err(Error::new(Kind::Build, message).with_hint(
                "Build it on a host of that target, and add the directory of its wheel with --find-links.",
            ));
        }
        Ok(Collected::wheel(pending, wheel))
    }

    fn is_foreign(&self) -> bool {
        self.resolution.target.interpreter.is_none()
    }

    /// Resolves the distributions that `requirements` need for the target.
    async fn resolve_closure(&self, requirements: &BuildRequirements) -> Result<Vec<Distribution>> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let (engine, target) = (&self.worker.engine, &self.resolution.target);
        engine
            .resolve_build_requirements(requirements, target, &self.prefetcher)
            .await
    }
}

/// Returns whether a wheel that was built here fits every platform, and the target of `fit`.
pub(super) fn serves(filename: &str, fit: &WheelCompatibility) -> bool {
    let wheel: Option<WheelFilename> = filename.parse().ok();
    wheel.is_some_and(|wheel| {
        let is_pure = filename.ends_with("-none-any.whl");
        is_pure && fit.accepts(&wheel) == Some(true)
    })
}
