//! Garbage collection: removes entries that are unused or beyond a size limit, and files that killed processes left.
//!
//! A [`GarbageCollector`] holds the lock of the store exclusively, so no other process has the store open. The time of the last
//! use of an entry is its access time, which [`Store::find`] sets.
//!
//! Does not remove files outside the root: links are removed, not followed, and a root without the tag of a cache is rejected.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use walkdir::WalkDir;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::remove::remove_all;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::built_wheels::{BuildKey, BuildRecord};
use crate::layout::{
    BUCKETS, BUILT, EXAMINED, FILES, LAYERS, LOCKS, Layout, METADATA, SURROUNDINGS, TEMPORARY,
    TREE_FILES, tolerate_no_locks,
};
use crate::store::Store;
use crate::{built_wheels, error};

/// The buckets of sidecar files that do not belong to an entry. They are created again when they are missing.
const SIDECARS: [&str; 4] = [EXAMINED, LAYERS, SURROUNDINGS, TREE_FILES];

/// The number and the size of the files in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// The directory of the store.
    pub root: PathBuf,
    /// The number of wheels and sdists.
    pub files: usize,
    /// The size of the wheels and sdists in bytes.
    pub file_bytes: u64,
    /// The number of records of built wheels.
    pub built: usize,
    /// The size of unfinished files in bytes.
    pub temporary_bytes: u64,
    /// The sizes in bytes of the directories of other crates below the root, by name.
    pub others: BTreeMap<String, u64>,
}

impl StoreUsage {
    /// Returns the size of everything below the root except records, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.file_bytes + self.temporary_bytes + self.others.values().sum::<u64>()
    }
}

/// The limits of [`GarbageCollector::prune`]. Without limits, it removes only unfinished files.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrunePolicy {
    /// Removes files that were not used for this time. Uses are recorded once a day, so a limit below two days has little
    /// meaning.
    pub unused_for: Option<Duration>,
    /// Removes the least recently used files until the others have at most this size in bytes.
    pub max_bytes: Option<u64>,
}

/// The number and the size of removed files. Files that a wheelhouse links to stay on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The number of wheels and sdists.
    pub files: usize,
    /// The number of records of built wheels.
    pub records: usize,
    /// The number of unfinished files, and of directories with sources during a build.
    pub temporary: usize,
    /// The total size in bytes.
    pub bytes: u64,
}

/// A store that no process has open.
#[derive(Debug)]
pub struct GarbageCollector {
    layout: Layout,
    _lock: fs::File,
}

/// An entry with the time of its last use.
struct EntryUsage {
    sha256: Sha256,
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

impl Store {
    /// Counts the files in the store and in the directories of other crates below its root.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed.
    pub fn usage(&self) -> Result<StoreUsage> {
        let root = self.root();
        let failed = |error| error::maintaining(root, error);
        let entries = entries(self.layout())?;
        let mut usage = StoreUsage {
            root: root.to_owned(),
            files: entries.len(),
            file_bytes: entries.iter().map(|entry| entry.size).sum(),
            built: regular_files(root, &self.layout().bucket(BUILT))?.len(),
            temporary_bytes: bytes_below(root, &self.layout().temporary())?,
            others: BTreeMap::new(),
        };
        for entry in fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !Layout::is_own(&name) {
                usage.others.insert(name, bytes_below(root, &entry.path())?);
            }
        }
        Ok(usage)
    }

    /// Returns the digests of all files in the store, including corrupt ones.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed.
    pub fn digests(&self) -> Result<Vec<Sha256>> {
        let entries = entries(self.layout())?;
        Ok(entries.into_iter().map(|entry| entry.sha256).collect())
    }

    /// Returns the digests of all wheels that were built with this store.
    ///
    /// # Errors
    /// Fails if a record cannot be read.
    pub fn built_digests(&self) -> Result<BTreeSet<Sha256>> {
        let built = self.built()?;
        Ok(built.values().map(|wheel| wheel.sha256).collect())
    }

    /// Returns all records of built wheels that can be parsed, by their keys. Their files may be missing.
    ///
    /// # Errors
    /// Fails if a record cannot be read.
    pub fn built(&self) -> Result<BTreeMap<BuildKey, BuildRecord>> {
        let mut records = BTreeMap::new();
        for (path, _) in regular_files(self.root(), &self.layout().bucket(BUILT))? {
            let name = path.file_stem().and_then(OsStr::to_str);
            let Some(key) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            let text = fs::read(&path).map_err(|error| error::maintaining(self.root(), error))?;
            records.extend(built_wheels::parse(&text).map(|wheel| (key, wheel)));
        }
        Ok(records)
    }
}

