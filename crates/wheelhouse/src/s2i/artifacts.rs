//! What one build leaves to the next: the cache, and the locks that were settled.
//!
//! 1. [`tidy`] leaves in the cache what the wheelhouse and its builds have used.
//! 2. [`save`] streams that as a tar, which the engine carries to the container of the next build.
//! 3. [`restore`] puts it in place there, unless it is of another Python or platform.
//!
//! The members of the tar, all below `cache/` and `wheelhouse/`, have the names that they have in the
//! image. Wheels of the wheelhouse are not among them: the cache has them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tar::{EntryType, Header};
use walkdir::{DirEntry, WalkDir};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::manifest::MANIFEST_NAME;
use wheelhouse_model::{Kind, Manifest, PackageName, Result, Sha256, Target, Version};

use super::Places;
use super::transfer::move_contents;
use crate::archive::metadata::value;
use crate::store::{STORE_MTIME, Store, Upkeep};

/// What the next build wants of a wheelhouse.
const KEPT: [&str; 2] = ["pylock.toml", MANIFEST_NAME];

/// What became of the artifacts of an earlier build.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// There were none.
    Nothing,
    /// They are in place.
    Everything,
    /// They were made for this target and are of no use for another.
    Foreign(String),
}

/// Removes from the cache what neither the wheelhouse nor its builds have used, and the directories
/// `others` of it. Leaves a cache alone that somebody has open.
///
/// # Errors
/// Fails if the cache cannot be read or written.
pub fn tidy(places: &Places, others: &[&str]) -> Result<()> {
    let used = {
        let store = Store::open_read_only(places.cache())?;
        in_use(&store, &[places.wheelhouse(), places.tools()])?
    };
    if let Some(upkeep) = Upkeep::try_begin(places.cache())? {
        upkeep.retain(&used, others)?;
    }
    Ok(())
}

/// The files of `wheelhouses`, and the wheels that were needed to build some of them.
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

/// `name==version` of the wheel that has this metadata.
fn pinned(metadata: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let name: PackageName = value(&text, "Name")?.parse().ok()?;
    let version: Version = value(&text, "Version")?.parse().ok()?;
    Some(format!("{name}=={version}"))
}

fn manifest(wheelhouse: &Path) -> Option<Manifest> {
    let bytes = fs::read(wheelhouse.join(MANIFEST_NAME)).ok()?;
    Manifest::parse(&bytes).ok()
}

/// Writes the tar of what the next build wants to `stream`.
///
/// # Errors
/// `Publish` when something cannot be read or written.
pub fn save(places: &Places, stream: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(stream);
    append_all(&mut tar, places)
        .and_then(|()| tar.into_inner()?.flush())
        .context(Kind::Publish, || "failed to save the artifacts".to_owned())
}

fn append_all(tar: &mut tar::Builder<impl Write>, places: &Places) -> io::Result<()> {
    // The image of the builder itself has no cache yet.
    if places.cache().is_dir() {
        let cache = WalkDir::new(places.cache()).sort_by_file_name();
        for entry in cache.into_iter().filter_entry(is_kept) {
            append(tar, &places.root, entry?.path())?;
        }
    }
    for wheelhouse in [places.tools(), places.wheelhouse()] {
        for path in KEPT.map(|name| wheelhouse.join(name)) {
            if path.is_file() {
                append(tar, &places.root, &path)?;
            }
        }
    }
    Ok(())
}

/// Whether an entry of the cache goes into the tar: locks and what is unfinished do not, and of the
/// tools only what [`KEPT`] names.
fn is_kept(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() != 1 || !(name.starts_with(".lock") || name == "tmp" || name == "tools")
}

/// Appends the file or directory at `path`, with an owner that says nothing. A file keeps its time: the
/// store knows by it what nobody has written to.
fn append(tar: &mut tar::Builder<impl Write>, root: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let name = path.strip_prefix(root).map_err(io::Error::other)?;
    let mut header = Header::new_gnu();
    if metadata.is_dir() {
        header.set_mtime(STORE_MTIME.as_secs());
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o775);
        header.set_size(0);
        tar.append_data(&mut header, name, io::empty())
    } else {
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_mode(0o664);
        header.set_size(metadata.len());
        tar.append_data(&mut header, name, fs::File::open(path)?)
    }
}

/// Puts the artifacts of an earlier build in place if they were made for `target`, and removes the
/// upload.
///
/// # Errors
/// `Publish` when they cannot be moved.
pub fn restore(places: &Places, target: &Target) -> Result<Restored> {
    let uploaded = places.artifacts();
    if !uploaded.join("cache").is_dir() {
        return Ok(Restored::Nothing);
    }
    let manifest = manifest(&uploaded.join("wheelhouse"));
    let of = manifest.and_then(|manifest| manifest.targets.into_iter().next());
    let restored = match of {
        Some(of) if is_same(&of, target) => {
            move_contents(&uploaded.join("cache"), &places.cache())?;
            move_contents(&uploaded.join("wheelhouse"), &places.wheelhouse())?;
            Restored::Everything
        }
        Some(of) => Restored::Foreign(of.name()),
        None => Restored::Foreign("an unknown target".to_owned()),
    };
    // The engine removes it with the container, if we may not.
    let _ = fs::remove_dir_all(uploaded);
    Ok(restored)
}

/// Whether wheels that were built for one target are right for the other.
fn is_same(one: &Target, other: &Target) -> bool {
    one.python() == other.python() && one.platform == other.platform
}

#[cfg(test)]
mod tests;
