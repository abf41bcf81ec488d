//! Resolves the targets of a download: keeps the lock of an earlier run, or asks the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures::future::try_join_all;
use tracing::{debug, instrument};
use wheelhouse_engine::ResolveOptions;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{
    Artifact, Error, Event, Kind, Lock, PackageName, Result, Source, Target, Version,
};

use super::super::context::{PreviousLock, RunContext};
use super::super::previous_lock;
use super::super::worker::{LocalWorker, Prefetcher};
use super::failures::{TargetFailures, for_target};

/// The sdists that a download includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdistSelection {
    /// Those of packages without a wheel.
    Needed,
    /// Those of all packages, with their build requirements.
    All,
}

/// The lock of one target.
pub(super) struct TargetResolution {
    pub(super) target: Target,
    /// The name that distinguishes the target from the others.
    pub(super) name: String,
    pub(super) lock: Lock,
    /// The sdists of packages that are locked as wheels.
    pub(super) sdists: BTreeMap<PackageName, Artifact>,
    /// The packages whose sdists build into wheels for one platform.
    pub(super) platform_bound: BTreeSet<PackageName>,
    pub(super) is_kept: bool,
}

/// The versions of a package that were chosen, with the labels of the targets.
type ChosenVersions = BTreeMap<Version, Vec<String>>;

/// Resolves the targets of a run.
pub(super) struct Resolver {
    pub(super) worker: Rc<LocalWorker>,
    pub(super) sdists: SdistSelection,
    pub(super) same_versions: bool,
}

impl Resolver {
    /// Resolves all targets. With `--keep-going` those that fail are added to `failures`.
    ///
    /// # Errors
    /// The first failure without `--keep-going`; and when all targets must have the same versions, but cannot.
    pub(super) async fn resolve(&self, failures: &TargetFailures) -> Result<Vec<TargetResolution>> {
        let context = &self.worker.context;
        let mut resolutions = failures
            .run_all(context, self.resolutions(&[]).into_iter())
            .await?;
        if self.same_versions {
            resolutions = self.unify_versions(resolutions).await?;
        }
        for resolution in &resolutions {
            context.report_lock(&resolution.lock, resolution.is_kept);
        }
        let locks = resolutions.iter().map(|resolution| &resolution.lock);
        context
            .lock_policy
            .warn_unknown_upgrades(locks, &*context.observer);
        Ok(resolutions)
    }

    /// Pins packages with different versions to the oldest of them, and resolves again, until all targets have the
    /// same versions. Each round adds pins, so the loop ends.
    async fn unify_versions(
        &self,
        mut resolutions: Vec<TargetResolution>,
    ) -> Result<Vec<TargetResolution>> {
        let mut pins: BTreeMap<PackageName, ChosenVersions> = BTreeMap::new();
        loop {
            let conflicts = conflicting_versions(&resolutions);
            if conflicts.is_empty() {
                return Ok(resolutions);
            }
            debug!(packages = ?conflicts.keys(), "unifying the versions of all targets");
            pins.extend(conflicts);
            let constraints: Vec<Requirement> = pins.iter().filter_map(pin).collect();
            let again = try_join_all(self.resolutions(&constraints)).await;
            resolutions = again.map_err(|error| conflict_error(&pins, error))?;
        }
    }

