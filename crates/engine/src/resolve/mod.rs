//! Resolving a request into a lock.
//!
//! 1. [`ResolverInputs::prepare`] converts the request into uv's types.
//! 2. [`prefer_binary`] and [`strategy`] choose the versions in one or more attempts; [`attempts`] runs one of them.
//! 3. The solution becomes a [`Lock`].
//!
//! Generic over uv's [`BuildContext`]: builds, which resolve their own requirements, are the business of `dispatch`.

pub(crate) mod attempts;
mod build_requirements;
pub(crate) mod direct_references;
mod format_policy;
pub(crate) mod inputs;
mod lock;
pub(crate) mod metadata_cache;
pub(crate) mod prefer_binary;
pub(crate) mod prereleases;
pub(crate) mod provider;
pub(crate) mod python2_wheels;
pub(crate) mod report;
pub(crate) mod requires_python;
mod solution;
pub(crate) mod solve;
pub(crate) mod strategy;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use uv_cache::{Cache, CacheBucket};
use uv_client::RegistryClient;
use uv_configuration::BuildOptions;
use uv_distribution::DistributionDatabase;
use uv_distribution_types::{Diagnostic, Dist, Identifier as _, Requirement};
use uv_git::GitResolver;
use uv_git_types::{GitLfs, GitOid, GitReference, GitUrl};
use uv_redacted::DisplaySafeUrl;
use uv_types::{BuildContext, BuildStack};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request;
use wheelhouse_types::{
    Artifact, Distribution, Error, Kind, Lock, PackageName, Request, Result, Source, Version,
};

use crate::artifact_provider::{ArtifactProvider, build_cycle_error};
use crate::convert::Distributions;
use crate::error::explain;
use crate::index::IndexState;
use crate::network::clients::Clients;
use crate::requirements;
use crate::requirements::local_trees::LocalTrees;
use crate::target::TargetEnvironment;
use inputs::ResolverInputs;
use lock::{platform_bound, sdists};
use metadata_cache::MetadataCache;
use provider::WheelMetadata;
use requires_python::RequiresPythonFilter;

/// Preferences and constraints of one resolution in addition to the request.
pub struct ResolveOptions<'a> {
    /// Versions to choose where the requirements allow them.
    pub preferences: &'a [(PackageName, Version)],
    /// Constraints in addition to those of the request.
    pub constraints: &'a [request::Requirement],
}

/// The result of a resolution.
pub struct ResolveOutput {
    /// The chosen distributions.
    pub lock: Lock,
    /// The sdists that are published beside the wheels of the lock.
    pub sdists: BTreeMap<PackageName, Artifact>,
    /// The packages with an sdist in the lock whose version has wheels for some platforms and none for all: the sdist builds
    /// into a platform-specific wheel, too.
    pub bound: BTreeSet<PackageName>,
    /// Warnings, such as those about yanked versions and missing extras.
    pub warnings: Vec<String>,
}

/// The clients, indexes and caches of the resolutions of a run.
pub(crate) struct ResolveState {
    request: Request,
    cache: Cache,
    clients: Arc<Clients>,
    index: IndexState,
    distributions: Distributions,
    trees: LocalTrees,
    git: GitResolver,
    build_options: BuildOptions,
    build_constraints: Vec<Requirement>,
    requires_python: RequiresPythonFilter,
    wheel_metadata: WheelMetadata,
    build_metadata: MetadataCache,
    /// Resolved build requirements, by target and text.
    build_resolutions: Mutex<HashMap<(String, String), Vec<Distribution>>>,
    /// Limits the number of targets that are resolved at once.
    slots: Semaphore,
}

