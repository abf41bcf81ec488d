//! Entries of the store: looking them up, trusting them, and noticing when somebody has changed
//! them.
//!
//! An entry with the modification time [`STORE_MTIME`] has not been written to since it was
//! checked, so one `lstat` is enough. Any other is digested again: kept when it is right, removed
//! when it is not. The access time says when an entry was last wanted; it is set by hand, at most
//! once a day, because filesystems are seldom mounted to keep it.
//!
//! Never fetches what is missing.

use std::collections::BTreeMap;
use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use wheelhouse_model::{Result, Sha256};

use super::layout::{Layout, STORE_MTIME};
use super::{Store, failure, tolerate_no_locks};

/// How much is read or written at once, in bytes.
pub(super) const CHUNK: usize = 256 * 1024;

const DAY: Duration = Duration::from_hours(24);

/// A file of the store whose digest was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    pub path: PathBuf,
    /// The permission bits.
    pub(super) mode: u32,
}

/// What a look into the store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T = Stored> {
    /// It is there and right.
    Present(T),
    /// It is not there.
    Absent,
    /// It was there, but somebody had changed this file, so it has been removed (unless the store
    /// is read-only): worth a warning, and to be had again like an absent one.
    Corrupt(PathBuf),
}

impl<T> Found<T> {
    /// The thing, if it is there and right.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(thing) => Some(thing),
            Self::Absent | Self::Corrupt(_) => None,
        }
    }
}

/// What a look for many files found.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub present: BTreeMap<Sha256, Stored>,
    /// Entries that somebody had changed, as in [`Found::Corrupt`].
    pub corrupt: Vec<PathBuf>,
}

impl Store {
    /// Looks for the file with digest `sha256`. Costs one `lstat` unless the entry was touched.
    ///
    /// # Errors
    /// Fails if an entry is there but cannot be read.
    pub fn find(&self, sha256: &Sha256) -> Result<Found> {
        let path = self.layout().entry(sha256);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
            Err(error) => Err(failure::reading(&path, error)),
            Ok(metadata) if is_trusted(&metadata) => {
                self.mark_used(&path, &metadata);
                Ok(Found::Present(stored(sha256, path, &metadata)))
            }
            Ok(metadata) if metadata.is_file() => self.examine(sha256, &path),
            Ok(metadata) => self.discard(sha256, path, &metadata),
        }
    }

    /// Looks for many files at once.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub fn find_many(&self, digests: impl IntoIterator<Item = Sha256>) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        for sha256 in digests {
            match self.find(&sha256)? {
                Found::Present(stored) => drop(inventory.present.insert(sha256, stored)),
                Found::Absent => {}
                Found::Corrupt(path) => inventory.corrupt.push(path),
            }
        }
        Ok(inventory)
    }

    /// Digests an entry that somebody may have changed.
    fn examine(&self, sha256: &Sha256, path: &Path) -> Result<Found> {
        let failed = |error| failure::reading(path, error);
        let mut file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            opened => opened.map_err(failed)?,
        };
        let before = file.metadata().map_err(failed)?;
        let (found, _) = Sha256::of_reader(&mut file).map_err(failed)?;
        if found != *sha256 {
            return self.discard(sha256, path.to_owned(), &before);
        }
        let after = file.metadata().map_err(failed)?;
        if self.is_writable() && is_same(&before, &after) {
            // Failing to note that it is intact costs the next run a digest, and nothing else.
            let _ = file.set_times(FileTimes::new().set_modified(store_mtime()));
        }
        Ok(Found::Present(stored(sha256, path.to_owned(), &after)))
    }

    /// Removes an entry that was `judged` to be wrong.
    ///
    /// Under a lock, since another process may have removed it meanwhile, and put a right one in
    /// its place, which must stay.
    pub(super) fn discard(
        &self,
        sha256: &Sha256,
        path: PathBuf,
        judged: &Metadata,
    ) -> Result<Found> {
        if !self.is_writable() {
            return Ok(Found::Corrupt(path));
        }
        let failed = |error| failure::writing(self.root(), error);
        let lock = Layout::open_lock(&self.layout().removal_lock()).map_err(failed)?;
        tolerate_no_locks(lock.lock()).map_err(failed)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Corrupt(path)),
            Err(error) => Err(failure::reading(&path, error)),
            Ok(now) if is_same(judged, &now) => {
                fs::remove_file(&path).map_err(failed)?;
                Ok(Found::Corrupt(path))
            }
            Ok(_) => {
                drop(lock);
                self.find(sha256)
            }
        }
    }

    /// Notes that an entry is in use, for [`super::Upkeep::prune`].
    fn mark_used(&self, path: &Path, metadata: &Metadata) {
        let used_lately = metadata
            .accessed()
            .is_ok_and(|accessed| accessed.elapsed().is_ok_and(|age| age < DAY));
        if used_lately || !self.is_writable() {
            return;
        }
        let timespec = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let times = Timestamps {
            last_access: timespec(UTIME_NOW),
            last_modification: timespec(UTIME_OMIT),
        };
        // Only the owner may do this; an entry of another user just looks older than it is.
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// [`STORE_MTIME`] as a point in time.
pub(super) fn store_mtime() -> SystemTime {
    SystemTime::UNIX_EPOCH + STORE_MTIME
}

/// Whether nobody has written to an entry since it was checked. After a power failure a file may
/// be empty and yet bear its time.
pub(super) fn is_trusted(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() > 0 && has_store_mtime(metadata)
}

pub(super) fn has_store_mtime(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|time| time == store_mtime())
}

pub(super) fn stored(sha256: &Sha256, path: PathBuf, metadata: &Metadata) -> Stored {
    Stored {
        sha256: *sha256,
        size: metadata.len(),
        path,
        mode: metadata.mode() & 0o777,
    }
}

/// Whether two looks at a path saw the same file with the same content.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let identity = |metadata: &Metadata| {
        let time = (metadata.mtime(), metadata.mtime_nsec());
        (metadata.dev(), metadata.ino(), metadata.len(), time)
    };
    identity(one) == identity(other)
}
