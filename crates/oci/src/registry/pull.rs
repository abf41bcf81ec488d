//! Pulling: manifests, and blobs as streams that go on where they broke off.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, RANGE};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use wheelhouse_types::Result;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::retry::MIN_PROGRESS;

use super::Registry;
use super::http::{BodyError, BodyReader, FailedRequest, read_body};
use crate::stream::{self, StreamReader};
use crate::transport::image_reader::LARGEST_DOCUMENT;

/// The documents that a tag may name.
const DOCUMENTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

impl Registry {
    /// Gets the manifest or index under `reference`, a tag or a digest; unchecked.
    ///
    /// # Errors
    /// The registry cannot be reached, refuses, or answers with more than a document may have.
    pub async fn document(&self, reference: &str) -> Result<Vec<u8>> {
        self.optional_document(reference).await?.ok_or_else(|| {
            self.error("there is no such image")
                .with_hint("Check the name and the tag of the image.")
        })
    }

    /// The same, or nothing if there is no such document.
    pub(super) async fn optional_document(&self, reference: &str) -> Result<Option<Vec<u8>>> {
        let url = self.url(&format!("manifests/{reference}"));
        let mut failures = 0;
        loop {
            let get = || self.client().get(url.clone()).header(ACCEPT, DOCUMENTS);
            let response = self.send(get).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let response = self.ensure_success(response, "the manifest").await?;
            match read_body(response, LARGEST_DOCUMENT, self.timeout()).await {
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

    /// Reads the blob with `digest` as it arrives; unchecked. What comes is made on `handle`, so
    /// it must be read on another thread.
    #[must_use]
    pub(crate) fn blob(&self, digest: &str, handle: &Handle) -> StreamReader {
        let (sender, receiver) = stream::channel();
        let (registry, digest) = (self.clone(), digest.to_owned());
        handle.spawn(async move {
            if let Err(error) = registry.stream_blob(&digest, &sender).await {
                let error = std::io::Error::other(error.display_chain());
                // Whoever read has seen enough.
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
            // A registry that does not know ranges begins again.
            let skip = if response.status() == StatusCode::PARTIAL_CONTENT {
                0
            } else {
                offset
            };
            let before = offset;
            let arriving = BodyReader::new(response, self.timeout());
            let Err(failed) = pass_on(arriving, skip, &mut offset, sender).await else {
                return Ok(());
            };
            // What gets on is no failure.
            failures = if offset >= before + MIN_PROGRESS {
                1
            } else {
                failures + 1
            };
            self.pause(*failed, failures).await?;
        }
    }
}

/// Sends the body on without its first `skip` bytes, and counts in `offset` what was sent.
async fn pass_on(
    mut arriving: BodyReader,
    mut skip: u64,
    offset: &mut u64,
    sender: &Sender<std::io::Result<Vec<u8>>>,
) -> Result<(), Box<FailedRequest>> {
    while let Some(chunk) = arriving.chunk().await? {
        let left_out = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        skip -= left_out as u64;
        let chunk = chunk[left_out..].to_vec();
        *offset += chunk.len() as u64;
        if sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