impl GarbageCollector {
    /// Locks the store below `root`. Returns `None` if a process has it open.
    ///
    /// # Errors
    /// Fails if there is no store below `root`, or if it cannot be written.
    pub fn try_lock(root: impl Into<PathBuf>) -> Result<Option<Self>> {
        let layout = Layout { root: root.into() };
        let lock = open_tagged(&layout)?;
        match tolerate_no_locks(lock.try_lock().map_err(io::Error::from)) {
            Ok(()) => Ok(Some(Self {
                layout,
                _lock: lock,
            })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error::maintaining(&layout.root, error)),
        }
    }

    /// Locks the store below `root`, and waits while processes have it open. If the current process has it open, this never
    /// returns.
    ///
    /// # Errors
    /// As [`GarbageCollector::try_lock`].
    pub fn lock(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        let lock = open_tagged(&layout)?;
        let locked = locks::acquire(lock.file(), LockMode::Exclusive, &layout.display_name())?;
        tolerate_no_locks(locked).map_err(|error| error::maintaining(&layout.root, error))?;
        Ok(Self {
            layout,
            _lock: lock,
        })
    }

    /// Removes the files that `policy` selects, all unfinished files, and the records and sidecar files that are no longer
    /// of use. Keeps the directories of other crates.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed or a file cannot be removed.
    pub fn prune(&self, policy: PrunePolicy) -> Result<Removal> {
        let mut removal = Removal::default();
        for find in [Layout::unfinished, Layout::unfinished_of_engine] {
            for path in find(&self.layout) {
                removal.bytes += bytes_below(&self.layout.root, &path)?;
                removal.temporary += 1;
                self.remove_all(&path)?;
            }
        }
        let (expired, kept) = select(entries(&self.layout)?, policy);
        for entry in expired {
            self.remove_entry(&entry, &mut removal)?;
        }
        let kept = kept.iter().map(|entry| entry.sha256).collect();
        self.remove_records(&kept, &mut removal)?;
        self.remove_metadata(&kept)?;
        self.empty(SIDECARS.iter().chain(&[LOCKS]))?;
        tracing::debug!(?policy, ?removal, "pruned cache");
        Ok(removal)
    }

    /// Returns whether the store has an entry with the digest `sha256`, which may be corrupt.
    #[must_use]
    pub fn has_entry(&self, sha256: &Sha256) -> bool {
        self.layout.entry(sha256).is_file()
    }

    /// Removes all files except those in `kept`, all unfinished files, and the directories `others` of other crates.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed or a file cannot be removed.
    pub fn retain(&self, kept: &BTreeSet<Sha256>, others: &[&str]) -> Result<Removal> {
        let mut removal = Removal::default();
        for entry in entries(&self.layout)? {
            if !kept.contains(&entry.sha256) {
                self.remove_entry(&entry, &mut removal)?;
            }
        }
        self.remove_records(kept, &mut removal)?;
        self.remove_metadata(kept)?;
        removal.bytes += self.empty(SIDECARS.iter().chain(&[TEMPORARY]).chain(others))?;
        tracing::debug!(kept = kept.len(), ?removal, "removed files from cache");
        Ok(removal)
    }

    /// Removes all files of the store, and the directories `others` of other crates. The root stays with its tag and its
    /// lock, so that a process that waits for the lock finds a store.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed or a file cannot be removed.
    pub fn clean(&self, others: &[&str]) -> Result<Removal> {
        let mut removal = Removal {
            files: entries(&self.layout)?.len(),
            records: self.files_in(BUILT)?.len(),
            temporary: self.files_in(TEMPORARY)?.len(),
            bytes: 0,
        };
        removal.bytes += self.empty(BUCKETS.iter().chain(others))?;
        tracing::debug!(?removal, "cleaned cache");
        Ok(removal)
    }

