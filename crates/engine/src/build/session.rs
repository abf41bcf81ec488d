//! The calls of one build backend for one source (PEP 517).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uv_distribution_types::{CachedDist, Requirement};
use uv_types::{AnyErrorBuild, SourceBuildTrait};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::{Wait, seconds};
use wheelhouse_types::provenance::{BuildInputs, InputFile};
use wheelhouse_types::request::{SOURCE_DATE_EPOCH, is_build_variable};
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Distribution, Error, Event, Kind, Observer, Result, secrets, toml_reader};

use super::build_system::{BuildSystem, build_requirements, project_text};
use super::constraints::Builder;
use super::environment::BuildEnvironment;
use super::hook::{self, Call};
use super::requirements::BuildRequirements;
use super::{BuildRequest, BuildState, Failures};
use crate::artifact_provider::{BuildResources, BuildSource, WheelFile};
use crate::error::EngineError;
use crate::index::skipped_files::SkippedFiles;

impl From<&BuildRequest<'_>> for SessionRequest {
    fn from(request: &BuildRequest<'_>) -> Self {
        Self {
            label: request.label.clone(),
            builder: Some(Builder {
                name: request.name.clone(),
                version: request.version.clone(),
            }),
            tree: request.tree.to_owned(),
            checkout: None,
            source_date_epoch: request.source_date_epoch,
            directory: request.directory.to_owned(),
            original: request.original.clone(),
        }
    }
}

/// The time after which a build is reported to wait.
const WAIT_NOTICE: Duration = Duration::from_millis(200);

pub(crate) struct SessionRequest {
    pub(crate) label: String,
    pub(crate) builder: Option<Builder>,
    pub(crate) tree: PathBuf,
    /// The Git checkout with the tree, if any. It belongs to the cache, so the hooks get a copy.
    pub(crate) checkout: Option<PathBuf>,
    /// The value of `SOURCE_DATE_EPOCH`, unless it is the default.
    pub(crate) source_date_epoch: Option<i64>,
    /// The directory at or above the tree that belongs to the build.
    pub(crate) directory: PathBuf,
    /// The local tree, with what is beside it, that the source is a copy of. Hooks can read it, and see the copy at its own
    /// path: requirements that they report can name paths beside it.
    pub(crate) original: Option<PathBuf>,
}

/// The calls of one build backend for one source.
pub(crate) struct Session {
    label: String,
    tree: PathBuf,
    backend: BuildSystem,
    settings: Value,
    environment: BuildEnvironment,
    /// The static and reported build requirements.
    declared: BuildRequirements,
    /// The distributions in the environment and their wheels, sorted by name.
    requirements: Vec<(Distribution, WheelFile)>,
    metadata_directory: Option<PathBuf>,
    /// The reason why the wheel cannot be built on this machine.
    obstacle: Option<Error>,
    jobs: Arc<Semaphore>,
    /// The job for the next hook.
    job: Mutex<Option<OwnedSemaphorePermit>>,
    timeout: Duration,
    user_variables: Arc<BTreeSet<String>>,
    is_varied: bool,
    log: PathBuf,
    failures: Failures,
    skipped: SkippedFiles,
    /// True to use the metadata of the sdist rather than to build a wheel for it.
    skips_metadata_build: bool,
    observer: Arc<dyn Observer>,
    /// The duration of this build so far, without waiting.
    worked: Mutex<Duration>,
}

impl Session {
    /// Creates the environment, without requirements.
    pub(crate) fn open(
        state: &BuildState,
        request: SessionRequest,
        skips_metadata_build: bool,
    ) -> Result<Self> {
        let failed = || format!("failed to build {}", request.label);
        let backend = BuildSystem::read(&request.tree).context(Kind::Build, failed)?;
        let begun = Instant::now();
        let mut environment = BuildEnvironment::create(state, &request)?;
        let tree = match &request.checkout {
            Some(checkout) => {
                let copy = environment.directory().join("source");
                copy_checkout(checkout, &copy).context(Kind::Build, failed)?;
                request
                    .tree
                    .strip_prefix(checkout)
                    .map_or_else(|_| copy.clone(), |below| copy.join(below))
            }
            None => request.tree,
        };
        if let Some(epoch) = request.source_date_epoch {
            environment.set(SOURCE_DATE_EPOCH, epoch.to_string());
        }
        environment.map_paths(&tree);
        if state.is_varied {
            environment.set("LC_ALL", "C");
            environment.set("LANG", "C");
        }
        Ok(Self {
            settings: settings(state, request.builder.as_ref()),
            log: hook::log_path(&state.logs, &request.label),
            label: request.label.clone(),
            tree,
            backend,
            environment,
            declared: BuildRequirements {
                builder: request.builder,
                requirements: Vec::new(),
            },
            requirements: Vec::new(),
            metadata_directory: None,
            obstacle: None,
            jobs: Arc::clone(&state.jobs),
            job: Mutex::default(),
            timeout: state.timeout,
            user_variables: Arc::clone(&state.user_variables),
            is_varied: state.is_varied,
            failures: Arc::clone(&state.failures),
            skipped: state.skipped.clone(),
            skips_metadata_build,
            observer: Arc::clone(&state.observer),
            worked: Mutex::new(begun.elapsed()),
        })
    }

