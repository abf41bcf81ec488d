//! What the store has of a lock, and the wheels of steps that need no work.
//!
//! Never asks whether a lock is right, and never makes anything.

use wheelhouse_types::lock::Package;
use wheelhouse_types::plan::Inventory;
use wheelhouse_types::{Action, Artifact, Distribution, Lock, Outcome, Result, Source, Step};

use super::Run;
use super::worker::build_key;
use super::worker::{Made, built_wheel, is_demanded, is_known_as, warn_of_corrupt_file};
use wheelhouse_store::{BuiltWheel, Found, Stored};

impl Run {
    /// What the store has of `lock`.
    pub(super) fn inventory(&self, lock: &Lock) -> Result<Inventory> {
        let wheels = lock
            .packages
            .iter()
            .filter_map(|package| match &package.source {
                Source::Wheel(artifact) => Some((artifact, artifact.hashes.sha256()?)),
                _ => None,
            });
        let (wheels, digests): (Vec<_>, Vec<_>) = wheels.unzip();
        for (artifact, found) in wheels.into_iter().zip(self.job.store.find_many(&digests)?) {
            if let Found::Corrupt(_) = found {
                warn_of_corrupt_file(&*self.observer, artifact);
            }
        }
        let mut inventory = Inventory::default();
        for (position, package) in lock.packages.iter().enumerate() {
            let distribution = package.distribution();
            match &package.source {
                Source::Wheel(artifact) => {
                    if let Some(stored) = self.stored(artifact, &package.required_hashes)?
                        && is_known_as(&self.job.store, &stored, &distribution)
                    {
                        inventory.wheels.insert(stored.sha256);
                    }
                }
                Source::Sdist(artifact) if !self.may_be_built(artifact, package)? => {}
                _ if !self.job.request.building.isolated => {}
                _ => {
                    if let Some((built, _)) = self.built(&distribution)? {
                        let built = (built.sha256, built.filename);
                        inventory.built.insert(position, built);
                    }
                }
            }
        }
        Ok(inventory)
    }

    /// The file of `artifact` as the store has it, if it is one that is demanded.
    fn stored(&self, artifact: &Artifact, required_hashes: &[String]) -> Result<Option<Stored>> {
        let Some(sha256) = artifact.hashes.sha256() else {
            return Ok(None);
        };
        match self.job.store.find(&sha256)? {
            Found::Present(stored) => {
                Ok(is_demanded(&stored, artifact, required_hashes)?.then_some(stored))
            }
            Found::Absent => Ok(None),
            Found::Corrupt(_) => {
                warn_of_corrupt_file(&*self.observer, artifact);
                Ok(None)
            }
        }
    }

    /// Whether the sdist of `package` is known to be one that is demanded, though the store may have no
    /// more of it than its wheel.
    fn may_be_built(&self, artifact: &Artifact, package: &Package) -> Result<bool> {
        let required = &package.required_hashes;
        let Some(sha256) = artifact.hashes.sha256() else {
            return Ok(false);
        };
        Ok(required.is_empty()
            || required.contains(&format!("sha256:{sha256}"))
            || self.stored(artifact, required)?.is_some())
    }

    /// The wheel of a step that the store has.
    pub(super) fn at_hand(&self, step: &Step) -> Result<Option<Made>> {
        let Action::Reuse { sha256, filename } = &step.action else {
            return Ok(None);
        };
        let Some(stored) = self.job.store.find(sha256)?.present() else {
            return Ok(None);
        };
        let mut made = Made {
            stored,
            filename: filename.clone(),
            outcome: Outcome::Reused,
            built: None,
            sdist: None,
        };
        let source = &step.package.source;
        if !matches!(source, Source::Wheel(_)) {
            let built = self.built(&step.package.distribution())?;
            made.built = built.map(|(built, _)| built);
            made.sdist = source
                .artifact()
                .and_then(|artifact| artifact.hashes.sha256());
        }
        Ok(Some(made))
    }

    /// The wheel that a source was built into earlier.
    fn built(&self, distribution: &Distribution) -> Result<Option<(BuiltWheel, Stored)>> {
        let source = build_key::source(distribution, None, &self.trees);
        let key = build_key::build_key(&self.job.request, &self.host_target, distribution, &source);
        built_wheel(&self.job.store, &*self.observer, &key, distribution)
    }
}
