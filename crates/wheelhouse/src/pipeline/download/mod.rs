//! Downloading: everything that building and installing will ever need, for every target at once.
//!
//! 1. Each target is [settled](resolve) on its own, for its own markers and tags; all at the same time.
//! 2. [`collect`](collect) fetches, for each target, the files of its lock as they were published, and the
//!    build closure of each sdist among them. Whatever several targets need is had once.
//! 3. [`publish`](publish) makes the output directory of all of it.
//!
//! Nothing is built here but what tells the requirements of others, and what turns out to serve
//! every platform.

mod collect;
mod publish;
mod resolve;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures::future::{join_all, try_join_all};
use wheelhouse_engine::{BuildRequirements, Host, WheelCompatibility};
use wheelhouse_types::event::seconds;
use wheelhouse_types::{
    Action, Error, Event, Lock, Observer, Phase, Plan, Request, Result, Sha256, Source, Step,
    Target,
};

use super::check_metadata::{self, Member};
use super::local_trees::TreeReader;
use super::worker::LocalWorker;
use super::worker::provider::Ahead;
use super::{Audience, Begin, Preview, Report, Reuse, begin_worker, executor, previous_lock, tell};
use collect::{Gathered, Gathering, Gotten, has_wheel_name};
use publish::Downloaded;
use resolve::Settled;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_publish::unchanged;
use wheelhouse_store::{LinkMode, Store};

/// What a download is to do.
pub struct Job {
    pub request: Request,
    /// The interpreter that the request means, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    pub store: Store,
    /// The directory that gets the files.
    pub output: PathBuf,
    pub link_mode: LinkMode,
    pub audience: Audience,
    /// Whether the newest pip, setuptools and wheel for each target come along.
    pub bootstrap: bool,
    pub sources: Sources,
    pub reuse: Reuse,
    /// Whether what fails leaves the rest to go on; all failures are told at the end.
    pub keep_going: bool,
    /// Whether all targets must have the same version of a package.
    pub same_versions: bool,
}

/// Which sdists are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Where there is no wheel.
    Needed,
    /// Those of everything, with what building them needs.
    All,
}

/// What every new environment starts with.
const BOOTSTRAP: [&str; 3] = ["pip", "setuptools", "wheel"];

/// Fetches what `job` needs into its output.
///
/// # Errors
/// Whatever stood in the way, of the kind that tells its class; with `keep_going` the detail lists
/// every failure. The output stays as it was before.
pub async fn download(job: Job, observer: Arc<dyn Observer>) -> Result<Report> {
    let run = Run::start(job, observer, true).await?;
    let settled = run.during(Phase::Resolve, run.settle()).await?;
    let gathered = run.during(Phase::Execute, run.gather(settled)).await?;
    run.during(Phase::Publish, run.publish(gathered)).await
}

/// What `job` would fetch for each target, and the sdists among that. Build requirements are not known
/// before the sdists are here.
///
/// # Errors
/// As [`download`].
pub async fn preview(job: Job, observer: Arc<dyn Observer>) -> Result<Vec<(Target, Preview)>> {
    let run = Run::start(job, observer, false).await?;
    let settled = run.during(Phase::Resolve, run.settle()).await?;
    let previews = settled.into_iter().map(|one| {
        let plan = run.plan(&one.lock)?;
        let preview = Preview {
            lock: one.lock,
            plan,
            supplements: BTreeMap::new(),
        };
        Ok((one.target, preview))
    });
    let previews = previews.collect::<Result<_>>()?;
    run.check_failures()?;
    Ok(previews)
}

/// One download on its way.
struct Run {
    request: Request,
    store: Store,
    output: PathBuf,
    link_mode: LinkMode,
    bootstrap: bool,
    sources: Sources,
    reuse: Reuse,
    keep_going: bool,
    same_versions: bool,
    observer: Arc<dyn Observer>,
    targets: Vec<Target>,
    worker: Rc<LocalWorker>,
    /// The digests of local trees and files, by the texts of their requirements.
    texts: BTreeMap<String, Sha256>,
    /// What failed so far while the rest goes on.
    failures: RefCell<Vec<Error>>,
    /// What was said of metadata, once for all targets.
    flaws: RefCell<BTreeSet<String>>,
}

impl Run {
    async fn start(mut job: Job, observer: Arc<dyn Observer>, fetch_ahead: bool) -> Result<Self> {
        job.request.resolution.refresh |= job.reuse.asks_again();
        job.store = job.store.believing(unchanged(&job.output));
        let cache = job.store.root().join("uv");
        let python = job.request.python.as_deref();
        let host = Host::discover(python, job.python.as_deref(), &cache).await?;
        let host_target = host.target();
        let targets = job.audience.settle(&host_target, &*observer)?;
        let reader = TreeReader::new(&job.store, &job.output);
        let (texts, trees) = previous_lock::local_digests(&job.request, &reader).await?;
        let worker = begin_worker(Begin {
            host,
            target: host_target,
            request: job.request.clone(),
            store: job.store.clone(),
            observer: Arc::clone(&observer),
            output: job.output.clone(),
            trees,
            fetch_ahead,
            build_ahead: false,
            keep_going: job.keep_going,
        });
        Ok(Self {
            worker: worker.await?,
            request: job.request,
            store: job.store,
            output: job.output,
            link_mode: job.link_mode,
            bootstrap: job.bootstrap,
            sources: job.sources,
            reuse: job.reuse,
            keep_going: job.keep_going,
            same_versions: job.same_versions,
            observer,
            targets,
            texts,
            failures: RefCell::default(),
            flaws: RefCell::default(),
        })
    }

