//! Build directories: sources that are unpacked or copied to a path that depends only on their contents,
//! so that every build of a source uses the same paths.
//!
//! 1. A task claims the directory in this process ([`BuildDirs`]), then locks the file beside it against other
//!    processes.
//! 2. The directory is cleared and filled.
//! 3. Dropping the [`BuildDir`] removes the directory and the lock file.
//!
//! A killed process leaves both behind without the lock: the next build of the source clears the directory, and
//! the next process that has the cache for itself removes the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use tracing::debug;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::super::local_trees::TreeReader;
use wheelhouse_archive::Limits;
use wheelhouse_archive::known_files::KnownFiles;
use wheelhouse_archive::source_tree::{self, LargeFiles};
use wheelhouse_archive::surroundings::SurroundingsView;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::remove::remove_all;
use wheelhouse_store::StoredFile;

/// A source tree that a build may change. It is removed on drop; until then it is locked, so that no other
/// process uses it.
pub(super) struct BuildDir {
    pub(super) directory: PathBuf,
    /// The root of the project, somewhere below the directory.
    pub(super) root: PathBuf,
    /// The latest time of a file of an sdist, if it has times.
    pub(super) modified: Option<SystemTime>,
    /// The files beside a local tree that builds can read.
    view: Option<SurroundingsView>,
    /// Set if large files are links to those of a local tree.
    pub(super) has_links: bool,
    _lock: std::fs::File,
}

impl Drop for BuildDir {
    fn drop(&mut self) {
        // If this fails, the next process that has the cache for itself removes the directory.
        let _ = remove_all(&self.directory);
        let _ = std::fs::remove_file(lock_path(&self.directory));
    }
}

impl BuildDir {
    /// Replaces the paths of the copy in `text` by those of the local tree.
    pub(super) fn with_originals(&self, text: &str) -> String {
        let view = self.view.as_ref();
        view.map_or_else(|| text.to_owned(), |view| view.with_originals(text))
    }

    /// Returns the local tree that this is a copy of, with what is beside it.
    pub(super) fn original(&self) -> Option<PathBuf> {
        self.view.as_ref().map(|view| view.shown.clone())
    }

    /// Returns the files beside a local tree that were read so far.
    pub(super) fn seen(&self) -> Vec<PathBuf> {
        self.view
            .as_ref()
            .map(SurroundingsView::accessed)
            .unwrap_or_default()
    }
}

/// The build directories that tasks of this process use, by key.
#[derive(Default)]
pub(super) struct BuildDirs(RefCell<HashMap<String, Usage>>);

/// The use of a build directory by a task.
#[derive(Clone)]
pub(super) struct Usage {
    /// The identity of the source that is built there.
    pub(super) source: String,
    /// Completes when the directory is released.
    pub(super) released: Shared<oneshot::Receiver<()>>,
}

/// The exclusive right of a task to use a build directory, until it is dropped.
pub(super) struct Claim<'a> {
    dirs: &'a BuildDirs,
    key: String,
    /// Dropping the sender completes [`Usage::released`].
    _sender: oneshot::Sender<()>,
}

impl BuildDirs {
    /// Returns the current use of the directory of `key`.
    pub(super) fn usage(&self, key: &str) -> Option<Usage> {
        self.0.borrow().get(key).cloned()
    }

    /// Claims the directory of `key`, which no task uses, for the source with this identity.
    pub(super) fn claim(&self, key: String, source: String) -> Claim<'_> {
        let (sender, receiver) = oneshot::channel();
        let released = receiver.shared();
        let mut dirs = self.0.borrow_mut();
        dirs.insert(key.clone(), Usage { source, released });
        Claim {
            dirs: self,
            key,
            _sender: sender,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.dirs.0.borrow_mut().remove(&self.key);
    }
}

/// The contents of a build directory.
pub(super) enum SourceInput {
    /// An sdist in the store.
    Sdist {
        stored: StoredFile,
        filename: String,
    },
    /// The checkout of a Git repository, which is copied.
    Checkout(PathBuf),
    Tree(TreeInput),
}

/// A local tree, which is copied.
pub(super) struct TreeInput {
    pub(super) reader: TreeReader,
    pub(super) path: PathBuf,
    /// The digest that the copy must have, including the files beside the tree.
    pub(super) digest: Sha256,
    pub(super) large: LargeFiles,
}

/// The order in which directories list their entries, as far as the filesystem keeps the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectoryOrder {
    /// As the source was unpacked or copied.
    Unpacked,
    /// The reverse of the order of names.
    Reversed,
}

/// Creates the build directory of `key` below `builds`, after waiting for another process that uses it.
///
/// # Errors
/// When the source cannot be read or is not safe to unpack, or the disk is full.
pub(super) async fn create(
    builds: &Path,
    key: String,
    input: SourceInput,
    subdirectory: Option<PathBuf>,
    order: DirectoryOrder,
) -> Result<BuildDir> {
    let directory = builds.join(&key[..16]);
    debug!(directory = %directory.display(), "preparing a build directory");
    blocking(move || {
        let lock = lock(&directory)?;
        let mut build_dir = fill(directory, lock, input)?;
        if order == DirectoryOrder::Reversed {
            let failed = || format!("failed to change {}", build_dir.root.display());
            reverse(&build_dir.root).context(Kind::Build, failed)?;
        }
        if let Some(subdirectory) = subdirectory {
            build_dir.root = inside(&build_dir.root, &subdirectory)?;
        }
        Ok(build_dir)
    })
    .await
}

