//! Resolving a request into a lock.
//!
//! 1. [`ResolverInputs::prepare`] converts the request into uv's types.
//! 2. [`prefer_binary`] and [`strategy`] choose the versions in one or more attempts; [`attempts`] runs one of them.
//! 3. The solution becomes a [`Lock`].
//!
//! Generic over uv's [`BuildContext`]: builds, which resolve their own requirements, are the business of `dispatch`.

pub(crate) mod attempts;
pub(crate) mod direct_references;
mod format_policy;
pub(crate) mod inputs;
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

use petgraph::visit::EdgeRef as _;
use tokio::sync::Semaphore;
use uv_cache::{Cache, CacheBucket};
use uv_client::RegistryClient;
use uv_configuration::BuildOptions;
use uv_distribution::DistributionDatabase;
use uv_distribution_types::{
    BuiltDist, Diagnostic, Dist, Identifier as _, Name as _, Node, RegistrySourceDist, Requirement,
    Resolution, ResolvedDist, SourceDist,
};
use uv_git::GitResolver;
use uv_git_types::{GitLfs, GitOid, GitReference, GitUrl};
use uv_pep440::VersionSpecifiers;
use uv_platform_tags::PlatformTag;
use uv_redacted::DisplaySafeUrl;
use uv_requirements::LookaheadResolver;
use uv_resolver::{
    Flexibility, InMemoryIndex, Manifest, MetadataResponse, OptionsBuilder, ResolveError,
};
use uv_types::{BuildContext, BuildStack};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Package;
use wheelhouse_types::request;
use wheelhouse_types::{
    Artifact, Distribution, Error, Kind, Lock, PackageName, Request, Result, Source, Target,
    Version,
};

use crate::artifact_provider::{ArtifactProvider, build_cycle_error};
use crate::build::constraints::BuildConstraints;
use crate::convert::{Distributions, published_python, required_hashes};
use crate::error::explain;
use crate::index::IndexState;
use crate::network::clients::Clients;
use crate::requirements;
use crate::requirements::local_trees::LocalTrees;
use crate::target::{TargetEnvironment, minor_version};
use inputs::ResolverInputs;
use metadata_cache::{BacktrackLimit, MetadataCache};
use provider::WheelMetadata;
use requires_python::RequiresPythonFilter;
use solution::Solution;
use solve::Solve;

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

    fn lock(&self, solution: &Solution, inputs: &ResolverInputs) -> Result<Lock> {
        let dependencies = dependencies(&solution.resolution);
        let mut packages = Vec::new();
        for (resolved, _) in solution.resolution.hashes() {
            let ResolvedDist::Installable { dist, version } = resolved else {
                continue;
            };
            let required = required_hashes(&inputs.hasher, dist);
            let metadata = solution.index.distributions().get(&dist.distribution_id());
            let metadata = metadata.as_deref().and_then(|response| match response {
                MetadataResponse::Found(archive) => Some(&archive.metadata),
                _ => None,
            });
            let version = version
                .as_ref()
                .or_else(|| metadata.map(|metadata| &metadata.version));
            let distribution = self
                .state
                .distributions
                .distribution(dist, version, required)?;
            let requires_python = metadata.and_then(|metadata| metadata.requires_python.as_ref());
            check_target(&inputs.target_env, dist, &distribution, requires_python)?;
            packages.push(Package {
                version: distribution.version.ok_or_else(|| unknown_version(dist))?,
                requires_python: requires_python.map(ToString::to_string),
                dependencies: dependencies
                    .get(dist.name())
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
                name: distribution.name,
                origin: distribution.origin,
                source: distribution.source,
                required_hashes: distribution.required_hashes,
            });
        }
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        let target = &inputs.target_env.target;
        Ok(Lock {
            request: String::new(),
            files: BTreeMap::new(),
            environment: environment_marker(target),
            requires_python: Some(format!(">={}", minor_version(&target.python_version))),
            packages,
            builds: Vec::new(),
        })
    }

    /// Resolves build requirements within `constraints`, once for each target.
    ///
    /// # Errors
    /// `Build` if no set of versions satisfies them, or the constraints do not allow the solution.
    pub(crate) async fn resolve_build_requirements(
        &self,
        requirements: &[Requirement],
        constraints: &BuildConstraints,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let resolutions = || {
            let resolutions = self.state.build_resolutions.lock();
            resolutions.expect("no panic while locked")
        };
        let texts: Vec<String> = requirements.iter().map(|one| format!("`{one}`")).collect();
        let texts = texts.join(", ");
        let key = (
            target_env.target.full_name(),
            format!("{texts} {}", constraints.key),
        );
        if let Some(known) = resolutions().get(&key) {
            tracing::debug!(
                requirements = texts,
                "build requirements are resolved already"
            );
            return Ok(known.clone());
        }
        tracing::debug!(requirements = texts, "resolving build requirements");
        let resolved = self
            .solve_build_requirements(requirements, constraints, target_env)
            .await
            .map_err(|error| constraints.with_upgrade_hint(error))
            .context(Kind::Build, || {
                format!("failed to resolve the build requirements {texts}")
            })?;
        constraints.check(&resolved)?;
        resolutions().insert(key, resolved.clone());
        Ok(resolved)
    }

    async fn solve_build_requirements(
        &self,
        requirements: &[Requirement],
        constraints: &BuildConstraints,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let state = self.state;
        let hasher = constraints.hasher.clone();
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Build, || {
                "the hashes of the build requirements contradict each other".to_owned()
            })?;
        // An aborted resolution leaves pending entries that never complete, so the index is not shared.
        let index = InMemoryIndex::default();
        let markers = target_env.markers.markers();
        let applicable: Vec<&Requirement> = requirements
            .iter()
            .filter(|requirement| requirement.evaluate_markers(Some(markers), &[]))
            .collect();
        Box::pin(self.read_legacy_sdists(applicable.iter().copied(), &hasher, &index)).await?;
        Box::pin(self.read_archives(applicable.into_iter(), markers, &hasher, &index)).await?;
        let (lookaheads, hasher) = LookaheadResolver::new(
            requirements,
            &constraints.constraints,
            &uv_configuration::Overrides::default(),
            &uv_configuration::Excludes::default(),
            &hasher,
            &index,
            self.database(),
        )
        .resolve(&target_env.environment())
        .await
        .map_err(|error| explain(&error, "failed to read a direct reference"))?;
        let manifest = Manifest::simple(requirements.to_vec())
            .with_constraints(constraints.constraints.clone())
            .with_lookaheads(lookaheads);
        let options = OptionsBuilder::new()
            .exclude_newer(state.index.exclude_newer().clone())
            .index_strategy(state.index.strategy())
            .build_options(state.build_options.clone())
            .flexibility(Flexibility::Fixed)
            .build();
        let solve = Solve {
            context: self,
            target_env,
            hasher: &hasher,
            build_options: &state.build_options,
            flat_index: &state
                .index
                .flat_index(target_env, &hasher, &state.build_options),
            index: &index,
            metadata_cache: &state.build_metadata,
            backtracking: &BacktrackLimit::unlimited(),
            without_dependencies: false,
        };
        match solve.run(manifest, options).await {
            Ok(output) => state
                .distributions
                .of_resolution(&Resolution::from(output), &hasher),
            Err(error) => Err(self.build_failure(error).await),
        }
    }

    async fn build_failure(&self, error: ResolveError) -> Error {
        let lines = &self.state.request.build_constraints;
        report::explain_failure(error, lines, &self.state.build_metadata, self.state).await
    }
}

