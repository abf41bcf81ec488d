//! The interface through which a resolution announces distributions and requests wheels.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use wheelhouse_types::provenance::InputFile;
use wheelhouse_types::{
    Distribution, Error, Kind, LockedCrate, PackageName, Result, Sha256, Version, limits,
};

/// A wheel in a file of another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFile {
    /// The wheel's own name, `example-1.0-py3-none-any.whl`.
    pub filename: String,
    /// The path of the file.
    pub path: PathBuf,
    /// The digest of the file, if it is known.
    pub sha256: Option<Sha256>,
    /// The digest of the sdist that it was built from, if it was built from one.
    pub built_from: Option<Sha256>,
    /// The wheels that its build used, if it was built.
    pub requirements: Vec<InputFile>,
    /// The Rust crates that its build used, if it was built.
    pub crates: Vec<LockedCrate>,
}

/// A source whose build begins.
#[derive(Clone, Copy, Debug)]
pub struct BuildSource<'a> {
    /// `name==version`, for messages.
    pub label: &'a str,
    /// The name of the project, if it is known before the build.
    pub name: Option<&'a PackageName>,
    /// The version, if it is known before the build.
    pub version: Option<&'a Version>,
    /// The directory of the unpacked project, which the build may change.
    pub tree: &'a Path,
    /// A directory of the build for further files. It is removed after the build.
    pub directory: &'a Path,
}

/// The resources of a build beside its source and its build requirements.
#[derive(Debug, Default)]
pub struct BuildResources {
    /// The variables of hooks, besides those of all builds.
    pub variables: Vec<(OsString, OsString)>,
    /// The files and directories outside the build that hooks read and must not change.
    pub readable: Vec<PathBuf>,
    /// The reason why the wheel cannot be built on this machine, if it is known before the build. Metadata may still be read.
    pub obstacle: Option<Error>,
}

/// Fetches and builds the artifacts of a resolution while it runs.
///
/// The provider of a build fails in [`wheels`](Self::wheels) and [`metadata`](Self::metadata) if the build would wait for
/// itself.
pub trait ArtifactProvider {
    /// Announces that the resolver considers `distribution`, which will probably be part of the lock.
    ///
    /// The provider can fetch the wheel or build the source ahead of time. It must not block.
    fn prefetch(&self, distribution: &Distribution);

    /// Returns the core metadata of `distribution`, or of the wheel that it builds into.
    ///
    /// The provider may have the wheel already, or build it now. On `None`, the engine requests the metadata from the
    /// index or the build backend.
    ///
    /// # Errors
    /// If the engine cannot get it either.
    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Returns the file of `distribution`, an archive of an index or at a URL, after checking its limits. On `None`, the
    /// engine fetches it.
    ///
    /// # Errors
    /// If the engine cannot get it either.
    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>>;

    /// Checks the limits of the archive at `path`, which a requirement names. The engine unpacks it without limits.
    ///
    /// # Errors
    /// If it exceeds a limit, or is corrupt.
    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>>;

    /// Fetches or builds the wheels of `wanted`, the build requirements of a source, in the same order.
    ///
    /// # Errors
    /// If one of them cannot be fetched or built.
    fn wheels<'a>(
        &'a self,
        wanted: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>>;

    /// Provides what the build of `source` would otherwise request from the network.
    ///
    /// # Errors
    /// If it cannot be fetched.
    fn build_resources<'a>(
        &'a self,
        source: BuildSource<'a>,
    ) -> LocalBoxFuture<'a, Result<BuildResources>> {
        let _ = source;
        async { Ok(BuildResources::default()) }.boxed_local()
    }

    /// Returns metadata to use if that of `distribution` cannot be read, for `reason`. `None` ends the resolution.
    ///
    /// The provider reports it: the dependencies of `distribution` are not known.
    fn fallback_metadata(&self, distribution: &Distribution, reason: &Error) -> Option<Vec<u8>>;

    /// Returns whether the wheel of the source at `tree` must not be built for its metadata only, because it is not used
    /// otherwise.
    fn skips_metadata_build(&self, tree: &Path) -> bool {
        let _ = tree;
        false
    }

    /// Copies the local source tree at `path`, for hooks that may change it. Trees with the same contents have the same
    /// copy.
    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>>;
}

/// Returns the error of a build at the end of too long a chain of builds.
#[must_use]
pub fn build_depth_error(package: &str) -> Error {
    let message = format!(
        "{package} is required to build what more than {} other builds wait for, each for the next",
        limits::BUILD_DEPTH
    );
    Error::new(Kind::Build, message)
        .with_hint("Allow published wheels of these packages (--no-binary excludes them).")
}

/// Returns the error of a build that requires itself.
#[must_use]
pub fn build_cycle_error(package: &str) -> Error {
    Error::new(Kind::Build, format!("{package} is required to build itself")).with_hint(
        "Allow a published wheel of it (--no-binary excludes it), or build with --no-build-isolation.",
    )
}
