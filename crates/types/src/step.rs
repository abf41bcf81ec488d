//! Build steps: one build of one source with all its inputs by digest, so that another machine can carry it out.
//!
//! The document is JSON (`wheelhouse-step/1`). Its SHA-256 identifies the step: the same inputs make the same step, on
//! whichever machine it is created.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, LockedCrate, PackageName, Result, Sha256, Version};

/// The schema of the document.
pub const SCHEMA: &str = "wheelhouse-step/1";

/// The greatest size of a document, in bytes.
pub const SIZE: usize = 4 << 20;

/// One build of one source, with its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuildStep {
    /// [`SCHEMA`].
    pub schema: String,
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The sdist.
    pub source: StepFile,
    /// The directory inside the sdist that holds the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdirectory: Option<PathBuf>,
    /// The Python and platform of the wheel, `cp312-manylinux_2_28_x86_64`.
    pub target: String,
    /// The requirements that the source declares and its build backend reports (PEP 508), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The wheels of the build environment: exactly these are installed. Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<StepFile>,
    /// The Rust crates, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<StepCrate>,
    /// Settings for every build backend (PEP 517 `config_settings`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_settings: Vec<(String, String)>,
    /// Settings for the build backend of this package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub package_settings: Vec<(String, String)>,
    /// The variables that change the result of hooks, without `PATH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The sandbox of hooks.
    pub sandbox: StepSandbox,
    /// The time limit of one hook in seconds.
    pub hook_timeout: u64,
    /// Set if the build has other surroundings than usual, to find out whether its result depends on them: a text that no
    /// other run has, so that an earlier result is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<String>,
}

/// A file that a step uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepFile {
    /// The file name.
    pub filename: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

/// A Rust crate that a step uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepCrate {
    /// The crate, with the digest of its file.
    #[serde(flatten)]
    pub locked: LockedCrate,
    /// The size in bytes.
    pub size: u64,
}

/// The sandbox that a step requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepSandbox {
    /// `auto`, `require` or `off`.
    pub mode: StepSandboxMode,
    /// True if hooks have network access.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// Paths that hooks may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable: Vec<PathBuf>,
}

/// A mode of the sandbox, as `--sandbox` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSandboxMode {
    /// Everything that the machine permits.
    #[default]
    Auto,
    /// Everything, or the build fails.
    Require,
    /// No sandbox.
    Off,
}

impl BuildStep {
    /// Returns the bytes of the document, which are the same for equal steps.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "all keys of maps are strings")]
    pub fn document(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("all keys of maps are strings");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the identity of the step: the digest of its document.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&self.document())
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `Input` if it is too large, not valid, or has another schema; or if a file name in it has more than one path component.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let invalid = |reason: String| {
            Error::new(
                Kind::Input,
                format!("the build step is not valid: {reason}"),
            )
        };
        if bytes.len() > SIZE {
            return Err(invalid(format!("it is larger than {SIZE} bytes")));
        }
        let step: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if step.schema != SCHEMA {
            return Err(invalid(format!(
                "`{}` is not {SCHEMA}",
                step.schema.escape_debug()
            )));
        }
        let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']);
        let files = std::iter::once(&step.source).chain(&step.requirements);
        for StepFile { filename, .. } in files {
            if !is_name(filename) || filename.starts_with('.') {
                return Err(invalid(format!(
                    "`{}` is not a file name",
                    filename.escape_debug()
                )));
            }
        }
        Ok(step)
    }
}

impl fmt::Display for BuildStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}=={}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(filename: &str) -> StepFile {
        StepFile {
            filename: filename.to_owned(),
            sha256: Sha256::of(filename.as_bytes()),
            size: 3,
        }
    }

    fn step() -> BuildStep {
        BuildStep {
            schema: SCHEMA.to_owned(),
            name: "example".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            source: file("example-1.0.tar.gz"),
            subdirectory: None,
            target: "cp312-manylinux_2_28_x86_64".to_owned(),
            requires: vec!["setuptools".to_owned()],
            requirements: vec![file("setuptools-80.9.0-py3-none-any.whl")],
            crates: Vec::new(),
            config_settings: Vec::new(),
            package_settings: vec![("a".to_owned(), "b".to_owned())],
            environment: BTreeMap::from([("CFLAGS".to_owned(), "-O3".to_owned())]),
            sandbox: StepSandbox::default(),
            hook_timeout: 3600,
            variation: None,
        }
    }

    #[test]
    fn document_is_read_back_and_identifies_the_step() {
        let step = step();
        let read = BuildStep::parse(&step.document()).unwrap();
        assert_eq!(read, step);
        assert_eq!(read.digest(), step.digest());
        let mut other = step.clone();
        other.requirements[0].sha256 = Sha256::of(b"other");
        assert_ne!(other.digest(), step.digest());
    }

    #[test]
    fn rejects_document_of_another_schema_and_paths_as_file_names() {
        let mut other = step();
        other.schema = "wheelhouse-step/2".to_owned();
        let error = BuildStep::parse(&other.document()).unwrap_err();
        assert!(error.to_string().contains("wheelhouse-step/2"), "{error}");
        for name in ["../a.whl", "/a.whl", "", ".hidden"] {
            let mut outside = step();
            outside.requirements[0].filename = name.to_owned();
            let error = BuildStep::parse(&outside.document()).unwrap_err();
            assert!(error.to_string().contains("not a file name"), "{error}");
        }
        let unknown = String::from_utf8(step().document()).unwrap();
        let unknown = unknown.replacen('{', "{\"more\":1,", 1);
        assert!(BuildStep::parse(unknown.as_bytes()).is_err());
    }
}
