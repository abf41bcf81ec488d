//! The workshop as uv's build context: how build requirements are resolved and installed, and how a
//! source is built, whether for the lock or because another build requires it.

use std::path::Path;

use uv_cache::Cache;
use uv_configuration::{
    BuildKind, BuildOptions, BuildOutput, Excludes, NoSources, Overrides, Reinstall,
};
use uv_distribution::DistributionDatabase;
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{
    CachedDist, ConfigSettings, DependencyMetadata, ExtraBuildRequires, ExtraBuildVariables,
    Identifier as _, IndexCapabilities, IndexLocations, IsBuildBackendError, Name as _,
    PackageConfigSettings, Requirement, Resolution, SourceDist,
};
use uv_git::GitResolver;
use uv_install_wheel::LinkMode;
use uv_installer::{InstallationStrategy, Installer, Plan, Planner, Preparer, SitePackages};
use uv_preview::Preview;
use uv_pypi_types::Conflicts;
use uv_python::{Interpreter, PythonEnvironment};
use uv_requirements::LookaheadResolver;
use uv_resolver::{
    Flexibility, Manifest, OptionsBuilder, PythonRequirement, Resolver, ResolverEnvironment,
};
use uv_types::{
    BuildArena, BuildContext, BuildIsolation, BuildStack, EmptyInstalledPackages, HashStrategy,
    ResolvedRequirements,
};
use uv_workspace::WorkspaceCache;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Error, Kind};

use crate::build::{Session, SessionRequest};
use crate::network;
use crate::workshop::Workshop;

/// The sentence of a failed build, as uv's traits want it; the error itself waits in
/// [`Workshop`]'s failures.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BuildError(pub(crate) String);

impl uv_errors::Hint for BuildError {
    fn hints(&self) -> uv_errors::Hints<'_> {
        uv_errors::Hints::none()
    }
}

impl IsBuildBackendError for BuildError {
    fn is_build_backend_error(&self) -> bool {
        true
    }
}

impl Workshop {
    /// A database that builds through this workshop.
    pub(crate) fn database(&self) -> DistributionDatabase<'_, Self> {
        DistributionDatabase::new(
            &self.client,
            self,
            self.concurrency.downloads_semaphore.clone(),
        )
    }

    /// A database that reads from the cache alone.
    pub(crate) fn cached_database(&self) -> DistributionDatabase<'_, Self> {
        let downloads = self.concurrency.downloads_semaphore.clone();
        DistributionDatabase::new(&self.cached_client, self, downloads)
    }

    pub(crate) async fn resolve_build_requirements(
        &self,
        requirements: &[Requirement],
        stack: &BuildStack,
    ) -> Result<ResolvedRequirements, Error> {
        let wanted = sentence(requirements);
        if let Some(resolved) = self
            .resolved
            .lock()
            .expect("no panic while locked")
            .get(&wanted)
        {
            return Ok(resolved.clone());
        }
        let failed = || format!("failed to resolve the build requirements {wanted}");
        let python = PythonRequirement::from_interpreter(&self.interpreter);
        let environment =
            ResolverEnvironment::specific(self.interpreter.to_resolver_marker_environment());
        let tags = self.interpreter.tags().context(Kind::Build, failed)?;
        let hasher = HashStrategy::None
            .augment_with_requirements(requirements.iter())
            .context(Kind::Build, failed)?;
        let (overrides, excludes) = (Overrides::default(), Excludes::default());
        let (lookaheads, hasher) = LookaheadResolver::new(
            requirements,
            &self.build_constraints,
            &overrides,
            &excludes,
            &hasher,
            &self.build_index,
            self.database().with_build_stack(stack),
        )
        .resolve(&environment)
        .await
        .context(Kind::Build, failed)?;
        let manifest = Manifest::simple(requirements.to_vec())
            .with_constraints(self.build_constraints.clone())
            .with_lookaheads(lookaheads);
        let options = OptionsBuilder::new()
            .exclude_newer(self.exclude_newer.clone())
            .index_strategy(network::strategy(self.request.indexes.strategy))
            .build_options(self.build_options.clone())
            .flexibility(Flexibility::Fixed)
            .build();
        let resolver = Resolver::new(
            manifest,
            options,
            &python,
            environment,
            self.interpreter.markers(),
            Conflicts::empty(),
            Some(tags),
            &self.build_flat_index,
            &self.build_index,
            &hasher,
            self,
            EmptyInstalledPackages,
            self.database().with_build_stack(stack),
        )
        .context(Kind::Build, failed)?;
        let output = resolver.resolve().await.context(Kind::Build, failed)?;
        let resolved = ResolvedRequirements::new(Resolution::from(output), hasher);
        self.resolved
            .lock()
            .expect("no panic while locked")
            .insert(wanted, resolved.clone());
        Ok(resolved)
    }

    pub(crate) async fn install_build_requirements(
        &self,
        requirements: &ResolvedRequirements,
        environment: &PythonEnvironment,
        stack: &BuildStack,
    ) -> Result<Vec<CachedDist>, Error> {
        let failed = || "failed to install the build requirements".to_owned();
        let (resolution, hasher) = (requirements.resolution(), requirements.hasher());
        let tags = self.interpreter.tags().context(Kind::Build, failed)?;
        let Plan { cached, remote, .. } = Planner::new(resolution)
            .build(
                SitePackages::from_environment(environment)
                    .map_err(as_std)
                    .context(Kind::Build, failed)?,
                InstallationStrategy::Permissive,
                &Reinstall::default(),
                &self.build_options,
                hasher,
                &self.locations,
                &self.config_settings,
                &self.package_settings,
                &self.extra_build_requires,
                &self.extra_build_variables,
                &self.cache,
                environment,
                tags,
            )
            .map_err(as_std)
            .context(Kind::Build, failed)?;
        if let Some(dist) = remote
            .iter()
            .find(|dist| stack.contains(&dist.distribution_id()))
        {
            return Err(Error::new(
                Kind::Build,
                format!("building {} requires {0} itself", dist.name()),
            ));
        }
        let mut wheels = Preparer::new(
            &self.cache,
            tags,
            hasher,
            &self.build_options,
            self.database().with_build_stack(stack),
        )
        .prepare(remote, &self.in_flight, resolution)
        .await
        .context(Kind::Build, failed)?;
        wheels.extend(cached);
        if wheels.is_empty() {
            return Ok(wheels);
        }
        Installer::new(environment, Preview::default())
            .with_link_mode(LinkMode::default())
            .with_cache(&self.cache)
            .install(wheels)
            .await
            .map_err(as_std)
            .context(Kind::Build, failed)
    }
}

