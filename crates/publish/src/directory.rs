//! The directory publisher: brings a directory to exactly the state of a set.
//!
//! The work goes in steps of which each leaves the directory right: every file is whole under its
//! final name, and `wheelhouse.json` lists nothing that is not there.
//!
//! 1. Lock the directory itself; a second run on it waits.
//! 2. Remove temporary files of a stopped run; read the manifest and the journal.
//! 3. Compare. When nothing differs, nothing is written.
//! 4. Stage: write new and changed files under temporary names and flush them. A full disk shows
//!    here, when nothing has changed yet.
//! 5. Write the journal, `.wheelhouse-pending.json`: the names and digests of all files that are
//!    ours, or are about to be. From here on a rerun knows what this run may have left.
//! 6. If the manifest lists files that are about to change or go, replace it by one without them.
//! 7. Rename the staged files to their final names.
//! 8. Remove the files that are ours and not of the set, and the directories they leave empty.
//! 9. Replace `wheelhouse.json`, the last of the visible files.
//! 10. Remove the journal.
//!
//! A run stopped anywhere is completed by the next: what it put there is in the journal, so the
//! next run counts it as ours and keeps, replaces or removes it. What neither a manifest nor a
//! journal lists, and wheels whose digest is not the recorded one, are never removed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result};

use super::fs_ops::{Disk, Operations, failure};
use super::journal::{self, Owned, Previous};
use super::staging::{self, Content, Desired, Presence, Staged};
use super::{Published, Publisher, Wheelhouse};
use wheelhouse_fs::locks::{self, Share};

/// Publishes into one directory of a local file system.
#[derive(Clone, Debug)]
pub struct DirectoryPublisher {
    /// Made if it is missing, with its parents.
    pub directory: PathBuf,
    /// Whether what no run put there gives way to a file of the set. Wheels and sdists never do.
    pub overwrite: bool,
}

impl Publisher for DirectoryPublisher {
    fn publish(&self, wheelhouse: &Wheelhouse<'_>) -> Result<Published> {
        publish(&Disk, self, wheelhouse)
    }
}

fn publish(
    operations: &dyn Operations,
    publisher: &DirectoryPublisher,
    wheelhouse: &Wheelhouse<'_>,
) -> Result<Published> {
    let root = publisher.directory.as_path();
    let desired = staging::desired(wheelhouse)?;
    operations
        .create_directory(root)
        .map_err(|error| failure(root, error))?;
    let _lock = lock(root)?;
    staging::sweep(operations, root).map_err(|error| failure(root, error))?;
    let run = Run::prepare(operations, root, wheelhouse, desired)?;
    if run.is_done() {
        if run.digested {
            staging::believe(root);
        }
        return run.report(Vec::new());
    }
    let gives_way = |name: &str| publisher.overwrite && !run.is_protected(name);
    if let Some(name) = run.overwritten.iter().find(|name| !gives_way(name)) {
        let message = format!(
            "`{}` is in the way: a file of the wheelhouse has that name, and other contents",
            root.join(name).display()
        );
        return Err(Error::new(Kind::Publish, message)
            .with_hint("No wheelhouse put it there: move it away, or choose another directory."));
    }
    let result = run.carry_out(wheelhouse);
    if result.is_err() {
        // As far as it goes: the next run sweeps what is left.
        let _ = staging::sweep(operations, root);
    }
    result
}

/// Locks the directory until the returned handle is dropped, or the process ends.
fn lock(root: &Path) -> Result<std::fs::File> {
    let directory = fs::File::open(root).map_err(|error| failure(root, error))?;
    let directory = directory.into_parts().0;
    let what = format!("the directory `{}`", root.display());
    // Some network file systems cannot lock directories: no run is held back there.
    let _ = locks::take(&directory, Share::Exclusive, &what)?;
    Ok(directory)
}

/// One run, once it is known what there is to do.
struct Run<'a> {
    operations: &'a dyn Operations,
    root: &'a Path,
    previous: Previous,
    desired: Desired<'a>,
    manifest: Vec<u8>,
    changed: Vec<&'a str>,
    /// Files of the set that were there already and that no run put there.
    found: Vec<&'a str>,
    /// Whether a wheel had to be read to know it.
    digested: bool,
    stale: Vec<String>,
    overwritten: Vec<String>,
    replaced_since: Vec<String>,
}

