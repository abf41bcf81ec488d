//! Executing: from a request to a published wheelhouse.
//!
//! 1. The lock of an earlier run is kept while it answers the same request; otherwise the engine
//!    resolves, and [`worker`] fetches and builds ahead what comes in sight.
//! 2. The lock and what the store has make a plan.
//! 3. The steps of the plan run concurrently within limits, through the [`Worker`] seam.
//! 4. The wheels become the output directory.
//!
//! Everything that happens is told as an event. This room never prints, and never reads options
//! or the environment.

mod build_closure;
mod cached_wheels;
mod check_metadata;
pub mod download;
mod executor;
mod local_trees;
pub mod lock;
mod platform_fit;
mod previous_lock;
mod publish;
pub mod supplement;
pub mod worker;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use wheelhouse_engine::{Engine, EngineOptions, Host};
use wheelhouse_types::event::seconds;
use wheelhouse_types::lock::version_changes;
use wheelhouse_types::target::{Choice, Platform};
use wheelhouse_types::{
    Action, Error, Event, Kind, Lock, Observer, PackageName, Phase, Plan, Request, Result, Sha256,
    Source, Step, Target, Version,
};

pub(crate) use worker::provider::examine;
pub use worker::{Made, Worker};

use local_trees::TreeReader;
use publish::{Finished, ResolvedSet};
use supplement::Supplement;
use wheelhouse_publish::Published;
use wheelhouse_store::{LinkMode, Store};
use worker::provider::Ahead;
use worker::{LocalWorker, State};

/// What a run is to do.
pub struct Job {
    pub request: Request,
    /// Sets that are resolved by themselves and come into the same output.
    pub supplements: Vec<Supplement>,
    /// The interpreter that the request means, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    pub store: Store,
    /// The directory that gets the wheels.
    pub output: PathBuf,
    /// The system that all wheels have to fit, which may be older than the host.
    pub platform: Option<Platform>,
    /// Whether a warning says which wheels do not fit common systems.
    pub warns_of_new_systems: bool,
    pub link_mode: LinkMode,
    pub reuse: Reuse,
    /// Whether a failed step leaves the others to go on; all failures are told at the end.
    pub keep_going: bool,
}

/// What becomes of the lock that the output has from an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is kept if it answers the same request; else its versions are preferred.
    Prefer,
    /// Its versions are preferred, but for these packages the newest are chosen.
    UpgradeOnly(Vec<PackageName>),
    /// It is left aside: the newest versions are chosen.
    Upgrade,
    /// It must answer the request; no index is asked.
    Frozen,
}

impl Reuse {
    /// Whether a lock that answers the request `answered` will do for `wanted`.
    fn keeps(&self, answered: &str, wanted: &str) -> bool {
        answered == wanted && matches!(self, Self::Prefer | Self::Frozen)
    }

    /// Whether indexes are asked for what they said a while ago.
    fn asks_again(&self) -> bool {
        matches!(self, Self::Upgrade | Self::UpgradeOnly(_))
    }

    /// Warns of the packages that are named for an upgrade, and are in none of `locks`.
    fn warn_of_strangers<'a>(
        &self,
        locks: impl IntoIterator<Item = &'a Lock>,
        observer: &dyn Observer,
    ) {
        let Self::UpgradeOnly(names) = self else {
            return;
        };
        let packages = locks.into_iter().flat_map(|lock| &lock.packages);
        let known: BTreeSet<_> = packages.map(|package| &package.name).collect();
        for name in names.iter().filter(|name| !known.contains(name)) {
            let message = format!("`{name}`, which is to be upgraded, is not needed");
            observer.observe(&Event::warning(message));
        }
    }

    /// Which of the versions of a lock are chosen again where they fit.
    fn preferences(&self, pins: Vec<(PackageName, Version)>) -> Vec<(PackageName, Version)> {
        let is_kept = |name: &PackageName| match self {
            Self::Upgrade => false,
            Self::UpgradeOnly(names) => !names.contains(name),
            Self::Prefer | Self::Frozen => true,
        };
        pins.into_iter().filter(|(name, _)| is_kept(name)).collect()
    }
}

/// What a run would do.
pub struct Preview {
    pub lock: Lock,
    pub plan: Plan,
    /// The supplements, by name.
    pub supplements: BTreeMap<String, Preview>,
}

/// What a run has done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub fetched: usize,
    pub built: usize,
    pub reused: usize,
    /// How many of these are source distributions.
    pub sdists: usize,
    /// The size of all wheels.
    pub bytes: u64,
    /// What came over the network.
    pub bytes_fetched: u64,
    /// For how long.
    pub time_fetching: Duration,
    /// Files in the output that no run put there.
    pub foreign: Vec<String>,
}

