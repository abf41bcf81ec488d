//! Publishes the files of a download: one directory, one manifest, a lock for each target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::instrument;
use wheelhouse_cargo::CrateCache;
use wheelhouse_types::manifest::{self, CrateEntry, Sdist, Wheel};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{
    Error, Kind, Lock, Manifest, Outcome, PackageName, ProjectStatus, Request, Result, Sha256,
    Target, pylock,
};

use super::super::attestations::{AttestedFile, ProvenanceObjects};
use super::super::lock_file::lock_name;
use super::super::published_files::{
    GENERATOR, StorePlacer, complete_hashes, conflicting_files, lock_artifact, manifest_build,
    manifest_target, provenance_file, wheel_listing,
};
use super::super::report::RunReport;
use super::super::wheel_metadata::CoreMetadata;
use super::super::worker::StoredCrate;
use super::collect::{CollectedFile, CollectedTarget};
use wheelhouse_publish::{DirectoryPublisher, Published, WheelhouseContents, simple_index};
use wheelhouse_store::{LinkMode, Store};

/// The files of all targets.
pub(super) struct CollectedSet {
    targets: Vec<Target>,
    /// The names that distinguish the locks.
    names: Vec<String>,
    locks: Vec<Lock>,
    /// For each lock, the file of each of its packages.
    locked_files: Vec<BTreeMap<PackageName, CollectedFile>>,
    requirements: Vec<String>,
    /// By file name.
    files: BTreeMap<String, CollectedFile>,
    /// By path in the directory.
    crates: BTreeMap<PathBuf, StoredCrate>,
    /// The attestations of the files, by file name.
    pub(super) attestations: ProvenanceObjects,
}

impl CollectedSet {
    /// Combines the files of all targets.
    ///
    /// # Errors
    /// When two targets have different files of one name.
    pub(super) fn new(request: &Request, collected: Vec<CollectedTarget>) -> Result<Self> {
        let requirements = request.requirements.iter();
        let mut download = Self {
            targets: Vec::new(),
            names: Vec::new(),
            locks: Vec::new(),
            locked_files: Vec::new(),
            requirements: requirements.map(|line| redacted(&line.text)).collect(),
            files: BTreeMap::new(),
            crates: BTreeMap::new(),
            attestations: ProvenanceObjects::new(),
        };
        for target in collected {
            for file in &target.files {
                download.add(file)?;
            }
            for one in target.crates {
                let path = wheelhouse_cargo::download_path(&one.locked);
                download.crates.insert(path, one);
            }
            let mut lock = target.lock;
            complete_lock(&mut lock, &target.files);
            download.locked_files.push(locked_files(target.files));
            download.locks.push(lock);
            download.targets.push(target.target);
            download.names.push(target.name);
        }
        Ok(download)
    }

    fn add(&mut self, file: &CollectedFile) -> Result<()> {
        let known = self
            .files
            .entry(file.filename.clone())
            .or_insert_with(|| file.clone());
        known.is_locked |= file.is_locked;
        if known.stored.sha256 == file.stored.sha256 {
            return Ok(());
        }
        let (one, other) = (&file.distribution.source, &known.distribution.source);
        Err(conflicting_files(&file.filename, one, other))
    }

    /// Returns the files whose indexes offer attestations. Those of the sdist of a built wheel are not about the wheel.
    pub(super) fn attested_files(&self) -> Vec<AttestedFile> {
        let published = self.files.values().filter(|file| file.built.is_none());
        published
            .filter_map(|file| {
                AttestedFile::new(file.distribution.source.artifact()?, file.stored.sha256)
            })
            .collect()
    }

    /// Counts the work before publishing.
    pub(super) fn report(&self) -> RunReport {
        let files = || self.files.values();
        let count = |outcome| files().filter(|file| file.outcome == outcome).count();
        RunReport {
            fetched: count(Outcome::Fetched),
            built: count(Outcome::Built),
            reused: count(Outcome::Reused),
            copied: count(Outcome::Copied),
            sdists: files().filter(|file| !file.is_wheel()).count(),
            crates: self.crates.len(),
            bytes: files().map(|file| file.stored.size).sum(),
            ..RunReport::default()
        }
    }

