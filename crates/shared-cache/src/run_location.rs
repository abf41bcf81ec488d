//! A location in a run: opened when it is first used, and left alone after a failure.
//!
//! Every failure of a location costs at most its time-out, and a warning. A location is given up for reading and for writing
//! separately, since many can be read only.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use tokio::sync::OnceCell;
use tracing::debug;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_oci::registry::{FileTooLarge, SIZE_LIMIT_HINT};
use wheelhouse_store::{BuildKey, ExpectedFile, Store, StoredFile};
use wheelhouse_types::event::seconds;
use wheelhouse_types::{CacheLocation, Error, Event, Observer, Result, Sha256, limits};

use crate::connect::connect;
use crate::location::{ConnectOptions, EntryName, FileId, Location, RemoteFile, is_wrong_entry};

/// A location that sends less over its time-out is given up (bytes per second). Building is faster.
const LEAST_RATE: u64 = 8 << 10;

/// The rate that an upload must have, on the whole (bytes per second).
const UPLOAD_RATE: u64 = 1 << 20;

/// A location with this many wrong entries is given up.
const MAX_WRONG: usize = 3;

/// The number of bytes between two progress events.
const PROGRESS_STEP: u64 = 256 << 10;

/// A location of the run.
pub(crate) struct RunLocation {
    pub(crate) name: CacheLocation,
    is_written: bool,
    timeout: Duration,
    connect: ConnectOptions,
    pub(crate) observer: Arc<dyn Observer>,
    location: OnceCell<Arc<dyn Location>>,
    is_unreadable: AtomicBool,
    is_unwritable: AtomicBool,
    /// Set by the first warning that the location is given up.
    is_reported: AtomicBool,
    /// Set by the first warning of a file that is too large.
    is_limit_reported: AtomicBool,
    wrong: AtomicUsize,
    /// The files that had other bytes, which the next write replaces.
    wrong_files: Mutex<HashSet<Sha256>>,
}

/// A failure to transfer a file.
enum TransferError {
    /// The location failed.
    Failed(String),
    /// The location has other bytes than it should.
    Wrong(String),
    /// The store cannot be written. The next step of the run reports that.
    Store,
}

impl RunLocation {
    pub(crate) fn new(
        name: CacheLocation,
        is_written: bool,
        connect: &ConnectOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            name,
            is_written,
            timeout: connect.access.timeout,
            connect: connect.clone(),
            observer,
            location: OnceCell::new(),
            is_unreadable: AtomicBool::new(false),
            is_unwritable: AtomicBool::new(false),
            is_reported: AtomicBool::new(false),
            is_limit_reported: AtomicBool::new(false),
            wrong: AtomicUsize::new(0),
            wrong_files: Mutex::default(),
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.is_unreadable.load(Ordering::Relaxed)
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_written && !self.is_unwritable.load(Ordering::Relaxed)
    }

    async fn open(&self) -> Result<&Arc<dyn Location>> {
        let opening = || connect(&self.name, &self.connect, self.is_written);
        self.location.get_or_try_init(opening).await
    }

