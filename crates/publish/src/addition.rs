//! Adds a single wheel or sdist to a wheelhouse: an upload, or a file of an index that a server fetched.
//!
//! An added file belongs to no set. Its entry in the manifest is marked, so that later runs keep it. A file is never
//! replaced by one with other content.
//!
//! The manifest of the directory stays complete at every step, because only the pages of the index change before it does:
//!
//! 1. Lock the directory as a run does; read the manifest and the journal.
//! 2. Stage the metadata file and the pages that change, and flush them with the new file.
//! 3. Write the journal with the names of all of them.
//! 4. Rename the file, its metadata, and the pages to their final names.
//! 5. Replace the manifest, and remove the journal.
//!
//! If an addition was interrupted, the next one removes its files and renders all pages. A run does the same, and an
//! addition after an interrupted run fails, because only another run can complete the set.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use fs_err as fs;
use tempfile::NamedTempFile;
use wheelhouse_fs::{input, scratch};
use wheelhouse_types::manifest::{
    DistributionFile, MANIFEST_NAME, PENDING_NAME, SCHEMA, Sdist, Wheel,
};
use wheelhouse_types::{Error, Kind, Manifest, PackageName, ProjectStatus, Result, Sha256};

use crate::directory::{DirectoryPublisher, check_parents, lock};
use crate::fs_ops::{FsOps, RealFs, write_error};
use crate::journal::{self, DirectoryState, OwnedFiles, manifest_bytes};
use crate::simple_index::{self, IndexedProject, RenderedPage};
use crate::staging::{self, FileContent, PLACED_MTIME};
use crate::wheelhouse::FilePlacer;

/// A file to add.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The entry of the file in the manifest.
    pub entry: AddedEntry,
    /// The bytes of the file's `METADATA`, for `FILENAME.metadata`; `None` for an sdist.
    pub metadata: Option<Vec<u8>>,
    /// The status of the project at the origin of the file.
    pub status: Option<ProjectStatus>,
}

/// The entry of an added file. The publisher sets `added`.
#[derive(Clone, Debug)]
pub enum AddedEntry {
    /// A wheel.
    Wheel(Wheel),
    /// A source distribution.
    Sdist(Sdist),
}

impl AddedEntry {
    /// Returns the bytes of the file as the manifest describes them.
    #[must_use]
    pub fn file(&self) -> DistributionFile<'_> {
        match self {
            Self::Wheel(wheel) => DistributionFile {
                filename: &wheel.filename,
                sha256: wheel.sha256,
                size: wheel.size,
            },
            Self::Sdist(sdist) => DistributionFile {
                filename: &sdist.filename,
                sha256: sdist.sha256,
                size: sdist.size,
            },
        }
    }

    /// Returns the normalized name of the project.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Wheel(wheel) => &wheel.name,
            Self::Sdist(sdist) => &sdist.name,
        }
    }
}

/// The outcome of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// The file is new.
    Added,
    /// The wheelhouse has the file already.
    AlreadyThere,
    /// The directory has a file of this name with other content, which stays.
    Conflict,
}

impl DirectoryPublisher {
    /// Creates a file in the directory to receive the bytes of an addition; it is removed if it is dropped.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn incoming_file(&self) -> io::Result<NamedTempFile> {
        fs::create_dir_all(&self.directory)?;
        let mode = std::fs::Permissions::from_mode(0o666);
        scratch::file(&self.directory, &mode)
    }

    /// Returns the outcome of adding a file with this name and digest, if the manifest is sufficient to tell it.
    #[must_use]
    pub fn lookup(&self, filename: &str, sha256: Sha256) -> Option<AddOutcome> {
        lookup(&self.directory, filename, sha256)
    }

    /// Adds the complete and verified file at `incoming`, which is [one of the directory](Self::incoming_file), to the
    /// wheelhouse in the directory, or creates a wheelhouse with it.
    ///
    /// # Errors
    /// [`Kind::Publish`] if a file cannot be written, if the directory has wheels without a manifest, or if a run was
    /// interrupted there. The wheelhouse is unchanged then.
    pub fn add(&self, incoming: &Path, addition: &Addition) -> Result<AddOutcome> {
        add(&RealFs, &self.directory, incoming, addition)
    }
}

