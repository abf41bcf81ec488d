//! `cache push`: copies built wheels, and downloads if requested, to a shared cache.

use std::path::PathBuf;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use wheelhouse_attest::SigningKey;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_shared_cache::{FileId, Location, decode_record, encode_record, is_wrong_entry};
use wheelhouse_store::{BuildKey, BuildRecord, Lookup, Store, StoredFile};
use wheelhouse_types::Result;

use super::Session;
use crate::cli::format;
use crate::pipeline::BuildMachine;

/// The number of concurrent copies.
const CONCURRENCY: usize = 4;

/// The result of a push.
#[derive(Default)]
struct Pushed {
    wheels: usize,
    /// The number of wheels that the location had already.
    present: usize,
    files: usize,
    bytes: u64,
}

struct Pusher<'a> {
    session: &'a Session,
    store: Store,
    location: &'a dyn Location,
    machine: BuildMachine,
    signer: Option<SigningKey>,
}

/// Copies all built wheels of the cache at `root`, and all other files if `fetched` is set.
pub(super) async fn run(
    session: &Session,
    root: PathBuf,
    signer: Option<SigningKey>,
    fetched: bool,
) -> Result<()> {
    let location = session.connect(true).await?;
    let mut pushed = Pushed::default();
    if root.exists() {
        let pusher = Pusher {
            session,
            store: Store::open_read_only(&root)?,
            location: &*location,
            machine: session.machine(&root).await?,
            signer,
        };
        pushed = pusher.push(fetched).await?;
    }
    if session.json {
        super::print_json(json!({
            "location": session.location.to_string(),
            "pushed": pushed.wheels,
            "present": pushed.present,
            "files": pushed.files,
            "bytes": pushed.bytes,
        }));
    }
    let mut text = format!(
        "{} ({}), {} already present",
        format::count(pushed.wheels, "built wheel"),
        format::bytes(pushed.bytes),
        pushed.present
    );
    if fetched {
        text = format!("{text}, {}", format::count(pushed.files, "other file"));
    }
    session.report("Pushed", &text);
    Ok(())
}

impl Pusher<'_> {
    async fn push(&self, fetched: bool) -> Result<Pushed> {
        let built = self.store.built()?;
        let others = if fetched {
            self.downloads()?
        } else {
            Vec::new()
        };
        let wheels: Vec<Option<(u64, bool)>> = futures::stream::iter(built.into_keys())
            .map(|key| self.push_wheel(key))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let files: Vec<u64> = futures::stream::iter(others)
            .map(|stored| self.push_file(stored))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let wheels = || wheels.iter().flatten();
        let new = || wheels().filter(|(_, is_new)| *is_new);
        Ok(Pushed {
            wheels: new().count(),
            present: wheels().count() - new().count(),
            files: files.len(),
            bytes: new().map(|(size, _)| size).sum::<u64>() + files.iter().sum::<u64>(),
        })
    }

    /// Returns the files that are not built wheels.
    fn downloads(&self) -> Result<Vec<StoredFile>> {
        let built = self.store.built_digests()?;
        let mut digests = self.store.digests()?;
        digests.retain(|sha256| !built.contains(sha256));
        let found = self.store.find_many(&digests)?;
        Ok(found.into_iter().filter_map(Lookup::hit).collect())
    }

    /// Copies the wheel with the local `key`. Returns its size, and whether the location lacked it; nothing if its file is
    /// missing or corrupt.
    async fn push_wheel(&self, key: BuildKey) -> Result<Option<(u64, bool)>> {
        let store = self.store.clone();
        let found = blocking(move || store.find_built(&key)).await?;
        let Lookup::Hit((mut record, stored)) = found else {
            return Ok(None);
        };
        record.key = Some(key);
        let shared = self.machine.shared_key(&key, &record);
        if self.is_present(&shared).await? {
            return Ok(Some((stored.size, false)));
        }
        let name = &record.filename;
        self.session.activity.begin(&format!("Pushing {name}"));
        self.write(&shared, &record, &stored).await?;
        Ok(Some((stored.size, true)))
    }

    /// Returns whether the location has an acceptable record of `key`.
    async fn is_present(&self, key: &BuildKey) -> Result<bool> {
        let verifier = self.signer.as_ref().map(SigningKey::verifying_key);
        let found = match self.location.record(key).await {
            Err(error) if is_wrong_entry(&error) => return Ok(false),
            found => found?,
        };
        Ok(found.is_some_and(|bytes| decode_record(&bytes, key, verifier).is_ok()))
    }

    async fn write(&self, key: &BuildKey, record: &BuildRecord, stored: &StoredFile) -> Result<()> {
        let bytes = encode_record(key, record, self.signer.as_ref())?;
        let file = file_id(stored);
        self.location.write_file(file, &stored.path, false).await?;
        self.location.write_record(key, bytes, file).await
    }

    async fn push_file(&self, stored: StoredFile) -> Result<u64> {
        let activity = format!("Pushing {}", stored.sha256);
        self.session.activity.begin(&activity);
        let file = file_id(&stored);
        self.location.write_file(file, &stored.path, false).await?;
        Ok(stored.size)
    }
}

fn file_id(stored: &StoredFile) -> FileId {
    FileId {
        sha256: stored.sha256,
        size: stored.size,
    }
}
