//! Staging: finds the files of a set that the directory lacks, and writes each of them completely under a temporary name.
//!
//! Final names are never touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fs_err as fs;
use wheelhouse_fs::input;
use wheelhouse_fs::threads::on_threads;
use wheelhouse_fs::{interruption, scratch};
use wheelhouse_types::manifest::{
    DistributionFile, MANIFEST_NAME, PENDING_NAME, PREVIOUS_NAME, SIGNATURES_NAME,
};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::fs_ops::{FsOps, write_error};
use crate::journal::{self, DirectoryState, TEMPORARY_PREFIX};
use crate::simple_index::LONGEST_NAME;
use crate::wheelhouse::FilePlacer;

/// The number of concurrent flushes: file systems commit them together.
const FLUSH_THREADS: usize = 8;

/// The number of files or directories from which flushing the whole file system is faster than flushing each of them.
const SYNCFS_THRESHOLD: usize = 64;

/// The modification time, since the Unix epoch, that a placer gives to wheels and sdists. A later write changes it.
pub(crate) const PLACED_MTIME: Duration = Duration::from_secs(315_532_802);

/// The expected content of a file of the set.
#[derive(Clone, Copy)]
pub(crate) enum FileContent<'a> {
    /// A wheel or an sdist of the store; the size is in bytes.
    Stored {
        sha256: Sha256,
        size: u64,
    },
    Bytes(&'a [u8]),
}

impl FileContent<'_> {
    pub(crate) fn digest(&self) -> Sha256 {
        match self {
            Self::Stored { sha256, .. } => *sha256,
            Self::Bytes(bytes) => Sha256::of(bytes),
        }
    }

    /// In bytes.
    fn size(&self) -> u64 {
        match self {
            Self::Stored { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// The files of the set by name, without the manifest.
pub(crate) type DesiredFiles<'a> = BTreeMap<&'a str, FileContent<'a>>;

/// Lists the files that the directory will hold: the wheels, sdists and crates of `manifest`, and `files`.
///
/// # Errors
/// Fails if a name is unsafe, is too long, or belongs to two files.
pub(crate) fn desired_files<'a>(
    manifest: &'a Manifest,
    files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
) -> Result<DesiredFiles<'a>> {
    let stored = manifest.stored_files().map(|file| {
        let (sha256, size) = (file.sha256, file.size);
        (file.filename, FileContent::Stored { sha256, size })
    });
    let others = files.map(|(name, bytes)| (name.as_str(), FileContent::Bytes(bytes)));
    let mut desired = DesiredFiles::new();
    for (name, content) in stored.chain(others) {
        check_name(name)?;
        if desired.insert(name, content).is_some() {
            return Err(unsafe_name(name));
        }
    }
    Ok(desired)
}

/// Fails if a file of a wheelhouse cannot have this `name`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if !journal::is_safe_name(name) {
        return Err(unsafe_name(name));
    }
    if name.split('/').any(|part| part.len() > LONGEST_NAME) {
        let message = format!(
            "`{name}` cannot be part of a wheelhouse: file systems limit names to {LONGEST_NAME} bytes"
        );
        return Err(Error::new(Kind::Publish, message));
    }
    Ok(())
}

fn unsafe_name(name: &str) -> Error {
    let message = format!(
        "`{}` cannot be part of a wheelhouse: the name is unsafe or duplicated",
        name.escape_debug()
    );
    Error::new(Kind::Publish, message)
}

/// The result of comparing a file with its expected content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The file is missing or has other content.
    Differs,
    /// The file has the expected content.
    Matches,
    /// The file has the expected content, and a wheel or sdist had to be read to find out.
    MatchesByDigest,
}

