//! Everything that knows Python packaging from the inside: finding an interpreter, resolving, asking
//! an index, building wheels. It is the only crate that names the uv crates, behind a plain
//! interface of [`wheelhouse_types`] values.
//!
//! 1. [`run`] starts the runtime that uv needs;
//! 2. [`RemoteFiles::read`] reads a requirements file at a URL, if one is named;
//! 3. [`python::locate`] finds the interpreter, [`Host::discover`] knows it, [`Engine::start`] opens
//!    the clients for it;
//! 4. [`Engine::resolve`] settles a [`Lock`](wheelhouse_types::Lock), asking a [`ArtifactProvider`] for
//!    wheels of sources and telling it early which wheels it will probably need;
//! 5. [`Fetcher::open`] streams a file, [`Engine::checkout`] checks out a Git commit;
//! 6. [`Engine::build_wheel`] builds a wheel from an unpacked source.
//!
//! It never decides what is fetched or built when, never writes a wheelhouse, and never prints.

mod artifact_provider;
mod build;
mod convert;
mod dispatch;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod network;
pub mod process_tree;
pub mod python;
mod requirements;
mod resolve;
mod runtime;
mod state;
mod target;

pub mod git {
    //! Git's commands.
    pub use uv_git::CommandCredentials;
}

pub use artifact_provider::{ArtifactProvider, WheelFile, build_cycle_error, build_depth_error};
pub use build::requirements::BuildRequirements;
pub use build::{BuildRequest, BuiltWheel};
pub use network::download::{Download, FetchError, Fetcher};
pub use network::remote_file::RemoteFiles;
pub use resolve::{ResolveOptions, ResolveOutput};
pub use runtime::run;
pub use target::compatibility::{WheelCompatibility, can_substitute};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{
    Distribution, Kind, Observer, PackageName, Request, Result, Source, Target, Version,
};

use error::hints::with_remedy;

/// A Python that is there, and uv's cache for it: all that a run needs that resolves and builds
/// nothing.
#[derive(Clone)]
pub struct Host {
    cache: uv_cache::Cache,
    interpreter: uv_python::Interpreter,
    target: Target,
}

impl Host {
    /// Asks the Python that `request` means about itself, or the cache if it was asked before.
    /// `located` is what [`python::locate`] found; `cache` is the directory for uv's own cache.
    ///
    /// # Errors
    /// When there is no such Python, or the cache cannot be written.
    pub async fn discover(
        request: Option<&str>,
        located: Option<&Path>,
        cache: &Path,
    ) -> Result<Self> {
        let cache = uv_cache::Cache::from_path(cache)
            .init()
            .await
            .context(Kind::Fetch, || {
                format!("failed to open the cache {}", cache.display())
            })
            .map_err(with_remedy)?;
        let (interpreter, target) = python::query(request, located, &cache).map_err(with_remedy)?;
        Ok(Self {
            cache,
            interpreter,
            target,
        })
    }

    /// The target that this Python resolves and builds for.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target.clone()
    }
}

/// What an engine is started with.
pub struct EngineOptions<'a> {
    pub host: Host,
    pub request: &'a Request,
    /// The directory for the logs of builds.
    pub logs: &'a Path,
    /// Hears what builds do.
    pub observer: Arc<dyn Observer>,
}

/// Resolves and builds for one request and one interpreter.
pub struct Engine(state::EngineState);

impl Engine {
    /// Opens the HTTP clients and reads the `--find-links` places, which may use the network.
    ///
    /// # Errors
    /// When an option is not valid, or a `--find-links` place cannot be read.
    pub async fn start(setup: EngineOptions<'_>) -> Result<Self> {
        state::remember_credentials(setup.request);
        let state = Box::pin(state::EngineState::start(setup)).await;
        state.map(Self).map_err(with_remedy)
    }

    /// What fetches files; it can be used from any thread.
    #[must_use]
    pub fn fetcher(&self) -> Fetcher {
        self.0.fetcher.clone()
    }

    /// Begins to ask the indexes for packages that the resolution will probably need.
    pub fn prefetch(&self, names: &[PackageName]) {
        for name in names {
            drop(self.0.prefetcher.ask(name));
        }
    }

    /// Settles the lock of the request for `target`, the host or a foreign one. Where they fit, the
    /// versions in `preferences` are chosen.
    ///
    /// # Errors
    /// `Resolution` with an explanation when no set of versions fits, `Fetch` when an index cannot
    /// be read, `Build` when the metadata of a source cannot be had, `Input` when a requirement is
    /// not valid.
    pub async fn resolve(
        &self,
        target: &Target,
        preferences: &[(PackageName, Version)],
        artifacts: &dyn ArtifactProvider,
    ) -> Result<ResolveOutput> {
        let bounds = ResolveOptions {
            preferences,
            constraints: &[],
        };
        self.resolve_within(target, &bounds, artifacts).await
    }

    /// Settles the lock as [`resolve`](Self::resolve), within `bounds`.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn resolve_within(
        &self,
        target: &Target,
        bounds: &ResolveOptions<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<ResolveOutput> {
        let target_env = self.0.target_env(target)?;
        let resolved = self.0.resolve(&target_env, bounds, artifacts).await;
        resolved.map_err(|error| self.0.with_original_trees(with_remedy(error)))
    }

    /// Settles build requirements, and all that they depend on, for `target`.
    ///
    /// # Errors
    /// `Build` when no set of versions fits; as [`resolve`](Self::resolve) otherwise.
    pub async fn resolve_build_requirements(
        &self,
        requirements: &BuildRequirements,
        target: &Target,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<Vec<Distribution>> {
        let target_env = self.0.target_env(target)?;
        let dispatch = dispatch::BuildDispatch::new(&self.0, artifacts);
        let settled = dispatch.settle(requirements, &target_env).await;
        settled.map_err(|error| self.0.with_original_trees(with_remedy(error)))
    }

    /// Asks what the build of a source requires: what it declares, and what its back end reports.
    ///
    /// # Errors
    /// As [`build_wheel`](Self::build_wheel).
    pub async fn build_requirements(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuildRequirements> {
        let required = self.0.build_requirements(request, artifacts).await;
        required.map_err(|error| self.0.with_original_trees(with_remedy(error)))
    }

    /// What the source at `tree` declares that its build requires. Asks no back end, which may require
    /// more.
    ///
    /// # Errors
    /// When it is no Python project, or its `pyproject.toml` is not valid.
    pub fn declared_requirements(tree: &Path) -> Result<BuildRequirements> {
        let backend = build::build_system::Backend::read(tree)?;
        Ok(BuildRequirements {
            builder: None,
            requirements: backend.requires,
        })
    }

    /// Checks out the commit of a [`Source::Git`] and returns its directory, which belongs
    /// to the cache: build from a copy.
    ///
    /// # Errors
    /// When the repository cannot be fetched or has no such commit.
    ///
    /// # Panics
    /// When `source` is no Git source.
    pub async fn checkout(&self, source: &Source) -> Result<PathBuf> {
        self.0.checkout(source).await.map_err(with_remedy)
    }

    /// Builds the wheel of a source; `artifacts` makes the wheels of its build requirements. Waits
    /// for a free job once these are there.
    ///
    /// # Errors
    /// `Build` with the end of the output as detail when the back end fails or its requirements
    /// cannot be had.
    pub async fn build_wheel(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuiltWheel> {
        let built = self.0.build_wheel(request, artifacts).await;
        built.map_err(|error| self.0.with_original_trees(with_remedy(error)))
    }
}
