//! Building a wheel from an unpacked source with its PEP 517 back end, in an environment of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uv_distribution_types::{CachedDist, Requirement};
use uv_install_wheel::LinkMode;
use uv_installer::Installer;
use uv_preview::Preview;
use uv_python::PythonEnvironment;
use uv_types::{AnyErrorBuild, SourceBuildTrait};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Distribution, Error, Kind, PackageName, Result, Version};

use crate::allowance::Builder;
use crate::backend::{Backend, build_requirements};
use crate::build_requirements::BuildRequirements;
use crate::companion::Companion;
use crate::context::Bench;
use crate::failure::Failures;
use crate::hook::{self, Call};
use crate::old_python;
use crate::workshop::Workshop;

/// A source to build.
pub struct BuildRequest<'a> {
    /// `name==version`, for messages and the name of the log.
    pub label: String,
    pub name: PackageName,
    /// As far as it is known before.
    pub version: Option<Version>,
    /// The directory of the project, unpacked, which the build may change.
    pub tree: &'a Path,
    /// Where the wheel is put.
    pub wheel_directory: &'a Path,
}

/// A wheel that a back end built.
#[derive(Clone, Debug)]
pub struct BuiltWheel {
    pub path: PathBuf,
    /// What the build environment held, sorted by name.
    pub requirements: Vec<Distribution>,
}

impl Workshop {
    pub(crate) async fn build_wheel(
        &self,
        request: BuildRequest<'_>,
        companion: &dyn Companion,
    ) -> Result<BuiltWheel> {
        let bench = Bench::new(self, companion);
        let session = Box::pin(Session::set_up(&bench, SessionRequest::from(&request))).await?;
        let built = session.build_wheel(request.wheel_directory).await;
        let filename =
            built.inspect_err(|error| self.failures.remember_build(&session.label, error))?;
        let path = request.wheel_directory.join(filename);
        Ok(BuiltWheel {
            path,
            requirements: session.requirements,
        })
    }
}

impl Workshop {
    pub(crate) async fn build_requirements(
        &self,
        request: BuildRequest<'_>,
        companion: &dyn Companion,
    ) -> Result<BuildRequirements> {
        let bench = Bench::new(self, companion);
        let session = Box::pin(Session::set_up(&bench, SessionRequest::from(&request))).await?;
        Ok(session.wanted)
    }
}

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
    environment: PythonEnvironment,
    /// Holds the environment and the files of the calls.
    directory: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
    /// The build requirements as they are declared and reported.
    wanted: BuildRequirements,
    /// What is installed in the environment, sorted by name.
    requirements: Vec<Distribution>,
    /// The same, where it was linked from.
    installed: Vec<CachedDist>,
    metadata_directory: Option<PathBuf>,
    jobs: Arc<Semaphore>,
    /// The job that setting up leaves to the hook that follows.
    job: Mutex<Option<OwnedSemaphorePermit>>,
    timeout: Duration,
    log: PathBuf,
    failures: Failures,
}

impl Session {
    /// Makes the build environment: the static build requirements first, then those that the back
    /// end reports.
    pub(crate) async fn set_up(bench: &Bench<'_>, request: SessionRequest) -> Result<Self> {
        let mut session = Self::open(bench.workshop, request)?;
        if bench.workshop.shared_environment.is_some() {
            return Ok(session);
        }
        session.require(bench, Vec::new()).await?;
        let job = session.job().await;
        let reported = session.reported_requirements().await?;
        let is_new = |requirement| !session.backend.requires.contains(requirement);
        if reported.iter().any(is_new) {
            // What is required may have to be built, which takes a job.
            drop(job);
            session.require(bench, reported).await?;
        } else {
            session.keep(job);
        }
        Ok(session)
    }

