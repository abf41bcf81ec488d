//! The calls to one back end for one source (PEP 517), in an environment that has what it requires.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uv_distribution_types::Requirement;
use uv_types::{AnyErrorBuild, SourceBuildTrait};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::{Wait, seconds};
use wheelhouse_types::request::Confinement;
use wheelhouse_types::{Distribution, Error, Event, Kind, Observer, Result, toml_reader};

use super::BuildRequest;
use super::environment::BuildEnvironment;
use crate::build::build_system::{Backend, build_requirements, project_text};
use crate::build::constraints::Builder;
use crate::build::hook::{self, Call};
use crate::build::requirements::BuildRequirements;
use crate::dispatch::BuildDispatch;
use crate::error::Failures;
use crate::index::lenient_pages::Oddities;
use crate::state::EngineState;

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
        }
    }
}

/// The time that something may take before a build is said to wait for it.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) struct SessionRequest {
    pub(crate) label: String,
    pub(crate) builder: Option<Builder>,
    pub(crate) tree: PathBuf,
    /// The Git checkout that the tree is (in), if it is in one: it belongs to the cache, so the hooks
    /// get a copy.
    pub(crate) checkout: Option<PathBuf>,
}

/// The calls to one back end for one source.
pub(crate) struct Session {
    label: String,
    tree: PathBuf,
    backend: Backend,
    settings: Value,
    environment: BuildEnvironment,
    /// The build requirements as they are declared and reported.
    wanted: BuildRequirements,
    /// What is installed in the environment, sorted by name.
    requirements: Vec<Distribution>,
    metadata_directory: Option<PathBuf>,
    jobs: Arc<Semaphore>,
    /// The job that setting up leaves to the hook that follows.
    job: Mutex<Option<OwnedSemaphorePermit>>,
    timeout: Duration,
    confinement: Option<Arc<Confinement>>,
    log: PathBuf,
    failures: Failures,
    oddities: Oddities,
    /// Whether no wheel is built for the metadata alone, if the sdist has some.
    is_spared: bool,
    observer: Arc<dyn Observer>,
    /// The time that this build has worked so far, without waiting.
    worked: Mutex<Duration>,
}

impl Session {
    /// Makes the build environment: the static build requirements first, then those that the back
    /// end reports.
    pub(crate) async fn set_up(
        dispatch: &BuildDispatch<'_>,
        request: SessionRequest,
    ) -> Result<Self> {
        let mut session = Self::open(dispatch.state, request)?;
        session.is_spared = dispatch.artifacts.skips_metadata_build(&session.tree);
        if dispatch.state.shared_environment.is_some() {
            return Ok(session);
        }
        session.require(dispatch, Vec::new()).await?;
        let job = session.job().await;
        let reported = session.reported_requirements().await?;
        let is_new = |requirement| !session.backend.requires.contains(requirement);
        if reported.iter().any(is_new) {
            // What is required may have to be built, which takes a job.
            drop(job);
            session.require(dispatch, reported).await?;
        } else {
            session.keep(job);
        }
        Ok(session)
    }

    fn open(state: &EngineState, request: SessionRequest) -> Result<Self> {
        let failed = || format!("failed to build {}", request.label);
        let backend = Backend::read(&request.tree).context(Kind::Build, failed)?;
        let begun = Instant::now();
        let environment = BuildEnvironment::create(state, &request.label)?;
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
        Ok(Self {
            settings: settings(state, request.builder.as_ref()),
            log: hook::log_path(&state.logs, &request.label),
            label: request.label.clone(),
            tree,
            backend,
            environment,
            wanted: BuildRequirements {
                builder: request.builder,
                requirements: Vec::new(),
            },
            requirements: Vec::new(),
            metadata_directory: None,
            jobs: state.concurrency.builds_semaphore.clone(),
            job: Mutex::default(),
            timeout: state.request.building.timeout,
            confinement: state.request.building.confinement.clone(),
            failures: state.failures.clone(),
            oddities: state.pages.oddities.clone(),
            is_spared: false,
            observer: Arc::clone(&state.observer),
            worked: Mutex::new(begun.elapsed()),
        })
    }

