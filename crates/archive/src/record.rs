//! `RECORD`, the list of files of a wheel (binary distribution format): parses it.
//!
//! Never opens the files that it lists.

use std::collections::BTreeMap;

/// What `RECORD` says of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// `algorithm=digest` with the digest in unpadded URL-safe base 64; empty if there is none. The name of the
    /// algorithm is in lower case.
    pub(super) digest: String,
    /// In bytes.
    pub(super) size: Option<u64>,
}

/// Parses the text of a `RECORD`: the files by name, and what is wrong with the rest.
pub(super) fn parse(text: &str) -> (BTreeMap<String, Recorded>, Vec<String>) {
    let mut files = BTreeMap::new();
    let mut faults = Vec::new();
    for (index, row) in rows(text).into_iter().enumerate() {
        let fault = |what: &str| format!("RECORD row {}: {what}", index + 1);
        let [path, digest, size] = row.as_slice() else {
            faults.push(fault("does not have three fields"));
            continue;
        };
        let recorded = Recorded {
            digest: with_lower_name(digest),
            size: size.parse().ok(),
        };
        if recorded.size.is_none() && !size.is_empty() {
            faults.push(fault("has a size that is not a number"));
        }
        let path = path.strip_prefix("./").unwrap_or(path).replace('\\', "/");
        if files.insert(path, recorded).is_some() {
            faults.push(fault("lists a file again"));
        }
    }
    (files, faults)
}

/// Python 2 writes `SHA256=` where its OpenSSL calls the algorithm so.
fn with_lower_name(digest: &str) -> String {
    match digest.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.to_ascii_lowercase()),
        None => digest.to_owned(),
    }
}

/// Splits comma-separated values as Python's `csv` module does by default. Empty rows are left out.
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
    fn a_record_is_read_with_its_quotes() {
        let text = "a.py,SHA256=aBc,3\r\n\"b,\"\"c\"\".py\",sha256=d,4\nx-1.dist-info/RECORD,,\n\n";
        let (files, faults) = parse(text);
        assert!(faults.is_empty());
        assert_eq!(files["a.py"].size, Some(3));
        assert_eq!(files["a.py"].digest, "sha256=aBc");
        assert_eq!(files["b,\"c\".py"].digest, "sha256=d");
        assert_eq!(files["x-1.dist-info/RECORD"], Recorded::default());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_row() {
        let (files, faults) = parse("a,b\nc,,x\nd,,\nd,,\n");
        assert_eq!(files.len(), 2);
        assert_eq!(faults.len(), 3);
        assert!(faults[0].starts_with("RECORD row 1"), "{faults:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[a-z,\"\r\n=0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}
