//! Locks of other tools as input: `pylock.toml`, `uv.lock`, `poetry.lock` and `Pipfile.lock`.
//!
//! Responsible for telling the formats apart and for what they have in common: a lock gives pins
//! (`pin`), each with the marker under which it is wanted, and the indexes that it names. One
//! module for each format reads it; each is a function of texts alone.
//!
//! Never evaluates a marker, so that what was read serves any target, and never follows what a
//! lock names.

mod pin;
mod pipfile;
mod poetry;
mod pylock;
mod python_json;
mod requirements;
mod supported_targets;
#[cfg(test)]
mod testing;
mod uv;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Build;
use wheelhouse_types::request::{LockedFile, Requirement};
use wheelhouse_types::{Error, ExtraName, GroupName, Kind, Result, Sha256, toml_reader};

use requirements::LockRequirements;

pub use supported_targets::SupportedTargets;

/// The locks that are looked for in an application's tree, the best first.
pub(super) const LOCK_NAMES: [&str; 4] = ["pylock.toml", "uv.lock", "poetry.lock", "Pipfile.lock"];

/// Whether a `pylock.toml` may have this name (PEP 751), other than which installers refuse.
#[must_use]
pub fn is_pylock_name(name: &str) -> bool {
    Format::of_name(name) == Some(Format::Pylock)
}

/// The format of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pylock,
    Uv,
    Poetry,
    Pipfile,
}

impl Format {
    /// Tells the format by the name of the file; `None` stands for a file that is no lock.
    pub(super) fn of_name(path: &str) -> Option<Self> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        match name {
            "pylock.toml" => Some(Self::Pylock),
            "uv.lock" => Some(Self::Uv),
            "poetry.lock" => Some(Self::Poetry),
            "Pipfile.lock" => Some(Self::Pipfile),
            _ => {
                // As PEP 751 wants it: `pylock.NAME.toml`, where the name has no dot.
                let middle = name.strip_prefix("pylock.")?.strip_suffix(".toml")?;
                (!middle.is_empty() && !middle.contains('.')).then_some(Self::Pylock)
            }
        }
    }

    /// Tells the format by what is in the file.
    fn of_text(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('{') {
            return Some(Self::Pipfile);
        }
        let table = toml_reader::parse(text).ok()?;
        let metadata = table.get("metadata").and_then(toml::Value::as_table);
        if table.contains_key("lock-version") {
            Some(Self::Pylock)
        } else if metadata.is_some_and(|metadata| {
            metadata.contains_key("lock-version") || metadata.contains_key("content-hash")
        }) {
            Some(Self::Poetry)
        } else {
            table.contains_key("version").then_some(Self::Uv)
        }
    }

    /// The file beside the lock that it was made from; a `pylock.toml` knows none.
    pub(super) fn project_file(self) -> Option<&'static str> {
        match self {
            Self::Pylock => None,
            Self::Uv | Self::Poetry => Some("pyproject.toml"),
            Self::Pipfile => Some("Pipfile"),
        }
    }
}

/// What of a lock is wanted beside what everybody gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) extras: Vec<ExtraName>,
    pub(super) groups: Vec<GroupName>,
}

impl Selection {
    /// Parses the names that the command line gives.
    pub(super) fn parse(extras: &[String], groups: &[String]) -> Result<Self> {
        let extra = |name: &String| {
            let message = || format!("`{name}`, given with --extra, is no name of an extra");
            name.parse().context(Kind::Input, message)
        };
        let group = |name: &String| {
            let message = || format!("`{name}`, given with --group, is no name of a lock's group");
            name.parse().context(Kind::Input, message)
        };
        Ok(Self {
            extras: extras.iter().map(extra).collect::<Result<_>>()?,
            groups: groups.iter().map(group).collect::<Result<_>>()?,
        })
    }
}

/// A lock and what it is read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockFile<'a> {
    /// As messages name it.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// The directory that relative paths start from; absolute.
    pub(super) base: &'a Path,
    /// The text of the [`Format::project_file`] beside it, if there is one.
    pub(super) project: Option<&'a str>,
}

