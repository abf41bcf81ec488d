//! Runs the checks of a verification in order; checks that run code only if no earlier check has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tracing::debug;
use wheelhouse_engine::Host;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::Building;
use wheelhouse_types::{Kind, Lock, Manifest, Result, Source, Target};

use super::checks::external_lock::ExternalLock;
use super::checks::lock::DirectoryLocks;
use super::checks::{
    attestations, completeness, files, imports, index, install, lock, sdists, signatures, wheels,
};
use super::interpreters::Interpreters;
use super::inventory::DirectoryInventory;
use super::job::{CheckProgress, VerifyJob, VerifyRequirements};
use super::report::{Check, CheckBuilder, CheckName, CheckOutcome};
use super::requirements::RequiredPackages;
use super::sandbox::{Sandbox, SandboxRequest};
use super::wheel_contents::WheelContents;
use wheelhouse_publish::simple_index;

const EARLIER_FAILURE: &str = "an earlier check has failed";
const NOT_REQUESTED: &str = "it was not requested";

/// A verification that has started.
pub(super) struct Runner<'a> {
    pub(super) job: &'a VerifyJob,
    pub(super) inventory: &'a DirectoryInventory,
    pub(super) wheels: &'a BTreeMap<String, WheelContents>,
    pub(super) scratch: &'a Path,
    /// The settings for building source distributions.
    pub(super) building: Building,
    pub(super) checks: Vec<Check>,
}

/// A target, and an interpreter for its checks.
struct TargetHost {
    /// The name of the target in the manifest.
    name: String,
    target: Target,
    host: Host,
    /// Why the interpreter is not that of the target, if it is not.
    mismatch: Option<String>,
}

