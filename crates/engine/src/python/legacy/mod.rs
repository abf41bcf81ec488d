//! Pythons that uv cannot drive: 2.7, and 3 before 3.6.
//!
//! uv asks a Python about itself with a script that such a Python does not run, and builds in virtual environments that
//! it does not know. Responsible for telling uv the same in another way, and for environments that need no
//! support from the Python. Everything else is as for any other Python. Never decides which Python is meant.

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

/// The first version that uv drives.
const DRIVEN: (u8, u8) = (3, 6);

/// What such a Python says of itself.
#[derive(Deserialize)]
struct Description {
    /// What uv's own script would print.
    interpreter: serde_json::Value,
    /// Whether it has four bytes for each character (PEP 261).
    wide_unicode: bool,
}

/// Whether uv cannot drive `interpreter`.
pub(crate) fn is_old(interpreter: &Interpreter) -> bool {
    interpreter.python_tuple() < DRIVEN
}

/// Asks the Python at `executable` about itself, and whether it has wide Unicode; `None` if it is no Python or uv
/// can drive it.
///
/// # Errors
/// When the cache cannot be written, or uv does not understand what the Python says.
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
    let told = Command::new(executable)
        .args(["-E", "-B", "-c", DESCRIBE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    serde_json::from_slice(&told.stdout).ok()
}

/// Writes a program that prints `text` whatever it is asked.
fn write_proxy(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(path)?;
    // In JSON an apostrophe may be written so, and needs no care in the shell then.
    let quoted = text.replace('\'', "\\u0027");
    write!(file, "#!/bin/sh\nprintf '%s\\n' '{quoted}'\n")
}

/// Makes an empty environment at `root`, in the place of one that is there.
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

/// The directory that the Python looks into before its own.
fn isolation(root: &Path) -> PathBuf {
    root.join("isolation")
}

/// What lets the Python use the environment at `root`, and nothing else that is installed.
pub(crate) fn variables(environment: &PythonEnvironment, root: &Path) -> Vec<(OsString, OsString)> {
    let packages = environment.interpreter().layout().scheme.purelib;
    vec![
        ("PYTHONPATH".into(), isolation(root).into()),
        ("WHEELHOUSE_SITE_PACKAGES".into(), packages.into()),
    ]
}
