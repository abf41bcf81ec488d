//! Finds the files that define the requirements of an application.
//!
//! In order of precedence: the files named by `REQUIREMENTS_FILE`, which must all exist; `pylock.toml`, which is
//! created from the others; `requirements.txt`; a lock of another tool; the project itself. Existence is checked by
//! the caller.

use std::path::{Path, PathBuf};

use crate::lockfile::LOCK_NAMES;

/// The default requirements file of an application.
pub(super) const DEFAULT_REQUIREMENTS: &str = "requirements.txt";

/// The files of a project that declares its own requirements.
const PROJECT_FILES: [&str; 2] = ["pyproject.toml", "setup.py"];

/// The location of an application's requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationSource {
    /// Requirements files, all of which exist.
    RequirementsFiles(Vec<PathBuf>),
    /// A lock that was found, not named.
    Lock(PathBuf),
    /// The `pyproject.toml` or `setup.py` of a project.
    Project(PathBuf),
}

/// An error of finding an application's requirements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFilesError {
    /// Named files are missing.
    #[error("`{}` does not contain {}, named by REQUIREMENTS_FILE", .root.display(), quoted(.missing))]
    Missing {
        /// The directory of the application.
        root: PathBuf,
        /// The missing files, as named.
        missing: Vec<String>,
    },
    /// No file is named, and none was found.
    #[error("`{}` contains none of {}", .root.display(), quoted(.looked_for))]
    Nothing {
        /// The directory of the application.
        root: PathBuf,
        /// The files that were looked for.
        looked_for: Vec<String>,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Finds the requirements of the application in `root`.
///
/// `requirements_file` is the value of `REQUIREMENTS_FILE`: paths relative to `root`, separated by white space, possibly
/// none.
///
/// # Errors
/// Fails if a named file is missing, or if no file is named and none is found.
pub fn find_application_source(
    root: &Path,
    requirements_file: Option<&str>,
    is_file: impl Fn(&Path) -> bool,
) -> Result<ApplicationSource, SourceFilesError> {
    let names: Vec<&str> = requirements_file
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    if names.is_empty() {
        return find_unnamed(root, is_file);
    }
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !is_file(&root.join(name)))
        .map(|name| (*name).to_owned())
        .collect();
    if missing.is_empty() {
        let files = names.iter().map(|name| root.join(name)).collect();
        Ok(ApplicationSource::RequirementsFiles(files))
    } else {
        let root = root.to_owned();
        Err(SourceFilesError::Missing { root, missing })
    }
}

fn find_unnamed(
    root: &Path,
    is_file: impl Fn(&Path) -> bool,
) -> Result<ApplicationSource, SourceFilesError> {
    let [standard, others @ ..] = LOCK_NAMES;
    let lock = root.join(standard);
    if is_file(&lock) {
        return Ok(ApplicationSource::Lock(lock));
    }
    let requirements = root.join(DEFAULT_REQUIREMENTS);
    if is_file(&requirements) {
        return Ok(ApplicationSource::RequirementsFiles(vec![requirements]));
    }
    let mut locks = others.iter().map(|name| root.join(name));
    if let Some(lock) = locks.find(|path| is_file(path)) {
        return Ok(ApplicationSource::Lock(lock));
    }
    let mut projects = PROJECT_FILES.iter().map(|name| root.join(name));
    let project = projects.find(|path| is_file(path));
    project.map(ApplicationSource::Project).ok_or_else(|| {
        let names = [standard, DEFAULT_REQUIREMENTS]
            .into_iter()
            .chain(others)
            .chain(PROJECT_FILES);
        SourceFilesError::Nothing {
            root: root.to_owned(),
            looked_for: names.map(str::to_owned).collect(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(named: Option<&str>, files: &[&str]) -> Result<ApplicationSource, String> {
        let is_file = |path: &Path| {
            files
                .iter()
                .any(|file| Path::new("/app").join(file) == path)
        };
        find_application_source(Path::new("/app"), named, is_file).map_err(|it| it.to_string())
    }

    fn requirements(files: &[&str]) -> ApplicationSource {
        let files = files.iter().map(PathBuf::from).collect();
        ApplicationSource::RequirementsFiles(files)
    }

    #[test]
    fn reads_all_given_files() {
        let files = ["a.txt", "b/c.txt", "requirements.txt"];
        let expected = Ok(requirements(&["/app/a.txt", "/app/b/c.txt"]));
        assert_eq!(find(Some(" a.txt\tb/c.txt "), &files), expected);
        let message = "`/app` does not contain `x.txt`, `y.txt`, named by REQUIREMENTS_FILE";
        assert_eq!(
            find(Some("x.txt a.txt y.txt"), &files),
            Err(message.to_owned())
        );
    }

    #[test]
    fn sources_have_precedence() {
        let all = ["requirements.txt", "pyproject.toml", "setup.py"];
        assert_eq!(
            find(None, &all),
            Ok(requirements(&["/app/requirements.txt"]))
        );
        assert_eq!(
            find(Some(" "), &all),
            Ok(requirements(&["/app/requirements.txt"]))
        );
        let project = |file: &str| Ok(ApplicationSource::Project(PathBuf::from(file)));
        assert_eq!(find(None, &all[1..]), project("/app/pyproject.toml"));
        assert_eq!(find(None, &all[2..]), project("/app/setup.py"));
        let standard = Ok(ApplicationSource::Lock("/app/pylock.toml".into()));
        assert_eq!(find(None, &[&["pylock.toml"], &all[..]].concat()), standard);
        let locks = ["Pipfile.lock", "poetry.lock", "uv.lock", "pylock.toml"];
        for (count, lock) in locks.iter().enumerate() {
            let files = [&locks[..=count], &all[1..]].concat();
            let path = Path::new("/app").join(lock);
            assert_eq!(find(None, &files), Ok(ApplicationSource::Lock(path)));
        }
        let message = "`/app` contains none of `pylock.toml`, `requirements.txt`, `uv.lock`, `poetry.lock`, `Pipfile.lock`, `pyproject.toml`, `setup.py`";
        assert_eq!(find(None, &[]), Err(message.to_owned()));
    }
}
