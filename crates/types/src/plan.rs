//! A plan: the steps that turn a lock into wheels.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lock::{Lock, Package};
use crate::{Sha256, Source};

/// The ordered work of a run; `--dry-run` prints exactly this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in the order in which they start.
    pub steps: Vec<Step>,
}

/// The making of one wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The package.
    pub package: Package,
    /// The work to do.
    pub action: Action,
}

/// The work that obtains a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// The store has it.
    Reuse {
        /// The digest of the file.
        sha256: Sha256,
        /// The file name.
        filename: String,
    },
    /// A shared cache has the wheel.
    Copy {
        /// The digest of the file.
        sha256: Sha256,
        /// The file name.
        filename: String,
        /// The size in bytes.
        bytes: u64,
        /// The location, without credentials.
        location: String,
    },
    /// A published wheel is fetched (or read from a directory).
    Fetch {
        /// The size in bytes.
        bytes: Option<u64>,
    },
    /// The source is fetched if need be, and built.
    Build,
}

/// The usable contents of the store, as far as a plan needs to know.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The published wheels that the store has.
    pub wheels: std::collections::BTreeSet<Sha256>,
    /// The built wheels that the store has, by the index of their package in the lock: digest and
    /// file name.
    pub built: BTreeMap<usize, (Sha256, String)>,
    /// The built wheels that shared caches have, by the index of their package in the lock.
    pub shared: BTreeMap<usize, SharedWheel>,
}

/// A built wheel that a shared cache has.
#[derive(Clone, Debug)]
pub struct SharedWheel {
    /// The digest of the file.
    pub sha256: Sha256,
    /// The file name.
    pub filename: String,
    /// The size in bytes.
    pub bytes: u64,
    /// The location, without credentials.
    pub location: String,
}

impl Plan {
    /// Plans `lock` against `inventory`: largest fetches first, so that the last to finish are
    /// small; builds before all of them, since they take longest.
    #[must_use]
    pub fn new(lock: &Lock, inventory: &Inventory) -> Self {
        let mut steps: Vec<Step> = lock
            .packages
            .iter()
            .enumerate()
            .map(|(index, package)| Step {
                package: package.clone(),
                action: action(package, index, inventory),
            })
            .collect();
        steps.sort_by_key(|step| match step.action {
            Action::Build => (0, 0),
            Action::Fetch { bytes } => (1, u64::MAX - bytes.unwrap_or(0)),
            Action::Copy { bytes, .. } => (1, u64::MAX - bytes),
            Action::Reuse { .. } => (2, 0),
        });
        Self { steps }
    }
}

fn action(package: &Package, index: usize, inventory: &Inventory) -> Action {
    match &package.source {
        Source::Wheel(artifact) => match artifact.hashes.sha256() {
            Some(sha256) if inventory.wheels.contains(&sha256) => Action::Reuse {
                sha256,
                filename: artifact.filename.clone(),
            },
            _ => Action::Fetch {
                bytes: artifact.size,
            },
        },
        Source::Sdist(_) | Source::Tree { .. } | Source::Git { .. } => {
            match inventory.built.get(&index) {
                Some((sha256, filename)) => Action::Reuse {
                    sha256: *sha256,
                    filename: filename.clone(),
                },
                None => match inventory.shared.get(&index) {
                    Some(shared) => Action::Copy {
                        sha256: shared.sha256,
                        filename: shared.filename.clone(),
                        bytes: shared.bytes,
                        location: shared.location.clone(),
                    },
                    None => Action::Build,
                },
            }
        }
    }
}
