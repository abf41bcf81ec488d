//! Locks of uv: graphs, forks, extras, groups, sources and outdated locks.

use super::super::LockFormat;
use super::super::testing::{error_of, lines_of, read_as};

const LOCK: &str = r#"
version = 1
revision = 2
requires-python = ">=3.9"
resolution-markers = ["python_full_version >= '3.11'", "python_full_version < '3.11'"]

[[package]]
name = "app"
version = "0.1.0"
source = { editable = "." }
dependencies = [
    { name = "number", version = "1.0", source = { registry = "https://pypi.org/simple" }, marker = "python_full_version < '3.11'" },
    { name = "number", version = "2.0", source = { registry = "https://pypi.org/simple" }, marker = "python_full_version >= '3.11'" },
    { name = "web", extra = ["fast"], marker = "sys_platform != 'win32'" },
]

[package.optional-dependencies]
tool = [{ name = "color" }]

[package.dev-dependencies]
dev = [{ name = "check" }]

[package.metadata]
requires-dist = [
    { name = "color", marker = "extra == 'tool'", specifier = ">=1" },
    { name = "number", specifier = ">=1" },
    { name = "web", extras = ["fast"], marker = "sys_platform != 'win32'" },
]
provides-extras = ["tool", "empty"]

[package.metadata.requires-dev]
dev = [{ name = "check" }]

[[package]]
name = "check"
version = "3.0"
source = { git = "https://git.example/check?rev=main&subdirectory=lib#0123456789012345678901234567890123456789" }
dependencies = [{ name = "color", marker = "os_name == 'nt'" }]

[[package]]
name = "color"
version = "1.5"
source = { registry = "https://index.example/simple/" }
wheels = [{ url = "https://index.example/color.whl", hash = "sha256:SHA_C" }]

[[package]]
name = "number"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version < '3.11'"]
sdist = { url = "https://files.example/number-1.0.tar.gz", hash = "sha256:SHA_A", size = 1 }

[[package]]
name = "number"
version = "2.0"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version >= '3.11'"]
wheels = [{ url = "https://files.example/number.whl", hash = "sha256:SHA_B" }]

[[package]]
name = "speed"
version = "4.0"
source = { url = "https://files.example/speed-4.0.tar.gz" }
sdist = { hash = "sha256:SHA_A" }

[[package]]
name = "web"
version = "5.0"
source = { directory = "../web" }
dependencies = [{ name = "color", marker = "python_full_version < '3.10'" }]

[package.optional-dependencies]
fast = [{ name = "speed", marker = "platform_machine == 'x86_64'" }]
"#;

const PROJECT: &str = r#"
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.9"
dependencies = ["number>=1", "Web[fast] ; sys_platform != 'win32'"]
[project.optional-dependencies]
tool = ["color >= 1"]
empty = []
[dependency-groups]
dev = ["check"]
[tool.uv.sources]
check = { git = "https://git.example/check" }
web = { path = "../web" }
"#;

fn lines(extras: &str, groups: &str) -> Vec<String> {
    lines_of(LockFormat::Uv, LOCK, Some(PROJECT), extras, groups)
}

#[test]
fn combines_markers_of_all_paths() {
    let expected = [
        "app @ file:///app",
        "color==1.5 ; python_full_version < '3.10' and sys_platform != 'win32'",
        "number==1.0 ; python_full_version < '3.11'",
        "number==2.0 ; python_full_version >= '3.11'",
        "speed @ https://files.example/speed-4.0.tar.gz ; platform_machine == 'x86_64' and sys_platform != 'win32'",
        "web @ file:///web ; sys_platform != 'win32'",
    ];
    assert_eq!(lines("", ""), expected);
}

#[test]
fn extras_and_groups_add_packages() {
    assert!(lines("tool", "").contains(&"color==1.5".to_owned()));
    assert_eq!(lines("empty", ""), lines("", ""));
    let check = "check @ git+https://git.example/check@0123456789012345678901234567890123456789#subdirectory=lib";
    let lines = lines("", "dev");
    assert_eq!(lines[1], check);
    assert_eq!(lines[2].matches(" or ").count(), 1, "{}", lines[2]);
}

#[test]
fn excludes_virtual_project() {
    let lock = LOCK.replace("editable = \".\"", "virtual = \".\"");
    let lines = lines_of(LockFormat::Uv, &lock, None, "", "");
    assert!(
        lines.iter().all(|line| !line.starts_with("app")),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn reads_indexes_and_digests() {
    let locked = read_as(LockFormat::Uv, LOCK, None, "", "").unwrap();
    assert_eq!(
        locked.indexes,
        ["https://index.example/simple/", "https://pypi.org/simple"]
    );
    let hashed: Vec<_> = locked
        .constraints
        .iter()
        .map(|it| it.hashes.len())
        .collect();
    assert_eq!(hashed, [1, 1, 1, 1]);
}

#[test]
fn evaluates_conflicting_extras() {
    let lock = r#"
version = 1
conflicts = [[{ package = "app", extra = "cpu" }, { package = "app", extra = "gpu" }]]
[[package]]
name = "app"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "base", marker = "extra == 'extra-3-app-cpu' or extra != 'extra-3-app-gpu'" }]
[package.optional-dependencies]
cpu = [{ name = "torch", version = "1.0" }]
gpu = [{ name = "torch", version = "2.0", marker = "sys_platform == 'linux' or extra == 'extra-3-app-cpu'" }]
[[package]]
name = "base"
version = "1.0"
source = { registry = "links" }
wheels = [{ path = "base-1.0-py3-none-any.whl" }]
[[package]]
name = "torch"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/torch-1.0-py3-none-any.whl" }]
[[package]]
name = "torch"
version = "2.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/torch-2.0-py3-none-any.whl" }]
"#;
    let lines = |extras| lines_of(LockFormat::Uv, lock, None, extras, "");
    assert_eq!(lines(""), ["base==1.0"]);
    assert_eq!(lines("cpu"), ["base==1.0", "torch==1.0"]);
    assert_eq!(lines("gpu"), ["torch==2.0 ; sys_platform == 'linux'"]);
    let error = error_of(LockFormat::Uv, lock, None, "cpu gpu");
    assert!(
        error.ends_with("conflicts says that extra `cpu` and extra `gpu` cannot be combined"),
        "{error}"
    );
    let locked = read_as(LockFormat::Uv, lock, None, "", "").unwrap();
    assert_eq!(locked.find_links, ["/app/links"]);
}