fn add(
    fs_ops: &dyn FsOps,
    root: &Path,
    incoming: &Path,
    addition: &Addition,
) -> Result<AddOutcome> {
    let file = addition.entry.file();
    let _span = tracing::debug_span!("add", directory = %root.display(), file.filename).entered();
    staging::check_name(file.filename)?;
    // Most repeated uploads end here, without waiting for the lock.
    if let Some(outcome) = lookup(root, file.filename, file.sha256) {
        return Ok(outcome);
    }
    fs_ops
        .create_directory(root)
        .map_err(|error| write_error(root, error))?;
    let _lock = lock(root)?;
    if let Some(outcome) = lookup(root, file.filename, file.sha256) {
        return Ok(outcome);
    }
    let state = DirectoryState::read(root)?;
    check_state(root, &state)?;
    staging::remove_temporary_files(fs_ops, root).map_err(|error| write_error(root, error))?;
    if fs::symlink_metadata(root.join(file.filename)).is_ok() && !may_replace(root, &file, &state) {
        return Ok(AddOutcome::Conflict);
    }
    let update = AdditionUpdate::plan(root, addition, &state)?;
    let result = update.apply(fs_ops, incoming);
    if result.is_err() {
        let _ = staging::remove_temporary_files(fs_ops, root);
    }
    result.map(|()| AddOutcome::Added)
}

/// Returns the outcome if the manifest in `root` lists a file of this name, unless that file is missing.
fn lookup(root: &Path, filename: &str, sha256: Sha256) -> Option<AddOutcome> {
    let bytes = input::read_regular(&root.join(MANIFEST_NAME)).ok()?;
    let manifest = Manifest::parse(&bytes).ok()?;
    let known = manifest
        .distributions()
        .find(|known| known.filename == filename)?;
    if known.sha256 != sha256 {
        return Some(AddOutcome::Conflict);
    }
    root.join(filename)
        .is_file()
        .then_some(AddOutcome::AlreadyThere)
}

/// Fails if the state of the directory is not that of a wheelhouse or of a new one.
fn check_state(root: &Path, state: &DirectoryState) -> Result<()> {
    let failed = |message: &str, hint: &str| {
        let message = format!("nothing can be added to {}: {message}", root.display());
        Err(Error::new(Kind::Publish, message).with_hint(hint))
    };
    if state.damaged {
        return failed(
            "its manifest is damaged",
            "Run wheelhouse build with the same output again.",
        );
    }
    if state.interrupted && !state.adding {
        return failed(
            "a run was interrupted while it published there",
            "Run wheelhouse build with the same output again.",
        );
    }
    let has_distributions = || {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| {
            let is_wheel = Path::new(&name).extension().is_some_and(|end| end == "whl");
            is_wheel || wheelhouse_archive::is_sdist_name(&name)
        })
    };
    if state.manifest.is_none() && !state.interrupted && has_distributions() {
        return failed(
            "it has wheels but no manifest",
            "Choose a directory that wheelhouse build has made, or an empty one.",
        );
    }
    Ok(())
}

/// Returns whether the existing file of this name is the same, or was left by an interrupted addition.
fn may_replace(root: &Path, file: &DistributionFile<'_>, state: &DirectoryState) -> bool {
    let path = root.join(file.filename);
    let is_regular = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    is_regular
        && staging::digest(&path).is_ok_and(|found| {
            let owned = state.owned.get(file.filename);
            found == file.sha256 || owned.is_some_and(|digests| digests.contains(&found))
        })
}

/// The changes that add one file.
struct AdditionUpdate<'a> {
    root: &'a Path,
    state: &'a DirectoryState,
    file: DistributionFile<'a>,
    manifest: Manifest,
    /// The metadata file and the pages.
    files: Vec<(String, Vec<u8>)>,
}