    /// Tells when `work` begins and ends.
    async fn during<T>(&self, phase: Phase, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.observer.observe(&Event::PhaseStarted { phase });
        let begun = Instant::now();
        let outcome = work.await?;
        let seconds = seconds(begun.elapsed());
        self.observer
            .observe(&Event::PhaseFinished { phase, seconds });
        Ok(outcome)
    }

    /// The results of `work`, one for each target. What fails ends all, or waits for
    /// [`check_failures`](Self::check_failures) while the others go on.
    async fn all<T>(
        &self,
        work: impl Iterator<Item = impl Future<Output = Result<T>>>,
    ) -> Result<Vec<T>> {
        if !self.keep_going {
            return try_join_all(work).await;
        }
        let outcomes = join_all(work).await;
        let (mut all, mut failures) = (Vec::new(), self.failures.borrow_mut());
        for outcome in outcomes {
            match outcome {
                Ok(one) => all.push(one),
                Err(error) => failures.push(error),
            }
        }
        Ok(all)
    }

    /// # Errors
    /// When a target failed; every failure is in it.
    fn check_failures(&self) -> Result<()> {
        let count = self.targets.len();
        let summary = |failed| format!("{failed} of {count} targets cannot be served");
        executor::summary(self.failures.take(), summary).map_or(Ok(()), Err)
    }

    /// Gets the files of all targets.
    async fn gather(&self, settled: Vec<Settled>) -> Result<Vec<Gathered>> {
        let gathering = settled.into_iter().map(|one| async {
            let target = one.target.clone();
            let gathered = self.gather_for(one).await;
            gathered.map_err(|error| self.of_target(error, &target))
        });
        let gathered = self.all(gathering).await?;
        self.check_failures()?;
        Ok(gathered)
    }

    async fn gather_for(&self, settled: Settled) -> Result<Gathered> {
        let gathering = Gathering {
            worker: &self.worker,
            companion: &Ahead::of_target(&self.worker, &settled.target),
            fit: WheelCompatibility::new(&settled.target),
            settled: &settled,
        };
        let gathered = gathering.gather(&self.bootstrap_requirements()?).await?;
        self.check_closed(&gathered, settled.is_kept)?;
        self.observer.observe(&gathered.event());
        Ok(gathered)
    }

    fn check_closed(&self, gathered: &Gathered, is_kept: bool) -> Result<()> {
        let locked = || gathered.files.iter().filter(|file| file.is_locked);
        let metadata = locked().map(|file| self.metadata(file));
        let metadata: Vec<_> = metadata.collect::<Result<_>>()?;
        let members = locked().zip(&metadata).filter_map(|(file, metadata)| {
            Some(Member {
                name: &file.distribution.name,
                version: file.distribution.version.as_ref()?,
                metadata: metadata.as_deref(),
            })
        });
        let members: Vec<_> = members.collect();
        for flaw in check_metadata::flaws(&gathered.target, &members) {
            if self.flaws.borrow_mut().insert(flaw.clone()) {
                self.observer.observe(&Event::warning(flaw));
            }
        }
        check_metadata::check(&self.request, &gathered.target, &members, is_kept)
    }

    /// The metadata of a wheel; `None` for an sdist.
    fn metadata(&self, file: &Gotten) -> Result<Option<Vec<u8>>> {
        if !has_wheel_name(&file.filename) {
            return Ok(None);
        }
        let metadata = super::publish::metadata(&self.store, &file.stored, &file.filename)?;
        Ok(Some(metadata.bytes))
    }

    /// What there is to fetch of `lock`, and what has to be built in any case.
    fn plan(&self, lock: &Lock) -> Result<Plan> {
        let steps = lock.packages.iter().map(|package| {
            let at_hand = match &package.source {
                Source::Wheel(artifact) | Source::Sdist(artifact) => {
                    let stored = self.worker.stored(artifact, &package.required_hashes)?;
                    Some((artifact, stored))
                }
                Source::Tree { .. } | Source::Git { .. } => None,
            };
            let action = match at_hand {
                None => Action::Build,
                Some((artifact, None)) => Action::Fetch {
                    bytes: artifact.size,
                },
                Some((artifact, Some(stored))) => Action::Reuse {
                    sha256: stored.sha256,
                    filename: artifact.filename.clone(),
                },
            };
            let package = package.clone();
            Ok(Step { package, action })
        });
        let steps = steps.collect::<Result<_>>()?;
        Ok(Plan { steps })
    }

    fn bootstrap_requirements(&self) -> Result<BuildRequirements> {
        let names: &[&str] = if self.bootstrap { &BOOTSTRAP } else { &[] };
        let texts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        BuildRequirements::parse(&texts)
    }

    /// Says which target `error` is about, where there are several.
    fn of_target(&self, error: Error, target: &Target) -> Error {
        let is_host = target.interpreter.is_some();
        if is_host && self.targets.len() == 1 {
            return error;
        }
        Error::new(error.kind(), format!("{} cannot be served", target.label())).caused_by(error)
    }

    async fn publish(&self, gathered: Vec<Gathered>) -> Result<Report> {
        let downloaded = Downloaded::new(&self.request, gathered)?;
        let mut report = downloaded.report();
        report.bytes_fetched = self.worker.bytes_fetched();
        let (store, output, mode) = (self.store.clone(), self.output.clone(), self.link_mode);
        let put = blocking(move || downloaded.publish(&store, &output, mode)).await?;
        tell(&*self.observer, &self.output, &put);
        report.foreign = put.foreign;
        Ok(report)
    }
}