/// Makes the wheelhouse of `job`.
///
/// # Errors
/// Whatever stood in the way, of the kind that tells its class; with `keep_going` the detail lists
/// every failure. The output stays as it was before.
pub async fn build(job: Job, observer: Arc<dyn Observer>) -> Result<Report> {
    let mut run = Run::start(job, observer, true).await?;
    let (mut lock, is_kept) = run.lock().await?;
    let made = run.carry_out(&mut lock).await?;
    let mut sets = vec![run.resolved_set(lock, is_kept, made)];
    for supplement in std::mem::take(&mut run.job.supplements) {
        sets.extend(run.supply(supplement, &sets[0].lock).await?);
    }
    run.finish(sets).await
}

/// Plans `job` and does nothing of it, except that metadata may be asked of build backends.
///
/// # Errors
/// As [`build`].
pub async fn preview(job: Job, observer: Arc<dyn Observer>) -> Result<Preview> {
    let mut run = Run::start(job, observer, false).await?;
    let mut preview = run.preview().await?;
    for supplement in std::mem::take(&mut run.job.supplements) {
        let name = supplement.name.clone();
        let planned = Box::pin(run.preview_supplement(supplement, &preview.lock)).await?;
        preview.supplements.extend(planned.map(|it| (name, it)));
    }
    Ok(preview)
}

/// One run on its way.
struct Run {
    job: Job,
    observer: Arc<dyn Observer>,
    target: Target,
    /// The target of this machine, which is another one if an older system is asked for.
    host_target: Target,
    /// The host until the engine takes it.
    host: Option<Host>,
    /// Started when the store and an earlier lock do not suffice.
    worker: Option<Rc<LocalWorker>>,
    /// Whether candidates are fetched and built ahead.
    ahead: bool,
    fingerprint: String,
    /// The digests of local trees that requirements name.
    trees: BTreeMap<PathBuf, Sha256>,
    /// The name of the supplement that is made; `None` for the set of the request itself.
    set: Option<String>,
    /// Whether the set serves builds and tools only.
    build_only: bool,
    /// Versions that are chosen where they fit and no earlier lock prefers others.
    preferred: Vec<(PackageName, Version)>,
    /// A tree among the requirements of which no wheel is made.
    left_out: Option<PathBuf>,
}

impl Run {
    async fn start(mut job: Job, observer: Arc<dyn Observer>, ahead: bool) -> Result<Self> {
        job.request.resolution.refresh |= job.reuse.asks_again();
        job.store = job
            .store
            .believing(wheelhouse_publish::unchanged(&job.output));
        let cache = job.store.root().join("uv");
        let python = job.request.python.as_deref();
        let host = Host::discover(python, job.python.as_deref(), &cache).await?;
        let host_target = host.target();
        let target = match &job.platform {
            Some(platform) => platform_fit::restricted(&host_target, platform)?,
            None => host_target.clone(),
        };
        observer.observe(&Event::of_target(&target));
        let reader = TreeReader::new(&job.store, &job.output);
        let (texts, trees) = previous_lock::local_digests(&job.request, &reader).await?;
        Ok(Self {
            fingerprint: job.request.fingerprint(&target, &texts),
            job,
            observer,
            target,
            host_target,
            host: Some(host),
            worker: None,
            ahead,
            trees,
            set: None,
            build_only: false,
            preferred: Vec::new(),
            left_out: None,
        })
    }

    /// Returns the lock of an earlier run, if there is one of use, and whether it answers the request.
    async fn earlier(&self) -> Result<Option<(Lock, bool)>> {
        let (output, reuse) = (&self.job.output, &self.job.reuse);
        let path = output.join(lock::lock_name(self.set.as_deref()));
        let warn = |text| self.observer.observe(&Event::warning(text));
        let earlier = previous_lock::read(&self.job.store, output, &path, reuse, warn)?;
        let wanted = self.answer(earlier.as_ref(), &self.trees).await;
        match earlier {
            Some(lock) if reuse.keeps(&lock.request, &wanted) => Ok(Some((lock, true))),
            earlier if *reuse == Reuse::Frozen => {
                Err(previous_lock::not_frozen(&path, earlier.is_some()))
            }
            earlier => Ok(earlier.map(|lock| (lock, false))),
        }
    }

    /// Tells how `lock` differs from the lock that the output has of the same set.
    fn tell_changes(&self, lock: &Lock) {
        let output = &self.job.output;
        let path = output.join(lock::lock_name(self.set.as_deref()));
        let Some(before) = previous_lock::versions(output, &path) else {
            return;
        };
        let after = lock.packages.iter();
        let after: Vec<_> = after
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect();
        for change in version_changes(&before, &after) {
            self.observer.observe(&Event::VersionChanged {
                package: change.name.to_string(),
                from: change.from,
                to: change.to,
            });
        }
    }

