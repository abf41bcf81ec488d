//! The artifacts of a build for the next one: wheels that are slow to obtain, and the locks.
//!
//! 1. [`tidy`] reduces the cache to the files that speed up the next build, and adds the locks.
//! 2. [`save`] streams the cache as a tar archive, which the builder carries to the container of the next build.
//! 3. [`restore`] moves it into place there, unless it is for another Python or platform.
//!
//! All files are in the cache, so that the `save-artifacts` of an application can be
//! `tar -C /opt/app-root -cf - cache`.
//!
//! Builders carry artifacts at about [`CARRIED_PER_SECOND`]. Wheels that an index delivers faster
//! are fetched again instead.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filetime::FileTime;
use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use tar::{EntryType, Header};
use walkdir::{DirEntry, WalkDir};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Kind, Manifest, PackageName, Result, Sha256, Target, Version};

use super::Paths;
use super::move_tree::move_contents;
use wheelhouse_archive::metadata::value;
use wheelhouse_config::is_pylock_name;
use wheelhouse_fs::input;
use wheelhouse_store::{GarbageCollector, STORE_MTIME, Store, TEMPORARY_PREFIX};

/// The number of bytes per second that a builder saves, carries and uploads, measured with the S2I tool
/// and docker.
const CARRIED_PER_SECOND: u64 = 10_000_000;

/// The result of restoring artifacts.
#[derive(Debug, PartialEq, Eq)]
pub enum RestoredArtifacts {
    /// There were no artifacts.
    Nothing,
    /// The artifacts are in place, with these files in the store.
    Everything(BTreeSet<Sha256>),
    /// The artifacts are for this other target and were discarded.
    Foreign(String),
}

/// The size and duration of downloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct DownloadStats {
    /// The size in bytes.
    pub bytes: u64,
    /// The duration.
    pub time: Duration,
}

impl DownloadStats {
    /// Returns whether carrying the same bytes as artifacts would have been faster.
    #[must_use]
    pub fn is_slow(self) -> bool {
        u128::from(self.bytes) * 1000 < u128::from(CARRIED_PER_SECOND) * self.time.as_millis()
    }
}

/// Reduces the cache to wheels that were built or `restored`, with `all` to every wheel in use, and adds the
/// locks. Removes the directories `others` of the cache, and makes the files of the wheelhouse
/// independent of it.
///
/// # Errors
/// Fails if the cache or the wheelhouse cannot be read or written.
pub fn tidy(paths: &Paths, all: bool, restored: &BTreeSet<Sha256>, others: &[&str]) -> Result<()> {
    let kept = {
        let store = Store::open_read_only(paths.cache())?;
        let mut kept = in_use(&store, &[paths.wheelhouse(), paths.tools()])?;
        if !all {
            let built = store.built_digests()?;
            kept.retain(|sha256| built.contains(sha256) || restored.contains(sha256));
        }
        kept
    };
    if let Some(collector) = GarbageCollector::try_lock(paths.cache())? {
        collector.retain(&kept, others)?;
    }
    let failed = || "failed to clean up the cache of the image".to_owned();
    for (from, to) in [
        (paths.wheelhouse(), paths.locks()),
        (paths.tools(), paths.tools()),
    ] {
        keep_locks(&from, &to).context(Kind::Publish, failed)?;
    }
    unlink_wheels(&paths.wheelhouse()).context(Kind::Publish, failed)
}

/// Replaces the contents of `to` with the locks and the manifest of the wheelhouse `from`.
fn keep_locks(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    let mut kept = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_pylock_name(&name) || name == MANIFEST_NAME {
            kept.push((name, fs::read(entry.path())?));
        }
    }
    if to.is_dir() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for (name, bytes) in kept {
        fs::write(to.join(name), bytes)?;
    }
    Ok(())
}

/// Replaces hard links in `wheelhouse` with copies: tools that copy a directory out of an image do not follow
/// hard links that leave it.
fn unlink_wheels(wheelhouse: &Path) -> io::Result<()> {
    for entry in fs::read_dir(wheelhouse)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if !metadata.is_file() || metadata.nlink() == 1 {
            continue;
        }
        let copy = wheelhouse.join(format!("{TEMPORARY_PREFIX}copy"));
        reflink_copy::reflink_or_copy(&path, &copy)?;
        fs::set_permissions(&copy, metadata.permissions())?;
        filetime::set_file_mtime(&copy, FileTime::from_last_modification_time(&metadata))?;
        fs::rename(&copy, &path)?;
    }
    Ok(())
}

