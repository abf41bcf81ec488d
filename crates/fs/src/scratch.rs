//! Scratch directories and files. They are removed when they are dropped, or by a later process if theirs was killed.
//!
//! The process that uses one holds its lock. Before a process creates another one, it removes those of the same
//! user in the same directory that no process has locked. A process identifier in the name would not do, because another
//! process, or one in another container, may have the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::process::geteuid;
use tempfile::{NamedTempFile, TempDir};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::locks::is_at;
use crate::remove::{TemporaryDirectory, remove_all};

/// The prefix of names in the directory for temporary files.
const TEMPORARY_PREFIX: &str = "wheelhouse-scratch-";

/// The prefix of names in other directories, where they are hidden.
pub const HIDDEN_PREFIX: &str = ".wheelhouse-scratch-";

/// The number of attempts to create and lock a scratch directory before another process removes it.
const ATTEMPTS: usize = 8;

/// A locked directory for temporary files.
#[derive(Debug)]
pub struct Scratch {
    directory: TemporaryDirectory,
    _lock: File,
}

impl Scratch {
    /// Creates a directory in the directory for temporary files, and removes abandoned ones there.
    ///
    /// # Errors
    /// [`Kind::Publish`] if the directory cannot be created.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        Self::create(&parent, TEMPORARY_PREFIX).context(Kind::Publish, || {
            format!(
                "failed to create a temporary directory in {}",
                parent.display()
            )
        })
    }

    /// Creates a hidden directory in `parent`, so that results can be renamed into `parent`, and removes abandoned ones
    /// there.
    ///
    /// # Errors
    /// The error of the filesystem.
    pub fn in_directory(parent: &Path) -> io::Result<Self> {
        Self::create(parent, HIDDEN_PREFIX)
    }

    fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        remove_abandoned(parent);
        let create = || {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            let lock = File::open(directory.path());
            Ok((directory, lock))
        };
        let (directory, lock) = create_locked(create, TempDir::path)?;
        Ok(Self {
            directory: directory.into(),
            _lock: lock,
        })
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Releases the directory without removing it, and returns its path.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Creates a hidden file with `permissions` in `parent`, to be renamed later, and removes abandoned ones there.
///
/// # Errors
/// The error of the filesystem.
pub fn file(parent: &Path, permissions: &std::fs::Permissions) -> io::Result<NamedTempFile> {
    remove_abandoned(parent);
    let create = || {
        let file = tempfile::Builder::new()
            .prefix(HIDDEN_PREFIX)
            .permissions(permissions.clone())
            .tempfile_in(parent)?;
        let lock = file.as_file().try_clone();
        Ok((file, lock))
    };
    // The duplicated handle can be dropped, because the lock belongs to the open file.
    create_locked(create, NamedTempFile::path).map(|(file, _)| file)
}

/// Calls `create` until its result is locked and was not removed by another process in between.
fn create_locked<T>(
    create: impl Fn() -> io::Result<(T, io::Result<File>)>,
    path: impl Fn(&T) -> &Path,
) -> io::Result<(T, File)> {
    let mut attempt = 1;
    loop {
        let (created, lock) = create()?;
        let is_locked = lock.as_ref().is_ok_and(|lock| {
            // On filesystems without locks, `remove_abandoned` removes nothing either.
            let is_held = matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock));
            !is_held && is_at(lock, path(&created))
        });
        if is_locked || attempt == ATTEMPTS {
            return Ok((created, lock?));
        }
        attempt += 1;
    }
}

/// Removes the scratch directories and files of this user in `parent` whose process no longer runs. Ignores those that
/// cannot be removed.
pub fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(TEMPORARY_PREFIX) && !name.starts_with(HIDDEN_PREFIX) {
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
        tracing::debug!(path = %path.display(), "removing scratch files of a killed process");
        let _ = remove_all(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn count(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn removes_only_scratch_files_without_lock() {
        let within = tempfile::tempdir().unwrap();
        let used = Scratch::in_directory(within.path()).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        let file = file(within.path(), &mode).unwrap();
        std::fs::create_dir(within.path().join(".wheelhouse-scratch-left")).unwrap();
        std::fs::write(within.path().join(".wheelhouse-scratch-left/a"), "").unwrap();
        std::fs::write(within.path().join(".wheelhouse-scratch-file"), "").unwrap();
        std::fs::create_dir(within.path().join("wheelhouse-scratchpad")).unwrap();
        std::fs::create_dir(within.path().join("wheelhouse")).unwrap();
        remove_abandoned(within.path());
        assert!(used.path().exists() && file.path().exists());
        assert_eq!(count(within.path()), 4);
        // As if the process were killed: the lock is released, and the files stay.
        let _ = used.keep();
        file.keep().unwrap();
        remove_abandoned(within.path());
        assert_eq!(count(within.path()), 2);
    }

    #[test]
    fn allows_concurrent_creation_and_removal() {
        let within = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let scratch = Scratch::in_directory(within.path()).unwrap();
                        std::fs::write(scratch.path().join("a"), "").unwrap();
                        assert!(scratch.path().join("a").exists());
                    }
                });
            }
        });
        assert_eq!(count(within.path()), 0);
    }
}
