//! Pushing: blobs that the registry lacks, several at a time, and then the documents that name
//! them, the one with the tag last.
//!
//! An upload that breaks off goes on where the registry says that it is, or begins again.

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Body, Response, StatusCode};
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::retry::MIN_PROGRESS;
use wheelhouse_types::{Error, Result};

use super::Registry;
use super::http::FailedRequest;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::manifest::Document;
use crate::progress::TransferProgress;
use crate::stream::{self, StreamWriter};

/// How many blobs are moved at once.
pub(crate) const CONCURRENCY: usize = 4;

/// A blob on its way to a registry.
#[derive(Clone)]
pub struct Upload {
    pub blob: Blob,
    pub source: BlobSource,
    /// A repository of the same registry that has it.
    pub mount_from: Option<String>,
}

/// What a push did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushSummary {
    /// How many blobs were sent.
    pub uploaded: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many blobs the registry had, in this repository or another.
    pub present: usize,
}

impl Registry {
    /// Whether the registry has exactly this document under `reference`, and so all it names.
    ///
    /// # Errors
    /// The registry cannot be reached.
    pub async fn has_document(&self, document: &Document, reference: &str) -> Result<bool> {
        let url = self.url(&format!("manifests/{reference}"));
        let accepted = document.media_type.to_string();
        let head = || {
            let request = self.client().head(url.clone());
            request.header(reqwest::header::ACCEPT, &accepted)
        };
        let response = self.send(head).await?;
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok());
        Ok(response.status().is_success() && digest == Some(&document.blob.digest()))
    }

    /// Sends what the registry lacks of `uploads`.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses, or a blob cannot be made.
    pub async fn push_blobs(
        &self,
        uploads: Vec<Upload>,
        watch: &Arc<dyn TransferProgress>,
    ) -> Result<PushSummary> {
        let pushing = futures::stream::iter(uploads).map(|upload| async move {
            let bytes = upload.blob.size;
            let sent = self.push_blob(&upload, watch).await?;
            Ok::<_, Error>(if sent { Some(bytes) } else { None })
        });
        let sent: Vec<Option<u64>> = pushing.buffer_unordered(CONCURRENCY).try_collect().await?;
        let uploaded = sent.iter().flatten();
        Ok(PushSummary {
            uploaded: uploaded.clone().count(),
            bytes: uploaded.sum(),
            present: sent.iter().filter(|sent| sent.is_none()).count(),
        })
    }

    /// Puts a document, whose blobs are there, under `reference`.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub async fn push_document(&self, document: &Document, reference: &str) -> Result<Response> {
        let url = self.url(&format!("manifests/{reference}"));
        let put = || {
            let request = self.client().put(url.clone());
            let request = request.header(CONTENT_TYPE, document.media_type.to_string());
            request.body(document.bytes.clone())
        };
        let response = self.send(put).await?;
        self.ensure_success(response, "the manifest").await
    }

    /// Sends a blob unless it is there, and tells whether it was sent.
    async fn push_blob(&self, upload: &Upload, watch: &Arc<dyn TransferProgress>) -> Result<bool> {
        let url = self.url(&format!("blobs/{}", upload.blob.digest()));
        let found = self.send(|| self.client().head(url.clone())).await?;
        if found.status().is_success() {
            return Ok(false);
        }
        if found.status() != StatusCode::NOT_FOUND {
            return Err(self
                .ensure_success(found, "looking for a blob")
                .await
                .map_or_else(|error| error, |_| self.error("it answers oddly")));
        }
        let Some(location) = self.begin(upload).await? else {
            return Ok(false);
        };
        watch.add_expected(upload.blob.size);
        self.upload(upload, location, watch).await?;
        Ok(true)
    }

    /// Begins an upload, or has the registry take the blob from another repository: then there is
    /// nothing to send.
    async fn begin(&self, upload: &Upload) -> Result<Option<Url>> {
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
        watch: &Arc<dyn TransferProgress>,
    ) -> Result<()> {
        let (mut offset, mut failures) = (0, 0);
        loop {
            let sent = self.send_from(offset, upload, &location, watch).await?;
            let failed = match FailedRequest::classify(sent) {
                Ok(response) => return self.ensure_success(response, "a blob").await.map(drop),
                Err(failed) => failed,
            };
            failures += 1;
            self.pause(*failed, failures).await.map_err(|error| {
                error.with_hint(
                    "Run the same command again: it goes on with the blobs that are missing.",
                )
            })?;
            match self.resume(&location, upload.blob.size).await {
                Some((place, reached)) => {
                    // What gets on is no failure.
                    if reached >= offset.saturating_add(MIN_PROGRESS) {
                        failures = 0;
                    }
                    (location, offset) = (place, reached);
                }
                None => match self.begin(upload).await? {
                    Some(place) => (location, offset) = (place, 0),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Where an upload of `size` bytes is, if the registry still knows it: the place to go on, and the
    /// bytes it has.
    async fn resume(&self, location: &Url, size: u64) -> Option<(Url, u64)> {
        let get = || self.client().get(location.clone());
        let response = self.send_authorized(get).await.ok()?.ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = response.headers().get(RANGE)?.to_str().ok()?;
        let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
        // A registry that has nothing says 0-0, as one does that has a byte.
        let reached = match last.parse().ok()? {
            0 => 0,
            last => u64::checked_add(last, 1).filter(|reached| *reached <= size)?,
        };
        Some((self.location_url(&response).ok()?, reached))
    }

    /// Sends the blob from `offset` on, which ends the upload.
    async fn send_from(
        &self,
        offset: u64,
        upload: &Upload,
        location: &Url,
        watch: &Arc<dyn TransferProgress>,
    ) -> Result<Result<Response, reqwest::Error>> {
        let mut url = location.clone();
        url.query_pairs_mut()
            .append_pair("digest", &upload.blob.digest());
        let fault: SourceError = Arc::default();
        let size = upload.blob.size;
        let put = || {
            let body = body(upload, offset, watch, &fault);
            let request = self.client().put(url.clone()).body(body);
            let request = request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, size - offset);
            if offset == 0 || offset == size {
                return request;
            }
            request.header(CONTENT_RANGE, format!("{offset}-{}", size - 1))
        };
        let sent = self.send_authorized(put).await?;
        let fault = fault.lock().expect("no thread panics").take();
        match fault {
            None => Ok(sent),
            Some(fault) => {
                let kind = fault.kind();
                Err(fault).context(kind, || format!("docker://{}", self.reference()))
            }
        }
    }
}

/// Why a blob could not be made, which the other end of a stream cannot tell.
type SourceError = Arc<Mutex<Option<Error>>>;

/// The blob from `offset` on, made while it is sent.
fn body(
    upload: &Upload,
    offset: u64,
    watch: &Arc<dyn TransferProgress>,
    fault: &SourceError,
) -> Body {
    let (sender, receiver) = stream::channel();
    let (upload, fault) = (upload.clone(), fault.clone());
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter::new(sender.clone(), offset);
        let made = upload.source.write_as(&upload.blob, &mut writer);
        match made {
            // When nobody takes the stream any more, the failure is on the other side.
            Ok(()) => drop(std::io::Write::flush(&mut writer)),
            Err(_) if sender.is_closed() => {}
            Err(error) => {
                *fault.lock().expect("no thread panics") = Some(error);
                let _ = sender.blocking_send(Err(std::io::ErrorKind::InvalidData.into()));
            }
        }
    });
    let watch = Arc::clone(watch);
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    Body::wrap_stream(stream.inspect_ok(move |chunk| watch.add_transferred(chunk.len() as u64)))
}
