//! Downloads one file into the store. A retry resumes where the connection was lost, and the digest is
//! computed while the bytes arrive.
//!
//! 1. The writer of the store starts a temporary file.
//! 2. Each attempt requests the rest of the file. Without a digest or an `ETag` that identifies the file, it starts
//!    again from the first byte.
//! 3. An attempt that made progress resets the count of retries.
//! 4. The writer compares the digests and commits the file. If anything fails, no file is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, instrument};
use url::Url;
use wheelhouse_engine::{FetchError, Fetcher};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::linked_image::{self, LinkedImage};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::retry::MIN_PROGRESS;
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{Artifact, ArtifactLocation, Error, Event, Kind, Observer, Result, limits};

use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{ExpectedFile, FileWriter, Store, StoredFile};

/// The download of one file, which can run on any thread.
#[derive(Clone)]
pub(super) struct FileDownload {
    pub(super) fetcher: Fetcher,
    pub(super) store: Store,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) retries: u32,
    pub(super) notices: RetryNotices,
    /// The time after which a silent connection fails.
    pub(super) timeout: Duration,
    /// `name==version`, for messages.
    pub(super) package: String,
    pub(super) artifact: Artifact,
    /// The images that may contain the file.
    pub(super) images: Arc<[LinkedImage]>,
    pub(super) required_hashes: Vec<String>,
}

/// The number of bytes between two progress events.
const PROGRESS_STEP: u64 = 256 << 10;

impl FileDownload {
    /// Downloads the file, or copies it into the store if it is local.
    ///
    /// # Errors
    /// [`Kind::Fetch`], naming the file and its URL or path.
    pub(super) async fn run(self) -> Result<StoredFile> {
        let expected = ExpectedFile::any(&self.artifact.filename)
            .published(&self.artifact.hashes)
            .required(&self.required_hashes)
            .size(self.artifact.size);
        match self.artifact.location.clone() {
            ArtifactLocation::Path(path) => self.add(path, expected).await,
            ArtifactLocation::Image { image, filename } => {
                let path =
                    linked_image::path_of(&self.images, &image, &filename, &self.artifact.hashes);
                let path = path.ok_or_else(|| {
                    let message = format!(
                        "{filename} is in {image}, which is not one of the --find-links locations"
                    );
                    Error::new(Kind::Fetch, message)
                        .with_hint(format!("Add `--find-links {image}`."))
                })?;
                self.add(path, expected).await
            }
            ArtifactLocation::Url(url) => self.download(&url, expected).await.map_err(|error| {
                let message = format!("failed to fetch {}", redacted(url.as_str()));
                Error::new(error.kind(), message).caused_by(error)
            }),
        }
    }

    async fn add(&self, path: PathBuf, expected: ExpectedFile) -> Result<StoredFile> {
        let store = self.store.clone();
        blocking(move || store.add_file(&path, expected)).await
    }

    #[instrument(name = "download", skip_all, fields(url = %redacted(url.as_str())))]
    async fn download(&self, url: &Url, expected: ExpectedFile) -> Result<StoredFile> {
        let report = DownloadReport::start(self);
        let is_checked = expected.is_checked();
        if !is_checked {
            self.fetcher.check_without_digest(url)?;
        }
        let mut writer = self.store.writer(expected)?;
        let mut version = None;
        let mut failures = 0;
        let mut reached = 0;
        loop {
            // Without a digest or an ETag the rest may be that of another file.
            if version.is_none() && !is_checked {
                writer.restart()?;
            }
            debug!(url = %redacted(url.as_str()), offset = writer.len(), "requesting a file");
            let error = match self.receive(url, &mut writer, &mut version).await {
                Ok(()) => break,
                Err(ReceiveError::Fatal(error)) => return Err(error),
                Err(ReceiveError::Transient(error)) => error,
            };
            if writer.len() >= reached + MIN_PROGRESS {
                (failures, reached) = (0, writer.len());
            }
            failures += 1;
            if failures > self.retries {
                return Err(error.into());
            }
            let delay = error.delay(failures);
            debug!(%error, failures, ?delay, "retrying a download");
            self.observer.observe(&Event::FetchRetried {
                filename: self.artifact.filename.clone(),
                reason: error.to_string(),
                delay_seconds: seconds(delay),
            });
            self.notices.observe(url, error.reason(), delay);
            tokio::time::sleep(delay).await;
        }
        let bytes = writer.len();
        let stored = blocking(move || writer.finish()).await?;
        report.finish(bytes);
        Ok(stored)
    }

