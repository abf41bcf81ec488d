//! The crates of a run: their files, and the crates of each source.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wheelhouse_cargo::{CargoConfig, CrateFile, RegistryConfig};
use wheelhouse_store::StoredFile;
use wheelhouse_types::LockedCrate;

use super::tasks::Tasks;

/// A crate whose file is in the store.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct StoredCrate {
    /// The crate, with the digest of the file.
    pub(in crate::pipeline) locked: LockedCrate,
    pub(in crate::pipeline) stored: StoredFile,
}

impl StoredCrate {
    /// Returns the crate as the cache of unpacked crates takes it.
    pub(in crate::pipeline) fn file(&self) -> CrateFile {
        CrateFile {
            locked: self.locked.clone(),
            sha256: self.stored.sha256,
            path: self.stored.path.clone(),
        }
    }
}

/// The crates of a run, as far as they were found and fetched.
#[derive(Default)]
pub(super) struct CrateProvider {
    pub(super) config: RefCell<Option<Rc<CargoConfig>>>,
    /// The configurations of registries, by the URL of the index.
    pub(super) registries: Tasks<RegistryConfig>,
    pub(super) files: Tasks<StoredCrate>,
    /// The crates that the build of a tree got.
    pub(super) by_tree: RefCell<HashMap<PathBuf, Vec<LockedCrate>>>,
    /// The crates of sources, by identity.
    pub(super) by_source: RefCell<HashMap<String, Vec<LockedCrate>>>,
}

impl CrateProvider {
    /// Returns the crates that the last build of `tree` got.
    pub(super) fn of_tree(&self, tree: &Path) -> Vec<LockedCrate> {
        self.by_tree.borrow().get(tree).cloned().unwrap_or_default()
    }
}
