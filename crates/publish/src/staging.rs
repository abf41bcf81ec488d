//! Staging: finds which files of a set are not in the directory yet, and writes each of those whole
//! under a temporary name.
//!
//! Never touches a final name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fs_err as fs;
use wheelhouse_types::manifest::{File, MANIFEST_NAME, PENDING_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use super::fs_ops::{Operations, failure};
use super::journal::{self, Previous, TEMPORARY_START};
use super::simple_index::LONGEST_NAME;
use super::{Place, Wheelhouse};
use wheelhouse_fs::input;
use wheelhouse_fs::interruption;
use wheelhouse_fs::threads::on_threads;

/// How many files are flushed at once: file systems commit them together.
const FLUSHING: usize = 8;

/// From so many files on, flushing the whole file system is quicker than one after the other.
const MANY: usize = 64;

/// The modification time that whoever places a wheel or an sdist gives it, since the Unix epoch.
/// Whoever writes to one moves it.
pub(super) const PLACED_TIME: Duration = Duration::from_secs(315_532_802);

/// What a file of the set is to hold.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    /// A wheel or an sdist of the store; the size is in bytes.
    Stored {
        sha256: Sha256,
        size: u64,
    },
    Bytes(&'a [u8]),
}

impl Content<'_> {
    pub(super) fn digest(&self) -> Sha256 {
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

/// The files of the set by name, the manifest not among them.
pub(super) type Desired<'a> = BTreeMap<&'a str, Content<'a>>;

/// Lists what the directory is to hold.
///
/// # Errors
/// A name that is not safe or that two files have: no set may come with one.
pub(super) fn desired<'a>(wheelhouse: &'a Wheelhouse<'_>) -> Result<Desired<'a>> {
    let manifest = &wheelhouse.manifest;
    let stored = manifest.distributions().map(|file| {
        let (sha256, size) = (file.sha256, file.size);
        (file.filename, Content::Stored { sha256, size })
    });
    let files = wheelhouse.files.iter();
    let files = files.map(|(name, bytes)| (name.as_str(), Content::Bytes(bytes)));
    let mut desired = Desired::new();
    for (name, content) in stored.chain(files) {
        if !journal::is_safe(name) || desired.insert(name, content).is_some() {
            let message = format!("`{}` cannot be put into a wheelhouse", name.escape_debug());
            return Err(Error::new(Kind::Publish, message));
        }
        if name.split('/').any(|part| part.len() > LONGEST_NAME) {
            let message = format!(
                "`{name}` cannot be put into a wheelhouse: filesystems take names of {LONGEST_NAME} bytes"
            );
            return Err(Error::new(Kind::Publish, message));
        }
    }
    Ok(desired)
}

/// Tells whether the file `name` of `root` holds `content` already.
///
/// A wheel is not read again when it has the digest of the last manifest, still has the time that it
/// was placed with, and was not touched since the manifest was written: a run that changes nothing costs no more than
/// looking. Each other wheelhouse that is made from the same cache touches the file where it adds a hard link; then it
/// is read once.
///
/// # Errors
/// A directory where the file belongs.
pub(super) fn is_there(
    root: &Path,
    name: &str,
    content: &Content<'_>,
    previous: &Previous,
) -> Result<Presence> {
    let path = root.join(name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(failure(&path, io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Ok(metadata) => metadata,
        Err(_) => return Ok(Presence::Absent),
    };
    if !metadata.is_file() || metadata.len() != content.size() {
        return Ok(Presence::Absent);
    }
    Ok(match content {
        Content::Bytes(bytes) if fs::read(&path).is_ok_and(|found| found == *bytes) => {
            Presence::Known
        }
        Content::Stored { sha256, .. }
            if is_untouched(root, &metadata, (name, *sha256), previous) =>
        {
            Presence::Known
        }
        Content::Stored { sha256, .. } if digest(&path).is_ok_and(|found| found == *sha256) => {
            Presence::Digested
        }
        _ => Presence::Absent,
    })
}

/// Whether a file is there, and what it took to know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    Known,
    /// A wheel that had to be read.
    Digested,
}

/// Makes the manifest newer than the wheels that were digested, so that the next run need not read them: each wheelhouse
/// that is made from the same cache adds a hard link to their files, and so changes the times of all links.
pub(super) fn believe(root: &Path) {
    let manifest = root.join(MANIFEST_NAME);
    if let Ok(metadata) = fs::symlink_metadata(&manifest)
        && metadata.is_file()
    {
        // What changes nothing changes the time; where that is not permitted the next run reads them again.
        let _ = fs::set_permissions(&manifest, metadata.permissions());
    }
}

fn is_untouched(
    root: &Path,
    metadata: &Metadata,
    (name, sha256): (&str, Sha256),
    previous: &Previous,
) -> bool {
    let is_old = || {
        fs::symlink_metadata(root.join(MANIFEST_NAME))
            .is_ok_and(|manifest| is_older(metadata, &manifest))
    };
    previous.recorded(name) == Some(sha256) && has_placed_time(metadata) && is_old()
}

/// Returns the digests of the wheels and sdists that the wheelhouse in `root` has and that were not touched since its
/// manifest was written.
#[must_use]
pub fn unchanged(root: &Path) -> BTreeSet<Sha256> {
    let manifest = root.join(MANIFEST_NAME);
    let read = || {
        let written = fs::symlink_metadata(&manifest).ok()?;
        Some((
            written,
            Manifest::parse(&input::read_regular(&manifest).ok()?).ok()?,
        ))
    };
    let Some((written, manifest)) = read() else {
        return BTreeSet::new();
    };
    let is_unchanged = |file: &File<'_>| {
        fs::symlink_metadata(root.join(file.filename)).is_ok_and(|metadata| {
            metadata.is_file()
                && metadata.len() == file.size
                && has_placed_time(&metadata)
                && is_older(&metadata, &written)
        })
    };
    let files = manifest.distributions().filter(is_unchanged);
    files.map(|file| file.sha256).collect()
}

/// Whether nobody has written to a file since it was placed. That it is older than the manifest does
/// not tell: so are the files of a directory that was damaged first and copied then.
fn has_placed_time(metadata: &Metadata) -> bool {
    metadata
        .modified()
        .is_ok_and(|time| time == UNIX_EPOCH + PLACED_TIME)
}

/// Whether a file was last changed, renamed or linked before another one. Strictly: clocks of file
/// systems tick slowly.
#[cfg(unix)]
fn is_older(file: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (file.ctime(), file.ctime_nsec()) < (other.ctime(), other.ctime_nsec())
}

#[cfg(not(unix))]
fn is_older(_file: &Metadata, _other: &Metadata) -> bool {
    false
}

/// Digests the file at `path`.
pub(super) fn digest(path: &Path) -> io::Result<Sha256> {
    Ok(Sha256::of_reader(&mut fs::File::open(path)?)?.0)
}

/// A file that is whole but not yet where it belongs.
pub(super) struct Staged<'a> {
    pub(super) temporary: PathBuf,
    pub(super) name: &'a str,
}

/// Writes `changes` under temporary names, and waits until they are on the disk.
pub(super) fn stage<'a>(
    operations: &dyn Operations,
    root: &Path,
    changes: &[(&'a str, Content<'_>)],
    store: &dyn Place,
) -> Result<Vec<Staged<'a>>> {
    let mut staged = Vec::with_capacity(changes.len());
    for (index, (name, content)) in changes.iter().enumerate() {
        interruption::check()?;
        let temporary = temporary(root, &index.to_string());
        match content {
            Content::Bytes(bytes) => operations
                .write(&temporary, bytes)
                .map_err(|error| failure(&root.join(name), error)),
            Content::Stored { sha256, .. } => operations
                .place(store, sha256, &temporary)
                .map_err(|error| failure(&root.join(name), error)),
        }?;
        staged.push(Staged { temporary, name });
    }
    let paths: Vec<&Path> = staged.iter().map(|file| &*file.temporary).collect();
    let at_once = paths.len() >= MANY
        && operations
            .flush_all(root)
            .map_err(|error| failure(root, error))?;
    if !at_once {
        flush(operations, &paths)?;
    }
    Ok(staged)
}

/// The temporary name of ours with `label` in it. Only the holder of the lock makes such files, so
/// none of them can be in use by another run.
pub(super) fn temporary(root: &Path, label: &str) -> PathBuf {
    root.join(format!("{TEMPORARY_START}{label}.tmp"))
}

/// Waits until `paths` are on the disk.
pub(super) fn flush(operations: &dyn Operations, paths: &[&Path]) -> Result<()> {
    let share = paths.len().div_ceil(FLUSHING).max(1);
    let flush_share = |share: &[&Path]| {
        share
            .iter()
            .try_for_each(|path| operations.flush(path).map_err(|error| failure(path, error)))
    };
    let shares: Vec<_> = paths.chunks(share).collect();
    on_threads(&shares, |share| flush_share(share))
        .into_iter()
        .collect()
}

/// Removes the temporary files that a stopped run left in `root`, those of the store among them:
/// it makes its own beside the place that it puts a wheel in.
pub(super) fn sweep(operations: &dyn Operations, root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with(TEMPORARY_START) && name != PENDING_NAME;
        if is_ours && entry.file_type()?.is_file() {
            operations.remove_file(&entry.path())?;
        }
    }
    Ok(())
}
