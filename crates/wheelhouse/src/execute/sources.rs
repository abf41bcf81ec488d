//! Sources made ready to build: unpacked or copied to a place that depends on their contents alone,
//! so that a build finds the same paths each time.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Error, Kind, Result, Sha256};

use super::earlier::LOCK_NAME;
use super::fetch::blocking;
use super::locking::lock_name;
use crate::archive::{self, Limits, tree};
use crate::store::Stored;

/// A source tree that a build may change, removed when dropped. While it lives, no other process
/// has the same.
pub(super) struct Workplace {
    directory: PathBuf,
    /// The root of the project, somewhere below the directory.
    pub(super) root: PathBuf,
    _lock: std::fs::File,
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What stays is removed by whoever comes here next.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a workplace is filled with.
pub(super) enum Filling {
    /// An sdist of the store.
    Sdist { stored: Stored, filename: String },
    /// A directory, which stays as it is; the digest that its copy must have, if one is known.
    Tree(PathBuf, Option<Sha256>),
}

/// Fills the workplace of `key` below `builds` and waits for another process to leave it first. The
/// `output` of the run is no part of a tree that it lies in.
///
/// # Errors
/// When the source cannot be read or is hostile, or the disk is full.
pub(super) async fn workplace(
    builds: &Path,
    key: String,
    filling: Filling,
    subdirectory: Option<PathBuf>,
    output: &Path,
) -> Result<Workplace> {
    let directory = builds.join(&key[..16]);
    let output = output.to_owned();
    blocking(move || {
        let lock = lock(&directory)?;
        let mut workplace = fill(directory, lock, filling, output)?;
        if let Some(subdirectory) = subdirectory {
            workplace.root = inside(&workplace.root, &subdirectory)?;
        }
        Ok(workplace)
    })
    .await
}

/// Copies the tree at `path`, known by `digest`, to a workplace below `trees`, and waits for nobody:
/// a run keeps the copies of all its trees to the end, so two runs could wait for each other. Where
/// another process has the usual place, the copy gets one beside it.
///
/// # Errors
/// As [`workplace`].
pub(super) async fn copy(
    trees: PathBuf,
    digest: Sha256,
    path: PathBuf,
    output: PathBuf,
) -> Result<Workplace> {
    blocking(move || {
        let (directory, lock) = free_place(&trees.join(&digest.to_string()[..16]))?;
        fill(directory, lock, Filling::Tree(path, Some(digest)), output)
    })
    .await
}

fn fill(
    directory: PathBuf,
    lock: std::fs::File,
    filling: Filling,
    output: PathBuf,
) -> Result<Workplace> {
    clear(&directory)?;
    let root = match filling {
        Filling::Sdist { stored, filename } => {
            archive::unpack(&stored.path, &filename, &directory, &Limits::default())?
        }
        Filling::Tree(path, digest) => {
            let root = directory.join("source");
            let copied = tree::copy(&path, &root, &written_at(output))?;
            if digest.is_some_and(|digest| digest != copied) {
                return Err(changed(&path));
            }
            root
        }
    };
    Ok(Workplace {
        directory,
        root,
        _lock: lock,
    })
}

/// The error of a tree whose copy is another than what its digest was taken of.
fn changed(tree: &Path) -> Error {
    let message = format!("the tree {} changed during the run", tree.display());
    Error::new(Kind::Build, message).with_hint("Run it again.")
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
    let lock = lock_file(directory)?;
    lock.lock().context(Kind::Build, || unlocked(directory))?;
    Ok(lock)
}

/// `directory`, or the first of those numbered beside it that no other process has.
fn free_place(directory: &Path) -> Result<(PathBuf, std::fs::File)> {
    let (mut place, mut number) = (directory.to_owned(), 1);
    loop {
        let lock = lock_file(&place)?;
        match lock.try_lock() {
            Ok(()) => return Ok((place, lock)),
            Err(TryLockError::WouldBlock) => number += 1,
            Err(TryLockError::Error(error)) => {
                return Err(error).context(Kind::Build, || unlocked(&place));
            }
        }
        let name = directory.file_name().unwrap_or_default().display();
        place = directory.with_file_name(format!("{name}-{number}"));
    }
}

fn lock_file(directory: &Path) -> Result<std::fs::File> {
    let failed = || unlocked(directory);
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).context(Kind::Build, failed)?;
    }
    std::fs::File::create(directory.with_extension("lock")).context(Kind::Build, failed)
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

/// Digests the tree at `path` without the `output` that may be made inside it.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn tree_digest(path: PathBuf, output: PathBuf) -> Result<Sha256> {
    blocking(move || tree::digest(&path, &written_at(output))).await
}

/// What a run writes at `output`: a wheelhouse, a lock, or a lock for each target (`pylock.*.toml`).
fn written_at(output: PathBuf) -> Vec<PathBuf> {
    if output.file_name() != Some(OsStr::new(&lock_name(Some("*")))) {
        return vec![output];
    }
    let is_lock = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pylock.") && name.ends_with(".toml") && name != LOCK_NAME
    };
    let directory = output.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(is_lock).collect()
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

    #[tokio::test]
    async fn a_tree_that_has_changed_is_not_taken_for_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, trees) = (
            directory.path().join("tree"),
            directory.path().join("trees"),
        );
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("a.py"), "ONE = 1").unwrap();
        let output = directory.path().join("out");
        let digest = tree_digest(tree.clone(), output.clone()).await.unwrap();
        let copied = || copy(trees.clone(), digest, tree.clone(), output.clone());
        assert!(copied().await.is_ok());
        fs::write(tree.join("a.py"), "TWO = 2").unwrap();
        let error = copied().await.err().unwrap();
        assert!(error.sentence().contains("/tree changed"), "{error}");
    }
}
