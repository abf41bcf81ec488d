//! Sources made ready to build: unpacked or copied to a place that depends on their contents alone,
//! so that a build finds the same paths each time.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::super::local_trees::TreeReader;
use super::download::blocking;
use wheelhouse_archive::Limits;
use wheelhouse_archive::known_files::KnownFiles;
use wheelhouse_archive::source_tree::{self, LargeFiles};
use wheelhouse_archive::surroundings::View;
use wheelhouse_fs::locks::{self, Share};
use wheelhouse_store::Stored;

/// A source tree that a build may change, removed when dropped. While it lives, no other process
/// has the same.
pub(super) struct Workplace {
    pub(super) directory: PathBuf,
    /// The root of the project, somewhere below the directory.
    pub(super) root: PathBuf,
    /// What a local tree can see beside it.
    view: Option<View>,
    /// Whether large files are links to those of a local tree.
    pub(super) has_links: bool,
    _lock: std::fs::File,
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What stays is removed by the next process that has the cache for itself.
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_file(lock_path(&self.directory));
    }
}

impl Workplace {
    /// Names a local tree and what lies beside it in `text` instead of the copy.
    pub(super) fn with_originals(&self, text: &str) -> String {
        let view = self.view.as_ref();
        view.map_or_else(|| text.to_owned(), |view| view.with_originals(text))
    }

    /// Lists what was looked at beside a local tree so far.
    pub(super) fn seen(&self) -> Vec<PathBuf> {
        self.view.as_ref().map(View::seen).unwrap_or_default()
    }
}

/// What a workplace is filled with.
pub(super) enum Filling {
    /// An sdist of the store.
    Sdist {
        stored: Stored,
        filename: String,
    },
    /// The checkout of a Git repository, which stays as it is.
    Checkout(PathBuf),
    Tree(Tree),
}

/// A local tree, which stays as it is.
pub(super) struct Tree {
    pub(super) reader: TreeReader,
    pub(super) path: PathBuf,
    /// The whole state that its copy must have.
    pub(super) digest: Sha256,
    pub(super) large: LargeFiles,
}

/// Fills the workplace of `key` below `builds` and waits for another process to leave it first.
///
/// # Errors
/// When the source cannot be read or is hostile, or the disk is full.
pub(super) async fn workplace(
    builds: &Path,
    key: String,
    filling: Filling,
    subdirectory: Option<PathBuf>,
) -> Result<Workplace> {
    let directory = builds.join(&key[..16]);
    blocking(move || {
        let lock = lock(&directory)?;
        let mut workplace = fill(directory, lock, filling)?;
        if let Some(subdirectory) = subdirectory {
            workplace.root = inside(&workplace.root, &subdirectory)?;
        }
        Ok(workplace)
    })
    .await
}

/// Copies `tree` to a place below `trees` that its state decides, and never waits: a run keeps such copies of all its trees
/// to the end, so two runs could wait for each other. Where another process has the usual place, the copy gets one
/// beside it.
///
/// # Errors
/// When the tree cannot be read or has changed, or the disk is full.
pub(super) async fn copy(trees: &Path, tree: Tree) -> Result<Workplace> {
    let directory = trees.join(&tree.digest.to_string()[..16]);
    blocking(move || {
        let (directory, lock) = free_place(&directory)?;
        fill(directory, lock, Filling::Tree(tree))
    })
    .await
}

fn fill(directory: PathBuf, lock: std::fs::File, filling: Filling) -> Result<Workplace> {
    clear(&directory)?;
    // From here on it is removed, however filling it ends.
    let mut workplace = Workplace {
        root: directory.clone(),
        directory,
        view: None,
        has_links: false,
        _lock: lock,
    };
    let directory = &workplace.directory;
    match filling {
        Filling::Sdist { stored, filename } => {
            let limits = Limits::default();
            workplace.root =
                wheelhouse_archive::unpack(&stored.path, &filename, directory, &limits)?;
        }
        Filling::Checkout(path) => {
            let root = directory.join("source");
            let known = &mut KnownFiles::default();
            source_tree::copy(&path, &root, &[], LargeFiles::Copied, known)?;
            workplace.root = root;
        }
        Filling::Tree(tree) => {
            let copied = tree
                .reader
                .copy(&tree.path, tree.digest, tree.large, directory);
            let (view, has_links) = copied?;
            workplace.root.clone_from(&view.root);
            workplace.view = Some(view);
            workplace.has_links = has_links;
        }
    }
    Ok(workplace)
}

/// `subdirectory` of `root`, which must be there.
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

/// Waits until no other process has `directory`.
fn lock(directory: &Path) -> Result<std::fs::File> {
    let what = format!("the build directory `{}`", directory.display());
    let path = lock_path(directory);
    loop {
        let lock = lock_file(directory)?;
        let taken = locks::take(&lock, Share::Exclusive, &what)?;
        taken.context(Kind::Build, || unlocked(directory))?;
        if locks::is_at(&lock, &path) {
            return Ok(lock);
        }
    }
}

/// Takes `directory`, or the first of those numbered beside it that no other process has.
fn free_place(directory: &Path) -> Result<(PathBuf, std::fs::File)> {
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

/// Removes what a killed run may have left.
fn clear(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new(
            Kind::Build,
            format!("failed to clear {}", directory.display()),
        )
        .caused_by(error)),
        _ => fs::create_dir_all(directory).context(Kind::Build, || {
            format!("failed to create {}", directory.display())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_somebody_has_is_not_waited_for() {
        let trees = tempfile::tempdir().unwrap();
        let place = trees.path().join("0123");
        let first = free_place(&place).unwrap();
        let second = free_place(&place).unwrap();
        assert_eq!(first.0, place);
        assert_eq!(second.0, trees.path().join("0123-2"));
        drop(first);
        assert_eq!(free_place(&place).unwrap().0, place);
    }
}