    fn open(workshop: &Workshop, request: SessionRequest) -> Result<Self> {
        let failed = || format!("failed to build {}", request.label);
        let backend = Backend::read(&request.tree).context(Kind::Build, failed)?;
        let in_cache = || {
            let cache = workshop.cache.root().display();
            format!(
                "failed to make an environment for building {} in {cache}",
                request.label
            )
        };
        let directory = workshop.cache.venv_dir().context(Kind::Build, in_cache)?;
        let environment = match &workshop.shared_environment {
            Some(environment) => environment.clone(),
            None => {
                create_environment(workshop, directory.path()).context(Kind::Build, in_cache)?
            }
        };
        let tree = match &request.checkout {
            Some(checkout) => {
                let copy = directory.path().join("source");
                copy_checkout(checkout, &copy).context(Kind::Build, failed)?;
                request
                    .tree
                    .strip_prefix(checkout)
                    .map_or_else(|_| copy.clone(), |below| copy.join(below))
            }
            None => request.tree,
        };
        Ok(Self {
            settings: settings(workshop, request.builder.as_ref()),
            variables: variables(workshop, &environment, directory.path())
                .context(Kind::Build, failed)?,
            log: hook::log_path(&workshop.logs, &request.label),
            label: request.label.clone(),
            tree,
            backend,
            environment,
            directory,
            wanted: BuildRequirements {
                builder: request.builder,
                requirements: Vec::new(),
            },
            requirements: Vec::new(),
            installed: Vec::new(),
            metadata_directory: None,
            jobs: workshop.concurrency.builds_semaphore.clone(),
            job: Mutex::default(),
            timeout: workshop.request.building.timeout,
            failures: workshop.failures.clone(),
        })
    }

    /// Installs the static build requirements and `more`, and ends with a job in hand.
    async fn require(&mut self, bench: &Bench<'_>, more: Vec<Requirement>) -> Result<()> {
        let label = self.label.clone();
        let failed = || format!("failed to build {label}");
        let wanted = &mut self.wanted.requirements;
        wanted.clone_from(&self.backend.requires);
        wanted.extend(more);
        let mut wheels = Vec::new();
        if !self.wanted.is_empty() {
            let settled = bench.settle(&self.wanted, &bench.workshop.host).await;
            let mut settled = settled.context(Kind::Build, failed)?;
            settled.sort_by(|one, other| one.name.cmp(&other.name));
            let made = bench.companion.wheels(&settled).await;
            wheels = made.context(Kind::Build, failed)?;
            self.requirements = settled;
        }
        let unpacked = bench.unpack(&wheels).await.context(Kind::Build, failed)?;
        // The byte code that other builds leave is there by the time that it is this one's turn.
        let job = self.job().await;
        let installed = self.install(bench.workshop, unpacked).await;
        installed.context(Kind::Build, failed)?;
        self.keep(job);
        Ok(())
    }

    /// Makes the environment hold `unpacked` and nothing else.
    async fn install(&mut self, workshop: &Workshop, unpacked: Vec<CachedDist>) -> Result<()> {
        let cache = workshop.cache.root().display();
        let failed = || format!("failed to install the build requirements in {cache}");
        if !self.installed.is_empty() {
            self.keep_bytecode();
            self.environment =
                create_environment(workshop, self.directory.path()).context(Kind::Build, failed)?;
        }
        if unpacked.is_empty() {
            return Ok(());
        }
        let installed = Installer::new(&self.environment, Preview::default())
            .with_link_mode(LinkMode::default())
            .with_cache(&workshop.cache)
            .install(unpacked)
            .await;
        self.installed = installed.map_err(as_std).context(Kind::Build, failed)?;
        Ok(())
    }

