//! The open store, and what a process remembers about it: verified entries and the best way to link files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fs_err as fs;
use tempfile::NamedTempFile;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_types::{Result, Sha256};

use crate::error;
use crate::layout::{self, Layout, tolerate_no_locks};
use crate::temporary::{create_new, create_temporary, mode_bits};

/// An open store. Clones share one lock; garbage collection waits until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<StoreInner>,
    /// The entries that are not digested while their times are unchanged.
    trusted: Arc<BTreeSet<Sha256>>,
}

#[derive(Debug)]
struct StoreInner {
    layout: Layout,
    writable: bool,
    /// The best method that works, by the device of the destination.
    link_methods: Mutex<BTreeMap<u64, LinkMethod>>,
    new_file_mode: OnceLock<Option<u32>>,
    verified: Mutex<HashMap<Sha256, VerifiedState>>,
    /// Held shared until the store is closed.
    lock: Option<fs::File>,
}

/// A method to create a file from one in the store, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LinkMethod {
    Clone,
    Hardlink,
    Copy,
}

/// Identifies a state of a file: device, inode, size and change time. Only the system sets the change time, whenever the
/// file is written to, linked, renamed, or gets other times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryState([i128; 4]);

impl EntryState {
    pub(crate) fn new(metadata: &Metadata) -> Self {
        let changed = i128::from(metadata.ctime()) << 64 | i128::from(metadata.ctime_nsec());
        let (device, inode) = (metadata.dev(), metadata.ino());
        Self([device.into(), inode.into(), metadata.len().into(), changed])
    }
}

/// The state in which this process found an entry intact. Locked while the entry is digested, so that other threads wait for
/// the result.
pub(crate) type VerifiedState = Arc<Mutex<Option<EntryState>>>;

impl Drop for StoreInner {
    fn drop(&mut self) {
        let is_last = || {
            self.lock
                .as_ref()
                .is_some_and(|lock| lock.try_lock().is_ok())
        };
        if self.writable && is_last() {
            // Files that cannot be removed take space, but do no harm.
            let _ = self.layout.remove_unfinished();
        }
    }
}

impl Store {
    /// Opens the store below `root`, and creates it if necessary. Waits for garbage collection to end.
    ///
    /// # Errors
    /// Fails if `root` cannot be created or written, or contains something other than a store.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        layout.claim()?;
        let unusable = |error| error::unusable(&layout.root, error);
        let lock = Layout::open_lock(&layout.lock()).map_err(unusable)?;
        layout.create_buckets().map_err(unusable)?;
        layout.check_writable()?;
        let locked = locks::acquire(lock.file(), LockMode::Shared, &layout.display_name())?;
        tolerate_no_locks(locked).map_err(unusable)?;
        Ok(Self::new(layout, true, Some(lock)))
    }

    /// Opens the store below `root` for reading, for example from a read-only filesystem.
    ///
    /// # Errors
    /// Fails if there is no store below `root`, or if it cannot be read.
    pub fn open_read_only(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        let unusable = |error| error::unusable(&layout.root, error);
        fs::read_dir(layout.bucket(layout::FILES)).map_err(unusable)?;
        // Without a lock file, no process has written or can write here.
        let lock = fs::File::open(layout.lock()).ok();
        if let Some(lock) = &lock {
            let locked = locks::acquire(lock.file(), LockMode::Shared, &layout.display_name())?;
            tolerate_no_locks(locked).map_err(unusable)?;
        }
        Ok(Self::new(layout, false, lock))
    }

    fn new(layout: Layout, writable: bool, lock: Option<fs::File>) -> Self {
        tracing::debug!(root = %layout.root.display(), writable, "opened cache");
        Self {
            inner: Arc::new(StoreInner {
                layout,
                writable,
                link_methods: Mutex::default(),
                new_file_mode: OnceLock::new(),
                verified: Mutex::default(),
                lock,
            }),
            trusted: Arc::default(),
        }
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.layout.root
    }

    /// Returns whether the store was opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.inner.writable
    }

    /// Returns the same store, which does not digest the entries in `trusted` while their times show no write. These are
    /// entries that an unchanged wheelhouse already has, so that they are not linked again.
    #[must_use]
    pub fn trusting(self, trusted: BTreeSet<Sha256>) -> Self {
        Self {
            trusted: Arc::new(trusted),
            ..self
        }
    }

    pub(crate) fn is_trusted(&self, sha256: &Sha256) -> bool {
        self.trusted.contains(sha256)
    }

    /// Returns the state in which this process found the entry intact.
    pub(crate) fn verified(&self, sha256: &Sha256) -> VerifiedState {
        let verified = self.inner.verified.lock();
        let mut verified = verified.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(verified.entry(*sha256).or_default())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Creates an unfinished file with `create`, under a name that is not in use.
    pub(crate) fn temporary<T>(
        &self,
        create: impl FnMut(&Path) -> io::Result<T>,
    ) -> Result<NamedTempFile<T>> {
        if !self.is_writable() {
            return Err(error::read_only(self.root()));
        }
        create_temporary(&self.layout().temporary(), create)
            .map_err(|error| error::writing(self.root(), error))
    }

    /// Returns the permission bits of new files under the umask of this process, if they can be determined.
    pub(crate) fn new_file_mode(&self) -> Option<u32> {
        *self.inner.new_file_mode.get_or_init(|| {
            let file = self.temporary(create_new).ok()?;
            let metadata = file.as_file().metadata().ok()?;
            Some(mode_bits(&metadata))
        })
    }

    /// Returns the best method that is known to work for destinations on `device`.
    pub(crate) fn link_method(&self, device: u64) -> Option<LinkMethod> {
        let methods = self.inner.link_methods.lock();
        let methods = methods.unwrap_or_else(PoisonError::into_inner);
        methods.get(&device).copied()
    }

    pub(crate) fn remember_link_method(&self, device: u64, method: LinkMethod) {
        let methods = self.inner.link_methods.lock();
        let mut methods = methods.unwrap_or_else(PoisonError::into_inner);
        if methods.insert(device, method) != Some(method) {
            tracing::debug!(device, ?method, "selected method to link files");
        }
    }
}
