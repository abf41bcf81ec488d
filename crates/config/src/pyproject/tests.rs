//! Parsing of `pyproject.toml`.

use proptest::prelude::*;

use super::*;

fn project(text: &str) -> PyProject {
    PyProject::parse(Path::new("pyproject.toml"), text).unwrap()
}

fn fixed(dependencies: Dependencies) -> Vec<String> {
    match dependencies {
        Dependencies::Static(texts) => texts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dependencies_are_static_dynamic_or_absent() {
    for (text, expected) in [
        (
            "[project]\nname='a'\ndependencies=['b>=1', 'c']",
            Dependencies::Static(vec!["b>=1".to_owned(), "c".to_owned()]),
        ),
        ("[project]\nname='a'", Dependencies::Static(Vec::new())),
        (
            "[project]\nname='a'\ndynamic=['version','dependencies']",
            Dependencies::Dynamic,
        ),
        ("[tool.poetry.dependencies]\nb='^1'", Dependencies::Dynamic),
        ("[build-system]\nrequires=[]", Dependencies::Dynamic),
        ("[tool.black]\nline-length=100", Dependencies::Absent),
    ] {
        assert_eq!(project(text).dependencies().unwrap(), expected, "{text}");
    }
}

#[test]
fn reads_name_and_requires_python() {
    let found = project("[project]\nname='My.App'\nrequires-python='>=3.9'");
    assert_eq!(found.requires_python().unwrap(), Some(">=3.9"));
    assert_eq!(found.name().unwrap(), Some("My.App"));
    assert_eq!(project("").requires_python().unwrap(), None);
}

#[test]
fn extras_may_include_other_extras_of_project() {
    let found = project(
        "[project]\nname='My.App'\n[project.optional-dependencies]\n\
         One_A=['b', 'my_app[two] ; os_name == \"posix\"']\n\
         two=['c ; a or b', 'd @ https://h/x;y', 'other[two]']\n\
         three=['my-app[one.a, two]']",
    );
    let two = [
        "c ; (a or b) and (os_name == \"posix\")",
        "d @ https://h/x;y ; os_name == \"posix\"",
        "other[two] ; os_name == \"posix\"",
    ];
    assert_eq!(
        fixed(found.extra("one-a").unwrap()),
        [&["b"], &two[..]].concat()
    );
    assert_eq!(fixed(found.extra("three").unwrap()).len(), 7);
}

#[test]
fn extras_can_be_dynamic() {
    let found = project("[project]\nname='a'\ndynamic=['optional-dependencies']");
    assert_eq!(found.extra("b").unwrap(), Dependencies::Dynamic);
    assert_eq!(
        project("[tool.poetry]").extra("b").unwrap(),
        Dependencies::Dynamic
    );
}

#[test]
fn groups_may_include_groups() {
    let found = project(
        "[dependency-groups]\nDev_Tools=['a', {include-group='TEST'}, 'b']\ntest=['c>1', 'd']\n\
         faulty=[1]",
    );
    assert_eq!(found.group("dev-tools").unwrap(), ["a", "c>1", "d", "b"]);
    assert_eq!(
        found.group_names().unwrap(),
        ["dev-tools", "faulty", "test"]
    );
}

#[test]
fn errors_name_file_and_key() {
    for (text, message) in [
        (
            "project=1",
            "`pyproject.toml` has a `project` that is not a table",
        ),
        (
            "[project]\ndependencies='a'",
            "`pyproject.toml` has a `project.dependencies` that is not a list",
        ),
        (
            "[project]\ndependencies=['a',2]",
            "`pyproject.toml` has a `project.dependencies[1]` that is not a text",
        ),
        (
            "[project]\ndependencies=[]\ndynamic=['dependencies']",
            "`pyproject.toml` has `project.dependencies` and also declares it dynamic",
        ),
    ] {
        let error = project(text).dependencies().unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
    let error = PyProject::parse(Path::new("a/pyproject.toml"), "[").unwrap_err();
    assert_eq!(error.to_string(), "`a/pyproject.toml` is not valid TOML");
}

#[test]
fn unknown_name_is_an_error_with_known_names() {
    let found = project("[project]\nname='a'\n[project.optional-dependencies]\nC_D=[]\nb=[]");
    let message = "`pyproject.toml` has no extra `x`; it has b, c-d";
    assert_eq!(found.extra("x").unwrap_err().to_string(), message);
    let message = "`pyproject.toml` has no dependency group `x`; it has none";
    assert_eq!(found.group("x").unwrap_err().to_string(), message);
}

#[test]
fn invalid_groups_are_errors() {
    let found = project(
        "[dependency-groups]\na=[{include-group='b'}]\nb=[{include-group='C'}]\n\
         c=[{include-group='b'}]\nd=[]\nD=[]\ne=[{include-group='a', x=1}]\nf='g'",
    );
    for (group, message) in [
        (
            "a",
            "`pyproject.toml` has dependency groups that include each other: b -> c -> b",
        ),
        (
            "d",
            "`pyproject.toml` has the dependency group `d` more than once",
        ),
        (
            "e",
            "`pyproject.toml` has a `dependency-groups.e[0]` that is not a text or \
             `{include-group = \"name\"}`",
        ),
        (
            "f",
            "`pyproject.toml` has a `dependency-groups.f` that is not a list",
        ),
    ] {
        assert_eq!(found.group(group).unwrap_err().to_string(), message);
    }
    let circular = "[project]\nname='a'\n[project.optional-dependencies]\nb=['a[b]']";
    let message = "`pyproject.toml` has extras that include each other: b -> b";
    assert_eq!(
        project(circular).extra("b").unwrap_err().to_string(),
        message
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(
        text in "(\\PC|\n|\\[project\\]\n|\\[dependency-groups\\]\n|a=|dependencies=|name=|\\['a\\[b\\]'\\]|'a'){0,12}"
    ) {
        if let Ok(project) = PyProject::parse(Path::new("p"), &text) {
            let _ = (project.dependencies(), project.extra("a"), project.group("a"));
        }
    }
}
