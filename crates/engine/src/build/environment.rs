//! The environment of a build backend: created for one build, or that of the interpreter if builds are not isolated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uv_distribution_types::CachedDist;
use uv_install_wheel::{InstallState, Layout, LinkMode};
use uv_preview::Preview;
use uv_pypi_types::DirectUrl;
use uv_python::PythonEnvironment;
use wheelhouse_fs::remove::{TemporaryDirectory, remove_all};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::{DEFAULT_EPOCH, SOURCE_DATE_EPOCH};
use wheelhouse_types::{Kind, Result};

use super::sandbox::{BuildSandbox, BuildSandboxRequest};
use super::{BuildState, SessionRequest, path_maps};
use crate::python::install::INSTALLER;
use crate::python::legacy;

/// An environment, and a directory of its own for the files of the build.
pub(crate) struct BuildEnvironment {
    python: PythonEnvironment,
    /// The directory for the files of the build, and for those of the sandbox.
    outer: TemporaryDirectory,
    /// The directory for the files of the build.
    directory: PathBuf,
    sandbox: Option<BuildSandbox>,
    /// The variables of hooks: the scripts of the environment come first on `PATH`.
    variables: Vec<(OsString, OsString)>,
    /// Flags that are added to variables, because they differ between machines.
    path_maps: Vec<(&'static str, String)>,
    /// True if requirements were installed, so that hooks may have run since.
    is_used: bool,
}

impl BuildEnvironment {
    /// Creates an environment for the build of `request`, if builds are isolated.
    pub(crate) fn create(state: &BuildState, request: &SessionRequest) -> Result<Self> {
        let label = &request.label;
        let in_cache = || {
            let cache = state.cache.root().display();
            format!("failed to create an environment for building {label} in {cache}")
        };
        let failed = || format!("failed to build {label}");
        let outer = state.cache.venv_dir().context(Kind::Build, in_cache)?;
        let outer = TemporaryDirectory::from(outer);
        let directory = outer.path().join("build");
        fs_err::create_dir(&directory).context(Kind::Build, in_cache)?;
        let python = match &state.shared_environment {
            Some(python) => python.clone(),
            None => create(state, &directory).context(Kind::Build, in_cache)?,
        };
        let sandbox = state.sandboxes.prepare(&BuildSandboxRequest {
            package: request.builder.as_ref().map(|builder| &builder.name),
            outer: outer.path(),
            scratch: &directory,
            source: match request.checkout {
                // It is copied into the directory.
                Some(_) => &directory,
                None => &request.directory,
            },
            original: request.original.as_deref(),
        });
        let sandbox = sandbox.context(Kind::Build, failed)?;
        let variables = variables(state, &python, &directory);
        Ok(Self {
            variables: variables.context(Kind::Build, failed)?,
            python,
            outer,
            directory,
            path_maps: Vec::new(),
            sandbox,
            is_used: false,
        })
    }

    pub(crate) fn python(&self) -> &Path {
        self.python.python_executable()
    }

    /// Returns whether the environment is that of the interpreter.
    pub(crate) fn is_shared(&self) -> bool {
        !self.python.root().starts_with(&self.directory)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn sandbox(&self) -> Option<&BuildSandbox> {
        self.sandbox.as_ref()
    }

    /// Returns the variables of hooks that do not depend on paths of the source.
    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// Adds variables of hooks.
    pub(crate) fn add_variables(&mut self, variables: Vec<(OsString, OsString)>) {
        self.variables.extend(variables);
    }

    /// Sets a variable of hooks.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
    }

    /// Lets hooks read `paths`.
    pub(crate) fn add_readable(&mut self, paths: Vec<PathBuf>) {
        if let Some(sandbox) = &mut self.sandbox {
            sandbox.add_readable(paths);
        }
    }

    /// Returns where hooks see `path`.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        match &self.sandbox {
            Some(sandbox) => sandbox.inside(path),
            None => path.to_owned(),
        }
    }

    /// Makes compilers replace the paths of the source `tree` and of the environment in what they write.
    pub(crate) fn map_paths(&mut self, tree: &Path) {
        self.path_maps = path_maps::flags(&self.inside(tree), &self.inside(&self.directory));
    }

    /// Returns the variables with the paths that hooks see, and with the flags that depend on these.
    pub(crate) fn hook_variables(&self) -> Vec<(OsString, OsString)> {
        let mut variables = self.variables.clone();
        if let Some(sandbox) = &self.sandbox {
            for (_, value) in &mut variables {
                *value = sandbox.inside_text(value);
            }
        }
        for (name, flags) in &self.path_maps {
            let mut known = self.variables.iter().rev();
            let known = known.find(|(known, _)| known == name);
            let mut value = known.map(|(_, value)| value.clone()).unwrap_or_default();
            if !value.is_empty() {
                value.push(" ");
            }
            value.push(flags);
            variables.push((name.into(), value));
        }
        variables
    }

    /// Replaces the contents of the environment by the files of `unpacked`.
    pub(crate) async fn install(
        &mut self,
        state: &BuildState,
        unpacked: Vec<CachedDist>,
    ) -> Result<()> {
        let cache = state.cache.root().display();
        let failed = || format!("failed to install the build requirements in {cache}");
        if self.is_used {
            // Hooks may have put links there, which an installation would follow.
            remove_all(&environment_root(&self.directory)).context(Kind::Build, failed)?;
            self.python = create(state, &self.directory).context(Kind::Build, failed)?;
            if let Some(sandbox) = &mut self.sandbox {
                sandbox.remove_layers();
            }
        }
        self.is_used = true;
        let mut layout = self.python.interpreter().layout();
        if let Some(sandbox) = &self.sandbox {
            // The first line of scripts names it.
            layout.sys_executable = sandbox.inside(&layout.sys_executable);
        }
        let scratch = self.outer.path().to_owned();
        let wheels = self.find_places(unpacked, &layout);
        let wheels = wheels.context(Kind::Build, failed)?;
        let installing = tokio::task::spawn_blocking(move || {
            let state = InstallState::new(Preview::default());
            let mut wheels = wheels.iter();
            wheels.try_for_each(|wheel| wheel.install(&layout, &scratch, &state))
        });
        let installed = installing.await.context(Kind::Build, failed)?;
        installed.context(Kind::Build, failed)
    }

    /// Finds where each wheel is installed, and makes it a layer of that directory if possible. The files that it has for
    /// other directories would be visible in a layer.
    fn find_places(
        &mut self,
        wheels: Vec<CachedDist>,
        layout: &Layout,
    ) -> Result<Vec<UnpackedWheel>, anyhow::Error> {
        let find_place = |wheel: CachedDist| {
            let metadata = uv_install_wheel::installed_dist_info_path(layout, wheel.path())?;
            let site_packages = metadata.parent().unwrap_or(&metadata).to_owned();
            let mut has_data = false;
            for entry in fs_err::read_dir(wheel.path())? {
                has_data |= is_data(&entry?.path());
            }
            let sandbox = self.sandbox.as_mut().filter(|_| !has_data);
            Ok(UnpackedWheel {
                is_layer: sandbox.is_some_and(|it| it.add_layer(&site_packages, wheel.path())),
                wheel,
                site_packages,
            })
        };
        wheels.into_iter().map(find_place).collect()
    }
}