/// Compares the file `name` of `root` with `content`.
///
/// A wheel is not read again if the last manifest has its digest, its modification time is the one that it was placed
/// with, and it was not touched since the manifest was written: a run that changes nothing only reads metadata. Another
/// wheelhouse from the same cache adds a hard link and thereby touches the file, which is then read once.
///
/// # Errors
/// Fails if the name belongs to a directory.
pub(crate) fn compare(
    root: &Path,
    name: &str,
    content: &FileContent<'_>,
    state: &DirectoryState,
) -> Result<Comparison> {
    let path = root.join(name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(write_error(
                &path,
                io::Error::from(io::ErrorKind::IsADirectory),
            ));
        }
        Ok(metadata) => metadata,
        Err(_) => return Ok(Comparison::Differs),
    };
    if !metadata.is_file() || metadata.len() != content.size() {
        return Ok(Comparison::Differs);
    }
    let is_untouched = |sha256: Sha256| {
        state.recorded_digest(name) == Some(sha256)
            && has_placed_mtime(&metadata)
            && fs::symlink_metadata(root.join(MANIFEST_NAME))
                .is_ok_and(|manifest| is_older(&metadata, &manifest))
    };
    Ok(match content {
        FileContent::Bytes(bytes) if fs::read(&path).is_ok_and(|found| found == *bytes) => {
            Comparison::Matches
        }
        FileContent::Stored { sha256, .. } if is_untouched(*sha256) => Comparison::Matches,
        FileContent::Stored { sha256, .. } if digest(&path).is_ok_and(|found| found == *sha256) => {
            Comparison::MatchesByDigest
        }
        _ => Comparison::Differs,
    })
}

/// Makes the manifest newer than the wheels that [`compare`] had to read, so that the next run need not read them again.
pub(crate) fn touch_manifest(root: &Path) {
    let manifest = root.join(MANIFEST_NAME);
    if let Ok(metadata) = fs::symlink_metadata(&manifest)
        && metadata.is_file()
    {
        // Setting the same permissions updates the change time. If that is not permitted, the next run reads the wheels.
        let _ = fs::set_permissions(&manifest, metadata.permissions());
    }
}

/// Returns the digests of the wheels and sdists of the wheelhouse in `root` that were not touched since its manifest was
/// written.
#[must_use]
pub fn unmodified_distributions(root: &Path) -> BTreeSet<Sha256> {
    let path = root.join(MANIFEST_NAME);
    let read = || {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let manifest = Manifest::parse(&input::read_regular(&path).ok()?).ok()?;
        Some((metadata, manifest))
    };
    let Some((manifest_metadata, manifest)) = read() else {
        return BTreeSet::new();
    };
    let is_unmodified = |file: &DistributionFile<'_>| {
        fs::symlink_metadata(root.join(file.filename)).is_ok_and(|metadata| {
            metadata.is_file()
                && metadata.len() == file.size
                && has_placed_mtime(&metadata)
                && is_older(&metadata, &manifest_metadata)
        })
    };
    manifest
        .stored_files()
        .filter(is_unmodified)
        .map(|file| file.sha256)
        .collect()
}

/// Returns whether a file was not written to since it was placed. An age greater than the manifest's is not sufficient: a
/// directory that was damaged and then copied has that, too.
fn has_placed_mtime(metadata: &Metadata) -> bool {
    metadata
        .modified()
        .is_ok_and(|time| time == UNIX_EPOCH + PLACED_MTIME)
}

/// Returns whether a file was last changed, renamed or linked before another one. Equal times do not count, because the
/// clocks of file systems are coarse.
fn is_older(file: &Metadata, other: &Metadata) -> bool {
    (file.ctime(), file.ctime_nsec()) < (other.ctime(), other.ctime_nsec())
}

/// Computes the digest of the file at `path`.
pub(crate) fn digest(path: &Path) -> io::Result<Sha256> {
    Ok(wheelhouse_fs::digest::sha256(&mut fs::File::open(path)?)?.0)
}

/// A complete file that still has a temporary name.
pub(crate) struct StagedFile<'a> {
    pub(crate) temporary: PathBuf,
    pub(crate) name: &'a str,
}

/// Writes `changes` under temporary names and flushes them to the disk.
pub(crate) fn stage<'a>(
    fs_ops: &dyn FsOps,
    root: &Path,
    changes: &[(&'a str, FileContent<'_>)],
    placer: &dyn FilePlacer,
) -> Result<Vec<StagedFile<'a>>> {
    let mut staged = Vec::with_capacity(changes.len());
    for (index, (name, content)) in changes.iter().enumerate() {
        interruption::check()?;
        let temporary = temporary_path(root, &index.to_string());
        match content {
            FileContent::Bytes(bytes) => fs_ops
                .write(&temporary, bytes)
                .map_err(|error| write_error(&root.join(name), error)),
            FileContent::Stored { sha256, .. } => fs_ops
                .place(placer, sha256, &temporary)
                .map_err(|error| write_error(&root.join(name), error)),
        }?;
        staged.push(StagedFile { temporary, name });
    }
    let paths: Vec<&Path> = staged.iter().map(|file| &*file.temporary).collect();
    flush(fs_ops, root, &paths)?;
    Ok(staged)
}