/// Checks what uv does not: that a wheel of a direct reference is for the target, and the `Requires-Python` of direct
/// references and of files whose metadata was not read.
fn check_target(
    target_env: &TargetEnvironment,
    dist: &Dist,
    distribution: &Distribution,
    requires_python: Option<&VersionSpecifiers>,
) -> Result<()> {
    let filename = match dist {
        Dist::Built(BuiltDist::DirectUrl(wheel)) => Some(&wheel.filename),
        Dist::Built(BuiltDist::Path(wheel)) => Some(&wheel.filename),
        _ => None,
    };
    let target = target_env.target.label();
    if let Some(filename) = filename
        && !target_env.compatibility(filename).is_compatible()
    {
        let message = format!("{filename} is not a wheel for {target}");
        return Err(Error::new(Kind::Resolution, message)
            .with_hint("Name the wheel for this Python and platform, or the package alone."));
    }
    match requires_python.or_else(|| published_python(dist)) {
        Some(requires) if !requires.contains(&target_env.python_version()) => {
            let message =
                format!("{distribution} requires Python {requires}, which {target} is not");
            Err(Error::new(Kind::Resolution, message)
                .with_hint("Name a Python that it is for with --python, or allow other versions."))
        }
        _ => Ok(()),
    }
}

fn unknown_version(dist: &Dist) -> Error {
    Error::new(
        Kind::Resolution,
        format!("the version of {} is not known", dist.name()),
    )
}

/// Returns the sdists that an index has beside the wheels of `resolution`.
fn sdists(
    resolution: &Resolution,
    distributions: &Distributions,
) -> Result<BTreeMap<PackageName, Artifact>> {
    let mut sdists = BTreeMap::new();
    for resolved in resolution.distributions() {
        if let ResolvedDist::Installable { dist, .. } = resolved
            && let Dist::Built(BuiltDist::Registry(wheel)) = &**dist
            && let Some(sdist) = &wheel.sdist
        {
            let artifact =
                distributions.indexed_artifact(&sdist.index, &sdist.name, &sdist.file)?;
            sdists.insert(dist.name().clone(), artifact);
        }
    }
    Ok(sdists)
}

/// Returns the packages with an sdist in `resolution` whose wheels are all platform-specific.
fn platform_bound(resolution: &Resolution) -> BTreeSet<PackageName> {
    let sdists = resolution.distributions().filter_map(|resolved| {
        let ResolvedDist::Installable { dist, .. } = resolved else {
            return None;
        };
        match &**dist {
            Dist::Source(SourceDist::Registry(sdist)) => Some(sdist),
            _ => None,
        }
    });
    let is_bound = |sdist: &RegistrySourceDist| {
        let mut wheels = sdist.wheels.iter().peekable();
        wheels.peek().is_some()
            && wheels.all(|wheel| wheel.filename.platform_tags() != [PlatformTag::Any])
    };
    sdists
        .filter(|sdist| is_bound(sdist))
        .map(|sdist| sdist.name.clone())
        .collect()
}

/// Returns the names of the dependencies of each package.
fn dependencies(resolution: &Resolution) -> BTreeMap<PackageName, BTreeSet<PackageName>> {
    let graph = resolution.graph();
    let name = |node| match &graph[node] {
        Node::Dist { dist, .. } => Some(dist.name().clone()),
        Node::Root => None,
    };
    let mut dependencies: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for edge in graph.edge_references() {
        if let (Some(from), Some(to)) = (name(edge.source()), name(edge.target()))
            && from != to
        {
            dependencies.entry(from).or_default().insert(to);
        }
    }
    dependencies
}

/// Returns the marker of the environments that a lock for `target` covers.
fn environment_marker(target: &Target) -> String {
    let names = [
        "implementation_name",
        "platform_machine",
        "python_version",
        "sys_platform",
    ];
    let clauses: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{name} == '{}'", target.markers.get(*name)?)))
        .collect();
    clauses.join(" and ")
}
