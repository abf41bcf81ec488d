//! Unpacked crates in the cache, each once, by the digest of its file.
//!
//! ```text
//! <sha256>/        the contents of the crate, with `.cargo-checksum.json`
//! <sha256>.stamp   identifies the state of the directory after unpacking
//! .lock            held while a crate is unpacked
//! ```
//!
//! Builds read these directories through links. A hook that can write to one would change later builds, so that the state of a
//! directory (the change times of its files above all, which only the system sets) is compared before each use, and a directory
//! that was changed is unpacked again. A killed process leaves a directory without a stamp, or one with a temporary name.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use walkdir::WalkDir;
use wheelhouse_archive::Limits;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::remove::remove_all;
use wheelhouse_fs::threads::{in_parallel, try_in_parallel};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, LockedCrate, Result, Sha256};

use crate::rust_source::CHECKSUM_NAME;

/// The prefix of the names of unfinished directories, as in the store.
const TEMPORARY_PREFIX: &str = ".wheelhouse-";

/// The limits of an unpacked crate: those of cargo.
const LIMITS: Limits = Limits {
    entries: 100_000,
    bytes: 512 << 20,
    ratio: 100,
    ratio_floor: 256 << 20,
};

/// A crate's file.
#[derive(Clone, Debug)]
pub struct CrateFile {
    /// The crate.
    pub locked: LockedCrate,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The path of the file.
    pub path: PathBuf,
}

/// The directory of unpacked crates.
#[derive(Clone, Debug)]
pub struct CrateCache {
    root: PathBuf,
}

impl CrateCache {
    /// The name of the directory in the cache.
    pub const NAME: &str = "crates-v1";

    /// Returns the unpacked crates below `cache`.
    #[must_use]
    pub fn new(cache: &Path) -> Self {
        Self {
            root: cache.join(Self::NAME),
        }
    }

    /// Returns the directories of `files`, in their order. Unpacks those that are missing or were changed.
    ///
    /// # Errors
    /// [`Kind::Fetch`] if a crate is damaged, exceeds the limits or has a malicious entry, or the cache cannot be written.
    pub fn unpacked(&self, files: &[CrateFile]) -> Result<Vec<PathBuf>> {
        let intact = in_parallel(files, |file| self.is_intact(file));
        let missing = files.iter().zip(intact).filter(|(_, is_intact)| !is_intact);
        let missing: Vec<CrateFile> = missing.map(|(file, _)| file.clone()).collect();
        if !missing.is_empty() {
            self.unpack(&missing)?;
        }
        Ok(files.iter().map(|file| self.directory(file)).collect())
    }

    /// Removes the directories whose files are not `kept` in the cache, and returns their size in bytes.
    ///
    /// # Errors
    /// [`Kind::Input`] if a directory cannot be read or removed.
    pub fn prune(&self, kept: impl Fn(&Sha256) -> bool) -> Result<u64> {
        let failed = || format!("failed to clean {}", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            entries => entries.context(Kind::Input, failed)?,
        };
        let mut bytes = 0;
        for entry in entries {
            let path = entry.context(Kind::Input, failed)?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let sha256: Option<Sha256> = name.parse().ok();
            if sha256.is_some_and(|sha256| !kept(&sha256)) {
                let files = WalkDir::new(&path).into_iter().flatten();
                let sizes = files.filter_map(|file| file.metadata().ok());
                bytes += sizes.map(|metadata| metadata.len()).sum::<u64>();
                remove_all(&path).context(Kind::Input, failed)?;
            }
        }
        Ok(bytes)
    }

    fn directory(&self, file: &CrateFile) -> PathBuf {
        self.root.join(file.sha256.to_string())
    }

    fn is_intact(&self, file: &CrateFile) -> bool {
        let directory = self.directory(file);
        let recorded = fs::read_to_string(directory.with_extension("stamp"));
        recorded.is_ok_and(|recorded| stamp(&directory).is_ok_and(|stamp| stamp == recorded))
    }

    fn unpack(&self, files: &[CrateFile]) -> Result<()> {
        let failed = || format!("failed to write to {}", self.root.display());
        fs::create_dir_all(&self.root).context(Kind::Fetch, failed)?;
        let lock = fs::File::create(self.root.join(".lock")).context(Kind::Fetch, failed)?;
        match locks::acquire(lock.file(), LockMode::Exclusive, "the unpacked crates")? {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
            locked => locked.context(Kind::Fetch, failed)?,
        }
        try_in_parallel(files, |file| {
            // Another process may have unpacked it while this one waited for the lock.
            if self.is_intact(file) {
                return Ok(());
            }
            tracing::debug!(crate_name = %file.locked, "unpacking a crate");
            self.unpack_one(file).map_err(|error| {
                let message = format!("failed to unpack {}", file.locked.filename());
                Error::new(error.kind(), message).caused_by(error)
            })
        })?;
        Ok(())
    }

    fn unpack_one(&self, file: &CrateFile) -> Result<()> {
        let failed = || format!("failed to write to {}", self.root.display());
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempdir_in(&self.root)
            .context(Kind::Fetch, failed)?;
        let LockedCrate { name, version, .. } = &file.locked;
        let expected = format!("{name}-{version}");
        // The suffix states the format.
        let filename = format!("{expected}.tar.gz");
        let into = temporary.path().join("crate");
        let root = wheelhouse_archive::unpack(&file.path, &filename, &into, &LIMITS)?.root;
        if root != into.join(&expected) {
            let message = format!("its files are not in the directory `{expected}`");
            return Err(Error::new(Kind::Fetch, message));
        }
        let checksum = root.join(CHECKSUM_NAME);
        remove_all(&checksum).context(Kind::Fetch, failed)?;
        let package = (!file.locked.is_git()).then_some(file.sha256);
        let text = serde_json::json!({ "files": {}, "package": package });
        fs::write(&checksum, text.to_string()).context(Kind::Fetch, failed)?;
        let directory = self.directory(file);
        let stamp_path = directory.with_extension("stamp");
        remove_all(&stamp_path).context(Kind::Fetch, failed)?;
        remove_all(&directory).context(Kind::Fetch, failed)?;
        fs::rename(&root, &directory).context(Kind::Fetch, failed)?;
        let stamp = stamp(&directory).context(Kind::Fetch, failed)?;
        let written = temporary.path().join("stamp");
        fs::write(&written, stamp)
            .and_then(|()| fs::rename(&written, &stamp_path))
            .context(Kind::Fetch, failed)
    }
}

/// Returns a text that identifies the state of the files in `directory`.
fn stamp(directory: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let path = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        // Creating or removing an entry shows in the list; the times of directories change for other reasons.
        let state = (!metadata.is_dir()).then(|| {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            (
                metadata.ino(),
                metadata.mode(),
                metadata.len(),
                modified,
                changed,
            )
        });
        let _ = writeln!(text, "{:?}", (path, state));
    }
    Ok(Sha256::of(text.as_bytes()).to_string())
}
