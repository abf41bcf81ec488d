//! Build closures: the build requirements of the sources of a lock, and of the sources among these in turn.
//!
//! Sources are downloaded and their build backends asked; only what the build backends themselves require is
//! built.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::try_join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use wheelhouse_engine::BuildRequirements;
use wheelhouse_types::lock::{Build, Package, Pin};
use wheelhouse_types::{Distribution, Error, Event, Hashes, Kind, Lock, Result, Source, Target};

use super::published_files::complete_hashes;
use super::worker::{LocalWorker, Prefetcher, identity};

/// Resolves the build closures of a lock for one target.
pub(super) struct ClosureResolver<'a> {
    pub(super) worker: &'a Rc<LocalWorker>,
    pub(super) prefetcher: &'a Prefetcher,
    pub(super) target: &'a Target,
}

impl ClosureResolver<'_> {
    /// Adds the build closures of its sources to `lock`, and a digest to each file that has none.
    ///
    /// Build backends are asked on this machine. If one fails for a foreign target, a warning says so, and
    /// the lock has no closure of that source.
    ///
    /// # Errors
    /// When a file cannot be downloaded, or build requirements cannot be resolved.
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
            let Some(resolved) = pending.next().await else {
                builds.sort();
                return Ok(builds);
            };
            if let Some((build, closure)) = resolved? {
                builds.push(build);
                next.extend(closure);
            }
        }
    }

    /// Returns the build closure of `source`, or `None` if its build backend fails for a foreign target.
    async fn build(&self, source: Distribution) -> Result<Option<(Build, Vec<Distribution>)>> {
        let requirements = match self.worker.build_requirements(&source).await {
            Ok(requirements) => requirements,
            Err(error) if self.target.interpreter.is_none() && error.kind() == Kind::Build => {
                self.worker.context.observer.observe(&Event::Warning {
                    message: format!(
                        "the build requirements of {source} for {} are unknown: {}",
                        self.target.label(),
                        error.display_chain()
                    ),
                    hint: Some("Lock on a host of that target to pin them.".to_owned()),
                });
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let engine = &self.worker.engine;
        let closure = engine
            .resolve_build_requirements(&requirements, self.target, self.prefetcher)
            .await?;
        let build = build(self.worker, &source, &requirements, &closure).await?;
        Ok(Some((build, closure)))
    }
}

/// Returns the lock entry for the build of `source`, whose `requirements` resolve to `closure`.
///
/// # Errors
/// When a file without a published digest cannot be downloaded, or the version of `source` is not known.
pub(super) async fn build(
    worker: &Rc<LocalWorker>,
    source: &Distribution,
    requirements: &BuildRequirements,
    closure: &[Distribution],
) -> Result<Build> {
    let pins = closure.iter().map(async |distribution| {
        let hashes = hashes(worker, distribution).await?;
        Ok::<_, Error>(Pin::new(distribution, &hashes))
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
        crates: worker.crates(source).await?,
    })
}

/// Returns the published digests of a file, or else the digest of the downloaded file.
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
