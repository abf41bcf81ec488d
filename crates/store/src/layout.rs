//! The paths below the root of a store, and the tag that marks the root.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{Access, access};
use walkdir::{DirEntry, WalkDir};
use wheelhouse_fs::remove::remove_all;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::error;

/// The modification time of every intact entry, as the time since the Unix epoch: 1980-01-01 00:00:02 UTC, the earliest that
/// ZIP archives can store. Writing to an entry, including through a hard link in a wheelhouse, changes it.
pub const STORE_MTIME: Duration = Duration::from_secs(315_532_802);

/// The prefix of the names of unfinished files, in the store and at destinations.
pub const TEMPORARY_PREFIX: &str = ".wheelhouse-";

/// The buckets of the store. All other directories below its root belong to other crates.
pub(crate) const BUCKETS: [&str; 9] = [
    FILES,
    BUILT,
    METADATA,
    LAYERS,
    LOCKS,
    SURROUNDINGS,
    TREE_FILES,
    EXAMINED,
    TEMPORARY,
];
pub(crate) const FILES: &str = "files-v1";
pub(crate) const BUILT: &str = "built-v1";
pub(crate) const METADATA: &str = "metadata-v1";
pub(crate) const LAYERS: &str = "layers-v1";
pub(crate) const LOCKS: &str = "locks-v1";
pub(crate) const SURROUNDINGS: &str = "surroundings-v1";
pub(crate) const TREE_FILES: &str = "tree-files-v1";
pub(crate) const EXAMINED: &str = "examined-v1";
pub(crate) const TEMPORARY: &str = "tmp";

/// The cache of the engine.
const ENGINE: &str = "uv";

/// The prefix of the names of unfinished files and directories in the cache of the engine.
const ENGINE_PREFIX: &str = ".tmp";

/// The prefixes of the directories in the cache of the engine that contain unpacked archives and checkouts, in which files
/// may have any names.
const ENGINE_CONTENT: [&str; 3] = ["archive-", "git-", "sdists-"];

/// The directories that may contain entries of processes that were killed, and the prefixes of their names: unfinished files,
/// sources during builds, copies of local trees, crates and images during unpacking, and build environments.
const UNFINISHED: [(&str, &str); 8] = [
    (TEMPORARY, ""),
    ("", TEMPORARY_PREFIX),
    ("builds", ""),
    ("trees", ""),
    ("crates-v1", TEMPORARY_PREFIX),
    ("images-v1", TEMPORARY_PREFIX),
    (ENGINE, ENGINE_PREFIX),
    ("uv/builds-v0", ENGINE_PREFIX),
];

const TAG_NAME: &str = "CACHEDIR.TAG";
const TAG_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";
const TAG_OWNER: &str = "# This directory is a cache of wheelhouse";
const TAG_END: &str = ": it can be deleted, and need not be backed up.\n\
    # See https://bford.info/cachedir/\n";