    /// Keeps the lock of an earlier run, or resolves. Returns whether it was kept, too.
    async fn lock(&mut self) -> Result<(Lock, bool)> {
        let mut preferences = BTreeMap::new();
        match self.earlier().await? {
            Some((lock, true)) => {
                self.locked(&lock, true);
                return Ok((lock, true));
            }
            Some((lock, false)) => {
                let pins = lock.packages.into_iter();
                let pins = pins.map(|package| (package.name, package.version));
                preferences.extend(self.job.reuse.preferences(pins.collect()));
            }
            None => {}
        }
        preferences.extend(self.preferred.drain(..));
        let preferences: Vec<_> = preferences.into_iter().collect();
        let worker = self.worker().await?;
        self.phase_started(Phase::Resolve);
        worker
            .engine
            .prefetch(&previous_lock::expected(&self.job.store, &self.fingerprint));
        let begun = Instant::now();
        let resolved = worker
            .engine
            .resolve(&self.target, &preferences, &Ahead::of_resolution(&worker))
            .await?;
        self.phase_finished(Phase::Resolve, begun);
        for warning in resolved.warnings {
            self.observer.observe(&Event::warning(warning));
        }
        let mut lock = resolved.lock;
        if let Some(path) = self.left_out.clone() {
            let tree = Source::Tree { path };
            lock.packages.retain(|package| package.source != tree);
        }
        let trees = worker.observed_trees().await?;
        lock.request = self.answer(Some(&lock), &trees).await;
        previous_lock::expect(&self.job.store, &self.fingerprint, &lock);
        self.locked(&lock, false);
        self.tell_changes(&lock);
        if self.set.is_none() && self.job.supplements.is_empty() {
            self.job.reuse.warn_of_strangers([&lock], &*self.observer);
        }
        Ok((lock, false))
    }

    /// What `lock` is known by when it answers the request; the digests of some `trees` are known.
    async fn answer(&self, lock: Option<&Lock>, trees: &BTreeMap<PathBuf, Sha256>) -> String {
        let named = lock.map(previous_lock::trees).unwrap_or_default();
        let reader = TreeReader::new(&self.job.store, &self.job.output);
        let digests = previous_lock::digests_of(&named, &reader, trees).await;
        previous_lock::answer(&self.fingerprint, &digests)
    }

    fn locked(&self, lock: &Lock, kept: bool) {
        self.observer.observe(&Event::Locked {
            packages: lock.packages.len(),
            kept,
        });
    }

    /// The worker, started when it is needed for the first time.
    async fn worker(&mut self) -> Result<Rc<LocalWorker>> {
        if let (None, Some(host)) = (&self.worker, self.host.take()) {
            let begin = Begin {
                host,
                target: self.host_target.clone(),
                request: self.job.request.clone(),
                store: self.job.store.clone(),
                observer: Arc::clone(&self.observer),
                output: self.job.output.clone(),
                trees: self.trees.clone(),
                fetch_ahead: self.ahead,
                build_ahead: self.ahead,
                keep_going: self.job.keep_going,
            };
            self.worker = Some(begin_worker(begin).await?);
        }
        match &self.worker {
            Some(worker) => Ok(Rc::clone(worker)),
            None => Err(Error::new(Kind::Input, "the engine failed to start")),
        }
    }

    /// Makes the wheels of `lock` and returns them by package. What the builds of local trees looked at becomes part
    /// of what the lock is known by.
    async fn carry_out(&mut self, lock: &mut Lock) -> Result<BTreeMap<PackageName, Made>> {
        let plan = &Plan::new(lock, &self.inventory(lock)?);
        self.phase_started(Phase::Execute);
        let begun = Instant::now();
        let at_hand = |step: &Step| matches!(step.action, Action::Reuse { .. });
        let worker = if self.worker.is_none() && plan.steps.iter().all(at_hand) {
            None
        } else {
            Some(self.worker().await?)
        };
        let made = executor::run(plan, self, worker.as_ref()).await?;
        if let Some(worker) = &worker {
            let trees = worker.observed_trees().await?;
            lock.request = self.answer(Some(lock), &trees).await;
        }
        self.phase_finished(Phase::Execute, begun);
        Ok(made)
    }

    async fn preview(&mut self) -> Result<Preview> {
        let (lock, _) = self.lock().await?;
        let plan = Plan::new(&lock, &self.inventory(&lock)?);
        Ok(Preview {
            lock,
            plan,
            supplements: BTreeMap::new(),
        })
    }