/// An unpacked wheel to install.
struct UnpackedWheel {
    wheel: CachedDist,
    site_packages: PathBuf,
    /// True if the files of the packages need no copy.
    is_layer: bool,
}

impl UnpackedWheel {
    /// Installs the wheel. Its files are copied unless it is a layer, since a hook that writes to them must not change the
    /// cache, and so other builds.
    ///
    /// uv can copy, too, but with a temporary directory for each file, and without the file times, so that Python would ignore
    /// the bytecode. So uv installs only the parts of the wheel that it may move or rewrite.
    fn install(
        &self,
        layout: &Layout,
        scratch: &Path,
        state: &InstallState,
    ) -> Result<(), anyhow::Error> {
        fs_err::create_dir_all(&self.site_packages)?;
        let rest = tempfile::tempdir_in(scratch)?;
        for entry in fs_err::read_dir(self.wheel.path())? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if is_metadata(&path) || is_data(&path) {
                copy(&path, &rest.path().join(name))?;
            } else if !self.is_layer {
                copy(&path, &self.site_packages.join(name))?;
            }
        }
        uv_install_wheel::install_wheel(
            layout,
            false,
            rest.path(),
            self.wheel.filename(),
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
}

/// Returns whether `path` of an unpacked wheel has its metadata.
fn is_metadata(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "dist-info")
}

/// Returns whether `path` of an unpacked wheel has files for other directories than that of packages.
fn is_data(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "data")
}

/// Copies a file or directory with times and permissions. The filesystem may share the contents until one of both is
/// written.
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

fn create(state: &BuildState, directory: &Path) -> Result<PythonEnvironment, uv_virtualenv::Error> {
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

/// Returns the root of the environment in `directory`.
fn environment_root(directory: &Path) -> PathBuf {
    directory.join("environment")
}

/// Variables of the user's environment that make other packages or other bytecode visible.
const FOREIGN: [&str; 3] = ["PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONSAFEPATH"];

fn variables(
    state: &BuildState,
    environment: &PythonEnvironment,
    directory: &Path,
) -> Result<Vec<(OsString, OsString)>, std::env::JoinPathsError> {
    let scripts = std::iter::once(environment.interpreter().layout().scheme.scripts);
    let path = std::env::join_paths(scripts.chain(std::env::split_paths(&state.path)))?;
    let mut variables = state.hook_environment.clone();
    variables.push(("PATH".into(), path));
    if state.shared_environment.is_some() {
        variables.push(("VIRTUAL_ENV".into(), environment.root().into()));
    } else {
        let root = environment_root(directory);
        // For Python, an empty variable is the same as none.
        variables.extend(FOREIGN.map(|name| (name.into(), OsString::new())));
        if legacy::is_old(&state.interpreter) {
            variables.extend(legacy::variables(environment, &root));
        } else {
            variables.push(("VIRTUAL_ENV".into(), root.into()));
        }
        // Hooks that import the same modules need not compile them again.
        variables.push(("PYTHONDONTWRITEBYTECODE".into(), OsString::new()));
        variables.push(("PYTHONPYCACHEPREFIX".into(), OsString::new()));
    }
    Ok(variables)
}

/// Returns the variables of all hooks: those that make builds reproducible, and those of the request.
pub(super) fn fixed_variables(extra: &BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
    let epoch = DEFAULT_EPOCH.to_string();
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("LANGUAGE", ""),
        ("LC_ALL", "C.UTF-8"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONIOENCODING", "utf-8:backslashreplace"),
        ("PYTHONNOUSERSITE", "1"),
        // Keeps the order of what is written to stdout and stderr.
        ("PYTHONUNBUFFERED", "1"),
        (SOURCE_DATE_EPOCH, &epoch),
        ("TZ", "UTC"),
    ];
    let extra = extra
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    fixed
        .into_iter()
        .chain(extra)
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
