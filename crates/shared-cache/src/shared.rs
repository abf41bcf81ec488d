//! The shared caches of a run: looks records up, copies files into the store, and writes what the run makes.
//!
//! 1. [`SharedCaches::find`] asks all locations in their order, each key once. Many keys can be asked for concurrently.
//! 2. [`SharedCaches::fetch`] copies the wheel of a record into the store, which verifies its digest.
//! 3. [`SharedCaches::save`] writes a build in the background, the file before the record, so that no record lacks its file.
//! 4. [`SharedCaches::finish`] waits for these writes, for a limited time.
//!
//! No function fails. A location that does not work is left alone, with one warning.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;
use wheelhouse_attest::{SigningKey, VerifyingKey};
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Store, StoredFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{CacheLocation, Event, Hashes, Kind, Observer, Sha256, limits};

use crate::location::{ConnectOptions, EntryName, FileId, MAX_RECORD};
use crate::record::{decode_record, encode_record};
use crate::run_location::RunLocation;

/// The number of concurrent requests for records, and of concurrent transfers.
const REQUESTS: usize = 32;
const TRANSFERS: usize = 8;

/// The shared caches that a run uses, and how.
#[derive(Debug)]
pub struct SharedOptions {
    /// The locations that are read, in their order.
    pub from: Vec<CacheLocation>,
    /// The location that is read after these, and written.
    pub to: Option<CacheLocation>,
    /// Shares downloaded files, too.
    pub fetched: bool,
    /// Shares only builds whose build requirements are pinned, which are then part of the key.
    pub key_closure: bool,
    /// Only records that this key has signed are accepted.
    pub verifying_key: Option<VerifyingKey>,
    /// Signs the records that are written.
    pub signing_key: Option<SigningKey>,
    /// The options of connections. The time-out is that of one request, and of a pause in a transfer.
    pub connect: ConnectOptions,
}

/// The shared caches of a run. Without locations, nothing is found or written.
pub struct SharedCaches {
    places: Vec<RunLocation>,
    fetched: bool,
    key_closure: bool,
    verifying_key: Option<VerifyingKey>,
    signing_key: Option<SigningKey>,
    /// The answers to [`SharedCaches::find`].
    records: Mutex<HashMap<BuildKey, Arc<OnceCell<Option<SharedBuild>>>>>,
    requests: Semaphore,
    transfers: Arc<Semaphore>,
    writes: Mutex<Writes>,
}

#[derive(Default)]
struct Writes {
    tasks: JoinSet<()>,
    /// The bytes of all files to write.
    bytes: u64,
}

/// A build that a shared cache has.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedBuild {
    /// The record.
    pub record: BuildRecord,
    /// The location, without credentials.
    pub location: String,
    place: usize,
}

impl SharedCaches {
    /// Creates shared caches without locations.
    #[must_use]
    pub fn none() -> Self {
        Self {
            places: Vec::new(),
            fetched: false,
            key_closure: false,
            verifying_key: None,
            signing_key: None,
            records: Mutex::default(),
            requests: Semaphore::new(REQUESTS),
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
            writes: Mutex::default(),
        }
    }

    /// Creates the shared caches of a run without opening them. Locations that need the network are left out offline.
    #[must_use]
    pub fn new(options: SharedOptions, observer: &Arc<dyn Observer>) -> Self {
        let offline = options.connect.access.offline;
        let written = options.to.as_ref();
        let mut names: Vec<CacheLocation> = Vec::new();
        for name in options.from.iter().chain(written) {
            let is_reachable = !offline || !name.is_remote();
            if is_reachable && !names.contains(name) {
                names.push(name.clone());
            }
        }
        let places = names.into_iter().map(|name| {
            let is_written = Some(&name) == written;
            RunLocation::new(name, is_written, &options.connect, Arc::clone(observer))
        });
        Self {
            places: places.collect(),
            fetched: options.fetched,
            key_closure: options.key_closure,
            verifying_key: options.verifying_key,
            signing_key: options.signing_key,
            ..Self::none()
        }
    }

    /// Returns whether there are no locations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether downloaded files are shared.
    #[must_use]
    pub fn shares_fetched(&self) -> bool {
        self.fetched && !self.is_empty()
    }

    /// Returns whether only builds with pinned build requirements are shared.
    #[must_use]
    pub fn needs_closure(&self) -> bool {
        self.key_closure
    }

    /// Finds the build with `key` in the first location that has it. Each key is looked up once in a run.
    pub async fn find(&self, key: &BuildKey) -> Option<SharedBuild> {
        if self.is_empty() {
            return None;
        }
        let cell = {
            let records = self.records.lock();
            let mut records = records.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(records.entry(*key).or_default())
        };
        cell.get_or_init(|| self.look_up(key)).await.clone()
    }

