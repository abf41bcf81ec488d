//! The step of a build: its inputs, which are made and put into the store, and the document that names them by digest.

use std::rc::Rc;

use futures::future::try_join_all;
use tracing::debug;
use wheelhouse_engine::{ArtifactProvider as _, WheelFile};
use wheelhouse_farm::schedule::ExpectedStep;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::StoredFile;
use wheelhouse_types::provenance::InputFile;
use wheelhouse_types::request::SandboxMode;
use wheelhouse_types::step::{self, BuildStep, StepCrate, StepFile, StepSandbox, StepSandboxMode};
use wheelhouse_types::{Artifact, Distribution, Error, Kind, Result, Sha256, Source, Target};

use super::super::farm::{Farm, expected_duration};
use super::crate_provider::StoredCrate;
use super::examine::examine_stored;
use super::local::LocalWorker;
use super::provider::Prefetcher;
use super::tasks::identity;

/// The inputs of a step, which are in the store.
pub(super) struct StepInputs {
    source: StoredFile,
    /// The declared and reported requirements.
    requires: Vec<String>,
    /// The wheels of the build environment, sorted by name.
    wheels: Vec<(Distribution, WheelFile, StoredFile)>,
    pub(super) crates: Vec<StoredCrate>,
}

impl StepInputs {
    /// Returns all files with their names.
    pub(super) fn files<'a>(&'a self, artifact: &'a Artifact) -> Vec<(&'a StoredFile, &'a str)> {
        let source = std::iter::once((&self.source, artifact.filename.as_str()));
        let wheels = self.wheels.iter();
        let wheels = wheels.map(|(_, wheel, stored)| (stored, wheel.filename.as_str()));
        let crates = self.crates.iter();
        let crates = crates.map(|one| (&one.stored, one.locked.name.as_str()));
        source.chain(wheels).chain(crates).collect()
    }

    /// Returns the wheels as a record names them, with the places where this run found them.
    pub(super) fn requirements(&self) -> Vec<InputFile> {
        let wheels = self
            .wheels
            .iter()
            .map(|(required, wheel, stored)| InputFile {
                filename: wheel.filename.clone(),
                sha256: stored.sha256,
                source: required.source.to_string(),
                built_from: wheel.built_from,
                requirements: wheel.requirements.clone(),
                crates: wheel.crates.clone(),
            });
        wheels.collect()
    }
}

impl LocalWorker {
    /// Makes everything that the build of `distribution` for `target` uses, and tells the farm that the step `id` will come.
    ///
    /// # Errors
    /// When the source or a build requirement cannot be made.
    pub(super) async fn step_inputs(
        self: &Rc<Self>,
        farm: &Farm,
        distribution: &Distribution,
        artifact: &Artifact,
        target: &Target,
        id: &str,
    ) -> Result<StepInputs> {
        let source = self.file(distribution, artifact).await?;
        examine_stored(&self.context.store, &source, &artifact.filename).await?;
        let is_foreign = target.interpreter.is_none();
        let requirements = match self.build_requirements(distribution).await {
            // The build backend may work on a machine of the target; what it would report there is part of the declared
            // requirements in most cases.
            Err(error) if is_foreign && error.kind() == Kind::Build => {
                debug!(%distribution, error = error.display_chain(), "the build backend fails here");
                self.declared_requirements(distribution).await?
            }
            answer => answer?,
        };
        let engine = &self.engine;
        let closure = if requirements.is_empty() {
            Vec::new()
        } else if is_foreign {
            let prefetcher = Prefetcher::for_target(self, target);
            engine
                .resolve_build_requirements(&requirements, target, &prefetcher)
                .await?
        } else {
            let prefetcher = Prefetcher::for_build(self, distribution);
            engine
                .resolve_build_requirements(&requirements, target, &prefetcher)
                .await?
        };
        let built = closure
            .iter()
            .filter(|one| !matches!(one.source, Source::Wheel(_)));
        farm.expect(ExpectedStep {
            id: id.to_owned(),
            duration: expected_duration(&self.context.store, &distribution.name),
            requires: built
                .map(|one| format!("{} {}", target.full_name(), identity(one)))
                .collect(),
        });
        let wheels = if is_foreign {
            let wheels = closure
                .iter()
                .map(|required| self.make_for(required, target, Some(id.to_owned())));
            let wheels = try_join_all(wheels).await?;
            wheels.into_iter().map(WheelFile::from).collect()
        } else {
            Prefetcher::for_build(self, distribution)
                .wheels(&closure)
                .await?
        };
        let crates = self.crates(distribution).await?;
        let crates = self.crate_files(&crates).await?;
        let mut wheels: Vec<_> = closure.into_iter().zip(wheels).collect();
        wheels.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        let mut found = Vec::new();
        for (required, wheel) in wheels {
            let stored = self.stored_wheel(&wheel).await?;
            found.push((required, wheel, stored));
        }
        Ok(StepInputs {
            source,
            requires: requirements.texts(),
            wheels: found,
            crates,
        })
    }

