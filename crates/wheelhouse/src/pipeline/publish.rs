//! Finishing: the wheels of a run become the output directory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wheelhouse_types::lock::Package;
use wheelhouse_types::manifest::{self, Wheel};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::target::KERNEL_MARKERS;
use wheelhouse_types::{
    Artifact, Error, Event, Hashes, Kind, Location, Lock, Manifest, Observer, Outcome, PackageName,
    Request, Result, Sha256, Source, Target, pylock,
};

use super::Report;
use super::check_metadata;
use super::lock::lock_name;
use super::worker::Made;
use wheelhouse_publish::{
    DirectoryPublisher, IndexedWheel, Place, Published, Publisher as _, Wheelhouse, simple_index,
};
use wheelhouse_store::{LinkMode, Placing, Store, Stored};

/// A finished run.
pub(super) struct Finished {
    pub(super) target: Target,
    /// The set of the request first, then its supplements.
    pub(super) sets: Vec<ResolvedSet>,
    pub(super) store: Store,
    pub(super) output: PathBuf,
    pub(super) link_mode: LinkMode,
    pub(super) observer: Arc<dyn Observer>,
}

/// A set that was resolved by itself, and its wheels.
pub(super) struct ResolvedSet {
    /// Names the lock of a supplement; `None` for the set of the request.
    pub(super) name: Option<String>,
    /// Whether the set serves builds and tools only.
    pub(super) build_only: bool,
    pub(super) request: Request,
    pub(super) lock: Lock,
    /// Whether the lock is that of an earlier run.
    pub(super) is_kept: bool,
    /// The wheel of each package of the lock, in its order.
    pub(super) made: Vec<Made>,
    /// What came over the network for it, in bytes.
    pub(super) bytes_fetched: u64,
    /// For how long.
    pub(super) time_fetching: Duration,
}

impl ResolvedSet {
    fn requirements(&self) -> Vec<String> {
        let lines = self.request.requirements.iter();
        lines.map(|line| redacted(&line.text)).collect()
    }
}

/// A wheel of the directory, which several sets may share.
struct Member<'a> {
    package: &'a Package,
    made: &'a Made,
    metadata: Metadata,
    /// The packages that it depends on in any of the sets.
    dependencies: BTreeSet<&'a PackageName>,
    build_only: bool,
}

/// Counts what was done for `sets`, each wheel once.
pub(super) fn report(sets: &[ResolvedSet]) -> Report {
    let wheels = sets.iter().flat_map(|set| &set.made);
    // The first set that has a wheel made it.
    let wheels = wheels.rev().map(|made| (made.filename.as_str(), made));
    let wheels: BTreeMap<&str, &Made> = wheels.collect();
    let count = |outcome| {
        wheels
            .values()
            .filter(|made| made.outcome == outcome)
            .count()
    };
    Report {
        fetched: count(Outcome::Fetched),
        built: count(Outcome::Built),
        reused: count(Outcome::Reused),
        bytes: wheels.values().map(|made| made.stored.size).sum(),
        bytes_fetched: sets.iter().map(|set| set.bytes_fetched).sum(),
        time_fetching: sets.iter().map(|set| set.time_fetching).sum(),
        ..Report::default()
    }
}

/// Publishes a finished run into its output directory.
///
/// # Errors
/// When a wheel cannot be read, two sets want different files of one name, or the directory cannot be
/// written.
pub(super) fn publish(mut finished: Finished) -> Result<Published> {
    for set in &mut finished.sets {
        for (package, made) in set.lock.packages.iter_mut().zip(&set.made) {
            let of_sdist = matches!(package.source, Source::Sdist(_));
            let came = if of_sdist {
                made.sdist
            } else {
                Some(made.stored.sha256)
            };
            if let Some(sha256) = came {
                complete_hashes(&mut package.source, sha256);
            }
        }
    }
    let members = members(&finished)?;
    let mut files = index_files(&members);
    for set in &finished.sets {
        let packages = set.lock.packages.iter().zip(&set.made);
        let placed = packages.map(|(package, made)| {
            let file = placed(&made.filename, &made.stored, &finished.output);
            (package.name.clone(), file)
        });
        let lock = pylock::write_with_files(&set.lock, &placed.collect(), &finished.output);
        finished.store.keep_lock(lock.as_bytes());
        files.insert(lock_name(set.name.as_deref()), lock.into_bytes());
    }
    let stored = members.values().map(|member| &member.made.stored);
    let placer = Placer::new(&finished.store, finished.link_mode, stored);
    DirectoryPublisher {
        directory: finished.output.clone(),
        overwrite: true,
    }
    .publish(&Wheelhouse {
        manifest: manifest(&finished, &members),
        files,
        store: &placer,
    })
}

