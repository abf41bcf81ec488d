//! The store: a content-addressed cache of wheels and sdists below one root, shared by all runs.
//!
//! ```text
//! CACHEDIR.TAG                marks the root as a cache, and as ours
//! files-v1/<aa>/<sha256>      wheels and sdists, named by the SHA-256 of their bytes
//! built-v1/<key>.json         which wheel was built under which circumstances
//! metadata-v1/<sha256>        the METADATA of a wheel, after its own digest
//! layers-v1/<sha256>          what a layer of an image is that is made so, after its own digest
//! locks-v1/<sha256>           a lock that was written with this store, by the digest of its text
//! surroundings-v1/<sha256>    what builds of the local tree with this path looked at beside it
//! tree-files-v1/<sha256>      digests of the files of the local tree with this path
//! tmp/                        unfinished files
//! builds/, trees/             of others: sources while they are built
//! .lock                       shared by every process that has the store open, exclusive for upkeep
//! ```
//!
//! While one process alone has the lock, no other can use anything unfinished, so the last to close the store removes
//! what killed processes left.
//!
//! A file gets its final name when it is complete, digested and on the disk, and keeps the
//! modification time [`STORE_MTIME`] from then on. Each process digests a file before it uses or places it (see
//! [`Store::find`]); what an unchanged wheelhouse has is looked at only, since a process that changes a file moves
//! its time. Writers need no lock among each other: names are contents, and renaming is atomic. Other directories below
//! the root belong to others.
//!
//! Never fetches or builds anything, never chooses its own root, and never follows a link out of
//! it.

mod built_wheels;
mod entry;
mod error;
mod expected;
mod gc;
mod layout;
mod link;
mod sidecar;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use built_wheels::{BuildKey, BuiltWheel};
pub use entry::{Lookup, StoredFile};
pub use expected::ExpectedFile;
pub use gc::{GarbageCollector, PrunePolicy, Removal, StoreUsage};
pub use layout::{STORE_MTIME, TEMPORARY_PREFIX};
pub use link::{LinkMode, LinkOptions, LinkOutcome, is_unmodified};
pub use verify::StoreVerification;
pub use writer::FileWriter;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fs_err as fs;
use wheelhouse_types::{Result, Sha256};

use entry::FileState;
use layout::Layout;
use link::LinkMethod;
use wheelhouse_fs::locks::{self, Share};

/// An open store. Clones share it; upkeep waits until the last one is gone.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<StoreInner>,
    trusted: Arc<BTreeSet<Sha256>>,
}

#[derive(Debug)]
struct StoreInner {
    layout: Layout,
    writable: bool,
    /// The best way to place a file on a device, where it is known.
    link_methods: Mutex<BTreeMap<u64, LinkMethod>>,
    mode_of_new_files: OnceLock<Option<u32>>,
    /// The states in which entries were right.
    checked: Mutex<HashMap<Sha256, FileState>>,
    /// Locked, shared, until it is closed.
    lock: Option<fs::File>,
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        let is_alone = || {
            self.lock
                .as_ref()
                .is_some_and(|lock| lock.try_lock().is_ok())
        };
        if self.writable && is_alone() {
            // What stays is in the way of nothing.
            let _ = self.layout.remove_unfinished();
        }
    }
}

impl Store {
    /// Opens the store below `root`, and creates it if need be. Waits for upkeep to end.
    ///
    /// # Errors
    /// Fails if `root` cannot be created or written, or holds something else.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        layout.claim()?;
        let unusable = |error| error::unusable(&layout.root, error);
        let lock = Layout::open_lock(&layout.lock()).map_err(unusable)?;
        layout.create_buckets().map_err(unusable)?;
        layout.check_writable()?;
        let taken = locks::take(lock.file(), Share::Shared, &layout.display_name())?;
        tolerate_no_locks(taken).map_err(unusable)?;
        Ok(Self::new(layout, true, Some(lock)))
    }

    /// Opens the store below `root` to read from it, as when it is mounted read-only.
    ///
    /// # Errors
    /// Fails if there is no store below `root`, or if it cannot be read.
    pub fn open_read_only(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        let unusable = |error| error::unusable(&layout.root, error);
        fs::read_dir(layout.bucket(layout::FILES)).map_err(unusable)?;
        // Without a lock file nobody has ever written here, or will.
        let lock = fs::File::open(layout.lock()).ok();
        if let Some(lock) = &lock {
            let taken = locks::take(lock.file(), Share::Shared, &layout.display_name())?;
            tolerate_no_locks(taken).map_err(unusable)?;
        }
        Ok(Self::new(layout, false, lock))
    }

    fn new(layout: Layout, writable: bool, lock: Option<fs::File>) -> Self {
        Self {
            shared: Arc::new(StoreInner {
                layout,
                writable,
                link_methods: Mutex::default(),
                mode_of_new_files: OnceLock::new(),
                checked: Mutex::default(),
                lock,
            }),
            trusted: Arc::default(),
        }
    }

    /// The directory that holds the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.shared.layout.root
    }

    /// Whether the store was opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.shared.writable
    }

    /// Returns the same store, which does not digest the entries `trusted` while their times tell that they were not
    /// written to: those that a wheelhouse has already, and that are not placed there.
    #[must_use]
    pub fn trusting(self, trusted: BTreeSet<Sha256>) -> Self {
        Self {
            trusted: Arc::new(trusted),
            ..self
        }
    }

    /// Returns whether this process found the entry right in this very state.
    fn is_verified(&self, sha256: &Sha256, metadata: &Metadata) -> bool {
        let checked = self.shared.checked.lock();
        let checked = checked.unwrap_or_else(PoisonError::into_inner);
        checked.get(sha256) == Some(&entry::state_of(metadata))
    }

    fn mark_verified(&self, sha256: &Sha256, metadata: &Metadata) {
        let checked = self.shared.checked.lock();
        let mut checked = checked.unwrap_or_else(PoisonError::into_inner);
        checked.insert(*sha256, entry::state_of(metadata));
    }

    fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// The permissions of new files under the umask of this process, if it can be known.
    fn mode_of_new_files(&self) -> Option<u32> {
        let mode = &self.shared.mode_of_new_files;
        *mode.get_or_init(|| writer::mode_of_new_files(self))
    }

    fn link_method(&self, device: u64) -> Option<LinkMethod> {
        let link_methods = self.shared.link_methods.lock();
        let link_methods = link_methods.unwrap_or_else(PoisonError::into_inner);
        link_methods.get(&device).copied()
    }

    fn remember_link_method(&self, device: u64, method: LinkMethod) {
        let link_methods = self.shared.link_methods.lock();
        let mut link_methods = link_methods.unwrap_or_else(PoisonError::into_inner);
        link_methods.insert(device, method);
    }
}

/// Goes on where the filesystem has no locks: upkeep is then the user's to time.
fn tolerate_no_locks(taken: io::Result<()>) -> io::Result<()> {
    match taken {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        taken => taken,
    }
}
