//! Checks that the top-level modules of installed distributions can be imported, each in its own process.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use wheelhouse_types::{Result, Target};

use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::sandbox::{ProgramOutput, Sandbox};
use super::install::InstalledEnvironment;

/// The limit for one import.
const LIMIT: Duration = Duration::from_mins(2);

const SCRIPT: &str = "import importlib, sys; importlib.import_module(sys.argv[1])";

/// A module, and the distribution that it belongs to.
struct Module {
    distribution: String,
    name: String,
}

/// Imports every module of `installed`.
pub(crate) async fn check(
    installed: &InstalledEnvironment,
    target: &Target,
    sandbox: &Sandbox,
) -> Check {
    let mut check = CheckBuilder::new(CheckName::Imports).target(&target.label());
    let modules = installed
        .distributions
        .iter()
        .flat_map(|path| modules(path));
    let modules: Vec<Module> = modules.collect();
    check.count(modules.len(), "module");
    let concurrency = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes = futures::stream::iter(&modules)
        .map(|module| async move { (module, import(installed, module, sandbox).await) })
        .buffered(concurrency);
    let outcomes: Vec<(&Module, Result<ProgramOutput>)> = outcomes.collect().await;
    for (module, outcome) in outcomes {
        let about = format!("{} of {}", module.name, module.distribution);
        match outcome {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let tail = output.tail();
                let last = tail.lines().next_back();
                let reason = last.map_or_else(|| output.status.to_string(), str::to_owned);
                let message = format!("cannot be imported: {reason}");
                check.fail(Finding::new(about, message).detail(tail));
            }
            Err(error) => {
                let message = format!("cannot be imported: {}", error.display_chain());
                check.fail(Finding::new(about, message));
            }
        }
    }
    check.finish()
}

async fn import(
    installed: &InstalledEnvironment,
    module: &Module,
    sandbox: &Sandbox,
) -> Result<ProgramOutput> {
    let python = installed.python.clone().into_os_string();
    // `-I` excludes the current directory and the packages of the user.
    let words = ["-I", "-c", SCRIPT, &module.name].map(Into::into);
    let command = [&[python][..], &words].concat();
    sandbox.run(&command, LIMIT).await
}

/// Returns the top-level modules of the distribution with the `dist-info` directory `path`.
fn modules(path: &Path) -> Vec<Module> {
    let read = |name: &str| fs_err::read_to_string(path.join(name)).unwrap_or_default();
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let distribution = stem.unwrap_or_default();
    let names = top_level(&read("RECORD"), &read("top_level.txt"));
    let module = |name| Module {
        distribution: distribution.clone(),
        name,
    };
    names.into_iter().map(module).collect()
}

/// Returns the public top-level modules of the files in `record`, restricted to `top_level` unless that is empty.
///
/// A directory without an `__init__` is a namespace package, which several distributions may share. Names that
/// start with an underscore are private.
fn top_level(record: &str, top_level: &str) -> BTreeSet<String> {
    let listed: BTreeSet<&str> = top_level.split_whitespace().collect();
    let files = record.lines().filter_map(|line| line.split(',').next());
    files
        .filter_map(importable)
        .filter(|name| is_public(name))
        .filter(|name| listed.is_empty() || listed.contains(name))
        .map(str::to_owned)
        .collect()
}

/// Returns the top-level module that `file` is, or whose `__init__` it is.
fn importable(file: &str) -> Option<&str> {
    let (top, rest) = file.split_once('/').unwrap_or((file, ""));
    let (module, ending) = if rest.is_empty() { top } else { rest }.split_once('.')?;
    let is_code = ending == "py" || ending.rsplit('.').next() == Some("so");
    match (rest.is_empty(), module) {
        (true, module) if is_code => Some(module),
        (false, "__init__") if is_code => Some(top),
        _ => None,
    }
}

fn is_public(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(char::is_alphabetic)
        && characters.all(|character| character.is_alphanumeric() || character == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_top_level_modules_in_record() {
        let record = "alpha/__init__.py,sha256=x,1\nalpha/deep/__init__.py,,\nsingle.py,,\n\
                      fast.cpython-311-x86_64-linux-gnu.so,,\nspace/part/__init__.py,,\n\
                      compiled/__init__.abi3.so,,\n_private.py,,\n__pycache__/single.pyc,,\n\
                      ../../bin/tool,,\nalpha-1.0.dist-info/RECORD,,\nnotes.txt,,\n";
        let all = Vec::from_iter(top_level(record, ""));
        assert_eq!(all, ["alpha", "compiled", "fast", "single"]);
        let listed = Vec::from_iter(top_level(record, "alpha\nspace\n_private\n"));
        assert_eq!(listed, ["alpha"]);
    }
}
