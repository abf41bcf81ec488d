//! One wheelhouse that is served: its current snapshot, and those that it replaced a short time ago.
//!
//! Each request sees one snapshot. The directory is checked for changes at most once a millisecond, or once a second
//! without a manifest; a request that arrives after a build has ended sees its result. While a publication is in
//! progress, the previous snapshot stays, and its files are open, so that no request sees a half of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wheelhouse_types::manifest::MANIFEST_NAME;

use crate::served_file::{FileVersion, OpenFiles, ServedFile};
use crate::snapshot::{DirectoryVersion, Snapshot, is_being_published};

/// The time for which files of a replaced snapshot are still served: installers read a page and then its files.
const GRACE: Duration = Duration::from_mins(5);

/// The number of replaced snapshots that are kept.
const REPLACED: usize = 4;

/// The number of attempts to read a directory that changes meanwhile.
const ATTEMPTS: usize = 5;

/// A wheelhouse that is served under its own name.
#[derive(Debug)]
pub(crate) struct Wheelhouse {
    /// The first segment of its path.
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    open_files: Arc<OpenFiles>,
    state: RwLock<State>,
    /// Held while the directory is checked. Taken before `state`.
    checking: Mutex<()>,
}

#[derive(Debug)]
struct State {
    current: Arc<Snapshot>,
    checked: Instant,
    replaced: Vec<(Instant, Arc<Snapshot>)>,
}

impl Wheelhouse {
    /// Reads the wheelhouse in `directory`.
    ///
    /// # Errors
    /// Fails if the directory cannot be read.
    pub(crate) fn open(
        name: String,
        directory: PathBuf,
        open_files: &Arc<OpenFiles>,
    ) -> io::Result<Self> {
        let checked = Instant::now();
        let current = read_consistently(&directory, None, open_files)?;
        Ok(Self {
            name,
            directory,
            open_files: Arc::clone(open_files),
            state: RwLock::new(State {
                current: Arc::new(current),
                checked,
                replaced: Vec::new(),
            }),
            checking: Mutex::new(()),
        })
    }

    /// Returns the current snapshot if the directory was checked a moment ago, or if its manifest is the same: one `stat`, which
    /// is quicker than another thread.
    pub(crate) fn fresh(&self) -> Option<Arc<Snapshot>> {
        let arrival = Instant::now();
        if let Some(snapshot) = self.checked_since(arrival) {
            return Some(snapshot);
        }
        let known = Arc::clone(&self.read().current);
        let DirectoryVersion::Manifest(version) = known.version else {
            return None;
        };
        let found = FileVersion::of(&self.directory.join(MANIFEST_NAME));
        if found.ok().flatten() != Some(version) {
            return None;
        }
        let mut state = self.write();
        if Arc::ptr_eq(&state.current, &known) {
            state.checked = state.checked.max(arrival);
        }
        Some(known)
    }

    /// Returns the current snapshot after checking the directory. Blocks.
    ///
    /// # Errors
    /// Fails if the directory cannot be read; a snapshot of a removed directory stays.
    pub(crate) fn current(&self) -> io::Result<Arc<Snapshot>> {
        let arrival = Instant::now();
        let _checking = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = self.checked_since(arrival) {
            return Ok(snapshot);
        }
        let known = Arc::clone(&self.read().current);
        let checked = Instant::now();
        let found = DirectoryVersion::read(&self.directory);
        let is_same = found
            .as_ref()
            .is_ok_and(|version| *version == known.version);
        if is_same || is_being_published(&self.directory) {
            self.write().checked = checked;
            return Ok(known);
        }
        if let Err(error) = found {
            if crate::served_file::is_missing(&error) {
                self.write().checked = checked;
                return Ok(known);
            }
            return Err(error);
        }
        let read = read_consistently(&self.directory, Some(&known), &self.open_files);
        let current = Arc::new(read?);
        let mut state = self.write();
        let replaced = std::mem::replace(&mut state.current, Arc::clone(&current));
        state.checked = checked;
        state.replaced.retain(|(since, _)| since.elapsed() < GRACE);
        state.replaced.truncate(REPLACED - 1);
        state.replaced.insert(0, (checked, replaced));
        drop(state);
        tracing::info!(name = self.name, "the wheelhouse has changed");
        Ok(current)
    }

    /// Returns the file `name` of a snapshot that was replaced a short time ago.
    pub(crate) fn replaced_file(&self, name: &str) -> Option<Arc<ServedFile>> {
        let state = self.read();
        let mut recent = state
            .replaced
            .iter()
            .filter(|(since, _)| since.elapsed() < GRACE);
        recent.find_map(|(_, snapshot)| snapshot.index.file(name).cloned())
    }

    fn checked_since(&self, arrival: Instant) -> Option<Arc<Snapshot>> {
        let state = self.read();
        let valid = match state.current.version {
            DirectoryVersion::Manifest(_) => Duration::from_millis(1),
            DirectoryVersion::Listing(_) => Duration::from_secs(1),
        };
        (arrival < state.checked + valid).then(|| Arc::clone(&state.current))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `directory` until nothing changes meanwhile. Without a `previous` snapshot, an unfinished publication is read as it
/// is: its manifest lists only files that are complete.
fn read_consistently(
    directory: &Path,
    previous: Option<&Snapshot>,
    open_files: &Arc<OpenFiles>,
) -> io::Result<Snapshot> {
    let mut version = DirectoryVersion::read(directory)?;
    for _ in 0..ATTEMPTS {
        let snapshot = Snapshot::read(directory, version, previous, open_files)?;
        let now = DirectoryVersion::read(directory)?;
        if now == snapshot.version && (previous.is_none() || !is_being_published(directory)) {
            return Ok(snapshot);
        }
        version = now;
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "the directory changes all the time",
    ))
}

#[cfg(test)]
mod tests;
