//! `cache pull`: copies the built wheels of a shared cache that this machine can use into the cache.

use std::path::PathBuf;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use wheelhouse_attest::VerifyingKey;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_shared_cache::{Entry, EntryName, Location};
use wheelhouse_store::{BuildKey, ExpectedFile, Lookup, Store};
use wheelhouse_types::Result;

use super::Session;
use super::contents::{Contents, ListedRecord, Trust};
use crate::cli::{format, output, style};
use crate::pipeline::BuildMachine;

/// The number of concurrent copies.
const CONCURRENCY: usize = 4;

/// The fate of a record.
enum Outcome {
    /// Copied; the size of its wheel in bytes.
    Pulled(u64),
    /// In the cache already.
    Present,
    /// For another platform or built by other compilers.
    Unusable,
    /// Not signed by the key, or with a wrong file.
    Rejected,
}

struct Puller<'a> {
    session: &'a Session,
    store: Store,
    location: &'a dyn Location,
    machine: BuildMachine,
    verifies: bool,
}

/// Copies the wheels with the location's `keys`, or all, into the cache at `root`. With a `verifier`, only those whose record it
/// has signed.
pub(super) async fn run(
    session: &Session,
    root: PathBuf,
    verifier: Option<VerifyingKey>,
    keys: Vec<BuildKey>,
) -> Result<()> {
    let location = session.connect(false).await?;
    let contents = if keys.is_empty() {
        Contents::read(&*location, verifier.as_ref()).await?
    } else {
        let named = keys.into_iter().map(|key| Entry {
            name: EntryName::Record(key),
            size: 0,
            modified: None,
        });
        Contents::of(named.collect(), &*location, verifier.as_ref()).await?
    };
    super::warn_unreadable(&contents, session);
    let puller = Puller {
        session,
        store: Store::open(&root)?,
        location: &*location,
        // After the store is open, which expects a new or empty directory.
        machine: session.machine(&root).await?,
        verifies: verifier.is_some(),
    };
    let outcomes: Vec<Outcome> = futures::stream::iter(&contents.records)
        .map(|listed| puller.pull(listed))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let pulled = count(|outcome| matches!(outcome, Outcome::Pulled(_)));
    let present = count(|outcome| matches!(outcome, Outcome::Present));
    let unusable = count(|outcome| matches!(outcome, Outcome::Unusable));
    let rejected = count(|outcome| matches!(outcome, Outcome::Rejected));
    let bytes = outcomes.iter().map(|outcome| match outcome {
        Outcome::Pulled(bytes) => *bytes,
        _ => 0,
    });
    let bytes: u64 = bytes.sum();
    if session.json {
        super::print_json(json!({
            "location": session.location.to_string(),
            "pulled": pulled,
            "present": present,
            "unusable": unusable,
            "rejected": rejected,
            "bytes": bytes,
        }));
    }
    let text = format!(
        "{} ({}), {present} already present, {unusable} of other machines, {rejected} rejected",
        format::count(pulled, "built wheel"),
        format::bytes(bytes)
    );
    session.report("Pulled", &text);
    Ok(())
}

impl Puller<'_> {
    async fn pull(&self, listed: &ListedRecord) -> Result<Outcome> {
        let record = &listed.record;
        if self.verifies && listed.trust != Trust::Verified {
            return Ok(self.reject(listed, &listed.trust.to_string()));
        }
        let Some(key) = record.key.filter(|_| self.machine.can_use(record)) else {
            return Ok(Outcome::Unusable);
        };
        let store = self.store.clone();
        let found = blocking(move || store.find_built(&key)).await?;
        if let Lookup::Hit(_) = found {
            return Ok(Outcome::Present);
        }
        let name = &record.filename;
        self.session.activity.begin(&format!("Pulling {name}"));
        let Some(mut file) = self.location.file(&record.sha256).await? else {
            return Ok(self.reject(listed, "its file is missing"));
        };
        let expected = ExpectedFile::with_sha256(name, record.sha256).size(Some(record.size));
        let mut writer = self.store.writer(expected)?;
        while let Some(bytes) = file.bytes.try_next().await? {
            if writer.len() + bytes.len() as u64 > record.size {
                return Ok(self.reject(listed, "its file is too large"));
            }
            writer.write(&bytes)?;
        }
        if let Err(error) = blocking(move || writer.finish()).await {
            return Ok(self.reject(listed, &error.to_string()));
        }
        let (store, record) = (self.store.clone(), record.clone());
        blocking(move || store.save_build_record(&key, &record)).await?;
        Ok(Outcome::Pulled(listed.record.size))
    }

    fn reject(&self, listed: &ListedRecord, reason: &str) -> Outcome {
        let name = EntryName::Record(listed.key);
        let package = listed.package();
        let text = format!("{name} ({package}) was not pulled: {reason}");
        if !self.session.json {
            self.session.activity.above(|| {
                output::status(&style::labeled(style::WARNING, "warning", &text));
            });
        }
        Outcome::Rejected
    }
}
