//! GarbageCollector: how much the store holds, and getting rid of it.
//!
//! What removes files holds the store's lock alone, so nobody else has the store open meanwhile.
//! Last use is the access time of an entry, which looking it up sets (see [`super::Store::find`]).
//!
//! Never removes anything outside the root: links are removed, not followed, and a root without
//! our tag is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use walkdir::WalkDir;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::layout::{
    BUCKETS, BUILT, EXAMINED, FILES, LAYERS, LOCKS, Layout, METADATA, SURROUNDINGS, TEMPORARY,
    TREE_FILES, remove_all,
};
use super::{Store, built_wheels, error, tolerate_no_locks};
use wheelhouse_fs::locks::{self, Share};

/// Buckets of notes about things outside the store, which are made again when they are missed.
const NOTES: [&str; 4] = [EXAMINED, LAYERS, SURROUNDINGS, TREE_FILES];

/// What a store holds; sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    pub root: PathBuf,
    /// Wheels and sdists.
    pub files: usize,
    pub file_bytes: u64,
    /// Records of built wheels.
    pub built: usize,
    /// In unfinished files.
    pub temporary_bytes: u64,
    /// What others keep below the root, by name.
    pub others: BTreeMap<String, u64>,
}

impl StoreUsage {
    /// The size of everything below the root, but for records.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.file_bytes + self.temporary_bytes + self.others.values().sum::<u64>()
    }
}

/// What to prune; with neither limit, only what was left behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrunePolicy {
    /// Removes files that nobody has wanted for so long. Uses are noted once a day, so less than
    /// two days has little meaning.
    pub unused_for: Option<Duration>,
    /// Removes the files that were wanted least recently, until the others are this many bytes.
    pub max_bytes: Option<u64>,
}

/// What was removed; sizes in bytes. What a wheelhouse links to stays on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    pub files: usize,
    /// Records of built wheels.
    pub records: usize,
    /// Unfinished files, and directories of sources that were being built.
    pub temporary: usize,
    pub bytes: u64,
}

/// The store, opened by nobody else.
#[derive(Debug)]
pub struct GarbageCollector {
    layout: Layout,
    _lock: fs::File,
}

struct Entry {
    sha256: Sha256,
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

impl Store {
    /// Counts what the store and its neighbours hold.
    ///
    /// # Errors
    /// Fails if something cannot be listed.
    pub fn usage(&self) -> Result<StoreUsage> {
        let root = self.root();
        let failed = |error| error::upkeep(root, error);
        let mut info = StoreUsage {
            root: root.to_owned(),
            ..StoreUsage::default()
        };
        for entry in entries(self.layout())? {
            info.files += 1;
            info.file_bytes += entry.size;
        }
        info.built = regular_files(root, &self.layout().bucket(BUILT))?.len();
        info.temporary_bytes = bytes_below(root, &self.layout().temporary())?;
        for other in fs::read_dir(root).map_err(failed)? {
            let other = other.map_err(failed)?;
            let name = other.file_name().to_string_lossy().into_owned();
            if !Layout::is_own(&name) {
                info.others.insert(name, bytes_below(root, &other.path())?);
            }
        }
        Ok(info)
    }

    /// The digests of all files in the store, whether they are intact or not.
    ///
    /// # Errors
    /// Fails if they cannot be listed.
    pub fn digests(&self) -> Result<Vec<Sha256>> {
        let entries = entries(self.layout())?;
        Ok(entries.into_iter().map(|entry| entry.sha256).collect())
    }

    /// Returns the digests of the wheels that were built with this store.
    ///
    /// # Errors
    /// Fails if the records cannot be read.
    pub fn built_digests(&self) -> Result<BTreeSet<Sha256>> {
        let mut digests = BTreeSet::new();
        for (path, _) in regular_files(self.root(), &self.layout().bucket(BUILT))? {
            let text = fs::read(&path).map_err(|error| error::upkeep(self.root(), error))?;
            digests.extend(built_wheels::parse(&text).map(|wheel| wheel.sha256));
        }
        Ok(digests)
    }
}

impl GarbageCollector {
    /// Takes the store below `root` for upkeep, or nothing if somebody has it open.
    ///
    /// # Errors
    /// Fails if there is no store below `root`, or if it cannot be written.
    pub fn try_lock_store(root: impl Into<PathBuf>) -> Result<Option<Self>> {
        let layout = Layout { root: root.into() };
        let lock = open_tagged(&layout)?;
        match tolerate_no_locks(lock.try_lock().map_err(io::Error::from)) {
            Ok(()) => Ok(Some(Self {
                layout,
                _lock: lock,
            })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error::upkeep(&layout.root, error)),
        }
    }

