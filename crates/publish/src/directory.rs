//! The directory publisher: brings a directory to exactly the state of a set.
//!
//! The work is divided into steps, each of which leaves the directory consistent: every file with a final name is
//! complete, and `wheelhouse.json` lists only files that exist.
//!
//! 1. Lock the directory itself; a second run on it waits.
//! 2. Remove temporary files of an interrupted run; read the manifest and the journal.
//! 3. Compare. If nothing differs, nothing is written.
//! 4. Stage: write new and changed files under temporary names and flush them. A full disk is noticed here, before
//!    anything has changed.
//! 5. Write the journal, `.wheelhouse-pending.json`: the names and digests of all files that are ours or are about to
//!    be. From here on a later run can identify the files that this run wrote.
//! 6. If the manifest lists files that are about to change or to be removed, replace it by one without them.
//! 7. Rename the staged files to their final names.
//! 8. Remove the files that are ours and not part of the set, and the directories that become empty.
//! 9. Keep the previous manifest as `.wheelhouse-previous.json`, and replace `wheelhouse.json`, the last of the visible
//!    files.
//! 10. Remove the journal.
//!
//! The next run completes a run that was interrupted anywhere: the journal lists the files that it wrote, so the next run
//! treats them as ours and keeps, replaces or removes them. Files that neither a manifest nor a journal lists, and wheels
//! with another digest than the recorded one, are never removed.
//!
//! Files that [a server added](crate::addition) are in no set. A run takes their entries over from the previous manifest
//! as long as they are unmodified, and fails if the set has another file of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_fs::input;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME, PREVIOUS_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::fs_ops::{FsOps, RealFs, write_error};
use crate::journal::{self, DirectoryState, OwnedFiles, manifest_bytes};
use crate::simple_index;
use crate::staging::{self, Comparison, DesiredFiles, FileContent};
use crate::wheelhouse::{FilePlacer, Published, WheelhouseContents};

/// Publishes into one directory of a local file system.
#[derive(Clone, Debug)]
pub struct DirectoryPublisher {
    /// The directory, which is created with its parents if it is missing.
    pub directory: PathBuf,
    /// Replaces files that were not written by a run if the set has a file of the same name. Wheels and sdists are
    /// never replaced.
    pub overwrite: bool,
}

impl DirectoryPublisher {
    /// Publishes `wheelhouse`.
    ///
    /// # Errors
    /// [`Kind::Publish`], naming the file that could not be written. The previous state is still usable then, and
    /// another call with the same set completes the work.
    pub fn publish(&self, wheelhouse: &WheelhouseContents<'_>) -> Result<Published> {
        publish(&RealFs, self, wheelhouse)
    }
}

fn publish(
    fs_ops: &dyn FsOps,
    publisher: &DirectoryPublisher,
    wheelhouse: &WheelhouseContents<'_>,
) -> Result<Published> {
    let root = publisher.directory.as_path();
    let _span = tracing::debug_span!("publish", directory = %root.display()).entered();
    staging::desired_files(&wheelhouse.manifest, wheelhouse.files.iter())?;
    fs_ops
        .create_directory(root)
        .map_err(|error| write_error(root, error))?;
    let _lock = lock(root)?;
    staging::remove_temporary_files(fs_ops, root).map_err(|error| write_error(root, error))?;
    let mut previous = DirectoryState::read(root)?;
    let manifest = with_added_files(root, &wheelhouse.manifest, &mut previous)?;
    let companions = companion_files(root, &manifest, wheelhouse);
    let files = wheelhouse.files.iter();
    let files = files.filter(|(name, _)| !companions.contains_key(*name));
    let files = files.chain(&companions);
    let desired = staging::desired_files(&manifest, files)?;
    let update = DirectoryUpdate::plan(fs_ops, root, previous, &manifest, desired)?;
    if update.is_empty() {
        tracing::debug!(files = update.desired.len(), "the directory is up to date");
        if update.digests_computed {
            staging::touch_manifest(root);
        }
        return update.report(Vec::new());
    }
    let may_overwrite = |name: &str| publisher.overwrite && !update.is_protected(name);
    if let Some(name) = update.overwritten.iter().find(|name| !may_overwrite(name)) {
        let message = format!(
            "`{}` exists with other content than the wheelhouse has under this name",
            root.join(name).display()
        );
        return Err(Error::new(Kind::Publish, message).with_hint(
            "Move the file away, because no run of wheelhouse wrote it, or choose another directory.",
        ));
    }
    let result = update.apply(wheelhouse.placer);
    if result.is_err() {
        // Best effort: the next run removes the rest.
        let _ = staging::remove_temporary_files(fs_ops, root);
    }
    result
}

