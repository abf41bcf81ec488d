//! Locks as input: `pylock.toml`, `uv.lock`, `poetry.lock` and `Pipfile.lock`.
//!
//! Determines the format of a lock. Each format has a reader, a function of texts that returns pinned packages
//! ([`pin`]), each with the marker that selects it, and the indexes of the lock. Markers are not evaluated, so that the
//! result applies to any target.

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

/// The locks that are looked for in an application, in order of precedence.
pub(super) const LOCK_NAMES: [&str; 4] = ["pylock.toml", "uv.lock", "poetry.lock", "Pipfile.lock"];

/// Returns whether a file may be called this as a `pylock.toml` (PEP 751); installers reject other names.
#[must_use]
pub fn is_pylock_name(name: &str) -> bool {
    LockFormat::of_name(name) == Some(LockFormat::Pylock)
}

/// The format of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockFormat {
    Pylock,
    Uv,
    Poetry,
    Pipfile,
}

impl LockFormat {
    /// Determines the format by the name of the file; `None` if it is not a lock.
    pub(super) fn of_name(path: &str) -> Option<Self> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        match name {
            "pylock.toml" => Some(Self::Pylock),
            "uv.lock" => Some(Self::Uv),
            "poetry.lock" => Some(Self::Poetry),
            "Pipfile.lock" => Some(Self::Pipfile),
            _ => {
                // PEP 751 allows `pylock.NAME.toml`, where the name has no dot.
                let middle = name.strip_prefix("pylock.")?.strip_suffix(".toml")?;
                (!middle.is_empty() && !middle.contains('.')).then_some(Self::Pylock)
            }
        }
    }

    /// Determines the format by the contents of the file.
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

    /// Returns the name of the file that the lock was created from; `None` for a `pylock.toml`.
    pub(super) fn project_file(self) -> Option<&'static str> {
        match self {
            Self::Pylock => None,
            Self::Uv | Self::Poetry => Some("pyproject.toml"),
            Self::Pipfile => Some("Pipfile"),
        }
    }
}

/// The selected extras and groups of a lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) extras: Vec<ExtraName>,
    pub(super) groups: Vec<GroupName>,
}

impl Selection {
    /// Parses the names of the command line.
    pub(super) fn parse(extras: &[String], groups: &[String]) -> Result<Self> {
        let extra = |name: &String| {
            let message = || format!("`{name}`, given with --extra, is not a valid extra name");
            name.parse().context(Kind::Input, message)
        };
        let group = |name: &String| {
            let message = || format!("`{name}`, given with --group, is not a valid group name");
            name.parse().context(Kind::Input, message)
        };
        Ok(Self {
            extras: extras.iter().map(extra).collect::<Result<_>>()?,
            groups: groups.iter().map(group).collect::<Result<_>>()?,
        })
    }
}

/// A lock and its surroundings.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockFile<'a> {
    /// The name in messages.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// The absolute directory that relative paths are resolved against.
    pub(super) base: &'a Path,
    /// The text of the [`LockFormat::project_file`] next to it, if it exists.
    pub(super) project: Option<&'a str>,
}

/// The requirements of a lock.
#[derive(Debug, Default)]
pub(super) struct LockedInputs {
    pub(super) requirements: Vec<Requirement>,
    /// The hashes of requirements if not all of them have one: source trees have none, and a hash of one
    /// requirement would make hashes required of all.
    pub(super) constraints: Vec<Requirement>,
    /// The build dependencies of sources, if the lock has them.
    pub(super) builds: Vec<Build>,
    /// The local files that the lock was created from.
    pub(super) files: BTreeMap<PathBuf, Sha256>,
    /// URLs in the order of the lock.
    pub(super) indexes: Vec<String>,
    /// Absolute paths of directories, and URLs.
    pub(super) find_links: Vec<String>,
    /// The files of packages in the lock.
    pub(super) named_files: Vec<LockedFile>,
    pub(super) scope: SupportedTargets,
    pub(super) notes: Vec<String>,
}

/// Determines the format of the lock at `path` with the contents `text`.
///
/// # Errors
/// The file is not a recognized lockfile.
pub(super) fn recognize(path: &str, text: &str) -> Result<LockFormat> {
    let format = LockFormat::of_name(path).or_else(|| LockFormat::of_text(text));
    format.ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!("`{path}` is not a recognized lockfile"),
        )
        .with_hint("Use a pylock.toml (PEP 751), uv.lock, poetry.lock or Pipfile.lock.")
    })
}

/// Reads the lock `file`.
///
/// # Errors
/// The lock cannot be read, has an unknown version, is outdated, or lacks an extra or group. The
/// message names the file and the entry.
pub(super) fn read(
    format: LockFormat,
    file: &LockFile<'_>,
    selection: &Selection,
) -> Result<LockedInputs> {
    let contents = match format {
        LockFormat::Pylock => pylock::read(file, selection),
        LockFormat::Uv => uv::read(file, selection),
        LockFormat::Poetry => poetry::read(file, selection),
        LockFormat::Pipfile => pipfile::read(file, selection),
    };
    let contents = contents.and_then(LockRequirements::checked);
    contents
        .map(|contents| contents.locked(file))
        .context(Kind::Input, || {
            format!("the lock `{}` cannot be used", file.name)
        })
}

/// Returns the file name of `place`, a URL or a path.
fn filename_of(place: &str) -> String {
    // A URL may have a query or fragment.
    let path = match Url::parse(place) {
        Ok(_) => place.split(['?', '#']).next().unwrap_or(place),
        Err(_) => place,
    };
    let filename = path.rsplit(['/', '\\']).next().unwrap_or(path);
    percent_decode_str(filename)
        .decode_utf8_lossy()
        .into_owned()
}

/// Returns an error for an extra or group that the lock does not have.
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

/// Returns an error for a lock that does not match the file that it was created from.
fn outdated(what: impl std::fmt::Display, command: &str) -> Error {
    Error::new(Kind::Input, format!("it is outdated: {what}"))
        .with_hint(format!("Update it with `{command}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_locks_by_name() {
        let format = LockFormat::of_name;
        assert_eq!(format("pylock.toml"), Some(LockFormat::Pylock));
        assert_eq!(format("a/pylock.dev.toml"), Some(LockFormat::Pylock));
        assert_eq!(format("pylock..toml"), None);
        assert_eq!(format("pylock.a.b.toml"), None);
        assert_eq!(format("https://host/a/uv.lock"), Some(LockFormat::Uv));
        assert_eq!(format("./poetry.lock"), Some(LockFormat::Poetry));
        assert_eq!(format("Pipfile.lock"), Some(LockFormat::Pipfile));
        assert_eq!(format("requirements.txt"), None);
    }

    #[test]
    fn recognizes_locks_by_content() {
        let format = |text| recognize("production.lock", text).ok();
        assert_eq!(format("{\"_meta\": {}}"), Some(LockFormat::Pipfile));
        assert_eq!(format("version = 1\n"), Some(LockFormat::Uv));
        assert_eq!(format("lock-version = '1.0'\n"), Some(LockFormat::Pylock));
        assert_eq!(
            format("[metadata]\nlock-version = '2.1'\n"),
            Some(LockFormat::Poetry)
        );
        let error = recognize("production.lock", "django\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`production.lock` is not a recognized lockfile"
        );
    }
}
