//! Writes JSON exactly like Python's `json.dumps`, for the digests in locks of Poetry and Pipenv.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Value;

/// A value of a document, or `None`.
#[derive(Clone, Debug)]
pub(super) enum PythonJson<'a> {
    Null,
    Value(&'a Value),
    Object(BTreeMap<String, Self>),
}

/// The separators between items, and between keys and values.
pub(super) struct Separators(pub(super) &'static str, pub(super) &'static str);

pub(super) const SPACED: Separators = Separators(", ", ": ");
pub(super) const COMPACT: Separators = Separators(",", ":");

/// Writes `json` with sorted keys.
pub(super) fn write(json: &PythonJson<'_>, separators: &Separators) -> String {
    let mut text = String::new();
    write_json(&mut text, json, separators);
    text
}

fn write_json(text: &mut String, json: &PythonJson<'_>, separators: &Separators) {
    match json {
        PythonJson::Null => text.push_str("null"),
        PythonJson::Value(value) => write_value(text, value, separators),
        PythonJson::Object(object) => write_object(text, object.iter(), separators, write_json),
    }
}

fn write_value(text: &mut String, value: &Value, separators: &Separators) {
    match value {
        Value::String(string) => write_string(text, string),
        Value::Integer(number) => _ = write!(text, "{number}"),
        Value::Float(number) => _ = write!(text, "{number:?}"),
        Value::Boolean(boolean) => _ = write!(text, "{boolean}"),
        // Python cannot write these values, so no lock depends on them.
        Value::Datetime(datetime) => write_string(text, &datetime.to_string()),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(separators.0);
                }
                write_value(text, item, separators);
            }
            text.push(']');
        }
        Value::Table(table) => {
            let sorted: BTreeMap<_, _> = table.iter().collect();
            write_object(text, sorted.into_iter(), separators, write_value);
        }
    }
}

fn write_object<'a, Item: 'a>(
    text: &mut String,
    entries: impl Iterator<Item = (&'a String, &'a Item)>,
    separators: &Separators,
    write_item: impl Fn(&mut String, &Item, &Separators),
) {
    text.push('{');
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            text.push_str(separators.0);
        }
        write_string(text, key);
        text.push_str(separators.1);
        write_item(text, item, separators);
    }
    text.push('}');
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='\u{7f}' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_same_bytes_as_python() {
        let table: toml::Table = "b = [1, 1.5, true]\na = { z = \"é😀\\n\\\"\\u0001\", y = {} }\n"
            .parse()
            .unwrap();
        let value = Value::Table(table);
        assert_eq!(
            write(&PythonJson::Value(&value), &SPACED),
            r#"{"a": {"y": {}, "z": "\u00e9\ud83d\ude00\n\"\u0001"}, "b": [1, 1.5, true]}"#
        );
        let object = BTreeMap::from([
            ("x".to_owned(), PythonJson::Null),
            ("w".to_owned(), PythonJson::Value(&value["b"])),
        ]);
        assert_eq!(
            write(&PythonJson::Object(object), &COMPACT),
            r#"{"w":[1,1.5,true],"x":null}"#
        );
    }
}