fn as_std(error: anyhow::Error) -> Box<dyn std::error::Error + Send + Sync> {
    error.into()
}

fn sentence(requirements: &[Requirement]) -> String {
    let texts: Vec<String> = requirements
        .iter()
        .map(|requirement| format!("`{requirement}`"))
        .collect();
    texts.join(", ")
}

#[expect(refining_impl_trait, reason = "the errors are ours")]
impl BuildContext for Workshop {
    type SourceDistBuilder = Session;

    async fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn git(&self) -> &GitResolver {
        &self.git
    }

    fn build_arena(&self) -> &BuildArena<Session> {
        &self.arena
    }

    fn capabilities(&self) -> &IndexCapabilities {
        &self.capabilities
    }

    fn dependency_metadata(&self) -> &DependencyMetadata {
        &self.dependency_metadata
    }

    fn build_options(&self) -> &BuildOptions {
        &self.build_options
    }

    fn build_isolation(&self) -> BuildIsolation<'_> {
        match &self.shared_environment {
            Some(environment) => BuildIsolation::Shared(environment),
            None => BuildIsolation::Isolated,
        }
    }

    fn config_settings(&self) -> &ConfigSettings {
        &self.config_settings
    }

    fn config_settings_package(&self) -> &PackageConfigSettings {
        &self.package_settings
    }

    fn sources(&self) -> &NoSources {
        &self.no_sources
    }

    fn locations(&self) -> &IndexLocations {
        &self.locations
    }

    fn workspace_cache(&self) -> &WorkspaceCache {
        &self.workspace_cache
    }

    fn extra_build_requires(&self) -> &ExtraBuildRequires {
        &self.extra_build_requires
    }

    fn extra_build_variables(&self) -> &ExtraBuildVariables {
        &self.extra_build_variables
    }

    async fn resolve<'a>(
        &'a self,
        requirements: &'a [Requirement],
        build_stack: &'a BuildStack,
    ) -> Result<ResolvedRequirements, BuildError> {
        self.resolve_build_requirements(requirements, build_stack)
            .await
            .map_err(|error| self.failures.keep(error))
    }

    async fn install<'a>(
        &'a self,
        requirements: &'a ResolvedRequirements,
        venv: &'a PythonEnvironment,
        build_stack: &'a BuildStack,
    ) -> Result<Vec<CachedDist>, BuildError> {
        self.install_build_requirements(requirements, venv, build_stack)
            .await
            .map_err(|error| self.failures.keep(error))
    }

    async fn setup_build<'a>(
        &'a self,
        source: &'a Path,
        subdirectory: Option<&'a Path>,
        _install_path: &'a Path,
        _stop_discovery_at: Option<&'a Path>,
        version_id: Option<&'a str>,
        dist: Option<&'a SourceDist>,
        _sources: &'a NoSources,
        _build_kind: BuildKind,
        _build_output: BuildOutput,
        mut build_stack: BuildStack,
    ) -> Result<Session, BuildError> {
        let tree =
            subdirectory.map_or_else(|| source.to_owned(), |directory| source.join(directory));
        if let Some(dist) = dist {
            if self.build_options.no_build_package(dist.name()) {
                let error = Error::new(Kind::Build, format!("{} may not be built", dist.name()))
                    .with_hint("It is excluded by --only-binary.");
                return Err(self.failures.keep(error));
            }
            build_stack.insert(dist.distribution_id());
        }
        let label = match dist {
            Some(dist) => dist.to_string(),
            None => version_id.unwrap_or("a source tree").to_owned(),
        };
        let checkouts = self.cache.bucket(uv_cache::CacheBucket::Git);
        let request = SessionRequest {
            label,
            checkout: source.starts_with(checkouts).then(|| source.to_owned()),
            name: dist.map(|dist| dist.name().clone()),
            tree,
            stack: build_stack,
        };
        Box::pin(Session::set_up(self, request))
            .await
            .map_err(|error| self.failures.keep(error))
    }

    async fn direct_build<'a>(
        &'a self,
        _source: &'a Path,
        _subdirectory: Option<&'a Path>,
        _output_dir: &'a Path,
        _sources: NoSources,
        _build_kind: BuildKind,
        _version_id: Option<&'a str>,
    ) -> Result<Option<DistFilename>, BuildError> {
        Ok(None)
    }
}
