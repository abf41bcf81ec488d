//! The local trees of a run: their digests, and copies of them for resolutions.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracing::debug;
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_types::{Error, Result, Sha256};

use super::super::local_trees::TreeReader;
use super::build_dir::{self, BuildDir, TreeInput};
use super::tasks::{Pending, spawn};

/// The local trees of a run.
pub(in crate::pipeline) struct TreeCopies {
    reader: TreeReader,
    /// The directory for copies.
    directory: PathBuf,
    digests: RefCell<BTreeMap<PathBuf, Sha256>>,
    /// Copies for resolutions, by the digests of the trees.
    copies: RefCell<HashMap<Sha256, TreeCopy>>,
}

#[derive(Clone)]
struct TreeCopy {
    /// The path of the tree that was copied.
    path: PathBuf,
    copy: Pending<Rc<BuildDir>>,
}

impl TreeCopies {
    /// Creates the trees of a run, some of whose `digests` are known.
    pub(super) fn new(
        reader: TreeReader,
        directory: PathBuf,
        digests: BTreeMap<PathBuf, Sha256>,
    ) -> Self {
        Self {
            reader,
            directory,
            digests: RefCell::new(digests),
            copies: RefCell::default(),
        }
    }

    /// Returns the digest of the tree at `path`, which is computed once.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub(in crate::pipeline) async fn digest(&self, path: &Path) -> Result<Sha256> {
        if let Some(digest) = self.digests.borrow().get(path) {
            return Ok(*digest);
        }
        let digest = self.reader.digest(path).await?;
        debug!(path = %path.display(), %digest, "digested a local tree");
        self.digests.borrow_mut().insert(path.to_owned(), digest);
        Ok(digest)
    }

    /// Calls `read` with the digests that are known.
    pub(super) fn with_digests<T>(&self, read: impl FnOnce(&BTreeMap<PathBuf, Sha256>) -> T) -> T {
        read(&self.digests.borrow())
    }

    /// Returns the tree at `path` as the input of a build directory.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub(super) async fn input(&self, path: &Path, large: LargeFiles) -> Result<TreeInput> {
        Ok(TreeInput {
            reader: self.reader.clone(),
            path: path.to_owned(),
            digest: self.digest(path).await?,
            large,
        })
    }

    /// Returns a copy of the tree at `path` for resolutions. Requirements and targets that name trees with
    /// the same contents share one copy, which exists until the run ends.
    ///
    /// # Errors
    /// When the tree cannot be copied.
    pub(super) async fn copy(&self, path: &Path) -> Result<Rc<BuildDir>> {
        let input = self.input(path, LargeFiles::Link).await?;
        let digest = input.digest;
        let known = self.copies.borrow().get(&digest).cloned();
        let copy = known.unwrap_or_else(|| {
            let directory = self.directory.clone();
            let copying = async move { Ok(Rc::new(build_dir::copy(&directory, input).await?)) };
            let copy = TreeCopy {
                path: path.to_owned(),
                copy: spawn(copying),
            };
            self.copies.borrow_mut().insert(digest, copy.clone());
            copy
        });
        copy.copy.await.map_err(Error::from)
    }

    /// Records which files beside local trees were read through the copies, and returns the digests of all
    /// trees that are known.
    ///
    /// # Errors
    /// When a tree cannot be read again.
    pub(in crate::pipeline) async fn observe(&self) -> Result<BTreeMap<PathBuf, Sha256>> {
        let copies: Vec<_> = self.copies.borrow().values().cloned().collect();
        for TreeCopy { path, copy } in copies {
            if let Some(Ok(copy)) = copy.peek() {
                self.note_seen(&path, copy).await?;
            }
        }
        Ok(self.digests.borrow().clone())
    }

    /// Records which files beside the tree at `path` were read through `copy`; new ones change the digest.
    ///
    /// # Errors
    /// When the tree cannot be read again.
    pub(super) async fn note_seen(&self, path: &Path, copy: &BuildDir) -> Result<()> {
        if self.reader.note_seen(path, copy.seen()) {
            let digest = self.reader.digest(path).await?;
            debug!(path = %path.display(), %digest, "a build read files beside a local tree");
            self.digests.borrow_mut().insert(path.to_owned(), digest);
        }
        Ok(())
    }
}
