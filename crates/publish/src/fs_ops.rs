//! The changes that publication makes to a file system, one method each, so that tests can stop a run before any of them.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use fs_err as fs;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::wheelhouse::FilePlacer;

/// Modifies the file system.
pub(crate) trait FsOps: Sync {
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn place(&self, placer: &dyn FilePlacer, sha256: &Sha256, path: &Path) -> Result<()>;
    /// Flushes a file, or the names in a directory, to the disk.
    fn flush(&self, path: &Path) -> io::Result<()>;
    /// Flushes the whole file system of `root`. Returns `false` if the platform does not support this.
    fn flush_all(&self, _root: &Path) -> io::Result<bool> {
        Ok(false)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the operating system.
pub(crate) struct RealFs;

impl FsOps for RealFs {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn place(&self, placer: &dyn FilePlacer, sha256: &Sha256, path: &Path) -> Result<()> {
        placer.place(sha256, path)
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

/// Creates the error of a failed write to `path`, with a hint if `cause` has a common reason.
pub(crate) fn write_error(path: &Path, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    let cause = cause.into();
    let mut hint = None;
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*cause);
    while let (None, Some(error)) = (hint, next) {
        hint = error
            .downcast_ref::<io::Error>()
            .and_then(|error| io_hint(error.kind()));
        next = error.source();
    }
    let error = Error::new(Kind::Publish, format!("failed to write {}", path.display()));
    let error = error.caused_by(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::PermissionDenied => {
            Some("Make the output directory writable for this user, or choose another directory.")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("Choose a directory that is not on a read-only file system.")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("Free some disk space, or choose a directory on another disk.")
        }
        io::ErrorKind::InvalidInput => Some("Move it away, or choose another directory."),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Some(
            "Move the file or link away, because a directory is needed at this path, or choose another directory.",
        ),
        io::ErrorKind::IsADirectory => Some(
            "Move the directory away, because a file is needed at this path, or choose another directory.",
        ),
        _ => None,
    }
}