    async fn look_up(&self, key: &BuildKey) -> Option<SharedBuild> {
        for (position, place) in self.places.iter().enumerate() {
            let _slot = self.requests.acquire().await;
            let entry = EntryName::Record(*key);
            let reading = place.read(entry, |location| async move { location.record(key).await });
            let Some(bytes) = reading.await else {
                continue;
            };
            match decode_record(&bytes, key, self.verifying_key.as_ref()) {
                Ok(record) => {
                    debug!(%key, location = %place.name, filename = record.filename, "found a shared build");
                    return Some(SharedBuild {
                        record,
                        location: place.name.to_string(),
                        place: position,
                    });
                }
                Err(invalid) => place.report_wrong(&entry.to_string(), &invalid.to_string()),
            }
        }
        debug!(%key, "no shared cache has the build");
        None
    }

    /// Copies the wheel of `build` into the store. Returns nothing if its location fails, or has other bytes.
    pub async fn fetch(self: &Arc<Self>, build: &SharedBuild, store: &Store) -> Option<StoredFile> {
        let (this, store, place) = (Arc::clone(self), store.clone(), build.place);
        let record = &build.record;
        let (sha256, size) = (record.sha256, record.size);
        let expected = ExpectedFile::with_sha256(&record.filename, sha256).size(Some(size));
        // A task of its own goes on when the caller is not polled.
        let task = tokio::spawn(async move {
            let _slot = this.transfers.acquire().await;
            this.places[place]
                .fetch(&store, expected, sha256, Some(size))
                .await
        });
        task.await.ok().flatten()
    }

    /// Warns that the wheel of `build` cannot be used although its bytes are those of the record.
    pub fn report_wrong(&self, build: &SharedBuild, cause: &str) {
        let entry = format!("of {}", build.record.filename);
        self.places[build.place].report_wrong(&entry, cause);
    }

    /// Copies a file that must meet `expected` and has one of `hashes` into the store from the first location that has it.
    /// Files without a SHA-256 cannot be found.
    pub async fn file(
        self: &Arc<Self>,
        expected: ExpectedFile,
        hashes: &Hashes,
        size: Option<u64>,
        store: &Store,
    ) -> Option<StoredFile> {
        let sha256 = hashes.sha256()?;
        let (this, store) = (Arc::clone(self), store.clone());
        let task = tokio::spawn(async move {
            let _slot = this.transfers.acquire().await;
            for place in &this.places {
                let fetched = place.fetch(&store, expected.clone(), sha256, size).await;
                if fetched.is_some() {
                    return fetched;
                }
            }
            None
        });
        task.await.ok().flatten()
    }

    /// Writes a build in the background: its wheel, which is in the store, and then its record.
    pub fn save(self: &Arc<Self>, key: BuildKey, record: &BuildRecord, stored: &StoredFile) {
        if !self.is_written() {
            return;
        }
        let encoded = encode_record(&key, record, self.signing_key.as_ref()).and_then(|bytes| {
            let too_large = || "its record cannot be read again".to_owned();
            limits::size(bytes.len() as u64, MAX_RECORD).context(Kind::Publish, too_large)?;
            Ok(bytes)
        });
        match encoded {
            Ok(bytes) => self.write(stored, Some((key, bytes))),
            Err(error) => {
                let (name, cause) = (&record.filename, error.display_chain());
                let message = format!("{name} is not shared: {cause}");
                self.places[0].observer.observe(&Event::warning(message));
            }
        }
    }

    /// Writes a downloaded file, which is in the store, in the background.
    pub fn save_file(self: &Arc<Self>, stored: &StoredFile) {
        if self.fetched && self.is_written() {
            self.write(stored, None);
        }
    }

    fn is_written(&self) -> bool {
        self.places.iter().any(RunLocation::is_writable)
    }

    fn write(self: &Arc<Self>, stored: &StoredFile, record: Option<(BuildKey, Vec<u8>)>) {
        let this = Arc::clone(self);
        let (path, size) = (stored.path.clone(), stored.size);
        let sha256: Sha256 = stored.sha256;
        let writing = async move {
            let _slot = this.transfers.acquire().await;
            for place in this.places.iter().filter(|place| place.is_writable()) {
                let file = FileId { sha256, size };
                place.write(file, &path, record.clone()).await;
            }
        };
        let writes = self.writes.lock();
        let mut writes = writes.unwrap_or_else(PoisonError::into_inner);
        writes.bytes += size;
        writes.tasks.spawn(writing);
    }

    /// Waits until everything is written, as long as the rate of the location permits. What is not written then is left out,
    /// and the location is given up.
    pub async fn finish(&self) {
        let Writes { mut tasks, bytes } = {
            let writes = self.writes.lock();
            std::mem::take(&mut *writes.unwrap_or_else(PoisonError::into_inner))
        };
        let Some(place) = self.places.iter().find(|place| place.is_writable()) else {
            return;
        };
        let limit = place.upload_time(bytes);
        let waiting = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, waiting).await.is_err() {
            place.stop_slow_writing(limit);
        }
    }
}