/// Returns `manifest` with the unmodified files that a server added to the directory. A file of the set with the name of an
/// added one and another digest is not ours to replace, so the added one is removed from the owned files.
fn with_added_files(
    root: &Path,
    manifest: &Manifest,
    previous: &mut DirectoryState,
) -> Result<Manifest> {
    let mut complete = manifest.clone();
    let Some(known) = previous.manifest.clone() else {
        return Ok(complete);
    };
    let of_set: BTreeMap<&str, Sha256> = manifest
        .distributions()
        .map(|file| (file.filename, file.sha256))
        .collect();
    let mut is_kept = |filename: &str, sha256: Sha256, size: u64| -> Result<bool> {
        if let Some(other) = of_set.get(filename) {
            if *other != sha256 {
                previous.owned.remove(filename);
            }
            return Ok(false);
        }
        let content = FileContent::Stored { sha256, size };
        Ok(staging::compare(root, filename, &content, previous)? != Comparison::Differs)
    };
    for wheel in known.wheels.into_iter().filter(|wheel| wheel.added) {
        if is_kept(&wheel.filename, wheel.sha256, wheel.size)? {
            complete.wheels.push(wheel);
        }
    }
    for sdist in known.sdists.into_iter().filter(|sdist| sdist.added) {
        if is_kept(&sdist.filename, sdist.sha256, sdist.size)? {
            complete.sdists.push(sdist);
        }
    }
    for (name, status) in known.project_status {
        if complete.names().any(|known| known == name.as_ref()) {
            complete.project_status.entry(name).or_insert(status);
        }
    }
    Ok(complete)
}

/// Returns the files beside those of `wheelhouse`: the metadata of added wheels, and the static index.
fn companion_files(
    root: &Path,
    manifest: &Manifest,
    wheelhouse: &WheelhouseContents<'_>,
) -> BTreeMap<String, Vec<u8>> {
    let added = manifest.wheels.iter().filter(|wheel| wheel.added);
    let mut files: BTreeMap<String, Vec<u8>> = added
        .filter_map(|wheel| {
            let name = simple_index::metadata_name(&wheel.filename)?;
            let bytes = input::read_regular(&root.join(&name)).ok()?;
            (!wheelhouse.files.contains_key(&name)).then_some((name, bytes))
        })
        .collect();
    // The pages of the set lack added files.
    let has_pages = || {
        wheelhouse
            .files
            .keys()
            .any(|name| simple_index::is_page(name))
    };
    let is_incomplete = manifest.wheels.len() > wheelhouse.manifest.wheels.len()
        || manifest.sdists.len() > wheelhouse.manifest.sdists.len();
    if wheelhouse.has_index || (is_incomplete && has_pages()) {
        let indexed = simple_index::indexed_files(manifest, |name| {
            wheelhouse.files.get(name).or(files.get(name)).cloned()
        });
        files.extend(simple_index::pages(&indexed, &manifest.project_status));
    }
    files
}

/// Locks the directory until the returned handle is dropped or the process ends.
pub(crate) fn lock(root: &Path) -> Result<std::fs::File> {
    let directory = fs::File::open(root).map_err(|error| write_error(root, error))?;
    let directory = directory.into_parts().0;
    let what = format!("the directory `{}`", root.display());
    // Some network file systems cannot lock directories. Concurrent runs do not wait for each other there.
    if let Err(error) = locks::acquire(&directory, LockMode::Exclusive, &what)? {
        tracing::debug!(%error, "the directory cannot be locked");
    }
    Ok(directory)
}

/// The differences between a directory and a set, and the means to remove them.
struct DirectoryUpdate<'a> {
    fs_ops: &'a dyn FsOps,
    root: &'a Path,
    previous: DirectoryState,
    desired: DesiredFiles<'a>,
    manifest: Vec<u8>,
    changed: Vec<&'a str>,
    /// Files of the set that exist already and were not written by a run.
    found: Vec<&'a str>,
    /// Set if a wheel had to be read to compare it.
    digests_computed: bool,
    stale: Vec<String>,
    overwritten: Vec<String>,
    modified_since: Vec<String>,
}

