//! Publishing: turns a finished set of wheels into what others read.
//!
//! A [`Publisher`] takes a [`Wheelhouse`], every wheel of which was verified. [`simple`] makes the
//! pages of the static index as plain bytes; [`directory`] brings a directory to the state of the
//! set, step by step and never wrong.
//!
//! This module never decides which wheels belong to a set, and never fetches or builds one.

mod atomic_file;
pub mod directory;
mod fs_ops;
mod journal;
pub mod simple_index;
mod staging;

use std::collections::BTreeMap;
use std::path::Path;

use wheelhouse_types::{Manifest, Result, Sha256};

pub use atomic_file::write_file;
pub use directory::DirectoryPublisher;
pub use simple_index::IndexedWheel;
pub use staging::unchanged;

/// Makes the bytes of `wheelhouse.json`.
#[must_use]
pub fn manifest_bytes(manifest: &Manifest) -> Vec<u8> {
    journal::json(manifest)
}

/// Publishes wheelhouses in one way.
pub trait Publisher {
    /// Publishes `wheelhouse` whole.
    ///
    /// # Errors
    /// [`wheelhouse_types::Kind::Publish`], naming what could not be written. What was published
    /// before is still usable, and another call with the same set completes the work.
    fn publish(&self, wheelhouse: &Wheelhouse<'_>) -> Result<Published>;
}

/// A finished set of wheels and what goes with it.
pub struct Wheelhouse<'a> {
    /// Describes the set; its `files` are filled in by the publisher.
    pub manifest: Manifest,
    /// Every other file, by its name relative to the wheelhouse, with `/`: locks, metadata, the
    /// static index.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Who has the wheels and sdists of the manifest.
    pub store: &'a dyn Place,
}

/// Who can put a wheel or an sdist somewhere: the store.
pub trait Place: Sync {
    /// Makes the file with this digest appear at `destination`, which does not exist: as a link or
    /// a copy, with the permissions of an ordinary new file and the modification time of the store's.
    /// One with another time is right, too, but read again by each run.
    ///
    /// # Errors
    /// A file that is not there or not whole, or a destination that cannot be written.
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()>;
}

/// What publishing changed and found. Names are relative to the wheelhouse, and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files that were written: new ones, and changed ones.
    pub put: Vec<String>,
    /// How many files were right already.
    pub unchanged: usize,
    /// Files of an earlier run that were removed.
    pub removed: Vec<String>,
    /// What no run put there; it was left alone. Directories end with `/`.
    pub foreign: Vec<String>,
    /// Wheels of an earlier run that somebody replaced since; they were left alone though the set
    /// has them no more.
    pub replaced_since: Vec<String>,
    /// Files that no run put there and that stood where one of the set belongs.
    pub overwritten: Vec<String>,
    /// Whatever else the user should know; whole fragments.
    pub warnings: Vec<String>,
}

impl Published {
    /// Those of the removed files that pip installs from.
    #[must_use]
    pub fn removed_distributions(&self) -> Vec<String> {
        let is_wheel = |name: &str| Path::new(name).extension().is_some_and(|end| end == "whl");
        let removed = self.removed.iter().filter(|name| !name.contains('/'));
        let removed =
            removed.filter(|name| is_wheel(name) || wheelhouse_archive::is_sdist_name(name));
        removed.cloned().collect()
    }
}
