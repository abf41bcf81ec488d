//! Referrers (OCI distribution specification 1.1): documents that belong to an image.

use std::sync::Arc;

use wheelhouse_types::Result;

use super::Registry;
use super::push::Upload;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::manifest::{self, Document, EMPTY};
use crate::progress::{NoProgress, TransferProgress};

/// The header by which a registry says that it lists referrers itself.
const KNOWS_REFERRERS: &str = "oci-subject";

impl Registry {
    /// Attaches `content`, by its manifest `referrer`, to `subject`: where the registry does not list
    /// referrers itself, in the index under the tag that stands for the list.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub async fn attach(
        &self,
        content: &Document,
        referrer: &Document,
        subject: &Document,
    ) -> Result<()> {
        let unwatched: Arc<dyn TransferProgress> = Arc::new(NoProgress);
        self.push_blobs(uploads(content), &unwatched).await?;
        let digest = referrer.blob.digest();
        let response = self.push_document(referrer, &digest).await?;
        if response.headers().contains_key(KNOWS_REFERRERS) {
            return Ok(());
        }
        let tag = subject.blob.digest().replace(':', "-");
        let before = self.optional_document(&tag).await?;
        let list =
            manifest::with_referrer(before.as_deref(), referrer, content.media_type.as_ref());
        self.push_document(&list, &tag).await.map(drop)
    }
}

/// The blobs of an artifact: its content, and the configuration that it has not.
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
