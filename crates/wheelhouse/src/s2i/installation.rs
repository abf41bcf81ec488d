//! The packages that installing an application takes besides its requirements, by the rules of the `assemble` script of
//! sclorg's Python images: `pip install .` if the source is a project, and the tools that variables enable.

use std::path::Path;

use wheelhouse_types::PackageName;

use wheelhouse_config::{Dependencies, PyProject};
use wheelhouse_fs::input;

/// The tools that builds of the application fetch: PEP 508 requirements separated by spaces.
pub const TOOLS: &str = "WHEELHOUSE_TOOLS";

/// The file of a project that pip installs in the build of an application.
const PROJECT: &str = "pyproject.toml";

/// The files of a setuptools project.
const SETUP_FILES: [&str; 2] = ["setup.py", "setup.cfg"];

/// Returns whether the build of the application in `root` runs `pip install .`; `variable` returns the
/// values of variables that are set and not empty.
pub fn is_installed(root: &Path, variable: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str| root.join(name).is_file();
    let is_enabled = |disabled: &str| variable(disabled).is_none();
    SETUP_FILES.iter().any(|name| has(name)) && is_enabled("DISABLE_SETUP_PY_PROCESSING")
        || has(PROJECT) && is_enabled("DISABLE_PYPROJECT_TOML_PROCESSING")
}

/// The project in a source tree, as declared by its files.
#[derive(Debug, PartialEq, Eq)]
pub struct ProjectMetadata {
    /// The name.
    pub name: PackageName,
    /// The dependencies that the project declares.
    pub dependencies: Dependencies,
}

/// Reads the metadata of the project in `root`. A project without a name is called `application`.
pub fn project_metadata(root: &Path) -> ProjectMetadata {
    let path = root.join(PROJECT);
    let text = input::read_to_string(&path).ok();
    // An invalid file is an error of the application's build, not of the wheelhouse.
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
    "application".parse().expect("a valid name")
}

/// The tools that the build of an application fetches, as PEP 508 requirements.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// The tools in [`TOOLS`].
    pub named: Vec<String>,
    /// The tools that other variables enable.
    pub implied: Vec<String>,
}

impl Tools {
    /// Finds the tools; `variable` returns the values of variables that are set and not empty.
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
        let dependencies = || project_metadata(root).dependencies;
        assert_eq!(dependencies(), Dependencies::Absent);
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        write("pyproject.toml", "[tool.black]\n");
        assert_eq!(dependencies(), Dependencies::Absent);
        assert_eq!(project_metadata(root).name.as_ref(), "application");
        write("setup.py", "");
        assert_eq!(dependencies(), Dependencies::Dynamic);
        write(
            "pyproject.toml",
            "[project]\nname = 'Blog'\ndependencies = ['six']\n",
        );
        let six = Dependencies::Static(vec!["six".to_owned()]);
        assert_eq!(dependencies(), six);
        assert_eq!(project_metadata(root).name.as_ref(), "blog");
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
