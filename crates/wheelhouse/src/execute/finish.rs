//! Finishing: the wheels of a run become the output directory.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_model::lock::Package;
use wheelhouse_model::manifest::{self, Wheel};
use wheelhouse_model::redact::redacted;
use wheelhouse_model::{
    Event, Hashes, Lock, Manifest, Observer, Request, Result, Sha256, Source, Target, pylock,
};

use super::closed::{self, Member};
use super::earlier::LOCK_NAME;
use super::worker::Made;
use crate::archive;
use crate::publish::{
    DirectoryPublisher, IndexedWheel, Place, Published, Publisher as _, Wheelhouse, simple,
};
use crate::store::{LinkMode, Placing, Store, Stored};

/// A finished run.
pub(super) struct Finished {
    pub(super) request: Request,
    pub(super) target: Target,
    pub(super) lock: Lock,
    /// Whether the lock is that of an earlier run.
    pub(super) is_kept: bool,
    /// The wheel of each package of the lock, in its order.
    pub(super) made: Vec<Made>,
    pub(super) store: Store,
    pub(super) output: PathBuf,
    pub(super) link_mode: LinkMode,
    pub(super) observer: Arc<dyn Observer>,
}

/// Publishes a finished run into its output directory.
///
/// # Errors
/// When a wheel cannot be read or the directory cannot be written.
pub(super) fn publish(mut finished: Finished) -> Result<Published> {
    let metadata: Vec<Metadata> = finished
        .made
        .iter()
        .map(|made| metadata(&finished.store, &made.stored, &made.filename))
        .collect::<Result<_>>()?;
    check_closed(&finished, &metadata)?;
    for (package, made) in finished.lock.packages.iter_mut().zip(&finished.made) {
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
    let mut files = index_files(&finished, &metadata);
    let lock = pylock::write(&finished.lock, &finished.output);
    files.insert(LOCK_NAME.to_owned(), lock.into_bytes());
    let stored = finished.made.iter().map(|made| &made.stored);
    let placer = Placer::new(&finished.store, finished.link_mode, stored);
    DirectoryPublisher {
        directory: finished.output.clone(),
        overwrite: true,
    }
    .publish(&Wheelhouse {
        manifest: manifest(&finished, &metadata),
        files,
        store: &placer,
    })
}

fn check_closed(finished: &Finished, metadata: &[Metadata]) -> Result<()> {
    let members = finished.lock.packages.iter().zip(metadata);
    let members = members.map(|(package, metadata)| Member {
        name: &package.name,
        version: &package.version,
        metadata: Some(&metadata.bytes),
    });
    let members: Vec<_> = members.collect();
    for flaw in closed::flaws(&finished.target, &members) {
        finished.observer.observe(&Event::warning(flaw));
    }
    let (request, target) = (&finished.request, &finished.target);
    closed::check(request, target, &members, finished.is_kept)
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
        let bytes = archive::inspect(&stored.path, filename)?.metadata;
        store.keep_metadata(&stored.sha256, &bytes);
        bytes
    };
    let requires_python =
        archive::metadata::value(&String::from_utf8_lossy(&bytes), "Requires-Python");
    Ok(Metadata {
        bytes,
        requires_python,
    })
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
fn index_files(finished: &Finished, metadata: &[Metadata]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut indexed = Vec::new();
    for ((package, made), metadata) in finished
        .lock
        .packages
        .iter()
        .zip(&finished.made)
        .zip(metadata)
    {
        let artifact = package.source.artifact();
        indexed.push(IndexedWheel {
            filename: made.filename.clone(),
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: made.stored.sha256,
            size: made.stored.size,
            requires_python: metadata.requires_python.clone(),
            metadata: Some(Sha256::of(&metadata.bytes)),
            yanked: artifact.and_then(|artifact| artifact.yanked.clone()),
            uploaded: artifact.and_then(|artifact| artifact.uploaded),
        });
        files.insert(
            format!("{}.metadata", made.filename),
            metadata.bytes.clone(),
        );
    }
    files.extend(simple::pages(&indexed));
    files
}

fn manifest(finished: &Finished, metadata: &[Metadata]) -> Manifest {
    let packages = finished
        .lock
        .packages
        .iter()
        .zip(&finished.made)
        .zip(metadata);
    let mut wheels: Vec<Wheel> = packages
        .map(|((package, made), metadata)| wheel(package, made, metadata))
        .collect();
    wheels.sort_by(|one, other| one.filename.cmp(&other.filename));
    let requirements = finished.request.requirements.iter();
    Manifest {
        schema: manifest::SCHEMA.to_owned(),
        generator: concat!("wheelhouse ", env!("CARGO_PKG_VERSION")).to_owned(),
        targets: vec![finished.target.clone()],
        requirements: requirements.map(|line| redacted(&line.text)).collect(),
        request: finished.lock.request.clone(),
        wheels,
        sdists: Vec::new(),
        files: Vec::new(),
    }
}

fn wheel(package: &Package, made: &Made, metadata: &Metadata) -> Wheel {
    Wheel {
        filename: made.filename.clone(),
        name: package.name.to_string(),
        version: package.version.to_string(),
        sha256: made.stored.sha256,
        size: made.stored.size,
        requires_python: metadata.requires_python.clone(),
        dependencies: package
            .dependencies
            .iter()
            .map(ToString::to_string)
            .collect(),
        origin: package.origin.clone(),
        source: package.source.to_string(),
        yanked: package
            .source
            .artifact()
            .and_then(|artifact| artifact.yanked.clone()),
        build_only: false,
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
