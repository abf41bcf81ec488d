//! One lock for several targets: each entry with a marker that says which of them want it.
//!
//! What markers cannot tell apart (C libraries, builds of one Python) has to want the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerTree;

use super::writer::{EntryWriter, LockOutput};
use crate::lock::{Build, Lock, Package, Pin};
use crate::{Error, Kind, LockedCrate, Origin, Result, Sha256, Source, Target};

/// Writes the locks of several targets as the text of one `pylock.toml` in the directory `base`,
/// which is absolute. `request` is what was asked for, for all of them, and `files` said it.
///
/// # Errors
/// Two targets want different things, and no marker tells them apart.
pub fn write_shared(
    locks: &[(&Target, &Lock)],
    request: &str,
    files: &BTreeMap<PathBuf, Sha256>,
    base: &Path,
) -> Result<String> {
    let targets = Targets(locks.iter().map(|(target, _)| *target).collect());
    let versions = versions(locks);
    let mut entries = Vec::new();
    for shared in grouped(locks) {
        entries.push(EntryWriter {
            marker: targets.marker(&shared.users, shared.packages[0])?,
            dependencies: dependencies(&shared, locks, &versions),
            sources: sources(&shared),
            file: None,
            package: shared.packages[0],
        });
    }
    let environments: BTreeSet<&str> = locks
        .iter()
        .map(|(_, lock)| lock.environment.as_str())
        .filter(|environment| !environment.is_empty())
        .collect();
    let least = locks
        .iter()
        .min_by_key(|(target, _)| target.python_version.parse::<Version>().ok());
    Ok(LockOutput {
        request,
        files,
        environments: environments.into_iter().collect(),
        requires_python: least.and_then(|(_, lock)| lock.requires_python.as_deref()),
        entries,
        builds: &builds(locks, &targets)?,
    }
    .write(base))
}

/// An entry, and the positions of the targets that want it.
struct Shared<'a> {
    packages: Vec<&'a Package>,
    users: BTreeSet<usize>,
}

/// Groups the packages of all locks that can share an entry.
fn grouped<'a>(locks: &[(&Target, &'a Lock)]) -> Vec<Shared<'a>> {
    let mut groups: BTreeMap<_, Shared<'a>> = BTreeMap::new();
    for (user, (_, lock)) in locks.iter().enumerate() {
        for package in &lock.packages {
            // What is listed can have many files, anything else stands for itself.
            let place = match &package.origin {
                Origin::Direct => format!("{:?}", package.source),
                origin => format!("{origin:?}"),
            };
            let group = groups.entry((&package.name, &package.version, place));
            let group = group.or_insert_with(|| Shared {
                packages: Vec::new(),
                users: BTreeSet::new(),
            });
            group.packages.push(package);
            group.users.insert(user);
        }
    }
    groups.into_values().collect()
}

/// Returns the different files of an entry, sorted by name; wheels come first.
fn sources<'a>(shared: &Shared<'a>) -> Vec<&'a Source> {
    let key = |source: &Source| {
        let filename = source.artifact().map(|artifact| artifact.filename.clone());
        (!matches!(source, Source::Wheel(_)), filename)
    };
    let sources = shared.packages.iter().map(|package| &package.source);
    let sources: BTreeMap<_, &Source> = sources.map(|source| (key(source), source)).collect();
    sources.into_values().collect()
}