impl ResolveState {
    /// # Errors
    /// `Input` if a build constraint is not valid.
    pub(crate) fn new(
        request: Request,
        cache: Cache,
        clients: Arc<Clients>,
        index: IndexState,
        distributions: Distributions,
        trees: LocalTrees,
        git: GitResolver,
    ) -> Result<Self> {
        Ok(Self {
            build_options: requirements::build_options(&request.formats),
            build_constraints: requirements::parse_constraints(&request.build_constraints)?,
            requires_python: RequiresPythonFilter::default(),
            wheel_metadata: WheelMetadata::default(),
            build_metadata: MetadataCache::default(),
            build_resolutions: Mutex::default(),
            slots: Semaphore::new(concurrent_resolutions()),
            request,
            cache,
            clients,
            index,
            distributions,
            trees,
            git,
        })
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(crate) fn index(&self) -> &IndexState {
        &self.index
    }

    pub(crate) fn distributions(&self) -> &Distributions {
        &self.distributions
    }

    pub(crate) fn trees(&self) -> &LocalTrees {
        &self.trees
    }

    pub(crate) fn git(&self) -> &GitResolver {
        &self.git
    }

    pub(crate) fn build_options(&self) -> &BuildOptions {
        &self.build_options
    }

    pub(crate) fn build_constraints(&self) -> &[Requirement] {
        &self.build_constraints
    }

    /// Checks out the commit of a Git source and returns its directory.
    pub(crate) async fn checkout(&self, source: &Source) -> Result<PathBuf> {
        let Source::Git {
            repository, commit, ..
        } = source
        else {
            unreachable!("only Git sources are checked out");
        };
        let failed = || format!("failed to check out {source}");
        let url = DisplaySafeUrl::from_url(repository.clone());
        let oid: GitOid = commit.parse().context(Kind::Fetch, failed)?;
        let reference = GitReference::from_rev(commit.clone());
        let git = GitUrl::from_commit(url.clone(), reference, oid, GitLfs::Disabled)
            .context(Kind::Fetch, failed)?;
        tracing::debug!(%url, commit, "checking out a Git repository");
        let settings = self.clients.registry().git_http_settings(&url);
        let bucket = self.cache.bucket(CacheBucket::Git);
        let fetch = self
            .git
            .fetch(&git, settings, bucket, None)
            .await
            .map_err(|error| explain(&error, &failed()))?;
        Ok(fetch.path().to_owned())
    }
}

/// A resolution holds all index pages that it has seen, for each target separately. While one waits for the network, another
/// uses the processor; more of them only use memory.
fn concurrent_resolutions() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// A resolution with the context in which uv builds sources for it.
pub(crate) struct ResolverContext<'a, C> {
    pub(crate) state: &'a ResolveState,
    pub(crate) artifacts: &'a dyn ArtifactProvider,
    pub(crate) build_context: &'a C,
    /// The sources whose builds wait for this resolution.
    pub(crate) build_stack: &'a BuildStack,
}

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Returns a database that retries requests.
    fn database(&self) -> DistributionDatabase<'_, C> {
        self.database_with(self.state.clients.registry())
    }

    /// Returns a database that sends each request once.
    fn single_attempt_database(&self) -> DistributionDatabase<'_, C> {
        self.database_with(self.state.clients.single_attempt())
    }

    /// Returns a database that reads from the cache only.
    fn cache_only_database(&self) -> DistributionDatabase<'_, C> {
        self.database_with(self.state.clients.cache_only())
    }

    fn database_with<'b>(&'b self, client: &'b RegistryClient) -> DistributionDatabase<'b, C> {
        let downloads = Arc::clone(self.state.clients.downloads());
        DistributionDatabase::new(client, self.build_context, downloads)
            .with_build_stack(self.build_stack)
    }

    /// Returns a build-cycle error if `dist` is already being built further up the stack.
    fn build_cycle(&self, dist: &Dist) -> Option<Error> {
        self.build_stack
            .contains(&dist.distribution_id())
            .then(|| build_cycle_error(&dist.to_string()))
    }

    /// Resolves the request for a target.
    ///
    /// # Errors
    /// `Resolution` if no set of versions satisfies the requirements; `Fetch`, `Build` or `Input` if metadata cannot be
    /// read.
    #[tracing::instrument(level = "debug", skip_all, fields(target = target_env.target.label()))]
    pub(crate) async fn resolve(
        &self,
        target_env: &TargetEnvironment,
        options: &ResolveOptions<'_>,
    ) -> Result<ResolveOutput> {
        let state = self.state;
        let _slot = state.slots.acquire().await;
        let mut inputs = ResolverInputs::prepare(self, target_env).await?;
        inputs.preferences =
            requirements::preferences(options.preferences, &target_env.environment());
        inputs.add_constraints(options.constraints)?;
        let solution = prefer_binary::resolve(self, &inputs).await?;
        let warnings = solution
            .resolution
            .diagnostics()
            .iter()
            .map(Diagnostic::message)
            .chain(state.index.skipped().warnings())
            .collect();
        let lock = self.lock(&solution, &inputs)?;
        tracing::debug!(packages = lock.packages.len(), "resolved the requirements");
        Ok(ResolveOutput {
            lock,
            sdists: sdists(&solution.resolution, &state.distributions)?,
            bound: platform_bound(&solution.resolution),
            warnings,
        })
    }
}
