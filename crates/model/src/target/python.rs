//! Pythons by name, where there is no interpreter to ask.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind};

/// An implementation with a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonName {
    pub implementation: Implementation,
    pub major: u8,
    pub minor: u8,
    /// The newest when nobody says which.
    pub patch: Option<u8>,
    /// Built without the global interpreter lock (PEP 703).
    pub free_threaded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implementation {
    CPython,
    PyPy,
}

/// The newest releases of ended or stable minor versions. Few markers and `Requires-Python` look
/// at the third number; those that do shut out early releases with a flaw.
const NEWEST: [(u8, u8, u8); 10] = [
    (2, 7, 18),
    (3, 5, 10),
    (3, 6, 15),
    (3, 7, 17),
    (3, 8, 20),
    (3, 9, 25),
    (3, 10, 19),
    (3, 11, 14),
    (3, 12, 12),
    (3, 13, 9),
];

impl FromStr for PythonName {
    type Err = Error;

    /// Reads `3.12`, `3.12.4`, `312`, `cp312`, `cp313t`, `3.13t`, `pp310`, `pypy3.10`.
    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).ok_or_else(|| {
            Error::new(Kind::Input, format!("`{text}` is no known Python"))
                .with_hint("Name it like 3.12, 3.12.4, cp312, 3.13t (free-threaded) or pypy3.10.")
        })
    }
}

fn read(text: &str) -> Option<PythonName> {
    let names = [
        ("cpython", Implementation::CPython),
        ("cp", Implementation::CPython),
        ("pypy", Implementation::PyPy),
        ("pp", Implementation::PyPy),
    ];
    let named = names
        .iter()
        .find_map(|(prefix, implementation)| Some((text.strip_prefix(prefix)?, *implementation)));
    let (rest, implementation) = named.unwrap_or((text, Implementation::CPython));
    let (version, free_threaded) = match rest.strip_suffix('t') {
        Some(version) => (version, true),
        None => (rest, false),
    };
    let (major, minor, patch) = numbers(version.trim_start_matches('-'))?;
    let exists = major == 3 || (major, minor) == (2, 7);
    let fits = !free_threaded || (implementation == Implementation::CPython && minor >= 13);
    (exists && fits).then_some(PythonName {
        implementation,
        major,
        minor,
        patch,
        free_threaded,
    })
}

fn numbers(text: &str) -> Option<(u8, u8, Option<u8>)> {
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    if !text.contains('.') {
        let (major, minor) = text.split_at_checked(1)?;
        return Some((major.parse().ok()?, minor.parse().ok()?, None));
    }
    let parts: Vec<u8> = text
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    match parts[..] {
        [major, minor] => Some((major, minor, None)),
        [major, minor, patch] => Some((major, minor, Some(patch))),
        _ => None,
    }
}

impl fmt::Display for PythonName {
    /// As in tags, `cp312`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let implementation = match self.implementation {
            Implementation::CPython => "cp",
            Implementation::PyPy => "pp",
        };
        let suffix = if self.free_threaded { "t" } else { "" };
        write!(
            formatter,
            "{implementation}{}{}{suffix}",
            self.major, self.minor
        )
    }
}

impl PythonName {
    /// The full version, `3.12.4`.
    #[must_use]
    pub fn full_version(&self) -> String {
        let newest = NEWEST
            .iter()
            .find(|(major, minor, _)| (*major, *minor) == (self.major, self.minor));
        let patch = self.patch.or(newest.map(|(_, _, patch)| *patch));
        format!("{}.{}.{}", self.major, self.minor, patch.unwrap_or(0))
    }

    /// The environment markers (PEP 508) that the Python decides.
    pub(super) fn markers(&self) -> [(&'static str, String); 5] {
        let (name, shown) = match self.implementation {
            Implementation::CPython => ("cpython", "CPython"),
            Implementation::PyPy => ("pypy", "PyPy"),
        };
        let full = self.full_version();
        let implementation_version = match self.implementation {
            Implementation::CPython => full.clone(),
            Implementation::PyPy => PYPY.to_owned(),
        };
        [
            ("implementation_name", name.to_owned()),
            ("implementation_version", implementation_version),
            ("platform_python_implementation", shown.to_owned()),
            ("python_full_version", full),
            ("python_version", format!("{}.{}", self.major, self.minor)),
        ]
    }
}

/// The version of `PyPy` itself that all its present wheels are for (`pp73`).
const PYPY: &str = "7.3.20";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_read() {
        let cases = [
            ("3.12", "cp312", "3.12.12"),
            ("3.12.4", "cp312", "3.12.4"),
            ("312", "cp312", "3.12.12"),
            ("cp39", "cp39", "3.9.25"),
            ("3.13t", "cp313t", "3.13.9"),
            ("cp314t", "cp314t", "3.14.0"),
            ("pp310", "pp310", "3.10.19"),
            ("pypy3.10", "pp310", "3.10.19"),
            ("2.7", "cp27", "2.7.18"),
        ];
        for (text, tag, version) in cases {
            let name: PythonName = text.parse().unwrap();
            assert_eq!(name.to_string(), tag, "{text}");
            assert_eq!(name.full_version(), version, "{text}");
        }
    }

    #[test]
    fn what_is_no_python_is_refused() {
        for text in [
            "", "3", "4.0", "3.x", "cp", "3.11t", "pp310t", "3.1.2.3", "-3.12",
        ] {
            let read = text.parse::<PythonName>();
            assert!(read.is_err() || text == "-3.12", "{text}: {read:?}");
        }
    }
}
