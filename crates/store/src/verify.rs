//! Verifying a store: every file is digested, and every note and record read.

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::{Result, Sha256};

use super::layout::{BUILT, FILES, LAYERS, LOCKS, METADATA, SURROUNDINGS, TREE_FILES, remove_all};
use super::{Lookup, Store, built_wheels, error, sidecar};

/// The result of verifying a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreVerification {
    /// Wheels and sdists that are intact.
    pub files: usize,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Entries, notes and records that are corrupt or cannot be read. They were removed, unless the store is read-only.
    pub corrupt: Vec<PathBuf>,
}

impl Store {
    /// Digests all files of the store on all processors, and reads all notes and records.
    ///
    /// # Errors
    /// Fails if something cannot be listed or removed.
    pub fn verify(&self) -> Result<StoreVerification> {
        let mut verified = StoreVerification::default();
        for found in self.find_many(&self.named_digests()?)? {
            match found {
                Lookup::Hit(stored) => {
                    verified.files += 1;
                    verified.bytes += stored.size;
                }
                Lookup::Miss => {}
                Lookup::Corrupt(path) => verified.corrupt.push(path),
            }
        }
        for bucket in [METADATA, LAYERS, LOCKS, SURROUNDINGS, TREE_FILES] {
            self.verify_bucket(bucket, |path| sidecar::read(path).is_some(), &mut verified)?;
        }
        let is_record =
            |path: &Path| fs::read(path).is_ok_and(|text| built_wheels::parse(&text).is_some());
        self.verify_bucket(BUILT, is_record, &mut verified)?;
        Ok(verified)
    }

    /// Returns the digests that entries are named by, whatever the entries are.
    fn named_digests(&self) -> Result<Vec<Sha256>> {
        let failed = |error| error::upkeep(self.root(), error);
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

    fn verify_bucket(
        &self,
        bucket: &str,
        is_intact: impl Fn(&Path) -> bool,
        verified: &mut StoreVerification,
    ) -> Result<()> {
        let failed = |error| error::upkeep(self.root(), error);
        for entry in fs::read_dir(self.layout().bucket(bucket)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let is_file = entry.file_type().map_err(failed)?.is_file();
            if is_file && is_intact(&path) {
                continue;
            }
            if self.is_writable() {
                remove_all(&path).map_err(failed)?;
            }
            verified.corrupt.push(path);
        }
        Ok(())
    }
}