    /// Reads `entry` with `work` unless the location was given up, within the time-out.
    pub(crate) async fn read<'a, T, Work>(
        &'a self,
        entry: EntryName,
        work: impl FnOnce(&'a Arc<dyn Location>) -> Work,
    ) -> Option<T>
    where
        Work: Future<Output = Result<Option<T>>>,
    {
        if !self.is_readable() {
            return None;
        }
        let reading = async { work(self.open().await?).await };
        match tokio::time::timeout(self.timeout, reading).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if is_wrong_entry(&error) => {
                self.report_wrong(&entry.to_string(), &error.display_chain());
                None
            }
            Ok(Err(error)) => self.stop_reading(&error.display_chain()),
            Err(_) => {
                // A write would wait as long again.
                self.is_unwritable.store(true, Ordering::Relaxed);
                self.stop_reading(&self.timed_out())
            }
        }
    }

    fn timed_out(&self) -> String {
        format!("it did not answer within {} s", self.timeout.as_secs_f64())
    }

    /// Gives the location up for reading.
    fn stop_reading<T>(&self, cause: &str) -> Option<T> {
        if !self.is_unreadable.swap(true, Ordering::Relaxed) {
            self.report(
                format!("the shared cache {} is not used: {cause}", self.name),
                "Check the location and its credentials, allow it more time with --cache-timeout, or run without --cache-from.",
            );
        }
        None
    }

    /// Gives the location up for writing, because writing took longer than `limit`.
    pub(crate) fn stop_slow_writing(&self, limit: Duration) {
        self.stop_writing(&format!("it took longer than {} s", limit.as_secs_f64()));
    }

    /// Gives the location up for writing.
    fn stop_writing(&self, cause: &str) {
        if !self.is_unwritable.swap(true, Ordering::Relaxed) {
            self.report(
                format!(
                    "nothing more is written to the shared cache {}: {cause}",
                    self.name
                ),
                "Check that it has space and that the credentials permit writing, or pass it with --cache-from instead of --cache-to.",
            );
        }
    }

    /// Warns that files are too large for the location, once: there may be many.
    fn report_too_large(&self, error: &Error) {
        let cause = error.display_chain();
        if self.is_limit_reported.swap(true, Ordering::Relaxed) {
            debug!(location = %self.name, cause, "left out a large file");
            return;
        }
        self.observer.observe(&Event::Warning {
            message: format!(
                "large files are not written to the shared cache {}: {cause}",
                self.name
            ),
            hint: Some(SIZE_LIMIT_HINT.to_owned()),
        });
    }

    /// Warns that the location is given up, once: what fails to read often fails to write for the same reason.
    fn report(&self, message: String, hint: &str) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            debug!(location = %self.name, cause = message, "gave a shared cache up");
            return;
        }
        self.observer.observe(&Event::Warning {
            message,
            hint: Some(hint.to_owned()),
        });
    }

    /// Warns of a wrong entry, and gives the location up for reading if there are too many.
    pub(crate) fn report_wrong(&self, entry: &str, cause: &str) {
        if self.wrong.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_WRONG {
            self.stop_reading::<()>(&format!("it has wrong entries ({entry}: {cause})"));
            return;
        }
        self.observer.observe(&Event::Warning {
            message: format!(
                "the entry {entry} of the shared cache {} is not used: {cause}",
                self.name
            ),
            hint: Some(
                "Find out who can write there; --cache-verify-key accepts signed entries only."
                    .to_owned(),
            ),
        });
    }

    /// Copies the file with the digest `sha256`, of which `size` bytes are expected if the size is known, into the store.
    pub(crate) async fn fetch(
        &self,
        store: &Store,
        expected: ExpectedFile,
        sha256: Sha256,
        size: Option<u64>,
    ) -> Option<StoredFile> {
        let filename = expected.name().to_owned();
        let entry = EntryName::File(sha256);
        let opened = self.read(entry, move |location| async move {
            location.file(&sha256).await
        });
        let file = opened.await?;
        let started = Instant::now();
        self.observer.observe(&Event::FetchStarted {
            package: filename.clone(),
            filename: filename.clone(),
            bytes: size.or(file.size),
        });
        let fetched = self.receive(store, expected, file, size).await;
        let end = match &fetched {
            Ok(stored) => Event::FetchFinished {
                filename,
                bytes: stored.size,
                seconds: seconds(started.elapsed()),
            },
            Err(_) => Event::FetchFailed { filename },
        };
        self.observer.observe(&end);
        match fetched {
            Ok(stored) => Some(stored),
            Err(TransferError::Failed(cause)) => self.stop_reading(&cause),
            Err(TransferError::Store) => None,
            Err(TransferError::Wrong(cause)) => {
                let wrong = self.wrong_files.lock();
                wrong.unwrap_or_else(PoisonError::into_inner).insert(sha256);
                self.report_wrong(&entry.to_string(), &cause);
                None
            }
        }
    }

    async fn receive(
        &self,
        store: &Store,
        expected: ExpectedFile,
        mut file: RemoteFile,
        size: Option<u64>,
    ) -> Result<StoredFile, TransferError> {
        let limit = match (size, file.size) {
            (Some(size), Some(stated)) if size != stated => {
                let cause = format!("it has {stated} bytes instead of {size} bytes");
                return Err(TransferError::Wrong(cause));
            }
            (Some(size), _) | (None, Some(size)) => size,
            (None, None) => limits::UNANNOUNCED_FILE,
        };
        let filename = expected.name().to_owned();
        let writer = store.writer(expected);
        let mut writer = writer.map_err(|_| TransferError::Store)?;
        let (mut window, mut reported) = ((Instant::now(), 0), 0);
        loop {
            let next = tokio::time::timeout(self.timeout, file.bytes.try_next()).await;
            let next = next.map_err(|_| TransferError::Failed(self.timed_out()))?;
            let chunk = next.map_err(|error| TransferError::Failed(error.display_chain()))?;
            let Some(chunk) = chunk else {
                break;
            };
            if writer.len() + chunk.len() as u64 > limit {
                let cause = format!("it has more than {limit} bytes");
                return Err(TransferError::Wrong(cause));
            }
            writer.write(&chunk).map_err(|_| TransferError::Store)?;
            let passed = window.0.elapsed();
            if passed >= self.timeout {
                let least = u128::from(LEAST_RATE) * passed.as_millis() / 1000;
                if u128::from(writer.len() - window.1) < least {
                    let rate = LEAST_RATE >> 10;
                    let cause = format!("it sends less than {rate} KiB per second");
                    return Err(TransferError::Failed(cause));
                }
                window = (Instant::now(), writer.len());
            }
            if writer.len() - reported >= PROGRESS_STEP {
                reported = writer.len();
                self.observer.observe(&Event::FetchProgress {
                    filename: filename.clone(),
                    received: reported,
                });
            }
        }
        if size.is_some_and(|size| writer.len() < size) {
            let cause = format!("it has {} bytes instead of {limit} bytes", writer.len());
            return Err(TransferError::Wrong(cause));
        }
        let finished = blocking(move || writer.finish()).await;
        finished.map_err(|error| TransferError::Wrong(error.to_string()))
    }

    /// Writes a file, and the record that refers to it if there is one.
    pub(crate) async fn write(
        &self,
        file: FileId,
        path: &Path,
        record: Option<(BuildKey, Vec<u8>)>,
    ) {
        if !self.is_writable() {
            return;
        }
        let is_wrong = {
            let wrong = self.wrong_files.lock();
            let wrong = wrong.unwrap_or_else(PoisonError::into_inner);
            wrong.contains(&file.sha256)
        };
        let writing = async {
            let location = self.open().await?;
            location.write_file(file, path, is_wrong).await?;
            if let Some((key, record)) = record {
                location.write_record(&key, record, file).await?;
            }
            Ok(())
        };
        let limit = self.upload_time(file.size);
        let written: Result<Result<()>, _> = tokio::time::timeout(limit, writing).await;
        match written {
            Ok(Ok(())) => {
                debug!(location = %self.name, sha256 = %file.sha256, "wrote to a shared cache");
            }
            Ok(Err(error))
                if error
                    .source()
                    .is_some_and(<dyn StdError>::is::<FileTooLarge>) =>
            {
                self.report_too_large(&error);
            }
            Ok(Err(error)) => self.stop_writing(&error.display_chain()),
            Err(_) => self.stop_slow_writing(limit),
        }
    }

    /// Returns the time that uploads of `bytes` may take.
    pub(crate) fn upload_time(&self, bytes: u64) -> Duration {
        self.timeout + Duration::from_secs(bytes / UPLOAD_RATE)
    }
}
