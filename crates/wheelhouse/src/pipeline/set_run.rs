//! The run of one set of requirements: lock it, plan it, and make its wheels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tracing::{debug, instrument};
use wheelhouse_types::lock::version_changes;
use wheelhouse_types::{
    Action, Event, Lock, PackageName, Phase, Plan, Result, Sha256, Source, Target, Version,
};

use super::cached_wheels;
use super::context::{PreviousLock, RunContext};
use super::executor;
use super::lock_file::lock_name;
use super::previous_lock;
use super::publish::ResolvedSet;
use super::report::Preview;
use super::worker::{LocalWorker, Prefetch, Prefetcher, WheelArtifact, Worker};

/// A set of requirements that is locked by itself.
pub(super) struct SetRun {
    pub(super) context: Rc<RunContext>,
    pub(super) target: Target,
    pub(super) fingerprint: String,
    /// The name of an additional set; `None` for the set of the request.
    pub(super) name: Option<String>,
    /// Marks a set that only builds and tools use.
    pub(super) build_only: bool,
    /// Versions that are preferred where a previous lock prefers no others.
    pub(super) preferences: Vec<(PackageName, Version)>,
    /// A local tree that the lock leaves out, because its wheel is built elsewhere.
    pub(super) excluded_tree: Option<PathBuf>,
    /// Warns of packages that are named for an upgrade but are not part of the lock.
    pub(super) warn_unknown_upgrades: bool,
    pub(super) prefetch: Prefetch,
    /// Started when a resolution, a download or a build first needs it.
    worker: Option<Rc<LocalWorker>>,
}

impl SetRun {
    /// Creates the run of a set for the only target of `context`; `fingerprint` identifies its request.
    pub(super) fn new(context: RunContext, fingerprint: String, prefetch: Prefetch) -> Self {
        Self {
            target: context.targets[0].clone(),
            context: Rc::new(context),
            fingerprint,
            name: None,
            build_only: false,
            preferences: Vec::new(),
            excluded_tree: None,
            warn_unknown_upgrades: false,
            prefetch,
            worker: None,
        }
    }

    /// Locks the set and makes its wheels.
    ///
    /// # Errors
    /// When the set cannot be resolved, or a wheel cannot be downloaded or built.
    #[instrument(name = "set", skip_all, fields(name = self.name.as_deref()))]
    pub(super) async fn run(&mut self) -> Result<ResolvedSet> {
        let (mut lock, is_kept) = Box::pin(self.lock()).await?;
        let mut wheels = Box::pin(self.make_wheels(&mut lock)).await?;
        let packages = lock.packages.iter();
        let worker = self.worker.as_ref();
        Ok(ResolvedSet {
            wheels: packages
                .filter_map(|package| wheels.remove(&package.name))
                .collect(),
            name: self.name.clone(),
            build_only: self.build_only,
            request: self.context.request.clone(),
            lock,
            is_kept,
            bytes_fetched: worker.map_or(0, |worker| worker.bytes_fetched()),
            time_fetching: worker.map_or(Duration::ZERO, |worker| worker.time_fetching()),
        })
    }

    /// Locks the set and plans its wheels.
    ///
    /// # Errors
    /// When the set cannot be resolved.
    pub(super) async fn preview(&mut self) -> Result<Preview> {
        let (lock, _) = Box::pin(self.lock()).await?;
        let inventory = cached_wheels::inventory(&self.context, &lock).await?;
        let plan = Plan::new(&lock, &inventory);
        Ok(Preview {
            lock,
            plan,
            additional_sets: BTreeMap::new(),
        })
    }

    /// Reads the previous lock of the set.
    ///
    /// # Errors
    /// As [`RunContext::previous_lock`].
    pub(super) async fn previous_lock(&self) -> Result<PreviousLock> {
        let trees = &self.context.trees;
        let name = self.name.as_deref();
        self.context
            .previous_lock(name, &self.fingerprint, trees, true)
            .await
    }

