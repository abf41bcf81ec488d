//! Finds the wheels of a lock that the store has.
//!
//! Does not judge whether the lock is current, and makes no wheels.

use futures::future::join_all;
use tracing::debug;
use wheelhouse_types::lock::Package;
use wheelhouse_types::plan::{Inventory, SharedWheel};
use wheelhouse_types::{Action, Artifact, Distribution, Lock, Outcome, Result, Source, Step};

use super::context::RunContext;
use super::worker::cache::{find_artifact, find_built_wheel, is_wheel_of, warn_corrupt};
use super::worker::shared_build::is_acceptable;
use super::worker::{WheelArtifact, build_key};
use wheelhouse_store::{BuildKey, BuildRecord, Lookup, StoredFile};

/// Returns the wheels of `lock` that need no download and no build.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn inventory(context: &RunContext, lock: &Lock) -> Result<Inventory> {
    let published = lock.packages.iter().filter_map(|package| {
        let Source::Wheel(artifact) = &package.source else {
            return None;
        };
        Some((artifact, artifact.hashes.sha256()?))
    });
    let (artifacts, digests): (Vec<_>, Vec<_>) = published.unzip();
    // Digests many files at a time, so that the lookups below only read the results.
    for (artifact, found) in artifacts
        .into_iter()
        .zip(context.store.find_many(&digests)?)
    {
        if let Lookup::Corrupt(_) = found {
            warn_corrupt(&*context.observer, artifact);
        }
    }
    let mut inventory = Inventory::default();
    let mut others = Vec::new();
    for (position, package) in lock.packages.iter().enumerate() {
        let distribution = package.distribution();
        match &package.source {
            Source::Wheel(artifact) => {
                let required = &package.required_hashes;
                if let Some(stored) = find(context, artifact, required)?
                    && is_wheel_of(&context.store, &stored, &distribution)
                {
                    inventory.wheels.insert(stored.sha256);
                }
            }
            Source::Sdist(artifact) if !is_accepted_sdist(context, artifact, package)? => {}
            _ if !context.request.building.isolated => {}
            _ => match find_built(context, &distribution)? {
                Some((built, _)) => {
                    let wheel = (built.sha256, built.filename);
                    inventory.built.insert(position, wheel);
                }
                None => others.push((position, distribution)),
            },
        }
    }
    let looking_up = others.iter().map(async |(position, distribution)| {
        let key = build_key_of(context, distribution);
        let shared_key = context.shared_key(&key, distribution).await?;
        let build = context.shared.find(&shared_key).await?;
        is_acceptable(context, &build.record, distribution).then(|| {
            let shared = SharedWheel {
                sha256: build.record.sha256,
                filename: build.record.filename,
                bytes: build.record.size,
                location: build.location,
            };
            (*position, shared)
        })
    });
    let shared = join_all(looking_up).await;
    inventory.shared = shared.into_iter().flatten().collect();
    debug!(
        packages = lock.packages.len(),
        cached = inventory.wheels.len() + inventory.built.len(),
        "looked up the wheels of the lock"
    );
    Ok(inventory)
}

/// Returns the wheel of `step` if the plan reuses it, and it and the record of its build are still in the store.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn find_step(context: &RunContext, step: &Step) -> Result<Option<WheelArtifact>> {
    let Action::Reuse { sha256, filename } = &step.action else {
        return Ok(None);
    };
    let Some(stored) = context.store.find(sha256)?.hit() else {
        return Ok(None);
    };
    let mut wheel = WheelArtifact {
        stored,
        filename: filename.clone(),
        outcome: Outcome::Reused,
        built: None,
        sdist: None,
    };
    let source = &step.package.source;
    if !matches!(source, Source::Wheel(_)) {
        // Without its record, the manifest would not say how the wheel was built.
        let Some((built, _)) = find_built(context, &step.package.distribution())? else {
            return Ok(None);
        };
        wheel.built = Some(built);
        let artifact = source.artifact();
        wheel.sdist = artifact.and_then(|artifact| artifact.hashes.sha256());
    }
    Ok(Some(wheel))
}

fn find(
    context: &RunContext,
    artifact: &Artifact,
    required_hashes: &[String],
) -> Result<Option<StoredFile>> {
    find_artifact(
        &context.store,
        &*context.observer,
        artifact,
        required_hashes,
    )
}

/// Returns whether the published digests show that the sdist of `package` is one of those that are
/// required; the store may have only the wheel that was built from it.
fn is_accepted_sdist(context: &RunContext, artifact: &Artifact, package: &Package) -> Result<bool> {
    let required = &package.required_hashes;
    let Some(sha256) = artifact.hashes.sha256() else {
        return Ok(false);
    };
    Ok(required.is_empty()
        || required.contains(&format!("sha256:{sha256}"))
        || find(context, artifact, required)?.is_some())
}

/// Returns the wheel that was built from a source earlier.
fn find_built(
    context: &RunContext,
    distribution: &Distribution,
) -> Result<Option<(BuildRecord, StoredFile)>> {
    let key = build_key_of(context, distribution);
    let building = &context.request.building;
    let required = building.required_protections(&distribution.name);
    find_built_wheel(
        &context.store,
        &*context.observer,
        &key,
        distribution,
        &required,
    )
}

/// Returns the key of the build of `distribution`, whose file has a published SHA-256 if it is one.
fn build_key_of(context: &RunContext, distribution: &Distribution) -> BuildKey {
    let source = build_key::source(distribution, None, &context.trees);
    let target = &context.host_target;
    build_key::build_key(&context.request, target, distribution, &source)
}
