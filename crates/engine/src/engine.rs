//! The engine's interface to the pipeline.

use std::path::{Path, PathBuf};

use wheelhouse_types::{Distribution, PackageName, Result, Source, Target, Version};

use crate::artifact_provider::ArtifactProvider;
use crate::build::build_system::BuildSystem;
use crate::build::requirements::BuildRequirements;
use crate::build::{BuildRequest, BuiltWheel};
use crate::dispatch::BuildDispatch;
use crate::error::hints::with_io_hint;
use crate::network::download::Fetcher;
use crate::resolve::{ResolveOptions, ResolveOutput};
use crate::state::{self, EngineOptions, EngineState};

/// Resolves and builds for one request and one interpreter.
pub struct Engine(EngineState);

impl Engine {
    /// Opens the HTTP clients and reads the `--find-links` locations, which may use the network.
    ///
    /// # Errors
    /// `Input` if an option is not valid, `Fetch` if a `--find-links` location cannot be read.
    pub async fn start(options: EngineOptions<'_>) -> Result<Self> {
        state::mask_credentials(options.request);
        let state = Box::pin(EngineState::start(options)).await;
        state.map(Self).map_err(with_io_hint)
    }

    /// Returns the client that downloads files; it can be used from any thread.
    #[must_use]
    pub fn fetcher(&self) -> Fetcher {
        self.0.resolve().clients().fetcher().clone()
    }

    /// Starts to fetch the index pages of packages that the resolution will probably need.
    pub fn prefetch(&self, names: &[PackageName]) {
        for name in names {
            self.0.resolve().index().prefetch(name);
        }
    }

    /// Resolves the request for `target`. The versions in `preferences` are chosen where the requirements allow them.
    ///
    /// # Errors
    /// `Resolution` with an explanation if no set of versions satisfies the requirements, `Fetch` if an index cannot
    /// be read, `Build` if the metadata of a source cannot be read, `Input` if a requirement is not valid.
    pub async fn resolve(
        &self,
        target: &Target,
        preferences: &[(PackageName, Version)],
        artifacts: &dyn ArtifactProvider,
    ) -> Result<ResolveOutput> {
        let options = ResolveOptions {
            preferences,
            constraints: &[],
        };
        self.resolve_within(target, &options, artifacts).await
    }

    /// Resolves the request like [`resolve`](Self::resolve), with `options`.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn resolve_within(
        &self,
        target: &Target,
        options: &ResolveOptions<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<ResolveOutput> {
        let target_env = self.0.targets().get(target)?;
        let dispatch = BuildDispatch::new(&self.0, artifacts);
        self.with_context(dispatch.resolver().resolve(&target_env, options).await)
    }

    /// Resolves build requirements and all of their dependencies for `target`.
    ///
    /// # Errors
    /// `Build` if no set of versions satisfies them; as [`resolve`](Self::resolve) otherwise.
    pub async fn resolve_build_requirements(
        &self,
        requirements: &BuildRequirements,
        target: &Target,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<Vec<Distribution>> {
        let target_env = self.0.targets().get(target)?;
        let dispatch = BuildDispatch::new(&self.0, artifacts);
        let resolved = dispatch.resolve_build_requirements(requirements, &target_env);
        self.with_context(resolved.await)
    }

    /// Returns the requirements of the build of a source: those that it declares, and those that its backend reports.
    ///
    /// # Errors
    /// As [`build_wheel`](Self::build_wheel).
    pub async fn build_requirements(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuildRequirements> {
        let dispatch = BuildDispatch::new(&self.0, artifacts);
        self.with_context(dispatch.build_requirements(request).await)
    }

    /// Returns the build requirements that the source at `tree` declares. Its build backend may report more.
    ///
    /// # Errors
    /// `Build` if it is not a Python project, or its `pyproject.toml` is not valid.
    pub fn declared_requirements(tree: &Path) -> Result<BuildRequirements> {
        Ok(BuildRequirements {
            builder: None,
            requirements: BuildSystem::read(tree)?.requires,
        })
    }

    /// Checks out the commit of a [`Source::Git`] and returns its directory, which belongs to the cache: build from a copy.
    ///
    /// # Errors
    /// `Fetch` if the repository cannot be fetched or does not have the commit.
    ///
    /// # Panics
    /// If `source` is not a Git source.
    pub async fn checkout(&self, source: &Source) -> Result<PathBuf> {
        let checkout = self.0.resolve().checkout(source).await;
        checkout.map_err(with_io_hint)
    }

    /// Builds the wheel of a source; `artifacts` provides the wheels of its build requirements. Then waits for a free job.
    ///
    /// # Errors
    /// `Build` with the end of the output as detail if the build backend fails, or its requirements cannot be provided.
    pub async fn build_wheel(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuiltWheel> {
        let dispatch = BuildDispatch::new(&self.0, artifacts);
        self.with_context(dispatch.build_wheel(request).await)
    }

    /// Adds a hint about the disk and the network to an error, and replaces the paths of copies by those of local trees.
    fn with_context<T>(&self, result: Result<T>) -> Result<T> {
        let trees = self.0.resolve().trees();
        result.map_err(|error| trees.with_original_paths(with_io_hint(error)))
    }
}
