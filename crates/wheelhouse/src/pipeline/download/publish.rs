//! Publishing what was gathered: one directory, one manifest, a lock for each target.

use std::collections::BTreeMap;
use std::path::Path;

use wheelhouse_types::manifest::{self, Sdist, Wheel};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{
    Error, Hashes, Kind, Lock, Manifest, Outcome, PackageName, Request, Result, Sha256, Target,
    pylock,
};

use super::super::Report;
use super::super::lock::lock_name;
use super::super::publish::{self, Placer};
use super::collect::{Gathered, Gotten};
use wheelhouse_publish::{
    DirectoryPublisher, IndexedWheel, Published, Publisher as _, Wheelhouse, simple_index,
};
use wheelhouse_store::{LinkMode, Store};

/// Everything that all targets need.
pub(super) struct Downloaded {
    targets: Vec<Target>,
    /// What the locks are called after.
    names: Vec<String>,
    locks: Vec<Lock>,
    /// For each lock, the file of each of its packages.
    locked_files: Vec<BTreeMap<PackageName, Gotten>>,
    requirements: Vec<String>,
    /// By file name.
    files: BTreeMap<String, Gotten>,
}

impl Downloaded {
    /// Brings together what was gathered for each target.
    ///
    /// # Errors
    /// When two targets want different files of one name.
    pub(super) fn new(request: &Request, gathered: Vec<Gathered>) -> Result<Self> {
        let requirements = request.requirements.iter();
        let mut downloaded = Self {
            targets: Vec::new(),
            names: Vec::new(),
            locks: Vec::new(),
            locked_files: Vec::new(),
            requirements: requirements.map(|line| redacted(&line.text)).collect(),
            files: BTreeMap::new(),
        };
        for one in gathered {
            for file in &one.files {
                downloaded.add(file)?;
            }
            let mut lock = one.lock;
            complete_hashes(&mut lock, &one.files);
            downloaded.locked_files.push(locked_files(one.files));
            downloaded.locks.push(lock);
            downloaded.targets.push(one.target);
            downloaded.names.push(one.name);
        }
        Ok(downloaded)
    }

    fn add(&mut self, file: &Gotten) -> Result<()> {
        let known = self
            .files
            .entry(file.filename.clone())
            .or_insert_with(|| file.clone());
        known.is_locked |= file.is_locked;
        if known.stored.sha256 == file.stored.sha256 {
            return Ok(());
        }
        let message = format!(
            "{} is another file at {} than at {}",
            file.filename, file.distribution.source, known.distribution.source
        );
        Err(Error::new(Kind::Fetch, message)
            .with_hint("Name one of the indexes alone, or a hash with the requirement."))
    }

    /// What was done, as far as it is known before publishing.
    pub(super) fn report(&self) -> Report {
        let files = || self.files.values();
        let count = |outcome| files().filter(|file| file.outcome == outcome).count();
        Report {
            fetched: count(Outcome::Fetched),
            built: count(Outcome::Built),
            reused: count(Outcome::Reused),
            sdists: files().filter(|file| !file.is_wheel()).count(),
            bytes: files().map(|file| file.stored.size).sum(),
            ..Report::default()
        }
    }

