//! Entries of the store: looking them up, digesting them, and removing those that are corrupt.
//!
//! An entry is digested the first time that a process wants it. Afterwards one `lstat` tells that it is the same
//! file: the time of its last change, which no process can choose, is the same. Entries that the caller
//! [believes](Store::trusting) are not digested while they have the modification time [`STORE_MTIME`]; a process that
//! writes to one moves that time, but can also put it back.
//!
//! The access time says when an entry was last wanted; it is set by hand, at most
//! once a day, because filesystems are seldom mounted to keep it.
//!
//! Never fetches what is missing.

use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use wheelhouse_types::{Result, Sha256};

use super::layout::{Layout, STORE_MTIME};
use super::{Store, error, tolerate_no_locks};
use wheelhouse_fs::locks::{self, Share};
use wheelhouse_fs::threads::on_threads;

/// How much is read or written at once, in bytes.
pub(super) const CHUNK: usize = 256 * 1024;

const DAY: Duration = Duration::from_hours(24);

/// A file of the store whose digest was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    pub path: PathBuf,
    /// The permission bits.
    pub(super) mode: u32,
}

/// What a look into the store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T = StoredFile> {
    /// It is there and right.
    Hit(T),
    /// It is not there.
    Miss,
    /// It was there, but was changed or cannot be read, so it has been removed (unless it may not be):
    /// worth a warning, and to be had again like an absent one.
    Corrupt(PathBuf),
}

impl<T> Lookup<T> {
    /// The thing, if it is there and right.
    pub fn hit(self) -> Option<T> {
        match self {
            Self::Hit(thing) => Some(thing),
            Self::Miss | Self::Corrupt(_) => None,
        }
    }
}

/// Identifies a state of a file. The time of the last change is set by the system alone, whenever the file is written to,
/// linked, renamed, or gets another time.
pub(super) type FileState = [i128; 4];

pub(super) fn state_of(metadata: &Metadata) -> FileState {
    let changed = i128::from(metadata.ctime()) << 64 | i128::from(metadata.ctime_nsec());
    let (device, inode) = (metadata.dev(), metadata.ino());
    [device.into(), inode.into(), metadata.len().into(), changed]
}

impl Store {
    /// Looks for the file with digest `sha256`, and digests it unless this process has done so before or believes it.
    ///
    /// # Errors
    /// Fails if the directory of the entry cannot be read, or if a corrupt entry cannot be removed.
    pub fn find(&self, sha256: &Sha256) -> Result<Lookup> {
        self.look(sha256, self.trusted.contains(sha256))
    }

