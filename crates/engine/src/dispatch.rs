//! The recursion of PEP 517: a resolution builds sources for their metadata, and a build resolves its requirements.
//!
//! [`BuildDispatch`] is uv's build context. It is the only part of the engine that knows both `resolve` and `build`; see
//! uv's crate `uv-dispatch`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use uv_cache::{Cache, CacheBucket};
use uv_configuration::{BuildKind, BuildOptions, BuildOutput, NoSources};
use uv_distribution::DistributionDatabase;
use uv_distribution_filename::{DistFilename, WheelFilename};
use uv_distribution_types::{
    BuiltDist, CachedDist, ConfigSettings, DependencyMetadata, Dist, ExtraBuildRequires,
    ExtraBuildVariables, Identifier as _, IndexCapabilities, IndexLocations, Name as _,
    PackageConfigSettings, PathBuiltDist, PathSourceDist, Requirement, Resolution, SourceDist,
};
use uv_git::GitResolver;
use uv_installer::Preparer;
use uv_pep508::VerbatimUrl;
use uv_python::{Interpreter, PythonEnvironment};
use uv_types::{
    BuildArena, BuildContext, BuildIsolation, BuildStack, HashStrategy, ResolvedRequirements,
};
use uv_workspace::WorkspaceCache;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::Wait;
use wheelhouse_types::{Distribution, Error, Kind, Result, limits};

use crate::artifact_provider::{ArtifactProvider, WheelFile, build_depth_error};
use crate::build::constraints::{BuildConstraints, Builder};
use crate::build::requirements::BuildRequirements;
use crate::build::{BuildRequest, BuiltWheel, Session, SessionRequest};
use crate::error::EngineError;
use crate::resolve::ResolverContext;
use crate::state::EngineState;
use crate::target::TargetEnvironment;

