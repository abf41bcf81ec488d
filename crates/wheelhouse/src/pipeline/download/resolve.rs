//! Settling a lock for each target: the one of an earlier run while it answers the request, else what
//! the engine resolves.
//!
//! Never fetches what a lock has, beside what the resolutions come across.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use wheelhouse_engine::ResolveOptions;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{
    Artifact, Error, Event, Kind, Lock, PackageName, Result, Source, Target, Version,
};

use super::super::lock::lock_name;
use super::super::worker::provider::Ahead;
use super::super::{Reuse, previous_lock};
use super::{Run, Sources};

/// What one target's files are gathered from.
pub(super) struct Settled {
    pub(super) target: Target,
    /// What tells the target from the others.
    pub(super) name: String,
    pub(super) lock: Lock,
    /// The sdists beside the wheels of the lock.
    pub(super) sdists: BTreeMap<PackageName, Artifact>,
    /// The packages whose sdists build into wheels for one platform.
    pub(super) bound: BTreeSet<PackageName>,
    pub(super) is_kept: bool,
}

/// Who chose which version of a package: the labels of targets by versions.
type Chosen = BTreeMap<Version, Vec<String>>;

impl Run {
    /// Settles the locks of all targets, as far as they can be had.
    ///
    /// # Errors
    /// The first failure, unless the job is to keep going; and when there must be one version of each
    /// package and cannot.
    pub(super) async fn settle(&self) -> Result<Vec<Settled>> {
        let mut settled = self.settle_within(&[]).await?;
        if self.same_versions {
            settled = self.agree(settled).await?;
        }
        for one in &settled {
            self.observer.observe(&Event::Locked {
                packages: one.lock.packages.len(),
                kept: one.is_kept,
            });
        }
        let locks = settled.iter().map(|one| &one.lock);
        self.reuse.warn_of_strangers(locks, &*self.observer);
        Ok(settled)
    }

    /// Pins what targets disagree about to the oldest of their versions, until they agree.
    async fn agree(&self, mut settled: Vec<Settled>) -> Result<Vec<Settled>> {
        let mut pins: BTreeMap<PackageName, Chosen> = BTreeMap::new();
        loop {
            let disputed = disputed(&settled);
            // A pin is obeyed, so each round has others, and there is an end to them.
            if disputed.is_empty() {
                return Ok(settled);
            }
            pins.extend(disputed);
            let lines: Vec<Requirement> = pins.iter().filter_map(pin).collect();
            let again = self.settle_within(&lines).await;
            settled = again.map_err(|error| disagreement(&pins, error))?;
        }
    }

    /// Settles all targets where `pins` constrain them.
    async fn settle_within(&self, pins: &[Requirement]) -> Result<Vec<Settled>> {
        let names = Target::names(&self.targets);
        let targets = self.targets.iter().zip(names);
        let settling = targets.map(|(target, name)| async move {
            let settled = self.settle_for(target, name, pins).await;
            settled.map_err(|error| self.of_target(error, target))
        });
        if pins.is_empty() {
            return self.all(settling).await;
        }
        try_join_all(settling).await
    }

    async fn settle_for(
        &self,
        target: &Target,
        name: String,
        pins: &[Requirement],
    ) -> Result<Settled> {
        let request = self.request.fingerprint(target, &self.texts);
        let earlier = match pins {
            [] => self.earlier_lock(&name, &request).await?,
            _ => None,
        };
        let wanted = self.answer(&request, earlier.as_ref()).await?;
        let keeps = |lock: &Lock| self.keeps(lock, &wanted);
        if let Some(lock) = earlier.clone().filter(keeps) {
            return Ok(Settled {
                target: target.clone(),
                bound: self.left_as_sdists(&lock),
                sdists: BTreeMap::new(),
                name,
                lock,
                is_kept: true,
            });
        }
        let known = earlier.into_iter().flat_map(|lock| lock.packages);
        let known = known.map(|package| (package.name, package.version));
        let bounds = ResolveOptions {
            preferences: &self.reuse.preferences(known.collect()),
            constraints: pins,
        };
        let companion = Ahead::of_target(&self.worker, target);
        let engine = &self.worker.engine;
        let resolved = engine.resolve_within(target, &bounds, &companion).await?;
        for warning in resolved.warnings {
            self.observer.observe(&Event::warning(warning));
        }
        let request = self.answer(&request, Some(&resolved.lock)).await?;
        Ok(Settled {
            target: target.clone(),
            name,
            lock: Lock {
                request,
                ..resolved.lock
            },
            sdists: match self.sources {
                Sources::Needed => BTreeMap::new(),
                Sources::All => resolved.sdists,
            },
            bound: resolved.bound,
            is_kept: false,
        })
    }

