//! Checks whether a `poetry.lock` matches the `pyproject.toml` next to it.
//!
//! Poetry records the digest of the relevant contents, written as JSON. The relevant contents depend on the version of
//! Poetry: one of the variants must match.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};
use wheelhouse_types::Result;
use wheelhouse_types::toml_reader::TomlReader;

use super::super::outdated;
use super::super::python_json::{self, PythonJson, SPACED};

/// The keys of `[tool.poetry]` that are always relevant, even if they do not exist.
const LEGACY_KEYS: [&str; 4] = ["dependencies", "source", "extras", "dev-dependencies"];

const PROJECT_KEYS: [&str; 3] = ["requires-python", "dependencies", "optional-dependencies"];

/// Compares the digest of the lock with that of `document`.
///
/// # Errors
/// The digests differ.
pub(super) fn check(metadata: &TomlReader<'_>, document: &Table) -> Result<()> {
    let locked = metadata.required_string("content-hash")?;
    let of = |with_groups, with_group_key| digest(document, with_groups, with_group_key);
    // The variants since Poetry 2.3, since 1.2, and before.
    if [of(true, true), of(false, true), of(false, false)]
        .iter()
        .any(|digest| digest == locked)
    {
        return Ok(());
    }
    let said =
        "metadata.content-hash is not that of the dependencies in the `pyproject.toml` beside it";
    Err(outdated(said, "poetry lock"))
}

fn taken<'a>(table: Option<&'a Table>, keys: &[&str]) -> BTreeMap<String, PythonJson<'a>> {
    let present = keys.iter().filter_map(|key| {
        let value = table?.get(*key)?;
        Some(((*key).to_owned(), PythonJson::Value(value)))
    });
    present.collect()
}

fn digest(document: &Table, with_groups: bool, with_group_key: bool) -> String {
    let project = document.get("project").and_then(Value::as_table);
    let project = taken(project, &PROJECT_KEYS);
    let groups = document.get("dependency-groups").and_then(Value::as_table);
    let groups = groups.filter(|groups| with_groups && !groups.is_empty());
    let tool = document.get("tool").and_then(|tool| tool.get("poetry"));
    let tool = tool.and_then(Value::as_table);
    let mut poetry = taken(tool, &LEGACY_KEYS);
    if with_group_key {
        poetry.extend(taken(tool, &["group"]));
    }
    let content = content(project, groups, poetry);
    let json = python_json::write(&PythonJson::Object(content), &SPACED);
    hex::encode(Sha256::digest(json))
}

type Object<'a> = BTreeMap<String, PythonJson<'a>>;

/// Returns the relevant contents as one object: that of `[tool.poetry]` if nothing else is relevant.
fn content<'a>(
    project: Object<'a>,
    groups: Option<&'a Table>,
    mut poetry: Object<'a>,
) -> Object<'a> {
    if project.is_empty() && groups.is_none() {
        for key in LEGACY_KEYS {
            poetry.entry(key.to_owned()).or_insert(PythonJson::Null);
        }
        return poetry;
    }
    let tool = Object::from([("poetry".to_owned(), PythonJson::Object(poetry))]);
    let mut content = Object::from([("tool".to_owned(), PythonJson::Object(tool))]);
    if !project.is_empty() {
        content.insert("project".to_owned(), PythonJson::Object(project));
    }
    if let Some(groups) = groups {
        let items = groups
            .iter()
            .map(|(name, group)| (name.clone(), PythonJson::Value(group)));
        let groups = PythonJson::Object(items.collect());
        content.insert("dependency-groups".to_owned(), groups);
    }
    content
}
