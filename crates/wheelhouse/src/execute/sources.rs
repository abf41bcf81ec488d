//! Sources made ready to build: unpacked or copied to a place that depends on their contents alone,
//! so that a build finds the same paths each time.

use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Error, Kind, Result, Sha256};

use super::fetch::blocking;
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
    /// A local directory, which stays as it is.
    Tree(PathBuf),
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
        clear(&directory)?;
        let root = match filling {
            Filling::Sdist { stored, filename } => {
                archive::unpack(&stored.path, &filename, &directory, &Limits::default())?
            }
            Filling::Tree(path) => {
                let root = directory.join("source");
                tree::copy(&path, &root, &[output])?;
                root
            }
        };
        let mut workplace = Workplace {
            directory,
            root,
            _lock: lock,
        };
        if let Some(subdirectory) = subdirectory {
            workplace.root = inside(&workplace.root, &subdirectory)?;
        }
        Ok(workplace)
    })
    .await
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

fn lock(directory: &Path) -> Result<std::fs::File> {
    let path = directory.with_extension("lock");
    let failed = || format!("failed to lock {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context(Kind::Build, failed)?;
    }
    let lock = std::fs::File::create(&path).context(Kind::Build, failed)?;
    lock.lock().context(Kind::Build, failed)?;
    Ok(lock)
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

/// Digests the tree at `path` without the wheelhouse that may be made inside it.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn tree_digest(path: PathBuf, output: PathBuf) -> Result<Sha256> {
    blocking(move || tree::digest(&path, &[output])).await
}
