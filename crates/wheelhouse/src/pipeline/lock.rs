//! Locking: what a run would use, settled and written down.
//!
//! 1. A lock that answers the same request is kept; the versions of another are preferred.
//! 2. Each target is resolved on its own, and the builds of its sources with it; all at the same time.
//! 3. Each target gets a lock of its own, or all share one.
//!
//! Nothing is fetched but what tells metadata and the requirements of builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use wheelhouse_engine::Host;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::lock::{VersionChange, version_changes};
use wheelhouse_types::pylock::{self, Outline};
use wheelhouse_types::toml_reader;
use wheelhouse_types::{
    Error, Event, Kind, Lock, Observer, PackageName, Phase, Request, Result, Sha256, Target,
    Version,
};

use super::build_closure::Closures;
use super::local_trees::TreeReader;
use super::worker::LocalWorker;
use super::worker::provider::Ahead;
use super::{Audience, Begin, Reuse, begin_worker, previous_lock};
use wheelhouse_fs::input;
use wheelhouse_store::Store;

/// What is to be locked.
pub struct Job {
    pub request: Request,
    /// The interpreter that the request means, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    pub store: Store,
    pub place: Place,
    pub audience: Audience,
    pub reuse: Reuse,
}

/// Where locks belong; paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `pylock.toml` in this directory, or `pylock.NAME.toml` for each of several targets.
    Directory(PathBuf),
    /// This file, for one target.
    File(PathBuf),
    /// This file, for all targets.
    Shared(PathBuf),
}

/// A lock as it should be.
pub struct Locked {
    pub path: PathBuf,
    pub targets: Vec<Target>,
    pub text: String,
    pub change: Change,
    /// The versions that it has and the file has not, or the other way around.
    pub versions: Vec<VersionChange>,
    /// What else differs, one sentence each.
    pub differences: Vec<String>,
}

/// How a lock compares with the file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is none.
    New,
    /// It says something else.
    Changed,
    /// It says the same.
    None,
}

/// Settles the locks of `job` and writes none of them.
///
/// # Errors
/// Whatever stood in the way, of the kind that tells its class.
pub async fn lock(mut job: Job, observer: Arc<dyn Observer>) -> Result<Vec<Locked>> {
    job.request.resolution.refresh |= job.reuse.asks_again();
    let cache = job.store.root().join("uv");
    let python = job.request.python.as_deref();
    let host = Host::discover(python, job.python.as_deref(), &cache).await?;
    let host_target = host.target();
    let targets = job.audience.settle(&host_target, &*observer)?;
    let output = job.place.output(targets.len());
    let reader = TreeReader::new(&job.store, &output);
    let (texts, trees) = previous_lock::local_digests(&job.request, &reader).await?;
    let print = |target: &Target| job.request.fingerprint(target, &texts);
    let mut sheets = job.place.sheets(targets, print)?;
    for sheet in &mut sheets {
        sheet.files.clone_from(&job.request.files);
        sheet.trees = previous_lock::digests_of(&sheet.named_trees(), &reader, &trees).await;
    }
    if sheets.iter().all(|sheet| sheet.is_kept(&job.reuse)) {
        return Ok(sheets.into_iter().map(Sheet::kept).collect());
    }
    let worker = begin_worker(Begin {
        host,
        target: host_target,
        request: job.request.clone(),
        store: job.store.clone(),
        observer: Arc::clone(&observer),
        output,
        trees,
        fetch_ahead: false,
        build_ahead: false,
        keep_going: false,
    });
    let run = Run {
        worker: worker.await?,
        reuse: job.reuse,
        observer,
    };
    let phase = Phase::Resolve;
    run.observer.observe(&Event::PhaseStarted { phase });
    let begun = Instant::now();
    let locked = try_join_all(sheets.into_iter().map(|sheet| run.settle(sheet))).await?;
    let seconds = seconds(begun.elapsed());
    run.observer
        .observe(&Event::PhaseFinished { phase, seconds });
    Ok(locked)
}