    /// Returns the source, for [`ArtifactProvider::build_resources`](crate::ArtifactProvider::build_resources).
    pub(crate) fn source(&self) -> BuildSource<'_> {
        let builder = self.declared.builder.as_ref();
        BuildSource {
            label: &self.label,
            name: builder.map(|builder| &builder.name),
            version: builder.and_then(|builder| builder.version.as_ref()),
            tree: &self.tree,
            directory: self.environment.directory(),
        }
    }

    /// Adds `resources` to what hooks get.
    pub(crate) fn add_resources(&mut self, resources: BuildResources) {
        self.environment.add_variables(resources.variables);
        self.environment.add_readable(resources.readable);
        self.obstacle = resources.obstacle;
    }

    /// Returns the duration of the build, without waiting for a job or for its requirements.
    pub(crate) fn worked(&self) -> Duration {
        *self.worked.lock().expect("no panic while locked")
    }

    /// Adds the time since `begun` to the duration.
    fn count(&self, begun: Instant) {
        *self.worked.lock().expect("no panic while locked") += begun.elapsed();
    }

    /// Awaits `work`, and reports that the build waits if that takes long.
    pub(crate) async fn wait<T>(
        &self,
        wait: impl FnOnce() -> Wait,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(WAIT_NOTICE, &mut work).await {
            return done;
        }
        self.observer.observe(&Event::BuildWaiting {
            package: self.label.clone(),
            wait: wait(),
        });
        work.await
    }

    /// Returns what the sandbox enforces, sorted.
    pub(crate) fn protections(&self) -> Vec<Protection> {
        let sandbox = self.environment.sandbox();
        sandbox
            .map(|sandbox| sandbox.protections().to_vec())
            .unwrap_or_default()
    }

    /// Returns the distributions in the environment, sorted by name.
    pub(crate) fn into_requirements(self) -> Vec<Distribution> {
        let requirements = self.requirements.into_iter();
        requirements.map(|(distribution, _)| distribution).collect()
    }

    /// Returns whether the variable `name` of hooks changes the result of the build.
    fn is_recorded(&self, name: &str) -> bool {
        let is_fixed = name == "PYTHONHASHSEED" || is_build_variable(name);
        is_fixed || self.user_variables.contains(name)
    }

    /// Returns the inputs of the build but for its source.
    pub(crate) fn inputs(&self) -> BuildInputs {
        let requirements = self
            .requirements
            .iter()
            .filter_map(|(distribution, wheel)| {
                Some(InputFile {
                    filename: wheel.filename.clone(),
                    sha256: wheel.sha256?,
                    source: distribution.source.to_string(),
                    built_from: wheel.built_from,
                    requirements: wheel.requirements.clone(),
                    crates: wheel.crates.clone(),
                })
            });
        let settings = self.settings.as_object().into_iter().flatten();
        let variables = self.environment.variables().iter();
        let variables = variables.filter_map(|(name, value)| {
            let (name, value) = (name.to_str()?, value.to_str()?);
            self.is_recorded(name)
                .then(|| (name.to_owned(), secrets::mask_variable(name, value)))
        });
        BuildInputs {
            sdist: None,
            shared_environment: self.environment.is_shared(),
            backend: self.backend.name.clone(),
            requirements: requirements.collect(),
            settings: settings
                .map(|(name, value)| (name.clone(), masked_setting(name, value)))
                .collect(),
            environment: variables.collect(),
            crates: Vec::new(),
        }
    }

    /// Returns the static and reported build requirements.
    pub(crate) fn into_declared(self) -> BuildRequirements {
        self.declared
    }

    /// Sets the requirements to the static ones and `more`, and returns them.
    pub(crate) fn require(&mut self, more: Vec<Requirement>) -> BuildRequirements {
        let requirements = &mut self.declared.requirements;
        requirements.clone_from(&self.backend.requires);
        requirements.extend(more);
        self.declared.clone()
    }

    /// Returns whether the source declares all of `requirements`.
    pub(crate) fn are_declared(&self, requirements: &[Requirement]) -> bool {
        let mut requirements = requirements.iter();
        requirements.all(|requirement| self.backend.requires.contains(requirement))
    }

    /// Installs the build requirements, and keeps the job for the next hook.
    pub(crate) async fn install(
        &mut self,
        state: &BuildState,
        unpacked: Vec<CachedDist>,
        resolved: Vec<(Distribution, WheelFile)>,
    ) -> Result<()> {
        let names = resolved.iter().map(|(distribution, _)| distribution);
        tracing::debug!(
            package = self.label,
            requirements = ?names.map(ToString::to_string).collect::<Vec<_>>(),
            "installing the build requirements"
        );
        if !resolved.is_empty() {
            self.requirements = resolved;
        }
        let job = self.job().await;
        let begun = Instant::now();
        let installed = self.environment.install(state, unpacked).await;
        self.count(begun);
        installed?;
        self.keep(job);
        Ok(())
    }

    /// Returns the message of a failure.
    pub(crate) fn failed(&self) -> String {
        format!("failed to build {}", self.label)
    }

    /// Returns the kept job, or waits for a free one.
    pub(crate) async fn job(&self) -> OwnedSemaphorePermit {
        let at_hand = self.job.lock().expect("no panic while locked").take();
        match at_hand {
            Some(job) => job,
            None => self
                .wait(|| Wait::Job, Arc::clone(&self.jobs).acquire_owned())
                .await
                .expect("the semaphore is never closed"),
        }
    }

    /// Keeps `job` for the next hook.
    pub(crate) fn keep(&self, job: OwnedSemaphorePermit) {
        *self.job.lock().expect("no panic while locked") = Some(job);
    }

    /// Returns the requirements that the backend reports.
    pub(crate) async fn reported_requirements(&self) -> Result<Vec<Requirement>> {
        let arguments = vec![self.settings.clone()];
        let requires = self.call("get_requires_for_build_wheel", arguments, None);
        let Some(value) = requires.await? else {
            return Ok(Vec::new());
        };
        let texts: Vec<String> = serde_json::from_value(value).context(Kind::Build, || {
            format!(
                "`get_requires_for_build_wheel` of {} did not return a list",
                self.backend.name
            )
        })?;
        let failed = || format!("failed to build {}", self.label);
        build_requirements(&texts).context(Kind::Build, failed)
    }

    /// Builds the wheel and returns its file name.
    pub(crate) async fn build_wheel(&self, wheel_directory: &Path) -> Result<String> {
        if let Some(obstacle) = &self.obstacle {
            return Err(obstacle.to_shared());
        }
        fs_err::create_dir_all(wheel_directory)
            .context(Kind::Build, || format!("failed to build {}", self.label))?;
        let metadata = self
            .metadata_directory
            .as_deref()
            .map(|path| self.environment.inside(path));
        let wheels_inside = match self.environment.sandbox() {
            Some(sandbox) => sandbox.wheels_inside(wheel_directory),
            None => wheel_directory.to_owned(),
        };
        let arguments = vec![json!(wheels_inside), self.settings.clone(), json!(metadata)];
        let _job = self.job().await;
        let value = self
            .call("build_wheel", arguments, Some(wheel_directory))
            .await?;
        let filename = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        // A path could lead out of the directory.
        let is_name = Path::new(filename).file_name() == Some(OsStr::new(filename));
        if !is_name || !wheel_directory.join(filename).is_file() {
            return Err(Error::new(
                Kind::Build,
                format!(
                    "failed to build {}: `build_wheel` of {} did not create a wheel",
                    self.label, self.backend.name
                ),
            ));
        }
        // The logs of failed builds are kept.
        let _ = fs_err::remove_file(&self.log);
        Ok(filename.to_owned())
    }

    async fn prepare_metadata(&mut self) -> Result<Option<PathBuf>> {
        if self.metadata_directory.is_none() && !self.has_dynamic_hatch_metadata() {
            let parent = self.environment.directory().join("metadata");
            fs_err::create_dir_all(&parent)
                .context(Kind::Build, || format!("failed to build {}", self.label))?;
            let arguments = vec![
                json!(self.environment.inside(&parent)),
                self.settings.clone(),
            ];
            let _job = self.job().await;
            let value = self
                .call("prepare_metadata_for_build_wheel", arguments, None)
                .await?;
            self.metadata_directory = value
                .as_ref()
                .and_then(Value::as_str)
                .map(|name| parent.join(name));
        }
        Ok(self.metadata_directory.clone())
    }

    /// Returns a directory with the metadata of the sdist, as the hook would create it.
    fn published_metadata(&self) -> Option<PathBuf> {
        let directory = self.environment.directory().join("published.dist-info");
        fs_err::create_dir_all(&directory).ok()?;
        fs_err::copy(self.tree.join("PKG-INFO"), directory.join("METADATA")).ok()?;
        self.skipped.metadata_build(&self.label);
        Some(directory)
    }

    /// Returns whether the metadata that Hatch prepares may differ from that of the wheel, because build hooks determine the
    /// dependencies.
    fn has_dynamic_hatch_metadata(&self) -> bool {
        self.backend.name == "hatchling.build"
            && project_text(&self.tree.join("pyproject.toml"))
                .ok()
                .and_then(|text| toml_reader::parse(&text).ok())
                .and_then(|table| table.get("project")?.get("dynamic")?.as_array().cloned())
                .is_some_and(|fields| {
                    fields.iter().any(|field| {
                        matches!(
                            field.as_str(),
                            Some("dependencies" | "optional-dependencies")
                        )
                    })
                })
    }

    /// Calls `hook`, which may write the directory `wheels`. The caller holds a job.
    async fn call(
        &self,
        hook: &'static str,
        arguments: Vec<Value>,
        wheels: Option<&Path>,
    ) -> Result<Option<Value>> {
        let begun = Instant::now();
        let value = Call {
            package: &self.label,
            hook,
            backend: &self.backend,
            arguments,
            python: self.environment.python(),
            tree: &self.tree,
            scratch: self.environment.directory(),
            environment: &self.environment.hook_variables(),
            sandbox: self.environment.sandbox(),
            wheels,
            is_varied: self.is_varied,
            log: &self.log,
            timeout: self.timeout,
            observer: &*self.observer,
        }
        .run()
        .await;
        self.count(begun);
        self.observer.observe(&Event::BuildHookFinished {
            package: self.label.clone(),
            hook: hook.to_owned(),
            seconds: seconds(begun.elapsed()),
        });
        value
    }
}

