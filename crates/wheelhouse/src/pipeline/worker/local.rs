//! The worker on this machine: its state, and the choice between downloading and building.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, debug, info_span, instrument};
use wheelhouse_engine::{BuildRequirements, Engine, EngineOptions};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::StoredFile;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Kind, Outcome, PackageName, Result, Source,
};

use super::super::context::RunContext;
use super::artifact::{WheelArtifact, Worker};
use super::build_dir::BuildDirs;
use super::cache;
use super::crate_provider::CrateProvider;
use super::download::FileDownload;
use super::local_trees::TreeCopies;
use super::tasks::{Pending, Tasks, identity};
use super::traffic::Traffic;
use super::wait_graph::WaitGraph;

/// The number of concurrent downloads.
const DOWNLOADS: usize = 16;

/// Returns the number of files that are digested concurrently. One processor is left to the resolver.
fn digest_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).max(1)
}

/// The work that a resolution starts before its lock is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Prefetch {
    Nothing,
    /// The first candidate wheel of each package is downloaded.
    Wheels,
    /// The first candidate sdist of each package is built, too.
    WheelsAndBuilds,
}

/// Makes wheels on this machine.
pub(in crate::pipeline) struct LocalWorker {
    pub(in crate::pipeline) context: Rc<RunContext>,
    pub(in crate::pipeline) engine: Engine,
    pub(in crate::pipeline) trees: TreeCopies,
    pub(super) prefetch: Prefetch,
    pub(super) wheels: Tasks<WheelArtifact>,
    /// The build requirements of sources.
    pub(super) requirements: Tasks<BuildRequirements>,
    files: Tasks<StoredFile>,
    /// The packages of which the resolver has considered an sdist.
    pub(super) candidates: RefCell<BTreeSet<PackageName>>,
    pub(super) waits: WaitGraph,
    pub(super) build_dirs: BuildDirs,
    download_slots: Arc<Semaphore>,
    digest_slots: Arc<Semaphore>,
    traffic: Traffic,
    pub(super) crates: CrateProvider,
    /// Why the metadata or build requirements of a source cannot be determined on this machine, by identity.
    unknown: RefCell<BTreeMap<String, String>>,
}

impl Worker for Rc<LocalWorker> {
    fn make<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<WheelArtifact>> {
        let wheel = self.begin(distribution);
        async move { wheel.await.map_err(Error::from) }.boxed_local()
    }

    fn remake<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<WheelArtifact>> {
        debug!(%distribution, "making a wheel again that the store has lost");
        self.wheels.remove(&identity(distribution));
        self.files.clear();
        self.make(distribution)
    }

    fn has_begun(&self, distribution: &Distribution) -> bool {
        self.wheels.contains(&identity(distribution))
    }
}

impl LocalWorker {
    /// Starts the engine for the host of `context`.
    ///
    /// # Errors
    /// When the engine cannot be started.
    #[instrument(name = "start worker", skip_all, fields(?prefetch))]
    pub(in crate::pipeline) async fn start(
        context: Rc<RunContext>,
        prefetch: Prefetch,
    ) -> Result<Rc<Self>> {
        let root = context.store.root();
        let setup = EngineOptions {
            host: context.host.clone(),
            request: &context.request,
            logs: &root.join("logs"),
            observer: Arc::clone(&context.observer),
        };
        if !context.shared.is_empty() {
            // The first look-up in a shared cache would otherwise wait for this.
            let context = Rc::clone(&context);
            tokio::task::spawn_local(async move {
                context.compilers().await;
            });
        }
        let engine = Engine::start(setup).await?;
        let reader = context.tree_reader.clone();
        Ok(Rc::new(Self {
            trees: TreeCopies::new(reader, root.join("trees"), context.trees.clone()),
            context,
            engine,
            prefetch,
            wheels: Tasks::default(),
            requirements: Tasks::default(),
            files: Tasks::default(),
            candidates: RefCell::default(),
            waits: WaitGraph::default(),
            build_dirs: BuildDirs::default(),
            download_slots: Arc::new(Semaphore::new(DOWNLOADS)),
            digest_slots: Arc::new(Semaphore::new(digest_threads())),
            traffic: Traffic::default(),
            crates: CrateProvider::default(),
            unknown: RefCell::default(),
        }))
    }

    /// Starts to make a wheel, unless that has begun.
    pub(super) fn begin(self: &Rc<Self>, distribution: &Distribution) -> Pending<WheelArtifact> {
        let key = identity(distribution);
        self.wheels.run_once(key, || {
            let span = info_span!("make wheel", %distribution);
            let (worker, distribution) = (Rc::clone(self), distribution.clone());
            let making = async move {
                match &distribution.source {
                    Source::Wheel(artifact) => worker.get_wheel(&distribution, artifact).await,
                    _ => worker.build(&distribution).await,
                }
            };
            making.instrument(span)
        })
    }

