//! The worker as the provider of wheels and metadata for the engine, during a resolution or a build.
//!
//! It downloads the first candidate wheel of each package before the lock is complete, and builds the
//! first candidate sdist at once: the wheel contains the metadata that the resolver needs, so asking the
//! build backend for metadata first would do that work twice. Build requirements are made like all other
//! wheels.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};
use tracing::{debug, trace};
use wheelhouse_engine::{
    ArtifactProvider, BuildResources, BuildSource, WheelFile, build_cycle_error, build_depth_error,
};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_types::{Distribution, Error, Event, Kind, Result, Source, Target};

use super::artifact::{WheelArtifact, Worker as _};
use super::cache::saved_metadata;
use super::examine::{examine, examine_stored, examine_wheel};
use super::local::{LocalWorker, Prefetch};
use super::tasks::identity;
use super::wait_graph::WaitGuard;

/// Provides the engine with wheels and metadata, and prefetches what it will probably need.
pub(in crate::pipeline) struct Prefetcher {
    worker: Rc<LocalWorker>,
    /// The identity of the source whose build needs wheels; `None` while a lock is resolved.
    builder: Option<String>,
    /// Set for a target without an interpreter on this machine.
    is_foreign: bool,
}

impl Prefetcher {
    /// Creates the provider for a resolution in which every build backend must work.
    pub(in crate::pipeline) fn for_resolution(worker: &Rc<LocalWorker>) -> Self {
        Self {
            worker: Rc::clone(worker),
            builder: None,
            is_foreign: false,
        }
    }

    /// Creates the provider for a resolution for `target`. A build backend that fails on this machine may
    /// work on a host of a foreign target, so its failure does not end the resolution.
    pub(in crate::pipeline) fn for_target(worker: &Rc<LocalWorker>, target: &Target) -> Self {
        Self {
            is_foreign: target.interpreter.is_none(),
            ..Self::for_resolution(worker)
        }
    }

    /// Creates the provider for the build of `distribution`.
    pub(super) fn for_build(worker: &Rc<LocalWorker>, distribution: &Distribution) -> Self {
        Self {
            builder: Some(identity(distribution)),
            ..Self::for_resolution(worker)
        }
    }

    /// Makes the wheel of `distribution`.
    ///
    /// # Errors
    /// When `distribution` cannot be made, or is being built further up the stack.
    async fn make(&self, distribution: &Distribution) -> Result<WheelArtifact> {
        let _waiting = self.wait_for(distribution)?;
        self.worker.make(distribution).await
    }

    /// Records that the build waits for `distribution`, and returns a build-cycle error if that would never end.
    fn wait_for(&self, distribution: &Distribution) -> Result<Option<WaitGuard<'_>>> {
        let Some(builder) = &self.builder else {
            return Ok(None);
        };
        let waits = &self.worker.waits;
        if waits.is_too_deep(builder) {
            return Err(build_depth_error(&distribution.to_string()));
        }
        let waiting = waits.wait(builder, &identity(distribution));
        waiting
            .map(Some)
            .ok_or_else(|| build_cycle_error(&distribution.to_string()))
    }

    /// Returns the metadata of a wheel that is in the store, or of an sdist that is built now.
    async fn known_metadata(&self, distribution: &Distribution) -> Result<Option<Vec<u8>>> {
        let worker = &self.worker;
        if self.is_foreign && worker.unknown(distribution).is_some() {
            return Ok(bare_metadata(distribution));
        }
        let (stored, filename) = match &distribution.source {
            Source::Wheel(artifact) => {
                let required = &distribution.required_hashes;
                // Without network access the wheel must be intact, so that the resolver otherwise chooses another version.
                if !worker.context.request.network.offline
                    && let Some(metadata) =
                        saved_metadata(&worker.context.store, artifact, required)
                {
                    return Ok(Some(metadata));
                }
                let Some(stored) = worker.find(artifact, required).await? else {
                    return Ok(None);
                };
                (stored, artifact.filename.clone())
            }
            Source::Sdist(_)
                if worker.prefetch == Prefetch::WheelsAndBuilds
                    && self.is_first_candidate(distribution) =>
            {
                let wheel = self.make(distribution).await?;
                (wheel.stored, wheel.filename)
            }
            _ => return Ok(None),
        };
        if let Some(metadata) = worker.context.store.metadata(&stored.sha256) {
            return Ok(Some(metadata));
        }
        let inspection =
            blocking(move || wheelhouse_archive::inspect(&stored.path, &filename)).await?;
        Ok(Some(inspection.metadata))
    }

    /// Turns a failed download into `None` without network access, so that the engine looks for another version.
    fn unless_offline<T>(&self, outcome: Result<Option<T>>) -> Result<Option<T>> {
        let is_offline = self.worker.context.request.network.offline;
        outcome.or_else(|error| match error.kind() {
            Kind::Fetch if is_offline => Ok(None),
            _ => Err(error),
        })
    }

    fn is_first_candidate(&self, distribution: &Distribution) -> bool {
        let mut candidates = self.worker.candidates.borrow_mut();
        candidates.insert(distribution.name.clone()) || self.worker.has_begun(distribution)
    }
}