impl<'a> DirectoryUpdate<'a> {
    /// Compares the `previous` state of the directory with the set.
    fn plan(
        fs_ops: &'a dyn FsOps,
        root: &'a Path,
        previous: DirectoryState,
        manifest: &Manifest,
        desired: DesiredFiles<'a>,
    ) -> Result<Self> {
        let mut update = Self {
            fs_ops,
            root,
            manifest: Vec::new(),
            changed: Vec::new(),
            found: Vec::new(),
            digests_computed: false,
            stale: Vec::new(),
            overwritten: Vec::new(),
            modified_since: Vec::new(),
            previous,
            desired,
        };
        update.compare()?;
        let mut manifest = manifest.clone();
        manifest.sort_stored_files();
        let files = update.desired.iter();
        let files = files.filter(|(_, content)| matches!(content, FileContent::Bytes(_)));
        manifest.files = files.map(|(name, _)| (*name).to_owned()).collect();
        manifest.found = update.found.iter().map(|name| (*name).to_owned()).collect();
        update.manifest = manifest_bytes(&manifest);
        Ok(update)
    }

    fn compare(&mut self) -> Result<()> {
        for (name, content) in &self.desired {
            check_parents(self.root, name)?;
            let is_owned = self.previous.owned.contains_key(*name);
            let comparison = staging::compare(self.root, name, content, &self.previous)?;
            if comparison != Comparison::Differs {
                self.digests_computed |= comparison == Comparison::MatchesByDigest;
                if !self.previous.damaged && !is_owned {
                    self.found.push(name);
                }
                continue;
            }
            self.changed.push(name);
            if !is_owned && fs::symlink_metadata(self.root.join(name)).is_ok() {
                self.overwritten.push((*name).to_owned());
            }
        }
        for (name, digests) in &self.previous.owned {
            if self.desired.contains_key(name.as_str()) {
                continue;
            }
            match file_state(self.root, name, digests) {
                OwnedFileState::Missing => {}
                OwnedFileState::Unmodified => self.stale.push(name.clone()),
                OwnedFileState::Modified => self.modified_since.push(name.clone()),
            }
        }
        Ok(())
    }

    /// Returns whether a user's file of this name must not be replaced: a wheel or an sdist. If the manifest is damaged,
    /// such files cannot be told from those of earlier runs.
    fn is_protected(&self, name: &str) -> bool {
        let is_distribution = matches!(self.desired[name], FileContent::Stored { .. });
        is_distribution && !self.previous.damaged
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.stale.is_empty()
            && !self.previous.interrupted
            && self.previous.manifest_bytes.as_deref() == Some(&self.manifest)
    }

    /// Performs steps 4 to 10.
    fn apply(self, placer: &dyn FilePlacer) -> Result<Published> {
        let changes: Vec<(&str, FileContent<'_>)> = self
            .changed
            .iter()
            .map(|name| (*name, self.desired[name]))
            .collect();
        let staged = staging::stage(self.fs_ops, self.root, &changes, placer)?;
        tracing::debug!(files = staged.len(), "staged new and changed files");
        let owned = self.owned_files();
        tracing::debug!(files = owned.len(), "writing the journal");
        self.replace(PENDING_NAME, &journal::journal_bytes(owned, false))?;
        self.keep_previous_manifest()?;
        if let Some(manifest) = self.interim_manifest() {
            tracing::debug!("replacing the manifest by an interim one");
            self.replace(MANIFEST_NAME, &manifest_bytes(&manifest))?;
        }
        tracing::debug!(files = staged.len(), "renaming the staged files");
        staging::rename_staged(self.fs_ops, self.root, &staged)?;
        tracing::debug!(files = self.stale.len(), "removing stale files");
        self.remove_stale()?;
        self.flush_root()?;
        tracing::debug!("replacing the manifest");
        self.replace(MANIFEST_NAME, &self.manifest)?;
        tracing::debug!("removing the journal");
        self.remove(&self.root.join(PENDING_NAME))?;
        let removed = self.stale.clone();
        self.report(removed)
    }

    /// Keeps the manifest that this run replaces. That of an interrupted run may not describe a complete set, and is not
    /// kept.
    fn keep_previous_manifest(&self) -> Result<()> {
        match &self.previous.manifest_bytes {
            Some(bytes)
                if !self.previous.interrupted
                    && !self.previous.damaged
                    && *bytes != self.manifest =>
            {
                self.replace(PREVIOUS_NAME, bytes)
            }
            _ => Ok(()),
        }
    }

    /// Returns every file that is ours already or will be after this run.
    fn owned_files(&self) -> OwnedFiles {
        let mut owned = self.previous.owned.clone();
        let desired = self
            .desired
            .iter()
            .filter(|(name, _)| !self.found.contains(name))
            .map(|(name, content)| ((*name).to_owned(), vec![content.digest()]))
            .collect();
        journal::merge(&mut owned, desired);
        owned
    }

    /// Returns the previous manifest without the files that are about to change or to be removed, or `None` if there are
    /// no such files. It has no request, because it does not describe a complete set.
    fn interim_manifest(&self) -> Option<Manifest> {
        let previous = self.previous.manifest.as_ref()?;
        let mut interim = previous.clone();
        let stays = |name: &String| {
            !self.changed.contains(&name.as_str())
                && self.root.join(name).is_file()
                && !self.stale.contains(name)
        };
        interim.wheels.retain(|wheel| stays(&wheel.filename));
        interim.sdists.retain(|sdist| stays(&sdist.filename));
        interim.crates.retain(|entry| stays(&entry.path));
        interim.files.retain(stays);
        interim.found.retain(stays);
        interim.request.clear();
        (interim
            != Manifest {
                request: String::new(),
                ..previous.clone()
            })
        .then_some(interim)
    }

    fn remove_stale(&self) -> Result<()> {
        for name in &self.stale {
            self.remove(&self.root.join(name))?;
        }
        // An interrupted run may have left directories whose files were removed or never written.
        let parents: BTreeSet<&Path> = self
            .previous
            .owned
            .keys()
            .filter(|name| !self.desired.contains_key(name.as_str()))
            .flat_map(|name| Path::new(name).ancestors().skip(1))
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        // In reverse order, so that inner directories are removed first.
        for parent in parents.iter().rev() {
            let directory = self.root.join(parent);
            let is_directory = fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir());
            if is_directory
                && fs::read_dir(&directory).is_ok_and(|mut found| found.next().is_none())
            {
                self.fs_ops
                    .remove_directory(&directory)
                    .map_err(|error| write_error(&directory, error))?;
            }
        }
        Ok(())
    }

