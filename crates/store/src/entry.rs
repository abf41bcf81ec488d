//! Entries of the store: finds, digests and discards them.
//!
//! A process digests an entry when it first needs it; threads that need it at the same time wait. Afterwards one `lstat` shows that the file is unchanged, because no
//! process can choose a change time. Entries that the caller [trusts](Store::trusting) are not digested while they have the
//! modification time [`STORE_MTIME`]; a process that writes to one changes that time, but could restore it.
//!
//! The access time of an entry is the time of its last use. The store sets it, at most once a day, because filesystems are
//! rarely mounted to maintain it.
//!
//! Does not fetch missing entries.

use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use wheelhouse_fs::digest;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::threads::try_in_parallel;
use wheelhouse_types::{Result, Sha256};

use crate::error;
use crate::layout::{Layout, STORE_MTIME, tolerate_no_locks};
use crate::store::{EntryState, Store};
use crate::temporary::mode_bits;

const DAY: Duration = Duration::from_hours(24);

/// A file in the store whose digest was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The digest of the file.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
    /// The path of the file in the store.
    pub path: PathBuf,
    /// The permission bits.
    pub(crate) mode: u32,
}

impl StoredFile {
    pub(crate) fn new(sha256: &Sha256, path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            sha256: *sha256,
            size: metadata.len(),
            path,
            mode: mode_bits(metadata),
        }
    }
}

/// The result of looking up an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T = StoredFile> {
    /// The entry exists and is intact.
    Hit(T),
    /// The entry does not exist.
    Miss,
    /// The entry at this path was corrupt or unreadable, and was removed unless that was not permitted. The caller warns
    /// about it and treats it as a miss.
    Corrupt(PathBuf),
}

impl<T> Lookup<T> {
    /// Returns the entry if it exists and is intact.
    pub fn hit(self) -> Option<T> {
        match self {
            Self::Hit(entry) => Some(entry),
            Self::Miss | Self::Corrupt(_) => None,
        }
    }
}

/// The result of examining an entry.
enum Examined {
    Intact(Metadata),
    Missing,
    /// With the reason.
    Corrupt(Metadata, &'static str),
}

impl Store {
    /// Finds the file with the digest `sha256`. Digests it unless this process has done so before or trusts it.
    ///
    /// # Errors
    /// Fails if the directory of the entry cannot be read, or if a corrupt entry cannot be removed.
    pub fn find(&self, sha256: &Sha256) -> Result<Lookup> {
        let lookup = self.look_up(sha256, self.is_trusted(sha256))?;
        let result = match lookup {
            Lookup::Hit(_) => "hit",
            Lookup::Miss => "miss",
            Lookup::Corrupt(_) => "corrupt",
        };
        tracing::debug!(%sha256, result, "looked up cached file");
        Ok(lookup)
    }

    /// Returns whether the store has an entry with the digest `sha256`, which may be corrupt.
    #[must_use]
    pub fn has_entry(&self, sha256: &Sha256) -> bool {
        let metadata = fs::symlink_metadata(self.layout().entry(sha256));
        metadata.is_ok_and(|metadata| metadata.is_file())
    }

    /// Finds many files in parallel. Returns the results in the order of `digests`.
    ///
    /// # Errors
    /// As [`Store::find`].
    ///
    /// # Panics
    /// If [`Store::find`] panics.
    pub fn find_many(&self, digests: &[Sha256]) -> Result<Vec<Lookup>> {
        try_in_parallel(digests, |sha256| self.find(sha256))
    }

    fn look_up(&self, sha256: &Sha256, is_trusted: bool) -> Result<Lookup> {
        let path = self.layout().entry(sha256);
        let examined = {
            let verified = self.verified(sha256);
            let mut verified = verified.lock().unwrap_or_else(PoisonError::into_inner);
            self.examine(sha256, &path, is_trusted, &mut verified)
        };
        match examined.map_err(|error| error::reading(&path, error))? {
            Examined::Intact(metadata) => Ok(Lookup::Hit(StoredFile::new(sha256, path, &metadata))),
            Examined::Missing => Ok(Lookup::Miss),
            Examined::Corrupt(metadata, reason) => self.discard(sha256, path, &metadata, reason),
        }
    }

