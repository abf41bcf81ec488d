//! Publishes the wheels of a finished build into the output directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, instrument};
use wheelhouse_types::lock::Package;
use wheelhouse_types::manifest::{self, Wheel};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{
    Event, Lock, Manifest, Observer, Outcome, PackageName, ProjectStatus, Request, Result, Source,
    Target, pylock,
};

use super::attestations::{AttestedFile, ProvenanceObjects};
use super::check_metadata::{self, SetMember};
use super::lock_file::lock_name;
use super::published_files::{
    GENERATOR, StorePlacer, complete_hashes, conflicting_files, lock_artifact, manifest_build,
    manifest_target, provenance_file, wheel_listing,
};
use super::report::RunReport;
use super::wheel_metadata::CoreMetadata;
use super::worker::WheelArtifact;
use wheelhouse_publish::{DirectoryPublisher, Published, WheelhouseContents, simple_index};
use wheelhouse_store::{LinkMode, Store};

/// A build whose wheels are all in the store.
pub(super) struct FinishedBuild {
    pub(super) target: Target,
    /// The set of the request first, then the additional sets.
    pub(super) sets: Vec<ResolvedSet>,
    pub(super) store: Store,
    pub(super) output: PathBuf,
    pub(super) link_mode: LinkMode,
    /// The attestations of the wheels, by file name.
    pub(super) attestations: ProvenanceObjects,
    pub(super) observer: Arc<dyn Observer>,
}

/// A locked set and its wheels.
pub(super) struct ResolvedSet {
    /// The name of an additional set; `None` for the set of the request.
    pub(super) name: Option<String>,
    /// Marks a set that only builds and tools use.
    pub(super) build_only: bool,
    pub(super) request: Request,
    pub(super) lock: Lock,
    /// Set if the lock is that of an earlier run.
    pub(super) is_kept: bool,
    /// The wheel of each package of the lock, in its order.
    pub(super) wheels: Vec<WheelArtifact>,
    pub(super) bytes_fetched: u64,
    pub(super) time_fetching: Duration,
}

impl ResolvedSet {
    fn requirements(&self) -> Vec<String> {
        let lines = self.request.requirements.iter();
        lines.map(|line| redacted(&line.text)).collect()
    }
}

/// A wheel of the directory, which several sets may share.
struct DirectoryWheel<'a> {
    package: &'a Package,
    artifact: &'a WheelArtifact,
    metadata: CoreMetadata,
    /// The packages that it depends on in any of the sets.
    dependencies: BTreeSet<&'a PackageName>,
    build_only: bool,
}

/// Counts the work for `sets`, each wheel once.
pub(super) fn report(sets: &[ResolvedSet]) -> RunReport {
    let wheels = sets.iter().flat_map(|set| &set.wheels);
    // If sets share a wheel, the first one made it: the map keeps the last entry of a name.
    let wheels = wheels.rev().map(|wheel| (wheel.filename.as_str(), wheel));
    let wheels: BTreeMap<&str, &WheelArtifact> = wheels.collect();
    let count = |outcome| {
        let wheels = wheels.values();
        wheels.filter(|wheel| wheel.outcome == outcome).count()
    };
    RunReport {
        fetched: count(Outcome::Fetched),
        built: count(Outcome::Built),
        reused: count(Outcome::Reused),
        copied: count(Outcome::Copied),
        bytes: wheels.values().map(|wheel| wheel.stored.size).sum(),
        bytes_fetched: sets.iter().map(|set| set.bytes_fetched).sum(),
        time_fetching: sets.iter().map(|set| set.time_fetching).sum(),
        ..RunReport::default()
    }
}

/// Returns the wheels of `sets` whose indexes offer attestations. Those of the sdist of a built wheel are not about the wheel.
pub(super) fn attested_files(sets: &[ResolvedSet]) -> Vec<AttestedFile> {
    let members = sets
        .iter()
        .flat_map(|set| set.lock.packages.iter().zip(&set.wheels));
    let files = members.filter_map(|(package, wheel)| {
        let artifact = package
            .source
            .artifact()
            .filter(|_| wheel.built.is_none())?;
        let file = AttestedFile::new(artifact, wheel.stored.sha256)?;
        Some((wheel.filename.as_str(), file))
    });
    // Sets may share a wheel.
    let files: BTreeMap<&str, AttestedFile> = files.collect();
    files.into_values().collect()
}

/// Publishes `build` into its output directory.
///
/// # Errors
/// When a wheel cannot be read, two sets have different files of one name, a wheel requires more than its
/// lock has, or the directory cannot be written.
#[instrument(name = "publish", skip_all, fields(output = %build.output.display()))]
pub(super) fn publish(mut build: FinishedBuild) -> Result<Published> {
    let attestations = std::mem::take(&mut build.attestations);
    for set in &mut build.sets {
        for (package, wheel) in set.lock.packages.iter_mut().zip(&set.wheels) {
            let received = match package.source {
                Source::Sdist(_) => wheel.sdist,
                _ => Some(wheel.stored.sha256),
            };
            if let Some(sha256) = received {
                complete_hashes(&mut package.source, sha256);
            }
        }
    }
    let wheels = directory_wheels(&build)?;
    let metadata = wheels.values().filter_map(|wheel| {
        let name = simple_index::metadata_name(&wheel.artifact.filename)?;
        Some((name, wheel.metadata.bytes.clone()))
    });
    let mut files: BTreeMap<String, Vec<u8>> = metadata.collect();
    for set in &build.sets {
        let packages = set.lock.packages.iter().zip(&set.wheels);
        let artifacts = packages.map(|(package, wheel)| {
            let artifact = lock_artifact(&wheel.filename, &wheel.stored, &build.output);
            (package.name.clone(), artifact)
        });
        let lock = pylock::write_with_files(&set.lock, &artifacts.collect(), &build.output);
        build.store.save_lock(lock.as_bytes());
        files.insert(lock_name(set.name.as_deref()), lock.into_bytes());
    }
    let manifest = manifest(&build, &wheels);
    let records = wheels.values().map(|wheel| wheel.artifact.built.as_ref());
    let provenance = manifest.wheels.iter().zip(records);
    files.extend(provenance.filter_map(|(wheel, built)| provenance_file(wheel, built)));
    files.extend(attestations);
    debug!(
        wheels = wheels.len(),
        files = files.len(),
        sets = build.sets.len(),
        "publishing"
    );
    let stored = wheels.values().map(|wheel| &wheel.artifact.stored);
    let placer = StorePlacer::new(&build.store, build.link_mode, stored);
    DirectoryPublisher {
        directory: build.output.clone(),
        overwrite: true,
    }
    .publish(&WheelhouseContents {
        manifest,
        files,
        has_index: true,
        placer: &placer,
    })
}

