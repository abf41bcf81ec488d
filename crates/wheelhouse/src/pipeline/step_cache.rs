//! The shared cache as a farm uses it: documents and files of steps by digest, and the records of their results.
//!
//! For a build, a shared cache that fails is a miss. For a farm it is the way between the machines, so that a failure is tried
//! again and then is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tracing::debug;
use wheelhouse_attest::{SigningKey, VerifyingKey};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_shared_cache::{FileId, Location, decode_record, encode_record, is_wrong_entry};
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Lookup, Store, StoredFile};
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Error, Kind, Result, Sha256};

/// The pauses before a request is sent again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// The shared cache of a farm.
pub struct StepCache {
    location: Arc<dyn Location>,
    /// Signs the records that are written.
    signer: Option<SigningKey>,
    /// Only records that this key has signed are accepted.
    verifier: Option<VerifyingKey>,
    /// The time limit of one request, apart from the bytes of a file.
    timeout: Duration,
    /// The files that are known to be at the location.
    present: RefCell<BTreeSet<Sha256>>,
}

impl StepCache {
    /// Creates the cache at `location`, whose records are written with the signature of `signer`, and are accepted with that of
    /// `verifier` only.
    #[must_use]
    pub fn new(
        location: Arc<dyn Location>,
        signer: Option<SigningKey>,
        verifier: Option<VerifyingKey>,
        timeout: Duration,
    ) -> Self {
        Self {
            location,
            signer,
            verifier,
            timeout,
            present: RefCell::default(),
        }
    }

    /// Returns the key under which the result of a step is recorded.
    #[must_use]
    pub fn key(step: &Sha256) -> BuildKey {
        BuildKey::new([("step", step.to_string())])
    }

    /// Writes the document of `step`, and returns its digest.
    ///
    /// # Errors
    /// When the location cannot be written.
    pub(super) async fn put_step(&self, store: &Store, step: &BuildStep) -> Result<Sha256> {
        let (store, bytes) = (store.clone(), step.document());
        let stored = blocking(move || {
            let mut writer = store.writer(ExpectedFile::any("step.json"))?;
            writer.write(&bytes)?;
            writer.finish()
        });
        let stored = stored.await?;
        self.put(&stored, &format!("the build step of {step}"))
            .await?;
        Ok(stored.sha256)
    }

    /// Reads the document of the step with this digest.
    ///
    /// # Errors
    /// When the location does not have it, or it is not valid.
    pub(super) async fn step(&self, store: &Store, digest: Sha256) -> Result<BuildStep> {
        let size = Some(wheelhouse_types::step::SIZE as u64);
        let stored = self.get(store, digest, "the build step", size).await?;
        let path = stored.path.clone();
        let bytes = blocking(move || {
            fs_err::read(path).map_err(|error| Error::new(Kind::Fetch, error.to_string()))
        });
        BuildStep::parse(&bytes.await?)
    }

    /// Writes a file of the store, unless the location has it.
    ///
    /// # Errors
    /// When the location cannot be written.
    pub(super) async fn put(&self, stored: &StoredFile, filename: &str) -> Result<()> {
        if self.present.borrow().contains(&stored.sha256) {
            return Ok(());
        }
        self.write(stored, filename, false).await
    }

    async fn write(&self, stored: &StoredFile, filename: &str, replace: bool) -> Result<()> {
        let id = FileId {
            sha256: stored.sha256,
            size: stored.size,
        };
        let writing = || self.location.write_file(id, &stored.path, replace);
        self.persist(writing).await.map_err(|error| {
            let message = format!("failed to write {filename} to the shared cache");
            Error::new(error.kind(), message).caused_by(error)
        })?;
        self.present.borrow_mut().insert(stored.sha256);
        Ok(())
    }

