//! The dispatch, uv's build context: the state with the artifact provider of a resolution or a build beside it.

use std::path::Path;
use std::sync::LazyLock;

use uv_cache::Cache;
use uv_client::RegistryClient;
use uv_configuration::{BuildKind, BuildOptions, BuildOutput, NoSources};
use uv_distribution::DistributionDatabase;
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{
    CachedDist, ConfigSettings, DependencyMetadata, Dist, ExtraBuildRequires, ExtraBuildVariables,
    Identifier as _, IndexCapabilities, IndexLocations, IsBuildBackendError, Name as _,
    PackageConfigSettings, PathSourceDist, Requirement, SourceDist,
};
use uv_git::GitResolver;
use uv_python::{Interpreter, PythonEnvironment};
use uv_types::{BuildArena, BuildContext, BuildIsolation, BuildStack, ResolvedRequirements};
use uv_workspace::WorkspaceCache;
use wheelhouse_types::{Error, Kind, limits};

use crate::artifact_provider::{ArtifactProvider, build_cycle_error, build_depth_error};
use crate::build::constraints::Builder;
use crate::build::{Session, SessionRequest};
use crate::state::EngineState;

/// The sentence of a failed build, as uv's traits want it; the error itself waits in
/// [`EngineState`]'s failures.
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

/// Where sources are built and their metadata is read.
pub(crate) struct BuildDispatch<'a> {
    pub(crate) state: &'a EngineState,
    pub(crate) artifacts: &'a dyn ArtifactProvider,
    /// The sources that wait for what is done here.
    stack: BuildStack,
    /// Their number.
    depth: usize,
}

impl<'a> BuildDispatch<'a> {
    pub(crate) fn new(state: &'a EngineState, artifacts: &'a dyn ArtifactProvider) -> Self {
        Self {
            state,
            artifacts,
            stack: BuildStack::default(),
            depth: 0,
        }
    }

    /// A database that builds at this dispatch.
    pub(crate) fn database(&self) -> DistributionDatabase<'_, Self> {
        self.database_of(&self.state.client)
    }

    /// A database that asks once.
    pub(crate) fn brief_database(&self) -> DistributionDatabase<'_, Self> {
        self.database_of(&self.state.brief_client)
    }

    /// A database that reads from the cache alone.
    pub(crate) fn cached_database(&self) -> DistributionDatabase<'_, Self> {
        self.database_of(&self.state.cached_client)
    }

    /// The error of whoever wants to build `dist` here, if what is done here is done to build it.
    pub(crate) fn circle(&self, dist: &Dist) -> Option<Error> {
        self.stack
            .contains(&dist.distribution_id())
            .then(|| build_cycle_error(&dist.to_string()))
    }

    fn database_of<'b>(&'b self, client: &'b RegistryClient) -> DistributionDatabase<'b, Self> {
        let downloads = self.state.concurrency.downloads_semaphore.clone();
        DistributionDatabase::new(client, self, downloads).with_build_stack(&self.stack)
    }
}

impl BuildDispatch<'_> {
    /// Whether `dist` may be built here and now; it is on the stack then.
    fn admit(&self, dist: &SourceDist, stack: &mut BuildStack) -> Result<(), Error> {
        let is_direct = !matches!(dist, SourceDist::Registry(_));
        if !is_direct && self.state.build_options.no_build_package(dist.name()) {
            let error = Error::new(Kind::Build, format!("{} may not be built", dist.name()));
            return Err(error.with_hint("It is excluded by --only-binary."));
        }
        if self.depth >= limits::BUILD_DEPTH {
            return Err(build_depth_error(&dist.to_string()));
        }
        stack.insert(dist.distribution_id());
        Ok(())
    }
}

/// What may be built, once it is chosen: format control is about what an index has.
static ANYTHING: LazyLock<BuildOptions> = LazyLock::new(BuildOptions::default);

/// uv's own build front end would resolve and install; a [`Session`] does it without.
const OWN_SESSIONS: &str = "build requirements are settled by sessions";

