//! Downloads of manifests and blobs. An interrupted download of a blob is resumed.

use hyper::body::Bytes;
use reqwest::header::{ACCEPT, RANGE};
use reqwest::{Response, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use url::Url;
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
    ///
    /// # Errors
    /// As [`Registry::document`].
    pub async fn optional_document(&self, reference: &str) -> Result<Option<Vec<u8>>> {
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
        let response = self.request_blob(&url, 0).await?;
        let response = self.ensure_success(response, "a blob").await?;
        let mut download = BlobDownload::new(self.clone(), url, response);
        while let Some(chunk) = download.chunk().await? {
            if sender.send(Ok(chunk.to_vec())).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Starts the download of the blob with `digest`, without verifying its digest. Returns `None` if the repository does
    /// not have it.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects the request.
    pub async fn open_blob(&self, digest: &str) -> Result<Option<BlobDownload>> {
        let url = self.url(&format!("blobs/{digest}"));
        let response = self.request_blob(&url, 0).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.ensure_success(response, "a blob").await?;
        Ok(Some(BlobDownload::new(self.clone(), url, response)))
    }

    async fn request_blob(&self, url: &Url, offset: u64) -> Result<Response> {
        let get = || {
            let request = self.client().get(url.clone());
            if offset == 0 {
                return request;
            }
            request.header(RANGE, format!("bytes={offset}-"))
        };
        self.send(get).await
    }
}

/// A download of a blob, which is continued after an interruption.
pub struct BlobDownload {
    registry: Registry,
    url: Url,
    body: BodyReader,
    /// The number of bytes of the response that were returned from an earlier one.
    skip: u64,
    /// The number of bytes that were returned.
    offset: u64,
    /// The offset at the start of the response.
    start: u64,
    failures: u32,
}

impl BlobDownload {
    fn new(registry: Registry, url: Url, response: Response) -> Self {
        Self {
            body: BodyReader::new(response, registry.timeout()),
            registry,
            url,
            skip: 0,
            offset: 0,
            start: 0,
            failures: 0,
        }
    }

    /// Returns the size of the blob in bytes, if the registry states it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.body.length()
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// Fails if the download was interrupted and cannot be continued.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let chunk = match self.body.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    let path = self.url.path();
                    tracing::debug!(path, bytes = self.offset, "downloaded a blob");
                    return Ok(None);
                }
                Err(failed) => {
                    self.resume(*failed).await?;
                    continue;
                }
            };
            let skipped =
                usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            self.skip -= skipped as u64;
            let chunk = chunk.slice(skipped..);
            self.offset += chunk.len() as u64;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    async fn resume(&mut self, failed: FailedRequest) -> Result<()> {
        // An attempt with progress resets the count.
        self.failures = if self.offset >= self.start + MIN_PROGRESS {
            1
        } else {
            self.failures + 1
        };
        self.registry.pause(failed, self.failures).await?;
        let response = self.registry.request_blob(&self.url, self.offset).await?;
        let response = self.registry.ensure_success(response, "a blob").await?;
        // A registry without support for ranges sends the whole blob.
        self.skip = if response.status() == StatusCode::PARTIAL_CONTENT {
            0
        } else {
            self.offset
        };
        self.start = self.offset;
        self.body = BodyReader::new(response, self.registry.timeout());
        Ok(())
    }
}