/// Renames the staged files to their final names, and flushes the directories below `root` that they are in.
pub(crate) fn rename_staged(
    fs_ops: &dyn FsOps,
    root: &Path,
    staged: &[StagedFile<'_>],
) -> Result<()> {
    let mut directories = BTreeSet::new();
    for file in staged {
        let target = root.join(file.name);
        let failed = |error: io::Error| write_error(&target, error);
        if let Some(parent) = target.parent()
            && parent != root
            && directories.insert(parent.to_owned())
        {
            fs_ops.create_directory(parent).map_err(failed)?;
        }
        fs_ops.rename(&file.temporary, &target).map_err(failed)?;
    }
    let directories: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
    flush(fs_ops, root, &directories)
}

/// Returns the path of a temporary file that contains `label`. Only the holder of the directory's lock creates such
/// files, so another run cannot be using one.
pub(crate) fn temporary_path(root: &Path, label: &str) -> PathBuf {
    root.join(format!("{TEMPORARY_PREFIX}{label}.tmp"))
}

/// Flushes `paths` below `root` to the disk.
pub(crate) fn flush(fs_ops: &dyn FsOps, root: &Path, paths: &[&Path]) -> Result<()> {
    if paths.len() >= SYNCFS_THRESHOLD
        && (fs_ops.flush_all(root)).map_err(|error| write_error(root, error))?
    {
        return Ok(());
    }
    let chunk_size = paths.len().div_ceil(FLUSH_THREADS).max(1);
    let chunks: Vec<_> = paths.chunks(chunk_size).collect();
    let flush_chunk = |chunk: &&[&Path]| {
        chunk
            .iter()
            .try_for_each(|path| fs_ops.flush(path).map_err(|error| write_error(path, error)))
    };
    on_threads(&chunks, flush_chunk).into_iter().collect()
}

/// Writes one of our own files under a temporary name, flushes it, and replaces the file `name` by it atomically.
pub(crate) fn replace(fs_ops: &dyn FsOps, root: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let target = root.join(name);
    let temporary = temporary_path(root, "state");
    fs_ops
        .write(&temporary, bytes)
        .and_then(|()| fs_ops.flush(&temporary))
        .and_then(|()| fs_ops.rename(&temporary, &target))
        .map_err(|error| write_error(&target, error))?;
    fs_ops.flush(root).map_err(|error| write_error(root, error))
}

/// Removes a file that may be missing.
pub(crate) fn remove(fs_ops: &dyn FsOps, path: &Path) -> Result<()> {
    match fs_ops.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| write_error(path, error)),
    }
}

/// Returns whether `name` is that of a file that wheelhouse keeps in the directory of a wheelhouse without being part of it.
#[must_use]
pub fn is_companion(name: &str) -> bool {
    matches!(
        name,
        MANIFEST_NAME | PENDING_NAME | PREVIOUS_NAME | SIGNATURES_NAME
    ) || name.starts_with(scratch::HIDDEN_PREFIX)
}

/// Removes the temporary files that an interrupted run left in `root`. Those of the store are among them, because it
/// places a wheel by way of a temporary file in the same directory. Scratch files are removed only if no process uses
/// them: a server receives files in them.
pub(crate) fn remove_temporary_files(fs_ops: &dyn FsOps, root: &Path) -> io::Result<()> {
    scratch::remove_abandoned(root);
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_temporary = name.starts_with(TEMPORARY_PREFIX) && !is_companion(&name);
        if is_temporary && entry.file_type()?.is_file() {
            tracing::debug!(name, "removing a temporary file of an interrupted run");
            fs_ops.remove_file(&entry.path())?;
        }
    }
    Ok(())
}
