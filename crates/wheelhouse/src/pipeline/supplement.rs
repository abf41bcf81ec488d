//! Supplements: sets that are resolved by themselves and come into the same wheelhouse.
//!
//! Requirements that contradict one another have no common resolution, but their wheels can share a
//! directory: those of several applications, of tools, and of what building a source tree requires.
//! Each supplement has a lock of its own, `pylock.NAME.toml`, which is kept, or resolved and carried
//! out, as that of the request is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Package;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::toml_reader;
use wheelhouse_types::{
    Distribution, Error, Event, Kind, Lock, Manifest, Observer, Origin, PackageName, Request,
    Result, Sha256, Source,
};

use super::publish::ResolvedSet;
use super::{Job, Preview, Run};
use wheelhouse_fs::input;

/// Describes a set beside that of the request.
pub struct Supplement {
    /// Names the lock of the set; a part of a file name.
    pub name: String,
    /// Says in messages what the set is.
    pub title: String,
    /// The indexes and settings of the set, and its requirements as far as `wants` does not add some.
    pub request: Request,
    pub wants: Wants,
    /// Whether the set serves builds and tools only.
    pub build_only: bool,
    /// Whether the run fails if the set cannot be made. Otherwise a warning says what is missing.
    pub required: bool,
}

/// Says what a supplement is made of.
pub enum Wants {
    /// The wheels of what its request requires.
    Requirements,
    /// The same without the wheel of this tree, which is built elsewhere; the versions of the request
    /// that it supplements are preferred.
    DependenciesOf(PathBuf),
    /// The wheels of what it takes to build this tree, and each local tree that the lock of the request
    /// pins.
    BuildsOf(Option<Tree>),
}

/// A source tree that is a project.
pub struct Tree {
    pub name: PackageName,
    pub path: PathBuf,
}

/// The files that decide what building a source tree requires.
const BUILD_FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

impl Run {
    /// Makes the wheels of `supplement`; `main` is the lock of the request. Returns `None` if there is
    /// nothing to make, or if it cannot be made and is not required.
    ///
    /// # Errors
    /// As [`build`](super::build).
    pub(super) async fn supply(
        &mut self,
        supplement: Supplement,
        main: &Lock,
    ) -> Result<Option<ResolvedSet>> {
        let (title, required) = (supplement.title.clone(), supplement.required);
        match Box::pin(self.make_supplement(supplement, main)).await {
            Err(error) if !required && is_missing(&error) => {
                self.observer.observe(&left_out(&title, &error));
                Ok(None)
            }
            made => made,
        }
    }

    async fn make_supplement(
        &mut self,
        supplement: Supplement,
        main: &Lock,
    ) -> Result<Option<ResolvedSet>> {
        let Some(mut run) = self.begin_supplement(supplement, main).await? else {
            return Ok(None);
        };
        let (mut lock, is_kept) = run.lock().await?;
        let made = run.carry_out(&mut lock).await?;
        Ok(Some(run.resolved_set(lock, is_kept, made)))
    }