    /// Receives the file to its end, and the `version` that the server states of it.
    async fn receive(
        &self,
        url: &Url,
        writer: &mut FileWriter,
        version: &mut Option<String>,
    ) -> Result<(), ReceiveError> {
        let timed_out = || {
            let url = redacted(url.as_str());
            FetchError::passing(format!("{url} stopped sending data"))
        };
        let opening = self.fetcher.open(url, writer.len(), version.as_deref());
        let mut remote = tokio::time::timeout(self.timeout, opening)
            .await
            .map_err(|_| timed_out())??;
        version.clone_from(&remote.version);
        if remote.offset != writer.len() {
            writer.restart()?;
        }
        // The client checks a size that the server states, the writer one that the index publishes.
        let has_size = remote.total.or(self.artifact.size).is_some();
        let limit = if has_size {
            u64::MAX
        } else {
            limits::UNANNOUNCED_FILE
        };
        let mut reported = writer.len();
        loop {
            let chunk = tokio::time::timeout(self.timeout, remote.chunk())
                .await
                .map_err(|_| timed_out())??;
            let Some(chunk) = chunk else {
                return self.complete(&remote, writer);
            };
            limits::size(writer.len() + chunk.len() as u64, limit).context(Kind::Fetch, || {
                format!("{} exceeds the limit", self.artifact.filename)
            })?;
            writer.write(&chunk)?;
            if writer.len() - reported >= PROGRESS_STEP {
                reported = writer.len();
                self.observer.observe(&Event::FetchProgress {
                    filename: self.artifact.filename.clone(),
                    received: reported,
                });
            }
        }
    }

    /// Checks that as many bytes arrived as the server stated, or else the index.
    fn complete(
        &self,
        remote: &wheelhouse_engine::Download,
        writer: &FileWriter,
    ) -> Result<(), ReceiveError> {
        match remote.total.or(self.artifact.size) {
            Some(total) if writer.len() < total => {
                let message = format!("received only {} of {total} bytes", writer.len());
                Err(FetchError::passing(message).into())
            }
            _ => Ok(()),
        }
    }
}

/// Reports the start of a download and, even if it is canceled, its end.
struct DownloadReport<'a> {
    download: &'a FileDownload,
    started: Instant,
    is_finished: bool,
}

impl<'a> DownloadReport<'a> {
    fn start(download: &'a FileDownload) -> Self {
        download.observer.observe(&Event::FetchStarted {
            package: download.package.clone(),
            filename: download.artifact.filename.clone(),
            bytes: download.artifact.size,
        });
        Self {
            download,
            started: Instant::now(),
            is_finished: false,
        }
    }

    fn finish(mut self, bytes: u64) {
        self.is_finished = true;
        self.download.observer.observe(&Event::FetchFinished {
            filename: self.download.artifact.filename.clone(),
            bytes,
            seconds: seconds(self.started.elapsed()),
        });
    }
}

impl Drop for DownloadReport<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.download.observer.observe(&Event::FetchFailed {
                filename: self.download.artifact.filename.clone(),
            });
        }
    }
}

/// A failure to receive a file.
enum ReceiveError {
    /// A retry may succeed.
    Transient(FetchError),
    Fatal(Error),
}

impl From<FetchError> for ReceiveError {
    fn from(error: FetchError) -> Self {
        if error.passing {
            Self::Transient(error)
        } else {
            Self::Fatal(error.into())
        }
    }
}

impl From<Error> for ReceiveError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}