/// Joins the wheels of all sets, by file name. Each set must be closed.
fn members(finished: &Finished) -> Result<BTreeMap<&str, Member<'_>>> {
    let mut members: BTreeMap<&str, Member<'_>> = BTreeMap::new();
    for set in &finished.sets {
        let metadata = set.made.iter();
        let metadata = metadata.map(|made| metadata_of(&finished.store, made));
        let metadata: Vec<Metadata> = metadata.collect::<Result<_>>()?;
        check_closed(finished, set, &metadata)?;
        let wheels = set.lock.packages.iter().zip(&set.made).zip(metadata);
        for ((package, made), metadata) in wheels {
            let member = members.entry(&made.filename).or_insert_with(|| Member {
                package,
                made,
                metadata,
                dependencies: BTreeSet::new(),
                build_only: true,
            });
            // Two builds of one source may differ, and either serves both sets.
            if member.made.stored.sha256 != made.stored.sha256 && made.built.is_none() {
                return Err(another_file(made, package, member.package));
            }
            member.dependencies.extend(&package.dependencies);
            member.build_only &= set.build_only;
        }
    }
    Ok(members)
}

fn another_file(made: &Made, package: &Package, known: &Package) -> Error {
    let message = format!(
        "{} is another file at {} than at {}",
        made.filename, package.source, known.source
    );
    Error::new(Kind::Fetch, message)
        .with_hint("Name one of the indexes alone, or a hash with the requirement.")
}

fn check_closed(finished: &Finished, set: &ResolvedSet, metadata: &[Metadata]) -> Result<()> {
    let members = set.lock.packages.iter().zip(metadata);
    let members = members.map(|(package, metadata)| check_metadata::Member {
        name: &package.name,
        version: &package.version,
        metadata: Some(&metadata.bytes),
    });
    let members: Vec<_> = members.collect();
    for flaw in check_metadata::flaws(&finished.target, &members) {
        finished.observer.observe(&Event::warning(flaw));
    }
    for package in check_metadata::superfluous(&set.request, &set.lock, &members) {
        finished.observer.observe(&Event::Warning {
            message: package,
            hint: Some("Resolve anew with --upgrade to leave it out.".to_owned()),
        });
    }
    check_metadata::check(&set.request, &finished.target, &members, set.is_kept)
}

fn metadata_of(store: &Store, made: &Made) -> Result<Metadata> {
    metadata(store, &made.stored, &made.filename)
}

/// The core metadata of a wheel, as far as others read it.
pub(super) struct Metadata {
    pub(super) bytes: Vec<u8>,
    pub(super) requires_python: Option<String>,
}

/// The metadata that the store keeps for the wheel `filename`, or else what the wheel has.
pub(super) fn metadata(store: &Store, stored: &Stored, filename: &str) -> Result<Metadata> {
    let bytes = if let Some(bytes) = store.metadata(&stored.sha256) {
        bytes
    } else {
        let bytes = wheelhouse_archive::inspect(&stored.path, filename)?.metadata;
        store.keep_metadata(&stored.sha256, &bytes);
        bytes
    };
    let requires_python =
        wheelhouse_archive::metadata::value(&String::from_utf8_lossy(&bytes), "Requires-Python");
    Ok(Metadata {
        bytes,
        requires_python,
    })
}

/// The file `filename` as it stands in the directory `output`.
pub(super) fn placed(filename: &str, stored: &Stored, output: &Path) -> Artifact {
    Artifact {
        filename: filename.to_owned(),
        location: Location::Path(output.join(filename)),
        size: Some(stored.size),
        hashes: Hashes::sha256_only(stored.sha256),
        uploaded: None,
        yanked: None,
        subdirectory: None,
    }
}

/// A lock names a digest for every file; where nobody published one, it is what came.
pub(super) fn complete_hashes(source: &mut Source, sha256: Sha256) {
    let (Source::Wheel(artifact) | Source::Sdist(artifact)) = source else {
        return;
    };
    if artifact.hashes.sha256().is_none() {
        artifact
            .hashes
            .0
            .insert("sha256".to_owned(), sha256.to_string());
    }
}

