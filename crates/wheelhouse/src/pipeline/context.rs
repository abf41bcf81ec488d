//! The start of a run, which building, locking and downloading share.
//!
//! 1. [`RunContext::start`] discovers the host, lets the caller choose targets and output, and digests
//!    the local files and trees that requirements name.
//! 2. [`RunContext::fingerprint`] identifies the request for a target, and
//!    [`RunContext::previous_lock`] reads the lock that an earlier run left for it.
//! 3. Only if that lock is not sufficient, or a wheel is missing from the store,
//!    [`LocalWorker::start`](super::worker::LocalWorker::start) starts the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OnceCell;
use tracing::{debug, instrument};
use wheelhouse_engine::Host;
use wheelhouse_publish::unmodified_distributions;
use wheelhouse_shared_cache::{SharedCaches, shared_key};
use wheelhouse_store::{BuildKey, Store};
use wheelhouse_types::event::seconds;
use wheelhouse_types::lock::Build;
use wheelhouse_types::target::Platform;
use wheelhouse_types::{
    Distribution, Event, Lock, Observer, PackageName, Phase, Request, Result, Sha256, Target,
    Version,
};

use super::farm::Farm;
use super::local_trees::TreeReader;
use super::lock_file::lock_name;
use super::lock_policy::LockPolicy;
use super::previous_lock;
use super::worker::compilers;

/// The inputs that all runs share.
pub struct RunInputs {
    /// The request.
    pub request: Request,
    /// The interpreter that the request names, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    /// The cache.
    pub store: Store,
    /// The treatment of the lock of an earlier run.
    pub lock_policy: LockPolicy,
    /// Continues after a failure, and reports all failures at the end.
    pub keep_going: bool,
    /// The shared caches.
    pub shared: Arc<SharedCaches>,
    /// The farm that builds sdists, if this machine does not.
    pub farm: Option<Rc<Farm>>,
}

/// A run that was started: its inputs, and what was found out about the host and local files.
pub(super) struct RunContext {
    pub(super) request: Request,
    pub(super) python: Option<PathBuf>,
    pub(super) store: Store,
    pub(super) lock_policy: LockPolicy,
    pub(super) keep_going: bool,
    pub(super) shared: Arc<SharedCaches>,
    pub(super) farm: Option<Rc<Farm>>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) output: PathBuf,
    pub(super) host: Host,
    /// The target of this machine, which may differ from the targets of the run.
    pub(super) host_target: Target,
    pub(super) targets: Vec<Target>,
    pub(super) tree_reader: TreeReader,
    /// The digests of local trees, by path.
    pub(super) trees: BTreeMap<PathBuf, Sha256>,
    /// The digests of local files and trees, by the texts of their requirements.
    local_digests: BTreeMap<String, Sha256>,
    /// The versions of compilers, once they were asked for.
    compilers: OnceCell<BTreeMap<String, String>>,
}

/// The lock of an earlier run, judged by the [`LockPolicy`].
pub(super) enum PreviousLock {
    /// The lock was made for the same request and is kept.
    Current(Lock),
    /// The lock is missing or was made for another request; a resolution prefers these versions.
    Outdated(Vec<(PackageName, Version)>),
}

impl RunContext {
    /// Starts a run. `plan` returns the targets and the output for the target of the host.
    ///
    /// # Errors
    /// When the interpreter cannot be used, `plan` fails, or a local file cannot be read.
    #[instrument(name = "start run", skip_all)]
    pub(super) async fn start(
        inputs: RunInputs,
        observer: Arc<dyn Observer>,
        plan: impl FnOnce(&Target) -> Result<(Vec<Target>, PathBuf)>,
    ) -> Result<Self> {
        let RunInputs {
            mut request,
            python,
            store,
            lock_policy,
            keep_going,
            shared,
            farm,
        } = inputs;
        request.resolution.refresh |= lock_policy.needs_refresh();
        let cache = store.root().join("uv");
        let host = Host::discover(request.python.as_deref(), python.as_deref(), &cache).await?;
        let host_target = host.target();
        let (targets, output) = plan(&host_target)?;
        for target in &targets {
            debug!(name = target.full_name(), "chose a target");
            observer.observe(&Event::target(target));
        }
        let store = store.trusting(unmodified_distributions(&output));
        let tree_reader = TreeReader::new(&store, &output);
        let (local_digests, trees) = previous_lock::local_digests(&request, &tree_reader).await?;
        debug!(
            host = host_target.full_name(),
            output = %output.display(),
            local_requirements = local_digests.len(),
            "started a run"
        );
        Ok(Self {
            request,
            python,
            store,
            lock_policy,
            keep_going,
            shared,
            farm,
            observer,
            output,
            host,
            host_target,
            targets,
            tree_reader,
            trees,
            local_digests,
            compilers: OnceCell::new(),
        })
    }

