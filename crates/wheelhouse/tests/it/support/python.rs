//! Real parts: the example application, environments of the test Python, and its pip.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example application.
pub(crate) fn blog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blog")
}

/// Runs `command` to an end that must be good.
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

/// A new environment below `directory`, and its Python.
pub(crate) fn environment(python: &Path, directory: &Path, name: &str) -> PathBuf {
    let environment = directory.join(name);
    run(Command::new(python)
        .args(["-m", "virtualenv", "-q", "--no-download"])
        .arg(&environment));
    environment.join("bin/python")
}

/// A command of the newest pip, for the environment of `python`, that may ask no index.
pub(crate) fn pip(test_python: &Path, python: &Path) -> Command {
    let mut command = Command::new(test_python);
    command
        .args(["-m", "pip", "--disable-pip-version-check", "--python"])
        .arg(python);
    without_settings(&mut command);
    command
}

/// Lets `command` see no settings of pip.
pub(crate) fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIP_") {
            command.env_remove(name);
        }
    }
}
