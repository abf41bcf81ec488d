//! Unpacks the source of a distribution into its build directory, which one task at a time uses.

use std::path::PathBuf;
use std::rc::Rc;

use tracing::debug;
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_engine::build_cycle_error;
use wheelhouse_store::BuildKey;
use wheelhouse_types::{Distribution, Error, Result, Source};

use super::build_dir::{self, BuildDir, Claim, DirectoryOrder, SourceInput};
use super::examine::examine_stored;
use super::local::LocalWorker;
use super::tasks::identity;

impl LocalWorker {
    /// Unpacks the source of `distribution` into the build directory for this machine.
    pub(super) async fn unpack(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<(BuildDir, Claim<'_>)> {
        let sdist = self.sdist_digest(distribution).await?;
        let key = self.build_key(distribution, sdist);
        self.prepare(distribution, &key).await
    }

    /// Unpacks or copies a source into its build directory.
    pub(super) async fn prepare<'a>(
        self: &'a Rc<Self>,
        distribution: &Distribution,
        key: &BuildKey,
    ) -> Result<(BuildDir, Claim<'a>)> {
        let claim = self.claim(distribution, key.to_string()).await?;
        let (input, subdirectory) = match &distribution.source {
            Source::Sdist(artifact) => {
                let stored = self.file(distribution, artifact).await?;
                let filename = artifact.filename.clone();
                examine_stored(&self.context.store, &stored, &filename).await?;
                let input = SourceInput::Sdist { stored, filename };
                (input, artifact.subdirectory.clone())
            }
            Source::Tree { path } => {
                let tree = self.trees.input(path, LargeFiles::Link).await?;
                (SourceInput::Tree(tree), None)
            }
            Source::Git { subdirectory, .. } => {
                let checkout = self.engine.checkout(&distribution.source).await?;
                (SourceInput::Checkout(checkout), subdirectory.clone())
            }
            Source::Wheel(_) => unreachable!("a wheel is not built"),
        };
        let build_dir = self.create_build_dir(key, input, subdirectory).await;
        let build_dir = build_dir.map_err(|error| {
            let message = format!("failed to unpack the source of {distribution}");
            Error::new(error.kind(), message).caused_by(error)
        })?;
        Ok((build_dir, claim))
    }

    pub(super) async fn create_build_dir(
        &self,
        key: &BuildKey,
        input: SourceInput,
        subdirectory: Option<PathBuf>,
    ) -> Result<BuildDir> {
        let builds = self.context.store.root().join("builds");
        let order = if self.context.request.building.is_varied {
            DirectoryOrder::Reversed
        } else {
            DirectoryOrder::Unpacked
        };
        build_dir::create(&builds, key.to_string(), input, subdirectory, order).await
    }

    /// Waits until no other task of this process uses the build directory of `key`, and claims it. The lock of
    /// the directory excludes other processes only: a task that waits for a file lock would be missing from the
    /// graph that detects build cycles.
    ///
    /// # Errors
    /// When the task that uses the directory waits for `distribution`: the same source under another name.
    async fn claim(self: &Rc<Self>, distribution: &Distribution, key: String) -> Result<Claim<'_>> {
        let source = identity(distribution);
        while let Some(usage) = self.build_dirs.usage(&key) {
            debug!(%distribution, user = usage.source, "waiting for a build directory");
            let waiting = self.waits.wait(&source, &usage.source);
            if waiting.is_none() && usage.source != source {
                return Err(build_cycle_error(&distribution.to_string()));
            }
            // The sender is dropped with the claim, so this returns an error.
            let _ = usage.released.await;
        }
        Ok(self.build_dirs.claim(key, source))
    }
}
