//! Locks a request for one target or many, without downloading its wheels.
//!
//! 1. A lock that answers the same request is kept; the versions of another one are preferred.
//! 2. Each target is resolved on its own, with the build requirements of its sources; all at the same time.
//! 3. Each target gets its own lock, or all targets share one.
//!
//! Only files that provide metadata or build requirements are downloaded. The caller writes the locks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use futures::future::try_join_all;
use tracing::{debug, instrument};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::{VersionChange, version_changes};
use wheelhouse_types::pylock::{self, LockSummary};
use wheelhouse_types::toml_reader;
use wheelhouse_types::{
    Error, Event, Kind, Lock, Observer, PackageName, Phase, Result, Sha256, Target, Version,
};

use super::build_closure::ClosureResolver;
use super::context::{RunContext, RunInputs};
use super::lock_file::lock_name;
use super::lock_policy::LockPolicy;
use super::previous_lock;
use super::target_selection::TargetSelection;
use super::worker::{LocalWorker, Prefetch, Prefetcher};
use wheelhouse_fs::input;

/// The request for locks.
pub struct LockJob {
    /// The inputs that all runs share.
    pub inputs: RunInputs,
    /// The file or directory to write to.
    pub destination: LockDestination,
    /// The targets.
    pub targets: TargetSelection,
}

/// The paths of locks, which are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockDestination {
    /// `pylock.toml` in this directory, or `pylock.NAME.toml` for each of several targets.
    Directory(PathBuf),
    /// This file, for one target.
    File(PathBuf),
    /// This file, for all targets.
    Shared(PathBuf),
}

/// A lock, compared with the file at its path.
pub struct LockResult {
    /// The path.
    pub path: PathBuf,
    /// The targets.
    pub targets: Vec<Target>,
    /// The contents.
    pub text: String,
    /// The difference from the file that exists.
    pub change: LockChange,
    /// The versions that differ from those of the file.
    pub versions: Vec<VersionChange>,
    /// Other differences, one sentence each.
    pub differences: Vec<String>,
}

/// The difference between a lock and the file at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// The file does not exist.
    New,
    /// The file has other contents.
    Changed,
    /// The contents are equal.
    None,
}

/// Resolves the locks of `job`, and writes none of them.
///
/// # Errors
/// When an existing lock is not valid, or a target cannot be resolved.
#[instrument(name = "lock", skip_all)]
pub async fn lock(job: LockJob, observer: Arc<dyn Observer>) -> Result<Vec<LockResult>> {
    let context = RunContext::start(job.inputs, observer, |host| {
        let targets = job.targets.resolve(host)?;
        let output = job.destination.output(targets.len());
        Ok((targets, output))
    })
    .await?;
    let mut outputs = job.destination.outputs(&context)?;
    for output in &mut outputs {
        output.files.clone_from(&context.request.files);
        let trees = output.named_trees();
        output.trees = context.tree_digests(&trees, &context.trees).await;
    }
    let policy = &context.lock_policy;
    if outputs.iter().all(|output| output.is_kept(policy)) {
        return Ok(outputs.into_iter().map(LockFileOutput::kept).collect());
    }
    let context = Rc::new(context);
    let worker = LocalWorker::start(Rc::clone(&context), Prefetch::Nothing).await?;
    let locking = outputs.into_iter().map(|output| output.lock(&worker));
    context.during(Phase::Resolve, try_join_all(locking)).await
}

