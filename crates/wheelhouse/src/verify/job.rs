//! The request for a verification, and its progress.

use std::path::PathBuf;
use std::sync::Arc;

use wheelhouse_attest::{AttestationPolicy, TrustRoot, VerifyingKey};
use wheelhouse_engine::python::DiscoveryEnvironment;
use wheelhouse_types::request::{Building, Requirement};

use super::report::{Check, CheckName};

/// The request for a verification.
pub struct VerifyJob {
    /// The directory, as an absolute path.
    pub directory: PathBuf,
    /// The requirements.
    pub requirements: VerifyRequirements,
    /// The key that must have signed the manifest and the provenance of built wheels, if any.
    pub key: Option<VerifyingKey>,
    /// The policy for attestations, and the means to verify them, if they are checked.
    pub attestations: Option<AttestationInputs>,
    /// The Python that the user names: a path or a version.
    pub python: Option<String>,
    /// The environment in which interpreters are discovered.
    pub discovery: DiscoveryEnvironment,
    /// The settings for building source distributions.
    pub building: Building,
    /// Allows to build and install files of the directory.
    pub install: bool,
    /// Imports the installed modules.
    pub import: bool,
    /// The receiver of progress.
    pub progress: ProgressCallback,
}

/// The inputs of the check of attestations.
pub struct AttestationInputs {
    /// The publishers that are accepted.
    pub policy: AttestationPolicy,
    /// The authorities and logs that are trusted.
    pub root: TrustRoot,
}

/// Receives the progress of a verification.
pub type ProgressCallback = Arc<dyn Fn(CheckProgress<'_>) + Send + Sync>;

/// The progress of one check.
pub enum CheckProgress<'a> {
    /// The check starts, or continues with another target or file: `about`.
    Started {
        /// The check.
        name: CheckName,
        /// The object of the check or finding.
        about: Option<&'a str>,
    },
    /// A check has finished.
    Finished(&'a Check),
}

/// The requirements that the directory must satisfy.
#[derive(Clone, Debug)]
pub enum VerifyRequirements {
    /// Those of its manifest and its locks; without a manifest, all of its distributions.
    Own,
    /// Requirements and constraints.
    Lines {
        /// The requirements.
        requirements: Vec<Requirement>,
        /// The constraints.
        constraints: Vec<Requirement>,
    },
    /// The packages of the lock at this path.
    Lock(PathBuf),
}