/// The paths below one root.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn bucket(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.bucket(TEMPORARY)
    }

    pub(crate) fn entry(&self, sha256: &Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.bucket(FILES).join(&name[..2]).join(name)
    }

    pub(crate) fn record(&self, key: &impl std::fmt::Display) -> PathBuf {
        self.bucket(BUILT).join(format!("{key}.json"))
    }

    /// Returns the path of the lock that is held shared while a store is open, and exclusively by garbage collection.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// Returns the path of the lock that is held while a corrupt entry is removed.
    pub(crate) fn removal_lock(&self) -> PathBuf {
        self.root.join(".lock-removal")
    }

    /// Opens a lock file, and creates it if necessary.
    pub(crate) fn open_lock(path: &Path) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path)
    }

    /// Returns the name of the store in messages.
    pub(crate) fn display_name(&self) -> String {
        format!("the cache `{}`", self.root.display())
    }

    /// Fails unless all directories directly below the root are writable, including those of other crates.
    pub(crate) fn check_writable(&self) -> Result<()> {
        let unusable = |error| error::unusable(&self.root, error);
        for entry in fs::read_dir(&self.root).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let path = entry.path();
            if !is_ignorable(&entry.file_name().to_string_lossy())
                && path.is_dir()
                && let Err(error) = access(&path, Access::WRITE_OK | Access::EXEC_OK)
            {
                return Err(error::unusable(&path, error.into()));
            }
        }
        Ok(())
    }

    /// Finds the unfinished files and directories of all crates. Nothing refers to them when no process has the store open.
    pub(crate) fn unfinished(&self) -> Vec<PathBuf> {
        let entries = |(bucket, prefix): &(&str, &str)| -> Vec<PathBuf> {
            let bucket = self.bucket(bucket);
            // A link would lead out of the cache.
            if !fs::symlink_metadata(&bucket).is_ok_and(|metadata| metadata.is_dir()) {
                return Vec::new();
            }
            fs::read_dir(bucket)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path())
                .collect()
        };
        UNFINISHED.iter().flat_map(entries).collect()
    }

    /// Finds the unfinished files anywhere in the cache of the engine, except among unpacked archives and checkouts.
    pub(crate) fn unfinished_of_engine(&self) -> Vec<PathBuf> {
        let has_own_names = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            let mut content = ENGINE_CONTENT.iter();
            entry.depth() != 1 || !content.any(|prefix| name.starts_with(prefix))
        };
        WalkDir::new(self.bucket(ENGINE))
            .follow_root_links(false)
            .into_iter()
            .filter_entry(has_own_names)
            .flatten()
            .filter(|entry| {
                let name = entry.file_name().to_string_lossy();
                entry.depth() > 0 && name.starts_with(ENGINE_PREFIX)
            })
            .map(DirEntry::into_path)
            .collect()
    }

    /// Removes all [`unfinished`](Self::unfinished) files. Returns the first error after removing the others.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        let removed = self.unfinished().into_iter().map(|path| remove_all(&path));
        removed.fold(Ok(()), io::Result::and)
    }

    /// Returns whether the entry `name` of the root belongs to the store itself.
    pub(crate) fn is_own(name: &str) -> bool {
        BUCKETS.contains(&name) || name == TAG_NAME || name.starts_with(".lock")
    }

    /// Returns whether the root has the tag of a cache of wheelhouse.
    pub(crate) fn is_tagged(&self) -> io::Result<bool> {
        match fs::read(self.root.join(TAG_NAME)) {
            Ok(tag) => Ok(tag.starts_with(format!("{TAG_SIGNATURE}{TAG_OWNER}").as_bytes())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the root with its tag.
    ///
    /// Rejects a directory with other files, because `cache clean` would remove them.
    pub(crate) fn claim(&self) -> Result<()> {
        let unusable = |error| error::unusable(&self.root, error);
        fs::create_dir_all(&self.root).map_err(unusable)?;
        if self.is_tagged().map_err(unusable)? {
            return Ok(());
        }
        match self.foreign_entry().map_err(unusable)? {
            None => match self.write_tag() {
                // A process that closed the store has removed the unfinished tag.
                Err(_) if self.is_tagged().map_err(unusable)? => Ok(()),
                written => written.map_err(unusable),
            },
            // Another process has created the store in the meantime.
            Some(_) if self.is_tagged().map_err(unusable)? => Ok(()),
            Some(name) => {
                let message = format!(
                    "`{}` cannot be the cache: it contains other files (`{name}`)",
                    self.root.display()
                );
                Err(Error::new(Kind::Input, message)
                    .with_hint("Pass a new or empty directory with --cache-dir."))
            }
        }
    }

    /// Creates the buckets.
    pub(crate) fn create_buckets(&self) -> io::Result<()> {
        for bucket in BUCKETS {
            fs::create_dir_all(self.bucket(bucket))?;
        }
        Ok(())
    }

    /// Returns the name of an entry that shows that an untagged root is not a store.
    fn foreign_entry(&self) -> io::Result<Option<String>> {
        let mut foreign = None;
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name == FILES {
                return Ok(None);
            }
            if !is_ignorable(&name) {
                foreign = Some(name);
            }
        }
        Ok(foreign)
    }

    fn write_tag(&self) -> io::Result<()> {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .make_in(&self.root, |path| {
                fs::write(path, format!("{TAG_SIGNATURE}{TAG_OWNER}{TAG_END}"))
            })?;
        file.persist(self.root.join(TAG_NAME))?;
        Ok(())
    }
}

/// Returns whether an otherwise empty directory may have an entry `name`: a hidden file, or what a new filesystem contains.
fn is_ignorable(name: &str) -> bool {
    name.starts_with('.') || name == "lost+found"
}

/// Ignores that a filesystem has no locks. The user must then avoid garbage collection while a store is in use.
pub(crate) fn tolerate_no_locks(locked: io::Result<()>) -> io::Result<()> {
    match locked {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}
