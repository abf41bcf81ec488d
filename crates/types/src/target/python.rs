//! Pythons that are known by name, without an interpreter.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Platform, System};
use crate::{Error, Kind};

/// An implementation with a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonName {
    /// The implementation.
    pub implementation: Implementation,
    /// The major version.
    pub major: u8,
    /// The minor version.
    pub minor: u8,
    /// The patch version; `None` stands for the newest.
    pub patch: Option<u8>,
    /// Built without the global interpreter lock (PEP 703).
    pub free_threaded: bool,
    /// True if a Python 2 has four bytes for each character (PEP 261); `None` for the platform's default.
    pub wide_unicode: Option<bool>,
}

/// An implementation of Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implementation {
    /// The reference implementation.
    CPython,
    /// The implementation with a just-in-time compiler.
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

/// The minor versions of Python 3 that a name may have: those before had no wheels, and those after are not
/// to be expected.
const MINORS: RangeInclusive<u8> = 2..=29;

impl FromStr for PythonName {
    type Err = Error;

    /// Reads `3.12`, `3.12.4`, `312`, `cp312`, `cp313t`, `3.13t`, `cp27mu`, `pp310`, `pypy3.10`,
    /// `pypy310_pp73`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = |hint: &str| {
            Error::new(Kind::Input, format!("`{text}` is not a known Python")).with_hint(hint)
        };
        let name = read(text).ok_or_else(|| {
            unknown("Name it like 3.12, 3.12.4, cp312, 3.13t (free-threaded) or pypy3.10.")
        })?;
        if name.major == 3 && !MINORS.contains(&name.minor) {
            return Err(match meant(name.minor) {
                Some(minor) => unknown(&format!("Name it 3.{minor} if that is meant.")),
                None => unknown("Name one that there is, such as 3.12."),
            });
        }
        Ok(name)
    }
}

/// Suggests the minor version of Python 3 that `minor`, which does not exist, probably stands for: 3.1 is what YAML
/// makes of 3.10, and 3.99 has a digit too many.
fn meant(minor: u8) -> Option<u8> {
    if minor == 1 {
        return Some(10);
    }
    let known = NEWEST.iter().filter(|(major, ..)| *major == 3);
    let digits = minor.to_string();
    known
        .map(|(_, known, _)| *known)
        .filter(|known| digits.starts_with(&known.to_string()))
        .max()
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
    let rest = match implementation {
        // As in ABI tags, with the version of PyPy itself.
        Implementation::PyPy => rest.strip_suffix("_pp73").unwrap_or(rest),
        Implementation::CPython => rest,
    };
    let version = rest.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let (major, minor, patch) = numbers(version.trim_start_matches('-'))?;
    let is_cpython = implementation == Implementation::CPython;
    // What follows the version in the ABI tags of such a Python.
    let (free_threaded, wide_unicode) = match &rest[version.len()..] {
        "" => (false, None),
        "t" if is_cpython && major == 3 && minor >= 13 => (true, None),
        "m" if is_cpython && major == 3 && minor <= 7 => (false, None),
        "m" if is_cpython && major == 2 => (false, Some(false)),
        "mu" if is_cpython && major == 2 => (false, Some(true)),
        _ => return None,
    };
    let exists = major == 3 || (major, minor) == (2, 7);
    exists.then_some(PythonName {
        implementation,
        major,
        minor,
        patch,
        free_threaded,
        wide_unicode,
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
    /// Formats the name as in tags, `cp312`.
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
    /// Returns the full version, `3.12.4`.
    #[must_use]
    pub fn full_version(&self) -> String {
        let newest = NEWEST
            .iter()
            .find(|(major, minor, _)| (*major, *minor) == (self.major, self.minor));
        let patch = self.patch.or(newest.map(|(_, _, patch)| *patch));
        format!("{}.{}.{}", self.major, self.minor, patch.unwrap_or(0))
    }

    /// Returns whether it has wide Unicode on `platform`.
    pub(super) fn has_wide_unicode(&self, platform: &Platform) -> bool {
        let is_old = self.implementation == Implementation::CPython && self.major == 2;
        let is_linux = matches!(
            platform.system,
            System::Manylinux { .. } | System::Musllinux { .. }
        );
        is_old && self.wide_unicode.unwrap_or(is_linux)
    }

    /// Returns the environment markers (PEP 508) that the Python decides.
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
    fn parses_common_names() {
        let cases = [
            ("3.12", "cp312", "3.12.12"),
            ("3.12.4", "cp312", "3.12.4"),
            ("312", "cp312", "3.12.12"),
            ("cp39", "cp39", "3.9.25"),
            ("3.13t", "cp313t", "3.13.9"),
            ("cp314t", "cp314t", "3.14.0"),
            ("pp310", "pp310", "3.10.19"),
            ("pypy3.10", "pp310", "3.10.19"),
            ("pypy310_pp73", "pp310", "3.10.19"),
            ("2.7", "cp27", "2.7.18"),
            ("cp27mu", "cp27", "2.7.18"),
            ("cp36m", "cp36", "3.6.15"),
        ];
        for (text, tag, version) in cases {
            let name: PythonName = text.parse().unwrap();
            assert_eq!(name.to_string(), tag, "{text}");
            assert_eq!(name.full_version(), version, "{text}");
        }
    }

    #[test]
    fn rejects_unsupported_python_with_suggestion() {
        let refused = |text: &str| text.parse::<PythonName>().unwrap_err();
        for (text, meant) in [
            ("3.1", "3.10"),
            ("cp31", "3.10"),
            ("3.99", "3.9"),
            ("3.111", "3.11"),
            ("3.120.1", "3.12"),
        ] {
            let error = refused(text);
            assert!(error.to_string().contains(text), "{error}");
            let hint = format!("Name it {meant} if that is meant.");
            assert_eq!(error.hint(), Some(&*hint), "{text}");
        }
        assert!(refused("3.0").hint().unwrap().contains("3.12"));
        assert!("3.15".parse::<PythonName>().is_ok());
    }

    #[test]
    fn rejects_invalid_names() {
        for text in [
            "",
            "3",
            "4.0",
            "3.x",
            "cp",
            "3.11t",
            "pp310t",
            "3.1.2.3",
            "-3.12",
            "cp38m",
            "cp36mu",
            "2.7t",
            "pp27mu",
            "cp310_pp73",
        ] {
            let read = text.parse::<PythonName>();
            assert!(read.is_err() || text == "-3.12", "{text}: {read:?}");
        }
    }
}
