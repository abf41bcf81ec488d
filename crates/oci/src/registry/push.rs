//! Uploads of blobs and manifests.
//!
//! The blobs that the registry lacks are uploaded concurrently. The caller pushes the manifests afterwards, the tagged one
//! last. An interrupted upload is resumed at the offset that the registry reports, or restarted.

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Body, Response, StatusCode};
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::retry::MIN_PROGRESS;
use wheelhouse_types::{Error, Result};

use super::client::Registry;
use super::http::FailedRequest;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::manifest::Document;
use crate::progress::TransferProgress;
use crate::stream::{self, StreamWriter};

/// The number of concurrent uploads.
pub(crate) const CONCURRENCY: usize = 4;

/// A blob to upload.
#[derive(Clone)]
pub struct Upload {
    /// The digest and size of the blob.
    pub blob: Blob,
    /// Provides the bytes of the blob.
    pub source: BlobSource,
    /// A repository of the same registry from which the blob can be mounted.
    pub mount_from: Option<String>,
}

/// The outcome of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushSummary {
    /// The number of uploaded blobs.
    pub uploaded: usize,
    /// The total size of the uploaded blobs, in bytes.
    pub bytes: u64,
    /// The number of blobs that the registry had already, in this repository or another one.
    pub present: usize,
}

