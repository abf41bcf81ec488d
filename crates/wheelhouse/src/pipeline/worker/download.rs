//! Fetching one file into the store: in as many tries as it takes, each from where the last broke
//! off, with the digest computed while the bytes arrive.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;
use wheelhouse_engine::{Download, FetchError, Fetcher};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::linked_image::{self, LinkedImage};
use wheelhouse_types::patience::WORTH_A_TRY;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{Artifact, Error, Event, Kind, Location, Observer, Result, limits};

pub(super) use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{Expected, FileWriter, Store, Stored};

/// A file to fetch, and all that is needed to do so on any thread.
#[derive(Clone)]
pub(super) struct Fetch {
    pub(super) fetcher: Fetcher,
    pub(super) store: Store,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) retries: u32,
    pub(super) notices: RetryNotices,
    /// How long a server may say nothing.
    pub(super) timeout: Duration,
    /// `name==version`, for messages.
    pub(super) package: String,
    pub(super) artifact: Artifact,
    /// The images that the file may be in.
    pub(super) images: Arc<[LinkedImage]>,
    pub(super) required_hashes: Vec<String>,
}

/// Progress is told whenever this much has come (bytes).
const PROGRESS_STEP: u64 = 256 << 10;

fn no_image(image: &str, filename: &str) -> Error {
    let message = format!("{filename} is in {image}, which is not among the --find-links places");
    Error::new(Kind::Fetch, message).with_hint(format!("Name it with `--find-links {image}`."))
}

impl Fetch {
    /// Fetches the file; local files are copied in.
    ///
    /// # Errors
    /// [`Kind::Fetch`], naming the file and where it should have come from.
    pub(super) async fn run(self) -> Result<Stored> {
        let expected = Expected::anything(&self.artifact.filename)
            .published(&self.artifact.hashes)
            .required(&self.required_hashes)
            .size(self.artifact.size);
        match self.artifact.location.clone() {
            Location::Path(path) => self.add(path, expected).await,
            Location::Image { image, filename } => {
                let path =
                    linked_image::path_of(&self.images, &image, &filename, &self.artifact.hashes);
                let path = path.ok_or_else(|| no_image(&image, &filename))?;
                self.add(path, expected).await
            }
            Location::Url(url) => self.download(&url, expected).await.map_err(|error| {
                let message = format!("failed to fetch {}", redacted(url.as_str()));
                Error::new(error.kind(), message).caused_by(error)
            }),
        }
    }

    async fn add(&self, path: PathBuf, expected: Expected) -> Result<Stored> {
        let store = self.store.clone();
        blocking(move || store.add_file(&path, expected)).await
    }

    async fn download(&self, url: &Url, expected: Expected) -> Result<Stored> {
        let arrival = Arrival::begin(self);
        let is_checked = expected.is_checked();
        if !is_checked {
            self.fetcher.check_without_digest(url)?;
        }
        let mut writer = self.store.writer(expected)?;
        let mut version = None;
        let mut failures = 0;
        let mut reached = 0;
        loop {
            // Two parts that nobody vouches for may be of two files.
            if version.is_none() && !is_checked {
                writer.restart()?;
            }
            let error = match self.receive(url, &mut writer, &mut version).await {
                Ok(()) => break,
                Err(Interruption::Fatal(error)) => return Err(error),
                Err(Interruption::Passing(error)) => error,
            };
            if writer.len() >= reached + WORTH_A_TRY {
                (failures, reached) = (0, writer.len());
            }
            failures += 1;
            if failures > self.retries {
                return Err(error.into());
            }
            let delay = error.delay(failures);
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
        arrival.finish(bytes);
        Ok(stored)
    }

    /// Takes what the server sends until its end, and what it says of the `version` of the file.
    async fn receive(
        &self,
        url: &Url,
        writer: &mut FileWriter,
        version: &mut Option<String>,
    ) -> Result<(), Interruption> {
        let silent = || FetchError::passing(format!("{} fell silent", redacted(url.as_str())));
        let opening = self.fetcher.open(url, writer.len(), version.as_deref());
        let mut remote = tokio::time::timeout(self.timeout, opening)
            .await
            .map_err(|_| silent())??;
        version.clone_from(&remote.version);
        if remote.offset != writer.len() {
            writer.restart()?;
        }
        // An announced size is compared by the client, one of the index by the writer.
        let is_announced = remote.total.or(self.artifact.size).is_some();
        let limit = if is_announced {
            u64::MAX
        } else {
            limits::UNANNOUNCED_FILE
        };
        let mut told = writer.len();
        loop {
            let chunk = tokio::time::timeout(self.timeout, remote.chunk())
                .await
                .map_err(|_| silent())??;
            let Some(chunk) = chunk else {
                return self.complete(&remote, writer);
            };
            limits::size(writer.len() + chunk.len() as u64, limit).context(Kind::Fetch, || {
                format!("{} does not end", self.artifact.filename)
            })?;
            writer.write(&chunk)?;
            if writer.len() - told >= PROGRESS_STEP {
                told = writer.len();
                self.observer.observe(&Event::FetchProgress {
                    filename: self.artifact.filename.clone(),
                    received: told,
                });
            }
        }
    }

    /// Whether all has come that the server promised, or the index where the server said nothing.
    fn complete(&self, remote: &Download, writer: &FileWriter) -> Result<(), Interruption> {
        match remote.total.or(self.artifact.size) {
            Some(total) if writer.len() < total => {
                let message = format!("only {} of {total} bytes came", writer.len());
                Err(FetchError::passing(message).into())
            }
            _ => Ok(()),
        }
    }
}

/// A file on its way: who is told that it begins is told how it ends, whatever happens.
struct Arrival<'a> {
    fetch: &'a Fetch,
    begun: Instant,
    ended: bool,
}

impl<'a> Arrival<'a> {
    fn begin(fetch: &'a Fetch) -> Self {
        fetch.observer.observe(&Event::FetchStarted {
            package: fetch.package.clone(),
            filename: fetch.artifact.filename.clone(),
            bytes: fetch.artifact.size,
        });
        Self {
            fetch,
            begun: Instant::now(),
            ended: false,
        }
    }

    fn finish(mut self, bytes: u64) {
        self.ended = true;
        self.fetch.observer.observe(&Event::FetchFinished {
            filename: self.fetch.artifact.filename.clone(),
            bytes,
            seconds: seconds(self.begun.elapsed()),
        });
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.fetch.observer.observe(&Event::FetchFailed {
                filename: self.fetch.artifact.filename.clone(),
            });
        }
    }
}

/// Why a try ended before its time.
enum Interruption {
    Passing(FetchError),
    Fatal(Error),
}

impl From<FetchError> for Interruption {
    fn from(error: FetchError) -> Self {
        if error.passing {
            Self::Passing(error)
        } else {
            Self::Fatal(error.into())
        }
    }
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}