    /// Returns the file with this digest from `store`, which gets it from the location if it does not have it. `size` is its
    /// greatest size.
    ///
    /// # Errors
    /// When the location does not have it, or has other bytes under its name.
    pub(super) async fn get(
        &self,
        store: &Store,
        sha256: Sha256,
        filename: &str,
        size: Option<u64>,
    ) -> Result<StoredFile> {
        let lookup = {
            let store = store.clone();
            blocking(move || store.find(&sha256)).await?
        };
        if let Lookup::Hit(stored) = lookup {
            return Ok(stored);
        }
        let reading = || self.receive(store, sha256, filename, size);
        self.persist(reading).await.map_err(|error| {
            let message = format!("failed to read {filename} from the shared cache");
            Error::new(error.kind(), message).caused_by(error)
        })
    }

    async fn receive(
        &self,
        store: &Store,
        sha256: Sha256,
        filename: &str,
        size: Option<u64>,
    ) -> Result<StoredFile> {
        let opening = tokio::time::timeout(self.timeout, self.location.file(&sha256));
        let opened = opening.await.map_err(|_| self.timed_out())??;
        let Some(mut file) = opened else {
            return Err(Error::new(
                Kind::Input,
                format!("it does not have {sha256}"),
            ));
        };
        let mut writer = store.writer(ExpectedFile::with_sha256(filename, sha256))?;
        loop {
            let next = tokio::time::timeout(self.timeout, file.bytes.next());
            let Some(bytes) = next.await.map_err(|_| self.timed_out())? else {
                break;
            };
            writer.write(&bytes?)?;
            if size.is_some_and(|size| writer.len() > size) {
                let message = "it is larger than it should be";
                return Err(Error::new(Kind::Verification, message));
            }
        }
        let finishing = blocking(move || writer.finish()).await;
        finishing.map_err(|error| {
            // Another attempt would get the same bytes.
            Error::new(Kind::Verification, "it has other bytes".to_owned()).caused_by(error)
        })
    }

    /// Returns the record of the step with this digest; `None` if the location has none, or has one that is not valid.
    ///
    /// # Errors
    /// When the location cannot be read.
    pub(super) async fn record(&self, step: &Sha256) -> Result<Option<BuildRecord>> {
        let key = Self::key(step);
        let reading = || self.location.record(&key);
        let bytes = match self.persist(reading).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) if is_wrong_entry(&error) => {
                debug!(%step, error = error.display_chain(), "the record of a step is wrong");
                return Ok(None);
            }
            Err(error) => {
                let message = format!("failed to read the record of the build step {step}");
                return Err(Error::new(error.kind(), message).caused_by(error));
            }
        };
        match decode_record(&bytes, &key, self.verifier.as_ref()) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                debug!(%step, %error, "the record of a step is not valid");
                Ok(None)
            }
        }
    }

    /// Writes the wheel `stored` and then the `record` of the step with this digest.
    ///
    /// # Errors
    /// When the location cannot be written.
    pub(super) async fn save(
        &self,
        step: &Sha256,
        record: &BuildRecord,
        stored: &StoredFile,
    ) -> Result<()> {
        // The wheel was built because the location had no good one.
        self.write(stored, &record.filename, true).await?;
        let key = Self::key(step);
        let bytes = encode_record(&key, record, self.signer.as_ref())?;
        let id = FileId {
            sha256: stored.sha256,
            size: stored.size,
        };
        let writing = || self.location.write_record(&key, bytes.clone(), id);
        self.persist(writing).await.map_err(|error| {
            let message = format!(
                "failed to write the record of {} to the shared cache",
                record.filename
            );
            Error::new(error.kind(), message).caused_by(error)
        })
    }

    /// Does `work`, and repeats it if it fails: a server may restart.
    async fn persist<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pauses = PAUSES.into_iter();
        loop {
            match work().await {
                Err(error) if error.kind() == Kind::Fetch || error.kind() == Kind::Publish => {
                    let Some(pause) = pauses.next() else {
                        return Err(error);
                    };
                    debug!(error = error.display_chain(), "the shared cache failed");
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn timed_out(&self) -> Error {
        let message = format!(
            "it did not answer within {} seconds",
            self.timeout.as_secs()
        );
        Error::new(Kind::Fetch, message)
    }
}