/// The metadata beside each wheel, and the pages of the static index.
fn index_files(members: &BTreeMap<&str, Member<'_>>) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut indexed = Vec::new();
    for Member {
        package,
        made,
        metadata,
        ..
    } in members.values()
    {
        let artifact = package.source.artifact();
        let beside = simple_index::metadata_name(&made.filename);
        indexed.push(IndexedWheel {
            filename: made.filename.clone(),
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: made.stored.sha256,
            size: made.stored.size,
            requires_python: metadata.requires_python.clone(),
            metadata: beside.as_ref().map(|_| Sha256::of(&metadata.bytes)),
            yanked: artifact.and_then(|artifact| artifact.yanked.clone()),
            uploaded: artifact.and_then(|artifact| artifact.uploaded),
        });
        files.extend(beside.map(|name| (name, metadata.bytes.clone())));
    }
    files.extend(simple_index::pages(&indexed));
    files
}

fn manifest(finished: &Finished, members: &BTreeMap<&str, Member<'_>>) -> Manifest {
    let (main, supplements) = finished
        .sets
        .split_first()
        .expect("a run has the set of its request");
    let supplements = supplements.iter().filter_map(|set| {
        Some(manifest::Set {
            name: set.name.clone()?,
            requirements: set.requirements(),
            build_only: set.build_only,
        })
    });
    Manifest {
        schema: manifest::SCHEMA.to_owned(),
        generator: concat!("wheelhouse ", env!("CARGO_PKG_VERSION")).to_owned(),
        targets: vec![recorded(
            &finished.target,
            members.values().map(|member| &member.metadata.bytes[..]),
            &finished
                .sets
                .iter()
                .flat_map(ResolvedSet::requirements)
                .collect::<Vec<_>>(),
        )],
        requirements: main.requirements(),
        request: main.lock.request.clone(),
        sets: supplements.collect(),
        wheels: members.values().map(wheel).collect(),
        sdists: Vec::new(),
        files: Vec::new(),
        found: Vec::new(),
    }
}

/// `target` as a manifest has it: with the kernel only where a marker of the `requirements` or of the wheels with this `metadata`
/// asks for it. Else the same set would be another one on the next machine.
pub(super) fn recorded<'a>(
    target: &Target,
    metadata: impl IntoIterator<Item = &'a [u8]>,
    requirements: &[String],
) -> Target {
    let asks = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        KERNEL_MARKERS.iter().any(|marker| text.contains(marker))
    };
    let mut requirements = requirements.iter().map(String::as_bytes);
    if requirements.any(asks) || metadata.into_iter().any(asks) {
        target.clone()
    } else {
        target.without_kernel()
    }
}

fn wheel(member: &Member<'_>) -> Wheel {
    let Member {
        package,
        made,
        metadata,
        ..
    } = member;
    let dependencies = member.dependencies.iter();
    Wheel {
        filename: made.filename.clone(),
        name: package.name.to_string(),
        version: package.version.to_string(),
        sha256: made.stored.sha256,
        size: made.stored.size,
        requires_python: metadata.requires_python.clone(),
        dependencies: dependencies.map(ToString::to_string).collect(),
        origin: package.origin.clone(),
        source: package.source.to_string(),
        yanked: package
            .source
            .artifact()
            .and_then(|artifact| artifact.yanked.clone()),
        build_only: member.build_only,
        built: made.built.as_ref().map(|built| manifest::Built {
            sdist: made.sdist.map(Hashes::sha256_only).unwrap_or_default(),
            python: built.python.clone(),
            requirements: built.requirements.clone(),
        }),
    }
}

/// Places wheels out of the store.
pub(super) struct Placer<'a> {
    store: &'a Store,
    mode: LinkMode,
    stored: HashMap<Sha256, &'a Stored>,
}

impl<'a> Placer<'a> {
    pub(super) fn new(
        store: &'a Store,
        mode: LinkMode,
        stored: impl Iterator<Item = &'a Stored>,
    ) -> Self {
        Self {
            store,
            mode,
            stored: stored.map(|stored| (stored.sha256, stored)).collect(),
        }
    }
}

impl Place for Placer<'_> {
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        let placing = Placing {
            mode: self.mode,
            placed_before: false,
        };
        self.store
            .place(self.stored[sha256], destination, placing)?;
        Ok(())
    }
}
