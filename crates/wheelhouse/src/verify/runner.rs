//! One verification: its checks in their order, those that run something only when nothing has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use wheelhouse_engine::Host;
use wheelhouse_types::request::Building;
use wheelhouse_types::{Lock, Manifest, Result, Source, Target};

use super::checks::external_lock::Given;
use super::checks::lock::Locks;
use super::checks::{completeness, files, imports, index, install, lock, sdists, wheels};
use super::interpreters::Hosts;
use super::inventory::Survey;
use super::report::Examination;
use super::requirements::Wanted;
use super::wheel_contents::Examined;
use super::{Check, Job, Name, Outcome, Progress, Requirements, sandbox};
use wheelhouse_publish::simple_index;

const BEFORE: &str = "what was checked before has failed";
const NOT_ASKED: &str = "it was not asked for";

/// A verification on its way.
pub(super) struct Verification<'a> {
    pub(super) job: &'a Job,
    pub(super) survey: &'a Survey,
    pub(super) wheels: &'a BTreeMap<String, Examined>,
    pub(super) scratch: &'a Path,
    /// The settings for building source distributions.
    pub(super) building: Building,
    pub(super) checks: Vec<Check>,
}

/// A target, and a Python to prove something with.
struct Standing {
    /// As the manifest names it.
    name: String,
    target: Target,
    host: Host,
    /// Why the Python is not one of that target, if it is not.
    foreign: Option<String>,
}

