//! Examines archives before the engine unpacks them, because the engine enforces no limits.

use std::path::PathBuf;

use wheelhouse_archive::Limits;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{Store, StoredFile};
use wheelhouse_types::Result;

/// Examines the archive at `path`, which is not in the store.
///
/// # Errors
/// When it is damaged or exceeds the limits.
pub(crate) async fn examine(path: PathBuf) -> Result<()> {
    let filename = path.file_name().unwrap_or_default();
    let filename = filename.to_string_lossy().into_owned();
    if path.extension().is_some_and(|extension| extension == "whl") {
        return examine_wheel(path, filename).await;
    }
    blocking(move || wheelhouse_archive::examine(&path, &filename, &Limits::default())).await
}

/// Examines a wheel of which only the metadata is read.
pub(super) async fn examine_wheel(path: PathBuf, filename: String) -> Result<()> {
    blocking(move || wheelhouse_archive::inspect(&path, &filename).map(drop)).await
}

/// Examines an archive in the store, known as `filename`. The store records the result for later runs.
pub(super) async fn examine_stored(
    store: &Store,
    stored: &StoredFile,
    filename: &str,
) -> Result<()> {
    let (store, stored, filename) = (store.clone(), stored.clone(), filename.to_owned());
    blocking(move || {
        if !store.is_examined(&stored.sha256) {
            wheelhouse_archive::examine(&stored.path, &filename, &Limits::default())?;
            store.mark_examined(&stored.sha256);
        }
        Ok(())
    })
    .await
}
