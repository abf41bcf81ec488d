//! Build closures: what it takes to build the sources of a lock, and the sources that this takes in
//! turn.
//!
//! Sources are fetched and their back ends asked; nothing is built but what these ask with.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::try_join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use wheelhouse_engine::BuildRequirements;
use wheelhouse_types::lock::{Build, Package, Pin};
use wheelhouse_types::{Distribution, Error, Event, Hashes, Kind, Lock, Result, Source, Target};

use super::publish::complete_hashes;
use super::worker::provider::Ahead;
use super::worker::{LocalWorker, identity};

/// For whom closures are settled, and by whom.
pub(super) struct Closures<'a> {
    pub(super) worker: &'a Rc<LocalWorker>,
    pub(super) companion: &'a Ahead,
    pub(super) target: &'a Target,
}

impl Closures<'_> {
    /// Adds to `lock` how its sources are built, and a digest of each file that has none.
    ///
    /// The back end of a source is asked on this machine. If it fails for a foreign target, that is
    /// told, and the lock says nothing of that source.
    ///
    /// # Errors
    /// When a file cannot be had, or the requirements of a build cannot be settled.
    pub(super) async fn complete(&self, lock: &mut Lock) -> Result<()> {
        for package in &mut lock.packages {
            let hashes = hashes(self.worker, &package.distribution()).await?;
            if let Some(sha256) = hashes.sha256() {
                complete_hashes(&mut package.source, sha256);
            }
        }
        let sources = lock.packages.iter().map(Package::distribution);
        lock.builds = self.builds(sources.collect()).await?;
        Ok(())
    }

    async fn builds(&self, sources: Vec<Distribution>) -> Result<Vec<Build>> {
        let (mut seen, mut builds) = (BTreeSet::new(), Vec::new());
        let mut pending = FuturesUnordered::new();
        let mut next = sources;
        loop {
            for source in next.drain(..) {
                let is_wheel = matches!(source.source, Source::Wheel(_));
                if !is_wheel && seen.insert(identity(&source)) {
                    pending.push(self.build(source).boxed_local());
                }
            }
            let Some(settled) = pending.next().await else {
                builds.sort();
                return Ok(builds);
            };
            if let Some((build, closure)) = settled? {
                builds.push(build);
                next.extend(closure);
            }
        }
    }

    /// What it takes to build `source`; `None` if its back end cannot say here.
    async fn build(&self, source: Distribution) -> Result<Option<(Build, Vec<Distribution>)>> {
        let requirements = match self.worker.build_requirements(&source).await {
            Ok(requirements) => requirements,
            Err(error) if self.target.interpreter.is_none() && error.kind() == Kind::Build => {
                self.tell_unknown(&source, &error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let engine = &self.worker.engine;
        let closure = engine
            .resolve_build_requirements(&requirements, self.target, self.companion)
            .await?;
        let build = build(self.worker, &source, &requirements, &closure).await?;
        Ok(Some((build, closure)))
    }

    fn tell_unknown(&self, source: &Distribution, error: &Error) {
        self.worker.observer.observe(&Event::Warning {
            message: format!(
                "what the build of {source} requires for {} is not known: {}",
                self.target.label(),
                error.sentence()
            ),
            hint: Some("Lock on a host of that target to pin it.".to_owned()),
        });
    }
}

/// The build of `source`, which requires what comes down to `closure`.
///
/// # Errors
/// When a file without a published digest cannot be had, or the version of `source` is not known.
pub(super) async fn build(
    worker: &Rc<LocalWorker>,
    source: &Distribution,
    requirements: &BuildRequirements,
    closure: &[Distribution],
) -> Result<Build> {
    let pins = closure.iter().map(async |distribution| {
        let hashes = hashes(worker, distribution).await?;
        Ok::<_, Error>(Pin::of(distribution, &hashes))
    });
    let mut closure = try_join_all(pins.collect::<Vec<_>>()).await?;
    closure.sort();
    let version = source.version.clone().ok_or_else(|| {
        let message = format!("the version of {source} is not known");
        Error::new(Kind::Resolution, message)
    })?;
    Ok(Build {
        name: source.name.clone(),
        version,
        requires: requirements.texts(),
        closure,
    })
}

/// The published digests of a file, or else that of what comes.
async fn hashes(worker: &Rc<LocalWorker>, distribution: &Distribution) -> Result<Hashes> {
    let Some(artifact) = distribution.source.artifact() else {
        return Ok(Hashes::default());
    };
    if artifact.hashes.sha256().is_some() {
        return Ok(artifact.hashes.clone());
    }
    let stored = worker.file(distribution, artifact).await?;
    Ok(Hashes::sha256_only(stored.sha256))
}