    /// Looks for many files, on all processors; the results are in the order of `digests`.
    ///
    /// # Errors
    /// As [`Store::find`].
    ///
    /// # Panics
    /// If [`Store::find`] does.
    pub fn find_many(&self, digests: &[Sha256]) -> Result<Vec<Lookup>> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        // The sizes of files differ, so each thread takes one after another.
        let find_next = || {
            let position = next.fetch_add(1, Ordering::Relaxed);
            Some((position, self.find(digests.get(position)?)))
        };
        let threads = vec![(); processors.min(digests.len())];
        let found = on_threads(&threads, |()| {
            std::iter::from_fn(find_next).collect::<Vec<_>>()
        });
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        found.sort_by_key(|(position, _)| *position);
        found.into_iter().map(|(_, found)| found).collect()
    }

    fn look(&self, sha256: &Sha256, is_believed: bool) -> Result<Lookup> {
        let path = self.layout().entry(sha256);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lookup::Miss),
            Err(error) => Err(error::reading(&path, error)),
            Ok(metadata) if self.is_verified(sha256, &metadata) => {
                Ok(Lookup::Hit(stored(sha256, path, &metadata)))
            }
            Ok(metadata) if is_believed && is_trusted(&metadata) => {
                self.mark_used(&path, &metadata);
                Ok(Lookup::Hit(stored(sha256, path, &metadata)))
            }
            Ok(metadata) if metadata.is_file() => self.examine(sha256, &path, &metadata),
            Ok(metadata) => self.discard(sha256, path, &metadata),
        }
    }

    /// Digests an entry.
    fn examine(&self, sha256: &Sha256, path: &Path, judged: &Metadata) -> Result<Lookup> {
        let failed = |error| error::reading(path, error);
        let mut file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Miss),
            // What cannot be read is had again, like what is corrupt.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.discard(sha256, path.to_owned(), judged);
            }
            opened => opened.map_err(failed)?,
        };
        let before = file.metadata().map_err(failed)?;
        let found = match wheelhouse_fs::digest::sha256(&mut file) {
            Ok((found, _)) => found,
            Err(error) => {
                tracing::debug!("`{}` cannot be read: {error}", path.display());
                return self.discard(sha256, path.to_owned(), &before);
            }
        };
        if found != *sha256 {
            return self.discard(sha256, path.to_owned(), &before);
        }
        let mut after = file.metadata().map_err(failed)?;
        if state_of(&before) == state_of(&after) {
            if self.is_writable() && !has_store_mtime(&after) {
                // Failing to note that it is intact costs another run a digest, and nothing else.
                let _ = file.set_times(FileTimes::new().set_modified(store_mtime()));
            }
            self.mark_used(path, &after);
            after = file.metadata().map_err(failed)?;
            self.mark_verified(sha256, &after);
        }
        Ok(Lookup::Hit(stored(sha256, path.to_owned(), &after)))
    }

    /// Verifies that `stored` is what it was when it was found. It is not trusted now.
    ///
    /// # Errors
    /// Fails if the entry is gone or corrupt; one that is corrupt is removed.
    pub(super) fn check(&self, stored: &StoredFile) -> Result<()> {
        match self.look(&stored.sha256, false)? {
            Lookup::Hit(_) => Ok(()),
            Lookup::Miss => Err(error::changed(&stored.path, "was removed from the cache")),
            Lookup::Corrupt(path) => Err(error::changed(&path, "became corrupt in the cache")),
        }
    }

    /// Removes an entry that was `judged` to be wrong. One that may not be removed counts as corrupt nevertheless: writing
    /// it again tells why that cannot be done.
    ///
    /// Under a lock, since another process may have removed it meanwhile, and put a right one in
    /// its place, which must stay.
    pub(super) fn discard(
        &self,
        sha256: &Sha256,
        path: PathBuf,
        judged: &Metadata,
    ) -> Result<Lookup> {
        if !self.is_writable() {
            return Ok(Lookup::Corrupt(path));
        }
        let failed = |error| error::writing(self.root(), error);
        let lock = Layout::open_lock(&self.layout().removal_lock()).map_err(failed)?;
        let taken = locks::take(lock.file(), Share::Exclusive, &self.layout().display_name())?;
        tolerate_no_locks(taken).map_err(failed)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lookup::Corrupt(path)),
            Err(error) => Err(error::reading(&path, error)),
            Ok(now) if is_same(judged, &now) => {
                match fs::remove_file(&path) {
                    Err(_) if now.is_dir() && fs::remove_dir_all(&path).is_ok() => {}
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    removed => removed.map_err(failed)?,
                }
                Ok(Lookup::Corrupt(path))
            }
            Ok(_) => {
                drop(lock);
                self.find(sha256)
            }
        }
    }

    /// Notes that an entry is in use, for [`super::GarbageCollector::prune`].
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

/// Returns whether the times of an entry tell that it was not written to since it was checked. After a power failure a
/// file may be empty and yet have its time.
pub(super) fn is_trusted(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() > 0 && has_store_mtime(metadata)
}

pub(super) fn has_store_mtime(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|time| time == store_mtime())
}

pub(super) fn stored(sha256: &Sha256, path: PathBuf, metadata: &Metadata) -> StoredFile {
    StoredFile {
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