impl LockDestination {
    /// Returns the path that is ignored in local trees: that of the lock, or a pattern for those of several `targets`.
    fn output(&self, targets: usize) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.join(lock_name((targets > 1).then_some("*"))),
            Self::File(file) | Self::Shared(file) => file.clone(),
        }
    }

    /// Returns the locks for the targets of `context`.
    fn outputs(&self, context: &RunContext) -> Result<Vec<LockFileOutput>> {
        let output =
            |path: PathBuf, targets: &[Target]| LockFileOutput::read(path, targets, context);
        let targets = &context.targets;
        match self {
            Self::Shared(file) => Ok(vec![output(file.clone(), targets)?]),
            Self::File(file) if targets.len() == 1 => Ok(vec![output(file.clone(), targets)?]),
            Self::File(file) => {
                let message = format!("{} cannot be the lock of several targets", file.display());
                Err(Error::new(Kind::Input, message).with_hint(
                    "Name a directory to get one lock for each target, or use --universal for one lock for all.",
                ))
            }
            Self::Directory(directory) => {
                let names = Target::names(targets);
                let name = |name: String| lock_name((targets.len() > 1).then_some(&name));
                let paths = names.into_iter().map(|it| directory.join(name(it)));
                paths
                    .zip(targets.chunks(1))
                    .map(|(path, target)| output(path, target))
                    .collect()
            }
        }
    }
}

/// A lock with its targets, and the file at its path.
struct LockFileOutput {
    path: PathBuf,
    targets: Vec<Target>,
    /// The fingerprints of the request for each target.
    fingerprints: Vec<String>,
    text: Option<String>,
    summary: Option<LockSummary>,
    /// The current digests of the local trees that the text names.
    trees: BTreeSet<Option<Sha256>>,
    /// The local files from which the request was read.
    files: BTreeMap<PathBuf, Sha256>,
}

impl LockFileOutput {
    fn read(path: PathBuf, targets: &[Target], context: &RunContext) -> Result<Self> {
        let failed = || format!("failed to read {}", path.display());
        let text = match input::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(Kind::Input, failed),
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let summary = text
            .as_deref()
            .map(|text| pylock::summarize(text, directory));
        let summary = summary.transpose().map_err(|error| {
            let message = format!("{} exists and is not a valid lock", path.display());
            Error::new(Kind::Input, message)
                .with_hint("Remove it, or name another file with --output.")
                .caused_by(error)
        })?;
        let fingerprints = targets.iter().map(|target| context.fingerprint(target));
        Ok(Self {
            fingerprints: fingerprints.collect(),
            path,
            targets: targets.to_owned(),
            text,
            summary,
            trees: BTreeSet::new(),
            files: BTreeMap::new(),
        })
    }

    /// Keeps the lock, or resolves it for each target.
    async fn lock(self, worker: &Rc<LocalWorker>) -> Result<LockResult> {
        let context = &worker.context;
        let policy = &context.lock_policy;
        if self.is_kept(policy) {
            debug!(file = %self.path.display(), "keeping the lock");
            return Ok(self.kept());
        }
        let versions = self
            .summary
            .as_ref()
            .map(|summary| summary.versions.clone());
        let preferences = policy.preferences(versions.unwrap_or_default());
        let targets = self.targets.iter();
        let locking = targets.map(|target| lock_target(worker, target, &preferences));
        let mut locks = try_join_all(locking).await?;
        policy.warn_unknown_upgrades(&locks, &*context.observer);
        let trees: Vec<_> = locks.iter().flat_map(previous_lock::trees).collect();
        let known = worker.trees.observe().await?;
        let request = context
            .lock_digest(&self.fingerprint(), &trees, &known)
            .await;
        let directory = self.directory();
        let text = match &mut locks[..] {
            [lock] => {
                lock.request = request;
                lock.files.clone_from(&self.files);
                pylock::write(lock, directory)
            }
            locks => {
                let locks: Vec<_> = self.targets.iter().zip(&*locks).collect();
                pylock::write_shared(&locks, &request, &self.files, directory)?
            }
        };
        // The file may be the lock of an output, which a build keeps only if the store has a record of it.
        context.store.save_lock(text.as_bytes());
        Ok(self.compared(text))
    }

