//! Gathering what one target needs: the files of its lock, and the build closure of each sdist.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use wheelhouse_engine::{BuildRequirements, WheelCompatibility};
use wheelhouse_types::lock::Build;
use wheelhouse_types::{
    Artifact, Distribution, Error, Event, Kind, Lock, Outcome, Result, Sha256, Source, Target,
    WheelFilename, event::Unknown,
};

use super::super::worker::provider::Ahead;
use super::super::worker::{LocalWorker, Made, identity};
use super::super::{build_closure, executor};
use super::resolve::Settled;
use wheelhouse_store::{BuiltWheel, Stored};

/// For whom files are gathered, and by whom.
pub(super) struct Gathering<'a> {
    pub(super) worker: &'a Rc<LocalWorker>,
    pub(super) companion: &'a Ahead,
    pub(super) settled: &'a Settled,
    pub(super) fit: WheelCompatibility,
}

/// All that one target needs.
pub(super) struct Gathered {
    pub(super) target: Target,
    pub(super) name: String,
    pub(super) lock: Lock,
    /// Its files; those of the lock and of build closures alike.
    pub(super) files: Vec<Gotten>,
    /// What could not be found out here.
    unknown: Vec<Unknown>,
}

/// A file in the store.
#[derive(Clone)]
pub(super) struct Gotten {
    pub(super) distribution: Distribution,
    pub(super) filename: String,
    pub(super) stored: Stored,
    pub(super) outcome: Outcome,
    /// How a wheel was built that was not published as such.
    pub(super) built: Option<BuiltWheel>,
    /// The digest of the sdist that it was built from.
    pub(super) sdist: Option<Sha256>,
    /// Whether it is there because the lock has it.
    pub(super) is_locked: bool,
}

impl Gotten {
    pub(super) fn is_wheel(&self) -> bool {
        has_wheel_name(&self.filename)
    }

    fn of_wheel(wanted: Wanted, made: Made) -> Self {
        Self {
            filename: made.filename,
            stored: made.stored,
            outcome: made.outcome,
            built: made.built,
            sdist: made.sdist,
            is_locked: wanted.role == Role::Locked,
            distribution: wanted.distribution,
        }
    }
}

pub(super) fn has_wheel_name(filename: &str) -> bool {
    std::path::Path::new(filename)
        .extension()
        .is_some_and(|extension| extension == "whl")
}

impl Gathered {
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

    /// What came as an sdist and not as a wheel, too.
    fn to_build(&self) -> Vec<String> {
        let those = |are_wheels: bool| -> BTreeSet<String> {
            let files = self.files.iter();
            let files = files.filter(|file| file.is_wheel() == are_wheels);
            files.map(|file| file.distribution.to_string()).collect()
        };
        those(false).difference(&those(true)).cloned().collect()
    }
}

/// Why a file is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Locked,
    /// Building something, or setting up an environment, requires it.
    Required,
    /// The sdist of something that is there as a wheel.
    Beside,
}

#[derive(Clone)]
struct Wanted {
    distribution: Distribution,
    role: Role,
}

impl Wanted {
    fn required(distribution: Distribution) -> Self {
        let role = Role::Required;
        Self { distribution, role }
    }
}

/// A file, and what it makes wanted.
struct Got {
    file: Gotten,
    requires: Vec<Distribution>,
    /// How an sdist is built, if its back end could tell.
    build: Option<Build>,
}

impl Got {
    fn wheel(wanted: Wanted, made: Made) -> Self {
        Self {
            file: Gotten::of_wheel(wanted, made),
            requires: Vec::new(),
            build: None,
        }
    }
}

/// Whether one of the digests that are published of `sdist` is required, where any is.
fn is_allowed(sdist: &Artifact, required_hashes: &[String]) -> bool {
    let published = sdist.hashes.0.iter();
    let mut published = published.map(|(algorithm, digest)| format!("{algorithm}:{digest}"));
    required_hashes.is_empty() || published.any(|digest| required_hashes.contains(&digest))
}

