//! A plan: the steps that turn a lock into wheels.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lock::{Lock, Package};
use crate::{Sha256, Source};

/// The ordered work of a run; `--dry-run` prints exactly this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// The making of one wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub package: Package,
    pub action: Action,
}

/// What has to be done to have a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// The store has it.
    Reuse { sha256: Sha256, filename: String },
    /// A published wheel is fetched (or read from a directory).
    Fetch { bytes: Option<u64> },
    /// The source is fetched if need be, and built.
    Build,
}

/// What the store has, as far as a plan is concerned.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The published wheels that the store has.
    pub wheels: std::collections::BTreeSet<Sha256>,
    /// The built wheels that the store has, by the index of their package in the lock: digest and
    /// file name.
    pub built: BTreeMap<usize, (Sha256, String)>,
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
            Action::Reuse { .. } => (2, 0),
        });
        Self { steps }
    }
}

/// Whether the digests that are published for the file of `package` have one that is demanded; if
/// not, the file must be fetched, which tells.
fn is_vouched_for(package: &Package) -> bool {
    let Some(artifact) = package.source.artifact() else {
        return true;
    };
    let published = artifact.hashes.0.iter();
    let mut published = published.map(|(algorithm, digest)| format!("{algorithm}:{digest}"));
    package.required_hashes.is_empty()
        || published.any(|digest| package.required_hashes.contains(&digest))
}

fn action(package: &Package, index: usize, inventory: &Inventory) -> Action {
    let may_reuse = is_vouched_for(package);
    match &package.source {
        Source::Wheel(artifact) => match artifact.hashes.sha256().filter(|_| may_reuse) {
            Some(sha256) if inventory.wheels.contains(&sha256) => Action::Reuse {
                sha256,
                filename: artifact.filename.clone(),
            },
            _ => Action::Fetch {
                bytes: artifact.size,
            },
        },
        Source::Sdist(_) | Source::Tree { .. } | Source::Git { .. } => {
            match inventory.built.get(&index).filter(|_| may_reuse) {
                Some((sha256, filename)) => Action::Reuse {
                    sha256: *sha256,
                    filename: filename.clone(),
                },
                None => Action::Build,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Artifact, Hashes, Location, Origin};

    fn package(required: &[&str], digest: Sha256) -> Package {
        Package {
            name: "alpha".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            origin: Origin::Direct,
            source: Source::Wheel(Artifact {
                filename: "alpha-1.0-py3-none-any.whl".to_owned(),
                location: Location::Path("/alpha-1.0-py3-none-any.whl".into()),
                size: None,
                hashes: Hashes::sha256_only(digest),
                uploaded: None,
                yanked: None,
                subdirectory: None,
            }),
            requires_python: None,
            dependencies: Vec::new(),
            required_hashes: required.iter().map(|hash| (*hash).to_owned()).collect(),
        }
    }

    #[test]
    fn only_what_has_a_demanded_digest_is_reused() {
        let digest = Sha256::of(b"alpha");
        let inventory = Inventory {
            wheels: [digest].into(),
            ..Inventory::default()
        };
        let is_reused = |required: &[&str]| {
            let lock = Lock {
                packages: vec![package(required, digest)],
                ..Lock::default()
            };
            matches!(
                Plan::new(&lock, &inventory).steps[0].action,
                Action::Reuse { .. }
            )
        };
        assert!(is_reused(&[]));
        assert!(is_reused(&["sha256:00", &format!("sha256:{digest}")]));
        assert!(!is_reused(&["sha256:00"]));
    }
}
