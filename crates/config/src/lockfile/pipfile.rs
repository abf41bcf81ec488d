//! Reads `Pipfile.lock`: categories of pinned packages, each with its own marker.
//!
//! The category `default` is always included, others by `--group`: `dev` stands for `develop`. Pipenv has no extras of a
//! project.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::toml_reader::{self, TomlReader};
use wheelhouse_types::{Error, Kind, MarkerTree, PackageName, Result, marker};

use super::pin::{PinKind, PinnedPackage};
use super::python_json::{self, COMPACT, PythonJson};
use super::requirements::{LockRequirements, add};
use super::{LockFile, Selection, outdated, unknown};
use crate::names::normalize_name;

/// Variables of markers that an entry may have as keys: `sys_platform = "== 'win32'"`.
const VARIABLES: [&str; 11] = [
    "implementation_name",
    "implementation_version",
    "os_name",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_full_version",
    "python_version",
    "sys_platform",
];

/// Tables of a `Pipfile` that are not categories.
const OTHER_TABLES: [&str; 7] = [
    "source",
    "packages",
    "dev-packages",
    "requires",
    "scripts",
    "pipfile",
    "pipenv",
];

pub(super) fn read(file: &LockFile<'_>, selection: &Selection) -> Result<LockRequirements> {
    let table = parse(file.text)?;
    let root = TomlReader::root(&table);
    let meta = root.required("_meta", root.entry("_meta")?)?;
    check_version(&meta)?;
    let pipfile = file.project.map(toml_reader::parse).transpose();
    let pipfile = pipfile.context(Kind::Input, || {
        "the `Pipfile` beside it cannot be read".to_owned()
    })?;
    let pipfile = pipfile.unwrap_or_default();
    if file.project.is_some() {
        check_hash(&meta, &pipfile)?;
    }
    if let Some(extra) = selection.extras.first() {
        return Err(unknown("extra", extra.as_ref(), Vec::<String>::new()));
    }
    let mut contents = LockRequirements::default();
    let mut sources = Vec::new();
    for source in meta.entries("sources")? {
        let url = source.required_string("url")?;
        add(&mut contents.indexes, url);
        sources.extend(source.string("name")?.into_iter().chain([url]));
    }
    let mut pins: Vec<(&str, PinnedPackage)> = Vec::new();
    for category in categories(&root, selection)? {
        let packages = root.required(category, root.entry(category)?)?;
        for name in packages.keys() {
            let package = packages.required(name, packages.entry(name)?)?;
            check_index(&package, &sources)?;
            let written = written(&pipfile, category, name);
            let pin = read_pin(&packages, name, written, file)?;
            check_agreement(&pins, category, &pin)?;
            pins.push((category, pin));
        }
    }
    contents.pins = pins.into_iter().map(|(_, pin)| pin).collect();
    Ok(contents)
}

fn check_index(package: &TomlReader<'_>, sources: &[&str]) -> Result<()> {
    match package.string("index")? {
        Some(index) if !sources.contains(&index) => {
            Err(package.error("index", &format!("`{index}` is not among _meta.sources")))
        }
        _ => Ok(()),
    }
}

/// Checks that the categories, which are resolved independently, pin the same versions.
fn check_agreement(
    pins: &[(&str, PinnedPackage)],
    category: &str,
    pin: &PinnedPackage,
) -> Result<()> {
    let differs = |(_, other): &&(&str, PinnedPackage)| {
        other.name == pin.name && other.what != pin.what && !other.marker.is_disjoint(pin.marker)
    };
    let Some((other_category, other)) = pins.iter().find(differs) else {
        return Ok(());
    };
    let (one, two) = (other.text()?, pin.text()?);
    let message = format!(
        "{other_category} has `{one}` and {category} has `{two}`, and only one can be installed"
    );
    Err(Error::new(Kind::Input, message)
        .with_hint("Make both sections of the `Pipfile` agree, or build them separately."))
}

