//! What installing the application takes beside its requirements, as the `assemble` of sclorg's Python
//! images does it.
//!
//! Responsible for their rules: `pip install .` where the source is a project, and the tools that
//! variables ask for. Never reads the process environment and never resolves.

use std::path::Path;

use wheelhouse_types::PackageName;

use wheelhouse_config::{Dependencies, PyProject};
use wheelhouse_fs::input;

/// Lists the tools that builds of the application fetch, PEP 508 requirements separated by spaces.
pub const TOOLS: &str = "WHEELHOUSE_TOOLS";

/// What pip installs in the build of an application that has a `pyproject.toml`.
const PROJECT: &str = "pyproject.toml";

/// What makes the source a project of setuptools.
const SETUP_FILES: [&str; 2] = ["setup.py", "setup.cfg"];

/// Returns whether the build of the application in `root` runs `pip install .`; `variable` gives the
/// values of variables that are set and not empty.
pub fn is_installed(root: &Path, variable: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str| root.join(name).is_file();
    let is_enabled = |disabled: &str| variable(disabled).is_none();
    SETUP_FILES.iter().any(|name| has(name)) && is_enabled("DISABLE_SETUP_PY_PROCESSING")
        || has(PROJECT) && is_enabled("DISABLE_PYPROJECT_TOML_PROCESSING")
}

/// Says what the project in a source tree is, as far as its files state it.
#[derive(Debug, PartialEq, Eq)]
pub struct ProjectMetadata {
    pub name: PackageName,
    pub dependencies: Dependencies,
}

/// Reads what the project in `root` states of itself. One without a name is called `application`.
pub fn stated(root: &Path) -> ProjectMetadata {
    let path = root.join(PROJECT);
    let text = input::read_to_string(&path).ok();
    // A file that is not valid ends the build of the application, and not that of its wheelhouse.
    let project = text.and_then(|text| PyProject::parse(&path, &text).ok());
    let name = project.as_ref().and_then(|project| project.name().ok()?);
    let dependencies = project.as_ref().map(PyProject::dependencies);
    let has_setup = SETUP_FILES.iter().any(|name| root.join(name).is_file());
    ProjectMetadata {
        name: name
            .and_then(|name| name.parse().ok())
            .unwrap_or_else(application),
        dependencies: match dependencies {
            Some(Ok(Dependencies::Absent)) | None if has_setup => Dependencies::Dynamic,
            Some(Ok(dependencies)) => dependencies,
            Some(Err(_)) | None => Dependencies::Absent,
        },
    }
}

fn application() -> PackageName {
    "application".parse().expect("it is a valid name")
}

/// Holds the tools that the build of an application fetches, as PEP 508 requirements.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Those that [`TOOLS`] names.
    pub named: Vec<String>,
    /// Those that other variables turn on.
    pub implied: Vec<String>,
}

impl Tools {
    /// Finds the tools; `variable` gives the values of variables that are set and not empty.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Self {
        let named = variable(TOOLS).unwrap_or_default();
        let mut implied = Vec::new();
        if variable("UPGRADE_PIP_TO_LATEST").is_some() {
            implied.extend(["pip", "setuptools", "wheel"].map(str::to_owned));
        }
        if variable("ENABLE_PIPENV").is_some() {
            let version = variable("PIN_PIPENV_VERSION");
            let version = version.map_or_else(String::new, |version| format!("=={version}"));
            implied.push(format!("pipenv{version}"));
        }
        if variable("ENABLE_MICROPIPENV").is_some() {
            implied.push("micropipenv[toml]".to_owned());
        }
        Self {
            named: named.split_whitespace().map(str::to_owned).collect(),
            implied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn projects_are_installed_unless_a_variable_says_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert!(!is_installed(root, among(&[])));
        std::fs::write(root.join("setup.cfg"), "").unwrap();
        assert!(is_installed(root, among(&[])));
        let without_setup = [("DISABLE_SETUP_PY_PROCESSING", "true")];
        assert!(!is_installed(root, among(&without_setup)));
        std::fs::write(root.join("pyproject.toml"), "").unwrap();
        assert!(is_installed(root, among(&without_setup)));
        let without = [without_setup[0], ("DISABLE_PYPROJECT_TOML_PROCESSING", "1")];
        assert!(!is_installed(root, among(&without)));
    }

    #[test]
    fn a_project_states_what_it_depends_on_or_its_backend_knows() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let dependencies = || stated(root).dependencies;
        assert_eq!(dependencies(), Dependencies::Absent);
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        write("pyproject.toml", "[tool.black]\n");
        assert_eq!(dependencies(), Dependencies::Absent);
        assert_eq!(stated(root).name.as_ref(), "application");
        write("setup.py", "");
        assert_eq!(dependencies(), Dependencies::Dynamic);
        write(
            "pyproject.toml",
            "[project]\nname = 'Blog'\ndependencies = ['six']\n",
        );
        let six = Dependencies::Static(vec!["six".to_owned()]);
        assert_eq!(dependencies(), six);
        assert_eq!(stated(root).name.as_ref(), "blog");
        write("pyproject.toml", "not TOML");
        assert_eq!(dependencies(), Dependencies::Dynamic);
    }

    #[test]
    fn tools_are_named_or_implied() {
        assert_eq!(Tools::find(among(&[])), Tools::default());
        let found = Tools::find(among(&[
            ("WHEELHOUSE_TOOLS", "pip poetry-core>=1"),
            ("UPGRADE_PIP_TO_LATEST", "1"),
            ("ENABLE_PIPENV", "true"),
            ("PIN_PIPENV_VERSION", "2026.0.3"),
        ]));
        assert_eq!(found.named, ["pip", "poetry-core>=1"]);
        let implied = ["pip", "setuptools", "wheel", "pipenv==2026.0.3"];
        assert_eq!(found.implied, implied);
        let found = Tools::find(among(&[("ENABLE_MICROPIPENV", "1")]));
        assert_eq!(found.implied, ["micropipenv[toml]"]);
    }
}