impl ArtifactProvider for Prefetcher {
    fn prefetch(&self, distribution: &Distribution) {
        let worker = &self.worker;
        trace!(%distribution, "the resolver considers a candidate");
        worker.context.observer.observe(&Event::Considering {
            package: distribution.to_string(),
        });
        let is_prefetched = match distribution.source {
            Source::Wheel(_) => worker.prefetch != Prefetch::Nothing,
            // The sdist of a build requirement is built after that resolution, which may fail with a build cycle.
            Source::Sdist(_) => {
                worker.prefetch == Prefetch::WheelsAndBuilds
                    && self.builder.is_none()
                    && self.is_first_candidate(distribution)
            }
            Source::Tree { .. } | Source::Git { .. } => false,
        };
        if is_prefetched {
            debug!(%distribution, "prefetching");
            drop(worker.begin(distribution));
        }
    }

    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>> {
        async move {
            // Metadata from the engine instead would hide the build cycle.
            drop(self.wait_for(distribution)?);
            match self.known_metadata(distribution).await {
                // The engine asks a build backend that fails again, for metadata only.
                Err(error) if error.kind() != Kind::Fetch => Ok(None),
                known => self.unless_offline(known),
            }
        }
        .boxed_local()
    }

    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>> {
        async move {
            let Some(artifact) = distribution.source.artifact() else {
                return Ok(None);
            };
            let file = async {
                let stored = self.worker.file(distribution, artifact).await?;
                if let Source::Wheel(_) = distribution.source {
                    examine_wheel(stored.path.clone(), artifact.filename.clone()).await?;
                } else {
                    let store = &self.worker.context.store;
                    examine_stored(store, &stored, &artifact.filename).await?;
                }
                Ok(Some(stored.path))
            };
            self.unless_offline(file.await)
        }
        .boxed_local()
    }

    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>> {
        examine(path.to_owned()).boxed_local()
    }

    fn wheels<'a>(
        &'a self,
        requirements: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>> {
        let wheels = requirements.iter().map(async |distribution| {
            let wheel = self.make(distribution).await?;
            let store = &self.worker.context.store;
            examine_stored(store, &wheel.stored, &wheel.filename).await?;
            Ok(WheelFile::from(wheel))
        });
        try_join_all(wheels.collect::<Vec<_>>()).boxed_local()
    }

    fn build_resources<'a>(
        &'a self,
        source: BuildSource<'a>,
    ) -> LocalBoxFuture<'a, Result<BuildResources>> {
        self.worker.build_resources(source).boxed_local()
    }

    fn fallback_metadata(&self, distribution: &Distribution, reason: &Error) -> Option<Vec<u8>> {
        if self.is_foreign && reason.kind() == Kind::Build {
            self.worker.mark_unknown(distribution, reason);
            return bare_metadata(distribution);
        }
        // With --keep-going the failed wheel is reported at the end, with all other failures.
        let goes_on = self.worker.context.keep_going && self.worker.has_begun(distribution);
        goes_on.then(|| bare_metadata(distribution)).flatten()
    }

    fn skips_metadata_build(&self, tree: &Path) -> bool {
        self.is_foreign && wheelhouse_archive::has_extension_modules(tree)
    }

    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>> {
        async move { Ok(self.worker.trees.copy(path).await?.root.clone()) }.boxed_local()
    }
}

/// Returns metadata without dependencies.
fn bare_metadata(distribution: &Distribution) -> Option<Vec<u8>> {
    let (name, version) = (&distribution.name, distribution.version.as_ref()?);
    Some(format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").into_bytes())
}
