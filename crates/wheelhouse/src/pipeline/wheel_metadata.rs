//! The core metadata of wheels in the store.

use wheelhouse_store::{Store, StoredFile};
use wheelhouse_types::Result;

/// The `METADATA` file of a wheel, and the field of it that indexes and manifests repeat.
pub(super) struct CoreMetadata {
    pub(super) bytes: Vec<u8>,
    pub(super) requires_python: Option<String>,
}

impl CoreMetadata {
    /// Reads the metadata of the wheel `filename`: the copy in the store, or else that in the wheel.
    ///
    /// # Errors
    /// When the wheel cannot be read or is not a valid wheel.
    pub(super) fn read(store: &Store, stored: &StoredFile, filename: &str) -> Result<Self> {
        let bytes = if let Some(bytes) = store.metadata(&stored.sha256) {
            bytes
        } else {
            let bytes = wheelhouse_archive::inspect(&stored.path, filename)?.metadata;
            store.save_metadata(&stored.sha256, &bytes);
            bytes
        };
        let text = String::from_utf8_lossy(&bytes);
        let requires_python = wheelhouse_archive::metadata::value(&text, "Requires-Python");
        Ok(Self {
            bytes,
            requires_python,
        })
    }
}