/// Returns the files of `wheelhouses`, and the wheels that were used to build some of them.
fn in_use(store: &Store, wheelhouses: &[PathBuf]) -> Result<BTreeSet<Sha256>> {
    let manifests: Vec<_> = wheelhouses.iter().filter_map(|it| manifest(it)).collect();
    let files = manifests.iter().flat_map(Manifest::distributions);
    let mut used: BTreeSet<_> = files.map(|file| file.sha256).collect();
    let wheels = manifests.iter().flat_map(|manifest| &manifest.wheels);
    let requirements: BTreeSet<&String> = wheels
        .filter_map(|wheel| wheel.built.as_ref())
        .flat_map(|built| &built.requirements)
        .collect();
    for sha256 in store.digests()? {
        let pinned = store.metadata(&sha256).as_deref().and_then(pinned);
        if pinned.is_some_and(|pinned| requirements.contains(&pinned)) {
            used.insert(sha256);
        }
    }
    Ok(used)
}

/// Returns `name==version` of the wheel with this metadata.
fn pinned(metadata: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let name: PackageName = value(&text, "Name")?.parse().ok()?;
    let version: Version = value(&text, "Version")?.parse().ok()?;
    Some(format!("{name}=={version}"))
}

fn manifest(wheelhouse: &Path) -> Option<Manifest> {
    let bytes = input::read(&wheelhouse.join(MANIFEST_NAME)).ok()?;
    Manifest::parse(&bytes).ok()
}

/// Writes the artifacts to `stream` as a tar archive, with the names that they have in the image, below `cache/`.
///
/// # Errors
/// `Publish` if a file cannot be read or written.
pub fn save(paths: &Paths, stream: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(stream);
    append_all(&mut tar, paths)
        .and_then(|()| tar.into_inner()?.flush())
        .context(Kind::Publish, || "failed to save the artifacts".to_owned())
}

fn append_all(tar: &mut tar::Builder<impl Write>, paths: &Paths) -> io::Result<()> {
    // The builder image itself has no cache yet.
    if paths.cache().is_dir() {
        let cache = WalkDir::new(paths.cache()).sort_by_file_name();
        for entry in cache.into_iter().filter_entry(is_kept) {
            append(tar, &paths.root, entry?.path())?;
        }
    }
    Ok(())
}

/// Returns whether an entry of the cache is saved: locks and unfinished files are not.
fn is_kept(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() != 1 || !(name.starts_with(".lock") || name == "tmp")
}

/// Appends the file or directory at `path` without an owner.
fn append(tar: &mut tar::Builder<impl Write>, root: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let name = path.strip_prefix(root).map_err(io::Error::other)?;
    let mut header = Header::new_gnu();
    header.set_mtime(STORE_MTIME.as_secs());
    if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o775);
        header.set_size(0);
        tar.append_data(&mut header, name, io::empty())
    } else {
        header.set_mode(0o664);
        header.set_size(metadata.len());
        tar.append_data(&mut header, name, fs::File::open(path)?)
    }
}

/// Moves the artifacts of the previous build into place if they are for `target`, and removes the
/// upload. They are untrusted, so the store digests each file before it is used.
///
/// # Errors
/// `Publish` if the artifacts cannot be moved.
pub fn restore(paths: &Paths, target: &Target) -> Result<RestoredArtifacts> {
    let uploaded = paths.artifacts().join("cache");
    if !uploaded.is_dir() {
        return Ok(RestoredArtifacts::Nothing);
    }
    let locks = uploaded.join("wheelhouse");
    let of = manifest(&locks).and_then(|manifest| manifest.targets.into_iter().next());
    let restored = match of {
        Some(of) if is_same(&of, target) => {
            move_contents(&locks, &paths.wheelhouse())?;
            move_contents(&uploaded, &paths.cache())?;
            distrust(&paths.cache()).context(Kind::Publish, || {
                "failed to restore the artifacts of the previous build".to_owned()
            })?;
            let store = Store::open_read_only(paths.cache())?;
            RestoredArtifacts::Everything(store.digests()?.into_iter().collect())
        }
        Some(of) => RestoredArtifacts::Foreign(of.name()),
        None => RestoredArtifacts::Foreign("an unknown target".to_owned()),
    };
    // If removal is not permitted, the builder removes the upload with the container.
    let _ = fs::remove_dir_all(paths.artifacts());
    Ok(restored)
}

/// Changes the time of every file below `directory`, which makes the store digest it again.
fn distrust(directory: &Path) -> io::Result<()> {
    for entry in WalkDir::new(directory) {
        let entry = entry?;
        if entry.file_type().is_file() {
            // Every user with write permission may set the current time, but no other.
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            };
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// Returns whether wheels built for one target are valid for the other.
fn is_same(one: &Target, other: &Target) -> bool {
    one.python() == other.python() && one.platform == other.platform
}

#[cfg(test)]
mod tests;
