//! Notes: small files about large ones, each after its own digest, so that only whole ones are given
//! back. One that is lost costs time, and nothing else.
//!
//! The core metadata of wheels is kept because finding it in a wheel means reading the list of all
//! its files; what layers of images are, because that takes three digests of every byte; the digests of the files of
//! local trees, because trees may hold much data. What builds looked at beside a local tree is known from building
//! it alone: without the note it is built again. That an archive is within limits is known from inflating all of it.
//!
//! Never looks into a wheel itself, and never knows what a layer or a tree is.

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::Sha256;

use super::Store;
use super::layout::{EXAMINED, LAYERS, LOCKS, METADATA, SURROUNDINGS, TREE_FILES};

/// The length of a digest and the line break after it, which precede the text (bytes).
const HEADER: usize = 65;

impl Store {
    /// The `METADATA` of the wheel with digest `wheel`, if it was kept.
    #[must_use]
    pub fn metadata(&self, wheel: &Sha256) -> Option<Vec<u8>> {
        read(&self.sidecar(METADATA, wheel))
    }

    /// Keeps `metadata` for the wheel with digest `wheel`. Where that fails, the wheel is looked into
    /// again.
    pub fn save_metadata(&self, wheel: &Sha256, metadata: &[u8]) {
        self.save(&self.sidecar(METADATA, wheel), metadata);
    }

    /// What was kept of the layer of images that is made by `recipe`.
    #[must_use]
    pub fn layer(&self, recipe: &Sha256) -> Option<Vec<u8>> {
        read(&self.sidecar(LAYERS, recipe))
    }

    /// Keeps what the layer turned out to be that is made by `recipe`. Where that fails, it is
    /// digested again.
    pub fn save_layer(&self, recipe: &Sha256, layer: &[u8]) {
        self.save(&self.sidecar(LAYERS, recipe), layer);
    }

    /// Returns whether a lock with this text was written with this store.
    #[must_use]
    pub fn has_lock(&self, text: &[u8]) -> bool {
        read(&self.sidecar(LOCKS, &Sha256::of(text))).is_some()
    }

    /// Remembers the text of a lock that is written.
    pub fn save_lock(&self, text: &[u8]) {
        self.save(&self.sidecar(LOCKS, &Sha256::of(text)), b"");
    }

    /// What was kept of the surroundings of the local tree known as `tree`.
    #[must_use]
    pub fn surroundings(&self, tree: &Sha256) -> Option<Vec<u8>> {
        read(&self.sidecar(SURROUNDINGS, tree))
    }

    /// Keeps what builds of the local tree known as `tree` looked at beside it.
    pub fn save_surroundings(&self, tree: &Sha256, surroundings: &[u8]) {
        self.save(&self.sidecar(SURROUNDINGS, tree), surroundings);
    }

    /// What was kept of the files of the local tree known as `tree`.
    #[must_use]
    pub fn tree_files(&self, tree: &Sha256) -> Option<Vec<u8>> {
        read(&self.sidecar(TREE_FILES, tree))
    }

    /// Keeps the digests of the files of the local tree known as `tree`. Where that fails, they are read again.
    pub fn save_tree_files(&self, tree: &Sha256, files: &[u8]) {
        self.save(&self.sidecar(TREE_FILES, tree), files);
    }

    /// Returns whether the archive with digest `archive` was found to be within the limits of archives.
    #[must_use]
    pub fn is_examined(&self, archive: &Sha256) -> bool {
        read(&self.sidecar(EXAMINED, archive)).is_some()
    }

    /// Remembers that the archive with digest `archive` is within the limits. Where that fails, it is read again.
    pub fn mark_examined(&self, archive: &Sha256) {
        self.save(&self.sidecar(EXAMINED, archive), b"");
    }

    fn sidecar(&self, bucket: &str, about: &Sha256) -> PathBuf {
        self.layout().bucket(bucket).join(about.to_string())
    }

    fn save(&self, path: &Path, text: &[u8]) {
        let contents = [format!("{}\n", Sha256::of(text)).as_bytes(), text].concat();
        let kept = self.temporary(|temporary| std::fs::write(temporary, &contents));
        if let Ok(file) = kept {
            let _ = file.into_temp_path().persist(path);
        }
    }
}

pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (header, text) = bytes.split_at_checked(HEADER)?;
    let digest: Sha256 = std::str::from_utf8(header).ok()?.trim_end().parse().ok()?;
    (digest == Sha256::of(text)).then(|| text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_only_complete_sidecars() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let wheel = Sha256::of(b"a wheel");
        assert_eq!(store.metadata(&wheel), None);
        store.save_metadata(&wheel, b"Name: example\n");
        assert_eq!(store.metadata(&wheel).unwrap(), b"Name: example\n");
        let path = store.sidecar(METADATA, &wheel);
        for length in [0, 10, HEADER, HEADER + 3] {
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.metadata(&wheel), None);
            std::fs::write(&path, whole).unwrap();
        }
    }
}