impl Place {
    /// The path that is no part of a tree: that of the lock, or one for the locks of all `targets`.
    fn output(&self, targets: usize) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.join(lock_name((targets > 1).then_some("*"))),
            Self::File(file) | Self::Shared(file) => file.clone(),
        }
    }

    /// The files for `targets`; `print` gives the fingerprint of the request for a target.
    fn sheets(
        &self,
        targets: Vec<Target>,
        print: impl Fn(&Target) -> String,
    ) -> Result<Vec<Sheet>> {
        let sheet = |path: PathBuf, targets: Vec<Target>| Sheet::read(path, targets, &print);
        match self {
            Self::Shared(file) => Ok(vec![sheet(file.clone(), targets)?]),
            Self::File(file) if targets.len() == 1 => Ok(vec![sheet(file.clone(), targets)?]),
            Self::File(file) => {
                let message = format!("{} cannot be the lock of several targets", file.display());
                Err(Error::new(Kind::Input, message).with_hint(
                    "Name a directory for one lock each, or ask for one that serves all with --universal.",
                ))
            }
            Self::Directory(directory) => {
                let several = targets.len() > 1;
                let names = Target::names(&targets);
                let path = |name: &str| directory.join(lock_name(several.then_some(name)));
                let sheets = targets.into_iter().zip(names);
                let sheets = sheets.map(|(target, name)| sheet(path(&name), vec![target]));
                sheets.collect()
            }
        }
    }
}

/// The name of a lock for one of several targets, which `target` tells apart, or for the only one (PEP
/// 751).
pub(super) fn lock_name(target: Option<&str>) -> String {
    match target {
        Some(target) => format!("pylock.{target}.toml"),
        None => previous_lock::LOCK_NAME.to_owned(),
    }
}

/// A file, the targets that it is for, and what it says.
struct Sheet {
    path: PathBuf,
    targets: Vec<Target>,
    /// What the request for each target is known by.
    prints: Vec<String>,
    text: Option<String>,
    outline: Option<Outline>,
    /// The digests that the local trees of the text have now.
    trees: BTreeSet<Option<Sha256>>,
    /// The local files that the requests are from.
    files: BTreeMap<PathBuf, Sha256>,
}

impl Sheet {
    fn read(
        path: PathBuf,
        targets: Vec<Target>,
        print: impl Fn(&Target) -> String,
    ) -> Result<Self> {
        let failed = || format!("failed to read {}", path.display());
        let text = match input::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(Kind::Input, failed),
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let outline = text.as_deref().map(|text| pylock::outline(text, directory));
        let outline = outline.transpose();
        let outline = outline.map_err(|error| {
            let message = format!("{} is there and is no lock", path.display());
            Error::new(Kind::Input, message)
                .with_hint("Remove it, or name another file with --output.")
                .caused_by(error)
        })?;
        Ok(Self {
            prints: targets.iter().map(print).collect(),
            path,
            targets,
            text,
            outline,
            trees: BTreeSet::new(),
            files: BTreeMap::new(),
        })
    }

    /// What the requests for all targets are known by.
    fn request(&self) -> String {
        match &self.prints[..] {
            [print] => print.clone(),
            prints => Sha256::of(prints.join("\n").as_bytes()).to_string(),
        }
    }

    fn is_kept(&self, reuse: &Reuse) -> bool {
        let wanted = previous_lock::answer(&self.request(), &self.trees);
        let outline = self.outline.as_ref();
        outline.is_some_and(|outline| {
            outline.files == self.files && reuse.keeps(&outline.request, &wanted)
        })
    }

    /// The local trees that the text names for any target.
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

    fn kept(self) -> Locked {
        let text = self.text.clone().unwrap_or_default();
        self.with(text)
    }