impl Verification<'_> {
    pub(super) async fn run(mut self) -> Result<Vec<Check>> {
        self.confine_builds().await?;
        let standing = self.standing().await?;
        let locks = self.check_integrity(&standing);
        self.check_sources(&standing, &locks).await?;
        for standing in standing {
            Box::pin(self.check_target(standing, &locks)).await?;
        }
        Ok(self.checks)
    }

    /// Gives hooks the surroundings that pip has.
    async fn confine_builds(&mut self) -> Result<()> {
        if self.job.install && !self.survey.sdists.is_empty() {
            let home = self.scratch.join("home");
            let surroundings = sandbox::Surroundings::new(&self.job.environment, &home).await?;
            self.building.confinement = Some(Arc::new(surroundings.confinement()));
        }
        Ok(())
    }

    /// The targets of the manifest, or else the ordinary Python.
    async fn standing(&self) -> Result<Vec<Standing>> {
        let hosts = Hosts {
            python: self.job.python.as_deref(),
            surroundings: &self.job.surroundings,
            cache: self.scratch.join("uv"),
        };
        let manifest = self.survey.manifest.as_ref();
        let Some(manifest) = manifest.filter(|manifest| !manifest.targets.is_empty()) else {
            let host = hosts.ordinary().await?;
            let target = host.target();
            return Ok(vec![Standing {
                name: target.full_name(),
                target,
                host,
                foreign: None,
            }]);
        };
        let mut standing = Vec::new();
        for target in &manifest.targets {
            let name = target.full_name();
            standing.push(match hosts.standing_for(target).await? {
                Some(host) => Standing {
                    name,
                    target: host.target(),
                    host,
                    foreign: None,
                },
                None => Standing {
                    name,
                    target: target.clone(),
                    host: hosts.ordinary().await?,
                    foreign: Some(no_host(hosts.python)),
                },
            });
        }
        Ok(standing)
    }

    /// Checks what can be checked without running anything, and returns the locks.
    fn check_integrity(&mut self, standing: &[Standing]) -> Locks {
        let (survey, wheels) = (self.survey, self.wheels);
        let targets = match &survey.manifest {
            Some(manifest) if !manifest.targets.is_empty() => manifest.targets.clone(),
            _ => standing.iter().map(|one| one.target.clone()).collect(),
        };
        self.end(files::check(survey, wheels));
        self.end(wheels::check(survey, wheels, &targets));
        if let Some(check) = index::check(survey, wheels) {
            self.end(check);
        }
        let Some((check, locks)) = lock::check(survey, &targets) else {
            return Locks::default();
        };
        self.end(check);
        locks
    }

    /// Builds what is to be built: of a directory without a manifest everything, else what the lock
    /// of this machine's own target has. Nobody knows what others would do.
    async fn check_sources(&mut self, standing: &[Standing], locks: &Locks) -> Result<()> {
        let manifest = self.survey.manifest.as_ref();
        let sdists: Vec<&String> = match manifest {
            None => self.survey.sdists.iter().collect(),
            Some(manifest) => of_manifest(manifest, &self.survey.sdists),
        };
        if sdists.is_empty() || self.survey.no_files().next().is_some() {
            return Ok(());
        }
        let own = standing.iter().find(|one| one.foreign.is_none());
        let check = match own {
            _ if !self.job.install => Examination::of(Name::Sources).left_out(NOT_ASKED),
            _ if manifest.is_some() && self.has_failed() => {
                Examination::of(Name::Sources).left_out(BEFORE)
            }
            None => Examination::of(Name::Sources).left_out(no_host(self.job.python.as_deref())),
            Some(own) => {
                let sdists = match locks.targets.get(&own.name) {
                    Some(lock) => in_lock(&sdists, lock),
                    None => sdists,
                };
                let target = &own.target;
                sdists::check(self.survey, &sdists, target, self).await?
            }
        };
        self.end(check);
        Ok(())
    }

    fn begin(&self, name: Name, about: &str) {
        let about = Some(about);
        (self.job.watch)(Progress::Begins { name, about });
    }

    fn end(&mut self, check: Check) {
        (self.job.watch)(Progress::Ended(&check));
        self.checks.push(check);
    }

    fn has_failed(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.outcome == Outcome::Failed)
    }

    /// Checks the set that was asked for, and further ones of the manifest.
    async fn check_target(&mut self, standing: Standing, locks: &Locks) -> Result<()> {
        let wanted = self.wanted(locks.targets.get(&standing.name), &standing.target)?;
        self.check_completeness(&wanted, &standing).await?;
        self.check_installation(&wanted, &standing).await?;
        let (Requirements::Own, Some(manifest)) = (&self.job.requirements, &self.survey.manifest)
        else {
            return Ok(());
        };
        for set in &manifest.sets {
            let wanted = Wanted::set(set, manifest, locks.sets.get(&set.name));
            self.check_completeness(&wanted, &standing).await?;
            if !set.build_only {
                self.check_installation(&wanted, &standing).await?;
            }
        }
        Ok(())
    }

    async fn check_completeness(&mut self, wanted: &Wanted, standing: &Standing) -> Result<()> {
        let target = &standing.target;
        let lines = match &self.job.requirements {
            Requirements::Lines { requirements, .. } => requirements.as_slice(),
            Requirements::Own | Requirements::Lock(_) => &[],
        };
        let proof = completeness::Proof {
            survey: self.survey,
            wheels: self.wheels,
            wanted,
            lines,
            target,
            scratch: self.scratch,
            build: self.job.install && standing.foreign.is_none(),
            building: &self.building,
        };
        self.begin(Name::Completeness, &wanted.label(target));
        let check = Box::pin(proof.check(standing.host.clone())).await?;
        self.end(check);
        Ok(())
    }

    /// What the directory has to satisfy, and how a lock from elsewhere agrees with it.
    fn wanted(&mut self, lock: Option<&Lock>, target: &Target) -> Result<Wanted> {
        let manifest = self.survey.manifest.as_ref();
        Ok(match (&self.job.requirements, manifest) {
            (
                Requirements::Lines {
                    requirements,
                    constraints,
                },
                _,
            ) => Wanted::lines(requirements, constraints, manifest),
            (Requirements::Lock(path), _) => {
                let given = Given::read(path, self.survey, target)?;
                self.end(given.check(self.survey, self.wheels, target));
                Wanted::lock(&given.lock, path)
            }
            (Requirements::Own, Some(manifest)) => Wanted::manifest(manifest, lock, target),
            (Requirements::Own, None) => Wanted::everything(self.survey, self.wheels, target),
        })
    }

    async fn check_installation(&mut self, wanted: &Wanted, standing: &Standing) -> Result<()> {
        let target = &standing.target;
        let label = wanted.label(target);
        if let Some(reason) = &standing.foreign {
            let check = Examination::of(Name::Installation).target(&label);
            self.end(check.left_out(reason.as_str()));
            return Ok(());
        }
        let reason = match (self.job.install, self.has_failed()) {
            (false, _) => NOT_ASKED,
            (true, true) => BEFORE,
            (true, false) => return self.install(wanted, target).await,
        };
        let check = Examination::of(Name::Installation).target(&label);
        self.end(check.left_out(reason));
        if self.job.import {
            let check = Examination::of(Name::Imports).target(&label);
            self.end(check.left_out(reason));
        }
        Ok(())
    }

    async fn install(&mut self, wanted: &Wanted, target: &Target) -> Result<()> {
        // Each target has an environment of its own.
        let scratch = self
            .scratch
            .join(format!("installation-{}", self.checks.len()));
        let home = scratch.join("home");
        let surroundings = sandbox::Surroundings::new(&self.job.environment, &home).await?;
        let has_page = self.survey.others.contains(simple_index::LEGACY_PAGE);
        let unseen = self.survey.sdists.iter().map(String::as_str);
        let unseen = unseen.filter(|name| !has_page && simple_index::is_legacy(name));
        let installation = install::Installation {
            unseen: unseen.collect(),
            directory: &self.survey.directory,
            wanted,
            target,
            scratch: &scratch,
            surroundings: &surroundings,
        };
        self.begin(Name::Installation, &wanted.label(target));
        let (check, installed) = installation.check().await?;
        self.end(check);
        if self.job.import {
            let check = match installed {
                Some(installed) => {
                    self.begin(Name::Imports, &wanted.label(target));
                    imports::check(&installed, target, &surroundings).await
                }
                None => Examination::of(Name::Imports)
                    .target(&target.label())
                    .left_out(BEFORE),
            };
            self.end(check);
        }
        Ok(())
    }
}

/// Those of `sdists` that the manifest names for more than builds.
fn of_manifest<'a>(manifest: &Manifest, sdists: &'a BTreeSet<String>) -> Vec<&'a String> {
    let named = |name: &&String| {
        let mut known = manifest.sdists.iter();
        known.any(|sdist| sdist.filename == **name && !sdist.build_only)
    };
    sdists.iter().filter(named).collect()
}

/// Those of `sdists` that `lock` pins.
fn in_lock<'a>(sdists: &[&'a String], lock: &Lock) -> Vec<&'a String> {
    let locked: BTreeSet<&str> = lock
        .packages
        .iter()
        .filter(|package| matches!(package.source, Source::Sdist(_)))
        .filter_map(|package| Some(package.source.artifact()?.filename.as_str()))
        .collect();
    let sdists = sdists.iter().copied();
    sdists
        .filter(|name| locked.contains(name.as_str()))
        .collect()
}

/// Why nothing is proven for a target.
fn no_host(named: Option<&str>) -> String {
    match named {
        Some(python) => format!("`{python}` is another Python than that"),
        None => "no such Python is here; name one with --python".to_owned(),
    }
}