    /// The time that the build has worked, without waiting for a job or for its requirements.
    pub(super) fn worked(&self) -> Duration {
        *self.worked.lock().expect("no panic while locked")
    }

    /// Counts the time since `begun` as work.
    fn count(&self, begun: Instant) {
        *self.worked.lock().expect("no panic while locked") += begun.elapsed();
    }

    /// Does `work`, and tells that the build waits for it if it does.
    async fn wait<T>(&self, wait: impl FnOnce() -> Wait, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
            return done;
        }
        self.observer.observe(&Event::BuildWaiting {
            package: self.label.clone(),
            wait: wait(),
        });
        work.await
    }

    /// What the environment held, sorted by name.
    pub(super) fn into_requirements(self) -> Vec<Distribution> {
        self.requirements
    }

    /// The build requirements as they were declared and reported.
    pub(super) fn into_wanted(self) -> BuildRequirements {
        self.wanted
    }

    /// Installs the static build requirements and `more`, and ends with a job in hand.
    async fn require(
        &mut self,
        dispatch: &BuildDispatch<'_>,
        more: Vec<Requirement>,
    ) -> Result<()> {
        let label = self.label.clone();
        let failed = || format!("failed to build {label}");
        let wanted = &mut self.wanted.requirements;
        wanted.clone_from(&self.backend.requires);
        wanted.extend(more);
        let mut wheels = Vec::new();
        if !self.wanted.is_empty() {
            let unknown = || Wait::Requirements {
                packages: Vec::new(),
            };
            let settled = Box::pin(dispatch.settle(&self.wanted, &dispatch.state.host));
            let settled = self.wait(unknown, settled).await;
            let mut settled = settled.context(Kind::Build, failed)?;
            settled.sort_by(|one, other| one.name.cmp(&other.name));
            let packages = || Wait::Requirements {
                packages: settled.iter().map(ToString::to_string).collect(),
            };
            let made = self
                .wait(packages, dispatch.artifacts.wheels(&settled))
                .await;
            wheels = made.context(Kind::Build, failed)?;
            self.requirements = settled;
        }
        let unpacked = dispatch
            .unpack(&wheels)
            .await
            .context(Kind::Build, failed)?;
        let job = self.job().await;
        let begun = Instant::now();
        let installed = self.environment.install(dispatch.state, unpacked).await;
        self.count(begun);
        installed.context(Kind::Build, failed)?;
        self.keep(job);
        Ok(())
    }

    /// The job that is at hand, or the next that is free.
    async fn job(&self) -> OwnedSemaphorePermit {
        let at_hand = self.job.lock().expect("no panic while locked").take();
        match at_hand {
            Some(job) => job,
            None => self
                .wait(|| Wait::Job, Arc::clone(&self.jobs).acquire_owned())
                .await
                .expect("the semaphore is never closed"),
        }
    }

    /// Keeps `job` for what follows.
    fn keep(&self, job: OwnedSemaphorePermit) {
        *self.job.lock().expect("no panic while locked") = Some(job);
    }

    async fn reported_requirements(&self) -> Result<Vec<Requirement>> {
        let arguments = vec![self.settings.clone()];
        let Some(value) = self.call("get_requires_for_build_wheel", arguments).await? else {
            return Ok(Vec::new());
        };
        let texts: Vec<String> = serde_json::from_value(value).context(Kind::Build, || {
            format!(
                "`get_requires_for_build_wheel` of {} returned no list",
                self.backend.name
            )
        })?;
        let failed = || format!("failed to build {}", self.label);
        build_requirements(&texts).context(Kind::Build, failed)
    }

    pub(super) async fn build_wheel(&self, wheel_directory: &Path) -> Result<String> {
        fs_err::create_dir_all(wheel_directory)
            .context(Kind::Build, || format!("failed to build {}", self.label))?;
        let arguments = vec![
            json!(wheel_directory),
            self.settings.clone(),
            json!(self.metadata_directory),
        ];
        let _job = self.job().await;
        let value = self.call("build_wheel", arguments).await?;
        let filename = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        // A path may lead anywhere; a name is that of a file where it was asked to be.
        let is_name = Path::new(filename).file_name() == Some(OsStr::new(filename));
        if !is_name || !wheel_directory.join(filename).is_file() {
            return Err(Error::new(
                Kind::Build,
                format!(
                    "failed to build {}: `build_wheel` of {} left no wheel",
                    self.label, self.backend.name
                ),
            ));
        }
        // A log is kept for what failed.
        let _ = fs_err::remove_file(&self.log);
        Ok(filename.to_owned())
    }

    async fn prepare_metadata(&mut self) -> Result<Option<PathBuf>> {
        if self.metadata_directory.is_none() && !self.has_dynamic_hatch_metadata() {
            let parent = self.environment.directory().join("metadata");
            fs_err::create_dir_all(&parent)
                .context(Kind::Build, || format!("failed to build {}", self.label))?;
            let arguments = vec![json!(parent), self.settings.clone()];
            let _job = self.job().await;
            let value = self
                .call("prepare_metadata_for_build_wheel", arguments)
                .await?;
            self.metadata_directory = value
                .as_ref()
                .and_then(Value::as_str)
                .map(|name| parent.join(name));
        }
        Ok(self.metadata_directory.clone())
    }

    /// The metadata that the sdist was published with, in a directory as the hook makes it.
    fn published_metadata(&self) -> Option<PathBuf> {
        let directory = self.environment.directory().join("published.dist-info");
        fs_err::create_dir_all(&directory).ok()?;
        fs_err::copy(self.tree.join("PKG-INFO"), directory.join("METADATA")).ok()?;
        self.oddities.spared(&self.label);
        Some(directory)
    }

    /// Hatch does not keep its promise that prepared metadata is that of the wheel when build hooks
    /// decide on the dependencies; it says so to pip by the name of the process.
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

    /// Calls `hook`; whoever calls has a job.
    async fn call(&self, hook: &'static str, arguments: Vec<Value>) -> Result<Option<Value>> {
        let begun = Instant::now();
        let value = Call {
            package: &self.label,
            hook,
            backend: &self.backend,
            arguments,
            python: self.environment.python(),
            tree: &self.tree,
            scratch: self.environment.directory(),
            environment: self.environment.variables(),
            confinement: self.confinement.as_deref(),
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

/// The PEP 517 settings for one package: its own win over those for all.
fn settings(engine: &EngineState, builder: Option<&Builder>) -> Value {
    let general = engine.config_settings.clone();
    let merged = match builder.and_then(|builder| engine.package_settings.get(&builder.name)) {
        Some(own) => own.clone().merge(general),
        None => general,
    };
    serde_json::to_value(merged).unwrap_or_default()
}

/// uv's own calls, for the metadata of sources and for build requirements that are sdists.
impl SourceBuildTrait for Session {
    async fn metadata(&mut self) -> Result<Option<PathBuf>, AnyErrorBuild> {
        let mut prepared = self.prepare_metadata().await;
        if self.is_spared && matches!(prepared, Ok(None)) {
            prepared = Ok(self.published_metadata());
        }
        prepared.map_err(|error| self.failures.keep(error).into())
    }

    async fn wheel<'a>(&'a self, wheel_dir: &'a Path) -> Result<String, AnyErrorBuild> {
        // Only the metadata is wanted; what failed after an hour need not do so twice.
        if let Some(error) = self.failures.earlier_build(&self.label) {
            return Err(self.failures.keep(error).into());
        }
        let wheel_dir = std::path::absolute(wheel_dir)
            .context(Kind::Build, || format!("failed to build {}", self.label));
        let built = match wheel_dir {
            Ok(wheel_dir) => self.build_wheel(&wheel_dir).await,
            Err(error) => Err(error),
        };
        built.map_err(|error| self.failures.keep(error).into())
    }
}
