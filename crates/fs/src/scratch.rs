//! Scratch directories and files: removed when they are dropped, and found by the next process where one was killed.
//!
//! Each is locked by the process that uses it. [`sweep`] removes those of this user that no process has locked; a
//! process identifier would not do, since it may be that of another process, or of one in another container.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use rustix::process::geteuid;
use tempfile::{NamedTempFile, TempDir};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::locks::is_at;

/// The start of the names of scratch directories in the directory for temporary files.
const IN_TEMPORARY: &str = "wheelhouse-scratch-";

/// The start of the names of those that are beside a result.
const BESIDE: &str = ".wheelhouse-scratch-";

/// The number of times that one is made anew which another process has taken for a remainder.
const ATTEMPTS: usize = 8;

/// A directory that is locked while it is used.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a directory among the temporary files, and removes those that killed processes left there.
    ///
    /// # Errors
    /// [`Kind::Publish`], if it cannot be made.
    pub fn new() -> Result<Self> {
        let within = std::env::temp_dir();
        sweep(&within);
        Self::make(&within, IN_TEMPORARY).context(Kind::Publish, || {
            format!(
                "failed to make a temporary directory in {}",
                within.display()
            )
        })
    }

    /// Makes a directory in `within`, the parent of a result, and removes those that killed processes left there.
    ///
    /// # Errors
    /// Those of the filesystem.
    pub fn beside(within: &Path) -> io::Result<Self> {
        sweep(within);
        Self::make(within, BESIDE)
    }

    fn make(within: &Path, prefix: &str) -> io::Result<Self> {
        let make = || {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(within)?;
            let lock = File::open(directory.path());
            Ok((directory, lock))
        };
        let (directory, lock) = locked(make, TempDir::path)?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves the directory where it is.
    #[must_use]
    pub fn keep(self) -> std::path::PathBuf {
        self.directory.keep()
    }
}

/// Makes a file in `within` with these `permissions`, which is to be renamed, and removes those that killed processes left
/// there.
///
/// # Errors
/// Those of the filesystem.
pub fn file(within: &Path, permissions: &std::fs::Permissions) -> io::Result<NamedTempFile> {
    sweep(within);
    let make = || {
        let file = tempfile::Builder::new()
            .prefix(BESIDE)
            .permissions(permissions.clone())
            .tempfile_in(within)?;
        let lock = file.as_file().try_clone();
        Ok((file, lock))
    };
    // The lock is that of the file, however many handles it has.
    locked(make, NamedTempFile::path).map(|(file, _)| file)
}

/// Makes something with `make` and locks it. Until it is locked another process may remove it.
fn locked<T>(
    make: impl Fn() -> io::Result<(T, io::Result<File>)>,
    path: impl Fn(&T) -> &Path,
) -> io::Result<(T, File)> {
    let mut attempt = 1;
    loop {
        let (made, lock) = make()?;
        let is_ours = lock.as_ref().is_ok_and(|lock| {
            // Where there are no locks, nothing is swept either.
            let is_taken = matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock));
            !is_taken && is_at(lock, path(&made))
        });
        if is_ours || attempt == ATTEMPTS {
            return Ok((made, lock?));
        }
        attempt += 1;
    }
}

/// Removes from `within` what processes of this user left there that no longer run. What cannot be removed stays.
pub fn sweep(within: &Path) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(IN_TEMPORARY) && !name.starts_with(BESIDE) {
            continue;
        }
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let kind = metadata.file_type();
        if metadata.uid() != geteuid().as_raw() || !(kind.is_dir() || kind.is_file()) {
            continue;
        }
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if lock.try_lock().is_err() || !is_at(&lock, &path) {
            continue;
        }
        tracing::debug!("removing {}, which a killed process left", path.display());
        let _ = if kind.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn sweeps_only_unused_files() {
        let within = tempfile::tempdir().unwrap();
        let used = Scratch::beside(within.path()).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        let file = file(within.path(), &mode).unwrap();
        std::fs::create_dir(within.path().join(".wheelhouse-scratch-left")).unwrap();
        std::fs::write(within.path().join(".wheelhouse-scratch-left/a"), "").unwrap();
        std::fs::write(within.path().join(".wheelhouse-scratch-file"), "").unwrap();
        std::fs::create_dir(within.path().join("wheelhouse-scratchpad")).unwrap();
        std::fs::create_dir(within.path().join("wheelhouse")).unwrap();
        sweep(within.path());
        assert!(used.path().exists() && file.path().exists());
        assert_eq!(names(within.path()), 4);
        // When a process is killed, its lock disappears and its directory stays.
        let _ = used.keep();
        file.keep().unwrap();
        sweep(within.path());
        assert_eq!(names(within.path()), 2);
    }

    #[test]
    fn supports_concurrent_creation_and_sweeping() {
        let within = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let scratch = Scratch::beside(within.path()).unwrap();
                        std::fs::write(scratch.path().join("a"), "").unwrap();
                        assert!(scratch.path().join("a").exists());
                    }
                });
            }
        });
        assert_eq!(names(within.path()), 0);
    }
}
