//! The builder roles: what a Source-to-Image builder image does beside making a wheelhouse.
//!
//! 1. [`environment`] reads the `.s2i/environment` of the upload.
//! 2. [`move_tree`] moves the source into place, and removes it once the wheelhouse is made.
//! 3. [`requirements`] finds out which of the files that are asked for are there, and [`installation`] what
//!    installing the application takes beside them.
//! 4. [`artifacts`] tidies the cache for the next build, restores it there, and streams it as a tar.
//! 5. [`permissions`] lets the arbitrary users of a cluster do what the image's user may.
//! 6. [`server`] serves the wheelhouse.
//! 7. [`scaffold`] gives an application the scripts that use one.
//!
//! Never resolves, fetches or builds: the command line has that done between these steps. Never
//! prints, and never reads the process environment.

pub mod artifacts;
pub mod environment;
pub mod installation;
pub mod move_tree;
pub mod permissions;
pub mod requirements;
pub mod scaffold;
pub mod server;

use std::path::{Path, PathBuf};

/// What the image is, how to build with it, and the variables that it knows.
pub const USAGE: &str = include_str!("usage.txt");

/// Where everything lies in a builder image. Applications rely on these places.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The image's application directory, `/opt/app-root`.
    pub root: PathBuf,
    /// Where the engine puts what it uploads, `/tmp`.
    pub uploads: PathBuf,
}

impl Paths {
    /// Where the wheels go.
    #[must_use]
    pub fn wheelhouse(&self) -> PathBuf {
        self.root.join("wheelhouse")
    }

    /// The root of the store.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where the locks and the manifest of the wheelhouse are kept for the next build.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.cache().join("wheelhouse")
    }

    /// The wheelhouse of pip, setuptools and wheel.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.cache().join("tools")
    }

    /// The application, as it was uploaded.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.uploads.join("src")
    }

    /// What an earlier build has saved, as it was uploaded.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.uploads.join("artifacts")
    }

    /// The same places as seen from `directory`, if they are relative.
    #[must_use]
    pub fn from(&self, directory: &Path) -> Self {
        Self {
            root: directory.join(&self.root),
            uploads: directory.join(&self.uploads),
        }
    }
}