    /// Publishes the files into the directory `output`.
    ///
    /// # Errors
    /// When a wheel cannot be read, or the directory cannot be written.
    #[instrument(name = "publish", skip_all, fields(output = %output.display()))]
    pub(super) fn publish(
        &self,
        store: &Store,
        output: &Path,
        mode: LinkMode,
    ) -> Result<Published> {
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.to_owned(),
            generator: GENERATOR.to_owned(),
            targets: Vec::new(),
            requirements: self.requirements.clone(),
            request: self.request(),
            wheels: Vec::new(),
            sets: Vec::new(),
            sdists: Vec::new(),
            crates: self.crate_entries(),
            project_status: self.project_status(),
            files: Vec::new(),
            found: Vec::new(),
        };
        let (mut files, mut provenance) = (BTreeMap::new(), Vec::new());
        for file in self.files.values() {
            if !file.is_wheel() {
                manifest.sdists.push(sdist(file)?);
                continue;
            }
            let metadata = CoreMetadata::read(store, &file.stored, &file.filename)?;
            let wheel = self.wheel(file, metadata.requires_python)?;
            provenance.extend(provenance_file(&wheel, file.built.as_ref()));
            manifest.wheels.push(wheel);
            let metadata_name = simple_index::metadata_name(&file.filename);
            files.extend(metadata_name.map(|name| (name, metadata.bytes)));
        }
        files.extend(self.cargo_files(store)?);
        manifest.targets = self.manifest_targets(&files);
        files.extend(provenance);
        files.extend(self.attestations.clone());
        let locks = self.lock_files(output);
        for (_, text) in &locks {
            store.save_lock(text);
        }
        files.extend(locks);
        let stored = self.files.values().map(|file| &file.stored);
        let stored = stored.chain(self.crates.values().map(|one| &one.stored));
        let placer = StorePlacer::new(store, mode, stored);
        let publisher = DirectoryPublisher {
            directory: output.to_owned(),
            overwrite: true,
        };
        publisher.publish(&WheelhouseContents {
            manifest,
            files,
            has_index: true,
            placer: &placer,
        })
    }

    /// Returns the status of the projects at their indexes, for those that are not active.
    fn project_status(&self) -> BTreeMap<PackageName, ProjectStatus> {
        let distributions = self.files.values().map(|file| &file.distribution);
        distributions
            .filter_map(|distribution| {
                let status = distribution.source.artifact()?.project_status.clone()?;
                Some((distribution.name.clone(), status))
            })
            .collect()
    }

    fn crate_entries(&self) -> Vec<CrateEntry> {
        let entries = self.crates.iter().map(|(path, one)| CrateEntry {
            path: path.to_string_lossy().into_owned(),
            name: one.locked.name.clone(),
            version: one.locked.version.clone(),
            source: redacted(&one.locked.source),
            sha256: one.stored.sha256,
            size: one.stored.size,
        });
        entries.collect()
    }

    /// Returns the files with which cargo finds the crates.
    fn cargo_files(&self, store: &Store) -> Result<BTreeMap<String, Vec<u8>>> {
        let files: Vec<_> = self.crates.values().map(StoredCrate::file).collect();
        let unpacked = CrateCache::new(store.root()).unpacked(&files)?;
        let crates = files.into_iter().map(|file| file.locked);
        let crates: Vec<_> = crates.zip(unpacked.iter().map(PathBuf::as_path)).collect();
        wheelhouse_cargo::local_registry(&crates)
    }

    /// Returns the targets as the manifest records them; `metadata` has that of all wheels.
    fn manifest_targets(&self, metadata: &BTreeMap<String, Vec<u8>>) -> Vec<Target> {
        let targets = self.targets.iter();
        let targets = targets.map(|target| {
            let metadata = metadata.values().map(Vec::as_slice);
            manifest_target(target, metadata, &self.requirements)
        });
        targets.collect()
    }

    /// Returns the names and texts of the locks; several locks are named after their targets.
    fn lock_files(&self, output: &Path) -> Vec<(String, Vec<u8>)> {
        let several = self.locks.len() > 1;
        let locks = self.locks.iter().zip(&self.locked_files).zip(&self.names);
        let named = locks.map(|((lock, files), name)| {
            let files = files.iter().map(|(name, file)| {
                let artifact = lock_artifact(&file.filename, &file.stored, output);
                (name.clone(), artifact)
            });
            let text = pylock::write_with_files(lock, &files.collect(), output);
            (lock_name(several.then_some(name)), text.into_bytes())
        });
        named.collect()
    }

    fn request(&self) -> String {
        let requests: Vec<&str> = self
            .locks
            .iter()
            .map(|lock| lock.request.as_str())
            .collect();
        match requests[..] {
            [request] => request.to_owned(),
            _ => Sha256::of(requests.join("\n").as_bytes()).to_string(),
        }
    }

    fn wheel(&self, file: &CollectedFile, requires_python: Option<String>) -> Result<Wheel> {
        let distribution = &file.distribution;
        let packages = self.locks.iter().flat_map(|lock| &lock.packages);
        let mut dependencies: Vec<String> = packages
            .filter(|package| package.name == distribution.name && file.is_locked)
            .flat_map(|package| &package.dependencies)
            .map(ToString::to_string)
            .collect();
        dependencies.sort();
        dependencies.dedup();
        Ok(Wheel {
            filename: file.filename.clone(),
            name: distribution.name.to_string(),
            version: version(file)?,
            sha256: file.stored.sha256,
            size: file.stored.size,
            requires_python,
            dependencies,
            origin: distribution.origin.clone(),
            source: distribution.source.to_string(),
            listing: wheel_listing(&distribution.source, file.built.is_some()),
            added: false,
            build_only: !file.is_locked,
            built: file
                .built
                .as_ref()
                .map(|built| manifest_build(built, file.sdist)),
        })
    }
}