    /// The job that is at hand, or the next that is free.
    async fn job(&self) -> OwnedSemaphorePermit {
        let at_hand = self.job.lock().expect("no panic while locked").take();
        match at_hand {
            Some(job) => job,
            None => Arc::clone(&self.jobs)
                .acquire_owned()
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
        build_requirements(&texts)
    }

    async fn build_wheel(&self, wheel_directory: &Path) -> Result<String> {
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
        self.keep_bytecode();
        // A log is kept for what failed.
        let _ = fs_err::remove_file(&self.log);
        Ok(filename.to_owned())
    }

    async fn prepare_metadata(&mut self) -> Result<Option<PathBuf>> {
        if self.metadata_directory.is_none() && !self.has_dynamic_hatch_metadata() {
            let parent = self.directory.path().join("metadata");
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

    /// Hatch does not keep its promise that prepared metadata is that of the wheel when build hooks
    /// decide on the dependencies; it says so to pip by the name of the process.
    fn has_dynamic_hatch_metadata(&self) -> bool {
        self.backend.name == "hatchling.build"
            && fs_err::read_to_string(self.tree.join("pyproject.toml"))
                .ok()
                .and_then(|text| text.parse::<toml::Table>().ok())
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
        Call {
            package: &self.label,
            hook,
            backend: &self.backend,
            arguments,
            python: self.environment.python_executable(),
            tree: &self.tree,
            scratch: self.directory.path(),
            environment: &self.variables,
            log: &self.log,
            timeout: self.timeout,
        }
        .run()
        .await
    }

    /// Gives the byte code that this build compiled of its requirements back to the cache that they
    /// were linked from, so that the next environment has it from the start: importing setuptools
    /// without takes most of the time of a small build.
    fn keep_bytecode(&self) {
        let Some(site_packages) = self.environment.site_packages().next() else {
            return;
        };
        for dist in &self.installed {
            // Only speed is lost when this fails.
            let _ = link_bytecode(&site_packages, dist.path());
        }
    }
}

fn as_std(error: anyhow::Error) -> Box<dyn std::error::Error + Send + Sync> {
    error.into()
}

/// Links the `__pycache__` files below `installed` into the same directories of `unpacked`.
fn link_bytecode(installed: &Path, unpacked: &Path) -> std::io::Result<()> {
    for entry in fs_err::read_dir(unpacked)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() && name != "__pycache__" {
            link_bytecode(&installed.join(&name), &entry.path())?;
        }
    }
    let Ok(compiled) = std::fs::read_dir(installed.join("__pycache__")) else {
        return Ok(());
    };
    let kept = unpacked.join("__pycache__");
    for file in compiled.flatten() {
        let source = file
            .file_name()
            .to_string_lossy()
            .split('.')
            .next()
            .map(|stem| unpacked.join(format!("{stem}.py")));
        let target = kept.join(file.file_name());
        if source.is_some_and(|source| source.exists()) && !target.exists() {
            std::fs::create_dir_all(&kept)?;
            std::fs::hard_link(file.path(), &target)?;
        }
    }
    Ok(())
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

fn create_environment(
    workshop: &Workshop,
    directory: &Path,
) -> Result<PythonEnvironment, uv_virtualenv::Error> {
    let root = environment_root(directory);
    if old_python::is_old(&workshop.interpreter) {
        return Ok(old_python::create_environment(
            &workshop.interpreter,
            &root,
        )?);
    }
    uv_virtualenv::create_venv(
        &root,
        workshop.interpreter.clone(),
        uv_virtualenv::Prompt::None,
        false,
        uv_virtualenv::OnExisting::Remove(uv_virtualenv::RemovalReason::TemporaryEnvironment),
        false,
        uv_virtualenv::Seed::Disabled,
        false,
    )
}

/// The root of the environment of a session whose files are in `directory`.
fn environment_root(directory: &Path) -> PathBuf {
    directory.join("environment")
}

/// The PEP 517 settings for one package: its own win over those for all.
fn settings(engine: &Workshop, builder: Option<&Builder>) -> Value {
    let general = engine.config_settings.clone();
    let merged = match builder.and_then(|builder| engine.package_settings.get(&builder.name)) {
        Some(own) => own.clone().merge(general),
        None => general,
    };
    serde_json::to_value(merged).unwrap_or_default()
}

/// The hook's variables: the environment's scripts come first on `PATH`.
fn variables(
    workshop: &Workshop,
    environment: &PythonEnvironment,
    directory: &Path,
) -> Result<Vec<(OsString, OsString)>, std::env::JoinPathsError> {
    let path = workshop
        .request
        .building
        .environment
        .get("PATH")
        .cloned()
        .unwrap_or_default();
    let scripts = std::iter::once(environment.interpreter().layout().scheme.scripts);
    let path = std::env::join_paths(scripts.chain(std::env::split_paths(&path)))?;
    let mut variables = workshop.hook_environment.as_ref().clone();
    variables.push(("PATH".into(), path));
    if workshop.shared_environment.is_some() {
        variables.push(("VIRTUAL_ENV".into(), environment.root().into()));
    } else {
        let root = environment_root(directory);
        if old_python::is_old(&workshop.interpreter) {
            variables.extend(old_python::variables(environment, &root));
        } else {
            variables.push(("VIRTUAL_ENV".into(), root.into()));
        }
        // The environment is ours, and its byte code serves those that come after it.
        variables.push(("PYTHONDONTWRITEBYTECODE".into(), OsString::new()));
        variables.push(("PYTHONPYCACHEPREFIX".into(), OsString::new()));
    }
    Ok(variables)
}

/// uv's own calls, for the metadata of sources and for build requirements that are sdists.
impl SourceBuildTrait for Session {
    async fn metadata(&mut self) -> Result<Option<PathBuf>, AnyErrorBuild> {
        let prepared = self.prepare_metadata().await;
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
