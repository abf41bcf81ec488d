//! What one build leaves to the next: wheels that are slow to have, and the locks.
//!
//! 1. [`tidy`] leaves in the cache what the next build is quicker with, locks included.
//! 2. [`save`] streams the cache as a tar, which the engine carries to the container of the next build.
//! 3. [`restore`] puts it in place there, unless it is of another Python or platform.
//!
//! Everything lies in the cache, so that an application's own `save-artifacts` may be
//! `tar -C /opt/app-root -cf - cache`.
//!
//! Engines carry artifacts at about [`CARRIED_PER_SECOND`]. Wheels that came from the index more quickly
//! than that are better fetched again.

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

/// How many bytes of artifacts an engine saves, carries and uploads in a second; measured with the S2I
/// tool and docker.
const CARRIED_PER_SECOND: u64 = 10_000_000;

/// What became of the artifacts of an earlier build.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// There were none.
    Nothing,
    /// They are in place, with these files in the store.
    Everything(BTreeSet<Sha256>),
    /// They were made for this target and are of no use for another.
    Foreign(String),
}

/// Says how quickly files came over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    pub bytes: u64,
    pub time: Duration,
}

impl Transfer {
    /// Returns whether an engine would have carried the same bytes more quickly.
    #[must_use]
    pub fn is_slow(self) -> bool {
        u128::from(self.bytes) * 1000 < u128::from(CARRIED_PER_SECOND) * self.time.as_millis()
    }
}

/// Leaves in the cache the wheels that were built, those that were `restored`, and with `all` every one
/// that is in use, and beside them the locks. Removes the directories `others` of the cache, and makes the
/// files of the wheelhouse independent of it.
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
    if let Some(collector) = GarbageCollector::try_lock_store(paths.cache())? {
        collector.retain(&kept, others)?;
    }
    let failed = || "failed to tidy the image".to_owned();
    for (from, to) in [
        (paths.wheelhouse(), paths.locks()),
        (paths.tools(), paths.tools()),
    ] {
        keep_locks(&from, &to).context(Kind::Publish, failed)?;
    }
    unlink_wheels(&paths.wheelhouse()).context(Kind::Publish, failed)
}

/// Leaves in the directory `to` the locks and the manifest of the wheelhouse `from`, and nothing else.
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

/// Replaces each file of `wheelhouse` that has further names by a copy: tools that take a directory out
/// of an image do not follow a hard link that leads out of it.
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

/// Returns the files of `wheelhouses`, and the wheels that were needed to build some of them.
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

/// Returns `name==version` of the wheel that has this metadata.
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

/// Writes the tar of what the next build wants to `stream`. Its members have the names that they have in
/// the image, below `cache/`.
///
/// # Errors
/// `Publish` when something cannot be read or written.
pub fn save(paths: &Paths, stream: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(stream);
    append_all(&mut tar, paths)
        .and_then(|()| tar.into_inner()?.flush())
        .context(Kind::Publish, || "failed to save the artifacts".to_owned())
}

fn append_all(tar: &mut tar::Builder<impl Write>, paths: &Paths) -> io::Result<()> {
    // The image of the builder itself has no cache yet.
    if paths.cache().is_dir() {
        let cache = WalkDir::new(paths.cache()).sort_by_file_name();
        for entry in cache.into_iter().filter_entry(is_kept) {
            append(tar, &paths.root, entry?.path())?;
        }
    }
    Ok(())
}

/// Returns whether an entry of the cache goes into the tar: files that are locked or unfinished do not.
fn is_kept(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() != 1 || !(name.starts_with(".lock") || name == "tmp")
}

/// Appends the file or directory at `path`, with no owner.
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

/// Puts the artifacts of an earlier build in place if they were made for `target`, and removes the
/// upload. They come from outside, so the store digests each file before it is used.
///
/// # Errors
/// `Publish` when they cannot be moved.
pub fn restore(paths: &Paths, target: &Target) -> Result<Restored> {
    let uploaded = paths.artifacts().join("cache");
    if !uploaded.is_dir() {
        return Ok(Restored::Nothing);
    }
    let locks = uploaded.join("wheelhouse");
    let of = manifest(&locks).and_then(|manifest| manifest.targets.into_iter().next());
    let restored = match of {
        Some(of) if is_same(&of, target) => {
            move_contents(&locks, &paths.wheelhouse())?;
            move_contents(&uploaded, &paths.cache())?;
            distrust(&paths.cache()).context(Kind::Publish, || {
                "failed to restore the artifacts of an earlier build".to_owned()
            })?;
            let store = Store::open_read_only(paths.cache())?;
            Restored::Everything(store.digests()?.into_iter().collect())
        }
        Some(of) => Restored::Foreign(of.name()),
        None => Restored::Foreign("an unknown target".to_owned()),
    };
    // The engine removes it with the container, if we may not.
    let _ = fs::remove_dir_all(paths.artifacts());
    Ok(restored)
}

/// Moves the time of every file below `directory`, by which the store knows that nothing wrote to it.
fn distrust(directory: &Path) -> io::Result<()> {
    for entry in WalkDir::new(directory) {
        let entry = entry?;
        if entry.file_type().is_file() {
            // Unlike any other time, the current one may be set by every user who may write.
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

/// Returns whether wheels that were built for one target are right for the other.
fn is_same(one: &Target, other: &Target) -> bool {
    one.python() == other.python() && one.platform == other.platform
}

#[cfg(test)]
mod tests;