fn versions<'a>(locks: &[(&Target, &'a Lock)]) -> BTreeMap<&'a PackageName, BTreeSet<&'a Version>> {
    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in locks.iter().flat_map(|(_, lock)| &lock.packages) {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions
}

/// Collects the dependencies of an entry for any of its users.
fn dependencies<'a>(
    shared: &Shared<'a>,
    locks: &[(&Target, &'a Lock)],
    versions: &BTreeMap<&'a PackageName, BTreeSet<&'a Version>>,
) -> Vec<(&'a PackageName, Option<&'a Version>)> {
    let mut dependencies = BTreeSet::new();
    for (package, user) in shared.packages.iter().zip(&shared.users) {
        let (_, lock) = locks[*user];
        for name in &package.dependencies {
            let is_one = versions.get(name).is_none_or(|versions| versions.len() < 2);
            let mut chosen = lock.packages.iter().filter(|one| one.name == *name);
            let version = chosen.next().map(|one| &one.version);
            dependencies.insert((name, version.filter(|_| !is_one)));
        }
    }
    dependencies.into_iter().collect()
}

/// Merges the builds of all locks by source.
fn builds(locks: &[(&Target, &Lock)], targets: &Targets<'_>) -> Result<Vec<Build>> {
    let mut groups: BTreeMap<_, Vec<(usize, &Build)>> = BTreeMap::new();
    for (user, (_, lock)) in locks.iter().enumerate() {
        for build in &lock.builds {
            let group = groups.entry((&build.name, &build.version)).or_default();
            group.push((user, build));
        }
    }
    let groups = groups.into_values();
    groups
        .map(|builds| shared_build(&builds, targets))
        .collect()
}

/// Merges the builds of one source for several targets: a pin gets a marker if not all of them need it.
fn shared_build(builds: &[(usize, &Build)], targets: &Targets<'_>) -> Result<Build> {
    let all: BTreeSet<usize> = builds.iter().map(|(user, _)| *user).collect();
    let mut pins: BTreeMap<&str, (BTreeSet<usize>, BTreeSet<&String>)> = BTreeMap::new();
    for (user, build) in builds {
        for pin in &build.closure {
            let (users, hashes) = pins.entry(&pin.requirement).or_default();
            users.insert(*user);
            hashes.extend(&pin.hashes);
        }
    }
    let (_, first) = builds[0];
    let closure = pins.into_iter().map(|(requirement, (users, hashes))| {
        let others = all.difference(&users).copied().collect();
        let marker = targets
            .separating(&users, &others)
            .map_err(|(one, other)| {
                undecided(one, other, &format!("the build of {}", first.name))
            })?;
        Ok(Pin {
            requirement: match marker {
                marker if marker.is_empty() => requirement.to_owned(),
                marker => format!("{requirement} ; {marker}"),
            },
            hashes: hashes.into_iter().cloned().collect(),
        })
    });
    let crates: BTreeSet<&LockedCrate> = builds.iter().flat_map(|(_, one)| &one.crates).collect();
    let requires: BTreeSet<&String> = builds.iter().flat_map(|(_, one)| &one.requires).collect();
    Ok(Build {
        name: first.name.clone(),
        version: first.version.clone(),
        requires: requires.into_iter().cloned().collect(),
        closure: closure.collect::<Result<_>>()?,
        crates: crates.into_iter().cloned().collect(),
    })
}

fn undecided(one: &Target, other: &Target, what: &str) -> Error {
    let message = format!(
        "{} and {} want different versions for {what}, and no marker tells them apart",
        one.label(),
        other.label()
    );
    Error::new(Kind::Resolution, message).with_hint("Lock them apart, without --universal.")
}

/// Targets by their positions.
struct Targets<'a>(Vec<&'a Target>);

/// The markers that tell targets apart, the most telling first.
const KEYS: [&str; 5] = [
    "sys_platform",
    "python_version",
    "platform_machine",
    "implementation_name",
    "python_full_version",
];

impl Targets<'_> {
    /// Returns a marker that holds for `users` and for no other target; empty if there are no others.
    fn marker(&self, users: &BTreeSet<usize>, package: &Package) -> Result<String> {
        let others = (0..self.0.len())
            .filter(|one| !users.contains(one))
            .collect();
        self.separating(users, &others)
            .map_err(|(one, other)| undecided(one, other, package.name.as_ref()))
    }

    /// Returns a marker that holds for `users` and not for `others`, or two targets that no marker tells apart.
    fn separating(
        &self,
        users: &BTreeSet<usize>,
        others: &BTreeSet<usize>,
    ) -> Result<String, (&Target, &Target)> {
        if others.is_empty() {
            return Ok(String::new());
        }
        let mut choices: Vec<Vec<&str>> = (1..1_usize << KEYS.len()).map(chosen).collect();
        choices.sort_by_key(Vec::len);
        for keys in &choices {
            let values: BTreeSet<_> = users.iter().map(|one| self.values(*one, keys)).collect();
            if !others
                .iter()
                .any(|one| values.contains(&self.values(*one, keys)))
            {
                return Ok(marker(keys, &values));
            }
        }
        let alike = |one: usize, other: usize| self.values(one, &KEYS) == self.values(other, &KEYS);
        let pairs = users
            .iter()
            .flat_map(|one| others.iter().map(move |other| (*one, *other)));
        let (one, other) = pairs
            .into_iter()
            .find(|(one, other)| alike(*one, *other))
            .unwrap_or_default();
        Err((self.0[one], self.0[other]))
    }

    fn values(&self, position: usize, keys: &[&str]) -> Vec<Option<&str>> {
        let markers = &self.0[position].markers;
        keys.iter()
            .map(|key| markers.get(*key).map(String::as_str))
            .collect()
    }
}

/// Returns the keys whose bits are set.
fn chosen(bits: usize) -> Vec<&'static str> {
    let is_set = |position: &usize| bits >> position & 1 == 1;
    (0..KEYS.len())
        .filter(is_set)
        .map(|position| KEYS[position])
        .collect()
}

/// Formats the marker that holds where `keys` have one of the `values`, in its simplest form.
fn marker(keys: &[&str], values: &BTreeSet<Vec<Option<&str>>>) -> String {
    let clause = |values: &Vec<Option<&str>>| {
        let pairs = keys.iter().zip(values);
        let equal = pairs.map(|(key, value)| format!("{key} == '{}'", value.unwrap_or_default()));
        equal.collect::<Vec<_>>().join(" and ")
    };
    let clauses: Vec<String> = values.iter().map(clause).collect();
    let text = clauses.join(" or ");
    let tree: Option<MarkerTree> = text.parse().ok();
    tree.and_then(MarkerTree::try_to_string).unwrap_or(text)
}