impl<'a> Run<'a> {
    fn prepare(
        operations: &'a dyn Operations,
        root: &'a Path,
        wheelhouse: &'a Wheelhouse<'_>,
        desired: Desired<'a>,
    ) -> Result<Self> {
        let previous = Previous::read(root)?;
        let mut run = Self {
            operations,
            root,
            manifest: Vec::new(),
            changed: Vec::new(),
            found: Vec::new(),
            digested: false,
            stale: Vec::new(),
            overwritten: Vec::new(),
            replaced_since: Vec::new(),
            previous,
            desired,
        };
        run.compare()?;
        run.manifest = journal::json(&completed(wheelhouse, &run.found));
        Ok(run)
    }

    fn compare(&mut self) -> Result<()> {
        for (name, content) in &self.desired {
            check_parents(self.root, name)?;
            let presence = staging::is_there(self.root, name, content, &self.previous)?;
            if presence != Presence::Absent {
                self.digested |= presence == Presence::Digested;
                if !self.previous.damaged && !self.previous.owned.contains_key(*name) {
                    self.found.push(name);
                }
                continue;
            }
            self.changed.push(name);
            let taken = fs::symlink_metadata(self.root.join(name)).is_ok();
            if taken && !self.previous.owned.contains_key(*name) {
                self.overwritten.push((*name).to_owned());
            }
        }
        for (name, digests) in &self.previous.owned {
            if self.desired.contains_key(name.as_str()) {
                continue;
            }
            match standing(self.root, name, digests) {
                Standing::Absent => {}
                Standing::Ours => self.stale.push(name.clone()),
                Standing::Foreign => self.replaced_since.push(name.clone()),
            }
        }
        Ok(())
    }

    /// Whether a file of the user's under this name is not replaced: a wheel or an sdist. After the loss of the manifest
    /// what earlier runs put there cannot be told from it.
    fn is_protected(&self, name: &str) -> bool {
        let is_distribution = matches!(self.desired[name], Content::Stored { .. });
        is_distribution && !self.previous.damaged
    }

    fn is_done(&self) -> bool {
        self.changed.is_empty()
            && self.stale.is_empty()
            && !self.previous.interrupted
            && self.previous.manifest_bytes.as_deref() == Some(&self.manifest)
    }