fn parse(text: &str) -> Result<Table> {
    let json = serde_json::from_str(text).context(Kind::Input, || "it is not JSON".to_owned())?;
    match without_nulls(json) {
        Some(Value::Table(table)) => Ok(table),
        _ => Err(Error::new(Kind::Input, "it is not a JSON object")),
    }
}

/// Removes nulls, which have no meaning and do not exist in TOML.
fn without_nulls(json: serde_json::Value) -> Option<Value> {
    use serde_json::Value as PythonJson;
    Some(match json {
        PythonJson::Null => return None,
        PythonJson::Bool(boolean) => Value::Boolean(boolean),
        PythonJson::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64()?),
        },
        PythonJson::String(string) => Value::String(string),
        PythonJson::Array(items) => items
            .into_iter()
            .filter_map(without_nulls)
            .collect::<Vec<_>>()
            .into(),
        PythonJson::Object(object) => {
            let entries = object.into_iter();
            Value::Table(
                entries
                    .filter_map(|(key, item)| Some((key, without_nulls(item)?)))
                    .collect(),
            )
        }
    })
}

fn check_version(meta: &TomlReader<'_>) -> Result<()> {
    let version = meta.required("pipfile-spec", meta.integer("pipfile-spec")?)?;
    if version == 6 {
        return Ok(());
    }
    let error = meta.error("pipfile-spec", &format!("{version} is not supported"));
    Err(error.with_hint("Only version 6 of Pipfile.lock is supported."))
}

/// Compares the digest of the `Pipfile` with the one in the lock. Recent versions of Pipenv normalize names
/// first.
fn check_hash(meta: &TomlReader<'_>, pipfile: &Table) -> Result<()> {
    let hash = meta.required("hash", meta.entry("hash")?)?;
    let locked = hash.required_string("sha256")?;
    if [true, false]
        .iter()
        .any(|normalized| digest(pipfile, *normalized) == locked)
    {
        return Ok(());
    }
    Err(outdated(
        "_meta.hash.sha256 is not that of the `Pipfile` beside it",
        "pipenv lock",
    ))
}

fn digest(pipfile: &Table, normalized: bool) -> String {
    let no_source: Table =
        "source = [{name = 'pypi', url = 'https://pypi.org/simple', verify_ssl = true}]"
            .parse()
            .unwrap_or_default();
    let none = Value::Table(Table::new());
    let get = |key: &str| pipfile.get(key).unwrap_or(&none);
    let section = |key: &str| match get(key) {
        Value::Table(table) if normalized => {
            let entries = table
                .iter()
                .map(|(name, value)| (normalize_name(name), PythonJson::Value(value)));
            PythonJson::Object(entries.collect())
        }
        value => PythonJson::Value(value),
    };
    let sources = pipfile.get("source").unwrap_or(&no_source["source"]);
    let meta = [("sources", sources), ("requires", get("requires"))]
        .map(|(key, value)| (key.to_owned(), PythonJson::Value(value)));
    let mut object = BTreeMap::from([
        ("_meta".to_owned(), PythonJson::Object(meta.into())),
        ("default".to_owned(), section("packages")),
        ("develop".to_owned(), section("dev-packages")),
    ]);
    for key in pipfile.keys() {
        if !OTHER_TABLES.contains(&key.as_str()) && key != "default" && key != "develop" {
            object.insert(key.clone(), section(key));
        }
    }
    let json = python_json::write(&PythonJson::Object(object), &COMPACT);
    hex::encode(Sha256::digest(json))
}

/// Returns the selected categories, as spelled in the lock.
fn categories<'a>(root: &TomlReader<'a>, selection: &Selection) -> Result<Vec<&'a str>> {
    let known: Vec<&str> = root
        .keys()
        .into_iter()
        .filter(|key| *key != "_meta")
        .collect();
    let mut wanted = vec!["default"];
    for group in &selection.groups {
        let name = match group.as_ref() {
            "dev" | "dev-packages" => "develop",
            "packages" => "default",
            name => name,
        };
        match known.iter().find(|key| normalize_name(key) == name) {
            Some(key) => wanted.push(key),
            None => return Err(unknown("group", name, known)),
        }
    }
    wanted.dedup();
    Ok(wanted)
}

