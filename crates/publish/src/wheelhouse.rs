//! The input and the outcome of a publication.

use std::collections::BTreeMap;
use std::path::Path;

use wheelhouse_types::{Manifest, Result, Sha256};

/// A finished set of wheels and the files that accompany it.
pub struct WheelhouseContents<'a> {
    /// Describes the set; the publisher fills in its `files` and `found`.
    pub manifest: Manifest,
    /// Every other file by its name relative to the wheelhouse, with `/`: lockfiles, metadata.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Set if the publisher renders the static index. If not, it does so only for files that have the pages of an index, in
    /// a directory with further files.
    pub has_index: bool,
    /// Provides the wheels and sdists of the manifest.
    pub placer: &'a dyn FilePlacer,
}

/// Creates wheels and sdists at their destinations.
pub trait FilePlacer: Sync {
    /// Creates the file with this digest at `destination`, which does not exist yet: as a link or a copy, with the
    /// permissions of an ordinary new file and the modification time of the store's files. A file with another time
    /// is valid, but each later run reads it again.
    ///
    /// # Errors
    /// Fails if the file is missing or corrupt, or if the destination cannot be written.
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()>;
}

/// The changes that a publication made, and the unexpected files that it found. Names are relative to the wheelhouse and
/// sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// New and changed files, which were written.
    pub written: Vec<String>,
    /// The number of files that were up to date.
    pub unchanged: usize,
    /// Files of an earlier run that were removed.
    pub removed: Vec<String>,
    /// Files that were not written by a run; they are left alone. Directories end with `/`.
    pub foreign: Vec<String>,
    /// Files of an earlier run that are no longer part of the set, but were modified since; they are left alone.
    pub modified_since: Vec<String>,
    /// Files that were not written by a run and that a file of the set replaced.
    pub overwritten: Vec<String>,
    /// Further warnings for the user, as lower-case fragments.
    pub warnings: Vec<String>,
}

impl Published {
    /// Returns the removed files that are wheels or sdists.
    #[must_use]
    pub fn removed_distributions(&self) -> Vec<String> {
        let is_wheel = |name: &str| Path::new(name).extension().is_some_and(|end| end == "whl");
        self.removed
            .iter()
            .filter(|name| !name.contains('/'))
            .filter(|name| is_wheel(name) || wheelhouse_archive::is_sdist_name(name))
            .cloned()
            .collect()
    }
}