/// Combines the wheels of all sets, by file name, and checks that no wheel requires more than its set has.
fn directory_wheels(build: &FinishedBuild) -> Result<BTreeMap<&str, DirectoryWheel<'_>>> {
    let mut combined: BTreeMap<&str, DirectoryWheel<'_>> = BTreeMap::new();
    for set in &build.sets {
        let wheels = set.wheels.iter();
        let metadata: Vec<CoreMetadata> = wheels
            .map(|wheel| CoreMetadata::read(&build.store, &wheel.stored, &wheel.filename))
            .collect::<Result<_>>()?;
        check_set(build, set, &metadata)?;
        let wheels = set.lock.packages.iter().zip(&set.wheels).zip(metadata);
        for ((package, artifact), metadata) in wheels {
            let known = combined
                .entry(&artifact.filename)
                .or_insert_with(|| DirectoryWheel {
                    package,
                    artifact,
                    metadata,
                    dependencies: BTreeSet::new(),
                    build_only: true,
                });
            // Two builds of one source may differ, and either serves both sets.
            if known.artifact.stored.sha256 != artifact.stored.sha256 && artifact.built.is_none() {
                let (one, other) = (&package.source, &known.package.source);
                return Err(conflicting_files(&artifact.filename, one, other));
            }
            known.dependencies.extend(&package.dependencies);
            known.build_only &= set.build_only;
        }
    }
    Ok(combined)
}

/// Checks the metadata of the wheels of `set` against its lock.
fn check_set(build: &FinishedBuild, set: &ResolvedSet, metadata: &[CoreMetadata]) -> Result<()> {
    let members = set.lock.packages.iter().zip(metadata);
    let members = members.map(|(package, metadata)| SetMember {
        name: &package.name,
        version: &package.version,
        metadata: Some(&metadata.bytes),
    });
    let members: Vec<_> = members.collect();
    for message in check_metadata::pip_incompatibilities(&build.target, &members) {
        build.observer.observe(&Event::warning(message));
    }
    for message in check_metadata::unrequired(&set.request, &set.lock, &members) {
        build.observer.observe(&Event::Warning {
            message,
            hint: Some("Resolve again with --upgrade to leave it out.".to_owned()),
        });
    }
    check_metadata::check(&set.request, &build.target, &members, set.is_kept)
}

fn manifest(build: &FinishedBuild, wheels: &BTreeMap<&str, DirectoryWheel<'_>>) -> Manifest {
    let (main, additional) = build
        .sets
        .split_first()
        .expect("a build has the set of its request");
    let additional = additional.iter().filter_map(|set| {
        Some(manifest::Set {
            name: set.name.clone()?,
            requirements: set.requirements(),
            build_only: set.build_only,
        })
    });
    let requirements = build.sets.iter().flat_map(ResolvedSet::requirements);
    let requirements: Vec<String> = requirements.collect();
    let metadata = wheels.values().map(|wheel| &wheel.metadata.bytes[..]);
    Manifest {
        schema: manifest::SCHEMA.to_owned(),
        generator: GENERATOR.to_owned(),
        targets: vec![manifest_target(&build.target, metadata, &requirements)],
        requirements: main.requirements(),
        request: main.lock.request.clone(),
        sets: additional.collect(),
        wheels: wheels.values().map(manifest_wheel).collect(),
        sdists: Vec::new(),
        crates: Vec::new(),
        project_status: project_status(build),
        files: Vec::new(),
        found: Vec::new(),
    }
}

/// Returns the status of the packages of all sets at their indexes, for those that are not active.
fn project_status(build: &FinishedBuild) -> BTreeMap<PackageName, ProjectStatus> {
    let packages = build.sets.iter().flat_map(|set| &set.lock.packages);
    packages
        .filter_map(|package| {
            let status = package.source.artifact()?.project_status.clone()?;
            Some((package.name.clone(), status))
        })
        .collect()
}

fn manifest_wheel(wheel: &DirectoryWheel<'_>) -> Wheel {
    let DirectoryWheel {
        package, artifact, ..
    } = wheel;
    let dependencies = wheel.dependencies.iter();
    Wheel {
        filename: artifact.filename.clone(),
        name: package.name.to_string(),
        version: package.version.to_string(),
        sha256: artifact.stored.sha256,
        size: artifact.stored.size,
        requires_python: wheel.metadata.requires_python.clone(),
        dependencies: dependencies.map(ToString::to_string).collect(),
        origin: package.origin.clone(),
        source: package.source.to_string(),
        listing: wheel_listing(&package.source, artifact.built.is_some()),
        added: false,
        build_only: wheel.build_only,
        built: artifact
            .built
            .as_ref()
            .map(|built| manifest_build(built, artifact.sdist)),
    }
}
