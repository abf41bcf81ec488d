//! The seam between resolving and executing: who resolves tells, and asks, whoever makes wheels.

use std::path::{Path, PathBuf};

use futures::future::LocalBoxFuture;
use wheelhouse_types::{Distribution, Error, Kind, Result, limits};

/// A wheel under a name that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFile {
    /// The wheel's own name, `example-1.0-py3-none-any.whl`.
    pub filename: String,
    pub path: PathBuf,
}

/// Goes along with a resolution, so that fetching and building overlap with it.
///
/// An artifact provider may speak for one build among others: then [`wheels`](Self::wheels) and
/// [`metadata`](Self::metadata) fail where that build would wait for itself.
pub trait ArtifactProvider {
    /// Hears that the resolver looks at `distribution`, which is probably part of the lock.
    ///
    /// Wheels can be fetched ahead, and sources built. Must return at once.
    fn prefetch(&self, distribution: &Distribution);

    /// Gives the core metadata of `distribution`, or of the wheel that it builds into.
    ///
    /// The artifacts may have the wheel already, or build it now. `None` leaves it to the engine,
    /// which then asks the index, or the build back end for metadata alone.
    ///
    /// # Errors
    /// When asking anybody else would be in vain.
    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Gives the file of `distribution`, an archive that an index or a URL has and that is within limits, so that the
    /// engine does not fetch it. `None` leaves it to the engine.
    ///
    /// # Errors
    /// When asking anybody else would be in vain.
    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>>;

    /// Checks that the archive at `path`, which a requirement names, is within limits: the engine unpacks without any.
    ///
    /// # Errors
    /// When it is not, or is damaged.
    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>>;

    /// Makes the wheels of `wanted`, the build requirements of a source, in their order.
    ///
    /// # Errors
    /// When one of them cannot be made.
    fn wheels<'a>(
        &'a self,
        wanted: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>>;

    /// Gives metadata to go on with when nobody has that of `distribution`, for `reason`; `None` ends
    /// the resolution.
    ///
    /// Whoever gives some tells of it: the resolution does not know what `distribution` depends on.
    fn fallback_metadata(&self, distribution: &Distribution, reason: &Error) -> Option<Vec<u8>>;

    /// Returns whether the wheel of the source at `tree` is not to be built for its metadata alone: it would be compiled,
    /// and is of no use then.
    fn skips_metadata_build(&self, tree: &Path) -> bool {
        let _ = tree;
        false
    }

    /// Gives a copy of the local source tree at `path`, which hooks may change. Trees with the same
    /// contents have the same copy.
    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>>;
}

/// The error of a build that more builds wait for, each for the next, than may do so.
#[must_use]
pub fn build_depth_error(package: &str) -> Error {
    let message = format!(
        "{package} is required to build what more than {} other builds wait for, each for the next",
        limits::BUILD_DEPTH
    );
    Error::new(Kind::Build, message)
        .with_hint("Allow published wheels of these packages (--no-binary excludes them).")
}

/// The error of a build that would have to wait for itself.
#[must_use]
pub fn build_cycle_error(package: &str) -> Error {
    Error::new(Kind::Build, format!("{package} is required to build itself")).with_hint(
        "Allow a published wheel of it (--no-binary excludes it), or build with --no-build-isolation.",
    )
}
