//! The protections that this machine can enforce.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use tracing::debug;
use wheelhouse_types::sandbox::Protection;

use crate::profile::{PathAccess, PathMount, Profile};
use crate::{launcher, system_paths};

/// The means by which a profile is enforced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Namespaces of the kernel, in which the program has a root directory of its own.
    Namespaces,
    /// Landlock, as far as the kernel has it.
    Landlock,
    /// Nothing but the filter of system calls and resource limits.
    #[default]
    None,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "Landlock",
            Self::None => "none",
        })
    }
}

/// The protections that this machine can enforce.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SandboxSupport {
    /// The best mechanism.
    pub mechanism: Mechanism,
    /// The protections that are enforced, sorted.
    pub protections: Vec<Protection>,
    /// Why better mechanisms are missing.
    pub missing: Vec<MissingMechanism>,
}

/// A mechanism that does not work here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MissingMechanism {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The step that failed, and the error of the kernel.
    pub reason: String,
}

impl SandboxSupport {
    /// Finds out what the machine permits, by running `launcher` with each mechanism, the best one first. `scratch` is an
    /// existing directory for temporary files.
    #[must_use]
    pub fn probe(launcher: &Path, scratch: &Path) -> Self {
        let mut missing = Vec::new();
        for mechanism in [Mechanism::Namespaces, Mechanism::Landlock, Mechanism::None] {
            match probe(launcher, scratch, mechanism) {
                Ok(protections) => {
                    debug!(%mechanism, ?protections, "found the mechanism of the sandbox");
                    return Self {
                        mechanism,
                        protections,
                        missing,
                    };
                }
                Err(reason) => {
                    debug!(%mechanism, reason, "the mechanism does not work here");
                    missing.push(MissingMechanism { mechanism, reason });
                }
            }
        }
        Self {
            mechanism: Mechanism::None,
            protections: Vec::new(),
            missing,
        }
    }

    /// Returns the protections that are not enforced.
    #[must_use]
    pub fn unprotected(&self) -> Vec<Protection> {
        let all = Protection::ALL.into_iter();
        all.filter(|one| !self.protections.contains(one)).collect()
    }
}

/// Runs `launcher` with a profile that lets it do nothing. Returns what was enforced, or why the mechanism does not work.
fn probe(launcher: &Path, scratch: &Path, mechanism: Mechanism) -> Result<Vec<Protection>, String> {
    let directory = tempfile::tempdir_in(scratch).map_err(|error| error.to_string())?;
    let staging = directory.path().join("root");
    fs_err::create_dir(&staging).map_err(|error| error.to_string())?;
    let profile = Profile {
        mounts: system_paths::readable()
            .into_iter()
            .map(|path| PathMount::same(path, PathAccess::Read))
            .collect(),
        directory: "/".into(),
        home: "/".into(),
        staging,
        mechanism,
        ..Profile::default()
    };
    let file = directory.path().join("profile.json");
    let words = launcher::probe_words(&profile, &file).map_err(|error| error.to_string())?;
    let output = Command::new(launcher)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(message.trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}