/// What a lock asks for.
#[derive(Debug, Default)]
pub(super) struct LockedInputs {
    pub(super) requirements: Vec<Requirement>,
    /// The digests of requirements when not all of them have some: a tree has none, and digests
    /// beside one requirement would be wanted of all.
    pub(super) constraints: Vec<Requirement>,
    /// How sources are built, where the lock tells.
    pub(super) builds: Vec<Build>,
    /// The local files that the lock says it was made from.
    pub(super) files: BTreeMap<PathBuf, Sha256>,
    /// URLs in the order of the lock.
    pub(super) indexes: Vec<String>,
    /// Absolute paths of directories, and URLs.
    pub(super) find_links: Vec<String>,
    /// The files of packages that it names.
    pub(super) named_files: Vec<LockedFile>,
    pub(super) scope: SupportedTargets,
    pub(super) notes: Vec<String>,
}

/// Tells the format of the lock at `path` whose text is `text`.
///
/// # Errors
/// It is no lock that is known.
pub(super) fn recognize(path: &str, text: &str) -> Result<Format> {
    let format = Format::of_name(path).or_else(|| Format::of_text(text));
    format.ok_or_else(|| {
        Error::new(Kind::Input, format!("`{path}` is no lock that is known"))
            .with_hint("Known are pylock.toml (PEP 751), uv.lock, poetry.lock and Pipfile.lock.")
    })
}

/// Reads the lock `file`.
///
/// # Errors
/// It cannot be read, is of an unknown version, is outdated, or has no such extra or group: the
/// message names the file and the entry.
pub(super) fn read(
    format: Format,
    file: &LockFile<'_>,
    selection: &Selection,
) -> Result<LockedInputs> {
    let contents = match format {
        Format::Pylock => pylock::read(file, selection),
        Format::Uv => uv::read(file, selection),
        Format::Poetry => poetry::read(file, selection),
        Format::Pipfile => pipfile::read(file, selection),
    };
    let contents = contents.and_then(LockRequirements::checked);
    contents
        .map(|contents| contents.locked(file))
        .context(Kind::Input, || {
            format!("the lock `{}` cannot be used", file.name)
        })
}

/// The name of the file at `place`, a URL or a path.
fn filename_of(place: &str) -> String {
    // A URL may go on after its path.
    let path = match Url::parse(place) {
        Ok(_) => place.split(['?', '#']).next().unwrap_or(place),
        Err(_) => place,
    };
    let filename = path.rsplit(['/', '\\']).next().unwrap_or(path);
    percent_decode_str(filename)
        .decode_utf8_lossy()
        .into_owned()
}

/// Says that a lock has no such extra or group, and which it has.
fn unknown(kind: &str, name: &str, known: impl IntoIterator<Item = impl ToString>) -> Error {
    let mut known: Vec<String> = known.into_iter().map(|name| name.to_string()).collect();
    known.sort();
    known.dedup();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Error::new(
        Kind::Input,
        format!("it has no {kind} `{name}`; it has {known}"),
    )
}

/// Says that a lock does not fit `project`, the file that it was made from.
fn outdated(what: impl std::fmt::Display, command: &str) -> Error {
    Error::new(Kind::Input, format!("it is outdated: {what}"))
        .with_hint(format!("Make it anew with `{command}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_locks_by_name() {
        let format = Format::of_name;
        assert_eq!(format("pylock.toml"), Some(Format::Pylock));
        assert_eq!(format("a/pylock.dev.toml"), Some(Format::Pylock));
        assert_eq!(format("pylock..toml"), None);
        assert_eq!(format("pylock.a.b.toml"), None);
        assert_eq!(format("https://host/a/uv.lock"), Some(Format::Uv));
        assert_eq!(format("./poetry.lock"), Some(Format::Poetry));
        assert_eq!(format("Pipfile.lock"), Some(Format::Pipfile));
        assert_eq!(format("requirements.txt"), None);
    }

    #[test]
    fn recognizes_locks_by_content() {
        let format = |text| recognize("production.lock", text).ok();
        assert_eq!(format("{\"_meta\": {}}"), Some(Format::Pipfile));
        assert_eq!(format("version = 1\n"), Some(Format::Uv));
        assert_eq!(format("lock-version = '1.0'\n"), Some(Format::Pylock));
        assert_eq!(
            format("[metadata]\nlock-version = '2.1'\n"),
            Some(Format::Poetry)
        );
        let error = recognize("production.lock", "django\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`production.lock` is no lock that is known"
        );
    }
}