/// Copies the Git checkout `from`, with its repository, to `into`.
fn copy_checkout(from: &Path, into: &Path) -> std::io::Result<()> {
    fs_err::create_dir_all(into)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_checkout(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs_err::read_link(&source)?, &target)?;
        } else {
            fs_err::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Returns the PEP 517 settings of one package: its own take precedence over the general ones.
fn settings(engine: &BuildState, builder: Option<&Builder>) -> Value {
    let general = engine.config_settings.clone();
    let merged = match builder.and_then(|builder| engine.package_settings.get(&builder.name)) {
        Some(own) => own.clone().merge(general),
        None => general,
    };
    serde_json::to_value(merged).unwrap_or_default()
}

/// Returns the setting `name`, a string or a list of strings, without credentials.
fn masked_setting(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) => json!(secrets::mask_variable(name, text)),
        Value::Array(items) => items
            .iter()
            .map(|item| masked_setting(name, item))
            .collect(),
        other => other.clone(),
    }
}

/// Called by uv, for the metadata of sources.
impl SourceBuildTrait for Session {
    async fn metadata(&mut self) -> Result<Option<PathBuf>, AnyErrorBuild> {
        let mut prepared = self.prepare_metadata().await;
        if self.skips_metadata_build && matches!(prepared, Ok(None)) {
            prepared = Ok(self.published_metadata());
        }
        prepared.map_err(|error| EngineError::new(error).into())
    }

    async fn wheel<'a>(&'a self, wheel_dir: &'a Path) -> Result<String, AnyErrorBuild> {
        // The wheel is built for its metadata only. A failed build is not repeated.
        let failure = {
            let failures = self.failures.lock().expect("no panic while locked");
            failures.get(&self.label).map(Error::to_shared)
        };
        if let Some(error) = failure {
            return Err(EngineError::new(error).into());
        }
        let wheel_dir = std::path::absolute(wheel_dir)
            .context(Kind::Build, || format!("failed to build {}", self.label));
        let built = match wheel_dir {
            Ok(wheel_dir) => self.build_wheel(&wheel_dir).await,
            Err(error) => Err(error),
        };
        built.map_err(|error| EngineError::new(error).into())
    }
}