#[test]
fn reads_roots_of_script_and_virtual_workspace() {
    let script = r#"
version = 1
[manifest]
requirements = [{ name = "a", marker = "os_name == 'nt'" }]
[manifest.dependency-groups]
dev = [{ name = "b" }]
[[package]]
name = "a"
version = "1"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version < '3.11'"]
wheels = [{ url = "https://files.example/a-1-py3-none-any.whl" }]
[[package]]
name = "b"
version = "1"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.example/b-1-py3-none-any.whl" }]
"#;
    let without = script.replace("wheels = ", "unknown = ");
    let error = error_of(LockFormat::Uv, &without, None, "");
    assert!(error.contains("\"a\": wheels is missing"), "{error}");
    let lines = |groups| lines_of(LockFormat::Uv, script, None, "", groups);
    assert_eq!(
        lines(""),
        ["a==1 ; python_full_version < '3.11' and os_name == 'nt'"]
    );
    assert_eq!(lines("dev").len(), 2);
    let workspace = r#"
version = 1
[manifest]
members = ["one", "two"]
[[package]]
name = "one"
version = "1"
source = { editable = "libs/one" }
[[package]]
name = "two"
version = "1"
source = { virtual = "libs/two" }
dependencies = [{ name = "one" }]
"#;
    assert_eq!(
        lines_of(LockFormat::Uv, workspace, None, "", ""),
        ["one @ file:///app/libs/one"]
    );
}

#[test]
fn outdated_lock_is_an_error_with_entry() {
    let error =
        |from: &str, to: &str| error_of(LockFormat::Uv, LOCK, Some(&PROJECT.replace(from, to)), "");
    let prefix = "the lock `uv.lock` cannot be used: it is outdated: ";
    let place = "package \"app\": metadata.requires-dist";
    assert_eq!(
        error("number>=1", "number>=1.5"),
        format!("{prefix}{place} lacks `number>=1.5`, which pyproject.toml has")
    );
    assert_eq!(
        error("\"number>=1\", ", ""),
        format!("{prefix}{place} has `number>=1`, which pyproject.toml has not")
    );
    assert_eq!(
        error("color >= 1", "color >= 1\", \"other"),
        format!("{prefix}{place} lacks `other ; extra == 'tool'`, which pyproject.toml has")
    );
    assert_eq!(
        error("[\"check\"]", "[\"check\", \"type\"]"),
        format!(
            "{prefix}package \"app\": metadata.requires-dev.dev lacks `type`, which pyproject.toml has"
        )
    );
    assert_eq!(
        error(
            "requires-python = \">=3.9\"",
            "requires-python = \">=3.10\""
        ),
        format!("{prefix}requires-python is `>=3.9`, and `>=3.10` in pyproject.toml")
    );
}

#[test]
fn accepts_expanded_extras_of_project_itself() {
    let own = "{ name = \"app\", extras = [\"tool\"], marker = \"extra == 'all'\" },";
    let expanded = "{ name = \"color\", marker = \"extra == 'all'\", specifier = \">=1\" },";
    let with = |line: &str| LOCK.replace("requires-dist = [", &format!("requires-dist = [{line}"));
    let all = "empty = []\nall = [\"app[tool]\"]";
    let project = PROJECT.replace("empty = []", all);
    for lock in [with(own), with(expanded)] {
        assert_eq!(
            lines_of(LockFormat::Uv, &lock, Some(&project), "", "").len(),
            6
        );
        let changed = PROJECT.replace("empty = []", &format!("{all}\nnew = [\"number\"]"));
        let error = error_of(LockFormat::Uv, &lock, Some(&changed), "");
        assert!(error.contains("it is outdated"), "{error}");
    }
}

#[test]
fn errors_name_file_and_entry() {
    let error = |from: &str, to: &str| error_of(LockFormat::Uv, &LOCK.replace(from, to), None, "");
    let prefix = "the lock `uv.lock` cannot be used: ";
    assert_eq!(
        error("version = 1\n", "version = 2\n"),
        format!("{prefix}version 2 is not supported")
    );
    assert_eq!(
        error("name = \"speed\"\n", "name = \"slow\"\n"),
        format!(
            "{prefix}package[6] \"web\": optional-dependencies.fast[0].name is `speed`, which has no package entry"
        )
    );
    assert_eq!(
        error("source = { directory = \"../web\" }", ""),
        format!("{prefix}package[6] \"web\": source is missing")
    );
    assert_eq!(
        error("sha256:SHA_C", "sha256:short"),
        format!("{prefix}package `color` has a hash of unknown form, `sha256:short`")
    );
    assert_eq!(
        error_of(LockFormat::Uv, LOCK, None, "none"),
        format!("{prefix}it has no extra `none`; it has empty, tool")
    );
}
