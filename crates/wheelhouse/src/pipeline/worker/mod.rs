//! Making wheels on this machine: from the store, over the network, or with a build back end.
//!
//! Whatever was begun for one reason is awaited, not begun again, for another.

mod build;
pub(super) mod build_key;
mod download;
pub(super) mod provider;
mod source_tree;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use wheelhouse_engine::{BuildRequirements, Engine};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{
    Artifact, Distribution, Error, Event, Kind, Location, Observer, Outcome, PackageName, Request,
    Result, Sha256, Source, Target, WheelFilename,
};

use super::local_trees::TreeReader;
use super::publish;
use build::Place;
use download::{Fetch, blocking};
use source_tree::{Tree, Workplace};
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_archive::{Limits, record_check};
use wheelhouse_store::{BuildKey, BuiltWheel, Expected, Found, Store, Stored};

/// Makes the wheel of a distribution. The one seam between a plan and whoever carries it out.
pub trait Worker {
    /// Makes the wheel, or finds it; it is in the store afterwards, checked.
    fn make<'a>(&'a self, distribution: &'a Distribution) -> LocalBoxFuture<'a, Result<Made>>;
}

/// A wheel in the store.
#[derive(Clone, Debug)]
pub struct Made {
    pub stored: Stored,
    pub filename: String,
    pub outcome: Outcome,
    /// How it was built, now or earlier, if it was not published as a wheel.
    pub built: Option<BuiltWheel>,
    /// The digest of the sdist that it was built from.
    pub sdist: Option<Sha256>,
}

/// What a local worker works with.
pub(super) struct LocalWorker {
    pub(super) engine: Engine,
    pub(super) request: Request,
    pub(super) target: Target,
    pub(super) store: Store,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) tree_reader: TreeReader,
    /// Whether candidates of a resolution are fetched ahead, and whether they are built.
    pub(super) fetch_ahead: bool,
    pub(super) build_ahead: bool,
    /// Whether what fails leaves the rest to go on.
    pub(super) keep_going: bool,
    pub(super) fetches: Arc<Semaphore>,
    pub(super) state: RefCell<State>,
}

/// What has begun.
#[derive(Default)]
pub(super) struct State {
    made: HashMap<String, Pending<Made>>,
    files: HashMap<String, Pending<Stored>>,
    /// What the builds of sources require.
    pub(super) requirements: HashMap<String, Pending<BuildRequirements>>,
    /// The packages of which a source was a candidate.
    pub(super) candidates: BTreeSet<PackageName>,
    /// Which builds wait for what, as identities.
    pub(super) waits: Vec<(String, String)>,
    /// The workplaces that are in use in this process, by their keys.
    places: HashMap<String, Place>,
    /// Local trees: their digests.
    pub(super) trees: BTreeMap<PathBuf, Sha256>,
    /// Copies of local trees for resolutions, by the digests of the trees.
    copies: HashMap<Sha256, TreeCopy>,
    pub(super) bytes_fetched: u64,
    pub(super) fetching: Stopwatch,
    /// Why it is not known here what a source depends on or requires, by identities.
    unknown: BTreeMap<String, String>,
}

/// A copy of a local tree.
#[derive(Clone)]
struct TreeCopy {
    path: PathBuf,
    place: Pending<Rc<Workplace>>,
}

impl State {
    /// Nothing has begun; the digests of some local trees are known.
    pub(super) fn new(trees: BTreeMap<PathBuf, Sha256>) -> Self {
        Self {
            trees,
            ..Self::default()
        }
    }

    pub(super) fn has_begun(&self, identity: &str) -> bool {
        self.made.contains_key(identity)
    }
}

/// Measures for how long at least one of several things goes on.
#[derive(Default)]
pub(super) struct Stopwatch {
    running: usize,
    since: Option<Instant>,
    total: Duration,
}