    /// Plans `supplement` as [`supply`](Self::supply) would make it.
    ///
    /// # Errors
    /// As [`build`](super::build).
    pub(super) async fn preview_supplement(
        &mut self,
        supplement: Supplement,
        main: &Lock,
    ) -> Result<Option<Preview>> {
        match self.begin_supplement(supplement, main).await? {
            Some(mut run) => run.preview().await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins the run of `supplement`, unless there is nothing that it requires.
    async fn begin_supplement(
        &mut self,
        supplement: Supplement,
        main: &Lock,
    ) -> Result<Option<Self>> {
        if let Wants::BuildsOf(None) = supplement.wants
            && trees(main).next().is_none()
        {
            return Ok(None);
        }
        let job = Job {
            request: supplement.request,
            supplements: Vec::new(),
            python: self.job.python.clone(),
            store: self.job.store.clone(),
            output: self.job.output.clone(),
            platform: self.job.platform.clone(),
            warns_of_new_systems: false,
            link_mode: self.job.link_mode,
            reuse: self.job.reuse.clone(),
            keep_going: self.job.keep_going,
        };
        let observer = Arc::new(OfSupplement(Arc::clone(&self.observer)));
        let mut run = Self::start(job, observer, self.ahead).await?;
        run.set = Some(supplement.name);
        run.build_only = supplement.build_only;
        match supplement.wants {
            Wants::Requirements => {}
            Wants::DependenciesOf(tree) => {
                run.left_out = Some(tree);
                let packages = main.packages.iter();
                run.preferred = packages
                    .map(|package| (package.name.clone(), package.version.clone()))
                    .collect();
            }
            Wants::BuildsOf(tree) => {
                let sources = sources(tree, main);
                run.fingerprint = fingerprint_of_builds(&run.fingerprint, &sources)?;
                let requirements = match run.earlier().await? {
                    Some((_, true)) => run.earlier_requirements(),
                    _ => None,
                };
                let requirements = match requirements {
                    Some(requirements) => requirements,
                    None => self.build_requirements(&sources).await?,
                };
                if requirements.is_empty() {
                    return Ok(None);
                }
                let requirements = requirements.into_iter().map(|text| Requirement {
                    text,
                    origin: "a build".to_owned(),
                    ..Requirement::default()
                });
                run.job.request.requirements = requirements.collect();
            }
        }
        Ok(Some(run))
    }

    /// The requirements of the same set in the manifest of an earlier run.
    fn earlier_requirements(&self) -> Option<Vec<String>> {
        let bytes = input::read(&self.job.output.join(MANIFEST_NAME)).ok()?;
        let sets = Manifest::parse(&bytes).ok()?.sets;
        let same = sets
            .into_iter()
            .find(|set| Some(&set.name) == self.set.as_ref())?;
        Some(same.requirements)
    }

    /// What the builds of `sources` require: what they declare and what their backends report.
    async fn build_requirements(&mut self, sources: &[Distribution]) -> Result<Vec<String>> {
        let mut requirements = BTreeSet::new();
        for source in sources {
            let worker = self.worker().await?;
            if let Source::Tree { path } = &source.source {
                worker.tree_digest(path).await?;
                // pip before 23.1 adds it where a tree declares nothing.
                if !declares_requirements(path) {
                    requirements.insert("wheel".to_owned());
                }
            }
            requirements.extend(worker.build_requirements(source).await?.texts());
        }
        Ok(requirements.into_iter().collect())
    }
}

/// The local trees that `lock` pins.
fn trees(lock: &Lock) -> impl Iterator<Item = Distribution> {
    let packages = lock.packages.iter();
    let trees = packages.filter(|package| matches!(package.source, Source::Tree { .. }));
    trees.map(Package::distribution)
}

/// The trees whose builds are supplied, each once.
fn sources(tree: Option<Tree>, main: &Lock) -> Vec<Distribution> {
    let mut sources: Vec<Distribution> = trees(main).collect();
    if let Some(Tree { name, path }) = tree {
        let source = Source::Tree { path };
        if !sources.iter().any(|known| known.source == source) {
            sources.push(Distribution {
                name,
                version: None,
                origin: Origin::Direct,
                source,
                required_hashes: Vec::new(),
            });
        }
    }
    sources
}

/// Extends the fingerprint of a request by what decides the build requirements of `sources`.
fn fingerprint_of_builds(fingerprint: &str, sources: &[Distribution]) -> Result<String> {
    let mut asked = vec![fingerprint.to_owned()];
    for source in sources {
        let Source::Tree { path } = &source.source else {
            continue;
        };
        for name in BUILD_FILES {
            let digest = match input::read(&path.join(name)) {
                Ok(bytes) => Some(Sha256::of(&bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    let failed = || format!("failed to read the source of {}", source.name);
                    return Err(error).context(Kind::Input, failed);
                }
            };
            asked.push(format!("{} {name} {digest:?}", source.name));
        }
    }
    Ok(Sha256::of(asked.join("\n").as_bytes()).to_string())
}

/// Returns whether the tree at `path` says which packages its build requires (PEP 518).
fn declares_requirements(path: &Path) -> bool {
    let text = input::read_to_string(&path.join("pyproject.toml")).unwrap_or_default();
    let project = toml_reader::parse(&text).unwrap_or_default();
    let build_system = project.get("build-system");
    build_system.is_some_and(|table| table.get("requires").is_some())
}

/// Returns whether `error` says that something cannot be had or built.
fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Build | Kind::Fetch | Kind::Resolution)
}

fn left_out(title: &str, error: &Error) -> Event {
    Event::Warning {
        message: format!("the wheelhouse lacks {title}: {}", error.sentence()),
        hint: error.hint().map(str::to_owned),
    }
}

/// Passes on what happens to the wheels of a supplement; the phases of a run are those of its request.
struct OfSupplement(Arc<dyn Observer>);

impl Observer for OfSupplement {
    fn wants_output(&self) -> bool {
        self.0.wants_output()
    }

    fn observe(&self, event: &Event) {
        let of_run = matches!(
            event,
            Event::Target { .. }
                | Event::PhaseStarted { .. }
                | Event::PhaseFinished { .. }
                | Event::Locked { .. }
                | Event::VersionChanged { .. }
        );
        if !of_run {
            self.0.observe(event);
        }
    }
}
