//! Locks of Poetry: groups and markers in the lock or in `pyproject.toml`.

use super::super::LockFormat;
use super::super::testing::{error_of, lines_of, read_as};

const PROJECT: &str = r#"
[tool.poetry]
name = "demo"
version = "0.1.0"
description = "é"
authors = []
package-mode = false
[tool.poetry.dependencies]
python = "^3.10"
requests = {version = "^2.31", extras = ["socks"]}
colorama = {version = "*", markers = "sys_platform == 'win32'"}
orjson = {version = ">=3.9", optional = true}
numpy = [{version = "<2.3", python = "<3.11"}, {version = ">=2.3", python = ">=3.11"}]
[tool.poetry.extras]
fast = ["orjson"]
[tool.poetry.group.dev.dependencies]
pytest = "^8.0"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
markdown = "*"
[[tool.poetry.source]]
name = "mirror"
url = "https://pypi.org/simple"
priority = "primary"
"#;

/// The hash that Poetry computed for the project.
const HASH: &str = "62e25df2bd67262ef240d52d6d1f85c9b79abaddc3411741ec26d7b5dcc1af97";

/// Returns a lock with entries of a name, a version and further content.
fn lock(version: &str, packages: &[(&str, &str, &str)]) -> String {
    let package = |(name, version, rest): &(&str, &str, &str)| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\noptional = false\n\
             files = [{{file = \"{name}.whl\", hash = \"sha256:SHA_A\"}}]\n{rest}\n"
        )
    };
    let packages: Vec<_> = packages.iter().map(package).collect();
    format!(
        "{}\n[extras]\nfast = [\"orjson\"]\n[metadata]\nlock-version = \"{version}\"\n\
         content-hash = \"{HASH}\"\n",
        packages.concat()
    )
}

fn new() -> String {
    lock(
        "2.1",
        &[
            (
                "colorama",
                "0.4.6",
                "groups = [\"main\", \"dev\"]\nmarkers = \"sys_platform == 'win32'\"",
            ),
            (
                "numpy",
                "2.2.6",
                "groups = [\"main\"]\nmarkers = \"python_version == '3.10'\"",
            ),
            (
                "numpy",
                "2.4.6",
                "groups = [\"main\"]\nmarkers = \"python_version >= '3.11'\"",
            ),
            (
                "orjson",
                "3.13.0",
                "groups = [\"main\"]\nmarkers = \"extra == 'fast'\"",
            ),
            ("Markdown", "3.11", "groups = [\"docs\"]"),
            ("pytest", "8.4", "groups = [\"dev\"]"),
            (
                "requests",
                "2.34.2",
                "groups = [\"main\", \"dev\"]\nmarkers = {main = \"os_name == 'nt'\"}\n\
                 [package.source]\ntype = \"legacy\"\nurl = \"https://mirror.example/simple\"\nreference = \"m\"",
            ),
        ],
    )
}

fn old() -> String {
    let colorama = "colorama = {version = \"*\", markers = \"sys_platform == 'win32'\"}";
    lock(
        "2.0",
        &[
            ("certifi", "2026.1", ""),
            ("colorama", "0.4.6", ""),
            ("Markdown", "3.11", ""),
            ("numpy", "2.2.6", ""),
            ("numpy", "2.4.6", ""),
            ("orjson", "3.13.0", ""),
            ("pysocks", "1.7.1", ""),
            (
                "pytest",
                "8.4",
                &format!(
                    "[package.dependencies]\n{colorama}\ntomli = {{version = \">=1\", markers = \"python_version < '3.9'\"}}"
                ),
            ),
            (
                "requests",
                "2.34.2",
                "[package.dependencies]\ncertifi = \">=2023\"\nPySocks = {version = \">=1.5.6,<1.5.7 || >1.5.7\", \
                 optional = true, markers = \"extra == 'socks'\"}\nchardet = {version = \"*\", optional = true}\n\
                 [package.extras]\nsocks = [\"PySocks (>=1.5.6,!=1.5.7)\"]\nchars = [\"chardet (>=3)\"]",
            ),
        ],
    )
}

fn lines(lock: &str, extras: &str, groups: &str) -> Vec<String> {
    lines_of(LockFormat::Poetry, lock, Some(PROJECT), extras, groups)
}

#[test]
fn reads_groups_and_markers_of_lock() {
    let base = [
        "colorama==0.4.6 ; sys_platform == 'win32'",
        "numpy==2.2.6 ; python_full_version == '3.10.*'",
        "numpy==2.4.6 ; python_full_version >= '3.11'",
        "requests==2.34.2 ; os_name == 'nt'",
    ];
    assert_eq!(lines(&new(), "", ""), base);
    assert_eq!(lines(&new(), "fast", "")[3], "orjson==3.13.0");
    let with_dev = lines(&new(), "", "dev");
    assert_eq!(with_dev[3..], ["pytest==8.4", "requests==2.34.2"]);
    assert_eq!(lines(&new(), "", "docs")[1], "markdown==3.11");
    let locked = read_as(LockFormat::Poetry, &new(), None, "", "").unwrap();
    assert_eq!(
        locked.indexes,
        ["https://pypi.org/simple", "https://mirror.example/simple"]
    );
}

#[test]
fn traverses_older_lock_from_project() {
    let base = [
        "certifi==2026.1",
        "colorama==0.4.6 ; sys_platform == 'win32'",
        "numpy==2.2.6 ; python_full_version < '3.11'",
        "numpy==2.4.6 ; python_full_version >= '3.11'",
        "pysocks==1.7.1",
        "requests==2.34.2",
    ];
    assert_eq!(lines(&old(), "", ""), base);
    assert_eq!(lines(&old(), "fast", "docs").len(), 8);
    assert!(lines(&old(), "", "dev").contains(&"pytest==8.4".to_owned()));
    let error = error_of(LockFormat::Poetry, &old(), None, "");
    assert!(
        error.ends_with("needs the pyproject.toml beside it, which does not exist"),
        "{error}"
    );
}

#[test]
fn missing_entry_of_dependency_is_an_error() {
    let prefix = "the lock `poetry.lock` cannot be used: ";
    let error = |name: &str| {
        let lock = old().replace(&format!("name = \"{name}\""), "name = \"other\"");
        error_of(LockFormat::Poetry, &lock, Some(PROJECT), "")
    };
    let said = |who: &str, name: &str| {
        format!("{prefix}{who} depends on `{name}`, which has no package entry")
    };
    assert_eq!(error("requests"), said("pyproject.toml", "requests"));
    assert_eq!(error("certifi"), said("package `requests`", "certifi"));
}

#[test]
fn converts_sources_to_references() {
    let source = |text: &str| format!("groups = [\"main\"]\n[package.source]\n{text}");
    let git = source(
        "type = \"git\"\nurl = \"https://git.example/a.git\"\nreference = \"main\"\nresolved_reference = \"abc\"\nsubdirectory = \"lib\"",
    );
    let url = source("type = \"url\"\nurl = \"https://files.example/b.whl\"");
    let file = source("type = \"file\"\nurl = \"wheels/c.whl\"");
    let tree = source("type = \"directory\"\nurl = \"../d\"");
    let lock = lock(
        "2.1",
        &[
            ("a", "1", &git),
            ("b", "1", &url),
            ("c", "1", &file),
            ("d", "1", &tree),
        ],
    );
    let expected = [
        "a @ git+https://git.example/a.git@abc#subdirectory=lib",
        "b @ https://files.example/b.whl",
        "c @ file:///app/wheels/c.whl",
        "d @ file:///d",
    ];
    assert_eq!(lines_of(LockFormat::Poetry, &lock, None, "", ""), expected);
    let locked = read_as(LockFormat::Poetry, &lock, None, "", "").unwrap();
    let hashed: Vec<_> = locked.constraints.iter().map(|it| &it.text[..1]).collect();
    assert_eq!(hashed, ["b", "c"]);
}

#[test]
fn reads_digests_from_end_of_first_lock_versions() {
    let entry =
        "[[package]]\nname = \"a\"\nversion = \"1\"\ncategory = \"main\"\noptional = false\n";
    let project = "[tool.poetry.dependencies]\npython = '*'\na = '*'\n";
    // The result of `hashlib.sha256(json.dumps(..., sort_keys=True))`.
    let hash = "2666cf2d990f3b35e799e4d7c9f99396d168081c3de7397890f8a16669a33de4";
    for files in [
        "hashes]\na = [\"DIGEST\"]",
        "files]\na = [{file = \"a.whl\", hash = \"sha256:DIGEST\"}]",
    ] {
        let files = files.replace("DIGEST", &"a1".repeat(32));
        let lock = format!(
            "{entry}[metadata]\nlock-version = \"1.1\"\ncontent-hash = \"{hash}\"\n[metadata.{files}\n"
        );
        let locked = read_as(LockFormat::Poetry, &lock, Some(project), "", "").unwrap();
        assert_eq!(locked.requirements[0].text, "a==1");
        assert_eq!(
            locked.requirements[0].hashes,
            [format!("sha256:{}", "a1".repeat(32))]
        );
    }
}

#[test]
fn errors_name_file_and_entry() {
    let prefix = "the lock `poetry.lock` cannot be used: ";
    let outdated = error_of(
        LockFormat::Poetry,
        &new(),
        Some(&PROJECT.replace("^2.31", "^2.32")),
        "",
    );
    assert_eq!(
        outdated,
        format!(
            "{prefix}it is outdated: metadata.content-hash is not that of the dependencies in the `pyproject.toml` beside it"
        )
    );
    let error =
        |from: &str, to: &str| error_of(LockFormat::Poetry, &new().replace(from, to), None, "");
    assert_eq!(
        error("\"2.1\"", "\"3.0\""),
        format!("{prefix}metadata.lock-version \"3.0\" is not supported")
    );
    assert_eq!(
        error("\"legacy\"", "\"hg\""),
        format!("{prefix}package[6] \"requests\": source.type \"hg\" is not supported")
    );
    assert_eq!(
        error_of(LockFormat::Poetry, &new(), None, "x"),
        format!("{prefix}it has no extra `x`; it has fast")
    );
}

#[test]
fn package_without_entry_or_file_is_an_error() {
    let whole = new();
    let without_numpy = whole.replace("name = \"numpy\"", "name = \"other\"");
    let error = error_of(LockFormat::Poetry, &without_numpy, Some(PROJECT), "");
    assert!(
        error.contains("pyproject.toml depends on `numpy`"),
        "{error}"
    );
    let with_dependency = |marker: &str| {
        let table = format!(
            "[package.dependencies]\nidna = {{version = \"*\"{marker}}}\n [package.source]"
        );
        whole.replace("[package.source]", &table)
    };
    let error = error_of(LockFormat::Poetry, &with_dependency(""), Some(PROJECT), "");
    assert!(
        error.contains("package `requests` depends on `idna`"),
        "{error}"
    );
    // No supported Python of the project requires it.
    let old = with_dependency(", markers = \"python_version < '3.5'\"");
    assert_eq!(lines(&old, "", ""), lines(&whole, "", ""));
    let file = "files = [{file = \"requests.whl\", hash = \"sha256:SHA_A\"}]";
    let error = error_of(
        LockFormat::Poetry,
        &whole.replace(file, "files = []"),
        Some(PROJECT),
        "",
    );
    assert!(error.contains("\"requests\": files has no file"), "{error}");
}

#[test]
fn reads_short_forms_of_poetry_1_0() {
    let project = "[tool.poetry]\nname = \"app\"\n[tool.poetry.dependencies]\npython = \"^3.6\"\n\
                   foo = \"*\"\nbar = { version = \"*\", platform = \"win32\" }\n";
    let package = |name: &str, rest: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\ncategory = \"main\"\noptional = false\n{rest}"
        )
    };
    let git = "[package.source]\ntype = \"git\"\nurl = \"https://host/foo\"\nreference = \"abc\"\n";
    let metadata = "[metadata]\ncontent-hash = \"cfc134437dae00addc355eeab8afeacbf6fab7e3732856b034b1313db6a0cd01\"\n[metadata.files]\n\
                    bar = [{file = \"bar.whl\", hash = \"sha256:SHA_A\"}]\nfoo = []\n";
    let lock = [package("bar", ""), package("foo", git), metadata.to_owned()].concat();
    let lines = lines_of(LockFormat::Poetry, &lock, Some(project), "", "");
    let expected = [
        "bar==1.0 ; sys_platform == 'win32'",
        "foo @ git+https://host/foo@abc",
    ];
    let plain: Vec<_> = lines
        .iter()
        .map(|line| line.replace("python_full_version >= '3.6' and ", ""))
        .collect();
    assert_eq!(plain, expected);
}