#[expect(refining_impl_trait, reason = "the errors are ours")]
impl BuildContext for BuildDispatch<'_> {
    type SourceDistBuilder = Session;

    async fn interpreter(&self) -> &Interpreter {
        &self.state.interpreter
    }

    fn cache(&self) -> &Cache {
        &self.state.cache
    }

    fn git(&self) -> &GitResolver {
        &self.state.git
    }

    fn build_arena(&self) -> &BuildArena<Session> {
        &self.state.arena
    }

    fn capabilities(&self) -> &IndexCapabilities {
        &self.state.capabilities
    }

    fn dependency_metadata(&self) -> &DependencyMetadata {
        &self.state.dependency_metadata
    }

    fn build_options(&self) -> &BuildOptions {
        &ANYTHING
    }

    fn build_isolation(&self) -> BuildIsolation<'_> {
        match &self.state.shared_environment {
            Some(environment) => BuildIsolation::Shared(environment),
            None => BuildIsolation::Isolated,
        }
    }

    fn config_settings(&self) -> &ConfigSettings {
        &self.state.config_settings
    }

    fn config_settings_package(&self) -> &PackageConfigSettings {
        &self.state.package_settings
    }

    fn sources(&self) -> &NoSources {
        &self.state.no_sources
    }

    fn locations(&self) -> &IndexLocations {
        &self.state.locations
    }

    fn workspace_cache(&self) -> &WorkspaceCache {
        &self.state.workspace_cache
    }

    fn extra_build_requires(&self) -> &ExtraBuildRequires {
        &self.state.extra_build_requires
    }

    fn extra_build_variables(&self) -> &ExtraBuildVariables {
        &self.state.extra_build_variables
    }

    async fn resolve<'a>(
        &'a self,
        _requirements: &'a [Requirement],
        _build_stack: &'a BuildStack,
    ) -> Result<ResolvedRequirements, BuildError> {
        Err(BuildError(OWN_SESSIONS.to_owned()))
    }

    async fn install<'a>(
        &'a self,
        _requirements: &'a ResolvedRequirements,
        _venv: &'a PythonEnvironment,
        _build_stack: &'a BuildStack,
    ) -> Result<Vec<CachedDist>, BuildError> {
        Err(BuildError(OWN_SESSIONS.to_owned()))
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
        let keep = |error| self.state.failures.keep(error);
        let copy;
        let source = match dist {
            // A tree of somebody's own, that one of the requirements requires.
            Some(SourceDist::Directory(_)) => {
                (copy, _) = self.copied(source).await.map_err(keep)?;
                copy.as_path()
            }
            _ => source,
        };
        let tree =
            subdirectory.map_or_else(|| source.to_owned(), |directory| source.join(directory));
        if let Some(dist) = dist {
            self.admit(dist, &mut build_stack).map_err(keep)?;
        }
        let original = self.state.original_tree(source);
        let label = match dist {
            // Where a published file is kept, or a copy, says nothing to anybody.
            Some(SourceDist::Path(PathSourceDist {
                name,
                version: Some(version),
                ..
            })) => format!("{name}=={version}"),
            Some(SourceDist::Path(PathSourceDist { install_path, .. }))
                if let Some(archive) = self.state.known_archive(install_path) =>
            {
                archive
            }
            Some(dist) if original != source => {
                format!("{} @ {}", dist.name(), original.display())
            }
            None if original != source => original.display().to_string(),
            Some(dist) => dist.to_string(),
            None => version_id.unwrap_or("a source tree").to_owned(),
        };
        let checkouts = self.state.cache.bucket(uv_cache::CacheBucket::Git);
        let request = SessionRequest {
            label,
            checkout: source.starts_with(checkouts).then(|| source.to_owned()),
            builder: dist.map(|dist| Builder {
                name: dist.name().clone(),
                version: dist.version().cloned(),
            }),
            tree,
        };
        let dispatch = Self {
            stack: build_stack,
            depth: self.depth + 1,
            ..*self
        };
        Box::pin(Session::set_up(&dispatch, request))
            .await
            .map_err(keep)
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