    /// Returns the fingerprint of the request for all targets.
    fn fingerprint(&self) -> String {
        match &self.fingerprints[..] {
            [fingerprint] => fingerprint.clone(),
            fingerprints => Sha256::of(fingerprints.join("\n").as_bytes()).to_string(),
        }
    }

    fn is_kept(&self, policy: &LockPolicy) -> bool {
        let digest = previous_lock::lock_digest(&self.fingerprint(), &self.trees);
        let summary = self.summary.as_ref();
        summary.is_some_and(|summary| {
            summary.files == self.files && policy.accepts(&summary.request, &digest)
        })
    }

    /// Returns the local trees that the text names for any target.
    fn named_trees(&self) -> Vec<PathBuf> {
        let text = self.text.as_deref().unwrap_or_default();
        let table = toml_reader::parse(text).unwrap_or_default();
        let packages = table.get("packages").and_then(toml::Value::as_array);
        let paths = packages.into_iter().flatten().filter_map(|package| {
            let path = package.get("directory")?.get("path")?.as_str()?;
            Some(self.directory().join(path))
        });
        paths.collect()
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn kept(self) -> LockResult {
        let text = self.text.clone().unwrap_or_default();
        self.compared(text)
    }

    /// Compares `text` with the file.
    fn compared(self, text: String) -> LockResult {
        let (versions, differences) = self.differences(&text);
        LockResult {
            versions,
            differences,
            change: match &self.text {
                None => LockChange::New,
                Some(existing) if *existing == text => LockChange::None,
                Some(_) => LockChange::Changed,
            },
            path: self.path,
            targets: self.targets,
            text,
        }
    }

    /// Returns how `text` differs from the file: in versions, and in other respects.
    fn differences(&self, text: &str) -> (Vec<VersionChange>, Vec<String>) {
        let summary = pylock::summarize(text, self.directory());
        let (Some(existing), Ok(summary)) = (&self.summary, summary) else {
            return Default::default();
        };
        if self.text.as_deref() == Some(text) {
            return Default::default();
        }
        let versions = version_changes(&existing.versions, &summary.versions);
        let files: BTreeSet<&PathBuf> = existing.files.keys().chain(summary.files.keys()).collect();
        let differences = files.into_iter().filter_map(|file| {
            let what = match (existing.files.get(file), summary.files.get(file)) {
                (before, after) if before == after => return None,
                (None, _) => "is a new input of the lock",
                (_, None) => "is no longer an input of the lock",
                _ => "has changed",
            };
            let name = file.strip_prefix(self.directory()).unwrap_or(file);
            Some(format!("`{}` {what}", name.display()))
        });
        let mut differences: Vec<String> = differences.collect();
        if versions.is_empty() && differences.is_empty() {
            let what = if existing.request == summary.request {
                "other files or digests of the same versions"
            } else {
                "other requirements, indexes, settings or targets"
            };
            differences.push(what.to_owned());
        }
        (versions, differences)
    }
}

/// Resolves the lock of `target` with its build closures.
#[instrument(name = "lock target", skip_all, fields(name = target.full_name()))]
async fn lock_target(
    worker: &Rc<LocalWorker>,
    target: &Target,
    preferences: &[(PackageName, Version)],
) -> Result<Lock> {
    let context = &worker.context;
    let prefetcher = Prefetcher::for_resolution(worker);
    let resolving = async {
        let engine = &worker.engine;
        let resolved = engine.resolve(target, preferences, &prefetcher).await?;
        for warning in resolved.warnings {
            context.observer.observe(&Event::warning(warning));
        }
        let mut lock = resolved.lock;
        let closures = ClosureResolver {
            worker,
            prefetcher: &prefetcher,
            target,
        };
        closures.complete(&mut lock).await?;
        Ok(lock)
    };
    let lock = resolving.await.map_err(|error: Error| {
        let message = format!("failed to lock {}", target.label());
        Error::new(error.kind(), message).caused_by(error)
    })?;
    context.report_lock(&lock, false);
    Ok(lock)
}