/// Copies `tree` to a path below `trees` that depends on its contents. A run keeps these copies to its end, so two runs could
/// wait for each other: if another process uses the path, the copy gets a numbered one instead.
///
/// # Errors
/// When the tree cannot be read or has changed, or the disk is full.
pub(super) async fn copy(trees: &Path, tree: TreeInput) -> Result<BuildDir> {
    let directory = trees.join(&tree.digest.to_string()[..16]);
    blocking(move || {
        let (directory, lock) = unlocked_dir(&directory)?;
        fill(directory, lock, SourceInput::Tree(tree))
    })
    .await
}

fn fill(directory: PathBuf, lock: std::fs::File, input: SourceInput) -> Result<BuildDir> {
    clear(&directory)?;
    // Dropping it removes the directory, even if an error follows.
    let mut build_dir = BuildDir {
        root: directory.clone(),
        directory,
        modified: None,
        view: None,
        has_links: false,
        _lock: lock,
    };
    let directory = &build_dir.directory;
    match input {
        SourceInput::Sdist { stored, filename } => {
            let limits = Limits::default();
            let sdist = wheelhouse_archive::unpack(&stored.path, &filename, directory, &limits)?;
            build_dir.root = sdist.root;
            build_dir.modified = sdist.modified;
        }
        SourceInput::Checkout(path) => {
            let root = directory.join("source");
            let known = &mut KnownFiles::default();
            source_tree::copy(&path, &root, &[], LargeFiles::Copy, known)?;
            build_dir.root = root;
        }
        SourceInput::Tree(tree) => {
            let copied = tree
                .reader
                .copy(&tree.path, tree.digest, tree.large, directory);
            let (view, has_links) = copied?;
            build_dir.root.clone_from(&view.root);
            build_dir.view = Some(view);
            build_dir.has_links = has_links;
        }
    }
    Ok(build_dir)
}

/// Creates the entries of `directory` and the directories below anew, the last name first.
fn reverse(directory: &Path) -> std::io::Result<()> {
    let entries = fs::read_dir(directory)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|entry| Ok((entry.path(), entry.file_type()?.is_dir())))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    let aside = directory.join(".wheelhouse-reversed");
    for (path, is_directory) in entries.into_iter().rev() {
        if is_directory {
            reverse(&path)?;
        }
        fs::rename(&path, &aside)?;
        fs::rename(&aside, &path)?;
    }
    Ok(())
}

/// Returns the `subdirectory` of `root`, which must exist inside it.
fn inside(root: &Path, subdirectory: &Path) -> Result<PathBuf> {
    let path = root.join(subdirectory);
    let resolved = fs::canonicalize(&path).ok();
    let is_inside = resolved.is_some_and(|resolved| {
        fs::canonicalize(root).is_ok_and(|root| resolved.starts_with(root)) && resolved.is_dir()
    });
    if is_inside {
        return Ok(path);
    }
    Err(Error::new(
        Kind::Build,
        format!("the source has no directory {}", subdirectory.display()),
    ))
}

/// Locks `directory`, after waiting for another process that uses it.
fn lock(directory: &Path) -> Result<std::fs::File> {
    let what = format!("the build directory `{}`", directory.display());
    let path = lock_path(directory);
    loop {
        let lock = lock_file(directory)?;
        let taken = locks::acquire(&lock, LockMode::Exclusive, &what)?;
        taken.context(Kind::Build, || unlocked(directory))?;
        if locks::is_at(&lock, &path) {
            return Ok(lock);
        }
    }
}

/// Locks `directory`, or the first numbered directory beside it that no other process uses.
fn unlocked_dir(directory: &Path) -> Result<(PathBuf, std::fs::File)> {
    let (mut place, mut number) = (directory.to_owned(), 1);
    loop {
        let lock = lock_file(&place)?;
        match lock.try_lock() {
            Ok(()) if locks::is_at(&lock, &lock_path(&place)) => return Ok((place, lock)),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => number += 1,
            Err(TryLockError::Error(error)) => {
                return Err(error).context(Kind::Build, || unlocked(&place));
            }
        }
        let name = directory.file_name().unwrap_or_default().display();
        place = directory.with_file_name(format!("{name}-{number}"));
    }
}

/// Opens the lock of `directory`, which is removed with it.
fn lock_file(directory: &Path) -> Result<std::fs::File> {
    let failed = || unlocked(directory);
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).context(Kind::Build, failed)?;
    }
    std::fs::File::create(lock_path(directory)).context(Kind::Build, failed)
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.with_extension("lock")
}

fn unlocked(directory: &Path) -> String {
    format!("failed to lock {}", directory.display())
}

/// Removes the files of a run that was killed.
fn clear(directory: &Path) -> Result<()> {
    remove_all(directory).context(Kind::Build, || {
        format!("failed to clear {}", directory.display())
    })?;
    fs::create_dir_all(directory).context(Kind::Build, || {
        format!("failed to create {}", directory.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversed_directory_has_the_same_entries() {
        let root = tempfile::tempdir().unwrap();
        let files = ["a", "b/c", "b/d/e"].map(|name| root.path().join(name));
        for path in &files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
        }
        reverse(root.path()).unwrap();
        for path in &files {
            let content = fs::read(path).unwrap();
            assert_eq!(content, path.as_os_str().as_encoded_bytes());
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn uses_numbered_directory_if_locked() {
        let trees = tempfile::tempdir().unwrap();
        let place = trees.path().join("0123");
        let first = unlocked_dir(&place).unwrap();
        let second = unlocked_dir(&place).unwrap();
        assert_eq!(first.0, place);
        assert_eq!(second.0, trees.path().join("0123-2"));
        drop(first);
        assert_eq!(unlocked_dir(&place).unwrap().0, place);
    }
}