    /// Brings `output` to the state of the download.
    pub(super) fn publish(
        &self,
        store: &Store,
        output: &Path,
        mode: LinkMode,
    ) -> Result<Published> {
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.to_owned(),
            generator: concat!("wheelhouse ", env!("CARGO_PKG_VERSION")).to_owned(),
            targets: Vec::new(),
            requirements: self.requirements.clone(),
            request: self.request(),
            wheels: Vec::new(),
            sets: Vec::new(),
            sdists: Vec::new(),
            files: Vec::new(),
            found: Vec::new(),
        };
        let (mut files, mut indexed) = (BTreeMap::new(), Vec::new());
        for file in self.files.values() {
            if !file.is_wheel() {
                indexed.push(indexed_file(file, None, None)?);
                manifest.sdists.push(sdist(file));
                continue;
            }
            let metadata = publish::metadata(store, &file.stored, &file.filename)?;
            let beside = simple_index::metadata_name(&file.filename);
            let digest = beside.as_ref().map(|_| Sha256::of(&metadata.bytes));
            let requires_python = metadata.requires_python.clone();
            indexed.push(indexed_file(file, requires_python.clone(), digest)?);
            manifest.wheels.push(self.wheel(file, requires_python));
            files.extend(beside.map(|name| (name, metadata.bytes)));
        }
        manifest.targets = self.recorded_targets(&files);
        files.extend(simple_index::pages(&indexed));
        let locks = self.lock_files(output);
        for (_, text) in &locks {
            store.keep_lock(text);
        }
        files.extend(locks);
        let placer = Placer::new(store, mode, self.files.values().map(|file| &file.stored));
        let publisher = DirectoryPublisher {
            directory: output.to_owned(),
            overwrite: true,
        };
        publisher.publish(&Wheelhouse {
            manifest,
            files,
            store: &placer,
        })
    }

    /// The targets as the manifest has them, of a set with this `metadata`.
    fn recorded_targets(&self, metadata: &BTreeMap<String, Vec<u8>>) -> Vec<Target> {
        let targets = self.targets.iter();
        let recorded = targets.map(|target| {
            let metadata = metadata.values().map(Vec::as_slice);
            publish::recorded(target, metadata, &self.requirements)
        });
        recorded.collect()
    }

    /// One lock is `pylock.toml`; several are named after their targets.
    fn lock_files(&self, output: &Path) -> Vec<(String, Vec<u8>)> {
        let several = self.locks.len() > 1;
        let locks = self.locks.iter().zip(&self.locked_files).zip(&self.names);
        let named = locks.map(|((lock, files), name)| {
            let files = files.iter().map(|(name, file)| {
                let placed = publish::placed(&file.filename, &file.stored, output);
                (name.clone(), placed)
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

    fn wheel(&self, file: &Gotten, requires_python: Option<String>) -> Wheel {
        let distribution = &file.distribution;
        let packages = self.locks.iter().flat_map(|lock| &lock.packages);
        let mut dependencies: Vec<String> = packages
            .filter(|package| package.name == distribution.name && file.is_locked)
            .flat_map(|package| &package.dependencies)
            .map(ToString::to_string)
            .collect();
        dependencies.sort();
        dependencies.dedup();
        Wheel {
            filename: file.filename.clone(),
            name: distribution.name.to_string(),
            version: version(file),
            sha256: file.stored.sha256,
            size: file.stored.size,
            requires_python,
            dependencies,
            origin: distribution.origin.clone(),
            source: distribution.source.to_string(),
            yanked: yanked(file),
            build_only: !file.is_locked,
            built: file.built.as_ref().map(|built| manifest::Built {
                sdist: file.sdist.map(Hashes::sha256_only).unwrap_or_default(),
                python: built.python.clone(),
                requirements: built.requirements.clone(),
            }),
        }
    }
}

/// The file of each locked package: its wheel, or else its sdist.
fn locked_files(files: Vec<Gotten>) -> BTreeMap<PackageName, Gotten> {
    let (wheels, sdists): (Vec<_>, Vec<_>) = files
        .into_iter()
        .filter(|file| file.is_locked)
        .partition(Gotten::is_wheel);
    let files = sdists.into_iter().chain(wheels);
    files
        .map(|file| (file.distribution.name.clone(), file))
        .collect()
}

fn yanked(file: &Gotten) -> Option<String> {
    file.distribution.source.artifact()?.yanked.clone()
}

fn version(file: &Gotten) -> String {
    let version = file.distribution.version.as_ref();
    version.map(ToString::to_string).unwrap_or_default()
}

fn sdist(file: &Gotten) -> Sdist {
    Sdist {
        filename: file.filename.clone(),
        name: file.distribution.name.to_string(),
        version: version(file),
        sha256: file.stored.sha256,
        size: file.stored.size,
        origin: file.distribution.origin.clone(),
        source: file.distribution.source.to_string(),
        yanked: yanked(file),
        build_only: !file.is_locked,
    }
}

fn indexed_file(
    file: &Gotten,
    requires_python: Option<String>,
    metadata: Option<Sha256>,
) -> Result<IndexedWheel> {
    let distribution = &file.distribution;
    let version = distribution.version.clone().ok_or_else(|| {
        Error::new(
            Kind::Resolution,
            format!("the version of {} is not known", file.filename),
        )
    })?;
    let artifact = distribution.source.artifact();
    Ok(IndexedWheel {
        filename: file.filename.clone(),
        name: distribution.name.clone(),
        version,
        sha256: file.stored.sha256,
        size: file.stored.size,
        requires_python,
        metadata,
        yanked: yanked(file),
        uploaded: artifact.and_then(|artifact| artifact.uploaded),
    })
}

/// A lock names a digest for every file; where nobody published one, it is what came.
fn complete_hashes(lock: &mut Lock, files: &[Gotten]) {
    for package in &mut lock.packages {
        let distribution = package.distribution();
        let came = files
            .iter()
            .find(|file| file.is_locked && file.distribution == distribution);
        if let Some(file) = came
            && file.built.is_none()
        {
            publish::complete_hashes(&mut package.source, file.stored.sha256);
        }
    }
}
