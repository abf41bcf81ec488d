//! The environment, working directory and processors of this process, read once and passed to other modules as values.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use wheelhouse_engine::python::DiscoveryEnvironment;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use wheelhouse_config::{
    ConfigurationRequest, Environment, LocalReader, PROJECT_FILE_NAME, PathConventions,
    PipConfiguration, ProjectConfiguration, RawOptions, ReadSource, Settings, SettingsContext,
    resolve_settings,
};

pub(crate) struct ProcessEnv {
    pub(crate) environment: Environment,
    pub(crate) directory: PathBuf,
    pub(crate) processors: usize,
    /// The user's cache directory for this program; `None` without a home directory.
    pub(crate) default_cache: Option<PathBuf>,
}

impl ProcessEnv {
    pub(crate) fn read() -> Result<Self> {
        // Names and values that are not valid UTF-8 are ignored.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let directory = std::env::current_dir().context(Kind::Input, || {
            "the current directory cannot be found".to_owned()
        })?;
        let strategy = etcetera::choose_base_strategy().ok();
        Ok(Self {
            environment: variables.collect(),
            directory,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            default_cache: strategy.map(|strategy| strategy.cache_dir().join("wheelhouse")),
        })
    }

    /// Locates the Python that `request` names, as far as possible without starting an interpreter.
    pub(crate) fn locate_python(&self, request: Option<&str>) -> Option<PathBuf> {
        wheelhouse_engine::python::locate(request, &self.surroundings())
    }

    /// Returns the variables and directories that select a Python.
    pub(crate) fn surroundings(&self) -> DiscoveryEnvironment {
        let variable = |name| self.environment.get_nonempty(name);
        let environment = variable("VIRTUAL_ENV").or_else(|| variable("CONDA_PREFIX"));
        let home = variable("HOME").map(PathBuf::from);
        DiscoveryEnvironment {
            path: variable("PATH").unwrap_or_default().into(),
            virtual_environment: environment.map(PathBuf::from),
            pyenv_root: variable("PYENV_ROOT")
                .map(PathBuf::from)
                .or_else(|| Some(home?.join(".pyenv"))),
            pyenv_version: variable("PYENV_VERSION").map(str::to_owned),
            directory: self.directory.clone(),
        }
    }

    /// Reads pip's configuration that applies to `raw`, including the file of the installation of the requested Python.
    pub(crate) fn pip_configuration(&self, raw: &RawOptions) -> Result<PipConfiguration> {
        self.configuration(raw, ProjectConfiguration::default())
    }

    /// Reads `[tool.wheelhouse]` of the project: that of `source`, of a `pyproject.toml` among the files, or of the
    /// current directory.
    pub(crate) fn project_configuration(
        &self,
        raw: &RawOptions,
        source: Option<&str>,
    ) -> Result<ProjectConfiguration> {
        let mut files = raw.requirement_files.iter().map(Path::new);
        let is_project = |path: &&Path| {
            path.file_name()
                .is_some_and(|name| name == PROJECT_FILE_NAME)
        };
        let path = match source {
            Some(source) => Path::new(source).join(PROJECT_FILE_NAME),
            None => files
                .find(is_project)
                .map_or_else(|| PROJECT_FILE_NAME.into(), Path::to_owned),
        };
        // Components normalize the path, which is shown to the user.
        let path: PathBuf = self.directory.join(path).components().collect();
        ProjectConfiguration::read(&path, &LocalReader)
    }

    /// Reads pip's configuration as [`pip_configuration`](Self::pip_configuration), and combines it with that of `project`.
    pub(crate) fn configuration(
        &self,
        raw: &RawOptions,
        project: ProjectConfiguration,
    ) -> Result<PipConfiguration> {
        let section = if raw.targets.is_some() {
            "download"
        } else {
            "wheel"
        };
        let python = raw.python.as_deref();
        let python = python.or_else(|| self.environment.get_nonempty("PIP_PYTHON"));
        let prefix = self.locate_python(python).as_deref().and_then(prefix);
        let request = ConfigurationRequest {
            environment: &self.environment,
            working_directory: &self.directory,
            sections: &[section],
            prefix: prefix.as_deref(),
            isolated: false,
            platform: PathConventions::current(),
        };
        PipConfiguration::load_with(&request, project, &LocalReader).context(Kind::Input, || {
            "pip's configuration cannot be read".to_owned()
        })
    }

    /// Returns the settings of a command that has no inputs to read: those of `raw`, the environment and pip's configuration.
    pub(crate) fn settings(&self, raw: &RawOptions) -> Result<Settings> {
        let pip = self.pip_configuration(raw)?;
        resolve_settings(raw, &self.settings_context(&pip, &LocalReader))
    }

    pub(crate) fn settings_context<'a>(
        &'a self,
        pip: &'a PipConfiguration,
        reader: &'a dyn ReadSource,
    ) -> SettingsContext<'a> {
        SettingsContext {
            environment: &self.environment,
            working_directory: &self.directory,
            pip,
            reader,
            processors: self.processors,
            default_cache: self.default_cache.as_deref(),
        }
    }
}

/// Returns the `sys.prefix` of the Python at `executable`, the parent of its `bin` directory. Links are resolved
/// unless the directory is a virtual environment.
fn prefix(executable: &Path) -> Option<PathBuf> {
    let own = executable.parent()?.parent()?;
    if own.join("pyvenv.cfg").is_file() {
        return Some(own.to_owned());
    }
    let real = executable.canonicalize().ok()?;
    Some(real.parent()?.parent()?.to_owned())
}
