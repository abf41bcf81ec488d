//! Gathering what one target needs: the files of its lock, and the build closure of each sdist.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use wheelhouse_engine::{BuildRequirements, fits};
use wheelhouse_model::{
    Artifact, Distribution, Error, Event, Kind, Lock, Outcome, PackageName, Result, Source, Target,
    WheelFilename,
};

use super::super::ahead::Ahead;
use super::super::worker::{LocalWorker, Made, identity};
use crate::store::{BuiltWheel, Stored};

/// For whom files are gathered, and by whom.
pub(super) struct Gathering<'a> {
    pub(super) worker: &'a Rc<LocalWorker>,
    pub(super) companion: &'a Ahead,
    pub(super) target: &'a Target,
}

/// All that one target needs.
pub(super) struct Gathered {
    pub(super) target: Target,
    pub(super) lock: Lock,
    /// Its files; those of the lock and of build closures alike.
    pub(super) files: Vec<Gotten>,
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
            is_locked: wanted.role == Role::Locked,
            distribution: wanted.distribution,
        }
    }
}

fn has_wheel_name(filename: &str) -> bool {
    std::path::Path::new(filename)
        .extension()
        .is_some_and(|extension| extension == "whl")
}

impl Gathered {
    pub(super) fn event(&self) -> Event {
        let to_build = self.files.iter().filter(|file| !file.is_wheel());
        Event::TargetFinished {
            target: self.target.name(),
            label: self.target.label(),
            packages: self.lock.packages.len(),
            wheels: self.files.iter().filter(|file| file.is_wheel()).count(),
            to_build: to_build
                .map(|file| file.distribution.to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
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
}

impl Gathering<'_> {
    /// Gathers the files of `lock`, of its `sdists` and of what `bootstrap` requires.
    ///
    /// # Errors
    /// When a file cannot be had, or the requirements of a build cannot be settled.
    pub(super) async fn gather(
        &self,
        lock: Lock,
        sdists: &BTreeMap<PackageName, Artifact>,
        bootstrap: &BuildRequirements,
    ) -> Result<Gathered> {
        let locked = lock.packages.iter().map(|package| Wanted {
            distribution: package.distribution(),
            role: Role::Locked,
        });
        let beside = lock.packages.iter().filter_map(|package| {
            Some(Wanted {
                distribution: Distribution {
                    source: Source::Sdist(sdists.get(&package.name)?.clone()),
                    required_hashes: Vec::new(),
                    ..package.distribution()
                },
                role: Role::Beside,
            })
        });
        let mut wanted: Vec<Wanted> = locked.chain(beside).collect();
        let bootstrap = self.settle(bootstrap).await?;
        wanted.extend(bootstrap.into_iter().map(Wanted::required));
        let files = self.get_all(wanted).await?;
        Ok(Gathered {
            target: self.target.clone(),
            lock,
            files,
        })
    }

    /// Gets all of `wanted` and whatever that makes wanted, each once.
    async fn get_all(&self, wanted: Vec<Wanted>) -> Result<Vec<Gotten>> {
        let mut seen = BTreeSet::new();
        let mut pending: FuturesUnordered<LocalBoxFuture<'_, Result<Got>>> =
            FuturesUnordered::new();
        let mut files = Vec::new();
        let mut next = wanted;
        loop {
            for wanted in next.drain(..) {
                if seen.insert(identity(&wanted.distribution)) {
                    pending.push(self.get(wanted).boxed_local());
                }
            }
            let Some(got) = pending.next().await else {
                return Ok(files);
            };
            let got = got?;
            files.push(got.file);
            next.extend(got.requires.into_iter().map(Wanted::required));
        }
    }

    async fn get(&self, wanted: Wanted) -> Result<Got> {
        match &wanted.distribution.source {
            Source::Wheel(_) => {
                let made = self.worker.begin(&wanted.distribution).await?;
                Ok(Got {
                    file: Gotten::of_wheel(wanted, made),
                    requires: Vec::new(),
                })
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
            && self.is_foreign()
            && let Ok(made) = self.worker.begin(distribution).await
            && self.serves(&made.filename)
        {
            return Ok(Got {
                file: Gotten::of_wheel(wanted, made),
                requires: Vec::new(),
            });
        }
        let outcome = self.worker.outcome_of(artifact);
        let stored = self.worker.file(distribution, artifact).await?;
        let requirements = self.worker.build_requirements(distribution).await?;
        let requires = self.settle(&requirements).await?;
        Ok(Got {
            requires,
            file: Gotten {
                filename: artifact.filename.clone(),
                stored,
                outcome,
                built: None,
                is_locked: wanted.role == Role::Locked,
                distribution: wanted.distribution,
            },
        })
    }

    /// Builds the wheel of a source that has no published file.
    async fn get_built(&self, wanted: Wanted) -> Result<Got> {
        let made = self.worker.begin(&wanted.distribution).await?;
        if self.is_foreign() && !self.serves(&made.filename) {
            let message = format!(
                "{} was built from a source tree into {}, which does not fit {}",
                wanted.distribution,
                made.filename,
                self.target.label()
            );
            return Err(Error::new(Kind::Build, message).with_hint(
                "Build it on a host of that target, and name the directory of its wheel with --find-links.",
            ));
        }
        Ok(Got {
            file: Gotten::of_wheel(wanted, made),
            requires: Vec::new(),
        })
    }

    fn is_foreign(&self) -> bool {
        self.target.interpreter.is_none()
    }

    /// Whether a wheel that was built here is good for the target.
    fn serves(&self, filename: &str) -> bool {
        let wheel: Option<WheelFilename> = filename.parse().ok();
        wheel.is_some_and(|wheel| {
            let is_pure = filename.ends_with("-none-any.whl");
            is_pure && fits(&wheel, self.target) == Some(true)
        })
    }

    async fn settle(&self, requirements: &BuildRequirements) -> Result<Vec<Distribution>> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let engine = &self.worker.engine;
        engine
            .settle(requirements, self.target, self.companion)
            .await
    }
}
