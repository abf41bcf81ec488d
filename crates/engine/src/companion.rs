//! The seam between resolving and executing: who resolves tells, and asks, whoever makes wheels.

use std::path::{Path, PathBuf};

use futures::future::LocalBoxFuture;
use wheelhouse_model::{Distribution, Result};

/// Goes along with a resolution, so that fetching and building overlap with it.
pub trait Companion {
    /// Hears that the resolver looks at `distribution`, which is probably part of the lock.
    ///
    /// Wheels can be fetched ahead. Must return at once.
    fn in_sight(&self, distribution: &Distribution);

    /// Gives the core metadata of `distribution`, or of the wheel that it builds into.
    ///
    /// The companion may have the wheel already, or build it now. `None` leaves it to the engine,
    /// which then asks the index, or the build back end for metadata alone.
    ///
    /// # Errors
    /// When asking anybody else would be in vain.
    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Gives metadata to go on with when nobody has that of `distribution`; `None` ends the
    /// resolution.
    ///
    /// Whoever gives some lets the run fail in the end, but for more reasons than the first.
    fn stand_in(&self, distribution: &Distribution) -> Option<Vec<u8>>;

    /// Gives a copy of the local source tree at `path`, which hooks may change. Trees with the same
    /// contents have the same copy.
    fn copy_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>>;
}
