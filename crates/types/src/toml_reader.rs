//! Typed access to the keys of a TOML table, with errors that name the place.
//!
//! Every error names the place and the key: `packages[3] "django": wheels[0].hashes is missing`.
//! Unknown keys are ignored, as the specification of locks demands. Serves lockfiles of every format.

use std::error::Error as StdError;
use std::str::FromStr;

use toml::value::Datetime;
use toml::{Table, Value};

use crate::{Error, Kind, Result, limits};

/// Parses a TOML document.
///
/// # Errors
/// It is not TOML: the message names the line; or it nests too deep.
pub fn parse(text: &str) -> Result<Table> {
    limits::toml(text).map_err(|excess| Error::new(Kind::Input, excess.to_string()))?;
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.bytes().take(start);
        let line = before.filter(|byte| *byte == b'\n').count() + 1;
        let message = format!("line {line} is not TOML: {}", error.message());
        Error::new(Kind::Input, message)
    })
}

/// A table with its place in the document.
pub struct TomlReader<'a> {
    /// The location that precedes the key in messages: empty, or `packages[3] "django": `.
    place: String,
    /// The keys that lead from the place to the table, `wheels[0].`.
    prefix: String,
    table: &'a Table,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "all fail alike: the value is not of the kind that the method says"
)]
impl<'a> TomlReader<'a> {
    /// Creates a reader of the whole file.
    #[must_use]
    pub fn root(table: &'a Table) -> Self {
        let (place, prefix) = (String::new(), String::new());
        Self {
            place,
            prefix,
            table,
        }
    }

    /// Returns the same table, named in messages as the package of this index of `array`.
    #[must_use]
    pub fn of_package(self, array: &str, index: usize) -> Self {
        let name = self.table.get("name").and_then(Value::as_str);
        let place = match name {
            Some(name) => format!("{array}[{index}] \"{name}\": "),
            None => format!("{array}[{index}]: "),
        };
        Self {
            place,
            prefix: String::new(),
            ..self
        }
    }

    /// Creates an error about `key`; `said` states what is wrong with it.
    #[must_use]
    pub fn error(&self, key: &str, said: &str) -> Error {
        let Self { place, prefix, .. } = self;
        Error::new(Kind::Input, format!("{place}{prefix}{key} {said}"))
    }

    /// Creates an error about the table as a whole.
    #[must_use]
    pub fn wrong(&self, said: &str) -> Error {
        Error::new(Kind::Input, format!("{}{said}", self.place))
    }

    /// Returns whether the table has `key`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the string at `key`.
    pub fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Returns the string at the mandatory `key`.
    pub fn required_string(&self, key: &str) -> Result<&'a str> {
        self.required(key, self.string(key)?)
    }

    /// Parses the string at `key`.
    pub fn parsed<T>(&self, key: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: StdError + Send + Sync + 'static>,
    {
        let Some(text) = self.string(key)? else {
            return Ok(None);
        };
        limits::requirement(text)
            .map_err(|excess| self.error(key, "is invalid").caused_by(excess))?;
        text.parse()
            .map(Some)
            .map_err(|error| self.error(key, "is invalid").caused_by(error))
    }

    /// Returns the integer at `key`.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.typed(key, "an integer", Value::as_integer)
    }

    /// Returns the date and time at `key`.
    pub fn datetime(&self, key: &str) -> Result<Option<&'a Datetime>> {
        self.typed(key, "a date and time", Value::as_datetime)
    }

    /// Returns the boolean at `key`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Returns the value at `key`, whatever its type.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    /// Returns all keys of the table.
    #[must_use]
    pub fn keys(&self) -> Vec<&'a str> {
        self.table.keys().map(String::as_str).collect()
    }

    /// Returns the value of the mandatory `key`.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(key, "is missing"))
    }

    /// Returns the table at `key`.
    pub fn entry(&self, key: &str) -> Result<Option<Self>> {
        let table = self.typed(key, "a table", Value::as_table)?;
        Ok(table.map(|table| self.inner(&format!("{key}."), table)))
    }

    /// Returns the table `tool.wheelhouse`.
    pub fn tool(&self) -> Result<Option<Self>> {
        match self.entry("tool")? {
            Some(tool) => tool.entry("wheelhouse"),
            None => Ok(None),
        }
    }

    /// Returns the tables of the array at `key`; none if the key is missing.
    pub fn entries(&self, key: &str) -> Result<Vec<Self>> {
        self.items(key)?
            .iter()
            .enumerate()
            .map(|(index, item)| match item.as_table() {
                Some(table) => Ok(self.inner(&format!("{key}[{index}]."), table)),
                None => Err(self.error(&format!("{key}[{index}]"), "is not a table")),
            })
            .collect()
    }

    /// Returns the strings of the array at `key`; none if the key is missing.
    pub fn strings(&self, key: &str) -> Result<Vec<&'a str>> {
        self.items(key)?
            .iter()
            .enumerate()
            .map(|(index, item)| {
                item.as_str()
                    .ok_or_else(|| self.error(&format!("{key}[{index}]"), "is not a string"))
            })
            .collect()
    }

    /// Returns every key of the table with its string.
    pub fn all_strings(&self) -> Result<Vec<(&'a str, &'a str)>> {
        self.table
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(value) => Ok((key.as_str(), value)),
                None => Err(self.error(key, "is not a string")),
            })
            .collect()
    }

    fn items(&self, key: &str) -> Result<&'a [Value]> {
        let items = self.typed(key, "an array", Value::as_array)?;
        Ok(items.map_or(&[], Vec::as_slice))
    }

    fn inner(&self, key: &str, table: &'a Table) -> Self {
        Self {
            place: self.place.clone(),
            prefix: format!("{}{key}", self.prefix),
            table,
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        kind: &str,
        get: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(value) => match get(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.error(key, &format!("is not {kind}"))),
            },
        }
    }
}