/// Returns the file of each locked package: its wheel, or else its sdist.
fn locked_files(files: Vec<CollectedFile>) -> BTreeMap<PackageName, CollectedFile> {
    let (wheels, sdists): (Vec<_>, Vec<_>) = files
        .into_iter()
        .filter(|file| file.is_locked)
        .partition(CollectedFile::is_wheel);
    let files = sdists.into_iter().chain(wheels);
    files
        .map(|file| (file.distribution.name.clone(), file))
        .collect()
}

fn version(file: &CollectedFile) -> Result<String> {
    let version = file.distribution.version.as_ref();
    version.map(ToString::to_string).ok_or_else(|| {
        Error::new(
            Kind::Resolution,
            format!("the version of {} is not known", file.filename),
        )
    })
}

fn sdist(file: &CollectedFile) -> Result<Sdist> {
    Ok(Sdist {
        filename: file.filename.clone(),
        name: file.distribution.name.to_string(),
        version: version(file)?,
        sha256: file.stored.sha256,
        size: file.stored.size,
        origin: file.distribution.origin.clone(),
        source: file.distribution.source.to_string(),
        requires_python: None,
        listing: file.distribution.source.listing(),
        added: false,
        build_only: !file.is_locked,
    })
}

/// Adds the digests of the downloaded files to `lock` where the index published none.
fn complete_lock(lock: &mut Lock, files: &[CollectedFile]) {
    for package in &mut lock.packages {
        let distribution = package.distribution();
        let downloaded = files
            .iter()
            .find(|file| file.is_locked && file.distribution == distribution);
        if let Some(file) = downloaded
            && file.built.is_none()
        {
            complete_hashes(&mut package.source, file.stored.sha256);
        }
    }
}