impl Stopwatch {
    fn start(&mut self) {
        self.running += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn stop(&mut self) {
        self.running -= 1;
        if self.running == 0 {
            self.total += self
                .since
                .take()
                .map_or(Duration::ZERO, |since| since.elapsed());
        }
    }
}

pub(super) type Pending<T> = Shared<LocalBoxFuture<'static, Result<T, SharedError>>>;

/// An error that several wait for; the kind, words, hint and detail stay.
#[derive(Clone)]
pub(super) struct SharedError(Rc<Error>);

impl From<Error> for SharedError {
    fn from(error: Error) -> Self {
        Self(Rc::new(error))
    }
}

impl From<SharedError> for Error {
    fn from(shared: SharedError) -> Self {
        Rc::try_unwrap(shared.0).unwrap_or_else(|shared| shared.copy())
    }
}

impl Worker for Rc<LocalWorker> {
    fn make<'a>(&'a self, distribution: &'a Distribution) -> LocalBoxFuture<'a, Result<Made>> {
        let made = self.begin(distribution);
        async move { made.await.map_err(Error::from) }.boxed_local()
    }
}

impl LocalWorker {
    /// Begins to make a wheel, unless that has begun.
    pub(super) fn begin(self: &Rc<Self>, distribution: &Distribution) -> Pending<Made> {
        let key = identity(distribution);
        if let Some(pending) = self.state.borrow().made.get(&key) {
            return pending.clone();
        }
        let (worker, distribution) = (Rc::clone(self), distribution.clone());
        let work = async move {
            let made = match &distribution.source {
                Source::Wheel(artifact) => worker.fetch_wheel(&distribution, artifact).await,
                _ => worker.build(&distribution).await,
            };
            made.map_err(SharedError::from)
        };
        let pending = in_background(work);
        self.state.borrow_mut().made.insert(key, pending.clone());
        pending
    }

    /// Forgets that the wheel of `distribution` was made, and all files that were fetched, so that what is gone is had again.
    pub(super) fn forget(&self, distribution: &Distribution) {
        let mut state = self.state.borrow_mut();
        state.made.remove(&identity(distribution));
        state.files.clear();
    }

    /// What came over the network so far, in bytes.
    pub(super) fn bytes_fetched(&self) -> u64 {
        self.state.borrow().bytes_fetched
    }

    /// For how long something came over the network.
    pub(super) fn time_fetching(&self) -> Duration {
        self.state.borrow().fetching.total
    }

    /// How the file of `artifact` is had that is asked for now.
    pub(super) fn outcome_of(&self, artifact: &Artifact) -> Outcome {
        match self.stored(artifact, &[]) {
            Ok(Some(_)) => Outcome::Reused,
            _ => Outcome::Fetched,
        }
    }

    /// Notes that the back end of `distribution` fails here for `reason`.
    pub(super) fn note_unknown(&self, distribution: &Distribution, reason: &Error) {
        let unknown = &mut self.state.borrow_mut().unknown;
        unknown.insert(identity(distribution), reason.sentence());
    }

    /// Why the back end of `distribution` fails here, if that was seen.
    pub(super) fn unknown(&self, distribution: &Distribution) -> Option<String> {
        let state = self.state.borrow();
        state.unknown.get(&identity(distribution)).cloned()
    }

    /// Whether the wheel of `distribution` was begun to be made.
    pub(super) fn has_begun(&self, distribution: &Distribution) -> bool {
        self.state.borrow().has_begun(&identity(distribution))
    }