impl Gathering<'_> {
    /// Gathers the files of the lock, of the sdists beside it and of what `bootstrap` requires.
    ///
    /// # Errors
    /// When a file cannot be had, or the requirements of a build cannot be settled.
    pub(super) async fn gather(&self, bootstrap: &BuildRequirements) -> Result<Gathered> {
        let Settled { lock, sdists, .. } = self.settled;
        let locked = lock.packages.iter().map(|package| Wanted {
            distribution: package.distribution(),
            role: Role::Locked,
        });
        let beside = lock.packages.iter().filter_map(|package| {
            let sdist = sdists.get(&package.name)?;
            if !is_allowed(sdist, &package.required_hashes) {
                let message = format!("{} is left out: no hash of it is given", sdist.filename);
                self.worker.observer.observe(&Event::warning(message));
                return None;
            }
            Some(Wanted {
                distribution: Distribution {
                    source: Source::Sdist(sdist.clone()),
                    ..package.distribution()
                },
                role: Role::Beside,
            })
        });
        let mut wanted: Vec<Wanted> = locked.chain(beside).collect();
        let bootstrap = self.settle(bootstrap).await?;
        wanted.extend(bootstrap.into_iter().map(Wanted::required));
        let (files, builds) = self.get_all(wanted).await?;
        Ok(Gathered {
            target: self.settled.target.clone(),
            name: self.settled.name.clone(),
            unknown: self.unknown(&files),
            lock: Lock {
                builds,
                ..lock.clone()
            },
            files,
        })
    }

    /// What the back ends of sdists that came should have told and could not.
    fn unknown(&self, files: &[Gotten]) -> Vec<Unknown> {
        let sdists = files.iter().filter(|file| !file.is_wheel());
        let unknown = sdists.filter_map(|file| {
            Some(Unknown {
                package: file.distribution.to_string(),
                reason: self.worker.unknown(&file.distribution)?,
            })
        });
        unknown.collect()
    }

    /// Gets all of `wanted` and whatever that makes wanted, each once. One that fails ends it, unless the
    /// worker is to keep going.
    async fn get_all(&self, wanted: Vec<Wanted>) -> Result<(Vec<Gotten>, Vec<Build>)> {
        let mut seen = BTreeSet::new();
        let mut pending: FuturesUnordered<LocalBoxFuture<'_, Result<Got>>> =
            FuturesUnordered::new();
        let (mut files, mut builds, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = wanted;
        loop {
            for wanted in next.drain(..) {
                if seen.insert(identity(&wanted.distribution)) {
                    pending.push(self.get(wanted).boxed_local());
                }
            }
            match pending.next().await {
                None => break,
                Some(Ok(got)) => {
                    files.push(got.file);
                    builds.extend(got.build);
                    next.extend(got.requires.into_iter().map(Wanted::required));
                }
                Some(Err(error)) if self.worker.keep_going => failures.push(error),
                Some(Err(error)) => return Err(error),
            }
        }
        let summary = |failed| format!("{failed} of {} files cannot be had", seen.len());
        builds.sort();
        executor::summary(failures, summary).map_or(Ok((files, builds)), Err)
    }

    async fn get(&self, wanted: Wanted) -> Result<Got> {
        match &wanted.distribution.source {
            Source::Wheel(_) => {
                let made = self.worker.begin(&wanted.distribution).await?;
                Ok(Got::wheel(wanted, made))
            }
            Source::Sdist(artifact) => {
                let artifact = artifact.clone();
                self.get_sdist(wanted, &artifact).await
            }
            Source::Tree { .. } | Source::Git { .. } => self.get_built(wanted).await,
        }
    }

    /// Gets an sdist with its build closure; or, for another machine, the wheel that it builds into,
    /// if that serves every machine.
    async fn get_sdist(&self, wanted: Wanted, artifact: &Artifact) -> Result<Got> {
        let distribution = &wanted.distribution;
        if wanted.role != Role::Beside
            && self.may_serve(distribution).await
            && let Ok(made) = self.worker.begin(distribution).await
            && self.serves(&made.filename)
        {
            return Ok(Got::wheel(wanted, made));
        }
        let outcome = self.worker.outcome_of(artifact);
        let stored = self.worker.file(distribution, artifact).await?;
        let requirements = self.build_requirements(distribution).await?;
        let requires = self.settle(&requirements).await?;
        let build = match self.worker.unknown(distribution) {
            Some(_) => None,
            None => Some(
                build_closure::build(self.worker, distribution, &requirements, &requires).await?,
            ),
        };
        Ok(Got {
            build,
            requires,
            file: Gotten {
                filename: artifact.filename.clone(),
                stored,
                outcome,
                built: None,
                sdist: None,
                is_locked: wanted.role == Role::Locked,
                distribution: wanted.distribution,
            },
        })
    }

    /// Whether building `distribution` here might give a wheel for the target.
    async fn may_serve(&self, distribution: &Distribution) -> bool {
        self.is_foreign()
            && !self.settled.bound.contains(&distribution.name)
            && self.worker.unknown(distribution).is_none()
            // What cannot be unpacked fails once more where that is told.
            && !self.worker.would_compile(distribution).await.unwrap_or(false)
    }

    /// What building `distribution` requires: for a foreign target at least what it declares, where its
    /// back end fails here.
    async fn build_requirements(&self, distribution: &Distribution) -> Result<BuildRequirements> {
        let worker = self.worker;
        if worker.unknown(distribution).is_none() {
            match worker.build_requirements(distribution).await {
                Err(error) if self.is_foreign() && error.kind() == Kind::Build => {
                    worker.note_unknown(distribution, &error);
                }
                answer => return answer,
            }
        }
        worker.declared_requirements(distribution).await
    }

    /// Builds the wheel of a source that has no published file.
    async fn get_built(&self, wanted: Wanted) -> Result<Got> {
        let made = self.worker.begin(&wanted.distribution).await?;
        if self.is_foreign() && !self.serves(&made.filename) {
            let message = format!(
                "{} was built from a source tree into {}, which does not fit {}",
                wanted.distribution,
                made.filename,
                self.settled.target.label()
            );
            return Err(Error::new(Kind::Build, message).with_hint(
                "Build it on a host of that target, and name the directory of its wheel with --find-links.",
            ));
        }
        Ok(Got::wheel(wanted, made))
    }

    fn is_foreign(&self) -> bool {
        self.settled.target.interpreter.is_none()
    }

    /// Whether a wheel that was built here is good for the target.
    fn serves(&self, filename: &str) -> bool {
        let wheel: Option<WheelFilename> = filename.parse().ok();
        wheel.is_some_and(|wheel| {
            let is_pure = filename.ends_with("-none-any.whl");
            is_pure && self.fit.accepts(&wheel) == Some(true)
        })
    }

    async fn settle(&self, requirements: &BuildRequirements) -> Result<Vec<Distribution>> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let engine = &self.worker.engine;
        engine
            .resolve_build_requirements(requirements, &self.settled.target, self.companion)
            .await
    }
}
