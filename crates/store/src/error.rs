//! Failures of the operating system, told as errors that name the place and what to do about it.
//!
//! Never decides whether a failure matters.

use std::io;
use std::path::Path;

use wheelhouse_types::{Error, Kind};

/// The directory cannot be used as a store.
pub(super) fn unusable(root: &Path, error: io::Error) -> Error {
    let message = format!("the cache `{}` cannot be used", root.display());
    let hint = "Name a writable directory with --cache-dir.";
    Error::new(Kind::Input, message)
        .with_hint(hint)
        .caused_by(error)
}

/// The store cannot be written.
pub(super) fn writing(root: &Path, error: io::Error) -> Error {
    let message = format!("failed to write to the cache `{}`", root.display());
    let hint = if is_full(&error) {
        "Free some space there (`wheelhouse cache prune`), or name another place with --cache-dir."
    } else {
        "Make it writable, or name another place with --cache-dir."
    };
    Error::new(Kind::Fetch, message)
        .with_hint(hint)
        .caused_by(error)
}

/// The store cannot be written because it was opened for reading.
pub(super) fn read_only(root: &Path) -> Error {
    let message = format!("the cache `{}` is read-only", root.display());
    Error::new(Kind::Fetch, message).with_hint("Name a writable directory with --cache-dir.")
}

/// Something in the store cannot be read.
pub(super) fn reading(path: &Path, error: io::Error) -> Error {
    let message = format!("failed to read `{}` of the cache", path.display());
    let hint = "Make it readable, delete it, or name another place with --cache-dir.";
    Error::new(Kind::Fetch, message)
        .with_hint(hint)
        .caused_by(error)
}

/// An entry is not what it was when it was found.
pub(super) fn changed(path: &Path, what: &str) -> Error {
    let message = format!("`{}` {what} during this run", path.display());
    Error::new(Kind::Fetch, message).with_hint("Run again: it is downloaded or built again.")
}

/// A local file that was to go into the store cannot be read.
pub(super) fn adding(path: &Path, error: io::Error) -> Error {
    let message = format!("failed to read `{}`", path.display());
    Error::new(Kind::Input, message).caused_by(error)
}

/// Something in the store cannot be listed or removed.
pub(super) fn upkeep(root: &Path, error: impl Into<io::Error>) -> Error {
    let message = format!("failed to tidy the cache `{}`", root.display());
    Error::new(Kind::Input, message).caused_by(error.into())
}

/// A file cannot be put where it belongs.
pub(super) fn linking(destination: &Path, error: io::Error) -> Error {
    let directory = destination.parent().unwrap_or(destination).display();
    let hint = match error.kind() {
        _ if is_full(&error) => Some(format!(
            "Free some space in `{directory}`, or name another output."
        )),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(format!(
            "Make `{directory}` writable, or name another output."
        )),
        io::ErrorKind::CrossesDevices => Some(format!(
            "`{directory}` is on another filesystem than the cache: let files be copied."
        )),
        io::ErrorKind::Unsupported => {
            Some("This filesystem cannot do that: let files be linked or copied.".to_owned())
        }
        _ => None,
    };
    let message = format!("failed to write `{}`", destination.display());
    let failure = Error::new(Kind::Publish, message).caused_by(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
