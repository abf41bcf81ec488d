//! The errors of the store: each names the path, and hints at a remedy.

use std::io;
use std::path::Path;

use wheelhouse_types::{Error, Kind};

/// Returns the error of a directory that cannot be used as a store.
pub(crate) fn unusable(root: &Path, error: io::Error) -> Error {
    let message = format!("the cache `{}` cannot be used", root.display());
    Error::new(Kind::Input, message)
        .with_hint("Pass a writable directory with --cache-dir.")
        .caused_by(error)
}

/// Returns the error of a failed write to the store.
pub(crate) fn writing(root: &Path, error: io::Error) -> Error {
    let message = format!("failed to write to the cache `{}`", root.display());
    let hint = if is_full(&error) {
        "Free some space there (`wheelhouse cache prune`), or pass another directory with --cache-dir."
    } else {
        "Make it writable, or pass another directory with --cache-dir."
    };
    Error::new(Kind::Fetch, message)
        .with_hint(hint)
        .caused_by(error)
}

/// Returns the error of a write to a store that was opened for reading.
pub(crate) fn read_only(root: &Path) -> Error {
    let message = format!("the cache `{}` is read-only", root.display());
    Error::new(Kind::Fetch, message).with_hint("Pass a writable directory with --cache-dir.")
}

/// Returns the error of a file in the store that cannot be read.
pub(crate) fn reading(path: &Path, error: io::Error) -> Error {
    let message = format!("failed to read `{}` in the cache", path.display());
    let hint = "Make it readable, delete it, or pass another directory with --cache-dir.";
    Error::new(Kind::Fetch, message)
        .with_hint(hint)
        .caused_by(error)
}

/// Returns the error of an entry that `event` (`was removed from the cache`) after it was found.
pub(crate) fn changed(path: &Path, event: &str) -> Error {
    let message = format!("`{}` {event} during this run", path.display());
    Error::new(Kind::Fetch, message)
        .with_hint("Run the command again to download or build the file again.")
}

/// Returns the error of a local file that cannot be read to add it to the store.
pub(crate) fn adding(path: &Path, error: io::Error) -> Error {
    let message = format!("failed to read `{}`", path.display());
    Error::new(Kind::Input, message).caused_by(error)
}

/// Returns the error of a failure to list or remove files in the store.
pub(crate) fn maintaining(root: &Path, error: impl Into<io::Error>) -> Error {
    let message = format!("failed to list or clean up the cache `{}`", root.display());
    Error::new(Kind::Input, message).caused_by(error.into())
}

/// Returns the error of a file that cannot be created at its destination.
pub(crate) fn linking(destination: &Path, error: io::Error) -> Error {
    let directory = destination.parent().unwrap_or(destination).display();
    let hint = match error.kind() {
        _ if is_full(&error) => Some(format!(
            "Free some space in `{directory}`, or choose another output."
        )),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Some(format!(
            "Make `{directory}` writable, or choose another output."
        )),
        io::ErrorKind::CrossesDevices => Some(format!(
            "`{directory}` is on another filesystem than the cache; use --link-mode copy."
        )),
        io::ErrorKind::Unsupported => Some(
            "The filesystem does not support this link mode; use another --link-mode.".to_owned(),
        ),
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