    fn carry_out(self, wheelhouse: &Wheelhouse<'_>) -> Result<Published> {
        let changes: Vec<(&str, Content<'_>)> = self
            .changed
            .iter()
            .map(|name| (*name, self.desired[name]))
            .collect();
        let staged = staging::stage(self.operations, self.root, &changes, wheelhouse.store)?;
        self.replace(PENDING_NAME, &journal::pending_bytes(self.owned()))?;
        if let Some(manifest) = self.interim_manifest() {
            self.replace(MANIFEST_NAME, &journal::json(&manifest))?;
        }
        self.put(&staged)?;
        let removed = self.remove_stale()?;
        self.flush_root()?;
        self.replace(MANIFEST_NAME, &self.manifest)?;
        self.remove(&self.root.join(PENDING_NAME))?;
        self.report(removed)
    }

    /// Every file that is ours now or will be in a moment.
    fn owned(&self) -> Owned {
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

    /// The previous manifest without what is about to change or go; `None` if that is nothing. It
    /// describes no whole set, and so has no request.
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

    fn put(&self, staged: &[Staged<'_>]) -> Result<()> {
        let mut directories = BTreeSet::new();
        for file in staged {
            let target = self.root.join(file.name);
            let failed = |error: io::Error| failure(&target, error);
            if let Some(parent) = target.parent()
                && parent != self.root
                && directories.insert(parent.to_owned())
            {
                self.operations.create_directory(parent).map_err(failed)?;
            }
            self.operations
                .rename(&file.temporary, &target)
                .map_err(failed)?;
        }
        let directories: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
        staging::flush(self.operations, &directories)
    }

    fn remove_stale(&self) -> Result<Vec<String>> {
        for name in &self.stale {
            self.remove(&self.root.join(name))?;
        }
        // A stopped run may have left directories whose files are gone or never came.
        let gone = self
            .previous
            .owned
            .keys()
            .filter(|name| !self.desired.contains_key(name.as_str()));
        let mut parents: BTreeSet<PathBuf> = BTreeSet::new();
        for name in gone {
            let ancestors = Path::new(name).ancestors().skip(1);
            parents.extend(
                ancestors
                    .filter(|path| !path.as_os_str().is_empty())
                    .map(PathBuf::from),
            );
        }
        // In reverse, so that the inner directories go first.
        for parent in parents.iter().rev() {
            self.remove_if_empty(&self.root.join(parent))?;
        }
        Ok(self.stale.clone())
    }

    fn remove_if_empty(&self, directory: &Path) -> Result<()> {
        let is_directory = fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir());
        let is_empty = || fs::read_dir(directory).is_ok_and(|mut found| found.next().is_none());
        if is_directory && is_empty() {
            return self
                .operations
                .remove_directory(directory)
                .map_err(|error| failure(directory, error));
        }
        Ok(())
    }

    /// Replaces one of our own files by way of a temporary one.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let target = self.root.join(name);
        let temporary = staging::temporary(self.root, "state");
        self.operations
            .write(&temporary, bytes)
            .and_then(|()| self.operations.flush(&temporary))
            .and_then(|()| self.operations.rename(&temporary, &target))
            .map_err(|error| failure(&target, error))?;
        self.flush_root()
    }

    fn flush_root(&self) -> Result<()> {
        self.operations
            .flush(self.root)
            .map_err(|error| failure(self.root, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.operations.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| failure(path, error)),
        }
    }

    fn report(self, removed: Vec<String>) -> Result<Published> {
        let mut foreign = Vec::new();
        find_foreign(self.root, "", &self.desired, &mut foreign)
            .map_err(|error| failure(self.root, error))?;
        foreign.retain(|name| !self.replaced_since.contains(name));
        foreign.sort();
        Ok(Published {
            put: self.changed.iter().map(|name| (*name).to_owned()).collect(),
            unchanged: self.desired.len() - self.changed.len(),
            removed,
            foreign,
            replaced_since: self.replaced_since,
            overwritten: self.overwritten,
            warnings: self.previous.warnings,
        })
    }
}

/// The manifest of the set with the names of its other files.
fn completed(wheelhouse: &Wheelhouse<'_>, found: &[&str]) -> Manifest {
    let mut manifest = wheelhouse.manifest.clone();
    manifest
        .wheels
        .sort_by(|one, other| one.filename.cmp(&other.filename));
    manifest
        .sdists
        .sort_by(|one, other| one.filename.cmp(&other.filename));
    manifest.files = wheelhouse.files.keys().cloned().collect();
    manifest.found = found.iter().map(|name| (*name).to_owned()).collect();
    manifest
}

/// Refuses to write through a link, and to make a directory where a file is.
fn check_parents(root: &Path, name: &str) -> Result<()> {
    for parent in parents(root, name) {
        match fs::symlink_metadata(&parent) {
            Ok(metadata) if !metadata.is_dir() => {
                let cause = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(failure(&parent, cause));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The directories between `root` and the file `name`.
fn parents(root: &Path, name: &str) -> Vec<PathBuf> {
    Path::new(name)
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| root.join(path))
        .collect()
}

/// What became of a file that an earlier run put there.
enum Standing {
    Absent,
    Ours,
    Foreign,
}

fn standing(root: &Path, name: &str, digests: &[wheelhouse_types::Sha256]) -> Standing {
    let path = root.join(name);
    let Ok(metadata) = fs::symlink_metadata(&path) else {
        return Standing::Absent;
    };
    let reached_directly = check_parents(root, name).is_ok();
    if !metadata.is_file() || !reached_directly {
        return Standing::Foreign;
    }
    let known = || staging::digest(&path).is_ok_and(|digest| digests.contains(&digest));
    if digests.is_empty() || known() {
        Standing::Ours
    } else {
        Standing::Foreign
    }
}

fn find_foreign(
    directory: &Path,
    prefix: &str,
    desired: &Desired<'_>,
    foreign: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if desired.contains_key(name.as_str()) || [MANIFEST_NAME, PENDING_NAME].contains(&&*name) {
            continue;
        }
        if !entry.file_type()?.is_dir() {
            foreign.push(name);
            continue;
        }
        let inner = format!("{name}/");
        if desired.keys().any(|name| name.starts_with(&inner)) {
            find_foreign(&entry.path(), &inner, desired, foreign)?;
        } else {
            foreign.push(inner);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