impl Runner<'_> {
    /// Runs all checks.
    ///
    /// # Errors
    /// When an input cannot be read, an interpreter cannot be used, or the run is interrupted.
    pub(super) async fn run(mut self) -> Result<Vec<Check>> {
        let hosts = self.target_hosts().await?;
        let locks = self.check_integrity(&hosts);
        self.check_sdists(&hosts, &locks).await?;
        for host in hosts {
            Box::pin(self.check_target(host, &locks)).await?;
        }
        Ok(self.checks)
    }

    /// Returns the targets of the manifest, or that of the default interpreter.
    async fn target_hosts(&self) -> Result<Vec<TargetHost>> {
        let interpreters = Interpreters {
            python: self.job.python.as_deref(),
            discovery: &self.job.discovery,
            cache: self.scratch.join("uv"),
        };
        let manifest = self.inventory.manifest.as_ref();
        let Some(manifest) = manifest.filter(|manifest| !manifest.targets.is_empty()) else {
            let host = interpreters.default_interpreter().await?;
            let target = host.target();
            return Ok(vec![TargetHost {
                name: target.full_name(),
                target,
                host,
                mismatch: None,
            }]);
        };
        let mut hosts = Vec::new();
        for target in &manifest.targets {
            let name = target.full_name();
            let host = match interpreters.interpreter_for(target).await? {
                Some(host) => TargetHost {
                    name,
                    target: host.target(),
                    host,
                    mismatch: None,
                },
                None => TargetHost {
                    name,
                    target: target.clone(),
                    host: interpreters.default_interpreter().await?,
                    mismatch: Some(no_interpreter(interpreters.python)),
                },
            };
            debug!(
                name = host.name,
                mismatch = host.mismatch,
                "found an interpreter for a target"
            );
            hosts.push(host);
        }
        Ok(hosts)
    }

    /// Runs the checks that start no programs, and returns the locks of the directory.
    fn check_integrity(&mut self, hosts: &[TargetHost]) -> DirectoryLocks {
        let (inventory, wheels) = (self.inventory, self.wheels);
        let targets = match &inventory.manifest {
            Some(manifest) if !manifest.targets.is_empty() => manifest.targets.clone(),
            _ => hosts.iter().map(|host| host.target.clone()).collect(),
        };
        self.finish(files::check(inventory, wheels));
        if let Some(key) = &self.job.key {
            self.finish(signatures::check(inventory, key));
        }
        if let Some(inputs) = &self.job.attestations {
            let is_signed = self.job.key.is_some();
            self.finish(attestations::check(inventory, wheels, inputs, is_signed));
        }
        self.finish(wheels::check(inventory, wheels, &targets));
        if let Some(check) = index::check(inventory, wheels) {
            self.finish(check);
        }
        let Some((check, locks)) = lock::check(inventory, &targets) else {
            return DirectoryLocks::default();
        };
        self.finish(check);
        locks
    }

    /// Builds the source distributions: without a manifest all of them, otherwise those in the lock of a target
    /// that has an interpreter here, because the results for other targets are unknown.
    async fn check_sdists(&mut self, hosts: &[TargetHost], locks: &DirectoryLocks) -> Result<()> {
        let manifest = self.inventory.manifest.as_ref();
        let sdists: Vec<&String> = match manifest {
            None => self.inventory.sdists.iter().collect(),
            Some(manifest) => sdists_of_manifest(manifest, &self.inventory.sdists),
        };
        if sdists.is_empty() || self.inventory.irregular_files().next().is_some() {
            return Ok(());
        }
        let skip = |reason: String| CheckBuilder::new(CheckName::Sources).skipped(reason);
        let own = hosts.iter().find(|host| host.mismatch.is_none());
        let check = match own {
            _ if !self.job.install => skip(NOT_REQUESTED.to_owned()),
            _ if manifest.is_some() && self.has_failed() => skip(EARLIER_FAILURE.to_owned()),
            None => skip(no_interpreter(self.job.python.as_deref())),
            Some(own) => {
                let sdists = match locks.targets.get(&own.name) {
                    Some(lock) => sdists_of_lock(&sdists, lock),
                    None => sdists,
                };
                let check = sdists::SdistCheck {
                    inventory: self.inventory,
                    target: &own.target,
                    scratch: self.scratch,
                    building: &self.building,
                    progress: &self.job.progress,
                };
                check.run(&sdists).await?
            }
        };
        self.finish(check);
        Ok(())
    }

    fn start(&self, name: CheckName, about: &str) {
        debug!(?name, about, "check started");
        let about = Some(about);
        (self.job.progress)(CheckProgress::Started { name, about });
    }

    fn finish(&mut self, check: Check) {
        debug!(
            name = ?check.name,
            target = check.target,
            outcome = ?check.outcome,
            failures = check.failures.len(),
            warnings = check.warnings.len(),
            reason = check.reason,
            "check finished"
        );
        for failure in &check.failures {
            debug!(name = ?check.name, about = failure.about, failure = failure.message, "check failed");
        }
        (self.job.progress)(CheckProgress::Finished(&check));
        self.checks.push(check);
    }

    fn has_failed(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.outcome == CheckOutcome::Failed)
    }

    /// Checks the requirements, and the additional sets of the manifest.
    async fn check_target(&mut self, host: TargetHost, locks: &DirectoryLocks) -> Result<()> {
        let required = self.required_packages(locks.targets.get(&host.name), &host.target)?;
        self.check_completeness(&required, &host).await?;
        self.check_installation(&required, &host).await?;
        let (VerifyRequirements::Own, Some(manifest)) =
            (&self.job.requirements, &self.inventory.manifest)
        else {
            return Ok(());
        };
        for set in &manifest.sets {
            let required = RequiredPackages::set(set, manifest, locks.sets.get(&set.name));
            self.check_completeness(&required, &host).await?;
            if !set.build_only {
                self.check_installation(&required, &host).await?;
            }
        }
        Ok(())
    }

    async fn check_completeness(
        &mut self,
        required: &RequiredPackages,
        host: &TargetHost,
    ) -> Result<()> {
        let target = &host.target;
        let lines = match &self.job.requirements {
            VerifyRequirements::Lines { requirements, .. } => requirements.as_slice(),
            VerifyRequirements::Own | VerifyRequirements::Lock(_) => &[],
        };
        let proof = completeness::Proof {
            inventory: self.inventory,
            wheels: self.wheels,
            required,
            lines,
            target,
            scratch: self.scratch,
            build: self.job.install && host.mismatch.is_none(),
            building: &self.building,
        };
        self.start(CheckName::Completeness, &required.label(target));
        let check = Box::pin(proof.check(host.host.clone())).await?;
        self.finish(check);
        Ok(())
    }

    /// Returns the packages that the directory must have. A lock from another place is compared with the files first.
    fn required_packages(
        &mut self,
        lock: Option<&Lock>,
        target: &Target,
    ) -> Result<RequiredPackages> {
        let manifest = self.inventory.manifest.as_ref();
        Ok(match (&self.job.requirements, manifest) {
            (
                VerifyRequirements::Lines {
                    requirements,
                    constraints,
                },
                _,
            ) => RequiredPackages::lines(requirements, constraints, manifest),
            (VerifyRequirements::Lock(path), _) => {
                let external = ExternalLock::read(path, self.inventory, target)?;
                self.finish(external.check(self.inventory, self.wheels, target));
                RequiredPackages::lock(&external.lock, path)
            }
            (VerifyRequirements::Own, Some(manifest)) => {
                RequiredPackages::manifest(manifest, lock, target)
            }
            (VerifyRequirements::Own, None) => {
                RequiredPackages::everything(self.inventory, self.wheels, target)
            }
        })
    }

    async fn check_installation(
        &mut self,
        required: &RequiredPackages,
        host: &TargetHost,
    ) -> Result<()> {
        let target = &host.target;
        let label = required.label(target);
        if let Some(reason) = &host.mismatch {
            let check = CheckBuilder::new(CheckName::Installation).target(&label);
            self.finish(check.skipped(reason.as_str()));
            return Ok(());
        }
        let reason = match (self.job.install, self.has_failed()) {
            (false, _) => NOT_REQUESTED,
            (true, true) => EARLIER_FAILURE,
            (true, false) => return self.install(required, host).await,
        };
        let check = CheckBuilder::new(CheckName::Installation).target(&label);
        self.finish(check.skipped(reason));
        if self.job.import {
            let check = CheckBuilder::new(CheckName::Imports).target(&label);
            self.finish(check.skipped(reason));
        }
        Ok(())
    }

    async fn install(&mut self, required: &RequiredPackages, host: &TargetHost) -> Result<()> {
        let target = &host.target;
        // Each installation has its own environment.
        let name = format!("installation-{}", self.checks.len());
        let (scratch, outer) = (
            self.scratch.join(&name),
            self.scratch.join(name + "-sandbox"),
        );
        for directory in [&scratch, &outer] {
            fs_err::create_dir_all(directory).context(Kind::Publish, || {
                "failed to create a temporary directory".to_owned()
            })?;
        }
        let sandbox = Sandbox::new(&SandboxRequest {
            building: &self.building,
            interpreter: host.host.paths(),
            directory: &self.inventory.directory,
            scratch: &scratch,
            outer: &outer,
        })?;
        let has_page = self.inventory.others.contains(simple_index::LEGACY_PAGE);
        let sdists = self.inventory.sdists.iter().map(String::as_str);
        let ignored = sdists.filter(|name| !has_page && simple_index::is_legacy(name));
        let installation = install::PipInstallation {
            ignored_sdists: ignored.collect(),
            directory: &self.inventory.directory,
            required,
            target,
            scratch: &scratch,
            sandbox: &sandbox,
        };
        self.start(CheckName::Installation, &required.label(target));
        let (check, installed) = installation.check().await?;
        self.finish(check);
        if self.job.import {
            let check = match installed {
                Some(installed) => {
                    self.start(CheckName::Imports, &required.label(target));
                    imports::check(&installed, target, &sandbox).await
                }
                None => CheckBuilder::new(CheckName::Imports)
                    .target(&target.label())
                    .skipped(EARLIER_FAILURE),
            };
            self.finish(check);
        }
        Ok(())
    }
}

/// Returns those of `sdists` that the manifest lists as installable, not only for builds. A server may add files
/// without their build requirements.
fn sdists_of_manifest<'a>(manifest: &Manifest, sdists: &'a BTreeSet<String>) -> Vec<&'a String> {
    let is_listed = |name: &&String| {
        let mut listed = manifest.sdists.iter();
        listed.any(|sdist| sdist.filename == **name && !sdist.build_only && !sdist.added)
    };
    sdists.iter().filter(is_listed).collect()
}

/// Returns those of `sdists` that `lock` pins.
fn sdists_of_lock<'a>(sdists: &[&'a String], lock: &Lock) -> Vec<&'a String> {
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

/// Returns why a target cannot be checked.
fn no_interpreter(named: Option<&str>) -> String {
    match named {
        Some(python) => format!("`{python}` is not a Python of this target"),
        None => "no Python of this target was found; name one with --python".to_owned(),
    }
}
