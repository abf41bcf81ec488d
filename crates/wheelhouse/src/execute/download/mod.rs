//! Downloading: everything that building and installing will ever need, for every target at once.
//!
//! 1. Each target is resolved on its own, for its own markers and tags; all at the same time.
//! 2. [`gather`](gather) fetches, for each target, the files of its lock as they were published, and the
//!    build closure of each sdist among them. Whatever several targets need is had once.
//! 3. [`publish`](publish) makes the output directory of all of it.
//!
//! Nothing is built here but what tells the requirements of others, and what turns out to serve
//! every platform.

mod gather;
mod publish;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use wheelhouse_engine::{BuildRequirements, Host};
use wheelhouse_model::event::seconds;
use wheelhouse_model::target::Choice;
use wheelhouse_model::{Event, Lock, Observer, Phase, Request, Result, Target};

use super::ahead::Ahead;
use super::fetch::blocking;
use super::worker::LocalWorker;
use super::{Begin, Report, begin_worker, earlier, tell};
use crate::store::{LinkMode, Store};
use gather::{Gathered, Gathering};
use publish::Downloaded;

/// What a download is to do.
pub struct Job {
    pub request: Request,
    /// The interpreter that the request means, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    pub store: Store,
    /// The directory that gets the files.
    pub output: PathBuf,
    pub link_mode: LinkMode,
    pub targets: Choice,
    /// Refuses a target that the inputs do not serve.
    pub admit: Admit,
    /// Whether the newest pip, setuptools and wheel for each target come along.
    pub bootstrap: bool,
    pub sources: Sources,
}

/// Gives an error for a target that is not served.
pub type Admit = Box<dyn Fn(&Target) -> Result<()> + Send>;

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
/// Whatever stood in the way, of the kind that tells its class. The output stays as it was before.
pub async fn download(job: Job, observer: Arc<dyn Observer>) -> Result<Report> {
    let begun = Instant::now();
    let run = Run::start(job, observer).await?;
    let gathered = run.gather().await?;
    run.finish(gathered, begun).await
}

/// One download on its way.
struct Run {
    request: Request,
    store: Store,
    output: PathBuf,
    link_mode: LinkMode,
    bootstrap: bool,
    sources: Sources,
    observer: Arc<dyn Observer>,
    targets: Vec<Target>,
    worker: Rc<LocalWorker>,
    /// The digests of local trees and files, by the texts of their requirements.
    texts: std::collections::BTreeMap<String, wheelhouse_model::Sha256>,
}

impl Run {
    async fn start(job: Job, observer: Arc<dyn Observer>) -> Result<Self> {
        let cache = job.store.root().join("uv");
        let python = job.request.python.as_deref();
        let host = Host::discover(python, job.python.as_deref(), &cache).await?;
        let host_target = host.target();
        let targets = job.targets.targets(&host_target);
        for target in &targets {
            (job.admit)(target)?;
            let python = target.interpreter.as_deref();
            observer.observe(&Event::Target {
                label: target.label(),
                python: python.unwrap_or(Path::new("")).display().to_string(),
            });
        }
        let (texts, trees) = earlier::local_digests(&job.request, &job.output).await?;
        let worker = begin_worker(Begin {
            host,
            target: host_target,
            request: job.request.clone(),
            store: job.store.clone(),
            observer: Arc::clone(&observer),
            output: job.output.clone(),
            trees,
            fetch_ahead: true,
            build_ahead: false,
            keep_going: false,
        });
        Ok(Self {
            worker: worker.await?,
            request: job.request,
            store: job.store,
            output: job.output,
            link_mode: job.link_mode,
            bootstrap: job.bootstrap,
            sources: job.sources,
            observer,
            targets,
            texts,
        })
    }

    /// Resolves and fetches for all targets.
    async fn gather(&self) -> Result<Vec<Gathered>> {
        self.observer.observe(&Event::PhaseStarted {
            phase: Phase::Resolve,
        });
        let begun = Instant::now();
        let gathered = self.targets.iter().map(|target| self.gather_for(target));
        let gathered = try_join_all(gathered.collect::<Vec<_>>()).await?;
        self.observer.observe(&Event::PhaseFinished {
            phase: Phase::Resolve,
            seconds: seconds(begun.elapsed()),
        });
        Ok(gathered)
    }

    async fn gather_for(&self, target: &Target) -> Result<Gathered> {
        let companion = Ahead::of_resolution(&self.worker);
        let engine = &self.worker.engine;
        let resolved = engine.resolve(target, &companion).await;
        let resolved = resolved.map_err(|error| self.of_target(error, target))?;
        for warning in resolved.warnings {
            self.observer.observe(&Event::warning(warning));
        }
        self.observer.observe(&Event::Locked {
            packages: resolved.lock.packages.len(),
            kept: false,
        });
        let lock = Lock {
            request: self.request.fingerprint(target, &self.texts),
            ..resolved.lock
        };
        let gathering = Gathering {
            worker: &self.worker,
            companion: &companion,
            target,
        };
        let sources = match self.sources {
            Sources::Needed => std::collections::BTreeMap::new(),
            Sources::All => resolved.sdists,
        };
        let bootstrap = self.bootstrap_requirements()?;
        let gathered = gathering.gather(lock, &sources, &bootstrap);
        let gathered = gathered
            .await
            .map_err(|error| self.of_target(error, target))?;
        self.observer.observe(&gathered.event());
        Ok(gathered)
    }

    fn bootstrap_requirements(&self) -> Result<BuildRequirements> {
        let names: &[&str] = if self.bootstrap { &BOOTSTRAP } else { &[] };
        let texts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        BuildRequirements::parse(&texts)
    }

    /// Says which target `error` is about, where there are several.
    fn of_target(
        &self,
        error: wheelhouse_model::Error,
        target: &Target,
    ) -> wheelhouse_model::Error {
        let is_host = target.interpreter.is_some();
        if is_host && self.targets.len() == 1 {
            return error;
        }
        wheelhouse_model::Error::new(error.kind(), format!("{} cannot be served", target.label()))
            .caused_by(error)
    }

    async fn finish(self, gathered: Vec<Gathered>, begun: Instant) -> Result<Report> {
        let published = Instant::now();
        self.observer.observe(&Event::PhaseStarted {
            phase: Phase::Publish,
        });
        let bytes_fetched = self.worker.bytes_fetched();
        let downloaded = Downloaded::new(&self.request, gathered)?;
        let mut report = downloaded.report();
        report.bytes_fetched = bytes_fetched;
        let (store, output, mode) = (self.store.clone(), self.output.clone(), self.link_mode);
        let put = blocking(move || downloaded.publish(&store, &output, mode)).await?;
        tell(&*self.observer, &self.output, &put);
        report.foreign = put.foreign;
        self.observer.observe(&Event::PhaseFinished {
            phase: Phase::Publish,
            seconds: seconds(published.elapsed()),
        });
        self.observer.observe(&Event::Finished {
            directory: self.output.display().to_string(),
            fetched: report.fetched,
            built: report.built,
            reused: report.reused,
            sdists: report.sdists,
            bytes: report.bytes,
            bytes_fetched: report.bytes_fetched,
            seconds: seconds(begun.elapsed()),
        });
        Ok(report)
    }
}