/// Returns the entry of the `Pipfile` for a package. The lock lacks its marker if that does not hold on
/// the machine that created the lock.
fn written<'a>(pipfile: &'a Table, category: &str, name: &str) -> Option<&'a Table> {
    let section = match category {
        "default" => "packages",
        "develop" => "dev-packages",
        other => other,
    };
    let section = pipfile.get(section)?.as_table()?;
    let same = |key: &str| normalize_name(key) == normalize_name(name);
    section.iter().find(|(key, _)| same(key))?.1.as_table()
}

fn read_pin(
    packages: &TomlReader<'_>,
    name: &str,
    written: Option<&Table>,
    file: &LockFile<'_>,
) -> Result<PinnedPackage> {
    let package = packages.required(name, packages.entry(name)?)?;
    let parsed: Result<PackageName, _> = name.parse();
    let parsed = parsed.map_err(|error| {
        packages
            .error(name, "is not a valid package name")
            .caused_by(error)
    })?;
    let what = read_what(&package, file)?;
    let mut marker = read_marker(&package)?;
    if let (PinKind::Any, Some(written)) = (&what, written) {
        marker = marker.and(read_marker(&TomlReader::root(written))?);
    }
    let hashes = package.strings("hashes")?.into_iter().map(str::to_owned);
    Ok(PinnedPackage {
        name: parsed,
        what,
        marker,
        hashes: hashes.collect(),
    })
}

fn read_marker(package: &TomlReader<'_>) -> Result<MarkerTree> {
    let mut all = MarkerTree::TRUE;
    if let Some(text) = package.string("markers")? {
        let parsed = marker::parse(text);
        all = parsed.map_err(|error| package.error("markers", "is invalid").caused_by(error))?;
    }
    for variable in VARIABLES {
        if let Some(text) = package.string(variable)? {
            let parsed = marker::parse(&format!("{variable} {text}"));
            let parsed =
                parsed.map_err(|error| package.error(variable, "is invalid").caused_by(error))?;
            all = all.and(parsed);
        }
    }
    Ok(all)
}

fn read_what(package: &TomlReader<'_>, file: &LockFile<'_>) -> Result<PinKind> {
    let subdirectory = package.string("subdirectory")?;
    if let Some(url) = package.string("git")? {
        let commit = package.required_string("ref")?;
        return Ok(PinKind::commit(url, commit, subdirectory));
    }
    let subdirectory = subdirectory.map(str::to_owned);
    if let Some(other) = ["hg", "svn", "bzr"]
        .into_iter()
        .find(|key| package.has(key))
    {
        return Err(package.error(other, "is not supported, only `git`"));
    }
    let place = [package.string("path")?, package.string("file")?];
    if let Some(place) = place.into_iter().flatten().next() {
        let path = file.base.join(place);
        return Ok(if place.contains("://") {
            PinKind::Archive {
                url: place.to_owned(),
                subdirectory,
            }
        } else {
            PinKind::Path { path, subdirectory }
        });
    }
    read_version(package)
}

