//! Finding the Python of a request, without starting one if possible.

pub(crate) mod host;
pub(crate) mod install;
pub(crate) mod legacy;

use std::error::Error as StdError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uv_cache::Cache;
use uv_python::{
    EnvironmentPreference, Interpreter, PythonInstallation, PythonPreference, PythonRequest,
};
use wheelhouse_types::{Error, Kind, Result, Target};

use crate::error::hints::is_storage_full;
use crate::target::minor_version;

/// The parts of the user's environment that determine which Python is used.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryEnvironment {
    /// `PATH`.
    pub path: OsString,
    /// `VIRTUAL_ENV`, or else `CONDA_PREFIX`.
    pub virtual_environment: Option<PathBuf>,
    /// `PYENV_ROOT`, or else `~/.pyenv`.
    pub pyenv_root: Option<PathBuf>,
    /// `PYENV_VERSION`.
    pub pyenv_version: Option<String>,
    /// The current directory, for `.python-version` files.
    pub directory: PathBuf,
}

/// Finds the executable for `request`: a path, a version or a name; by default the Python of the active environment, else
/// the first `python3`, `python` or `python2`.
///
/// The shims of pyenv are resolved, since running one takes some 100 ms. On `None`, uv searches in more locations.
#[must_use]
pub fn locate(request: Option<&str>, environment: &DiscoveryEnvironment) -> Option<PathBuf> {
    let Some(request) = request else {
        if let Some(environment) = &environment.virtual_environment {
            return Some(environment.join("bin").join("python")).filter(|path| path.is_file());
        }
        return ["python3", "python", "python2"]
            .iter()
            .find_map(|name| on_path(name, environment));
    };
    if request.contains('/') || Path::new(request).is_dir() {
        let path = environment.directory.join(request);
        return Some(if path.is_dir() {
            path.join("bin").join("python")
        } else {
            path
        });
    }
    let is_version = request
        .chars()
        .all(|character| character.is_ascii_digit() || character == '.');
    if is_version {
        let name = format!("python{}", minor_version(request));
        if request.matches('.').count() < 2
            && let Some(path) = on_path(&name, environment)
        {
            return Some(path);
        }
        return pyenv_installation(request, environment);
    }
    on_path(request, environment)
}

/// Returns the first executable `name` on `PATH`. A shim of pyenv is replaced by its target.
fn on_path(name: &str, environment: &DiscoveryEnvironment) -> Option<PathBuf> {
    std::env::split_paths(&environment.path).find_map(|directory| {
        let candidate = directory.join(name);
        if !candidate.is_file() {
            return None;
        }
        let shims = environment
            .pyenv_root
            .as_ref()
            .map(|root| root.join("shims"));
        if shims.as_deref() == Some(&*directory) {
            return shim_target(name, environment);
        }
        Some(candidate)
    })
}

/// Returns the target of pyenv's shim `name`, by the rules of pyenv.
fn shim_target(name: &str, environment: &DiscoveryEnvironment) -> Option<PathBuf> {
    let root = environment.pyenv_root.as_deref()?;
    let chosen = environment
        .pyenv_version
        .clone()
        .or_else(|| {
            environment.directory.ancestors().find_map(|directory| {
                std::fs::read_to_string(directory.join(".python-version")).ok()
            })
        })
        .or_else(|| std::fs::read_to_string(root.join("version")).ok())?;
    chosen
        .split([':', '\n', ' '])
        .map(str::trim)
        .filter(|version| !version.is_empty())
        .map(|version| root.join("versions").join(version).join("bin").join(name))
        .find(|path| path.is_file())
}

/// Returns the newest Python of pyenv whose version is `version` or begins with it.
fn pyenv_installation(version: &str, environment: &DiscoveryEnvironment) -> Option<PathBuf> {
    let versions = environment.pyenv_root.as_ref()?.join("versions");
    let prefix = format!("{version}.");
    let mut matching: Vec<(Vec<u64>, PathBuf)> = std::fs::read_dir(versions)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (name == version || name.starts_with(&prefix)).then(|| {
                let order = name
                    .split('.')
                    .filter_map(|part| part.parse().ok())
                    .collect();
                (order, entry.path().join("bin").join("python"))
            })
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    matching.sort();
    matching.pop().map(|(_, path)| path)
}

