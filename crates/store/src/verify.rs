//! Verification of a store: digests every file, and reads every sidecar file and build record.

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_fs::remove::remove_all;
use wheelhouse_types::{Result, Sha256};

use crate::entry::Lookup;
use crate::layout::{BUILT, FILES, LAYERS, LOCKS, METADATA, SURROUNDINGS, TREE_FILES};
use crate::store::Store;
use crate::{built_wheels, error, sidecar};

/// The result of [`Store::verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreVerification {
    /// The number of intact wheels and sdists.
    pub files: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// The entries, sidecar files and build records that are corrupt or unreadable. They were removed, unless the store is
    /// read-only.
    pub corrupt: Vec<PathBuf>,
}

impl Store {
    /// Digests all files of the store in parallel, reads all sidecar files and build records, and removes corrupt ones.
    ///
    /// # Errors
    /// Fails if a directory cannot be listed or a file cannot be removed.
    pub fn verify(&self) -> Result<StoreVerification> {
        let mut verification = StoreVerification::default();
        for lookup in self.find_many(&self.entry_names()?)? {
            match lookup {
                Lookup::Hit(stored) => {
                    verification.files += 1;
                    verification.bytes += stored.size;
                }
                Lookup::Miss => {}
                Lookup::Corrupt(path) => verification.corrupt.push(path),
            }
        }
        let mut corrupt = Vec::new();
        for bucket in [METADATA, LAYERS, LOCKS, SURROUNDINGS, TREE_FILES] {
            corrupt.extend(self.remove_corrupt(bucket, |path| sidecar::read(path).is_some())?);
        }
        corrupt.extend(self.remove_corrupt(BUILT, |path| {
            fs::read(path).is_ok_and(|text| built_wheels::parse(&text).is_some())
        })?);
        verification.corrupt.extend(corrupt);
        Ok(verification)
    }

    /// Returns the digests that are names of entries, including entries that are not regular files.
    fn entry_names(&self) -> Result<Vec<Sha256>> {
        let failed = |error| error::maintaining(self.root(), error);
        let mut digests = Vec::new();
        for directory in fs::read_dir(self.layout().bucket(FILES)).map_err(failed)? {
            let directory = directory.map_err(failed)?;
            if !directory.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(directory.path()).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                digests.extend(name.to_str().and_then(|name| name.parse::<Sha256>().ok()));
            }
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// Removes the files of `bucket` that are not intact, unless the store is read-only. Returns their paths.
    fn remove_corrupt(
        &self,
        bucket: &str,
        is_intact: impl Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>> {
        let failed = |error| error::maintaining(self.root(), error);
        let mut corrupt = Vec::new();
        for entry in fs::read_dir(self.layout().bucket(bucket)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let is_file = entry.file_type().map_err(failed)?.is_file();
            if is_file && is_intact(&path) {
                continue;
            }
            tracing::debug!(path = %path.display(), "discarding corrupt file of the cache");
            if self.is_writable() {
                remove_all(&path).map_err(failed)?;
            }
            corrupt.push(path);
        }
        Ok(corrupt)
    }
}
