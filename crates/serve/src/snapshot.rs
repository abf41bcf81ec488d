//! A consistent state of one wheelhouse directory.
//!
//! With a manifest, a snapshot has the files that the manifest lists. Without one, it has all valid wheels and all
//! sdists of the directory, whose digests are computed. Files that have not changed since the previous snapshot are
//! neither opened nor read again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wheelhouse_fs::threads::in_parallel;
use wheelhouse_publish::{IndexedWheel, simple_index};
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME};
use wheelhouse_types::{Listing, Manifest, PackageName, Sha256, Version, limits};

use crate::index::{Index, ServedDistribution};
use crate::served_file::{FileVersion, OpenFiles, ServedFile, is_missing};

/// The state of a directory by which changes are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryVersion {
    /// The manifest.
    Manifest(FileVersion),
    /// The names and versions of all distributions, sorted.
    Listing(Vec<(String, FileVersion)>),
}

impl DirectoryVersion {
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        if let Some(version) = FileVersion::of(&directory.join(MANIFEST_NAME))? {
            return Ok(Self::Manifest(version));
        }
        Ok(Self::Listing(list(directory)?))
    }
}

/// Returns the names and versions of the distributions in `directory`, sorted.
fn list(directory: &Path) -> io::Result<Vec<(String, FileVersion)>> {
    let mut listing = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !wheelhouse_archive::is_find_links_name(&name) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                listing.push((name, FileVersion::from(&metadata)));
            }
            Ok(_) => {}
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    listing.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(listing)
}

/// Returns whether a publication into `directory` is in progress, or was interrupted.
pub(crate) fn is_being_published(directory: &Path) -> bool {
    directory.join(PENDING_NAME).exists()
}

/// A consistent state of a directory.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: DirectoryVersion,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) index: Arc<Index>,
}

impl Snapshot {
    /// Reads `directory`, whose version is `version`, with the unchanged files of `previous`.
    pub(crate) fn read(
        directory: &Path,
        version: DirectoryVersion,
        previous: Option<&Self>,
        open_files: &Arc<OpenFiles>,
    ) -> io::Result<Self> {
        let files = Files {
            directory,
            previous: previous.map(|snapshot| &*snapshot.index),
            limit: open_files,
        };
        let manifest_file = files.open(MANIFEST_NAME);
        let manifest = match version {
            DirectoryVersion::Manifest(_) => {
                let bytes = manifest_file.read(u64::MAX)?;
                Manifest::parse(&bytes)
                    .inspect_err(|error| {
                        tracing::warn!(%error, directory = %directory.display(), "the manifest cannot be used");
                    })
                    .ok()
            }
            DirectoryVersion::Listing(_) => None,
        };
        let modified = manifest_file.modified();
        let index = match (&manifest, &version) {
            (Some(manifest), _) => files.listed(manifest, manifest_file),
            (None, DirectoryVersion::Listing(listing)) => files.found(listing),
            (None, DirectoryVersion::Manifest(_)) => files.found(&list(directory)?),
        };
        tracing::debug!(
            directory = %directory.display(),
            projects = index.projects().len(),
            ?modified,
            "read a wheelhouse"
        );
        Ok(Self {
            version,
            manifest,
            index: Arc::new(index),
        })
    }
}

/// A value that is made from snapshots, and made again when one of these is replaced.
#[derive(Debug)]
pub(crate) struct Derived<Value>(Mutex<Option<DerivedState<Value>>>);

#[derive(Debug)]
struct DerivedState<Value> {
    snapshots: Vec<Arc<Snapshot>>,
    value: Arc<Value>,
}

impl<Value> DerivedState<Value> {
    fn get(&self, snapshots: &[Arc<Snapshot>]) -> Option<Arc<Value>> {
        let mut pairs = self.snapshots.iter().zip(snapshots);
        pairs
            .all(|(one, other)| Arc::ptr_eq(one, other))
            .then(|| Arc::clone(&self.value))
    }
}

impl<Value> Default for Derived<Value> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<Value> Derived<Value> {
    /// Returns the value if it was made from `snapshots`.
    pub(crate) fn get(&self, snapshots: &[Arc<Snapshot>]) -> Option<Arc<Value>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref()?.get(snapshots)
    }

    /// Forgets the value.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the value that was made from `snapshots`, or makes it. Concurrent callers wait for each other.
    pub(crate) fn get_or_make(
        &self,
        snapshots: Vec<Arc<Snapshot>>,
        make: impl FnOnce(&[Arc<Snapshot>]) -> Arc<Value>,
    ) -> Arc<Value> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.as_ref().and_then(|state| state.get(&snapshots)) {
            return known;
        }
        let value = make(&snapshots);
        *state = Some(DerivedState {
            snapshots,
            value: Arc::clone(&value),
        });
        value
    }
}