impl<'a> AdditionUpdate<'a> {
    fn plan(root: &'a Path, addition: &'a Addition, state: &'a DirectoryState) -> Result<Self> {
        let file = addition.entry.file();
        let name: PackageName = addition.entry.name().parse().map_err(|error| {
            Error::new(
                Kind::Publish,
                format!(
                    "`{}` is not a valid name",
                    addition.entry.name().escape_debug()
                ),
            )
            .caused_by(error)
        })?;
        let mut manifest = state.manifest.clone().unwrap_or_else(empty_manifest);
        let is_listed = state.recorded_digest(file.filename).is_some();
        if !is_listed {
            // A file of the user with the same content stays when the entry goes.
            let is_found = fs::symlink_metadata(root.join(file.filename)).is_ok()
                && !state.owned.contains_key(file.filename);
            manifest
                .found
                .extend(is_found.then(|| file.filename.to_owned()));
            manifest.found.sort();
            match addition.entry.clone() {
                AddedEntry::Wheel(wheel) => manifest.wheels.push(Wheel {
                    added: true,
                    ..wheel
                }),
                AddedEntry::Sdist(sdist) => manifest.sdists.push(Sdist {
                    added: true,
                    ..sdist
                }),
            }
            manifest.sort_stored_files();
            if let Some(status) = addition
                .status
                .clone()
                .filter(|status| !status.is_default())
            {
                manifest.project_status.insert(name.clone(), status);
            }
        }
        let metadata_name = simple_index::metadata_name(file.filename);
        let metadata = metadata_name.zip(addition.metadata.clone());
        let mut files = changed_pages(root, &manifest, &name, metadata.as_ref(), state.interrupted);
        files.extend(metadata);
        for (name, _) in &files {
            staging::check_name(name)?;
            check_parents(root, name)?;
            let is_foreign = !state.owned.contains_key(name);
            if is_foreign && fs::symlink_metadata(root.join(name)).is_ok() {
                let message = format!(
                    "`{}` exists, and no run of wheelhouse wrote it",
                    root.join(name).display()
                );
                return Err(Error::new(Kind::Publish, message)
                    .with_hint("Move the file away, or choose another directory."));
            }
        }
        let known: BTreeSet<String> = manifest.files.drain(..).collect();
        let names = files.iter().map(|(name, _)| name.clone());
        manifest.files = known
            .into_iter()
            .chain(names)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        Ok(Self {
            root,
            state,
            file,
            manifest,
            files,
        })
    }

