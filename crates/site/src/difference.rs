//! The differences between two manifests of a wheelhouse.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::{Manifest, Sha256};

use crate::text;

/// The maximum length of a name and of a list of versions, in characters.
const NAME: usize = 100;

/// A package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) kind: ChangeKind,
    /// The versions before, `1.0, 2.0`.
    pub(crate) before: String,
    /// The versions now.
    pub(crate) now: String,
}

/// The kind of a [`Change`], in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeKind {
    /// The package was not there before.
    Added,
    /// The package is no longer there.
    Removed,
    /// The package has other versions.
    Changed,
    /// The package has other files of the same versions.
    Replaced,
}

impl ChangeKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Replaced => "replaced",
        }
    }
}

/// The versions and files of one package.
#[derive(Default, PartialEq, Eq)]
struct Contents<'a> {
    versions: BTreeSet<&'a str>,
    files: BTreeSet<(&'a str, String)>,
}

/// Returns the packages that differ, by kind and name.
pub(crate) fn between(previous: &Manifest, current: &Manifest) -> Vec<Change> {
    let (before, now) = (packages(previous), packages(current));
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let change = |name: &str| {
        let (old, new) = (before.get(name), now.get(name));
        let kind = match (old, new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some(old), Some(new)) if old.versions != new.versions => ChangeKind::Changed,
            (Some(old), Some(new)) if old.files != new.files => ChangeKind::Replaced,
            _ => return None,
        };
        Some(Change {
            name: text::line(name, NAME),
            kind,
            before: old.map_or_else(String::new, Contents::shown),
            now: new.map_or_else(String::new, Contents::shown),
        })
    };
    let mut changes: Vec<Change> = names.into_iter().filter_map(change).collect();
    changes.sort_by_key(|change| change.kind);
    changes
}

impl Contents<'_> {
    fn shown(&self) -> String {
        let versions: Vec<&str> = self.versions.iter().copied().collect();
        text::line(&versions.join(", "), NAME)
    }
}

fn packages(manifest: &Manifest) -> BTreeMap<&str, Contents<'_>> {
    let mut packages: BTreeMap<&str, Contents<'_>> = BTreeMap::new();
    let mut add = |name, version, filename, sha256: &Sha256| {
        let contents = packages.entry(name).or_default();
        contents.versions.insert(version);
        contents.files.insert((filename, sha256.to_string()));
    };
    for wheel in &manifest.wheels {
        add(
            wheel.name.as_str(),
            wheel.version.as_str(),
            wheel.filename.as_str(),
            &wheel.sha256,
        );
    }
    for sdist in &manifest.sdists {
        add(&sdist.name, &sdist.version, &sdist.filename, &sdist.sha256);
    }
    packages
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Creates a manifest of wheels: name, version and the first digit of the digest.
    fn manifest(wheels: &[(&str, &str, &str)]) -> Manifest {
        let wheels: Vec<_> = wheels
            .iter()
            .map(|(name, version, digit)| {
                json!({
                    "filename": format!("{name}-{version}-py3-none-any.whl"), "name": name, "version": version,
                    "sha256": digit.repeat(64), "size": 1, "origin": {"kind": "direct"}, "source": "x",
                })
            })
            .collect();
        serde_json::from_value(json!({
            "schema": "wheelhouse-manifest/1", "generator": "wheelhouse 1", "targets": [], "requirements": [],
            "request": "", "wheels": wheels, "files": [],
        }))
        .unwrap()
    }

    #[test]
    fn changes_are_found_by_package() {
        let previous = manifest(&[
            ("same", "1", "a"),
            ("gone", "1", "a"),
            ("changed", "1", "a"),
            ("rebuilt", "1", "a"),
            ("more", "1", "a"),
        ]);
        let current = manifest(&[
            ("same", "1", "a"),
            ("new", "1", "a"),
            ("changed", "2", "a"),
            ("rebuilt", "1", "b"),
            ("more", "1", "a"),
            ("more", "2", "a"),
        ]);
        let changes = between(&previous, &current);
        let shown: Vec<_> = changes
            .iter()
            .map(|change| {
                let Change {
                    name, before, now, ..
                } = change;
                format!("{} {name}: {before} > {now}", change.kind.word())
            })
            .collect();
        assert_eq!(
            shown,
            [
                "added new:  > 1",
                "removed gone: 1 > ",
                "changed changed: 1 > 2",
                "changed more: 1 > 1, 2",
                "replaced rebuilt: 1 > 1",
            ]
        );
        assert_eq!(between(&current, &current), []);
    }
}
