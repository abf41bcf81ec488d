//! Referrers (OCI distribution specification 1.1): documents that are attached to an image.

use std::sync::Arc;

use wheelhouse_types::Result;

use super::client::Registry;
use super::push::Upload;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::manifest::{self, Document, EMPTY};
use crate::progress::{NoProgress, TransferProgress};

/// The response header of registries that support referrers.
const SUBJECT_HEADER: &str = "oci-subject";

impl Registry {
    /// Attaches `content`, whose manifest is `referrer`, to `subject`. If the registry does not support referrers, the
    /// manifest is added to the index with the fallback tag.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects a document.
    pub async fn attach(
        &self,
        content: &Document,
        referrer: &Document,
        subject: &Document,
    ) -> Result<()> {
        let no_progress: Arc<dyn TransferProgress> = Arc::new(NoProgress);
        self.push_blobs(uploads(content), &no_progress).await?;
        let digest = referrer.blob.digest();
        let response = self.push_document(referrer, &digest).await?;
        if response.headers().contains_key(SUBJECT_HEADER) {
            return Ok(());
        }
        let tag = subject.blob.digest().replace(':', "-");
        let before = self.optional_document(&tag).await?;
        let list =
            manifest::with_referrer(before.as_deref(), referrer, content.media_type.as_ref());
        self.push_document(&list, &tag).await.map(drop)
    }
}

/// Returns the blobs of an artifact: its content and the empty configuration.
fn uploads(content: &Document) -> Vec<Upload> {
    [content.bytes.as_slice(), EMPTY]
        .into_iter()
        .map(|bytes| Upload {
            blob: Blob::of(bytes),
            source: BlobSource::Bytes(bytes.to_vec()),
            mount_from: None,
        })
        .collect()
}