    /// Examines the entry at `path`, and digests it unless it is in the `verified` state or trusted.
    fn examine(
        &self,
        sha256: &Sha256,
        path: &Path,
        is_trusted: bool,
        verified: &mut Option<EntryState>,
    ) -> io::Result<Examined> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Examined::Missing),
            result => result?,
        };
        if *verified == Some(EntryState::new(&found)) {
            return Ok(Examined::Intact(found));
        }
        if is_trusted && is_untouched_entry(&found) {
            self.mark_used(path, &found);
            return Ok(Examined::Intact(found));
        }
        if !found.is_file() {
            return Ok(Examined::Corrupt(found, "it is not a regular file"));
        }
        let mut file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Examined::Missing),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Examined::Corrupt(found, "it is not readable"));
            }
            result => result?,
        };
        let before = file.metadata()?;
        match digest::sha256(&mut file) {
            Ok((digest, _)) if digest == *sha256 => {}
            Ok(_) => return Ok(Examined::Corrupt(before, "its digest is wrong")),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "failed to read cached file");
                return Ok(Examined::Corrupt(before, "reading it failed"));
            }
        }
        let mut after = file.metadata()?;
        if EntryState::new(&before) == EntryState::new(&after) {
            if self.is_writable() && !has_store_mtime(&after) {
                // Without this time, another run digests the file again.
                let _ = file.set_times(FileTimes::new().set_modified(store_mtime()));
            }
            self.mark_used(path, &after);
            after = file.metadata()?;
            *verified = Some(EntryState::new(&after));
        }
        Ok(Examined::Intact(after))
    }

    /// Verifies that `stored` is unchanged since it was found, without trusting its times.
    ///
    /// # Errors
    /// Fails if the entry is missing or corrupt, and removes a corrupt one.
    pub(crate) fn check(&self, stored: &StoredFile) -> Result<()> {
        match self.look_up(&stored.sha256, false)? {
            Lookup::Hit(_) => Ok(()),
            Lookup::Miss => Err(error::changed(&stored.path, "was removed from the cache")),
            Lookup::Corrupt(path) => Err(error::changed(&path, "became corrupt in the cache")),
        }
    }

    /// Removes the entry that was `found` to be corrupt because of `reason`. An entry that may not be removed is reported as
    /// corrupt nevertheless; the error follows when it is written again.
    ///
    /// Takes a lock, since another process may have replaced the entry by an intact one, which must stay.
    pub(crate) fn discard(
        &self,
        sha256: &Sha256,
        path: PathBuf,
        found: &Metadata,
        reason: &'static str,
    ) -> Result<Lookup> {
        tracing::debug!(path = %path.display(), reason, "discarding corrupt cached file");
        if !self.is_writable() {
            return Ok(Lookup::Corrupt(path));
        }
        let failed = |error| error::writing(self.root(), error);
        let lock = Layout::open_lock(&self.layout().removal_lock()).map_err(failed)?;
        let name = self.layout().display_name();
        let locked = locks::acquire(lock.file(), LockMode::Exclusive, &name)?;
        tolerate_no_locks(locked).map_err(failed)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lookup::Corrupt(path)),
            Err(error) => Err(error::reading(&path, error)),
            Ok(current) if is_same(found, &current) => {
                match fs::remove_file(&path) {
                    Err(_) if current.is_dir() && fs::remove_dir_all(&path).is_ok() => {}
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    result => result.map_err(failed)?,
                }
                Ok(Lookup::Corrupt(path))
            }
            Ok(_) => {
                drop(lock);
                self.find(sha256)
            }
        }
    }

    /// Sets the time of the last use of an entry, for [`crate::GarbageCollector::prune`].
    fn mark_used(&self, path: &Path, metadata: &Metadata) {
        let used_today = metadata
            .accessed()
            .is_ok_and(|accessed| accessed.elapsed().is_ok_and(|age| age < DAY));
        if used_today || !self.is_writable() {
            return;
        }
        let timespec = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let times = Timestamps {
            last_access: timespec(UTIME_NOW),
            last_modification: timespec(UTIME_OMIT),
        };
        // Only the owner may do this; an entry of another user merely looks older than it is.
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// Returns [`STORE_MTIME`] as a point in time.
pub(crate) fn store_mtime() -> SystemTime {
    SystemTime::UNIX_EPOCH + STORE_MTIME
}

/// Returns whether the times of an entry show no write since it was verified. An empty file is never trusted: after a power
/// failure, a file may be empty and still have its time.
pub(crate) fn is_untouched_entry(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() > 0 && has_store_mtime(metadata)
}

pub(crate) fn has_store_mtime(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|time| time == store_mtime())
}

/// Returns whether two metadata are those of one file with the same content.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let identity = |metadata: &Metadata| {
        let time = (metadata.mtime(), metadata.mtime_nsec());
        (metadata.dev(), metadata.ino(), metadata.len(), time)
    };
    identity(one) == identity(other)
}
