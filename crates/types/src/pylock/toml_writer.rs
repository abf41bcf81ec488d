//! TOML as text, one key to a line in the order it is given.
//!
//! Writes only what TOML 1.0 knows, since Python's `tomllib` reads no newer one. Never decides
//! what is written.

use std::fmt::{Display, Write as _};

/// A TOML document that grows at its end.
#[derive(Default)]
pub(super) struct TomlWriter(String);

impl TomlWriter {
    /// Starts a table; `header` comes with its brackets.
    pub(super) fn table(&mut self, header: &str) {
        self.line(format_args!("\n{header}"));
    }

    /// Writes `key = value`, where `value` is TOML already.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    pub(super) fn string(&mut self, key: &str, value: &str) {
        self.plain(key, quoted(value));
    }

    /// Writes an array, one of its `values` (TOML already) to a line; nothing if there are none.
    pub(super) fn array(&mut self, key: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.line(format_args!("{key} = ["));
        for value in values {
            self.line(format_args!("    {value},"));
        }
        self.line("]");
    }

    /// Writes `body` as a table, unless it is empty.
    pub(super) fn table_of(&mut self, header: &str, body: &Self) {
        if !body.0.is_empty() {
            self.table(header);
            self.0.push_str(&body.0);
        }
    }

    /// Writes `tables` as they are.
    pub(super) fn append(&mut self, tables: &Self) {
        self.0.push_str(&tables.0);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Formats `value` as a basic string.
pub(super) fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Formats an inline table of strings.
pub(super) fn inline<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(name, value)| format!("{} = {}", key(name), quoted(value)))
        .collect();
    if entries.is_empty() {
        return "{}".to_owned();
    }
    format!("{{ {} }}", entries.join(", "))
}

fn key(name: &str) -> String {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_strings() {
        assert_eq!(quoted("a\"b\\c\n\u{1b}é"), r#""a\"b\\c\n\u001Bé""#);
    }

    #[test]
    fn quotes_keys_only_if_required() {
        assert_eq!(inline([("sha256", "ab")]), r#"{ sha256 = "ab" }"#);
        assert_eq!(inline([("sha 2", "ab")]), r#"{ "sha 2" = "ab" }"#);
        assert_eq!(inline([]), "{}");
    }
}