fn read_version(package: &TomlReader<'_>) -> Result<PinKind> {
    let text = package.required_string("version")?;
    if text == "*" {
        return Ok(PinKind::Any);
    }
    let version = text
        .strip_prefix("==")
        .map(|version| version.trim().parse());
    match version {
        Some(Ok(version)) => Ok(PinKind::Version(version)),
        _ => Err(package.error("version", &format!("is `{text}`, which is not pinned"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::LockFormat;
    use super::super::testing::{error_of, lines_of, read_as};

    const LOCK: &str = r#"{
  "_meta": {
    "hash": {"sha256": "DIGEST"},
    "pipfile-spec": 6,
    "requires": {"python_version": "3.11"},
    "sources": [{"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": true}]
  },
  "default": {
    "colorama": {"version": "*"},
    "local": {"editable": true, "path": "."},
    "requests": {"extras": ["socks"], "hashes": ["sha256:SHA_A"], "index": "pypi",
                 "markers": "python_version >= '3.10'", "version": "==2.34.2", "ref": null},
    "tree": {"git": "https://git.example/tree.git", "ref": "abc", "subdirectory": "lib"}
  },
  "develop": {"win": {"hashes": ["sha256:SHA_B"], "version": "==1.0", "sys_platform": "== 'win32'"}},
  "docs": {"markdown": {"hashes": ["sha256:SHA_C"], "version": "==3.11.3"}}
}"#;

    const PIPFILE: &str = r#"
[[source]]
url = "https://pypi.org/simple"
verify_ssl = true
name = "pypi"

[packages]
Requests = {extras = ["socks"], version = "*"}
colorama = {version = "*", sys_platform = "== 'win32'"}

[dev-packages]
pytest = "*"

[docs]
markdown = "*"

[requires]
python_version = "3.11"
"#;

    fn lock() -> String {
        // The hash that Pipenv computed for this file.
        LOCK.replace(
            "DIGEST",
            "afd827590aa6c5d968d916b365ecebecddf16135e2df636688a947a8e4f7c74d",
        )
    }

    #[test]
    fn selects_categories_by_name() {
        let base = [
            "colorama ; sys_platform == 'win32'",
            "local @ file:///app",
            "requests==2.34.2 ; python_full_version >= '3.10'",
            "tree @ git+https://git.example/tree.git@abc#subdirectory=lib",
        ];
        let lines = |groups| lines_of(LockFormat::Pipfile, &lock(), Some(PIPFILE), "", groups);
        assert_eq!(lines(""), base);
        assert_eq!(lines("docs")[2], "markdown==3.11.3");
        assert_eq!(lines("dev")[4], "win==1.0 ; sys_platform == 'win32'");
        assert_eq!(lines("dev"), lines("develop"));
        let locked = read_as(LockFormat::Pipfile, &lock(), None, "", "").unwrap();
        assert_eq!(locked.indexes, ["https://pypi.org/simple"]);
        assert_eq!(
            locked.notes,
            ["`colorama` in Pipfile.lock has no version, so that the newest one is taken"]
        );
    }

    #[test]
    fn conflicting_categories_are_an_error() {
        let other = lock().replace("\"markdown\"", "\"requests\"");
        let error = read_as(LockFormat::Pipfile, &other, None, "", "docs").unwrap_err();
        assert_eq!(
            error.display_chain(),
            "the lock `Pipfile.lock` cannot be used: \
             default has `requests==2.34.2 ; python_full_version >= '3.10'` and docs has \
             `requests==3.11.3`, and only one can be installed"
        );
        let elsewhere = other.replace(
            "\"version\": \"==3.11.3\"",
            "\"version\": \"==3.11.3\", \"markers\": \"python_version < '3.9'\"",
        );
        assert!(read_as(LockFormat::Pipfile, &elsewhere, None, "", "docs").is_ok());
    }

    #[test]
    fn errors_name_file_and_entry() {
        let prefix = "the lock `Pipfile.lock` cannot be used: ";
        let error = |from: &str, to: &str| {
            error_of(LockFormat::Pipfile, &lock().replace(from, to), None, "")
        };
        assert_eq!(
            error("\"pipfile-spec\": 6", "\"pipfile-spec\": 7"),
            format!("{prefix}_meta.pipfile-spec 7 is not supported")
        );
        assert_eq!(
            error("==2.34.2", ">=2"),
            format!("{prefix}default.requests.version is `>=2`, which is not pinned")
        );
        assert_eq!(
            error("\"ref\": \"abc\",", ""),
            format!("{prefix}default.tree.ref is missing")
        );
        assert_eq!(
            error(r#""index": "pypi""#, r#""index": "inner""#),
            format!("{prefix}default.requests.index `inner` is not among _meta.sources")
        );
        let outdated = error_of(
            LockFormat::Pipfile,
            &lock(),
            Some(&PIPFILE.replace("pytest", "nose")),
            "",
        );
        assert_eq!(
            outdated,
            format!(
                "{prefix}it is outdated: _meta.hash.sha256 is not that of the `Pipfile` beside it"
            )
        );
    }
}
