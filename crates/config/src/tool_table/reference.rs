//! The documentation and the schema of the keys, generated from [`KEYS`].

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{KEYS, ValueKind};

fn value(kind: ValueKind) -> String {
    match kind {
        ValueKind::Path | ValueKind::Program => "a string (a path)".to_owned(),
        ValueKind::Location => "a string (a URL or a path)".to_owned(),
        ValueKind::Locations => "a string or an array of strings (paths and URLs)".to_owned(),
        kind => kind.expected(),
    }
}

/// Returns the table of keys in `docs/reference/configuration.md`.
#[must_use]
pub fn table() -> String {
    let mut table = "| key | value | effect |\n| --- | --- | --- |\n".to_owned();
    for key in KEYS {
        let names = std::iter::once(&key.name).chain(key.aliases);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let (names, value) = (names.join(", "), value(key.kind));
        let _ = writeln!(table, "| {names} | {value} | {} |", key.does);
    }
    table
}

/// Returns the schema of the table, `docs/reference/pyproject.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    let mut properties = Map::new();
    for key in KEYS {
        for name in std::iter::once(&key.name).chain(key.aliases) {
            let mut property = schema(key.kind);
            property["description"] = key.does.into();
            properties.insert((*name).to_owned(), property);
        }
    }
    // The crate of the farm reads and describes its table.
    properties.insert("farm".to_owned(), json!({ "$ref": "farm.schema.json" }));
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The table [tool.wheelhouse] of a pyproject.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    format!("{schema:#}\n")
}

fn schema(kind: ValueKind) -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    match kind {
        ValueKind::Flag => json!({ "type": "boolean" }),
        // Validators represent the dates of TOML as strings.
        ValueKind::Text
        | ValueKind::Date
        | ValueKind::Path
        | ValueKind::Program
        | ValueKind::Location => json!({ "type": "string" }),
        ValueKind::Number(least) => json!({ "type": "integer", "minimum": least }),
        ValueKind::Seconds => json!({ "type": "number", "exclusiveMinimum": 0 }),
        ValueKind::Texts | ValueKind::Locations => {
            json!({ "anyOf": [{ "type": "string" }, texts] })
        }
        ValueKind::Choice(choices) => json!({ "enum": choices }),
        ValueKind::Codes(codes) => json!({ "type": "array", "items": { "enum": codes } }),
        ValueKind::Pairs => {
            let pair = json!({ "type": "string", "pattern": "=" });
            let value = json!({ "anyOf": [{ "type": "string" }, texts] });
            json!({ "anyOf": [
                { "type": "object", "additionalProperties": value },
                { "type": "array", "items": pair },
                pair,
            ] })
        }
    }
}
