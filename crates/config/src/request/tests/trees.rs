//! Inputs that the source tree of an application provides.

use tempfile::TempDir;

use super::*;

/// Writes a source tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs_err::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Returns the requirements of the tree: texts and origins, the latter without the directory.
fn requirements_of(
    tree: &TempDir,
    variables: &[(&str, &str)],
    raw: RawOptions,
) -> Result<(Vec<String>, usize)> {
    let raw = RawOptions {
        source: Some(tree.path().to_owned()),
        ..raw
    };
    let environment: Environment = variables.iter().copied().collect();
    let context = SettingsContext {
        environment: &environment,
        working_directory: tree.path(),
        pip: &PipConfiguration::default(),
        reader: &crate::LocalReader,
        processors: 1,
        default_cache: None,
    };
    let joined = build_request(&raw, &resolve_settings(&raw, &context)?, &context)?;
    let root = tree.path().display().to_string();
    let lines = joined
        .request
        .requirements
        .iter()
        .map(|it| format!("{} ({})", it.text.replace(&root, "ROOT"), it.origin));
    Ok((lines.collect(), joined.notes.len()))
}

const PROJECT: &str = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['django']\n\
    [project.optional-dependencies]\nfast = ['uvloop']\n[dependency-groups]\ntest = ['pytest']\n";

#[test]
fn reads_requirements_files_or_project() {
    let with = |extras: &[&str], groups: &[&str]| RawOptions {
        extras: extras.iter().map(ToString::to_string).collect(),
        groups: groups.iter().map(ToString::to_string).collect(),
        ..RawOptions::default()
    };
    let both = tree(&[
        ("requirements.txt", "flask\n"),
        ("pyproject.toml", PROJECT),
        ("more.txt", "idna\n"),
    ]);
    let asked_of = |tree, variables: &[_], raw| requirements_of(tree, variables, raw).unwrap();
    let (lines, _) = asked_of(&both, &[], with(&[], &[]));
    assert_eq!(lines, ["flask (requirements.txt:1)"]);
    let (lines, _) = asked_of(
        &both,
        &[("REQUIREMENTS_FILE", "more.txt requirements.txt")],
        with(&[], &["test"]),
    );
    assert_eq!(
        lines,
        [
            "idna (more.txt:1)",
            "flask (requirements.txt:1)",
            "pytest (pyproject.toml)"
        ]
    );
    let project = tree(&[("pyproject.toml", PROJECT)]);
    let (lines, _) = asked_of(&project, &[], with(&["fast"], &["test"]));
    assert_eq!(
        lines,
        [
            "django (pyproject.toml)",
            "uvloop (pyproject.toml)",
            "pytest (pyproject.toml)"
        ]
    );
    let error = requirements_of(&project, &[], with(&["slow"], &[])).unwrap_err();
    assert!(
        error
            .display_chain()
            .contains("has no extra `slow`; it has fast"),
        "{}",
        error.display_chain()
    );
}

#[test]
fn reads_extra_missing_from_lock_from_given_file() {
    let lock = "lock-version = '1.0'\ncreated-by = 'x'\npackages = []\n";
    let both = tree(&[("pylock.toml", lock), ("pyproject.toml", PROJECT)]);
    let raw = RawOptions {
        extras: vec!["fast".into()],
        ..RawOptions::default()
    };
    let error = requirements_of(&both, &[], raw).unwrap_err();
    assert!(error.display_chain().contains("has no extra `fast`"));
    assert!(error.hint().unwrap().contains("-r FILE"));
}

#[test]
fn builds_tree_with_dynamic_dependencies() {
    let legacy = tree(&[("setup.py", "")]);
    let (lines, notes) = requirements_of(&legacy, &[], RawOptions::default()).unwrap();
    assert_eq!((lines, notes), (vec!["ROOT (setup.py)".to_owned()], 1));
    let dynamic = tree(&[(
        "pyproject.toml",
        "[project]\nname = 'a'\ndynamic = ['version', 'dependencies']\n",
    )]);
    let raw = RawOptions {
        extras: vec!["x".into(), "y".into()],
        ..RawOptions::default()
    };
    let (lines, _) = requirements_of(&dynamic, &[], raw).unwrap();
    assert_eq!(lines, ["ROOT[x,y] (pyproject.toml)"]);
    let tool = tree(&[("pyproject.toml", "[tool.black]\n")]);
    let error = requirements_of(&tool, &[], RawOptions::default()).unwrap_err();
    assert!(error.display_chain().contains("does not define a project"));
    let nothing = tree(&[]);
    let error = requirements_of(&nothing, &[], RawOptions::default()).unwrap_err();
    assert!(
        error.display_chain().contains("contains none of"),
        "{}",
        error.display_chain()
    );
}