/// Opens the files of a directory.
struct Files<'a> {
    directory: &'a Path,
    previous: Option<&'a Index>,
    limit: &'a Arc<OpenFiles>,
}

impl Files<'_> {
    /// Opens the file `name`, or returns that of the previous snapshot if it is the same.
    fn open(&self, name: &str) -> Arc<ServedFile> {
        if let Some(known) = self.previous.and_then(|index| index.file(name)) {
            let found = std::fs::symlink_metadata(self.directory.join(name));
            let found = found.ok().map(|metadata| FileVersion::from(&metadata));
            if found.is_some() && found == known.version() {
                return Arc::clone(known);
            }
        }
        Arc::new(ServedFile::open(self.directory, name, self.limit))
    }

    /// Opens the metadata file of the distribution `filename`, and returns it with its digest.
    fn metadata(&self, filename: &str) -> Option<(Arc<ServedFile>, Sha256)> {
        let file = self.open(&simple_index::metadata_name(filename)?);
        if file.size()? > limits::METADATA {
            return None;
        }
        let sha256 = file.digest().ok()?;
        Some((file, sha256))
    }

    /// Builds the index of the files in `manifest`.
    fn listed(&self, manifest: &Manifest, manifest_file: Arc<ServedFile>) -> Index {
        let modified = manifest_file.modified();
        let mut others: BTreeMap<String, Arc<ServedFile>> = manifest
            .files
            .iter()
            .filter(|name| !name.contains('/') && !name.starts_with('.'))
            .map(|name| (name.clone(), self.open(name)))
            .collect();
        let indexed = simple_index::indexed_files(manifest, |name| {
            others.get(name)?.read(limits::METADATA).ok()
        });
        let statuses = manifest.project_status.clone();
        let distributions = indexed.into_iter().map(|indexed| {
            let file = self.open(&indexed.filename);
            file.set_sha256(indexed.sha256);
            ServedDistribution {
                indexed: Arc::new(indexed),
                file,
            }
        });
        let distributions: Vec<_> = distributions.collect();
        others.insert(MANIFEST_NAME.to_owned(), manifest_file);
        Index::new(distributions, others.into_values(), statuses, modified)
    }

    /// Builds the index of the valid distributions in `listing`.
    fn found(&self, listing: &[(String, FileVersion)]) -> Index {
        let found = in_parallel(listing, |(name, _)| self.distribution(name));
        let found: Vec<_> = found.into_iter().flatten().collect();
        let modified: Option<SystemTime> = found
            .iter()
            .filter_map(|(distribution, _)| distribution.file.modified())
            .max();
        let (distributions, metadata): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let metadata = metadata.into_iter().flatten();
        Index::new(distributions, metadata, BTreeMap::new(), modified)
    }

    /// Reads the distribution `name`, and its metadata file if there is one. Returns `None` for an invalid file, such as one
    /// that is being written.
    fn distribution(&self, name: &str) -> Option<(ServedDistribution, Option<Arc<ServedFile>>)> {
        let file = self.open(name);
        let path = self.directory.join(name);
        let known = self.previous.and_then(|index| {
            let mut distributions = index.distributions();
            distributions.find(|distribution| Arc::ptr_eq(&distribution.file, &file))
        });
        if let Some(known) = known {
            let metadata = known.indexed.metadata.and_then(|_| self.metadata(name));
            return Some((known.clone(), metadata.map(|(file, _)| file)));
        }
        let (project, version, requires_python) = if let Some(stem) =
            wheelhouse_archive::strip_sdist_suffix(name)
        {
            let (project, version) = stem.rsplit_once('-')?;
            let project = PackageName::from_str(project).ok()?;
            (project, Version::from_str(version).ok()?, None)
        } else {
            let wheel = wheelhouse_archive::inspect(&path, name)
                .inspect_err(|error| tracing::warn!(error = %error.display_chain(), "not served"))
                .ok()?;
            (wheel.name, wheel.version, wheel.requires_python)
        };
        let sha256 = file.digest().ok()?;
        let metadata = self.metadata(name);
        let indexed = IndexedWheel {
            filename: name.to_owned(),
            name: project,
            version,
            sha256,
            size: file.size()?,
            requires_python,
            metadata: metadata.as_ref().map(|(_, sha256)| *sha256),
            listing: Listing::default(),
        };
        let distribution = ServedDistribution {
            indexed: Arc::new(indexed),
            file,
        };
        Some((distribution, metadata.map(|(file, _)| file)))
    }
}
