//! Detects arguments that are not requirements: files without `-r`, and paths that `pip freeze` writes in a conda environment.

use std::path::Path;

use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Error, Kind, Result};

use crate::settings::SettingsContext;

/// The extensions of requirements files, locks and projects.
const FILES: [&str; 4] = [".txt", ".in", ".toml", ".lock"];

/// Rejects files among the requirements of the command line.
pub(super) fn refuse_files(requirements: &[String], context: &SettingsContext<'_>) -> Result<()> {
    let is_file = |text: &&String| {
        let is_named_so = FILES.iter().any(|ending| text.ends_with(ending));
        let exists = || context.reader.exists(&context.working_directory.join(text));
        // Such a name is not a package.
        let is_plain =
            (text.strip_suffix(".txt")).is_some_and(|name| !name.contains([' ', ':', '@', '=']));
        is_named_so && (is_plain || exists())
    };
    let Some(file) = requirements.iter().find(is_file) else {
        return Ok(());
    };
    let message = format!("`{}` is a file, not a requirement", redacted(file));
    Err(Error::new(Kind::Input, message).with_hint(format!("Pass it with `-r {file}`.")))
}

/// Rejects requirements that refer to a directory in which conda built a package on another machine.
pub(super) fn refuse_builds_of_conda(
    requirements: &[Requirement],
    context: &SettingsContext<'_>,
) -> Result<()> {
    let built = |requirement: &&Requirement| {
        let path = conda_path(&requirement.text);
        path.is_some_and(|path| !context.reader.exists(Path::new(path)))
    };
    let built: Vec<_> = requirements.iter().filter(built).collect();
    let Some(first) = built.first() else {
        return Ok(());
    };
    let name = first.text.split('@').next().unwrap_or_default().trim();
    let lines: Vec<_> = (built.iter())
        .map(|line| format!("`{}` in {}", redacted(&line.text), line.origin))
        .collect();
    let message = "the requirements name build directories of conda packages, which do not exist";
    let hint = format!(
        "Write `{name}==VERSION` instead; `pip list --format=freeze` prints all requirements in this form."
    );
    Err(Error::new(Kind::Input, message)
        .with_detail(lines.join("\n"))
        .with_hint(hint))
}

/// Returns the path in `NAME @ file:///...` if it looks like a build directory of conda.
fn conda_path(text: &str) -> Option<&str> {
    let (_, url) = text.split_once('@')?;
    let path = url.trim().strip_prefix("file://")?;
    let path = path.split([' ', ';', '#']).next()?;
    let signs = [
        "/croot/",
        "/feedstock_root/",
        "/conda-bld/",
        "/ci/",
        "/tmp/build/",
        "/tmp/abs_",
    ];
    let is_build = path.trim_end_matches('/').ends_with("/work")
        || signs.iter().any(|sign| path.contains(sign));
    is_build.then_some(path)
}
