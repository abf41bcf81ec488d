//! A lock: what a resolution settled for one target.

use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::{Distribution, Origin, Source};

/// Every distribution of one target, pinned, sorted by name.
///
/// [`crate::pylock`] writes and reads it as `pylock.toml` (PEP 751).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// What was asked for, in a canonical form whose equality means "the same request"; a digest
    /// in hexadecimal.
    pub request: String,
    /// The environments the lock was made for, as a PEP 508 marker.
    pub environment: String,
    /// The lower bound of the Python that the lock was made for, `>=3.11`.
    pub requires_python: Option<String>,
    pub packages: Vec<Package>,
}

/// One pinned distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: PackageName,
    pub version: Version,
    pub origin: Origin,
    pub source: Source,
    /// The `Requires-Python` of its metadata.
    pub requires_python: Option<String>,
    /// The packages of the lock that it depends on, sorted.
    pub dependencies: Vec<PackageName>,
    /// Digests that the request demands, as in [`Distribution::required_hashes`].
    pub required_hashes: Vec<String>,
}

impl Package {
    /// The distribution that was pinned.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        Distribution {
            name: self.name.clone(),
            version: Some(self.version.clone()),
            origin: self.origin.clone(),
            source: self.source.clone(),
            required_hashes: self.required_hashes.clone(),
        }
    }
}
