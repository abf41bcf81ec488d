//! Builds on a farm: an sdist becomes a build step, and the record of its result becomes that of a build here.
//!
//! 1. The build requirements are resolved here. Their wheels are made first, through this same worker.
//! 2. The sdist, the wheels and the crates are written to the shared cache, and then the step that names them by digest.
//! 3. If the shared cache has the result of the same step, it is used. Otherwise the farm carries out the step.
//! 4. The wheel is checked as one that was built here, and its record names the places where this run found the inputs.

use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tracing::{debug, instrument};
use wheelhouse_engine::{WheelCompatibility, WheelFile, build_cycle_error};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{BuildKey, BuildRecord, StoredFile};
use wheelhouse_types::provenance::BuildInputs;
use wheelhouse_types::target::{Platform, System, glibc_of_wheel};
use wheelhouse_types::{
    Artifact, Distribution, Error, Event, Kind, Outcome, Result, Sha256, Source, Target,
};

use super::super::farm::{Farm, save_duration};
use super::artifact::{WheelArtifact, Worker as _};
use super::build::sdist_file;
use super::built_wheel::check_wheel;
use super::local::LocalWorker;
use super::tasks::identity;

impl LocalWorker {
    /// Returns the farm if it can build `distribution`: an sdist with a known version. Local trees and Git checkouts are built
    /// here, and so is everything without isolation, which depends on the environment of this machine.
    pub(super) fn farm_for(
        &self,
        distribution: &Distribution,
        target: &Target,
    ) -> Option<(Rc<Farm>, Artifact)> {
        let farm = self.context.farm.as_ref()?;
        let Source::Sdist(artifact) = &distribution.source else {
            return None;
        };
        let is_possible = distribution.version.is_some() && self.context.request.building.isolated;
        // A farm need not have an image for this machine, which builds for itself then.
        let is_served = target.interpreter.is_none() || farm.runner.serves(target);
        (is_possible && is_served).then(|| (Rc::clone(farm), artifact.clone()))
    }