    /// Returns the worker, which is started by the first call.
    ///
    /// # Errors
    /// When the engine cannot be started.
    pub(super) async fn worker(&mut self) -> Result<Rc<LocalWorker>> {
        if let Some(worker) = &self.worker {
            return Ok(Rc::clone(worker));
        }
        let worker = LocalWorker::start(Rc::clone(&self.context), self.prefetch).await?;
        self.worker = Some(Rc::clone(&worker));
        Ok(worker)
    }

    /// Keeps the previous lock, or resolves the set. Returns whether the lock was kept, too.
    async fn lock(&mut self) -> Result<(Lock, bool)> {
        let locked = match self.previous_lock().await? {
            PreviousLock::Current(lock) => {
                self.context.report_lock(&lock, true);
                return Ok((lock, true));
            }
            PreviousLock::Outdated(versions) => versions,
        };
        let mut preferences: BTreeMap<_, _> = locked.into_iter().collect();
        preferences.extend(self.preferences.drain(..));
        let preferences: Vec<_> = preferences.into_iter().collect();
        let worker = self.worker().await?;
        let context = &self.context;
        let hints = previous_lock::package_hints(&context.store, &self.fingerprint);
        debug!(
            preferences = preferences.len(),
            hints = hints.len(),
            "resolving"
        );
        worker.engine.prefetch(&hints);
        let prefetcher = Prefetcher::for_resolution(&worker);
        let resolving = worker
            .engine
            .resolve(&self.target, &preferences, &prefetcher);
        let resolved = context.during(Phase::Resolve, Box::pin(resolving)).await?;
        for warning in resolved.warnings {
            context.observer.observe(&Event::warning(warning));
        }
        let mut lock = resolved.lock;
        if let Some(path) = self.excluded_tree.clone() {
            let tree = Source::Tree { path };
            lock.packages.retain(|package| package.source != tree);
        }
        let trees = worker.trees.observe().await?;
        lock.request = self.lock_digest(&lock, &trees).await;
        previous_lock::save_package_hints(&context.store, &self.fingerprint, &lock);
        context.report_lock(&lock, false);
        self.report_changes(&lock);
        if self.warn_unknown_upgrades {
            let policy = &context.lock_policy;
            policy.warn_unknown_upgrades([&lock], &*context.observer);
        }
        Ok((lock, false))
    }

    async fn lock_digest(&self, lock: &Lock, trees: &BTreeMap<PathBuf, Sha256>) -> String {
        let pinned = previous_lock::trees(lock);
        let context = &self.context;
        context.lock_digest(&self.fingerprint, &pinned, trees).await
    }

    /// Reports the versions that differ from those of the lock in the output.
    fn report_changes(&self, lock: &Lock) {
        let output = &self.context.output;
        let path = output.join(lock_name(self.name.as_deref()));
        let Some(before) = previous_lock::versions(output, &path) else {
            return;
        };
        let after = lock.packages.iter();
        let after = after.map(|package| (package.name.clone(), package.version.clone()));
        for change in version_changes(&before, &after.collect::<Vec<_>>()) {
            self.context.observer.observe(&Event::VersionChanged {
                package: change.name.to_string(),
                from: change.from,
                to: change.to,
            });
        }
    }

    /// Makes the wheels of `lock` and returns them by package. Builds of local trees may read files beside
    /// the tree, whose digests become part of the lock's.
    async fn make_wheels(
        &mut self,
        lock: &mut Lock,
    ) -> Result<BTreeMap<PackageName, WheelArtifact>> {
        let context = Rc::clone(&self.context);
        let plan = Plan::new(lock, &cached_wheels::inventory(&context, lock).await?);
        let making = async {
            let is_cached = |action: &Action| matches!(action, Action::Reuse { .. });
            let needs_worker = !plan.steps.iter().all(|step| is_cached(&step.action));
            if needs_worker {
                self.worker().await?;
            }
            let worker = self.worker.as_ref();
            debug!(steps = plan.steps.len(), needs_worker, "executing the plan");
            let seam = worker.map(|worker| worker as &dyn Worker);
            let wheels = executor::run(&plan, &context, seam).await?;
            if let Some(worker) = worker {
                let trees = worker.trees.observe().await?;
                lock.request = self.lock_digest(lock, &trees).await;
            }
            Ok(wheels)
        };
        context.during(Phase::Execute, making).await
    }
}
