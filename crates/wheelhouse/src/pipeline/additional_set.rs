//! Additional sets: requirements that are resolved by themselves and share a wheelhouse.
//!
//! Requirements that contradict one another have no common resolution, but their wheels can share a
//! directory: those of several applications, of tools, and of what building a source tree requires.
//! Each additional set has its own lock, `pylock.NAME.toml`, which is kept or resolved like that of the
//! request.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, instrument};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Package;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::target::Platform;
use wheelhouse_types::toml_reader;
use wheelhouse_types::{
    Distribution, Error, Event, Kind, Lock, Manifest, Observer, Origin, PackageName, Request,
    Result, Sha256, Source, Target,
};

use super::context::{PreviousLock, RunContext, RunInputs};
use super::platform_fit;
use super::publish::ResolvedSet;
use super::set_run::SetRun;
use wheelhouse_fs::input;

/// A set beside that of the request.
pub struct AdditionalSet {
    /// The part of the name of its lock file that distinguishes it.
    pub name: String,
    /// Describes the set in messages.
    pub title: String,
    /// The indexes, settings and requirements of the set; `contents` may add requirements.
    pub request: Request,
    /// The requirements of the set.
    pub contents: SetContents,
    /// Marks a set that only builds and tools use.
    pub build_only: bool,
    /// Fails the run if the set fails; otherwise a warning says what is missing.
    pub required: bool,
}

/// The wheels of an additional set.
pub enum SetContents {
    /// Those that its request requires.
    Requirements,
    /// Those that its request requires, except the wheel of this tree, which is built elsewhere. The
    /// versions of the main set are preferred.
    DependenciesOf(PathBuf),
    /// The build requirements of this project, and of each local tree that the lock of the main set pins.
    BuildRequirementsOf(Option<SourceProject>),
}

/// A source tree that is a Python project.
pub struct SourceProject {
    /// The name.
    pub name: PackageName,
    /// The path.
    pub path: PathBuf,
}

/// The files that determine the build requirements of a source tree.
const BUILD_FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// Locks `set` and makes its wheels; `main_lock` is the lock of the request. Returns `None` if the set is
/// empty, or if it failed and is not required.
///
/// # Errors
/// When a required set cannot be resolved, or a wheel of it cannot be made.
pub(super) async fn run(
    set: AdditionalSet,
    main: &mut SetRun,
    platform: Option<&Platform>,
    main_lock: &Lock,
) -> Result<Option<ResolvedSet>> {
    let (title, required) = (set.title.clone(), set.required);
    let observer = Arc::clone(&main.context.observer);
    let running = async {
        match start(set, main, platform, main_lock).await? {
            Some(mut run) => Box::pin(run.run()).await.map(Some),
            None => Ok(None),
        }
    };
    match running.await {
        Err(error) if !required && is_unavailable(&error) => {
            observer.observe(&Event::Warning {
                message: format!("the wheelhouse lacks {title}: {}", error.display_chain()),
                hint: error.hint().map(str::to_owned),
            });
            Ok(None)
        }
        outcome => outcome,
    }
}

/// Starts the run of `set`. Returns `None` if the set is empty.
///
/// # Errors
/// When the run cannot be started, or a build backend fails to report its requirements.
#[instrument(name = "additional set", skip_all, fields(name = set.name))]
pub(super) async fn start(
    set: AdditionalSet,
    main: &mut SetRun,
    platform: Option<&Platform>,
    main_lock: &Lock,
) -> Result<Option<SetRun>> {
    if let SetContents::BuildRequirementsOf(None) = set.contents
        && local_trees(main_lock).next().is_none()
    {
        return Ok(None);
    }
    let shared = &main.context;
    let inputs = RunInputs {
        request: set.request,
        python: shared.python.clone(),
        store: shared.store.clone(),
        lock_policy: shared.lock_policy.clone(),
        keep_going: shared.keep_going,
        shared: Arc::clone(&shared.shared),
        farm: shared.farm.clone(),
    };
    let observer = Arc::new(AdditionalSetObserver(Arc::clone(&shared.observer)));
    let plan = |host: &Target| {
        let target = platform_fit::target(host, platform)?;
        Ok((vec![target], shared.output.clone()))
    };
    let mut context = Box::pin(RunContext::start(inputs, observer, plan)).await?;
    let fingerprint = context.fingerprint(&context.targets[0]);
    let mut run = match set.contents {
        SetContents::Requirements => SetRun::new(context, fingerprint, main.prefetch),
        SetContents::DependenciesOf(tree) => {
            let mut run = SetRun::new(context, fingerprint, main.prefetch);
            run.excluded_tree = Some(tree);
            let packages = main_lock.packages.iter();
            run.preferences = packages
                .map(|package| (package.name.clone(), package.version.clone()))
                .collect();
            run
        }
        SetContents::BuildRequirementsOf(project) => {
            let sources = sources(project, main_lock);
            let fingerprint = build_fingerprint(&fingerprint, &sources)?;
            let previous = context
                .previous_lock(Some(&set.name), &fingerprint, &context.trees, true)
                .await?;
            let recorded = match previous {
                PreviousLock::Current(_) => recorded_requirements(&context, &set.name),
                PreviousLock::Outdated(_) => None,
            };
            let requirements = match recorded {
                Some(requirements) => requirements,
                None => Box::pin(build_requirements(main, &sources)).await?,
            };
            debug!(?requirements, "found the build requirements");
            if requirements.is_empty() {
                return Ok(None);
            }
            let requirements = requirements.into_iter().map(|text| Requirement {
                text,
                origin: "a build".to_owned(),
                ..Requirement::default()
            });
            context.request.requirements = requirements.collect();
            SetRun::new(context, fingerprint, main.prefetch)
        }
    };
    run.name = Some(set.name);
    run.build_only = set.build_only;
    Ok(Some(run))
}