    /// Takes the store below `root` for upkeep, and waits while others have it open: forever, if
    /// it is this process.
    ///
    /// # Errors
    /// As [`GarbageCollector::try_lock_store`].
    pub fn lock_store(root: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout { root: root.into() };
        let lock = open_tagged(&layout)?;
        let taken = locks::take(lock.file(), Share::Exclusive, &layout.display_name())?;
        tolerate_no_locks(taken).map_err(|error| error::upkeep(&layout.root, error))?;
        Ok(Self {
            layout,
            _lock: lock,
        })
    }

    /// Removes what `policy` says, what was left unfinished, and the records of built
    /// wheels that are gone. What others keep below the root stays.
    ///
    /// # Errors
    /// Fails if something cannot be listed or removed.
    pub fn prune(&self, policy: PrunePolicy) -> Result<Removal> {
        let mut removed = Removal::default();
        self.sweep(&mut removed)?;
        let (doomed, kept) = choose(entries(&self.layout)?, policy);
        for entry in doomed {
            self.remove_file(&entry.path)?;
            removed.files += 1;
            removed.bytes += entry.size;
        }
        let kept = kept.iter().map(|entry| entry.sha256).collect();
        self.drop_records(&kept, &mut removed)?;
        self.drop_metadata(&kept)?;
        self.empty(NOTES.iter().chain(&[LOCKS]))?;
        Ok(removed)
    }

    /// Removes the metadata of wheels that are gone.
    fn drop_metadata(&self, kept: &BTreeSet<Sha256>) -> Result<()> {
        for (path, _) in self.files_in(METADATA)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let wheel: Option<Sha256> = name.and_then(|name| name.parse().ok());
            if !wheel.is_some_and(|wheel| kept.contains(&wheel)) {
                self.remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes all files but those in `kept`, everything unfinished, and the buckets of `others` by
    /// name.
    ///
    /// # Errors
    /// Fails if something cannot be listed or removed.
    pub fn retain(&self, kept: &BTreeSet<Sha256>, others: &[&str]) -> Result<Removal> {
        let mut removed = Removal::default();
        for entry in entries(&self.layout)? {
            if !kept.contains(&entry.sha256) {
                self.remove_file(&entry.path)?;
                removed.files += 1;
                removed.bytes += entry.size;
            }
        }
        self.drop_records(kept, &mut removed)?;
        self.drop_metadata(kept)?;
        removed.bytes += self.empty(NOTES.iter().chain(&[TEMPORARY]).chain(others))?;
        Ok(removed)
    }

    /// Removes all buckets of the store, and those of `others` by name (a file counts as one).
    /// The root stays, with its tag and its lock, so that whoever waits for it finds a store.
    ///
    /// # Errors
    /// Fails if something cannot be listed or removed.
    pub fn clean(&self, others: &[&str]) -> Result<Removal> {
        let mut removed = Removal {
            files: entries(&self.layout)?.len(),
            records: self.files_in(BUILT)?.len(),
            temporary: self.files_in(TEMPORARY)?.len(),
            bytes: 0,
        };
        removed.bytes += self.empty(BUCKETS.iter().chain(others))?;
        Ok(removed)
    }

    /// Empties the buckets `names` (those of others go), and counts their bytes.
    fn empty<'a>(&self, names: impl Iterator<Item = &'a &'a str>) -> Result<u64> {
        let mut bytes = 0;
        for name in names {
            let path = self.bucket(name)?;
            bytes += bytes_below(&self.layout.root, &path)?;
            self.remove_all(&path)?;
        }
        let buckets = self.layout.create_buckets();
        buckets.map_err(|error| error::upkeep(&self.layout.root, error))?;
        Ok(bytes)
    }

    /// The path of a bucket, which must be directly below the root.
    fn bucket(&self, name: &str) -> Result<PathBuf> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(_)), None) => Ok(self.layout.bucket(name)),
            _ => Err(Error::new(
                Kind::Input,
                format!("`{name}` is no part of the cache"),
            )),
        }
    }

    fn sweep(&self, removed: &mut Removal) -> Result<()> {
        for find in [Layout::unfinished, Layout::unfinished_of_engine] {
            for path in find(&self.layout) {
                removed.bytes += bytes_below(&self.layout.root, &path)?;
                removed.temporary += 1;
                self.remove_all(&path)?;
            }
        }
        Ok(())
    }

    fn drop_records(&self, kept: &BTreeSet<Sha256>, removed: &mut Removal) -> Result<()> {
        for (path, metadata) in self.files_in(BUILT)? {
            let text = fs::read(&path).map_err(|error| error::upkeep(&self.layout.root, error))?;
            if built_wheels::parse(&text).is_none_or(|wheel| !kept.contains(&wheel.sha256)) {
                self.remove_file(&path)?;
                removed.records += 1;
                removed.bytes += metadata.len();
            }
        }
        Ok(())
    }

    fn files_in(&self, bucket: &str) -> Result<Vec<(PathBuf, Metadata)>> {
        regular_files(&self.layout.root, &self.layout.bucket(bucket))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|error| error::upkeep(&self.layout.root, error))
    }

    /// Removes whatever is at `path`; of a link, the link.
    fn remove_all(&self, path: &Path) -> Result<()> {
        remove_all(path).map_err(|error| error::upkeep(&self.layout.root, error))
    }
}