    fn apply(&self, fs_ops: &dyn FsOps, incoming: &Path) -> Result<()> {
        let root = self.root;
        let place_time = || {
            let file = fs::OpenOptions::new().write(true).open(incoming)?;
            file.set_modified(UNIX_EPOCH + PLACED_MTIME)?;
            fs_ops.flush(incoming)
        };
        place_time().map_err(|error| write_error(incoming, error))?;
        let changes: Vec<(&str, FileContent<'_>)> = self
            .files
            .iter()
            .map(|(name, bytes)| (name.as_str(), FileContent::Bytes(bytes)))
            .collect();
        let staged = staging::stage(fs_ops, root, &changes, &NoPlacer)?;
        self.replace(
            fs_ops,
            PENDING_NAME,
            &journal::journal_bytes(self.journal(), true),
        )?;
        let target = root.join(self.file.filename);
        fs_ops
            .rename(incoming, &target)
            .map_err(|error| write_error(&target, error))?;
        staging::rename_staged(fs_ops, root, &staged)?;
        for name in self.stale() {
            tracing::debug!(name, "removing a file of an interrupted addition");
            let path = root.join(name);
            staging::remove(fs_ops, &path)?;
            if let Some(parent) = path.parent().filter(|parent| *parent != root) {
                // Only the directory of a project that has no other file is empty.
                let _ = fs_ops.remove_directory(parent);
            }
        }
        fs_ops
            .flush(root)
            .map_err(|error| write_error(root, error))?;
        self.replace(fs_ops, MANIFEST_NAME, &manifest_bytes(&self.manifest))?;
        staging::remove(fs_ops, &root.join(PENDING_NAME))
    }

    /// Returns the files that this addition may write, and those of an interrupted one.
    fn journal(&self) -> OwnedFiles {
        let mut names = OwnedFiles::new();
        if self.state.interrupted {
            names.clone_from(&self.state.owned);
        }
        let mut own: OwnedFiles = self
            .files
            .iter()
            .map(|(name, _)| (name.clone(), Vec::new()))
            .collect();
        if !self
            .manifest
            .found
            .iter()
            .any(|name| name == self.file.filename)
        {
            own.insert(self.file.filename.to_owned(), vec![self.file.sha256]);
        }
        journal::merge(&mut names, own);
        names
    }

    /// Returns the files of an interrupted addition that are not part of the wheelhouse.
    fn stale(&self) -> Vec<&str> {
        if !self.state.interrupted {
            return Vec::new();
        }
        let known: BTreeSet<&str> = self
            .manifest
            .distributions()
            .map(|file| file.filename)
            .chain(self.manifest.files.iter().map(String::as_str))
            .collect();
        let is_unmodified = |name: &str, digests: &[Sha256]| {
            let digest = staging::digest(&self.root.join(name));
            digests.is_empty() || digest.is_ok_and(|digest| digests.contains(&digest))
        };
        self.state
            .owned
            .iter()
            .filter(|(name, digests)| {
                !known.contains(name.as_str())
                    && check_parents(self.root, name).is_ok()
                    && is_unmodified(name, digests)
            })
            .map(|(name, _)| name.as_str())
            .collect()
    }

    fn replace(&self, fs_ops: &dyn FsOps, name: &str, bytes: &[u8]) -> Result<()> {
        staging::replace(fs_ops, self.root, name, bytes)
    }
}

fn empty_manifest() -> Manifest {
    Manifest {
        schema: SCHEMA.to_owned(),
        generator: concat!("wheelhouse ", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Manifest::default()
    }
}

/// Renders the pages of the index that a file of the project `name` changes, or all pages if `all` is set. `metadata` is
/// the metadata file of the new file.
fn changed_pages(
    root: &Path,
    manifest: &Manifest,
    name: &PackageName,
    metadata: Option<&(String, Vec<u8>)>,
    all: bool,
) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| match metadata {
        Some((known, bytes)) if known == name => Some(bytes.clone()),
        _ => input::read_regular(&root.join(name)).ok(),
    };
    if all {
        let indexed = simple_index::indexed_files(manifest, read);
        return simple_index::pages(&indexed, &manifest.project_status);
    }
    let mut of_project = manifest.clone();
    of_project
        .wheels
        .retain(|wheel| wheel.name == name.as_ref());
    of_project
        .sdists
        .retain(|sdist| sdist.name == name.as_ref());
    let indexed = simple_index::indexed_files(&of_project, read);
    let names: BTreeSet<PackageName> = manifest
        .names()
        .filter_map(|name| name.parse().ok())
        .collect();
    let project = IndexedProject {
        name,
        status: manifest.project_status.get(name),
    };
    let files: Vec<_> = indexed.iter().collect();
    let of_page = |directory: String, page: RenderedPage| {
        [
            (format!("{directory}index.html"), page.html),
            (format!("{directory}index.json"), page.json),
        ]
    };
    let root_page = simple_index::index_page(&names.iter().collect::<Vec<_>>());
    let project_page = simple_index::project_page(&project, &files);
    let mut pages: Vec<_> = of_page("simple/".to_owned(), root_page).into();
    pages.extend(of_page(format!("simple/{name}/"), project_page));
    if indexed
        .iter()
        .any(|file| simple_index::is_legacy(&file.filename))
    {
        let sdists = Manifest {
            wheels: Vec::new(),
            ..manifest.clone()
        };
        let page = simple_index::legacy_page(&simple_index::indexed_files(&sdists, |_| None));
        pages.extend(page.map(|page| (simple_index::LEGACY_PAGE.to_owned(), page)));
    }
    pages
}

/// The placer of an addition, which stages only other files.
struct NoPlacer;

impl FilePlacer for NoPlacer {
    fn place(&self, _sha256: &Sha256, destination: &Path) -> Result<()> {
        Err(write_error(
            destination,
            io::Error::from(io::ErrorKind::Unsupported),
        ))
    }
}

#[cfg(test)]
mod tests;
