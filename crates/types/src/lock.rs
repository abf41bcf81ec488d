//! A lock: what a resolution settled for one target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::redact::without_credentials;
use crate::{ArtifactLocation, Distribution, Hashes, LockedCrate, Origin, Sha256, Source};

/// Every distribution of one target, pinned, sorted by name.
///
/// [`crate::pylock`] writes and reads it as `pylock.toml` (PEP 751).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The request in a canonical form whose equality means "the same request"; a digest
    /// in hexadecimal.
    pub request: String,
    /// The local files that the lock was made from, as in [`crate::Request::files`].
    pub files: BTreeMap<PathBuf, Sha256>,
    /// The environments the lock was made for, as a PEP 508 marker.
    pub environment: String,
    /// The lower bound of the Python that the lock was made for, `>=3.11`.
    pub requires_python: Option<String>,
    /// The packages.
    pub packages: Vec<Package>,
    /// The build closures of the sources among the packages, and of the sources that these need in turn.
    pub builds: Vec<Build>,
}

/// The pinned build closure of one source.
///
/// `pylock.toml` has no place for it, so that it stands under `tool.wheelhouse` there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The requirements that the source declares and its build backend reports (PEP 518, PEP 517), as PEP 508 requirements.
    pub requires: Vec<String>,
    /// These and all that they depend on, sorted.
    pub closure: Vec<Pin>,
    /// The Rust crates that the build compiles, sorted.
    pub crates: Vec<LockedCrate>,
}

/// A requirement that allows one version or one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// `name==version` or `name @ URL`, perhaps with a marker (PEP 508).
    pub requirement: String,
    /// Digests of which one must match, `algorithm:hex`.
    pub hashes: Vec<String>,
}

impl Build {
    /// Finds the entry for a source among `builds`. A tree may have another version than when it
    /// was locked, or none that is known.
    #[must_use]
    pub fn find<'a>(
        builds: &'a [Self],
        name: &PackageName,
        version: Option<&Version>,
    ) -> Option<&'a Self> {
        let mut named = builds.iter().filter(|build| build.name == *name);
        let exact = named.clone().find(|build| Some(&build.version) == version);
        exact.or_else(|| named.next().filter(|_| named.next().is_none()))
    }
}

/// One pinned distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The index or place that offered it.
    pub origin: Origin,
    /// The source of its wheel.
    pub source: Source,
    /// The `Requires-Python` of its metadata.
    pub requires_python: Option<String>,
    /// The packages of the lock that it depends on, sorted.
    pub dependencies: Vec<PackageName>,
    /// Digests that the request demands, as in [`Distribution::required_hashes`].
    pub required_hashes: Vec<String>,
}

impl Pin {
    /// Allows `distribution` alone; `hashes` are those of its file, if it is one.
    #[must_use]
    pub fn new(distribution: &Distribution, hashes: &Hashes) -> Self {
        let hashes = hashes.0.iter();
        Self {
            requirement: match reference(distribution) {
                Some(url) => format!("{} @ {url}", distribution.name),
                None => distribution.to_string(),
            },
            hashes: hashes
                .map(|(name, digest)| format!("{name}:{digest}"))
                .collect(),
        }
    }
}

/// Returns the URL of a direct reference (PEP 610).
fn reference(distribution: &Distribution) -> Option<String> {
    let directory = |path: &Path| Url::from_file_path(path).ok();
    let (url, subdirectory) = match &distribution.source {
        _ if distribution.origin != Origin::Direct => return None,
        Source::Wheel(artifact) | Source::Sdist(artifact) => {
            let url = match &artifact.location {
                ArtifactLocation::Url(url) => Some(without_credentials(url)),
                ArtifactLocation::Path(path) => directory(path),
                // A direct reference never names an image.
                ArtifactLocation::Image { .. } => None,
            };
            (url?.to_string(), &artifact.subdirectory)
        }
        Source::Tree { path } => (directory(path)?.to_string(), &None),
        Source::Git { subdirectory, .. } => (distribution.source.to_string(), subdirectory),
    };
    Some(match subdirectory {
        Some(subdirectory) => format!("{url}#subdirectory={}", subdirectory.display()),
        None => url,
    })
}

impl Package {
    /// Returns the pinned distribution.
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

/// A package that one lock pins otherwise than another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// The normalized name.
    pub name: PackageName,
    /// The version before; `None` if the package was not there. Several are separated by commas.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
}

/// Returns how the versions `after` differ from those `before`, sorted by name.
#[must_use]
pub fn version_changes(
    before: &[(PackageName, Version)],
    after: &[(PackageName, Version)],
) -> Vec<VersionChange> {
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<&PackageName> = before.keys().chain(after.keys()).copied().collect();
    names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| VersionChange {
            name: name.clone(),
            from: before.get(name).map(joined),
            to: after.get(name).map(joined),
        })
        .collect()
}

fn by_name(pins: &[(PackageName, Version)]) -> BTreeMap<&PackageName, BTreeSet<&Version>> {
    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, version) in pins {
        versions.entry(name).or_default().insert(version);
    }
    versions
}

fn joined(versions: &BTreeSet<&Version>) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}
