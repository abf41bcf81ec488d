//! The environment that a back end runs in: made for one build, or the one that the user has prepared.
//!
//! Never knows what is required, nor what is called in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uv_distribution_types::CachedDist;
use uv_install_wheel::LinkMode;
use uv_installer::Installer;
use uv_preview::Preview;
use uv_python::PythonEnvironment;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use crate::old_python;
use crate::workshop::Workshop;

/// An environment, and a directory of its own for the files of the build.
pub(crate) struct BuildEnvironment {
    python: PythonEnvironment,
    directory: tempfile::TempDir,
    /// What hooks are given: the environment's scripts come first on `PATH`.
    variables: Vec<(OsString, OsString)>,
    /// What is installed, where it was linked from.
    installed: Vec<CachedDist>,
}

impl BuildEnvironment {
    /// Makes one for building `label`, unless the user has prepared one for all.
    pub(crate) fn create(workshop: &Workshop, label: &str) -> Result<Self> {
        let in_cache = || {
            let cache = workshop.cache.root().display();
            format!("failed to make an environment for building {label} in {cache}")
        };
        let directory = workshop.cache.venv_dir().context(Kind::Build, in_cache)?;
        let python = match &workshop.shared_environment {
            Some(python) => python.clone(),
            None => create(workshop, directory.path()).context(Kind::Build, in_cache)?,
        };
        let variables = variables(workshop, &python, directory.path());
        Ok(Self {
            variables: variables.context(Kind::Build, || format!("failed to build {label}"))?,
            python,
            directory,
            installed: Vec::new(),
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

    /// Makes it hold `unpacked` and nothing else.
    pub(crate) async fn install(
        &mut self,
        workshop: &Workshop,
        unpacked: Vec<CachedDist>,
    ) -> Result<()> {
        let cache = workshop.cache.root().display();
        let failed = || format!("failed to install the build requirements in {cache}");
        if !self.installed.is_empty() {
            self.keep_bytecode();
            self.python = create(workshop, self.directory.path()).context(Kind::Build, failed)?;
        }
        if unpacked.is_empty() {
            return Ok(());
        }
        let installed = Installer::new(&self.python, Preview::default())
            .with_link_mode(LinkMode::default())
            .with_cache(&workshop.cache)
            .install(unpacked)
            .await;
        self.installed = installed.map_err(as_std).context(Kind::Build, failed)?;
        Ok(())
    }

    /// Gives the byte code that builds compiled of what is installed back to the cache that it was
    /// linked from, so that the next environment has it from the start: importing setuptools
    /// without takes most of the time of a small build.
    pub(crate) fn keep_bytecode(&self) {
        let Some(site_packages) = self.python.site_packages().next() else {
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

fn create(
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

/// The root of the environment whose files are in `directory`.
fn environment_root(directory: &Path) -> PathBuf {
    directory.join("environment")
}

/// Variables of the user's environment that let other packages in, or other byte code.
const FOREIGN: [&str; 3] = ["PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONSAFEPATH"];

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
        // For Python, no text is as good as no variable.
        variables.extend(FOREIGN.map(|name| (name.into(), OsString::new())));
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
