//! Building a wheel from an unpacked source with its PEP 517 build backend, in an environment of its own.
//!
//! [`environment`] creates the environment, [`session`] calls the hooks in it, [`hook`] runs one of them, and [`diagnosis`]
//! finds the cause of a failure. Build requirements come from `dispatch`.

pub(crate) mod build_system;
mod bytecode;
pub(crate) mod constraints;
mod diagnosis;
mod environment;
mod hook;
mod path_maps;
pub(crate) mod requirements;
mod sandbox;
mod session;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use uv_cache::Cache;
use uv_distribution_types::{CachedDist, ConfigSettings, PackageConfigSettings};
use uv_python::{Interpreter, PythonEnvironment};
use uv_types::{BuildArena, InFlight};
use wheelhouse_types::provenance::BuildInputs;
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Distribution, Error, Observer, PackageName, Request, Version};

use crate::index::skipped_files::SkippedFiles;
use crate::requirements::{config_settings, package_settings};
use bytecode::Bytecode;
use sandbox::BuildSandboxes;
pub(crate) use session::{Session, SessionRequest};

/// A source to build.
pub struct BuildRequest<'a> {
    /// `name==version`, for messages and the name of the log.
    pub label: String,
    /// The name of the project.
    pub name: PackageName,
    /// The version, if it is known before the build.
    pub version: Option<Version>,
    /// The directory of the unpacked project, which the build may change.
    pub tree: &'a Path,
    /// The value of `SOURCE_DATE_EPOCH`, unless the request sets the variable.
    pub source_date_epoch: Option<i64>,
    /// The directory at or above it that belongs to the build.
    pub directory: &'a Path,
    /// The local tree, with what is beside it, that the source is a copy of. Hooks can read it, and see the copy at its own
    /// path: requirements that they report can name paths beside it.
    pub original: Option<PathBuf>,
    /// The directory for the wheel.
    pub wheel_directory: &'a Path,
}

/// A wheel that a build backend built.
#[derive(Clone, Debug)]
pub struct BuiltWheel {
    /// The path of the wheel.
    pub path: PathBuf,
    /// The distributions in the build environment, sorted by name.
    pub requirements: Vec<Distribution>,
    /// The inputs of the build but for its source.
    pub inputs: BuildInputs,
    /// The duration of the build, without waiting for a job or for its requirements.
    pub worked: Duration,
    /// The protections that the sandbox of the build enforced, sorted.
    pub protections: Vec<Protection>,
}

/// The settings and caches of the builds of a run.
pub(crate) struct BuildState {
    cache: Cache,
    interpreter: Interpreter,
    /// The interpreter's own environment, if builds are not isolated.
    shared_environment: Option<PythonEnvironment>,
    config_settings: ConfigSettings,
    package_settings: PackageConfigSettings,
    /// The variables of hooks, besides those of this process.
    hook_environment: Vec<(OsString, OsString)>,
    /// The names of those that the user has set.
    user_variables: Arc<BTreeSet<String>>,
    /// `PATH`.
    path: OsString,
    is_varied: bool,
    sandboxes: BuildSandboxes,
    timeout: Duration,
    jobs: Arc<Semaphore>,
    logs: PathBuf,
    observer: Arc<dyn Observer>,
    skipped: SkippedFiles,
    in_flight: InFlight,
    bytecode: Bytecode,
    arena: BuildArena<Session>,
    failures: Failures,
}

/// The builds that failed, by label. Another attempt would fail again.
type Failures = Arc<Mutex<HashMap<String, Error>>>;

/// The parts of a [`BuildState`] that others share.
pub(crate) struct BuildParts<'a> {
    pub(crate) request: &'a Request,
    pub(crate) cache: Cache,
    pub(crate) interpreter: Interpreter,
    pub(crate) logs: PathBuf,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) skipped: SkippedFiles,
}

impl BuildState {
    pub(crate) fn new(parts: BuildParts<'_>) -> Self {
        let building = &parts.request.building;
        let shared = (!building.isolated)
            .then(|| PythonEnvironment::from_interpreter(parts.interpreter.clone()));
        let observer = Arc::clone(&parts.observer);
        let user_variables = building.environment.keys().filter(|name| *name != "PATH");
        Self {
            sandboxes: BuildSandboxes::new(building, &parts.interpreter, observer),
            cache: parts.cache,
            interpreter: parts.interpreter,
            shared_environment: shared,
            config_settings: config_settings(&building.config_settings),
            package_settings: package_settings(&building.package_settings),
            hook_environment: environment::fixed_variables(&building.environment),
            user_variables: Arc::new(user_variables.cloned().collect()),
            path: building
                .environment
                .get("PATH")
                .cloned()
                .unwrap_or_default()
                .into(),
            is_varied: building.is_varied,
            timeout: building.timeout,
            jobs: Arc::new(Semaphore::new(building.jobs)),
            logs: parts.logs,
            observer: parts.observer,
            skipped: parts.skipped,
            in_flight: InFlight::default(),
            bytecode: Bytecode::default(),
            arena: BuildArena::default(),
            failures: Failures::default(),
        }
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    pub(crate) fn shared_environment(&self) -> Option<&PythonEnvironment> {
        self.shared_environment.as_ref()
    }

    pub(crate) fn is_isolated(&self) -> bool {
        self.shared_environment.is_none()
    }

    pub(crate) fn config_settings(&self) -> &ConfigSettings {
        &self.config_settings
    }

    pub(crate) fn package_settings(&self) -> &PackageConfigSettings {
        &self.package_settings
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    pub(crate) fn arena(&self) -> &BuildArena<Session> {
        &self.arena
    }

    /// Compiles the bytecode of unpacked wheels, each once.
    pub(crate) async fn compile(&self, unpacked: &[CachedDist]) {
        let compiled = self
            .bytecode
            .compile(unpacked, &self.interpreter, &self.cache);
        compiled.await;
    }

    /// Records that the wheel of `label` could not be built.
    pub(crate) fn record_failure(&self, label: &str, error: &Error) {
        let mut failures = self.failures.lock().expect("no panic while locked");
        failures.insert(label.to_owned(), error.to_shared());
    }
}