/// Returns the requirements of the set `name` that the manifest in the output records.
fn recorded_requirements(context: &RunContext, name: &str) -> Option<Vec<String>> {
    let bytes = input::read(&context.output.join(MANIFEST_NAME)).ok()?;
    let mut sets = Manifest::parse(&bytes).ok()?.sets.into_iter();
    sets.find(|set| set.name == name)
        .map(|set| set.requirements)
}

/// Returns the requirements that the builds of `sources` declare and that their build backends report.
async fn build_requirements(main: &mut SetRun, sources: &[Distribution]) -> Result<Vec<String>> {
    let mut requirements = BTreeSet::new();
    for source in sources {
        let worker = main.worker().await?;
        if let Source::Tree { path } = &source.source {
            worker.trees.digest(path).await?;
            // pip before 23.1 requires wheel if a tree declares nothing.
            if !declares_requirements(path) {
                requirements.insert("wheel".to_owned());
            }
        }
        requirements.extend(worker.build_requirements(source).await?.texts());
    }
    Ok(requirements.into_iter().collect())
}

/// Returns the local trees that `lock` pins.
fn local_trees(lock: &Lock) -> impl Iterator<Item = Distribution> {
    let packages = lock.packages.iter();
    let trees = packages.filter(|package| matches!(package.source, Source::Tree { .. }));
    trees.map(Package::distribution)
}

/// Returns the trees whose build requirements make a set, each once.
fn sources(project: Option<SourceProject>, main_lock: &Lock) -> Vec<Distribution> {
    let mut sources: Vec<Distribution> = local_trees(main_lock).collect();
    if let Some(SourceProject { name, path }) = project {
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

/// Extends the fingerprint of a request by the files that determine the build requirements of `sources`.
fn build_fingerprint(fingerprint: &str, sources: &[Distribution]) -> Result<String> {
    let mut parts = vec![fingerprint.to_owned()];
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
            parts.push(format!("{} {name} {digest:?}", source.name));
        }
    }
    Ok(Sha256::of(parts.join("\n").as_bytes()).to_string())
}

/// Returns whether the tree at `path` declares its build requirements (PEP 518).
fn declares_requirements(path: &Path) -> bool {
    let text = input::read_to_string(&path.join("pyproject.toml")).unwrap_or_default();
    let project = toml_reader::parse(&text).unwrap_or_default();
    let build_system = project.get("build-system");
    build_system.is_some_and(|table| table.get("requires").is_some())
}

/// Returns whether `error` says that a wheel of the set cannot be resolved, downloaded or built.
fn is_unavailable(error: &Error) -> bool {
    matches!(error.kind(), Kind::Build | Kind::Fetch | Kind::Resolution)
}

/// Forwards the events about the wheels of an additional set, but not those that describe the main run.
struct AdditionalSetObserver(Arc<dyn Observer>);

impl Observer for AdditionalSetObserver {
    fn wants_output(&self) -> bool {
        self.0.wants_output()
    }

    fn observe(&self, event: &Event) {
        let describes_run = matches!(
            event,
            Event::Target { .. }
                | Event::PhaseStarted { .. }
                | Event::PhaseFinished { .. }
                | Event::Locked { .. }
                | Event::VersionChanged { .. }
        );
        if !describes_run {
            self.0.observe(event);
        }
    }
}
