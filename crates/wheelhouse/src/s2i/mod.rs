//! The steps of a Source-to-Image builder image besides building a wheelhouse.
//!
//! 1. [`environment`] reads the `.s2i/environment` of the upload.
//! 2. [`move_tree`] moves the source into place, and removes it after the build.
//! 3. [`requirements`] determines which of the named files exist, and [`installation`] what
//!    installing the application takes besides.
//! 4. [`artifacts`] reduces the cache for the next build, restores it there, and streams it as a tar archive.
//! 5. [`permissions`] gives the arbitrary users of a cluster the permissions of the image's user.
//! 7. [`scaffold`] adds scripts to an application that is built from a wheelhouse.
//!
//! The `s2i` command builds between these steps. This module does not print, and does not read the
//! environment of the process.

pub mod artifacts;
pub mod environment;
pub mod installation;
pub mod move_tree;
pub mod permissions;
pub mod requirements;
pub mod scaffold;

use std::path::{Path, PathBuf};

/// The description of the image, its use and its variables.
pub const USAGE: &str = include_str!("usage.txt");

/// The paths in a builder image, on which applications depend.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The application directory of the image, `/opt/app-root`.
    pub root: PathBuf,
    /// The directory of uploads, `/tmp`.
    pub uploads: PathBuf,
}

impl Paths {
    /// Returns the directory of the wheels.
    #[must_use]
    pub fn wheelhouse(&self) -> PathBuf {
        self.root.join("wheelhouse")
    }

    /// Returns the root of the cache.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Returns the directory that keeps the locks and the manifest of the wheelhouse for the next build.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.cache().join("wheelhouse")
    }

    /// Returns the wheelhouse of pip, setuptools and wheel.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.cache().join("tools")
    }

    /// Returns the uploaded application.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.uploads.join("src")
    }

    /// Returns the uploaded artifacts of the previous build.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.uploads.join("artifacts")
    }

    /// Resolves relative paths against `directory`.
    #[must_use]
    pub fn from(&self, directory: &Path) -> Self {
        Self {
            root: directory.join(&self.root),
            uploads: directory.join(&self.uploads),
        }
    }
}