/// Builds sources and reads their metadata, for one resolution or build.
pub(crate) struct BuildDispatch<'a> {
    state: &'a EngineState,
    artifacts: &'a dyn ArtifactProvider,
    /// The sources whose builds wait for this one.
    stack: BuildStack,
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

    /// Returns the context of a resolution that builds here.
    pub(crate) fn resolver(&self) -> ResolverContext<'_, Self> {
        ResolverContext {
            state: self.state.resolve(),
            artifacts: self.artifacts,
            build_context: self,
            build_stack: &self.stack,
        }
    }

    /// Resolves build requirements and all of their dependencies for a target.
    pub(crate) async fn resolve_build_requirements(
        &self,
        requirements: &BuildRequirements,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let resolve = self.state.resolve();
        let constraints = BuildConstraints::new(
            resolve.request(),
            resolve.build_constraints(),
            requirements.builder.as_ref(),
            target_env,
        )?;
        self.resolver()
            .resolve_build_requirements(&requirements.requirements, &constraints, target_env)
            .await
    }

    /// Builds the wheel of a source.
    pub(crate) async fn build_wheel(&self, request: BuildRequest<'_>) -> Result<BuiltWheel> {
        let session = Box::pin(self.set_up(SessionRequest::from(&request))).await?;
        let filename = session.build_wheel(request.wheel_directory).await;
        let filename = filename.inspect_err(|error| {
            self.state.build().record_failure(&request.label, error);
        })?;
        Ok(BuiltWheel {
            path: request.wheel_directory.join(filename),
            worked: session.worked(),
            inputs: session.inputs(),
            protections: session.protections(),
            requirements: session.into_requirements(),
        })
    }

    /// Returns the requirements of a build: those that the source declares, and those that its build backend reports.
    pub(crate) async fn build_requirements(
        &self,
        request: BuildRequest<'_>,
    ) -> Result<BuildRequirements> {
        let session = Box::pin(self.set_up(SessionRequest::from(&request))).await?;
        Ok(session.into_declared())
    }

    /// Creates the environment of a build: with the static requirements first, then with those that the backend reports.
    #[tracing::instrument(level = "debug", skip_all, fields(package = request.label))]
    async fn set_up(&self, request: SessionRequest) -> Result<Session> {
        let skips_metadata_build = self.artifacts.skips_metadata_build(&request.tree);
        let mut session = Session::open(self.state.build(), request, skips_metadata_build)?;
        let resources = self.artifacts.build_resources(session.source()).await;
        let resources = resources
            .map_err(|error| Error::new(error.kind(), session.failed()).caused_by(error))?;
        session.add_resources(resources);
        if !self.state.build().is_isolated() {
            return Ok(session);
        }
        self.install(&mut session, Vec::new()).await?;
        let job = session.job().await;
        let reported = session.reported_requirements().await?;
        if session.are_declared(&reported) {
            session.keep(job);
        } else {
            // The reported requirements may have to be built, which takes a job.
            drop(job);
            self.install(&mut session, reported).await?;
        }
        Ok(session)
    }

    /// Installs the static requirements of a build and `more`. The session then holds a job.
    async fn install(&self, session: &mut Session, more: Vec<Requirement>) -> Result<()> {
        let failed = session.failed();
        let failed = || failed.clone();
        let requirements = session.require(more);
        let (mut resolved, mut wheels) = (Vec::new(), Vec::new());
        if !requirements.is_empty() {
            let unknown = || Wait::Requirements {
                packages: Vec::new(),
            };
            let host = self.state.targets().host();
            let resolving = Box::pin(self.resolve_build_requirements(&requirements, host));
            let resolving = session.wait(unknown, resolving).await;
            resolved = resolving.context(Kind::Build, failed)?;
            resolved.sort_by(|one, other| one.name.cmp(&other.name));
            let packages = || Wait::Requirements {
                packages: resolved.iter().map(ToString::to_string).collect(),
            };
            let building = session.wait(packages, self.artifacts.wheels(&resolved));
            wheels = building.await.context(Kind::Build, failed)?;
        }
        let unpacked = self.unpack(&wheels).await.context(Kind::Build, failed)?;
        let resolved = resolved.into_iter().zip(wheels).collect();
        let installed = session.install(self.state.build(), unpacked, resolved);
        installed.await.context(Kind::Build, failed)
    }

    /// Unpacks wheels into the cache and compiles their bytecode, each once.
    async fn unpack(&self, wheels: &[WheelFile]) -> Result<Vec<CachedDist>> {
        let (resolve, build) = (self.state.resolve(), self.state.build());
        let root = build.cache().root().display();
        let failed = || format!("failed to unpack the build requirements in {root}");
        let dists: Vec<Arc<Dist>> = wheels.iter().map(dist).collect::<Result<_>>()?;
        let clients = resolve.clients();
        let database =
            DistributionDatabase::new(clients.registry(), self, Arc::clone(clients.downloads()))
                .with_build_stack(&self.stack);
        let unpacked = Preparer::new(
            build.cache(),
            &self.state.targets().host().tags,
            &HashStrategy::None,
            &BuildOptions::default(),
            database,
        )
        .prepare(dists, build.in_flight(), &Resolution::default())
        .await
        .context(Kind::Build, failed)?;
        build.compile(&unpacked).await;
        Ok(unpacked)
    }

    /// Adds `dist` to the stack, if it may be built now.
    fn push(&self, dist: &SourceDist, stack: &mut BuildStack) -> Result<()> {
        let is_direct = !matches!(dist, SourceDist::Registry(_));
        let options = self.state.resolve().build_options();
        if !is_direct && options.no_build_package(dist.name()) {
            let error = Error::new(Kind::Build, format!("{} may not be built", dist.name()));
            return Err(error.with_hint("It is excluded by --only-binary."));
        }
        if self.depth >= limits::BUILD_DEPTH {
            return Err(build_depth_error(&dist.to_string()));
        }
        stack.insert(dist.distribution_id());
        Ok(())
    }

    /// Returns the name of a source in messages. The paths of published files in the cache, and of copies, are left out.
    fn label(&self, source: &Path, version_id: Option<&str>, dist: Option<&SourceDist>) -> String {
        let resolve = self.state.resolve();
        let original = resolve.trees().original(source);
        match dist {
            Some(SourceDist::Path(PathSourceDist {
                name,
                version: Some(version),
                ..
            })) => format!("{name}=={version}"),
            Some(SourceDist::Path(PathSourceDist { install_path, .. }))
                if let Some(archive) = resolve.distributions().archive_at(install_path) =>
            {
                archive
            }
            Some(dist) if original != source => {
                format!("{} @ {}", dist.name(), original.display())
            }
            None if original != source => original.display().to_string(),
            Some(dist) => dist.to_string(),
            None => version_id.unwrap_or("a source tree").to_owned(),
        }
    }

    async fn set_up_for_uv(
        &self,
        source: &Path,
        subdirectory: Option<&Path>,
        version_id: Option<&str>,
        dist: Option<&SourceDist>,
        mut stack: BuildStack,
    ) -> Result<Session> {
        let copy;
        let source = match dist {
            // A local tree that a requirement names.
            Some(SourceDist::Directory(_)) => {
                let trees = self.state.resolve().trees();
                (copy, _) = trees.copy(source, self.artifacts).await?;
                copy.as_path()
            }
            _ => source,
        };
        let tree =
            subdirectory.map_or_else(|| source.to_owned(), |directory| source.join(directory));
        if let Some(dist) = dist {
            self.push(dist, &mut stack)?;
        }
        let checkouts = self.state.build().cache().bucket(CacheBucket::Git);
        let (directory, original) = self.state.resolve().trees().surroundings(source);
        let request = SessionRequest {
            label: self.label(source, version_id, dist),
            checkout: source.starts_with(checkouts).then(|| source.to_owned()),
            builder: dist.map(|dist| Builder {
                name: dist.name().clone(),
                version: dist.version().cloned(),
            }),
            tree,
            source_date_epoch: None,
            directory,
            original,
        };
        let dispatch = Self {
            stack,
            depth: self.depth + 1,
            ..*self
        };
        Box::pin(dispatch.set_up(request)).await
    }
}

