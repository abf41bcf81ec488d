//! The contents of a lock in any format, and their conversion to requirements.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use wheelhouse_types::lock::Build;
use wheelhouse_types::request::{LockedFile, Requirement};
use wheelhouse_types::{Result, Sha256};

use super::pin::{PinKind, PinnedPackage};
use super::{LockFile, LockedInputs, SupportedTargets};

/// The contents of a lock.
#[derive(Debug, Default)]
pub(super) struct LockRequirements {
    pub(super) pins: Vec<PinnedPackage>,
    pub(super) builds: Vec<Build>,
    /// The local files that the lock was created from.
    pub(super) files: BTreeMap<PathBuf, Sha256>,
    pub(super) indexes: Vec<String>,
    pub(super) find_links: Vec<String>,
    /// The files of packages in the lock.
    pub(super) named_files: Vec<LockedFile>,
    pub(super) scope: SupportedTargets,
}

/// Adds `value` unless it exists.
pub(super) fn add(values: &mut Vec<String>, value: &str) {
    if !values.iter().any(|known| known == value) {
        values.push(value.to_owned());
    }
}

impl LockRequirements {
    /// Removes packages whose marker is never true, and checks the others.
    ///
    /// # Errors
    /// A hash has an unknown form, or a path is not usable.
    pub(super) fn checked(mut self) -> Result<Self> {
        self.pins.retain(|pin| !pin.marker.is_false());
        for pin in &self.pins {
            pin.check_hashes()?;
            pin.text()?;
        }
        Ok(self)
    }

    /// Converts the pins to sorted requirements. A hash of one requirement would make hashes required of all,
    /// so if some have none, the hashes become constraints.
    pub(super) fn locked(self, file: &LockFile<'_>) -> LockedInputs {
        let all_hashed = self.pins.iter().all(PinnedPackage::is_hashed);
        let mut locked = LockedInputs {
            builds: self.builds,
            files: self.files,
            indexes: self.indexes,
            find_links: self.find_links,
            named_files: self.named_files,
            scope: self.scope.of(file.name),
            ..LockedInputs::default()
        };
        let (mut lines, mut constraints) = (BTreeSet::new(), BTreeSet::new());
        for pin in &self.pins {
            locked.notes.extend(note(pin, file));
            let (text, hashes) = line(pin);
            if !all_hashed && !hashes.is_empty() {
                constraints.insert((text.clone(), hashes));
                lines.insert((text, BTreeSet::new()));
            } else {
                lines.insert((text, hashes));
            }
        }
        let requirement = |(text, hashes): (String, BTreeSet<String>)| Requirement {
            text,
            hashes: hashes.into_iter().collect(),
            origin: file.name.to_owned(),
            base: file.base.to_owned(),
            ..Requirement::default()
        };
        locked.requirements = lines.into_iter().map(requirement).collect();
        locked.constraints = constraints.into_iter().map(requirement).collect();
        locked
    }
}

/// Returns the requirement of a pin, and its hashes.
fn line(pin: &PinnedPackage) -> (String, BTreeSet<String>) {
    let hashes = pin.hashes.iter().map(|hash| hash.to_ascii_lowercase());
    (pin.text().unwrap_or_default(), hashes.collect())
}

fn note(pin: &PinnedPackage, file: &LockFile<'_>) -> Option<String> {
    (pin.what == PinKind::Any).then(|| {
        format!(
            "`{}` in {} has no version, so that the newest one is taken",
            pin.name, file.name
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wheelhouse_types::MarkerTree;

    use super::*;

    fn pin(name: &str, hashes: &[&str]) -> PinnedPackage {
        PinnedPackage {
            name: name.parse().unwrap(),
            what: PinKind::Version("1.0".parse().unwrap()),
            marker: MarkerTree::TRUE,
            hashes: hashes.iter().map(|hash| (*hash).to_owned()).collect(),
        }
    }

    fn locked(pins: Vec<PinnedPackage>) -> LockedInputs {
        let file = LockFile {
            name: "uv.lock",
            text: "",
            base: Path::new("/app"),
            project: None,
        };
        let contents = LockRequirements {
            pins,
            ..LockRequirements::default()
        };
        contents.locked(&file)
    }

    #[test]
    fn adds_digests_to_requirements_if_all_have_some() {
        let all = locked(vec![
            pin("b", &["sha256:1"]),
            pin("a", &["sha256:2", "sha256:0"]),
        ]);
        let lines: Vec<_> = all
            .requirements
            .iter()
            .map(|it| (&*it.text, it.hashes.len()))
            .collect();
        assert_eq!(lines, [("a==1.0", 2), ("b==1.0", 1)]);
        assert!(all.constraints.is_empty());
    }

    #[test]
    fn adds_digests_to_constraints_if_some_are_missing() {
        let some = locked(vec![
            pin("a", &["sha256:1"]),
            pin("b", &[]),
            pin("c", &["md5:1"]),
        ]);
        assert!(some.requirements.iter().all(|it| it.hashes.is_empty()));
        let constraints: Vec<_> = some.constraints.iter().map(|it| &*it.text).collect();
        assert_eq!(constraints, ["a==1.0", "c==1.0"]);
    }
}
