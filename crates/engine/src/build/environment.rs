//! The environment that a back end runs in: made for one build, or the one that the user has prepared.
//!
//! Never knows what is required, nor what is called in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uv_distribution_types::CachedDist;
use uv_install_wheel::{InstallState, Layout, LinkMode};
use uv_preview::Preview;
use uv_pypi_types::DirectUrl;
use uv_python::PythonEnvironment;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::python::install::INSTALLER;
use crate::python::legacy;
use crate::state::EngineState;

/// An environment, and a directory of its own for the files of the build.
pub(crate) struct BuildEnvironment {
    python: PythonEnvironment,
    directory: tempfile::TempDir,
    /// What hooks are given: the environment's scripts come first on `PATH`.
    variables: Vec<(OsString, OsString)>,
    /// Set once something is installed.
    is_filled: bool,
}

impl BuildEnvironment {
    /// Makes one for building `label`, unless the user has prepared one for all.
    pub(crate) fn create(state: &EngineState, label: &str) -> Result<Self> {
        let in_cache = || {
            let cache = state.cache.root().display();
            format!("failed to make an environment for building {label} in {cache}")
        };
        let directory = state.cache.venv_dir().context(Kind::Build, in_cache)?;
        let python = match &state.shared_environment {
            Some(python) => python.clone(),
            None => create(state, directory.path()).context(Kind::Build, in_cache)?,
        };
        let variables = variables(state, &python, directory.path());
        Ok(Self {
            variables: variables.context(Kind::Build, || format!("failed to build {label}"))?,
            python,
            directory,
            is_filled: false,
        })
    }

    pub(crate) fn python(&self) -> &Path {
        self.python.python_executable()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// Makes it hold copies of `unpacked` and nothing else.
    pub(crate) async fn install(
        &mut self,
        state: &EngineState,
        unpacked: Vec<CachedDist>,
    ) -> Result<()> {
        let cache = state.cache.root().display();
        let failed = || format!("failed to install the build requirements in {cache}");
        if self.is_filled {
            self.python = create(state, self.directory.path()).context(Kind::Build, failed)?;
        }
        self.is_filled = !unpacked.is_empty();
        let layout = self.python.interpreter().layout();
        let scratch = self.directory.path().to_owned();
        let installing = tokio::task::spawn_blocking(move || {
            let state = InstallState::new(Preview::default());
            let mut wheels = unpacked.iter();
            wheels.try_for_each(|wheel| install(wheel, &layout, &scratch, &state))
        });
        let installed = installing.await.context(Kind::Build, failed)?;
        installed.context(Kind::Build, failed)
    }
}

/// Installs a copy of `wheel`: what a hook writes to its files must not reach the cache, and so other builds.
///
/// uv can copy, too, but by way of a directory for each file, and with other times, for which Python would pass over the
/// bytecode. So uv installs only the parts of the wheel that it may move or rewrite.
fn install(
    wheel: &CachedDist,
    layout: &Layout,
    scratch: &Path,
    state: &InstallState,
) -> Result<(), anyhow::Error> {
    let dist_info = uv_install_wheel::installed_dist_info_path(layout, wheel.path())?;
    let site_packages = dist_info.parent().unwrap_or(&dist_info);
    fs_err::create_dir_all(site_packages)?;
    let rest = tempfile::tempdir_in(scratch)?;
    for entry in fs_err::read_dir(wheel.path())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_rest = path
            .extension()
            .is_some_and(|extension| extension == "dist-info" || extension == "data");
        let into = if is_rest { rest.path() } else { site_packages };
        copy(&path, &into.join(name))?;
    }
    uv_install_wheel::install_wheel(
        layout,
        false,
        rest.path(),
        wheel.filename(),
        None::<&DirectUrl>,
        None::<&()>,
        None::<&()>,
        Some(INSTALLER),
        true,
        LinkMode::Hardlink,
        state,
    )?;
    Ok(())
}

/// Copies a file or directory with times and permissions. Where the file system can, contents are shared until one of
/// the two is written to.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs_err::metadata(from)?;
    if metadata.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in fs_err::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let mut source = fs_err::File::open(from)?;
    let mut target = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(metadata.permissions().mode())
        .open(to)?;
    std::io::copy(source.file_mut(), target.file_mut())?;
    target.file().set_modified(metadata.modified()?)
}

fn create(
    state: &EngineState,
    directory: &Path,
) -> Result<PythonEnvironment, uv_virtualenv::Error> {
    let root = environment_root(directory);
    if legacy::is_old(&state.interpreter) {
        return Ok(legacy::create_environment(&state.interpreter, &root)?);
    }
    uv_virtualenv::create_venv(
        &root,
        state.interpreter.clone(),
        uv_virtualenv::Prompt::None,
        false,
        uv_virtualenv::OnExisting::Remove(uv_virtualenv::RemovalReason::TemporaryEnvironment),
        false,
        uv_virtualenv::Seed::Disabled,
        false,
    )
}

/// The root of the environment whose files are in `directory`.
fn environment_root(directory: &Path) -> PathBuf {
    directory.join("environment")
}

/// Variables of the user's environment that let other packages in, or other byte code.
const FOREIGN: [&str; 3] = ["PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONSAFEPATH"];

fn variables(
    state: &EngineState,
    environment: &PythonEnvironment,
    directory: &Path,
) -> Result<Vec<(OsString, OsString)>, std::env::JoinPathsError> {
    let path = state
        .request
        .building
        .environment
        .get("PATH")
        .cloned()
        .unwrap_or_default();
    let scripts = std::iter::once(environment.interpreter().layout().scheme.scripts);
    let path = std::env::join_paths(scripts.chain(std::env::split_paths(&path)))?;
    let mut variables = state.hook_environment.as_ref().clone();
    variables.push(("PATH".into(), path));
    if state.shared_environment.is_some() {
        variables.push(("VIRTUAL_ENV".into(), environment.root().into()));
    } else {
        let root = environment_root(directory);
        // For Python, no text is as good as no variable.
        variables.extend(FOREIGN.map(|name| (name.into(), OsString::new())));
        if legacy::is_old(&state.interpreter) {
            variables.extend(legacy::variables(environment, &root));
        } else {
            variables.push(("VIRTUAL_ENV".into(), root.into()));
        }
        // The environment is ours, and hooks that import the same modules need not compile them again.
        variables.push(("PYTHONDONTWRITEBYTECODE".into(), OsString::new()));
        variables.push(("PYTHONPYCACHEPREFIX".into(), OsString::new()));
    }
    Ok(variables)
}
