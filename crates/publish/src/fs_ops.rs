//! The changes that publishing makes to a directory, one function each: the seam at which tests
//! stop a run.
//!
//! Never decides what to change.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use fs_err as fs;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::Place;

/// Every way in which publishing changes the filesystem.
pub(super) trait Operations: Sync {
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn place(&self, store: &dyn Place, sha256: &Sha256, path: &Path) -> Result<()>;
    /// Waits until a file, or the names in a directory, are on the disk.
    fn flush(&self, path: &Path) -> io::Result<()>;
    /// Waits until everything written below `root` is on the disk, if that can be had at once.
    fn flush_all(&self, _root: &Path) -> io::Result<bool> {
        Ok(false)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
}

/// The real filesystem.
pub(super) struct Disk;

impl Operations for Disk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn place(&self, store: &dyn Place, sha256: &Sha256, path: &Path) -> Result<()> {
        store.place(sha256, path)
    }

    fn flush(&self, path: &Path) -> io::Result<()> {
        match fs::File::open(path)?.sync_all() {
            // Some file systems cannot flush directories.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    }

    #[cfg(target_os = "linux")]
    fn flush_all(&self, root: &Path) -> io::Result<bool> {
        rustix::fs::syncfs(fs::File::open(root)?.file())?;
        Ok(true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// Makes the error for `path`, with a hint where the cause is an ordinary one.
pub(super) fn failure(path: &Path, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    let cause = cause.into();
    let hint = hint(&*cause);
    let error = Error::new(Kind::Publish, format!("failed to write {}", path.display()));
    let error = error.caused_by(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn hint(cause: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(cause);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && let Some(hint) = hint_for(error.kind())
        {
            return Some(hint);
        }
        next = error.source();
    }
    None
}

fn hint_for(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::PermissionDenied => {
            Some("Make the output directory writable for this user, or choose another one.")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("The output is on a read-only file system: choose another directory.")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("The disk is full: make room, or choose a directory on another one.")
        }
        io::ErrorKind::InvalidInput => Some("Move it away, or choose another directory."),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Some(
            "A file or a link is where a directory is needed: move it, or choose another directory.",
        ),
        io::ErrorKind::IsADirectory => {
            Some("A directory is where a file is needed: move it, or choose another directory.")
        }
        _ => None,
    }
}
