//! Whether a `poetry.lock` still fits the `pyproject.toml` beside it.
//!
//! Poetry notes the digest of what counts of `pyproject.toml`, written as JSON. What counts has
//! changed over time: one of the ways must give the digest. Never tells which entry has changed
//! unless a dependency is missing altogether.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};
use wheelhouse_model::Result;
use wheelhouse_model::entry::Entry;

use super::super::outdated;
use super::super::python_json::{self, Json, SPACED};

/// The keys of `[tool.poetry]` that have always counted, even when they are not there.
const LEGACY_KEYS: [&str; 4] = ["dependencies", "source", "extras", "dev-dependencies"];

const PROJECT_KEYS: [&str; 3] = ["requires-python", "dependencies", "optional-dependencies"];

/// Compares the digest of the lock with that of `document`.
///
/// # Errors
/// They differ.
pub(super) fn check(metadata: &Entry<'_>, document: &Table) -> Result<()> {
    let locked = metadata.required_string("content-hash")?;
    let of = |with_groups, with_group_key| digest(document, with_groups, with_group_key);
    // Since Poetry 2.3, since 1.2, and before.
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

fn taken<'a>(table: Option<&'a Table>, keys: &[&str]) -> BTreeMap<String, Json<'a>> {
    let present = keys.iter().filter_map(|key| {
        let value = table?.get(*key)?;
        Some(((*key).to_owned(), Json::Value(value)))
    });
    present.collect()
}

fn digest(document: &Table, with_groups: bool, with_group_key: bool) -> String {
    let project = taken(
        document.get("project").and_then(Value::as_table),
        &PROJECT_KEYS,
    );
    let groups = document.get("dependency-groups").and_then(Value::as_table);
    let groups = groups.filter(|groups| with_groups && !groups.is_empty());
    let tool = document
        .get("tool")
        .and_then(|tool| tool.get("poetry"))
        .and_then(Value::as_table);
    let mut poetry = taken(tool, &LEGACY_KEYS);
    if with_group_key {
        poetry.extend(taken(tool, &["group"]));
    }
    let is_legacy = project.is_empty() && groups.is_none();
    let content = if is_legacy {
        for key in LEGACY_KEYS {
            poetry.entry(key.to_owned()).or_insert(Json::Null);
        }
        poetry
    } else {
        let tool = BTreeMap::from([("poetry".to_owned(), Json::Object(poetry))]);
        let mut content = BTreeMap::from([("tool".to_owned(), Json::Object(tool))]);
        if !project.is_empty() {
            content.insert("project".to_owned(), Json::Object(project));
        }
        if let Some(groups) = groups {
            let groups = groups
                .iter()
                .map(|(name, group)| (name.clone(), Json::Value(group)));
            content.insert(
                "dependency-groups".to_owned(),
                Json::Object(groups.collect()),
            );
        }
        content
    };
    hex::encode(Sha256::digest(python_json::write(
        &Json::Object(content),
        &SPACED,
    )))
}
