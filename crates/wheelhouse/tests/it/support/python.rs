//! The example application, virtual environments, installed Pythons and pip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns the directory of the example application.
pub(crate) fn blog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blog")
}

/// Returns the installed Pythons from 2.7 on by version (`3.11`), from `PATH` and pyenv.
///
/// Tests that call it are ignored without the feature `test-python2`.
pub(crate) fn pythons() -> BTreeMap<String, PathBuf> {
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let installed = pyenv.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let installed = installed.into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = installed
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&path).filter(|place| !place.ends_with("shims")))
        .collect();
    let minors = (6..=14).map(|minor| format!("3.{minor}"));
    let versions = std::iter::once("2.7".to_owned()).chain(minors);
    let found: BTreeMap<_, _> = versions
        .filter_map(|version| {
            let paths = places
                .iter()
                .map(|place| place.join(format!("python{version}")));
            let path = paths.into_iter().find(|path| path.is_file())?;
            Some((version, path))
        })
        .collect();
    assert!(
        found.contains_key("2.7") && found.len() > 1,
        "Python 2.7 or another Python is missing: run ./test"
    );
    found
}

/// Runs `command` successfully.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    output
}

/// Creates a virtual environment below `directory` and returns its Python.
pub(crate) fn environment(python: &Path, directory: &Path, name: &str) -> PathBuf {
    let environment = directory.join(name);
    run(Command::new(python)
        .args(["-m", "virtualenv", "-q", "--no-download"])
        .arg(&environment));
    environment.join("bin/python")
}

/// Returns a command of the test Python's pip for the environment of `python`, without an index.
pub(crate) fn pip(test_python: &Path, python: &Path) -> Command {
    let mut command = Command::new(test_python);
    command
        .args(["-m", "pip", "--disable-pip-version-check", "--python"])
        .arg(python);
    remove_pip_settings(&mut command);
    command
}

/// Removes the settings of pip from the environment of `command`.
pub(crate) fn remove_pip_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIP_") {
            command.env_remove(name);
        }
    }
}
