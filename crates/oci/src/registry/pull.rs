//! Downloads of manifests and blobs. An interrupted download of a blob is resumed.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, RANGE};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use wheelhouse_types::Result;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::retry::MIN_PROGRESS;

use super::client::Registry;
use super::http::{BodyError, BodyReader, FailedRequest, read_body};
use crate::stream::{self, StreamReader};
use crate::transport::image_reader::MAX_DOCUMENT_SIZE;

/// The media types of manifests and indexes.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

impl Registry {
    /// Downloads the manifest or index with the tag or digest `reference`, without verifying its digest.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects the request, or if the document is too large.
    pub async fn document(&self, reference: &str) -> Result<Vec<u8>> {
        self.optional_document(reference).await?.ok_or_else(|| {
            self.error("the image does not exist")
                .with_hint("Check the name and the tag of the image.")
        })
    }

    /// Downloads a manifest or index as [`Registry::document`] does, or returns `None` if it does not exist.
    pub(super) async fn optional_document(&self, reference: &str) -> Result<Option<Vec<u8>>> {
        let url = self.url(&format!("manifests/{reference}"));
        let mut failures = 0;
        loop {
            let get = || {
                self.client()
                    .get(url.clone())
                    .header(ACCEPT, MANIFEST_TYPES)
            };
            let response = self.send(get).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let response = self.ensure_success(response, "the manifest").await?;
            match read_body(response, MAX_DOCUMENT_SIZE, self.timeout()).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(BodyError::Failed(failed)) => {
                    failures += 1;
                    self.pause(*failed, failures).await?;
                }
                Err(BodyError::TooLong(excess)) => {
                    let name = || format!("the manifest of docker://{}", self.reference());
                    return Err(excess).context(self.kind(), name);
                }
            }
        }
    }

    /// Downloads the blob with `digest` as a stream, without verifying its digest. The download runs on `handle`, so the
    /// stream must be read on another thread.
    #[must_use]
    pub(crate) fn blob(&self, digest: &str, handle: &Handle) -> StreamReader {
        let (sender, receiver) = stream::channel();
        let (registry, digest) = (self.clone(), digest.to_owned());
        handle.spawn(async move {
            if let Err(error) = registry.stream_blob(&digest, &sender).await {
                let error = std::io::Error::other(error.display_chain());
                // Sending fails only if the reader was dropped.
                let _ = sender.send(Err(error)).await;
            }
        });
        StreamReader::new(receiver)
    }

    async fn stream_blob(
        &self,
        digest: &str,
        sender: &Sender<std::io::Result<Vec<u8>>>,
    ) -> Result<()> {
        let url = self.url(&format!("blobs/{digest}"));
        let (mut offset, mut failures) = (0, 0);
        loop {
            let get = || {
                let request = self.client().get(url.clone());
                if offset == 0 {
                    return request;
                }
                request.header(RANGE, format!("bytes={offset}-"))
            };
            let response = self.ensure_success(self.send(get).await?, "a blob").await?;
            // A registry without support for ranges sends the whole blob.
            let skip = if response.status() == StatusCode::PARTIAL_CONTENT {
                0
            } else {
                offset
            };
            let start = offset;
            let body = BodyReader::new(response, self.timeout());
            let Err(failed) = forward(body, skip, &mut offset, sender).await else {
                tracing::debug!(digest, bytes = offset, "downloaded a blob");
                return Ok(());
            };
            // An attempt with progress resets the count.
            failures = if offset >= start + MIN_PROGRESS {
                1
            } else {
                failures + 1
            };
            self.pause(*failed, failures).await?;
        }
    }
}

/// Forwards the body without its first `skip` bytes to `sender`, and adds the number of bytes to `offset`.
async fn forward(
    mut body: BodyReader,
    mut skip: u64,
    offset: &mut u64,
    sender: &Sender<std::io::Result<Vec<u8>>>,
) -> Result<(), Box<FailedRequest>> {
    while let Some(chunk) = body.chunk().await? {
        let skipped = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        skip -= skipped as u64;
        let chunk = chunk[skipped..].to_vec();
        *offset += chunk.len() as u64;
        if sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