    /// Returns the versions of the compilers of builds.
    pub(super) async fn compilers(&self) -> &BTreeMap<String, String> {
        let environment = &self.request.building.environment;
        let versions = || compilers::versions(environment);
        self.compilers.get_or_init(versions).await
    }

    /// Returns the newest glibc that this machine is known to have.
    pub(super) fn host_glibc(&self) -> Option<(u16, u16)> {
        let platform = self.host_target.platform.parse().ok();
        platform.as_ref().and_then(Platform::glibc)
    }

    /// Returns the key of a build at shared caches: the `key` in the store, which contains the version of the C library, and
    /// the compilers. Returns nothing if the build is not shared.
    pub(super) async fn shared_key(
        &self,
        key: &BuildKey,
        distribution: &Distribution,
    ) -> Option<BuildKey> {
        let version = distribution.version.as_ref();
        let is_pinned = || Build::find(&self.request.builds, &distribution.name, version).is_some();
        let is_shared = !self.shared.is_empty()
            && self.request.building.isolated
            && (!self.shared.needs_closure() || is_pinned());
        if !is_shared {
            return None;
        }
        let compilers = self.compilers().await;
        Some(shared_key(key, compilers))
    }

    /// Returns the digest of the request for `target`, without the local trees that only dependencies name.
    pub(super) fn fingerprint(&self, target: &Target) -> String {
        self.request.fingerprint(target, &self.local_digests)
    }

    /// Returns the digest under which a lock that pins the local trees `pinned` records its request.
    /// Trees that are not in `known` are read.
    pub(super) async fn lock_digest(
        &self,
        fingerprint: &str,
        pinned: &[PathBuf],
        known: &BTreeMap<PathBuf, Sha256>,
    ) -> String {
        let digests = self.tree_digests(pinned, known).await;
        previous_lock::lock_digest(fingerprint, &digests)
    }

    /// Returns the digests of the trees at `paths`; a tree that cannot be read has none.
    pub(super) async fn tree_digests(
        &self,
        paths: &[PathBuf],
        known: &BTreeMap<PathBuf, Sha256>,
    ) -> BTreeSet<Option<Sha256>> {
        let mut digests = BTreeSet::new();
        for path in paths {
            digests.insert(match known.get(path) {
                Some(digest) => Some(*digest),
                None => self.tree_reader.digest(path).await.ok(),
            });
        }
        digests
    }

    /// Reads the lock called `name` that an earlier run left in the output for the request with this
    /// `fingerprint`. It is kept only if it `is_sufficient`, too.
    ///
    /// # Errors
    /// When the policy requires a lock that is kept, and there is none.
    pub(super) async fn previous_lock(
        &self,
        name: Option<&str>,
        fingerprint: &str,
        known: &BTreeMap<PathBuf, Sha256>,
        is_sufficient: bool,
    ) -> Result<PreviousLock> {
        let path = self.output.join(lock_name(name));
        let warn = |text| self.observer.observe(&Event::warning(text));
        let (store, policy) = (&self.store, &self.lock_policy);
        let lock = previous_lock::read(store, &self.output, &path, policy, warn)?;
        let pinned = lock.as_ref().map(previous_lock::trees).unwrap_or_default();
        let digest = self.lock_digest(fingerprint, &pinned, known).await;
        let file = path.display();
        match lock {
            Some(lock) if is_sufficient && policy.accepts(&lock.request, &digest) => {
                debug!(%file, packages = lock.packages.len(), "keeping the previous lock");
                Ok(PreviousLock::Current(lock))
            }
            lock if *policy == LockPolicy::Frozen => {
                Err(previous_lock::not_frozen(&path, lock.is_some()))
            }
            lock => {
                debug!(%file, exists = lock.is_some(), "the previous lock is not kept");
                let packages = lock.into_iter().flat_map(|lock| lock.packages);
                let versions = packages.map(|package| (package.name, package.version));
                let preferences = policy.preferences(versions.collect());
                Ok(PreviousLock::Outdated(preferences))
            }
        }
    }

    /// Reports the start and the end of `phase` around `work`.
    ///
    /// # Errors
    /// As `work`.
    pub(super) async fn during<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.observer.observe(&Event::PhaseStarted { phase });
        let started = Instant::now();
        let outcome = work.await?;
        let seconds = seconds(started.elapsed());
        self.observer
            .observe(&Event::PhaseFinished { phase, seconds });
        Ok(outcome)
    }

    /// Reports a lock with its number of packages.
    pub(super) fn report_lock(&self, lock: &Lock, kept: bool) {
        self.observer.observe(&Event::Locked {
            packages: lock.packages.len(),
            kept,
        });
    }
}
