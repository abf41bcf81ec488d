//! The parser of `RECORD`, the list of files of a wheel (binary distribution format), and the ways in which a wheel can
//! differ from it.
//!
//! Does not open the files that a `RECORD` lists.

use std::collections::BTreeMap;
use std::fmt;

use crate::safe_path::escape_for_display;

/// A difference between the files of a wheel and its `RECORD`. Displays as a fragment without the name of the wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordDifference {
    /// A row does not have the format of a `RECORD`, or lists a file again.
    InvalidRow {
        /// The number of the row, from 1.
        row: usize,
        /// The reason, as a predicate: `does not have three fields`.
        reason: &'static str,
    },
    /// The wheel has a file that `RECORD` does not list.
    Unlisted(String),
    /// `RECORD` lists a file that the wheel does not have.
    Missing(String),
    /// `RECORD` has no digest of a file by an algorithm that wheels may use.
    NoDigest(String),
    /// A file has another size than `RECORD` states.
    Size(String),
    /// A file has another digest than `RECORD` states.
    Digest(String),
}

impl RecordDifference {
    /// Returns whether the bytes of a file contradict `RECORD`, as opposed to a `RECORD` that does not describe them.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Size(_) | Self::Digest(_))
    }
}

impl fmt::Display for RecordDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRow { row, reason } => write!(formatter, "RECORD row {row} {reason}"),
            Self::Unlisted(path) => {
                write!(
                    formatter,
                    "RECORD does not list {}",
                    escape_for_display(path)
                )
            }
            Self::Missing(path) => write!(
                formatter,
                "RECORD lists {}, which is missing",
                escape_for_display(path)
            ),
            Self::NoDigest(path) => write!(
                formatter,
                "RECORD has no SHA-2 digest of {}",
                escape_for_display(path)
            ),
            Self::Size(path) => write!(
                formatter,
                "{} does not have the size that RECORD states",
                escape_for_display(path)
            ),
            Self::Digest(path) => write!(
                formatter,
                "{} does not have the digest that RECORD states",
                escape_for_display(path)
            ),
        }
    }
}

/// The entry of one file in `RECORD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordEntry {
    /// `algorithm=digest` with the digest in unpadded URL-safe Base64, or an empty string. The name of the algorithm is in
    /// lower case.
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: Option<u64>,
}

/// Parses the text of a `RECORD`. Returns the entries by file name, and the rows that are not valid.
pub(crate) fn parse(text: &str) -> (BTreeMap<String, RecordEntry>, Vec<RecordDifference>) {
    let mut files = BTreeMap::new();
    let mut invalid_rows = Vec::new();
    for (index, fields) in rows(text).into_iter().enumerate() {
        let mut reject = |reason| {
            let row = index + 1;
            invalid_rows.push(RecordDifference::InvalidRow { row, reason });
        };
        let [path, digest, size] = fields.as_slice() else {
            reject("does not have three fields");
            continue;
        };
        let entry = RecordEntry {
            // Python 2 writes `SHA256=` if its OpenSSL spells the algorithm that way.
            digest: match digest.split_once('=') {
                Some((name, value)) => format!("{}={value}", name.to_ascii_lowercase()),
                None => digest.clone(),
            },
            size: size.parse().ok(),
        };
        if entry.size.is_none() && !size.is_empty() {
            reject("has a size that is not a number");
        }
        let path = path.strip_prefix("./").unwrap_or(path).replace('\\', "/");
        if files.insert(path, entry).is_some() {
            reject("lists a file again");
        }
    }
    (files, invalid_rows)
}

/// Splits comma-separated values as Python's `csv` module does by default. Omits empty rows.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let field = row.last_mut().expect("a row has at least one field");
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\r' | '\n' if !quoted => {
                rows.push(std::mem::replace(&mut row, vec![String::new()]));
            }
            other => field.push(other),
        }
    }
    rows.push(row);
    rows.retain(|row| row.iter().any(|field| !field.is_empty()));
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_quoted_fields_and_lowers_algorithm_names() {
        let text = "a.py,SHA256=aBc,3\r\n\"b,\"\"c\"\".py\",sha256=d,4\nx-1.dist-info/RECORD,,\n\n";
        let (files, invalid_rows) = parse(text);
        assert!(invalid_rows.is_empty());
        assert_eq!(files["a.py"].size, Some(3));
        assert_eq!(files["a.py"].digest, "sha256=aBc");
        assert_eq!(files["b,\"c\".py"].digest, "sha256=d");
        assert_eq!(files["x-1.dist-info/RECORD"], RecordEntry::default());
    }

    #[test]
    fn reports_invalid_rows_by_number() {
        let (files, invalid_rows) = parse("a,b\nc,,x\nd,,\nd,,\n");
        assert_eq!(files.len(), 2);
        let messages: Vec<_> = invalid_rows.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "RECORD row 1 does not have three fields",
                "RECORD row 2 has a size that is not a number",
                "RECORD row 4 lists a file again",
            ]
        );
    }

    proptest! {
        #[test]
        fn parses_any_text(text in "[a-z,\"\r\n=0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}
