//! The names of archive entries: splits names that are safe on every operating system, and rejects others.
//!
//! Does not access the filesystem.

use wheelhouse_types::{Error, Kind, Result};

/// The largest length of a component in Linux filesystems, in bytes.
const MAX_COMPONENT_LENGTH: usize = 255;

/// The largest length of a name in bytes: `PATH_MAX` without space for the directory that it is unpacked into.
pub const MAX_NAME_LENGTH: usize = 3072;

/// Splits the name of an entry into its components, without empty ones and `.`.
///
/// # Errors
/// [`Kind::Fetch`] if the name could lead out of the directory that it is unpacked into, on any operating system, or if no
/// file can have it.
pub fn components(name: &str) -> Result<Vec<&str>> {
    match fault(name) {
        Some(fault) => Err(invalid_entry(name, fault)),
        None => Ok(split(name).collect()),
    }
}

/// Returns the error of the invalid entry `name`. `fault` is a predicate: `is encrypted`.
#[must_use]
pub fn invalid_entry(name: &str, fault: &str) -> Error {
    Error::new(
        Kind::Fetch,
        format!("entry `{}` {fault}", escape_for_display(name)),
    )
}

/// Shortens a name and escapes characters that could change the state of a terminal.
#[must_use]
pub fn escape_for_display(name: &str) -> String {
    let mut escaped: String = name
        .chars()
        .take(200)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(200).is_some() {
        escaped.push('…');
    }
    escaped
}

fn split(name: &str) -> impl Iterator<Item = &str> {
    name.split('/')
        .filter(|component| !component.is_empty() && *component != ".")
}

/// Returns the reason why a name is not safe, as a predicate.
fn fault(name: &str) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if bytes.contains(&0) {
        return Some("has a NUL in its name");
    }
    if bytes
        .first()
        .is_some_and(|first| matches!(first, b'/' | b'\\'))
    {
        return Some("has an absolute path");
    }
    if bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Some("begins with a drive letter");
    }
    // Only Windows separates components by backslashes, but no valid name has one beside `..`.
    if name.split(['/', '\\']).any(|component| component == "..") {
        return Some("leads out of the archive with `..`");
    }
    let too_long = |component: &str| component.len() > MAX_COMPONENT_LENGTH;
    if name.len() > MAX_NAME_LENGTH || split(name).any(too_long) {
        return Some("has a name that is too long for a file");
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn splits_valid_names() {
        assert_eq!(components("a/b.py").unwrap(), ["a", "b.py"]);
        assert_eq!(components("./a//b/").unwrap(), ["a", "b"]);
        assert_eq!(components("unit/a\\x2db").unwrap(), ["unit", "a\\x2db"]);
        assert_eq!(components("a/..b/c..").unwrap(), ["a", "..b", "c.."]);
        assert!(components("").unwrap().is_empty());
    }

    #[test]
    fn rejects_malicious_names() {
        let long = "x".repeat(256);
        for name in [
            "/etc/passwd",
            "\\\\host\\share",
            "C:/x",
            "c:x",
            "../x",
            "a/../../x",
            "a/..",
            "..\\x",
            "a\\..\\..\\x",
            "a\0b",
            long.as_str(),
        ] {
            assert!(components(name).is_err(), "{name}");
        }
        assert!(components(&"a/".repeat(3000)).is_err());
    }

    proptest! {
        #[test]
        fn accepts_only_normal_components(name in "[a-zA-Z./\\\\:\\x00]{0,24}") {
            if let Ok(components) = components(&name) {
                for component in components {
                    let path = Path::new(component);
                    prop_assert_eq!(path.components().count(), 1);
                    prop_assert!(matches!(path.components().next(), Some(Component::Normal(_))));
                }
            }
        }
    }
}