/// Queries the interpreter at `located`, or the one that uv finds for `request`. uv caches the result in `cache`.
pub(crate) fn query(
    request: Option<&str>,
    located: Option<&Path>,
    cache: &Cache,
) -> Result<(Interpreter, Target)> {
    let wanted = request.unwrap_or("python3");
    let not_found = |error: Box<dyn StdError + Send + Sync>| {
        if is_storage_full(&*error) {
            let message = format!("failed to ask the Python `{wanted}` about itself");
            return Error::new(Kind::Fetch, message).caused_by(error);
        }
        Error::new(Kind::Input, format!("no usable Python for `{wanted}`"))
            .with_hint("Name one with --python PATH or --python VERSION.")
            .caused_by(error)
    };
    let known = |interpreter: Interpreter, wide_unicode: bool| {
        let target = target(&interpreter, wide_unicode);
        (interpreter, target)
    };
    if let Some(path) = located {
        return match Interpreter::query(path, cache) {
            Ok(interpreter) => Ok(known(interpreter, false)),
            Err(error) => match legacy::query(path, cache)? {
                Some((interpreter, wide_unicode)) => Ok(known(interpreter, wide_unicode)),
                None => Err(not_found(Box::new(error))),
            },
        };
    }
    let request = request.map(PythonRequest::parse).unwrap_or_default();
    PythonInstallation::find_existing(
        &request,
        EnvironmentPreference::OnlySystem,
        PythonPreference::OnlySystem,
        cache,
    )
    .map(|installation| known(installation.into_interpreter(), false))
    .map_err(|error| not_found(Box::new(error)))
}

/// Returns the target of `interpreter`. uv does not know whether it has wide Unicode.
fn target(interpreter: &Interpreter, wide_unicode: bool) -> Target {
    let markers = interpreter.markers();
    let values = serde_json::to_value(markers).unwrap_or_default();
    let values = values.as_object().into_iter().flatten();
    let platform = interpreter
        .tags()
        .ok()
        .and_then(|tags| tags.platform_tag().map(ToString::to_string));
    Target {
        implementation: interpreter.implementation_name().to_owned(),
        python_version: interpreter.python_full_version().to_string(),
        platform: platform.unwrap_or_else(|| markers.sys_platform().to_owned()),
        free_threaded: interpreter.gil_disabled(),
        wide_unicode,
        markers: values
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        interpreter: Some(interpreter.sys_executable().to_owned()),
    }
}

/// Returns the paths that programs need to run `interpreter`: its prefixes and the directories of its modules.
pub(crate) fn interpreter_paths(interpreter: &Interpreter) -> Vec<PathBuf> {
    let scheme = interpreter.layout().scheme;
    let real = fs_err::canonicalize(interpreter.sys_executable()).ok();
    let prefix_of = |executable: &Path| Some(executable.parent()?.parent()?.to_owned());
    let prefixes = [
        Some(interpreter.sys_prefix().to_owned()),
        Some(interpreter.sys_base_prefix().to_owned()),
        prefix_of(interpreter.real_executable()),
        real.as_deref().and_then(prefix_of),
    ];
    let prefixes = prefixes.into_iter().flatten();
    // A prefix that cannot be shown as a whole, such as the home directory, is shown in parts.
    let parts = |prefix: PathBuf| {
        let parts = ["bin", "include", "lib", "lib64"].map(|name| prefix.join(name));
        std::iter::once(prefix).chain(parts)
    };
    let paths = [
        interpreter.stdlib().to_owned(),
        scheme.purelib,
        scheme.platlib,
        scheme.include,
        scheme.scripts,
    ];
    let paths = paths.into_iter().chain(prefixes.flat_map(parts));
    paths.filter(|path| path.parent().is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn resolves_shim() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("pyenv");
        executable(&root.join("shims/python3"));
        executable(&root.join("versions/3.11.7/bin/python3"));
        executable(&root.join("versions/3.9.1/bin/python3"));
        std::fs::write(root.join("version"), "3.11.7\n").unwrap();
        let mut environment = DiscoveryEnvironment {
            path: root.join("shims").into_os_string(),
            pyenv_root: Some(root.clone()),
            directory: directory.path().to_owned(),
            ..DiscoveryEnvironment::default()
        };
        let found = locate(None, &environment).unwrap();
        assert_eq!(found, root.join("versions/3.11.7/bin/python3"));
        environment.pyenv_version = Some("3.9.1".to_owned());
        let found = locate(None, &environment).unwrap();
        assert_eq!(found, root.join("versions/3.9.1/bin/python3"));
    }

    #[test]
    fn finds_newest_installation_of_version() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("pyenv");
        for version in ["3.9.2", "3.9.18", "3.10.1"] {
            executable(&root.join(format!("versions/{version}/bin/python")));
        }
        let environment = DiscoveryEnvironment {
            pyenv_root: Some(root.clone()),
            ..DiscoveryEnvironment::default()
        };
        let found = locate(Some("3.9"), &environment).unwrap();
        assert_eq!(found, root.join("versions/3.9.18/bin/python"));
        assert_eq!(locate(Some("3.8"), &environment), None);
    }
}
