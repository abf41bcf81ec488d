//! The core metadata of wheels, kept beside them: finding it in a wheel means reading the list of all
//! its files.
//!
//! Never looks into a wheel itself.

use std::path::PathBuf;

use fs_err as fs;
use wheelhouse_model::Sha256;

use super::Store;
use super::layout::METADATA;

/// The length of a digest and the line break after it, which precede the metadata (bytes).
const HEADER: usize = 65;

impl Store {
    /// The `METADATA` of the wheel with digest `wheel`, if it was kept and is whole.
    #[must_use]
    pub fn metadata(&self, wheel: &Sha256) -> Option<Vec<u8>> {
        let bytes = fs::read(self.metadata_path(wheel)).ok()?;
        let (header, metadata) = bytes.split_at_checked(HEADER)?;
        let digest: Sha256 = std::str::from_utf8(header).ok()?.trim_end().parse().ok()?;
        (digest == Sha256::of(metadata)).then(|| metadata.to_vec())
    }

    /// Keeps `metadata` for the wheel with digest `wheel`. Where that fails, the wheel is looked into
    /// again.
    pub fn keep_metadata(&self, wheel: &Sha256, metadata: &[u8]) {
        let path = self.metadata_path(wheel);
        let contents = [format!("{}\n", Sha256::of(metadata)).as_bytes(), metadata].concat();
        let kept = self.temporary(|temporary| std::fs::write(temporary, &contents));
        if let Ok(file) = kept {
            let _ = file.into_temp_path().persist(path);
        }
    }

    fn metadata_path(&self, wheel: &Sha256) -> PathBuf {
        self.layout().bucket(METADATA).join(wheel.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_metadata_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let wheel = Sha256::of(b"a wheel");
        assert_eq!(store.metadata(&wheel), None);
        store.keep_metadata(&wheel, b"Name: example\n");
        assert_eq!(store.metadata(&wheel).unwrap(), b"Name: example\n");
        let path = store.metadata_path(&wheel);
        for length in [0, 10, HEADER, HEADER + 3] {
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.metadata(&wheel), None);
            std::fs::write(&path, whole).unwrap();
        }
    }
}
