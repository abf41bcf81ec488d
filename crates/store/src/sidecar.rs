//! Sidecar files: small facts about files, image layers and local trees, each after its own digest, so that a truncated one
//! is a miss. A lost sidecar file costs only time.
//!
//! They avoid expensive work: listing all files of a wheel to find its metadata, digesting every byte of an image layer three
//! times, reading local trees with much data, and inflating archives to verify that they are within the limits. Which files
//! beside a local tree a build reads is known only from a build: without that sidecar file, the tree is built again.
//!
//! The store does not interpret the contents.

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::Sha256;

use crate::layout::{EXAMINED, LAYERS, LOCKS, METADATA, SURROUNDINGS, TREE_FILES};
use crate::store::Store;

/// The length of the digest and the line break before the content, in bytes.
const HEADER_LENGTH: usize = 65;

/// Writes of sidecar files may fail: the fact is then computed again.
impl Store {
    /// Returns the saved `METADATA` of the wheel with the digest `wheel`.
    #[must_use]
    pub fn metadata(&self, wheel: &Sha256) -> Option<Vec<u8>> {
        self.read_sidecar(METADATA, wheel)
    }

    /// Saves the `METADATA` of the wheel with the digest `wheel`.
    pub fn save_metadata(&self, wheel: &Sha256, metadata: &[u8]) {
        self.write_sidecar(METADATA, wheel, metadata);
    }

    /// Returns the saved description of the image layer with the digest `recipe` of its inputs.
    #[must_use]
    pub fn layer(&self, recipe: &Sha256) -> Option<Vec<u8>> {
        self.read_sidecar(LAYERS, recipe)
    }

    /// Saves the description of the image layer with the digest `recipe` of its inputs.
    pub fn save_layer(&self, recipe: &Sha256, layer: &[u8]) {
        self.write_sidecar(LAYERS, recipe, layer);
    }

    /// Returns whether a lock with this text was written with this store.
    #[must_use]
    pub fn has_lock(&self, text: &[u8]) -> bool {
        self.read_sidecar(LOCKS, &Sha256::of(text)).is_some()
    }

    /// Remembers that a lock with this text was written.
    pub fn save_lock(&self, text: &[u8]) {
        self.write_sidecar(LOCKS, &Sha256::of(text), b"");
    }

    /// Returns the saved list of files beside the local tree with the key `tree`.
    #[must_use]
    pub fn surroundings(&self, tree: &Sha256) -> Option<Vec<u8>> {
        self.read_sidecar(SURROUNDINGS, tree)
    }

    /// Saves the list of files beside the local tree with the key `tree` that its builds read.
    pub fn save_surroundings(&self, tree: &Sha256, surroundings: &[u8]) {
        self.write_sidecar(SURROUNDINGS, tree, surroundings);
    }

    /// Returns the saved digests of the files of the local tree with the key `tree`.
    #[must_use]
    pub fn tree_files(&self, tree: &Sha256) -> Option<Vec<u8>> {
        self.read_sidecar(TREE_FILES, tree)
    }

    /// Saves the digests of the files of the local tree with the key `tree`.
    pub fn save_tree_files(&self, tree: &Sha256, files: &[u8]) {
        self.write_sidecar(TREE_FILES, tree, files);
    }

    /// Returns whether the archive with the digest `archive` is known to be within the limits for archives.
    #[must_use]
    pub fn is_examined(&self, archive: &Sha256) -> bool {
        self.read_sidecar(EXAMINED, archive).is_some()
    }

    /// Remembers that the archive with the digest `archive` is within the limits for archives.
    pub fn mark_examined(&self, archive: &Sha256) {
        self.write_sidecar(EXAMINED, archive, b"");
    }

    fn sidecar(&self, bucket: &str, key: &Sha256) -> PathBuf {
        self.layout().bucket(bucket).join(key.to_string())
    }

    fn read_sidecar(&self, bucket: &str, key: &Sha256) -> Option<Vec<u8>> {
        let content = read(&self.sidecar(bucket, key));
        let result = if content.is_some() { "hit" } else { "miss" };
        tracing::debug!(bucket, %key, result, "looked up sidecar file");
        content
    }

    fn write_sidecar(&self, bucket: &str, key: &Sha256, content: &[u8]) {
        let bytes = [format!("{}\n", Sha256::of(content)).as_bytes(), content].concat();
        let written = self.temporary(|path| std::fs::write(path, &bytes));
        if let Ok(file) = written {
            let _ = file.into_temp_path().persist(self.sidecar(bucket, key));
        }
    }
}

/// Reads a sidecar file. Returns `None` if it is missing or does not match its digest.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (header, content) = bytes.split_at_checked(HEADER_LENGTH)?;
    let digest: Sha256 = std::str::from_utf8(header).ok()?.trim_end().parse().ok()?;
    (digest == Sha256::of(content)).then(|| content.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_truncated_sidecar_files() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let wheel = Sha256::of(b"a wheel");
        assert_eq!(store.metadata(&wheel), None);
        store.save_metadata(&wheel, b"Name: example\n");
        assert_eq!(store.metadata(&wheel).unwrap(), b"Name: example\n");
        let path = store.sidecar(METADATA, &wheel);
        for length in [0, 10, HEADER_LENGTH, HEADER_LENGTH + 3] {
            let complete = std::fs::read(&path).unwrap();
            std::fs::write(&path, &complete[..length]).unwrap();
            assert_eq!(store.metadata(&wheel), None);
            std::fs::write(&path, complete).unwrap();
        }
    }
}
