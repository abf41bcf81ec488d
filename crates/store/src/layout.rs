//! Where everything lies below the root of a store, and what marks it as ours.
//!
//! Never knows what is in a bucket, only what it is called.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{Access, access};
use walkdir::{DirEntry, WalkDir};
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::error;

/// The modification time of every intact entry, since the Unix epoch: 1980-01-01 00:00:02 UTC,
/// the start of what ZIP archives can say. Whoever writes to an entry, be it through a hard link
/// in a wheelhouse, moves it.
pub const STORE_MTIME: Duration = Duration::from_secs(315_532_802);

/// What the name of an unfinished file begins with, in the store and beside a destination.
pub const TEMPORARY_PREFIX: &str = ".wheelhouse-";

/// The buckets that the store answers for; all others below its root belong to others.
pub(super) const FILES: &str = "files-v1";
pub(super) const BUILT: &str = "built-v1";
pub(super) const METADATA: &str = "metadata-v1";
pub(super) const LAYERS: &str = "layers-v1";
pub(super) const LOCKS: &str = "locks-v1";
pub(super) const SURROUNDINGS: &str = "surroundings-v1";
pub(super) const TREE_FILES: &str = "tree-files-v1";
pub(super) const EXAMINED: &str = "examined-v1";
pub(super) const TEMPORARY: &str = "tmp";

/// The start of the names of unfinished files and directories of the engine.
const ENGINE_PREFIX: &str = ".tmp";

/// The cache of the engine.
const ENGINE: &str = "uv";

/// The buckets of the engine with unpacked archives and checkouts, whose files may have any names.
const KEPT_BY_ENGINE: [&str; 3] = ["archive-", "git-", "sdists-"];

/// Where there may be something that nothing refers to any more when no process has the store open, and what the names of
/// that begin with: unfinished files, sources while they are built, copies of local trees, images that are being unpacked,
/// and the environments of builds.
const UNFINISHED: [(&str, &str); 7] = [
    (TEMPORARY, ""),
    ("", TEMPORARY_PREFIX),
    ("builds", ""),
    ("trees", ""),
    ("images-v1", TEMPORARY_PREFIX),
    (ENGINE, ENGINE_PREFIX),
    ("uv/builds-v0", ENGINE_PREFIX),
];