    async fn fetch_wheel(
        self: &Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> Result<Made> {
        let made = |stored, outcome| Made {
            stored,
            filename: artifact.filename.clone(),
            outcome,
            built: None,
            sdist: None,
        };
        self.look_up(artifact).await?;
        let (stored, outcome) = match self.stored(artifact, &distribution.required_hashes)? {
            Some(stored) => (stored, Outcome::Reused),
            None => (self.file(distribution, artifact).await?, Outcome::Fetched),
        };
        if outcome == Outcome::Fetched || !is_known_as(&self.store, &stored, distribution) {
            self.inspect(&stored, artifact, distribution).await?;
        }
        Ok(made(stored, outcome))
    }

    /// Digests the file of `artifact` if the store has it, on another thread: it may be large.
    async fn look_up(&self, artifact: &Artifact) -> Result<()> {
        let Some(sha256) = artifact.hashes.sha256() else {
            return Ok(());
        };
        let store = self.store.clone();
        let found = blocking(move || store.find(&sha256)).await?;
        if let Found::Corrupt(_) = found {
            warn_of_corrupt_file(&*self.observer, artifact);
        }
        Ok(())
    }

    /// The file of `artifact` as the store has it, if its digest is published and it is one of those that
    /// are required.
    pub(super) fn stored(
        &self,
        artifact: &Artifact,
        required_hashes: &[String],
    ) -> Result<Option<Stored>> {
        let Some(sha256) = artifact.hashes.sha256() else {
            return Ok(None);
        };
        match self.store.find(&sha256)? {
            Found::Present(stored) => {
                Ok(is_demanded(&stored, artifact, required_hashes)?.then_some(stored))
            }
            Found::Absent => Ok(None),
            Found::Corrupt(_) => {
                warn_of_corrupt_file(&*self.observer, artifact);
                Ok(None)
            }
        }
    }

    /// Brings the file of `artifact` into the store.
    pub(super) async fn file(
        self: &Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> Result<Stored> {
        if let Some(stored) = self.stored(artifact, &distribution.required_hashes)? {
            return Ok(stored);
        }
        let key = format!("{} {:?}", artifact.location, distribution.required_hashes);
        let known = self.state.borrow().files.get(&key).cloned();
        let pending = known.unwrap_or_else(|| {
            let pending = in_background(Rc::clone(self).fetch(distribution, artifact));
            self.state.borrow_mut().files.insert(key, pending.clone());
            pending
        });
        pending.await.map_err(Error::from)
    }

    /// Fetches on other threads, where digesting does not hold up the resolver.
    fn fetch(
        self: Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> impl Future<Output = Result<Stored, SharedError>> + 'static {
        let fetch = Fetch {
            fetcher: self.engine.fetcher(),
            store: self.store.clone(),
            observer: Arc::clone(&self.observer),
            retries: self.request.network.retries,
            notices: self.request.network.notices.clone(),
            timeout: self.request.network.timeout,
            package: distribution.to_string(),
            artifact: artifact.clone(),
            images: Arc::clone(&self.request.indexes.images),
            required_hashes: distribution.required_hashes.clone(),
        };
        let is_remote = matches!(artifact.location, Location::Url(_));
        let fetches = Arc::clone(&self.fetches);
        if is_remote {
            self.state.borrow_mut().fetching.start();
        }
        let task = tokio::spawn(async move {
            let _slot = fetches.acquire().await;
            fetch.run().await
        });
        async move {
            let fetched = task.await;
            if is_remote {
                self.state.borrow_mut().fetching.stop();
            }
            let stored = fetched.context(Kind::Fetch, || "a download ended early".to_owned())??;
            if is_remote {
                self.state.borrow_mut().bytes_fetched += stored.size;
            }
            Ok(stored)
        }
    }

    /// Inspects a wheel that came from outside. A local one, or one whose digest is stated, may have the
    /// small flaws that pip passes over. One without a stated digest is compared with its `RECORD` in full.
    async fn inspect(
        &self,
        stored: &Stored,
        artifact: &Artifact,
        distribution: &Distribution,
    ) -> Result<()> {
        let (store, stored, filename) = (
            self.store.clone(),
            stored.clone(),
            artifact.filename.clone(),
        );
        let has_digest = !artifact.hashes.is_empty() || !distribution.required_hashes.is_empty();
        let inspection = blocking(move || {
            let inspection = wheelhouse_archive::inspect(&stored.path, &filename)?;
            if !has_digest {
                check_contents(&stored.path, &filename)?;
            }
            store.keep_metadata(&stored.sha256, &inspection.metadata);
            Ok(inspection)
        })
        .await?;
        if inspection.name != distribution.name {
            return Err(Error::new(
                Kind::Fetch,
                format!(
                    "{} is a wheel of {}, not of {}",
                    artifact.filename, inspection.name, distribution.name
                ),
            ));
        }
        if let Some(flaw) = inspection.irregularities.first() {
            let message = format!("{}: {flaw}", artifact.filename);
            let is_local = matches!(artifact.location, Location::Path(_));
            if !is_local && !has_digest {
                return Err(Error::new(Kind::Fetch, message)
                    .with_hint("Nobody vouches for this wheel with a digest; give one with --hash to use it nevertheless."));
            }
            self.observer.observe(&Event::warning(message));
        }
        Ok(())
    }

    /// Checks that `stored`, an archive known as `filename`, is within limits: the engine unpacks without any. An
    /// archive is examined once for all runs.
    pub(super) async fn examine(&self, stored: &Stored, filename: &str) -> Result<()> {
        let (store, stored, filename) = (self.store.clone(), stored.clone(), filename.to_owned());
        blocking(move || {
            if !store.is_examined(&stored.sha256) {
                wheelhouse_archive::examine(&stored.path, &filename, &Limits::default())?;
                store.keep_examined(&stored.sha256);
            }
            Ok(())
        })
        .await
    }

    /// The digest of a local tree, computed once.
    pub(super) async fn tree_digest(&self, path: &Path) -> Result<Sha256> {
        if let Some(digest) = self.state.borrow().trees.get(path) {
            return Ok(*digest);
        }
        let digest = self.tree_reader.digest(path).await?;
        let trees = &mut self.state.borrow_mut().trees;
        trees.insert(path.to_owned(), digest);
        Ok(digest)
    }

    /// The tree at `path` as it is to be copied.
    async fn tree(&self, path: &Path, large: LargeFiles) -> Result<Tree> {
        Ok(Tree {
            reader: self.tree_reader.clone(),
            path: path.to_owned(),
            digest: self.tree_digest(path).await?,
            large,
        })
    }

    /// The copy of the tree at `path` for resolutions, made once however many requirements and targets ask for it: it is this run's
    /// alone while it is there.
    async fn tree_copy(self: &Rc<Self>, path: &Path) -> Result<Rc<Workplace>> {
        let digest = self.tree_digest(path).await?;
        let known = self.state.borrow().copies.get(&digest).cloned();
        let copy = known.unwrap_or_else(|| {
            let (worker, path) = (Rc::clone(self), path.to_owned());
            let copying = {
                let path = path.clone();
                async move {
                    let tree = worker.tree(&path, LargeFiles::Linked).await?;
                    let trees = worker.store.root().join("trees");
                    Ok(Rc::new(source_tree::copy(&trees, tree).await?))
                }
            };
            let place = in_background(copying);
            let copy = TreeCopy { path, place };
            let copies = &mut self.state.borrow_mut().copies;
            copies.insert(digest, copy.clone());
            copy
        });
        copy.place.await.map_err(Error::from)
    }

    /// Notes what was looked at beside local trees through their copies, and returns the digests of all trees that
    /// are known.
    pub(super) async fn observed_trees(&self) -> Result<BTreeMap<PathBuf, Sha256>> {
        let copies: Vec<_> = self.state.borrow().copies.values().cloned().collect();
        for TreeCopy { path, place } in copies {
            if let Some(Ok(copy)) = place.peek() {
                self.note_seen(&path, copy).await?;
            }
        }
        Ok(self.state.borrow().trees.clone())
    }

    /// Notes what was looked at beside the tree at `path` through `copy`, which may give the tree another digest.
    async fn note_seen(&self, path: &Path, copy: &Workplace) -> Result<()> {
        if self.tree_reader.note_seen(path, copy.seen()) {
            let digest = self.tree_reader.digest(path).await?;
            let trees = &mut self.state.borrow_mut().trees;
            trees.insert(path.to_owned(), digest);
        }
        Ok(())
    }
}

/// Refuses the wheel at `path` if a file in it has other bytes than its `RECORD` states, or than the
/// archive itself does.
fn check_contents(path: &Path, filename: &str) -> Result<()> {
    let differences = wheelhouse_archive::verify_contents(path, filename, &Limits::default())?;
    let damage = differences
        .iter()
        .find(|difference| record_check::is_contradiction(difference));
    match damage {
        None => Ok(()),
        Some(damage) => {
            let message = format!("{filename} is damaged: {damage}");
            Err(Error::new(Kind::Fetch, message).with_hint(
                "Get or build this wheel again; no digest is stated that says it is as published.",
            ))
        }
    }
}

/// Whether `stored`, the file of `artifact` by its SHA-256, is one of those that are required. Where they
/// are named by other digests, these are computed: those that an index gives may be of another file.
pub(super) fn is_demanded(
    stored: &Stored,
    artifact: &Artifact,
    required_hashes: &[String],
) -> Result<bool> {
    let sha256 = format!("sha256:{}", stored.sha256);
    if required_hashes.is_empty() || required_hashes.contains(&sha256) {
        return Ok(true);
    }
    let failed = || format!("failed to read {} in the store", artifact.filename);
    let mut file = fs_err::File::open(&stored.path).context(Kind::Fetch, failed)?;
    let expected = Expected::anything(&artifact.filename).required(required_hashes);
    expected.is_met_by(&mut file).context(Kind::Fetch, failed)
}

/// Whether the store notes of `stored` that it is the wheel of `distribution`; the same bytes may be listed
/// under any name.
pub(super) fn is_known_as(store: &Store, stored: &Stored, distribution: &Distribution) -> bool {
    let Some(metadata) = store.metadata(&stored.sha256) else {
        return false;
    };
    let metadata = String::from_utf8_lossy(&metadata);
    let value = |field| wheelhouse_archive::metadata::value(&metadata, field).unwrap_or_default();
    let version = distribution.version.as_ref();
    value("Name").parse().as_ref() == Ok(&distribution.name)
        && version.is_none_or(|version| value("Version").parse().as_ref() == Ok(version))
}

/// Looks for the wheel that was built under `key`, and warns of one that is corrupt. Records are not digested, and may name
/// any file of the store: one that names the wheel of another package is removed.
pub(super) fn built_wheel(
    store: &Store,
    observer: &dyn Observer,
    key: &BuildKey,
    distribution: &Distribution,
) -> Result<Option<(BuiltWheel, Stored)>> {
    let (built, stored) = match store.built(key)? {
        Found::Present(found) => found,
        Found::Absent => return Ok(None),
        Found::Corrupt(_) => {
            observer.observe(&Event::Warning {
                message: format!(
                    "the cached wheel of {distribution} is corrupt and is built again"
                ),
                hint: Some(MAY_BE_SHARED.to_owned()),
            });
            return Ok(None);
        }
    };
    let filename = WheelFilename::from_str(&built.filename);
    let version = distribution.version.as_ref();
    let is_named = filename.is_ok_and(|filename| {
        filename.name == distribution.name && version.is_none_or(|it| *it == filename.version)
    });
    if is_named
        && publish::metadata(store, &stored, &built.filename).is_ok()
        && is_known_as(store, &stored, distribution)
    {
        return Ok(Some((built, stored)));
    }
    observer.observe(&Event::warning(format!(
        "the record of the cached wheel of {distribution} names {}; it is built again",
        built.filename
    )));
    store.forget_built(key);
    Ok(None)
}

/// Warns that the cached file of `artifact` was corrupt.
pub(super) fn warn_of_corrupt_file(observer: &dyn Observer, artifact: &Artifact) {
    let again = match artifact.location {
        Location::Url(_) => "downloaded",
        Location::Path(_) | Location::Image { .. } => "copied",
    };
    observer.observe(&Event::Warning {
        message: format!(
            "the cached copy of {} is corrupt and is {again} again",
            artifact.filename
        ),
        hint: Some(MAY_BE_SHARED.to_owned()),
    });
}

const MAY_BE_SHARED: &str =
    "Verify the wheelhouses that were made from it: they may share the file.";

/// What makes two distributions the same work. A file that is known by its digest is the same, whether a lock
/// names it or an index.
pub(super) fn identity(distribution: &Distribution) -> String {
    let required = &distribution.required_hashes;
    if let Some(artifact) = distribution.source.artifact()
        && let Some(sha256) = artifact.hashes.sha256()
        && (required.is_empty() || required.contains(&format!("sha256:{sha256}")))
    {
        let Artifact {
            filename,
            subdirectory,
            ..
        } = artifact;
        return format!("{distribution} {filename} {sha256} {subdirectory:?}");
    }
    format!(
        "{distribution} {} {:?}",
        distribution.source, distribution.required_hashes
    )
}

/// Lets `work` go on whether or not somebody waits for it.
pub(super) fn in_background<T: Clone + 'static>(
    work: impl Future<Output = Result<T, SharedError>> + 'static,
) -> Pending<T> {
    let task = tokio::task::spawn_local(work);
    async move {
        task.await
            .unwrap_or_else(|error| Err(ended_early(error).into()))
    }
    .boxed_local()
    .shared()
}

/// Returns the error of a task that panicked, as libraries do where the system refuses them a thread.
fn ended_early(error: JoinError) -> Error {
    let panic = error.try_into_panic().ok();
    let text = panic.as_ref().and_then(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
    });
    let text = text.unwrap_or("it was canceled");
    Error::new(Kind::Build, format!("a task ended early: {text}"))
}

/// How many files are fetched at once.
pub(super) const FETCHES: usize = 16;