    /// Says how `text` differs from the file that is there.
    fn compared_with(&self, text: &str) -> (Vec<VersionChange>, Vec<String>) {
        let (Some(there), Ok(outline)) = (&self.outline, pylock::outline(text, self.directory()))
        else {
            return Default::default();
        };
        if self.text.as_deref() == Some(text) {
            return Default::default();
        }
        let versions = version_changes(&there.versions, &outline.versions);
        let files: BTreeSet<&PathBuf> = there.files.keys().chain(outline.files.keys()).collect();
        let files = files.into_iter();
        let files = files.filter(|file| there.files.get(*file) != outline.files.get(*file));
        let mut differences: Vec<String> = files
            .map(|file| {
                let name = file.strip_prefix(self.directory()).unwrap_or(file);
                let what = match (there.files.get(file), outline.files.get(file)) {
                    (None, _) => "was not among the files that it was made from",
                    (_, None) => "is no longer among the files that it is made from",
                    _ => "has changed",
                };
                format!("`{}` {what}", name.display())
            })
            .collect();
        if versions.is_empty() && differences.is_empty() {
            let said = if there.request == outline.request {
                "other files or digests of the same versions"
            } else {
                "other requirements, indexes, settings or targets"
            };
            differences.push(said.to_owned());
        }
        (versions, differences)
    }

    fn with(self, text: String) -> Locked {
        let (versions, differences) = self.compared_with(&text);
        Locked {
            versions,
            differences,
            change: match &self.text {
                None => Change::New,
                Some(there) if *there == text => Change::None,
                Some(_) => Change::Changed,
            },
            path: self.path,
            targets: self.targets,
            text,
        }
    }
}

/// One run on its way.
struct Run {
    worker: Rc<LocalWorker>,
    reuse: Reuse,
    observer: Arc<dyn Observer>,
}

impl Run {
    async fn settle(&self, sheet: Sheet) -> Result<Locked> {
        if sheet.is_kept(&self.reuse) {
            return Ok(sheet.kept());
        }
        let versions = sheet
            .outline
            .as_ref()
            .map(|outline| outline.versions.clone());
        let preferences = self.reuse.preferences(versions.unwrap_or_default());
        let locks = sheet.targets.iter();
        let locks = locks.map(|target| self.settle_for(target, &preferences));
        let mut locks = try_join_all(locks).await?;
        self.reuse.warn_of_strangers(&locks, &*self.observer);
        let directory = sheet.directory();
        let request = self.answered(&sheet, &locks).await?;
        let text = match &mut locks[..] {
            [lock] => {
                lock.request = request;
                lock.files.clone_from(&sheet.files);
                pylock::write(lock, directory)
            }
            locks => {
                let served: Vec<_> = sheet.targets.iter().zip(&*locks).collect();
                pylock::write_shared(&served, &request, &sheet.files, directory)?
            }
        };
        // It may be that of an output, too.
        self.worker.store.keep_lock(text.as_bytes());
        Ok(sheet.with(text))
    }

    /// What `locks` are known by, which were settled for `sheet`.
    async fn answered(&self, sheet: &Sheet, locks: &[Lock]) -> Result<String> {
        let trees: Vec<_> = locks.iter().flat_map(previous_lock::trees).collect();
        let known = self.worker.observed_trees().await?;
        let digests = previous_lock::digests_of(&trees, &self.worker.tree_reader, &known).await;
        Ok(previous_lock::answer(&sheet.request(), &digests))
    }

    async fn settle_for(
        &self,
        target: &Target,
        preferences: &[(PackageName, Version)],
    ) -> Result<Lock> {
        let companion = Ahead::of_resolution(&self.worker);
        let settled = async {
            let engine = &self.worker.engine;
            let resolved = engine.resolve(target, preferences, &companion).await?;
            for warning in resolved.warnings {
                self.observer.observe(&Event::warning(warning));
            }
            let mut lock = resolved.lock;
            let closures = Closures {
                worker: &self.worker,
                companion: &companion,
                target,
            };
            closures.complete(&mut lock).await?;
            Ok(lock)
        };
        let lock = settled.await.map_err(|error: Error| {
            let message = format!("{} cannot be locked", target.label());
            Error::new(error.kind(), message).caused_by(error)
        })?;
        self.observer.observe(&Event::Locked {
            packages: lock.packages.len(),
            kept: false,
        });
        Ok(lock)
    }
}