    /// Removes the files of the buckets `names`, and directories of other crates with these names. Returns the size of the
    /// removed files.
    fn empty<'a>(&self, names: impl Iterator<Item = &'a &'a str>) -> Result<u64> {
        let mut bytes = 0;
        for name in names {
            let mut components = Path::new(name).components();
            let (Some(Component::Normal(_)), None) = (components.next(), components.next()) else {
                let message = format!("`{name}` is not a directory of the cache");
                return Err(Error::new(Kind::Input, message));
            };
            let path = self.layout.bucket(name);
            bytes += bytes_below(&self.layout.root, &path)?;
            self.remove_all(&path)?;
        }
        let created = self.layout.create_buckets();
        created.map_err(|error| error::maintaining(&self.layout.root, error))?;
        Ok(bytes)
    }

    fn remove_entry(&self, entry: &EntryUsage, removal: &mut Removal) -> Result<()> {
        tracing::debug!(sha256 = %entry.sha256, size = entry.size, "removing cached file");
        self.remove_all(&entry.path)?;
        removal.files += 1;
        removal.bytes += entry.size;
        Ok(())
    }

    /// Removes the records of built wheels that are not in `kept`.
    fn remove_records(&self, kept: &BTreeSet<Sha256>, removal: &mut Removal) -> Result<()> {
        for (path, metadata) in self.files_in(BUILT)? {
            let text =
                fs::read(&path).map_err(|error| error::maintaining(&self.layout.root, error))?;
            if built_wheels::parse(&text).is_none_or(|wheel| !kept.contains(&wheel.sha256)) {
                self.remove_all(&path)?;
                removal.records += 1;
                removal.bytes += metadata.len();
            }
        }
        Ok(())
    }

    /// Removes the metadata of wheels that are not in `kept`.
    fn remove_metadata(&self, kept: &BTreeSet<Sha256>) -> Result<()> {
        for (path, _) in self.files_in(METADATA)? {
            let name = path.file_name().and_then(OsStr::to_str);
            let wheel: Option<Sha256> = name.and_then(|name| name.parse().ok());
            if !wheel.is_some_and(|wheel| kept.contains(&wheel)) {
                self.remove_all(&path)?;
            }
        }
        Ok(())
    }

    fn files_in(&self, bucket: &str) -> Result<Vec<(PathBuf, Metadata)>> {
        regular_files(&self.layout.root, &self.layout.bucket(bucket))
    }

    fn remove_all(&self, path: &Path) -> Result<()> {
        remove_all(path).map_err(|error| error::maintaining(&self.layout.root, error))
    }
}

/// Opens the lock of a root that has the tag of a cache of wheelhouse.
fn open_tagged(layout: &Layout) -> Result<fs::File> {
    let failed = |error| error::maintaining(&layout.root, error);
    if !layout.is_tagged().map_err(failed)? {
        let message = format!("`{}` is not a cache of wheelhouse", layout.root.display());
        return Err(Error::new(Kind::Input, message)
            .with_hint("Pass the cache with --cache-dir, or delete the directory yourself."));
    }
    Layout::open_lock(&layout.lock()).map_err(failed)
}

/// Divides `entries` into those that `policy` removes and those that it keeps.
fn select(mut entries: Vec<EntryUsage>, policy: PrunePolicy) -> (Vec<EntryUsage>, Vec<EntryUsage>) {
    entries.sort_by_key(|entry| (entry.used, entry.sha256));
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    entries.into_iter().partition(|entry| {
        let unused = entry.used.elapsed().unwrap_or_default();
        let is_selected = policy.unused_for.is_some_and(|limit| unused > limit)
            || policy.max_bytes.is_some_and(|limit| total > limit);
        if is_selected {
            total -= entry.size;
        }
        is_selected
    })
}

/// Lists all entries, including corrupt ones.
fn entries(layout: &Layout) -> Result<Vec<EntryUsage>> {
    let files = regular_files(&layout.root, &layout.bucket(FILES))?;
    Ok(files
        .into_iter()
        .filter_map(|(path, metadata)| {
            let sha256 = path.file_name().and_then(OsStr::to_str)?.parse().ok()?;
            Some(EntryUsage {
                sha256,
                path,
                size: metadata.len(),
                used: metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        })
        .collect())
}

/// Lists all regular files below `directory`, which may be missing.
fn regular_files(root: &Path, directory: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let is_not_found = |error: &walkdir::Error| {
        let error = error.io_error();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(directory).follow_root_links(false) {
        match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
            Ok((metadata, entry)) if metadata.is_file() => {
                files.push((entry.into_path(), metadata));
            }
            Ok(_) => {}
            // Other processes may remove files at the same time.
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error::maintaining(root, error)),
        }
    }
    Ok(files)
}

fn bytes_below(root: &Path, path: &Path) -> Result<u64> {
    let files = regular_files(root, path)?;
    Ok(files.iter().map(|(_, metadata)| metadata.len()).sum())
}
