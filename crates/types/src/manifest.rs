//! The manifest, `wheelhouse.json`: what a wheelhouse holds and where each wheel came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uv_normalize::PackageName;

use crate::provenance::BuildInputs;
use crate::sandbox::Protection;
use crate::{Hashes, Listing, Origin, ProjectStatus, Sha256, Target};

/// The name of the manifest in a wheelhouse.
pub const MANIFEST_NAME: &str = "wheelhouse.json";

/// The value of `schema` in the manifests that this version writes.
pub const SCHEMA: &str = "wheelhouse-manifest/1";

/// The prefix of the schemas of all versions.
const ANY_SCHEMA: &str = "wheelhouse-manifest/";

/// The name of the journal beside the manifest while a run publishes.
pub const PENDING_NAME: &str = ".wheelhouse-pending.json";

/// The name of the manifest before the last run that changed it, a file that does not belong to the wheelhouse.
pub const PREVIOUS_NAME: &str = ".wheelhouse-previous.json";

/// The name of the signatures of the manifest and of provenance, a file that does not belong to the wheelhouse.
pub const SIGNATURES_NAME: &str = "wheelhouse.signatures.jsonl";

/// Describes one wheelhouse. Its bytes depend on the wheels alone, never on a clock or a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The schema, [`SCHEMA`].
    pub schema: String,
    /// Program and version, `wheelhouse 0.1.0`.
    pub generator: String,
    /// The targets that the wheelhouse serves.
    pub targets: Vec<Target>,
    /// The requirements as they were written, without credentials.
    pub requirements: Vec<String>,
    /// [`crate::Lock::request`] of the lock that the wheelhouse was made from.
    pub request: String,
    /// The sets beside the one that `requirements` ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
    /// Sorted by file name.
    pub wheels: Vec<Wheel>,
    /// Sorted by file name; what is there to be built elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sdists: Vec<Sdist>,
    /// Sorted by path; the Rust crates that building the sdists takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<CrateEntry>,
    /// The status of the projects of the files at their indexes (PEP 792), for those that are not simply active.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub project_status: BTreeMap<PackageName, ProjectStatus>,
    /// Every other file that the run put there, sorted, relative to the wheelhouse, with `/`.
    pub files: Vec<String>,
    /// Those of all files that were in the directory before any run put them there, sorted: they stay when the
    /// set no longer has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
}

/// Represents a set of wheels that was resolved by itself and shares the directory with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Set {
    /// Names the lock of the set, `pylock.NAME.toml`.
    pub name: String,
    /// The requirements as they were written, without credentials.
    pub requirements: Vec<String>,
    /// True if the set serves builds and tools only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build_only: bool,
}

impl Set {
    /// Returns the name of the set's lock in the wheelhouse (PEP 751).
    #[must_use]
    pub fn lock_name(&self) -> String {
        format!("pylock.{}.toml", self.name)
    }
}

/// A file that pip installs from, as far as its bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistributionFile<'a> {
    /// The file name.
    pub filename: &'a str,
    /// The digest of the file.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

/// The reason why bytes are not a usable manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The schema is of a version that is not known.
    #[error("has the unknown schema {}", .0.escape_debug())]
    Unknown(String),
    /// The bytes are not a manifest of a wheelhouse.
    #[error("is not the manifest of a wheelhouse")]
    Foreign,
    /// The manifest cannot be parsed.
    #[error("is damaged: {0}")]
    Damaged(String),
}

impl Manifest {
    /// Reads the bytes of a `wheelhouse.json`. What it names may be anything.
    ///
    /// # Errors
    /// Bytes that are none, or one of a version that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let damaged = |error: serde_json::Error| Unusable::Damaged(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => serde_json::from_value(value).map_err(damaged),
            Some(schema) if schema.starts_with(ANY_SCHEMA) => {
                Err(Unusable::Unknown(schema.to_owned()))
            }
            _ => Err(Unusable::Foreign),
        }
    }

    /// Sorts the wheels, sdists and crates.
    pub fn sort_stored_files(&mut self) {
        self.wheels
            .sort_by(|one, other| one.filename.cmp(&other.filename));
        self.sdists
            .sort_by(|one, other| one.filename.cmp(&other.filename));
        self.crates.sort();
    }

    /// Returns the names of the projects of all files, which are normalized and may repeat.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let wheels = self.wheels.iter().map(|wheel| wheel.name.as_str());
        wheels.chain(self.sdists.iter().map(|sdist| sdist.name.as_str()))
    }

    /// Returns the wheels, sdists and crates: all files whose digests the manifest has.
    pub fn stored_files(&self) -> impl Iterator<Item = DistributionFile<'_>> {
        let crates = self.crates.iter().map(|entry| DistributionFile {
            filename: &entry.path,
            sha256: entry.sha256,
            size: entry.size,
        });
        self.distributions().chain(crates)
    }

    /// Returns the wheels and sdists.
    pub fn distributions(&self) -> impl Iterator<Item = DistributionFile<'_>> {
        let wheels = self.wheels.iter().map(|wheel| DistributionFile {
            filename: &wheel.filename,
            sha256: wheel.sha256,
            size: wheel.size,
        });
        wheels.chain(self.sdists.iter().map(|sdist| DistributionFile {
            filename: &sdist.filename,
            sha256: sdist.sha256,
            size: sdist.size,
        }))
    }
}

/// One Rust crate of a download.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CrateEntry {
    /// The path of the file in the wheelhouse, with `/`.
    pub path: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The source as in [`LockedCrate::source`](crate::LockedCrate::source), without credentials.
    pub source: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

/// One source distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sdist {
    /// The file name.
    pub filename: String,
    /// The normalized name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// The index or place that offered it.
    pub origin: Origin,
    /// The location that it was fetched from, without credentials.
    pub source: String,
    /// The `Requires-Python` of its metadata, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// The statements of the index.
    #[serde(flatten)]
    pub listing: Listing,
    /// True if a server added it, by an upload or from an index: it belongs to no set, and runs keep it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
    /// True if it serves builds only and is in no lock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build_only: bool,
}

/// One wheel of a wheelhouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wheel {
    /// The file name.
    pub filename: String,
    /// The normalized name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// The `Requires-Python` of its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// The packages of this wheelhouse that it depends on, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The index or place that offered it.
    pub origin: Origin,
    /// The location of the wheel, or of the source that it was built from, without credentials.
    pub source: String,
    /// The statements of the index; the upload time of a built wheel is that of its sdist.
    #[serde(flatten)]
    pub listing: Listing,
    /// True if a server added it, by an upload or from an index: it belongs to no set, and runs keep it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
    /// True if it serves builds and tools only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build_only: bool,
    /// The provenance of a wheel that was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
}

/// The inputs of a built wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Built {
    /// The digests of the sdist, if it was one.
    #[serde(default, skip_serializing_if = "Hashes::is_empty")]
    pub sdist: Hashes,
    /// The Python that built it, `cpython 3.11.7`.
    pub python: String,
    /// The build closure, `name==version`, sorted.
    pub requirements: Vec<String>,
    /// The inputs of the build, so that it can be repeated; `None` if an earlier version built the wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Box<BuildInputs>>,
    /// The protections that the sandbox of the build enforced, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandbox: Vec<Protection>,
}