    async fn stored_wheel(&self, wheel: &WheelFile) -> Result<StoredFile> {
        let lost = || {
            Error::new(
                Kind::Fetch,
                format!("{} is not in the store", wheel.filename),
            )
        };
        let (store, sha256) = (self.context.store.clone(), wheel.sha256.ok_or_else(lost)?);
        let found = blocking(move || store.find(&sha256)).await?;
        found.hit().ok_or_else(lost)
    }

    /// Describes the build of `distribution` for `target`.
    ///
    /// # Errors
    /// When the version of `distribution` is not known.
    pub(super) fn step(
        &self,
        distribution: &Distribution,
        artifact: &Artifact,
        inputs: &StepInputs,
        target: &Target,
    ) -> Result<BuildStep> {
        let building = &self.context.request.building;
        let name = &distribution.name;
        let version = distribution.version.clone().ok_or_else(|| {
            let message = format!("the version of {distribution} is not known");
            Error::new(Kind::Resolution, message)
        })?;
        let file = |stored: &StoredFile, filename: &str| StepFile {
            filename: filename.to_owned(),
            sha256: stored.sha256,
            size: stored.size,
        };
        let mut requires = inputs.requires.clone();
        requires.sort();
        let sandbox = &building.sandbox;
        let variables = building.environment.iter();
        let variables = variables.filter(|(name, _)| *name != "PATH");
        Ok(BuildStep {
            schema: step::SCHEMA.to_owned(),
            name: name.clone(),
            version,
            source: file(&inputs.source, &artifact.filename),
            subdirectory: artifact.subdirectory.clone(),
            target: target.name(),
            requires,
            requirements: inputs
                .wheels
                .iter()
                .map(|(_, wheel, stored)| file(stored, &wheel.filename))
                .collect(),
            crates: inputs
                .crates
                .iter()
                .map(|one| StepCrate {
                    locked: one.locked.clone(),
                    size: one.stored.size,
                })
                .collect(),
            config_settings: building.config_settings.clone(),
            package_settings: building
                .package_settings
                .get(name)
                .cloned()
                .unwrap_or_default(),
            environment: variables
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            sandbox: StepSandbox {
                mode: match sandbox.mode {
                    SandboxMode::Auto => StepSandboxMode::Auto,
                    SandboxMode::Require => StepSandboxMode::Require,
                    SandboxMode::Off => StepSandboxMode::Off,
                },
                network: sandbox.network.contains(name),
                writable: sandbox.writable.get(name).cloned().unwrap_or_default(),
            },
            hook_timeout: building.timeout.as_secs().max(1),
            variation: building.is_varied.then(|| {
                // The cache of such a run is temporary, at a random path.
                let root = self.context.store.root().as_os_str();
                Sha256::of(root.as_encoded_bytes()).to_string()
            }),
        })
    }
}
