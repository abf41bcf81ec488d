//! Selects the requirements files of a source.
//!
//! Files in `REQUIREMENTS_FILE` that do not exist are not an error: one image builds many applications with the same
//! variables.

use std::path::Path;

use wheelhouse_types::{Error, Kind, Result};

use wheelhouse_config::{ApplicationSource, find_application_source};

/// The source of the application's requirements.
#[derive(Debug, PartialEq, Eq)]
pub enum RequirementsSource {
    /// The files that exist, and those that are missing.
    Named {
        /// The files.
        files: Vec<String>,
        /// The files that do not exist.
        missing: Vec<String>,
    },
    /// The `requirements.txt` of the source, or its lock.
    Source,
    /// The project in the source tree.
    Project,
}

/// Finds the requirements of the application in `root`; `named` is the value of `REQUIREMENTS_FILE`.
///
/// # Errors
/// `Input` if there are no requirements.
pub fn find(root: &Path, named: Option<&str>) -> Result<RequirementsSource> {
    let is_file = |path: &Path| path.is_file();
    let names = named.unwrap_or_default().split_whitespace();
    let (files, missing): (Vec<_>, Vec<_>) = names
        .map(str::to_owned)
        .partition(|name| is_file(&root.join(name)));
    if !files.is_empty() {
        return Ok(RequirementsSource::Named { files, missing });
    }
    // If no named file exists, the error lists them.
    let found = find_application_source(root, named, is_file);
    match found {
        Ok(ApplicationSource::Project(_)) => Ok(RequirementsSource::Project),
        Ok(_) => Ok(RequirementsSource::Source),
        Err(error) => {
            let message = format!("no requirements found: {error}");
            Err(Error::new(Kind::Input, message).with_hint(
                "Add a requirements.txt to the source, or name its files in REQUIREMENTS_FILE.",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_named_and_others_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::write(root.join("a.txt"), "").unwrap();
        let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let expected = RequirementsSource::Named {
            files: strings(&["a.txt"]),
            missing: strings(&["b.txt", "c.txt"]),
        };
        assert_eq!(find(root, Some("b.txt a.txt\tc.txt")).unwrap(), expected);
        let error = find(root, Some("b.txt c.txt")).unwrap_err().display_chain();
        assert!(error.contains("`b.txt`, `c.txt`"), "{error}");
        assert!(
            find(root, None)
                .unwrap_err()
                .display_chain()
                .contains("requirements.txt")
        );
        assert!(find(root, Some(" ")).is_err());
        std::fs::write(root.join("setup.py"), "").unwrap();
        assert_eq!(find(root, Some("")).unwrap(), RequirementsSource::Project);
        std::fs::write(root.join("uv.lock"), "").unwrap();
        assert_eq!(find(root, Some("")).unwrap(), RequirementsSource::Source);
    }
}