    /// Returns the file of `artifact` if the store has it and it has one of the required hashes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(in crate::pipeline) async fn find(
        &self,
        artifact: &Artifact,
        required_hashes: &[String],
    ) -> Result<Option<StoredFile>> {
        let store = self.context.store.clone();
        let observer = Arc::clone(&self.context.observer);
        let (artifact, required_hashes) = (artifact.clone(), required_hashes.to_vec());
        let find = move || cache::find_artifact(&store, &*observer, &artifact, &required_hashes);
        self.digest(find).await
    }

    /// Runs work that digests a file of the store, which may be large, on another thread.
    pub(super) async fn digest<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slots = Arc::clone(&self.digest_slots);
        // A task of its own always goes on. A future that the resolver does not poll for a while would keep its slot.
        let task = tokio::spawn(async move {
            let _slot = slots.acquire().await;
            blocking(work).await
        });
        task.await.context(Kind::Fetch, || {
            "a lookup in the cache ended early".to_owned()
        })?
    }

    /// Returns whether the file of `artifact` would be reused or downloaded.
    pub(in crate::pipeline) async fn outcome_of(&self, artifact: &Artifact) -> Outcome {
        match self.find(artifact, &[]).await {
            Ok(Some(_)) => Outcome::Reused,
            _ => Outcome::Fetched,
        }
    }

    /// Returns the file of `artifact`, which is downloaded or copied unless the store has it.
    ///
    /// # Errors
    /// When the file cannot be downloaded, or has none of the required hashes.
    pub(in crate::pipeline) async fn file(
        self: &Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> Result<StoredFile> {
        if let Some(stored) = self.find(artifact, &distribution.required_hashes).await? {
            return Ok(stored);
        }
        let key = format!("{} {:?}", artifact.location, distribution.required_hashes);
        let pending = self.files.run_once(key, || {
            let (worker, distribution, artifact) =
                (Rc::clone(self), distribution.clone(), artifact.clone());
            async move {
                if let Some(stored) = worker.shared_file(&distribution, &artifact).await {
                    return Ok(stored);
                }
                let is_remote = matches!(artifact.location, ArtifactLocation::Url(_));
                let downloading = Rc::clone(&worker).download(&distribution, &artifact);
                let stored = downloading.await?;
                if is_remote {
                    worker.context.shared.save_file(&stored);
                }
                Ok(stored)
            }
        });
        pending.await.map_err(Error::from)
    }

    /// Counts the bytes of a file that a shared cache had.
    pub(super) fn note_received(&self, bytes: u64) {
        self.traffic.add(bytes);
    }

    /// Downloads on another thread, so that computing digests does not delay the resolver.
    fn download(
        self: Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> impl Future<Output = Result<StoredFile>> + 'static {
        let download = FileDownload {
            required_hashes: distribution.required_hashes.clone(),
            ..self.file_download(distribution.to_string(), artifact.clone())
        };
        self.run_download(download)
    }

    /// Returns the download of `artifact` for `package`, with the settings of the request.
    pub(super) fn file_download(&self, package: String, artifact: Artifact) -> FileDownload {
        let context = &self.context;
        let network = &context.request.network;
        FileDownload {
            fetcher: self.engine.fetcher(),
            store: context.store.clone(),
            observer: Arc::clone(&context.observer),
            retries: network.retries,
            notices: network.notices.clone(),
            timeout: network.timeout,
            package,
            artifact,
            images: Arc::clone(&context.request.indexes.images),
            required_hashes: Vec::new(),
        }
    }

    /// Runs `download` on another thread.
    pub(super) fn run_download(
        self: Rc<Self>,
        download: FileDownload,
    ) -> impl Future<Output = Result<StoredFile>> + 'static {
        let is_remote = matches!(download.artifact.location, ArtifactLocation::Url(_));
        let slots = Arc::clone(&self.download_slots);
        if is_remote {
            self.traffic.start();
        }
        let downloading = async move {
            let _slot = slots.acquire().await;
            download.run().await
        };
        let task = tokio::spawn(downloading.in_current_span());
        async move {
            let outcome = task.await;
            if is_remote {
                self.traffic.stop();
            }
            let stored = outcome.context(Kind::Fetch, || "a download ended early".to_owned())??;
            if is_remote {
                self.traffic.add(stored.size);
            }
            Ok(stored)
        }
    }

    /// Returns the number of bytes that were received over the network.
    pub(in crate::pipeline) fn bytes_fetched(&self) -> u64 {
        self.traffic.bytes()
    }

    /// Returns the time during which at least one download was active.
    pub(in crate::pipeline) fn time_fetching(&self) -> Duration {
        self.traffic.time()
    }

    /// Records that the build backend of `distribution` fails on this machine for `reason`.
    pub(in crate::pipeline) fn mark_unknown(&self, distribution: &Distribution, reason: &Error) {
        let reason = reason.display_chain();
        debug!(%distribution, reason, "the build backend fails on this machine");
        let mut unknown = self.unknown.borrow_mut();
        unknown.insert(identity(distribution), reason);
    }

    /// Returns why the build backend of `distribution` fails on this machine, if it was found to fail.
    pub(in crate::pipeline) fn unknown(&self, distribution: &Distribution) -> Option<String> {
        self.unknown.borrow().get(&identity(distribution)).cloned()
    }
}