    /// Returns the wheel of `distribution` for `target`, which has no interpreter on this machine: from an earlier build, or from
    /// the farm.
    ///
    /// # Errors
    /// When the run has no farm, a file cannot be downloaded, or the build fails.
    pub(in crate::pipeline) fn make_for<'a>(
        self: &'a Rc<Self>,
        distribution: &'a Distribution,
        target: &'a Target,
        builder: Option<String>,
    ) -> LocalBoxFuture<'a, Result<WheelArtifact>> {
        Box::pin(async move {
            if let Source::Wheel(_) = distribution.source {
                return self.make(distribution).await;
            }
            let key = format!("{} {}", target.full_name(), identity(distribution));
            // A task that waits for itself would never end.
            let _waiting = match &builder {
                Some(builder) => Some(
                    self.waits
                        .wait(builder, &key)
                        .ok_or_else(|| build_cycle_error(&distribution.to_string()))?,
                ),
                None => None,
            };
            let pending = self.wheels.run_once(key, || {
                let (worker, distribution) = (Rc::clone(self), distribution.clone());
                let target = target.clone();
                async move { worker.build_for(&distribution, &target).await }
            });
            pending.await.map_err(Error::from)
        })
    }

    /// Returns the wheel that was built from the sdist `distribution` for `target` before. Downloads nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(in crate::pipeline) async fn find_built_for(
        &self,
        distribution: &Distribution,
        target: &Target,
    ) -> Result<Option<BuildRecord>> {
        let artifact = distribution.source.artifact();
        let Some(sdist) = artifact.and_then(|artifact| artifact.hashes.sha256()) else {
            return Ok(None);
        };
        let key = self.build_key_for(distribution, Some(sdist), target);
        let found = self.find_built(&key, distribution).await?;
        Ok(found.map(|(built, _)| built))
    }

    async fn build_for(
        self: &Rc<Self>,
        distribution: &Distribution,
        target: &Target,
    ) -> Result<WheelArtifact> {
        let Some((farm, artifact)) = self.farm_for(distribution, target) else {
            let message = format!("{distribution} cannot be built for {}", target.label());
            return Err(Error::new(Kind::Build, message).with_hint(
                "Only a farm builds sdists for other targets: pass --workers kubernetes. Build local trees and Git \
                 repositories on a host of that target.",
            ));
        };
        let sdist = self.sdist_digest(distribution).await?;
        let key = self.build_key_for(distribution, sdist, target);
        if let Some((built, stored)) = self.find_built(&key, distribution).await? {
            return Ok(artifact_of(built, stored, Outcome::Reused, sdist));
        }
        self.build_on_farm(&farm, distribution, &artifact, sdist, &key, target)
            .await
    }

    /// Builds an sdist on the farm.
    ///
    /// # Errors
    /// When an input cannot be made, the shared cache cannot be used, or the build fails.
    #[instrument(name = "build on the farm", skip_all, fields(%distribution))]
    pub(super) async fn build_on_farm(
        self: &Rc<Self>,
        farm: &Rc<Farm>,
        distribution: &Distribution,
        artifact: &Artifact,
        sdist: Option<Sha256>,
        key: &BuildKey,
        target: &Target,
    ) -> Result<WheelArtifact> {
        let package = distribution.to_string();
        let observer = &self.context.observer;
        observer.observe(&Event::BuildStarted {
            package: package.clone(),
        });
        let id = format!("{} {}", target.full_name(), identity(distribution));
        let inputs = self
            .step_inputs(farm, distribution, artifact, target, &id)
            .await?;
        let step = self.step(distribution, artifact, &inputs, target)?;
        for (stored, filename) in inputs.files(artifact) {
            farm.steps.put(stored, filename).await?;
        }
        let store = &self.context.store;
        let digest = farm.steps.put_step(store, &step).await?;
        let mut outcome = Outcome::Reused;
        let mut result = self.result_of(farm, &digest, distribution, target).await?;
        if result.is_none() {
            let _slot = farm.scheduler.slot(&id).await;
            farm.runner.run(&step, observer).await?;
            outcome = Outcome::Built;
            result = self.result_of(farm, &digest, distribution, target).await?;
        }
        let Some((mut built, stored)) = result else {
            let message =
                format!("the farm has built {package} but left no record in the shared cache");
            return Err(Error::new(Kind::Build, message).with_hint(
                "Check that the workers write to the same location as --cache-to, and sign with a key of --cache-verify-key.",
            ));
        };
        built.inputs = Some(BuildInputs {
            sdist: sdist_file(distribution, sdist),
            requirements: inputs.requirements(),
            crates: inputs.crates.iter().map(|one| one.locked.clone()).collect(),
            ..built.inputs.unwrap_or_default()
        });
        store.save_build_record(key, &built)?;
        // The key of a shared build names the compilers of the machine that built it.
        let used = built.run.as_ref().map(|run| &run.compilers);
        let own = self.context.compilers().await;
        let is_as_here = used.is_none_or(|used| used.is_empty() || used == own);
        let result = (built, stored);
        if is_as_here && target.interpreter.is_some() {
            self.share(key, distribution, &result).await;
        }
        let (built, stored) = result;
        let seconds = built.seconds;
        save_duration(store, &distribution.name, seconds);
        debug!(
            filename = built.filename,
            seconds, "got a wheel from the farm"
        );
        observer.observe(&Event::BuildFinished { package, seconds });
        Ok(artifact_of(built, stored, outcome, sdist))
    }

    /// Returns the result of a step, if the shared cache has one that fits.
    async fn result_of(
        &self,
        farm: &Farm,
        step: &Sha256,
        distribution: &Distribution,
        target: &Target,
    ) -> Result<Option<(BuildRecord, StoredFile)>> {
        let Some(record) = farm.steps.record(step).await? else {
            return Ok(None);
        };
        let building = &self.context.request.building;
        let required = building.required_protections(&distribution.name);
        if let Some(missing) = required
            .iter()
            .find(|one| !record.protections().contains(one))
        {
            let message =
                format!("{distribution} was built without the required sandbox ({missing})");
            return Err(Error::new(Kind::Build, message)
                .with_hint("Let the workers use the sandbox, or pass --sandbox auto."));
        }
        let store = &self.context.store;
        let (filename, size) = (&record.filename, Some(record.size));
        let stored = match farm.steps.get(store, record.sha256, filename, size).await {
            Ok(stored) => stored,
            // The record has outlived its wheel, or the wheel was replaced.
            Err(error) if matches!(error.kind(), Kind::Input | Kind::Verification) => {
                debug!(%distribution, error = error.display_chain(), "the wheel of a record is missing");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (checked, name) = (stored.clone(), filename.clone());
        let (store, of) = (store.clone(), distribution.clone());
        let glibc = blocking(move || check_wheel(&store, &of, &checked, &name)).await?;
        check_target(&record, glibc, target)?;
        Ok(Some((record, stored)))
    }
}

/// Checks that a wheel fits the system and the Python of `target`: an image may have a newer glibc than the target.
fn check_target(record: &BuildRecord, glibc: Option<(u16, u16)>, target: &Target) -> Result<()> {
    let platform: Option<Platform> = target.platform.parse().ok();
    let most = platform.and_then(|platform| match platform.system {
        System::Manylinux { major, minor } => Some((major, minor)),
        _ => None,
    });
    let needed = glibc.max(glibc_of_wheel(&record.filename));
    let fault = match (needed, most) {
        (Some(needed), Some(most)) if needed > most => {
            format!("needs glibc {}.{}", needed.0, needed.1)
        }
        _ => {
            let filename = record.filename.parse().ok();
            let fit = WheelCompatibility::new(target);
            if filename.and_then(|filename| fit.accepts(&filename)) != Some(false) {
                return Ok(());
            }
            "is for another target".to_owned()
        }
    };
    let message = format!(
        "{}, which the farm built, {fault} and does not fit {}",
        record.filename,
        target.label()
    );
    Err(Error::new(Kind::Build, message).with_hint(
        "Use an image of an older system in farm.toml, such as PyPA's manylinux images.",
    ))
}

fn artifact_of(
    built: BuildRecord,
    stored: StoredFile,
    outcome: Outcome,
    sdist: Option<Sha256>,
) -> WheelArtifact {
    WheelArtifact {
        stored,
        filename: built.filename.clone(),
        outcome,
        built: Some(built),
        sdist,
    }
}

impl From<WheelArtifact> for WheelFile {
    fn from(wheel: WheelArtifact) -> Self {
        let inputs = wheel.built.and_then(|built| built.inputs);
        let inputs = inputs.unwrap_or_default();
        Self {
            filename: wheel.filename,
            path: wheel.stored.path,
            sha256: Some(wheel.stored.sha256),
            built_from: wheel.sdist,
            requirements: inputs.requirements,
            crates: inputs.crates,
        }
    }
}