    /// What `lock` is known by when it answers `request`.
    async fn answer(&self, request: &str, lock: Option<&Lock>) -> Result<String> {
        let trees = lock.map(previous_lock::trees).unwrap_or_default();
        let known = self.worker.observed_trees().await?;
        let digests = previous_lock::digests_of(&trees, &self.worker.tree_reader, &known).await;
        Ok(previous_lock::answer(request, &digests))
    }

    /// Whether the lock of an earlier run will do. It does not say which sdists there are beside wheels.
    fn keeps(&self, lock: &Lock, request: &str) -> bool {
        self.reuse.keeps(&lock.request, request) && self.sources == Sources::Needed
    }

    /// The lock of an earlier run; one that will do, if no index is to be asked.
    async fn earlier_lock(&self, name: &str, request: &str) -> Result<Option<Lock>> {
        let several = self.targets.len() > 1;
        let path = self.output.join(lock_name(several.then_some(name)));
        let warn = |text| self.observer.observe(&Event::warning(text));
        let earlier = previous_lock::read(&self.store, &self.output, &path, &self.reuse, warn)?;
        let wanted = self.answer(request, earlier.as_ref()).await?;
        let will_do = |lock: &Lock| self.keeps(lock, &wanted);
        if self.reuse == Reuse::Frozen && !earlier.as_ref().is_some_and(will_do) {
            return Err(previous_lock::not_frozen(&path, earlier.is_some()));
        }
        Ok(earlier)
    }

    /// The packages of `lock` whose sdists an earlier run put into the output, and no wheel of which.
    fn left_as_sdists(&self, lock: &Lock) -> BTreeSet<PackageName> {
        let entries = fs_err::read_dir(&self.output).into_iter().flatten();
        let files: BTreeSet<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let has_wheel = |name: &PackageName| {
            let start = format!("{}-", name.as_dist_info_name());
            files
                .iter()
                .any(|file| file.starts_with(&start) && file.ends_with("-none-any.whl"))
        };
        let left = lock.packages.iter().filter(|package| {
            matches!(&package.source, Source::Sdist(sdist) if files.contains(&sdist.filename))
                && !has_wheel(&package.name)
        });
        left.map(|package| package.name.clone()).collect()
    }
}

/// The packages of which targets have different versions.
fn disputed(settled: &[Settled]) -> BTreeMap<PackageName, Chosen> {
    let mut chosen: BTreeMap<PackageName, Chosen> = BTreeMap::new();
    for one in settled {
        for package in &one.lock.packages {
            let versions = chosen.entry(package.name.clone()).or_default();
            let targets = versions.entry(package.version.clone()).or_default();
            targets.push(one.target.label());
        }
    }
    chosen.retain(|_, versions| versions.len() > 1);
    chosen
}

/// The oldest of the versions of a package, as a constraint.
fn pin((name, chosen): (&PackageName, &Chosen)) -> Option<Requirement> {
    let (version, _) = chosen.first_key_value()?;
    Some(Requirement {
        text: format!("{name}=={version}"),
        origin: "--same-versions".to_owned(),
        ..Requirement::default()
    })
}

/// Why `error` came of asking for the same versions everywhere.
fn disagreement(pins: &BTreeMap<PackageName, Chosen>, error: Error) -> Error {
    let who = |targets: &Vec<String>| targets.join(", ");
    let lines = pins.iter().flat_map(|(name, chosen)| {
        chosen
            .iter()
            .map(move |(version, targets)| format!("{name} {version}: {}", who(targets)))
    });
    let lines: Vec<String> = lines.collect();
    let detail = format!("Left to themselves, these take\n  {}", lines.join("\n  "));
    let cause = error.detail().map(str::to_owned);
    let detail = cause.map_or(detail.clone(), |cause| format!("{cause}\n{detail}"));
    Error::new(
        Kind::Resolution,
        "no version of each package serves all targets",
    )
    .caused_by(error)
    .with_detail(detail)
    .with_hint("Leave out --same-versions, or a target; or name versions that serve all.")
}
