//! The build backend that a source tree declares (PEP 517 and PEP 518).

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use uv_distribution_types::{Requirement, UnresolvedRequirement};
use uv_pep508::Requirement as Pep508Requirement;
use uv_pypi_types::VerbatimParsedUrl;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use crate::requirements::archives;
use crate::requirements::legacy_sdists::accept_legacy_sdist;

/// The contents of `[build-system]`, or the default of PEP 517.
#[derive(Clone, Debug)]
pub(crate) struct BuildSystem {
    /// `module` or `module:object`.
    pub(crate) name: String,
    /// Directories of the tree from which the backend is imported.
    pub(crate) path: Vec<String>,
    /// The static build requirements.
    pub(crate) requires: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pyproject {
    build_system: Option<BuildSystemTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildSystemTable {
    requires: Option<Vec<String>>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: BackendPath,
}

/// A list; flit 2.3 and older wrote a string.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum BackendPath {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

/// The default backend of PEP 517.
const LEGACY_BACKEND: &str = "setuptools.build_meta:__legacy__";
const LEGACY_REQUIREMENT: &str = "setuptools >= 40.8.0";

impl BuildSystem {
    /// Reads the build system of the tree at `root`.
    ///
    /// # Errors
    /// `Build` if the tree has neither `pyproject.toml` nor `setup.py`, or the former is not valid.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join("pyproject.toml");
        let text = match project_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !root.join("setup.py").is_file() {
                    return Err(Error::new(
                        Kind::Build,
                        format!("{} is not a Python project", root.display()),
                    )
                    .with_hint("It has neither `pyproject.toml` nor `setup.py`."));
                }
                return Self::new(
                    LEGACY_BACKEND.to_owned(),
                    Vec::new(),
                    &[LEGACY_REQUIREMENT.to_owned()],
                );
            }
            Err(error) => {
                return Err(Error::new(Kind::Build, "failed to read the source").caused_by(error));
            }
        };
        let invalid = || format!("{} is not valid", path.display());
        limits::pyproject(&text).context(Kind::Build, invalid)?;
        let pyproject: Pyproject = toml::from_str(&text).context(Kind::Build, invalid)?;
        let Some(system) = pyproject.build_system else {
            return Self::new(
                LEGACY_BACKEND.to_owned(),
                Vec::new(),
                &[LEGACY_REQUIREMENT.to_owned()],
            );
        };
        let directories = match system.backend_path {
            BackendPath::None => Vec::new(),
            BackendPath::One(directory) => vec![directory],
            BackendPath::Many(directories) => directories,
        };
        check_backend_path(root, &directories)?;
        let requires = system.requires.ok_or_else(|| {
            Error::new(Kind::Build, invalid()).with_hint("`build-system.requires` is missing.")
        })?;
        let name = system
            .build_backend
            .unwrap_or_else(|| LEGACY_BACKEND.to_owned());
        Self::new(name, directories, &requires)
    }

    fn new(name: String, path: Vec<String>, requires: &[String]) -> Result<Self> {
        Ok(Self {
            name,
            path,
            requires: build_requirements(requires)?,
        })
    }
}

/// Reads the `pyproject.toml` at `path`.
pub(crate) fn project_text(path: &Path) -> std::io::Result<String> {
    let file = fs_err::File::open(path)?;
    let bytes = limits::read(file, limits::PYPROJECT)?;
    String::from_utf8(bytes).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// Parses build requirements as a backend reports them.
pub(crate) fn build_requirements(texts: &[String]) -> Result<Vec<Requirement>> {
    if texts.len() > limits::BUILD_REQUIREMENTS {
        let message = format!("{} build requirements are too many", texts.len());
        return Err(Error::new(Kind::Build, message).with_hint(format!(
            "A build may require up to {} packages.",
            limits::BUILD_REQUIREMENTS
        )));
    }
    texts
        .iter()
        .map(|text| {
            let invalid = || {
                let text = limits::excerpt(text);
                format!("the build requirement `{text}` is not valid")
            };
            limits::requirement(text).context(Kind::Build, invalid)?;
            let suffixed = archives::with_suffix(text);
            let readable = suffixed.as_deref().unwrap_or(text);
            let parsed = readable.parse::<Pep508Requirement<VerbatimParsedUrl>>();
            let named = Requirement::from(parsed.context(Kind::Build, invalid)?);
            let mut requirement = UnresolvedRequirement::Named(named);
            if suffixed.is_some() {
                archives::without_suffix(&mut requirement);
            }
            accept_legacy_sdist(&mut requirement);
            match requirement {
                UnresolvedRequirement::Named(named) => Ok(named),
                UnresolvedRequirement::Unnamed(_) => {
                    unreachable!("a PEP 508 requirement has a name")
                }
            }
        })
        .collect()
}

fn check_backend_path(root: &Path, directories: &[String]) -> Result<()> {
    for directory in directories {
        let inside = fs_err::canonicalize(root.join(directory))
            .and_then(|path| Ok(path.starts_with(fs_err::canonicalize(root)?)))
            .unwrap_or(false);
        if !inside {
            return Err(Error::new(
                Kind::Build,
                format!(
                    "the `backend-path` entry `{directory}` is not a directory of the source tree"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pyproject: &str) -> Result<BuildSystem> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("pyproject.toml"), pyproject).unwrap();
        BuildSystem::read(directory.path())
    }

    #[test]
    fn missing_table_means_setuptools() {
        let backend = read("[project]\nname = 'x'").unwrap();
        assert_eq!(backend.name, LEGACY_BACKEND);
        assert_eq!(backend.requires.len(), 1);
    }

    #[test]
    fn rejects_backend_outside_tree() {
        let error = read("[build-system]\nrequires=[]\nbuild-backend='b'\nbackend-path=['..']");
        assert!(error.unwrap_err().display_chain().contains("`..`"));
    }

    #[test]
    fn rejects_empty_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert!(BuildSystem::read(directory.path()).is_err());
    }
}
