//! The inputs and the circumstances of a build, as build records, manifests and provenance statements describe them.
//!
//! [`BuildInputs`] hold what determines the wheel, and nothing that differs between two machines that build the same.
//! [`BuildRun`] holds the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::Protection;
use crate::{LockedCrate, Sha256, upload_time};

/// The inputs of a build, without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildInputs {
    /// The sdist, unless the source was a tree or a Git checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdist: Option<InputFile>,
    /// True if the build ran in the environment of the interpreter instead of one of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared_environment: bool,
    /// The build backend, `module:object` (PEP 517).
    pub backend: String,
    /// The wheels in the build environment, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<InputFile>,
    /// The `config_settings` of the hooks (PEP 517): a string, or a list of strings, for each name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
    /// The variables that were set for the hooks and change their result, `SOURCE_DATE_EPOCH` among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The Rust crates, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<LockedCrate>,
}

/// A file that a build used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InputFile {
    /// The file name.
    pub filename: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The location of the file, or of the source that it was built from, without credentials.
    pub source: String,
    /// The digest of the sdist that the file was built from, if it was built here from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<Sha256>,
    /// The wheels in the build environment of the file, if it was built here, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<InputFile>,
    /// The Rust crates of the file, if it was built here, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<LockedCrate>,
}

/// The circumstances of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildRun {
    /// The program and its version, `wheelhouse 0.1.0`.
    pub generator: String,
    /// The time of the start, in milliseconds since 1970-01-01 UTC.
    #[serde(
        default,
        with = "upload_time",
        skip_serializing_if = "upload_time::is_absent"
    )]
    pub started: Option<i64>,
    /// The time of the end, in milliseconds since 1970-01-01 UTC.
    #[serde(
        default,
        with = "upload_time",
        skip_serializing_if = "upload_time::is_absent"
    )]
    pub finished: Option<i64>,
    /// The platform of the interpreter, `manylinux_2_36_x86_64`.
    pub platform: String,
    /// The protections that the sandbox of the build enforced, sorted. Earlier versions had no sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandbox: Vec<Protection>,
    /// The first line that each compiler prints for `--version`, by the name of the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compilers: BTreeMap<String, String>,
}