    fn resolved_set(
        &self,
        lock: Lock,
        is_kept: bool,
        mut made: BTreeMap<PackageName, Made>,
    ) -> ResolvedSet {
        let (wheels, worker) = (lock.packages.iter(), self.worker.as_ref());
        ResolvedSet {
            made: wheels
                .filter_map(|package| made.remove(&package.name))
                .collect(),
            name: self.set.clone(),
            build_only: self.build_only,
            request: self.job.request.clone(),
            lock,
            is_kept,
            bytes_fetched: worker.map_or(0, |worker| worker.bytes_fetched()),
            time_fetching: worker.map_or(Duration::ZERO, |worker| worker.time_fetching()),
        }
    }

    /// Publishes the sets, of which that of the request is the first.
    async fn finish(self, sets: Vec<ResolvedSet>) -> Result<Report> {
        if self.job.platform.is_some() {
            platform_fit::check(&sets, &self.target)?;
        } else if self.job.warns_of_new_systems {
            platform_fit::warn(&sets, &*self.observer);
        }
        self.phase_started(Phase::Publish);
        let publish_begun = Instant::now();
        let mut report = publish::report(&sets);
        let finished = Finished {
            target: self.target.clone(),
            sets,
            store: self.job.store.clone(),
            output: self.job.output.clone(),
            link_mode: self.job.link_mode,
            observer: Arc::clone(&self.observer),
        };
        let published =
            wheelhouse_fs::interruption::blocking(move || publish::publish(finished)).await?;
        tell(&*self.observer, &self.job.output, &published);
        report.foreign = published.foreign;
        self.phase_finished(Phase::Publish, publish_begun);
        Ok(report)
    }

    fn phase_started(&self, phase: Phase) {
        self.observer.observe(&Event::PhaseStarted { phase });
    }

    fn phase_finished(&self, phase: Phase, begun: Instant) {
        let seconds = seconds(begun.elapsed());
        self.observer
            .observe(&Event::PhaseFinished { phase, seconds });
    }
}

/// For which targets a job is done.
pub struct Audience {
    pub targets: Choice,
    pub admit: Admit,
}

/// Gives an error for a target that the inputs do not serve.
pub type Admit = Box<dyn Fn(&Target) -> Result<()> + Send>;

impl Audience {
    /// The targets, all of them served, on a machine that is `host`. They are told of.
    fn settle(&self, host: &Target, observer: &dyn Observer) -> Result<Vec<Target>> {
        let targets = self.targets.targets(host);
        for target in &targets {
            (self.admit)(target)?;
            observer.observe(&Event::of_target(target));
        }
        Ok(targets)
    }
}

/// What a worker begins with.
struct Begin {
    host: Host,
    target: Target,
    request: Request,
    store: Store,
    observer: Arc<dyn Observer>,
    output: PathBuf,
    trees: BTreeMap<PathBuf, Sha256>,
    fetch_ahead: bool,
    build_ahead: bool,
    keep_going: bool,
}

async fn begin_worker(begin: Begin) -> Result<Rc<LocalWorker>> {
    let setup = EngineOptions {
        host: begin.host,
        request: &begin.request,
        logs: &begin.store.root().join("logs"),
        observer: Arc::clone(&begin.observer),
    };
    Ok(Rc::new(LocalWorker {
        tree_reader: TreeReader::new(&begin.store, &begin.output),
        engine: Engine::start(setup).await?,
        request: begin.request,
        target: begin.target,
        store: begin.store,
        observer: begin.observer,
        fetch_ahead: begin.fetch_ahead,
        build_ahead: begin.build_ahead,
        keep_going: begin.keep_going,
        fetches: Arc::new(Semaphore::new(worker::FETCHES)),
        state: RefCell::new(State::new(begin.trees)),
    }))
}

/// Tells what publishing removed, and found in the way.
fn tell(observer: &dyn Observer, output: &Path, published: &Published) {
    let output = output.display();
    let files = published.removed_distributions();
    if !files.is_empty() {
        observer.observe(&Event::Removed {
            directory: output.to_string(),
            files,
        });
    }
    let told = [
        (
            &published.replaced_since,
            "was replaced since an earlier run and was left alone",
        ),
        (
            &published.overwritten,
            "stood in the way of a file of the wheelhouse and was replaced",
        ),
    ];
    for (names, what) in told {
        for name in names {
            observer.observe(&Event::warning(format!("{output}/{name} {what}")));
        }
    }
    for warning in &published.warnings {
        observer.observe(&Event::warning(warning));
    }
}