    /// Returns a future for each target that resolves it within `pins`.
    fn resolutions<'a>(
        &'a self,
        pins: &'a [Requirement],
    ) -> Vec<impl Future<Output = Result<TargetResolution>> + 'a> {
        let context = &self.worker.context;
        let names = Target::names(&context.targets);
        let targets = context.targets.iter().zip(names);
        let resolutions = targets.map(|(target, name)| async move {
            let resolution = self.resolve_target(target, name, pins).await;
            resolution.map_err(|error| for_target(context, target, error))
        });
        resolutions.collect()
    }

    #[instrument(name = "resolve target", skip_all, fields(name))]
    async fn resolve_target(
        &self,
        target: &Target,
        name: String,
        pins: &[Requirement],
    ) -> Result<TargetResolution> {
        let (worker, context) = (&self.worker, &self.worker.context);
        let fingerprint = context.fingerprint(target);
        let preferences = if pins.is_empty() {
            match self.previous_lock(&name, &fingerprint).await? {
                PreviousLock::Current(lock) => {
                    return Ok(TargetResolution {
                        target: target.clone(),
                        platform_bound: packages_kept_as_sdists(context, &lock),
                        sdists: BTreeMap::new(),
                        name,
                        lock,
                        is_kept: true,
                    });
                }
                PreviousLock::Outdated(preferences) => preferences,
            }
        } else {
            Vec::new()
        };
        let bounds = ResolveOptions {
            preferences: &preferences,
            constraints: pins,
        };
        let prefetcher = Prefetcher::for_target(worker, target);
        let engine = &worker.engine;
        let resolved = engine.resolve_within(target, &bounds, &prefetcher).await?;
        for warning in resolved.warnings {
            context.observer.observe(&Event::warning(warning));
        }
        let trees = worker.trees.observe().await?;
        let pinned = previous_lock::trees(&resolved.lock);
        let request = context.lock_digest(&fingerprint, &pinned, &trees).await;
        Ok(TargetResolution {
            target: target.clone(),
            name,
            lock: Lock {
                request,
                ..resolved.lock
            },
            sdists: match self.sdists {
                SdistSelection::Needed => BTreeMap::new(),
                SdistSelection::All => resolved.sdists,
            },
            platform_bound: resolved.bound,
            is_kept: false,
        })
    }

    /// Reads the previous lock of the target called `name`. It does not record the sdists of packages that are locked
    /// as wheels, so it is not sufficient if these are selected, too.
    async fn previous_lock(&self, name: &str, fingerprint: &str) -> Result<PreviousLock> {
        let context = &self.worker.context;
        let trees = self.worker.trees.observe().await?;
        let name = (context.targets.len() > 1).then_some(name);
        let is_sufficient = self.sdists == SdistSelection::Needed;
        context
            .previous_lock(name, fingerprint, &trees, is_sufficient)
            .await
    }
}

/// Returns the packages of `lock` of which the output has the sdist, but no wheel for all platforms.
fn packages_kept_as_sdists(context: &RunContext, lock: &Lock) -> BTreeSet<PackageName> {
    let entries = fs_err::read_dir(&context.output).into_iter().flatten();
    let files: BTreeSet<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let has_wheel = |name: &PackageName| {
        let start = format!("{}-", name.as_dist_info_name());
        let mut files = files.iter();
        files.any(|file| file.starts_with(&start) && file.ends_with("-none-any.whl"))
    };
    let packages = lock.packages.iter().filter(|package| {
        matches!(&package.source, Source::Sdist(sdist) if files.contains(&sdist.filename))
            && !has_wheel(&package.name)
    });
    packages.map(|package| package.name.clone()).collect()
}

/// Returns the packages of which targets have different versions.
fn conflicting_versions(resolutions: &[TargetResolution]) -> BTreeMap<PackageName, ChosenVersions> {
    let mut chosen: BTreeMap<PackageName, ChosenVersions> = BTreeMap::new();
    for resolution in resolutions {
        for package in &resolution.lock.packages {
            let versions = chosen.entry(package.name.clone()).or_default();
            let targets = versions.entry(package.version.clone()).or_default();
            targets.push(resolution.target.label());
        }
    }
    chosen.retain(|_, versions| versions.len() > 1);
    chosen
}

/// Returns a constraint to the oldest of the chosen versions.
fn pin((name, versions): (&PackageName, &ChosenVersions)) -> Option<Requirement> {
    let (version, _) = versions.first_key_value()?;
    Some(Requirement {
        text: format!("{name}=={version}"),
        origin: "--same-versions".to_owned(),
        ..Requirement::default()
    })
}

/// Adds the versions that each target chose on its own to `error`.
fn conflict_error(pins: &BTreeMap<PackageName, ChosenVersions>, error: Error) -> Error {
    let choices = pins.iter().flat_map(|(name, versions)| {
        let versions = versions.iter();
        versions.map(move |(version, targets)| format!("{name} {version}: {}", targets.join(", ")))
    });
    let choices = choices.collect::<Vec<_>>().join("\n  ");
    let choices = format!("Resolved separately, the targets have\n  {choices}");
    let detail = match error.detail() {
        Some(detail) => format!("{detail}\n{choices}"),
        None => choices,
    };
    Error::new(
        Kind::Resolution,
        "no version of each package serves all targets",
    )
    .caused_by(error)
    .with_detail(detail)
    .with_hint("Leave out --same-versions or a target, or require versions that serve all targets.")
}