    /// Replaces one of our own files atomically.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        staging::replace(self.fs_ops, self.root, name, bytes)
    }

    fn flush_root(&self) -> Result<()> {
        self.fs_ops
            .flush(self.root)
            .map_err(|error| write_error(self.root, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        staging::remove(self.fs_ops, path)
    }

    fn report(self, removed: Vec<String>) -> Result<Published> {
        let mut foreign = Vec::new();
        find_foreign(self.root, "", &self.desired, &mut foreign)
            .map_err(|error| write_error(self.root, error))?;
        foreign.retain(|name| !self.modified_since.contains(name));
        foreign.sort();
        Ok(Published {
            written: self.changed.iter().map(|name| (*name).to_owned()).collect(),
            unchanged: self.desired.len() - self.changed.len(),
            removed,
            foreign,
            modified_since: self.modified_since,
            overwritten: self.overwritten,
            warnings: self.previous.warnings,
        })
    }
}

/// Fails if a parent of the file `name` below `root` exists and is not a directory. A link is rejected, too.
pub(crate) fn check_parents(root: &Path, name: &str) -> Result<()> {
    let parents = Path::new(name)
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| root.join(path));
    for parent in parents {
        if fs::symlink_metadata(&parent).is_ok_and(|metadata| !metadata.is_dir()) {
            let cause = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(write_error(&parent, cause));
        }
    }
    Ok(())
}

/// The current state of a file that an earlier run wrote.
enum OwnedFileState {
    Missing,
    Unmodified,
    Modified,
}

fn file_state(root: &Path, name: &str, digests: &[Sha256]) -> OwnedFileState {
    let path = root.join(name);
    let Ok(metadata) = fs::symlink_metadata(&path) else {
        return OwnedFileState::Missing;
    };
    if !metadata.is_file() || check_parents(root, name).is_err() {
        return OwnedFileState::Modified;
    }
    let has_known_digest = || staging::digest(&path).is_ok_and(|digest| digests.contains(&digest));
    if digests.is_empty() || has_known_digest() {
        OwnedFileState::Unmodified
    } else {
        OwnedFileState::Modified
    }
}

/// Collects the files below `directory` that are not part of the set. `prefix` is the name of `directory`, with `/`.
fn find_foreign(
    directory: &Path,
    prefix: &str,
    desired: &DesiredFiles<'_>,
    foreign: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if desired.contains_key(name.as_str()) || staging::is_companion(&name) {
            continue;
        }
        if !entry.file_type()?.is_dir() {
            foreign.push(name);
            continue;
        }
        let inner = format!("{name}/");
        let mut following = desired.range(inner.as_str()..);
        if following
            .next()
            .is_some_and(|(name, _)| name.starts_with(&inner))
        {
            find_foreign(&entry.path(), &inner, desired, foreign)?;
        } else {
            foreign.push(inner);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
