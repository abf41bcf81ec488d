//! The protections that this machine can enforce.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tracing::debug;
use wheelhouse_fs::remove::TemporaryDirectory;
use wheelhouse_types::request::SandboxMode;
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Error, Kind, Result};

use crate::mechanism::Mechanism;
use crate::profile::{LayeredDirectory, PathAccess, PathMount, Profile};
use crate::system_paths;

/// The protections that this machine can enforce.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SandboxSupport {
    /// The best mechanism.
    pub mechanism: Mechanism,
    /// The protections that are enforced, sorted.
    pub protections: Vec<Protection>,
    /// True if the profile may have [directories with layers](crate::LayeredDirectory) on the filesystem of the scratch
    /// directory.
    pub layers: bool,
    /// Why better mechanisms are missing.
    pub missing: Vec<MissingMechanism>,
}

/// The results of [`SandboxSupport::probe`], by the launcher and the device of the scratch directory. The machine does not
/// change during a run.
static KNOWN: Mutex<BTreeMap<(PathBuf, Option<u64>), SandboxSupport>> = Mutex::new(BTreeMap::new());

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
    /// existing directory for temporary files. The result is kept: further calls for the same launcher and filesystem run
    /// nothing.
    #[must_use]
    pub fn probe(launcher: &Path, scratch: &Path) -> Self {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let device = fs_err::metadata(scratch).ok().map(|found| found.dev());
        known
            .entry((launcher.to_owned(), device))
            .or_insert_with(|| Self::try_mechanisms(launcher, scratch))
            .clone()
    }

    fn try_mechanisms(launcher: &Path, scratch: &Path) -> Self {
        let mut missing = Vec::new();
        for (mechanism, layers) in [
            (Mechanism::Namespaces, true),
            (Mechanism::Namespaces, false),
            (Mechanism::Landlock, false),
            (Mechanism::None, false),
        ] {
            match probe(launcher, scratch, mechanism, layers) {
                Ok(protections) => {
                    debug!(%mechanism, layers, ?protections, "found the mechanism of the sandbox");
                    return Self {
                        mechanism,
                        protections,
                        layers,
                        missing,
                    };
                }
                Err(reason) => {
                    debug!(%mechanism, layers, reason, "the mechanism does not work here");
                    if !layers {
                        missing.push(MissingMechanism { mechanism, reason });
                    }
                }
            }
        }
        Self {
            mechanism: Mechanism::None,
            protections: Vec::new(),
            layers: false,
            missing,
        }
    }

    /// Describes what is not enforced, and why. Returns `None` if everything is.
    ///
    /// # Errors
    /// [`Kind::Build`] if `mode` requires everything.
    pub fn shortfall(&self, mode: SandboxMode) -> Result<Option<String>> {
        let unprotected = self.unprotected();
        if unprotected.is_empty() {
            return Ok(None);
        }
        let missing: Vec<String> = unprotected.iter().map(ToString::to_string).collect();
        let missing = missing.join(", ");
        let reasons = self.missing.iter().map(|missing| missing.reason.as_str());
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        if mode == SandboxMode::Require {
            let message = format!("the sandbox cannot protect on this machine: {missing}");
            return Err(Error::new(Kind::Build, message)
                .with_detail(reasons)
                .with_hint("Permit user namespaces or Landlock, or use --sandbox auto."));
        }
        Ok(Some(format!("{missing} ({reasons})")))
    }

    /// Returns the protections that are not enforced.
    #[must_use]
    pub fn unprotected(&self) -> Vec<Protection> {
        let all = Protection::ALL.into_iter();
        all.filter(|one| !self.protections.contains(one)).collect()
    }
}

/// Runs `launcher` with a profile that lets it do nothing. Returns what was enforced, or why the mechanism does not work.
fn probe(
    launcher: &Path,
    scratch: &Path,
    mechanism: Mechanism,
    layers: bool,
) -> std::result::Result<Vec<Protection>, String> {
    let directory = tempfile::tempdir_in(scratch).map_err(|error| error.to_string())?;
    let directory = TemporaryDirectory::from(directory);
    let [staging, upper, layer, work] =
        ["root", "upper", "layer", "work"].map(|name| directory.path().join(name));
    for path in [&staging, &upper, &layer, &work] {
        fs_err::create_dir(path).map_err(|error| error.to_string())?;
    }
    let layered = LayeredDirectory {
        inside: "/dev/shm".into(),
        upper,
        layers: vec![layer],
        work,
    };
    let profile = Profile {
        mounts: system_paths::readable()
            .into_iter()
            .map(|path| PathMount::same(path, PathAccess::Read))
            .collect(),
        layered: layers.then_some(layered).into_iter().collect(),
        directory: "/".into(),
        home: "/".into(),
        staging,
        mechanism,
        ..Profile::default()
    };
    let file = directory.path().join("profile.json");
    let words = profile
        .launcher_words(&file)
        .map_err(|error| error.to_string())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_protection_is_an_error_only_if_it_is_required() {
        let support = SandboxSupport {
            mechanism: Mechanism::None,
            protections: vec![Protection::Network, Protection::SystemCalls],
            layers: false,
            missing: vec![MissingMechanism {
                mechanism: Mechanism::Landlock,
                reason: "not permitted".to_owned(),
            }],
        };
        let shortfall = support.shortfall(SandboxMode::Auto).unwrap();
        assert_eq!(shortfall.unwrap(), "files, processes (not permitted)");
        let error = support.shortfall(SandboxMode::Require).unwrap_err();
        assert!(error.to_string().contains("files, processes"), "{error}");
        let complete = SandboxSupport {
            protections: Protection::ALL.into(),
            ..support
        };
        assert!(complete.shortfall(SandboxMode::Require).unwrap().is_none());
    }
}