fn dist(wheel: &WheelFile) -> Result<Arc<Dist>> {
    let invalid = || format!("{} is not a usable wheel", wheel.path.display());
    let filename: WheelFilename = wheel.filename.parse().context(Kind::Build, invalid)?;
    let url = VerbatimUrl::from_absolute_path(&wheel.path).context(Kind::Build, invalid)?;
    Ok(Arc::new(Dist::Built(BuiltDist::Path(PathBuiltDist {
        filename,
        install_path: wheel.path.clone().into_boxed_path(),
        url,
    }))))
}

/// Settings of uv that are not used here.
#[derive(Default)]
struct UnusedSettings {
    /// Any chosen source may be built: the format control applies to what an index has.
    build_options: BuildOptions,
    dependency_metadata: DependencyMetadata,
    extra_build_requires: ExtraBuildRequires,
    extra_build_variables: ExtraBuildVariables,
    workspace_cache: WorkspaceCache,
}

static UNUSED: LazyLock<UnusedSettings> = LazyLock::new(UnusedSettings::default);

static NO_SOURCES: NoSources = NoSources::All;

/// Returns the error of the methods that uv's own build frontend would call; a [`Session`] does not.
fn unused() -> EngineError {
    EngineError::new(Error::new(
        Kind::Build,
        "build requirements are resolved by sessions",
    ))
}

#[expect(refining_impl_trait, reason = "the errors are ours")]
impl BuildContext for BuildDispatch<'_> {
    type SourceDistBuilder = Session;

    async fn interpreter(&self) -> &Interpreter {
        self.state.build().interpreter()
    }

    fn cache(&self) -> &Cache {
        self.state.build().cache()
    }

    fn git(&self) -> &GitResolver {
        self.state.resolve().git()
    }

    fn build_arena(&self) -> &BuildArena<Session> {
        self.state.build().arena()
    }

    fn capabilities(&self) -> &IndexCapabilities {
        self.state.resolve().index().capabilities()
    }

    fn dependency_metadata(&self) -> &DependencyMetadata {
        &UNUSED.dependency_metadata
    }

    fn build_options(&self) -> &BuildOptions {
        &UNUSED.build_options
    }

    fn build_isolation(&self) -> BuildIsolation<'_> {
        match self.state.build().shared_environment() {
            Some(environment) => BuildIsolation::Shared(environment),
            None => BuildIsolation::Isolated,
        }
    }

    fn config_settings(&self) -> &ConfigSettings {
        self.state.build().config_settings()
    }

    fn config_settings_package(&self) -> &PackageConfigSettings {
        self.state.build().package_settings()
    }

    fn sources(&self) -> &NoSources {
        &NO_SOURCES
    }

    fn locations(&self) -> &IndexLocations {
        self.state.resolve().index().locations()
    }

    fn workspace_cache(&self) -> &WorkspaceCache {
        &UNUSED.workspace_cache
    }

    fn extra_build_requires(&self) -> &ExtraBuildRequires {
        &UNUSED.extra_build_requires
    }

    fn extra_build_variables(&self) -> &ExtraBuildVariables {
        &UNUSED.extra_build_variables
    }

    async fn resolve<'a>(
        &'a self,
        _requirements: &'a [Requirement],
        _build_stack: &'a BuildStack,
    ) -> Result<ResolvedRequirements, EngineError> {
        Err(unused())
    }

    async fn install<'a>(
        &'a self,
        _requirements: &'a ResolvedRequirements,
        _venv: &'a PythonEnvironment,
        _build_stack: &'a BuildStack,
    ) -> Result<Vec<CachedDist>, EngineError> {
        Err(unused())
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
        build_stack: BuildStack,
    ) -> Result<Session, EngineError> {
        self.set_up_for_uv(source, subdirectory, version_id, dist, build_stack)
            .await
            .map_err(EngineError::new)
    }

    async fn direct_build<'a>(
        &'a self,
        _source: &'a Path,
        _subdirectory: Option<&'a Path>,
        _output_dir: &'a Path,
        _sources: NoSources,
        _build_kind: BuildKind,
        _version_id: Option<&'a str>,
    ) -> Result<Option<DistFilename>, EngineError> {
        Ok(None)
    }
}