impl Registry {
    /// Returns whether `reference` names exactly this document in the registry. All blobs of the document exist then.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached.
    pub async fn has_document(&self, document: &Document, reference: &str) -> Result<bool> {
        let url = self.url(&format!("manifests/{reference}"));
        let media_type = document.media_type.to_string();
        let head = || {
            let request = self.client().head(url.clone());
            request.header(reqwest::header::ACCEPT, &media_type)
        };
        let response = self.send(head).await?;
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok());
        Ok(response.status().is_success() && digest == Some(&document.blob.digest()))
    }

    /// Uploads the blobs of `uploads` that the registry lacks.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects a blob, or if the bytes of a blob cannot be read.
    pub async fn push_blobs(
        &self,
        uploads: Vec<Upload>,
        progress: &Arc<dyn TransferProgress>,
    ) -> Result<PushSummary> {
        let results = futures::stream::iter(uploads).map(|upload| async move {
            let bytes = upload.blob.size;
            let sent = self.push_blob(&upload, progress).await?;
            Ok::<_, Error>(if sent { Some(bytes) } else { None })
        });
        let sent: Vec<Option<u64>> = results.buffer_unordered(CONCURRENCY).try_collect().await?;
        let uploaded = sent.iter().flatten();
        Ok(PushSummary {
            uploaded: uploaded.clone().count(),
            bytes: uploaded.sum(),
            present: sent.iter().filter(|sent| sent.is_none()).count(),
        })
    }

    /// Uploads a document as `reference`. The registry must have its blobs.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects the document.
    pub async fn push_document(&self, document: &Document, reference: &str) -> Result<Response> {
        let url = self.url(&format!("manifests/{reference}"));
        let put = || {
            let request = self.client().put(url.clone());
            let request = request.header(CONTENT_TYPE, document.media_type.to_string());
            request.body(document.bytes.clone())
        };
        let what = "the manifest";
        let mut failures = 0;
        loop {
            match self.accepted(self.send(put).await?).await {
                Ok(response) => return Ok(response),
                // The registry `distribution` 2 reads an empty digest while another client uploads the same blob, because it
                // truncates the file with the digest before it writes it again.
                Err(rejection) if rejection.is_about_digest() => {
                    failures += 1;
                    let message = rejection.message(what);
                    let failed = FailedRequest::rejected(rejection.url, message);
                    self.pause(failed, failures).await?;
                }
                Err(rejection) => return Err(self.rejected(what, &rejection)),
            }
        }
    }

    /// Uploads a blob unless the registry has it or can mount it. Returns whether the blob was uploaded.
    async fn push_blob(
        &self,
        upload: &Upload,
        progress: &Arc<dyn TransferProgress>,
    ) -> Result<bool> {
        let url = self.url(&format!("blobs/{}", upload.blob.digest()));
        let found = self.send(|| self.client().head(url.clone())).await?;
        let digest = upload.blob.digest();
        if found.status().is_success() {
            tracing::debug!(digest, "skipped a blob that exists");
            return Ok(false);
        }
        if found.status() != StatusCode::NOT_FOUND {
            return Err(self
                .ensure_success(found, "the search for a blob")
                .await
                .map_or_else(
                    |error| error,
                    |response| {
                        self.error(&format!(
                            "unexpected response from the registry: {}",
                            response.status()
                        ))
                    },
                ));
        }
        let Some(location) = self.start_upload(upload).await? else {
            tracing::debug!(digest, from = upload.mount_from, "mounted a blob");
            return Ok(false);
        };
        progress.add_expected(upload.blob.size);
        self.upload(upload, location, progress).await?;
        tracing::debug!(digest, bytes = upload.blob.size, "uploaded a blob");
        Ok(true)
    }

    /// Starts an upload and returns its location, or `None` if the registry mounted the blob from another repository.
    async fn start_upload(&self, upload: &Upload) -> Result<Option<Url>> {
        let mut url = self.url("blobs/uploads/");
        if let Some(from) = &upload.mount_from {
            url.query_pairs_mut()
                .append_pair("mount", &upload.blob.digest())
                .append_pair("from", from);
        }
        let post = || self.client().post(url.clone()).header(CONTENT_LENGTH, 0);
        let response = self.send(post).await?;
        let response = self
            .ensure_success(response, "the upload of a blob")
            .await?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        self.location_url(&response).map(Some)
    }

    async fn upload(
        &self,
        upload: &Upload,
        mut location: Url,
        progress: &Arc<dyn TransferProgress>,
    ) -> Result<()> {
        let (mut offset, mut failures) = (0, 0);
        loop {
            let sent = self
                .send_from(offset, upload, &location, progress, failures + 1)
                .await?;
            let failed = match FailedRequest::classify(sent) {
                Ok(response) => return self.ensure_success(response, "a blob").await.map(drop),
                Err(failed) => failed,
            };
            failures += 1;
            self.pause(*failed, failures).await.map_err(|error| {
                error.with_hint("Run the same command again to upload the missing blobs.")
            })?;
            match self.upload_offset(&location, upload.blob.size).await {
                Some((new_location, new_offset)) => {
                    tracing::debug!(
                        digest = upload.blob.digest(),
                        offset = new_offset,
                        "resuming an upload"
                    );
                    // An attempt with progress resets the count.
                    if new_offset >= offset.saturating_add(MIN_PROGRESS) {
                        failures = 0;
                    }
                    (location, offset) = (new_location, new_offset);
                }
                None => match self.start_upload(upload).await? {
                    Some(new_location) => (location, offset) = (new_location, 0),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Returns the location at which to resume an upload of `size` bytes and the number of bytes that the registry has, or
    /// `None` if the upload cannot be resumed.
    async fn upload_offset(&self, location: &Url, size: u64) -> Option<(Url, u64)> {
        let get = || self.client().get(location.clone());
        let response = self.send_once(get, 1).await.ok()?.ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = response.headers().get(RANGE)?.to_str().ok()?;
        let reached = parse_upload_range(range, size)?;
        Some((self.location_url(&response).ok()?, reached))
    }

    /// Sends the blob from `offset` to its end, which completes the upload.
    async fn send_from(
        &self,
        offset: u64,
        upload: &Upload,
        location: &Url,
        progress: &Arc<dyn TransferProgress>,
        attempt: u32,
    ) -> Result<Result<Response, reqwest::Error>> {
        let mut url = location.clone();
        url.query_pairs_mut()
            .append_pair("digest", &upload.blob.digest());
        let source_error: SourceError = Arc::default();
        let size = upload.blob.size;
        let put = || {
            let body = stream_body(upload, offset, progress, &source_error);
            let request = self.client().put(url.clone()).body(body);
            let request = request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, size - offset);
            if offset == 0 || offset == size {
                return request;
            }
            request.header(CONTENT_RANGE, format!("{offset}-{}", size - 1))
        };
        let sent = self.send_once(put, attempt).await?;
        let source_error = source_error.lock().expect("no thread panics").take();
        match source_error {
            None => Ok(sent),
            Some(error) => {
                let kind = error.kind();
                Err(error).context(kind, || format!("docker://{}", self.reference()))
            }
        }
    }
}

/// Parses the `Range` header of an upload of `size` bytes: returns the number of bytes that the registry has.
pub(super) fn parse_upload_range(range: &str, size: u64) -> Option<u64> {
    let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
    // The range is 0-0 both for an empty upload and for one of a single byte.
    match last.parse().ok()? {
        0 => Some(0),
        last => u64::checked_add(last, 1).filter(|reached| *reached <= size),
    }
}

/// The error of the source of a blob, which the HTTP client does not return.
type SourceError = Arc<Mutex<Option<Error>>>;

/// Streams the blob from `offset` to its end.
fn stream_body(
    upload: &Upload,
    offset: u64,
    progress: &Arc<dyn TransferProgress>,
    source_error: &SourceError,
) -> Body {
    let (sender, receiver) = stream::channel();
    let (upload, source_error) = (upload.clone(), Arc::clone(source_error));
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter::new(sender.clone(), offset);
        match upload.source.write_as(&upload.blob, &mut writer) {
            // If the stream was dropped, the request itself failed.
            Ok(()) => drop(std::io::Write::flush(&mut writer)),
            Err(_) if sender.is_closed() => {}
            Err(error) => {
                *source_error.lock().expect("no thread panics") = Some(error);
                let _ = sender.blocking_send(Err(std::io::ErrorKind::InvalidData.into()));
            }
        }
    });
    let progress = Arc::clone(progress);
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    Body::wrap_stream(stream.inspect_ok(move |chunk| progress.add_transferred(chunk.len() as u64)))
}
