//! Rust crates that builds need: as `Cargo.lock` pins them, and as locks and manifests record them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sha256;

/// The index of crates.io, as `Cargo.lock` names it.
pub const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate that the build of a source needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LockedCrate {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The source as `Cargo.lock` names it: `registry+URL`, `sparse+URL` or `git+URL?rev=REV#COMMIT`.
    pub source: String,
    /// The digest of the `.crate` file. A crate of a Git repository has one once it is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

impl LockedCrate {
    /// Returns the name of the crate's file, `NAME-VERSION.crate`.
    #[must_use]
    pub fn filename(&self) -> String {
        format!("{}-{}.crate", self.name, self.version)
    }

    /// Returns whether the crate is a part of a Git repository.
    #[must_use]
    pub fn is_git(&self) -> bool {
        self.source.starts_with("git+")
    }
}

impl fmt::Display for LockedCrate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}