/// Opens the lock of a root that bears our tag.
fn open_tagged(layout: &Layout) -> Result<fs::File> {
    let failed = |error| error::upkeep(&layout.root, error);
    if !layout.is_tagged().map_err(failed)? {
        let message = format!("`{}` is no cache of wheelhouse", layout.root.display());
        return Err(Error::new(Kind::Input, message)
            .with_hint("Name the cache with --cache-dir, or delete the directory yourself."));
    }
    Layout::open_lock(&layout.lock()).map_err(failed)
}

/// Divides `entries` into those that `policy` removes and those that it keeps.
fn choose(mut entries: Vec<Entry>, policy: PrunePolicy) -> (Vec<Entry>, Vec<Entry>) {
    entries.sort_by_key(|entry| (entry.used, entry.sha256));
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    entries.into_iter().partition(|entry| {
        let unused = entry.used.elapsed().unwrap_or_default();
        let expired = policy.unused_for.is_some_and(|limit| unused > limit);
        let doomed = expired || policy.max_bytes.is_some_and(|limit| total > limit);
        if doomed {
            total -= entry.size;
        }
        doomed
    })
}

/// All entries, whether they are intact or not.
fn entries(layout: &Layout) -> Result<Vec<Entry>> {
    let files = regular_files(&layout.root, &layout.bucket(FILES))?;
    Ok(files
        .into_iter()
        .filter_map(|(path, metadata)| {
            let sha256 = path.file_name().and_then(OsStr::to_str)?.parse().ok()?;
            Some(Entry {
                sha256,
                path,
                size: metadata.len(),
                used: metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        })
        .collect())
}

/// All regular files below `directory`; none if there is no such directory.
fn regular_files(root: &Path, directory: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(directory).follow_root_links(false) {
        match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
            Ok((metadata, entry)) if metadata.is_file() => {
                files.push((entry.into_path(), metadata));
            }
            Ok(_) => {}
            // Somebody else may remove files while they are counted.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error::upkeep(root, error)),
        }
    }
    Ok(files)
}

fn is_missing(error: &walkdir::Error) -> bool {
    let kind = error.io_error().map(io::Error::kind);
    kind == Some(io::ErrorKind::NotFound)
}

fn bytes_below(root: &Path, path: &Path) -> Result<u64> {
    let files = regular_files(root, path)?;
    Ok(files.iter().map(|(_, metadata)| metadata.len()).sum())
}