/// All of them.
pub(super) const BUCKETS: [&str; 9] = [
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

const TAG_NAME: &str = "CACHEDIR.TAG";
const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";
const OURS: &str = "# This directory is a cache of wheelhouse";
const TAG_END: &str = ": it can be deleted, and need not be backed up.\n\
    # See https://bford.info/cachedir/\n";

/// The paths below one root.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn bucket(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.bucket(TEMPORARY)
    }

    pub(super) fn entry(&self, sha256: &Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.bucket(FILES).join(&name[..2]).join(name)
    }

    pub(super) fn record(&self, key: &impl std::fmt::Display) -> PathBuf {
        self.bucket(BUILT).join(format!("{key}.json"))
    }

    /// Whoever has the store open holds this lock shared; upkeep holds it alone.
    pub(super) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// Held while a corrupt entry is removed.
    pub(super) fn removal_lock(&self) -> PathBuf {
        self.root.join(".lock-removal")
    }

    /// Opens a lock file, and creates it if need be.
    pub(super) fn open_lock(path: &Path) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path)
    }

    /// Names the store for messages.
    pub(super) fn display_name(&self) -> String {
        format!("the cache `{}`", self.root.display())
    }

    /// Fails unless every directory directly below the root can be written, those of others among them.
    pub(super) fn check_writable(&self) -> Result<()> {
        let unusable = |error| error::unusable(&self.root, error);
        for entry in fs::read_dir(&self.root).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let path = entry.path();
            let is_part = !is_of_filesystem(&entry.file_name().to_string_lossy());
            if is_part
                && path.is_dir()
                && let Err(error) = access(&path, Access::WRITE_OK | Access::EXEC_OK)
            {
                return Err(error::unusable(&path, error.into()));
            }
        }
        Ok(())
    }

    /// Finds what processes have begun in the store and beside it, and have not ended: files and directories, which
    /// nothing refers to when no process has the store open.
    pub(super) fn unfinished(&self) -> Vec<PathBuf> {
        let below = |name: &str, prefix: &'static str| {
            let bucket = self.bucket(name);
            // A link would lead out of the cache.
            let is_directory = fs::symlink_metadata(&bucket).is_ok_and(|found| found.is_dir());
            let entries = is_directory.then(|| fs::read_dir(bucket).ok()).flatten();
            let named = entries
                .into_iter()
                .flatten()
                .flatten()
                .filter(move |entry| {
                    let name = entry.file_name();
                    name.to_string_lossy().starts_with(prefix)
                });
            named.map(|entry| entry.path())
        };
        let unfinished = UNFINISHED.iter();
        unfinished
            .flat_map(|(name, prefix)| below(name, prefix))
            .collect()
    }

    /// Finds small files that the engine has begun and not ended, anywhere in its own cache but where it keeps the files
    /// of others.
    pub(super) fn unfinished_of_engine(&self) -> Vec<PathBuf> {
        let is_own = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            let mut kept = KEPT_BY_ENGINE.iter();
            entry.depth() != 1 || !kept.any(|bucket| name.starts_with(bucket))
        };
        let walk = WalkDir::new(self.bucket(ENGINE)).follow_root_links(false);
        let entries = walk.into_iter().filter_entry(is_own).flatten();
        let unfinished = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() > 0 && name.starts_with(ENGINE_PREFIX)
        });
        unfinished.map(DirEntry::into_path).collect()
    }

    /// Removes what is [`unfinished`](Self::unfinished), and fails with the first of it that cannot be removed.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        let removed = self.unfinished().into_iter().map(|path| remove_all(&path));
        removed.fold(Ok(()), io::Result::and)
    }

    /// Whether `name`, seen below the root, belongs to the store itself.
    pub(super) fn is_own(name: &str) -> bool {
        BUCKETS.contains(&name) || name == TAG_NAME || name.starts_with(".lock")
    }

    /// Whether the root bears our tag. A cache of somebody else does not.
    pub(super) fn is_tagged(&self) -> io::Result<bool> {
        match fs::read(self.root.join(TAG_NAME)) {
            Ok(tag) => Ok(tag.starts_with(format!("{SIGNATURE}{OURS}").as_bytes())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the root and marks it as ours.
    ///
    /// A directory that already holds something else is refused: it would be cleaned one day.
    pub(super) fn claim(&self) -> Result<()> {
        let unusable = |error| error::unusable(&self.root, error);
        fs::create_dir_all(&self.root).map_err(unusable)?;
        if self.is_tagged().map_err(unusable)? {
            return Ok(());
        }
        match self.foreign_entry().map_err(unusable)? {
            None => match self.write_tag() {
                // A process that closed the store meanwhile removed the unfinished tag.
                Err(_) if self.is_tagged().map_err(unusable)? => Ok(()),
                written => written.map_err(unusable),
            },
            // Another process may have been here meanwhile.
            Some(_) if self.is_tagged().map_err(unusable)? => Ok(()),
            Some(foreign_entry) => Err(not_a_cache(&self.root, &foreign_entry)),
        }
    }

    /// Creates the buckets.
    pub(super) fn create_buckets(&self) -> io::Result<()> {
        for bucket in BUCKETS {
            fs::create_dir_all(self.bucket(bucket))?;
        }
        Ok(())
    }

    /// Something in an untagged root that shows it to be no cache of ours.
    fn foreign_entry(&self) -> io::Result<Option<String>> {
        let mut foreign_entry = None;
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name == FILES {
                return Ok(None);
            }
            if !is_of_filesystem(&name) {
                foreign_entry = Some(name);
            }
        }
        Ok(foreign_entry)
    }

    fn write_tag(&self) -> io::Result<()> {
        let mut options = tempfile::Builder::new();
        let file = options
            .prefix(TEMPORARY_PREFIX)
            .make_in(&self.root, |path| {
                fs::write(path, format!("{SIGNATURE}{OURS}{TAG_END}"))
            })?;
        file.persist(self.root.join(TAG_NAME))?;
        Ok(())
    }
}

/// Returns whether any directory may have something with this name: names with a dot, and what a new filesystem has.
fn is_of_filesystem(name: &str) -> bool {
    name.starts_with('.') || name == "lost+found"
}

/// Removes whatever is at `path`; of a link, the link.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn not_a_cache(root: &Path, foreign_entry: &str) -> Error {
    let message = format!(
        "`{}` cannot be the cache: it holds something else (`{foreign_entry}`)",
        root.display()
    );
    Error::new(Kind::Input, message).with_hint("Name a new or an empty directory with --cache-dir.")
}
