//! What the store has of a lock, and the wheels of steps that need no work.
//!
//! Never asks whether a lock is right, and never makes anything.

use wheelhouse_model::plan::Inventory;
use wheelhouse_model::{Action, Distribution, Event, Lock, Outcome, Result, Source, Step};

use super::worker::Made;
use super::{Run, key};
use crate::store::{BuiltWheel, Found, Stored};

impl Run {
    /// What the store has of `lock`.
    pub(super) fn inventory(&self, lock: &Lock) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        for (position, package) in lock.packages.iter().enumerate() {
            let distribution = package.distribution();
            match &package.source {
                Source::Wheel(artifact) => {
                    if let Some(sha256) = artifact.hashes.sha256()
                        && self
                            .find(&artifact.filename, self.job.store.find(&sha256)?)
                            .is_some()
                    {
                        inventory.wheels.insert(sha256);
                    }
                }
                Source::Sdist(artifact) if artifact.hashes.sha256().is_none() => {}
                _ if !self.job.request.building.isolated => {}
                _ => {
                    let found = self.find(&distribution.to_string(), self.built(&distribution)?);
                    if let Some((built, _)) = found {
                        let built = (built.sha256, built.filename);
                        inventory.built.insert(position, built);
                    }
                }
            }
        }
        Ok(inventory)
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
            let built = self.built(&step.package.distribution())?.present();
            made.built = built.map(|(built, _)| built);
            made.sdist = source
                .artifact()
                .and_then(|artifact| artifact.hashes.sha256());
        }
        Ok(Some(made))
    }

    /// The wheel that a source was built into earlier.
    fn built(&self, distribution: &Distribution) -> Result<Found<(BuiltWheel, Stored)>> {
        let source = key::source(distribution, None, &self.trees);
        let key = key::build_key(&self.job.request, &self.target, distribution, &source);
        self.job.store.built(&key)
    }

    fn find<T>(&self, what: &str, found: Found<T>) -> Option<T> {
        if let Found::Corrupt(_) = &found {
            let message = format!("{what} was damaged in the store and is had again");
            self.observer.observe(&Event::warning(message));
        }
        found.present()
    }
}
