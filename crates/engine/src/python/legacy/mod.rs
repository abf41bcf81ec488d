//! Pythons that uv does not support: 2.7, and 3 before 3.6.
//!
//! Such a Python can neither run uv's query script nor create a virtual environment. So a script of ours collects the same
//! information, and builds run in a directory that is the only one on the module path.

use std::ffi::OsString;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use uv_cache::Cache;
use uv_python::{Interpreter, Prefix, PythonEnvironment};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

const DESCRIBE: &str = include_str!("describe.py");
const ISOLATE: &str = include_str!("sitecustomize.py");

/// The first version that uv supports.
const SUPPORTED: (u8, u8) = (3, 6);

/// The description of such a Python.
#[derive(Deserialize)]
struct Description {
    /// The output that uv's own script would have.
    interpreter: serde_json::Value,
    /// Set for a Python with four bytes per character (PEP 261).
    wide_unicode: bool,
}

/// Returns whether uv does not support `interpreter`.
pub(crate) fn is_old(interpreter: &Interpreter) -> bool {
    interpreter.python_tuple() < SUPPORTED
}

/// Queries the Python at `executable`, including whether it has wide Unicode. Returns `None` if it is not a Python, or uv
/// supports it.
///
/// # Errors
/// `Fetch` if the cache cannot be written, or uv rejects the description.
pub(crate) fn query(executable: &Path, cache: &Cache) -> Result<Option<(Interpreter, bool)>> {
    let Some(description) = describe(executable) else {
        return Ok(None);
    };
    let failed = || format!("failed to ask {} about itself", executable.display());
    let directory = tempfile::tempdir_in(cache.root()).context(Kind::Fetch, failed)?;
    let proxy = directory.path().join("python");
    write_proxy(&proxy, &description.interpreter.to_string()).context(Kind::Fetch, failed)?;
    let interpreter = Interpreter::query(&proxy, cache).context(Kind::Fetch, failed)?;
    Ok(Some((interpreter, description.wide_unicode)))
}

fn describe(executable: &Path) -> Option<Description> {
    let output = Command::new(executable)
        .args(["-E", "-B", "-c", DESCRIBE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Writes a program that prints `text` for any arguments.
fn write_proxy(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(path)?;
    // An escaped apostrophe needs no quoting in the shell.
    let quoted = text.replace('\'', "\\u0027");
    write!(file, "#!/bin/sh\nprintf '%s\\n' '{quoted}'\n")
}

/// Creates an empty environment at `root`, and removes an existing one.
pub(crate) fn create_environment(
    interpreter: &Interpreter,
    root: &Path,
) -> std::io::Result<PythonEnvironment> {
    if root.exists() {
        fs_err::remove_dir_all(root)?;
    }
    let environment = PythonEnvironment::from_interpreter(interpreter.clone());
    let environment = environment.with_prefix(Prefix::from(root.to_owned()))?;
    let isolation = isolation(root);
    fs_err::create_dir(&isolation)?;
    fs_err::write(isolation.join("sitecustomize.py"), ISOLATE)?;
    Ok(environment)
}

/// Returns the directory that the Python searches first.
fn isolation(root: &Path) -> PathBuf {
    root.join("isolation")
}

/// Returns the variables with which the Python uses the environment at `root` only.
pub(crate) fn variables(environment: &PythonEnvironment, root: &Path) -> Vec<(OsString, OsString)> {
    let packages = environment.interpreter().layout().scheme.purelib;
    vec![
        ("PYTHONPATH".into(), isolation(root).into()),
        ("WHEELHOUSE_SITE_PACKAGES".into(), packages.into()),
    ]
}
