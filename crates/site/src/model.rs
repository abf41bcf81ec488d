//! The packages of all wheelhouses, merged: files by release, what each requires, and what requires it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use wheelhouse_publish::simple_index::encode_segment;
use wheelhouse_types::manifest::Built;
use wheelhouse_types::project_status::StatusMarker;
use wheelhouse_types::{Manifest, Origin, PackageName, ProjectStatus, Version, redact};

use crate::difference::{self, Change};
use crate::facts::{SiteFile, Verification, WheelhouseFacts};
use crate::metadata::{self, Metadata, Requirement};
use crate::tags::{self, Tags};
use crate::text::{self, Clipped};

/// The maximum length of a version, a file name and a place, in characters.
const VERSION: usize = 60;
const PLACE: usize = 200;

/// The pages of one or several wheelhouses.
#[derive(Debug)]
pub struct Site {
    pub(crate) wheelhouses: Vec<Wheelhouse>,
    /// Sorted by name.
    pub(crate) packages: Vec<Package>,
    pub(crate) by_name: HashMap<PackageName, usize>,
    pub(crate) size: u64,
    pub(crate) files: usize,
}

/// One wheelhouse.
#[derive(Debug)]
pub(crate) struct Wheelhouse {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) generator: Option<String>,
    pub(crate) made: Option<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) requirements: Vec<String>,
    pub(crate) sets: Vec<(String, Vec<String>)>,
    pub(crate) has_manifest: bool,
    pub(crate) verification: Option<Verification>,
    /// `None` if there is no previous manifest.
    pub(crate) changes: Option<Vec<Change>>,
    /// Packages with the version here and the newest version.
    pub(crate) newer: Vec<(String, String, String)>,
    /// The newest versions of how many packages are known.
    pub(crate) compared: usize,
    /// Indexes into the packages, sorted by name.
    pub(crate) packages: Vec<usize>,
    /// The bytes of each of these packages in this wheelhouse.
    pub(crate) sizes: Vec<u64>,
    pub(crate) size: u64,
    pub(crate) files: usize,
}

/// One package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: PackageName,
    /// The name as its authors write it.
    pub(crate) title: String,
    /// That of the newest release that has any.
    pub(crate) metadata: Metadata,
    /// The newest first.
    pub(crate) releases: Vec<Release>,
    /// For each of the metadata's requirements, the package here.
    pub(crate) requires: Vec<Option<usize>>,
    /// The packages here that it requires without extras.
    pub(crate) installs: Vec<usize>,
    /// Sorted; with whether only extras require it.
    pub(crate) required_by: Vec<(usize, bool)>,
    pub(crate) size: u64,
    pub(crate) files: usize,
    /// `built`, `fetched`, or both.
    pub(crate) origin: &'static str,
    /// `2.0, 1.26`.
    pub(crate) versions: String,
    /// `3.12 · Linux x86_64`.
    pub(crate) targets: String,
    /// A short summary for the list.
    pub(crate) summary: String,
    pub(crate) wheelhouses: Vec<usize>,
    /// The newest version in an index, if it is newer than all here.
    pub(crate) newest: Option<String>,
    /// The status of the project with its reason, unless it is active: `archived`.
    pub(crate) status: Option<(&'static str, Clipped)>,
}

/// One version of a package.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) version: String,
    pub(crate) files: Vec<File>,
}

/// A wheel or an sdist.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) filename: String,
    /// The file name as the last segment of a URL.
    pub(crate) href: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    /// `None` for an sdist.
    pub(crate) tags: Option<Tags>,
    pub(crate) requires_python: Option<String>,
    pub(crate) yanked: Option<Clipped>,
    pub(crate) uploaded: Option<String>,
    pub(crate) has_metadata: bool,
    /// The URL of the attestations.
    pub(crate) attestations: Option<String>,
    pub(crate) provenance: Provenance,
    /// Sorted.
    pub(crate) wheelhouses: Vec<usize>,
}

/// The way in which a file came into the wheelhouse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    pub(crate) kind: ProvenanceKind,
    /// The index, the find-links location, or the source of a direct reference.
    pub(crate) place: String,
    /// The Python and the build requirements of a wheel that was built.
    pub(crate) built: Option<(String, Vec<String>)>,
    /// True if only builds and tools need it.
    pub(crate) is_build_only: bool,
}

/// The kind of a [`Provenance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProvenanceKind {
    /// Built from source.
    Built,
    /// Taken as it was published.
    Fetched,
    /// Not in a manifest.
    #[default]
    Unknown,
}

/// A file with what is only needed until the site is made.
struct Draft {
    file: File,
    name: PackageName,
    version: Version,
    metadata: Option<Arc<[u8]>>,
    /// The names in the manifest, in case that there is no metadata.
    dependencies: Vec<String>,
}

impl Site {
    /// Merges `wheelhouses`. If two have different files of the same name, the first one is shown, as the merged index does.
    #[must_use]
    pub fn new(wheelhouses: Vec<WheelhouseFacts>) -> Self {
        let mut drafts: HashMap<String, Draft> = HashMap::new();
        let mut newest: HashMap<PackageName, Version> = HashMap::new();
        let mut statuses: HashMap<PackageName, ProjectStatus> = HashMap::new();
        for (index, facts) in wheelhouses.iter().enumerate() {
            let origins = facts.manifest.as_ref().map(Origins::of);
            for file in &facts.files {
                let draft = drafts
                    .entry(file.indexed.filename.clone())
                    .or_insert_with(|| Draft::new(file, origins.as_ref()));
                if draft.file.wheelhouses.last() != Some(&index) {
                    draft.file.wheelhouses.push(index);
                }
            }
            let status = facts.manifest.iter().flat_map(|each| &each.project_status);
            for (name, status) in status.filter(|(_, status)| !status.is_default()) {
                statuses
                    .entry(name.clone())
                    .or_insert_with(|| status.clone());
            }
            for (name, version) in &facts.newest {
                let known = newest
                    .entry(name.clone())
                    .or_insert_with(|| version.clone());
                if version > known {
                    known.clone_from(version);
                }
            }
        }
        let mut by_package: BTreeMap<PackageName, BTreeMap<Version, Vec<Draft>>> = BTreeMap::new();
        for draft in drafts.into_values() {
            let releases = by_package.entry(draft.name.clone()).or_default();
            releases
                .entry(draft.version.clone())
                .or_default()
                .push(draft);
        }
        let mut packages: Vec<Package> = by_package
            .into_iter()
            .map(|(name, releases)| {
                let (newest, status) = (newest.get(&name), statuses.get(&name));
                Package::new(name, releases, newest, status)
            })
            .collect();
        let by_name: HashMap<PackageName, usize> = packages
            .iter()
            .enumerate()
            .map(|(index, package)| (package.name.clone(), index))
            .collect();
        link(&mut packages, &by_name);
        let wheelhouses = wheelhouses
            .into_iter()
            .enumerate()
            .map(|(index, facts)| Wheelhouse::new(index, facts, &packages))
            .collect();
        Self {
            size: packages.iter().map(|package| package.size).sum(),
            files: packages.iter().map(|package| package.files).sum(),
            wheelhouses,
            packages,
            by_name,
        }
    }

    /// Returns the number of packages that installing the package `index` brings along, and their bytes, as far as they are
    /// here. Extras are not followed.
    pub(crate) fn closure(&self, index: usize) -> (usize, u64) {
        let mut is_found = vec![false; self.packages.len()];
        is_found[index] = true;
        let mut found = vec![index];
        let mut next = 0;
        while next < found.len() {
            for &target in &self.packages[found[next]].installs {
                if !is_found[target] {
                    is_found[target] = true;
                    found.push(target);
                }
            }
            next += 1;
        }
        let size = found.iter().map(|found| self.packages[*found].size).sum();
        (found.len() - 1, size)
    }
}

/// The entries of a manifest by file name.
struct Origins<'a>(HashMap<&'a str, Entry<'a>>);

#[derive(Clone, Copy)]
struct Entry<'a> {
    origin: &'a Origin,
    source: &'a str,
    built: Option<&'a Built>,
    dependencies: &'a [String],
    build_only: bool,
}

impl<'a> Origins<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        let wheels = manifest.wheels.iter().map(|wheel| {
            let entry = Entry {
                origin: &wheel.origin,
                source: &wheel.source,
                built: wheel.built.as_ref(),
                dependencies: &wheel.dependencies,
                build_only: wheel.build_only,
            };
            (wheel.filename.as_str(), entry)
        });
        let sdists = manifest.sdists.iter().map(|sdist| {
            let entry = Entry {
                origin: &sdist.origin,
                source: &sdist.source,
                built: None,
                dependencies: &[],
                build_only: sdist.build_only,
            };
            (sdist.filename.as_str(), entry)
        });
        Self(wheels.chain(sdists).collect())
    }
}

impl Provenance {
    fn of(entry: &Entry<'_>) -> Self {
        let place = match entry.origin {
            // The place of a built wheel is that of its source.
            _ if entry.built.is_some() => entry.source,
            Origin::Index { url } => url,
            Origin::FindLinks { location } => location,
            Origin::Direct | Origin::Upload => entry.source,
        };
        let built = entry.built.map(|built| {
            let requirements = built.requirements.iter().take(100);
            let requirements = requirements.map(|line| text::line(line, PLACE)).collect();
            (text::line(&built.python, VERSION), requirements)
        });
        Self {
            kind: if built.is_some() {
                ProvenanceKind::Built
            } else {
                ProvenanceKind::Fetched
            },
            place: text::line(&redact::redacted(place), PLACE),
            built,
            is_build_only: entry.build_only,
        }
    }
}

impl Draft {
    fn new(file: &SiteFile, origins: Option<&Origins<'_>>) -> Self {
        let indexed = &file.indexed;
        let entry = origins.and_then(|origins| origins.0.get(indexed.filename.as_str()));
        let requires_python = indexed.requires_python.as_deref();
        Self {
            name: indexed.name.clone(),
            version: indexed.version.clone(),
            metadata: file.metadata.clone(),
            dependencies: entry.map_or_else(Vec::new, |entry| entry.dependencies.to_vec()),
            file: File {
                filename: text::line(&indexed.filename, 255),
                href: encode_segment(&indexed.filename),
                sha256: indexed.sha256.to_string(),
                size: indexed.size,
                tags: Tags::of(&indexed.filename),
                requires_python: requires_python.map(|text| text::line(text, VERSION)),
                yanked: indexed
                    .listing
                    .yanked
                    .as_deref()
                    .map(|reason| Clipped::new(reason, PLACE)),
                uploaded: indexed.listing.uploaded.and_then(text::date),
                has_metadata: indexed.metadata.is_some(),
                attestations: indexed
                    .listing
                    .provenance
                    .as_deref()
                    .and_then(|url| Some(metadata::web_url(url)?.0)),
                provenance: entry.map_or_else(Provenance::default, Provenance::of),
                wheelhouses: Vec::new(),
            },
        }
    }
}

impl Package {
    /// `releases` are sorted by version and have at least one file.
    fn new(
        name: PackageName,
        releases: BTreeMap<Version, Vec<Draft>>,
        newest: Option<&Version>,
        status: Option<&ProjectStatus>,
    ) -> Self {
        const LISTED_VERSIONS: usize = 3;
        const LISTED_SUMMARY: usize = 100;
        let newest = releases
            .last_key_value()
            .and_then(|(own, _)| newest.filter(|newest| *newest > own))
            .map(|newest| text::line(&newest.to_string(), VERSION));
        let drafts = || releases.values().rev().flatten();
        let mut metadata = drafts()
            .find_map(|draft| draft.metadata.as_deref())
            .map(|bytes| Metadata::parse(bytes, &name));
        if metadata.is_none() {
            let names: BTreeSet<&String> = drafts().flat_map(|draft| &draft.dependencies).collect();
            let requirements = names.into_iter().filter_map(|dependency| {
                Some(Requirement {
                    name: dependency.parse().ok()?,
                    is_extra: false,
                    conditions: Vec::new(),
                })
            });
            metadata = Some(Metadata {
                requirements: requirements.collect(),
                ..Metadata::default()
            });
        }
        let mut metadata = metadata.unwrap_or_default();
        // Extras require other extras of the same package in this way.
        metadata
            .requirements
            .retain(|requirement| requirement.name != name);
        let releases: Vec<Release> = releases
            .into_iter()
            .rev()
            .map(|(version, drafts)| Release::new(&version, drafts))
            .collect();
        let files = || releases.iter().flat_map(|release| &release.files);
        let is_kind = |kind| files().any(|file| file.provenance.kind == kind);
        let origin = match (
            is_kind(ProvenanceKind::Built),
            is_kind(ProvenanceKind::Fetched),
        ) {
            (true, true) => "built, fetched",
            (true, false) => "built",
            (false, true) => "fetched",
            (false, false) => "",
        };
        let listed = releases.iter().take(LISTED_VERSIONS);
        let listed: Vec<&str> = listed.map(|release| release.version.as_str()).collect();
        let mut versions = listed.join(", ");
        if releases.len() > LISTED_VERSIONS {
            versions.push_str(" and ");
            versions.push_str(&(releases.len() - LISTED_VERSIONS).to_string());
            versions.push_str(" more");
        }
        let wheelhouses: BTreeSet<usize> = files()
            .flat_map(|file| &file.wheelhouses)
            .copied()
            .collect();
        Self {
            title: metadata
                .display_name
                .clone()
                .unwrap_or_else(|| name.to_string()),
            size: files().map(|file| file.size).sum(),
            files: files().count(),
            targets: tags::summary(files().map(|file| file.tags.as_ref())),
            summary: text::line(&metadata.summary.short, LISTED_SUMMARY),
            origin,
            versions,
            wheelhouses: wheelhouses.into_iter().collect(),
            requires: Vec::new(),
            installs: Vec::new(),
            required_by: Vec::new(),
            newest,
            status: status.and_then(shown_status),
            name,
            metadata,
            releases,
        }
    }

    /// Returns the newest version.
    pub(crate) fn version(&self) -> &str {
        self.releases
            .first()
            .map_or("", |release| release.version.as_str())
    }
}

fn shown_status(status: &ProjectStatus) -> Option<(&'static str, Clipped)> {
    let word = match status.status {
        StatusMarker::Active => return None,
        StatusMarker::Archived => "archived",
        StatusMarker::Quarantined => "quarantined",
        StatusMarker::Deprecated => "deprecated",
    };
    let reason = status.reason.as_deref().unwrap_or_default();
    Some((word, Clipped::new(reason, PLACE)))
}

impl Release {
    fn new(version: &Version, mut drafts: Vec<Draft>) -> Self {
        drafts.sort_by(|one, other| one.file.filename.cmp(&other.file.filename));
        Self {
            version: text::line(&version.to_string(), VERSION),
            files: drafts.into_iter().map(|draft| draft.file).collect(),
        }
    }
}

/// Connects the requirements of `packages` with the packages.
fn link(packages: &mut [Package], by_name: &HashMap<PackageName, usize>) {
    for index in 0..packages.len() {
        let requirements = packages[index].metadata.requirements.iter();
        let edges: Vec<(Option<usize>, bool)> = requirements
            .map(|requirement| {
                let target = by_name.get(&requirement.name).copied();
                (target, requirement.is_extra)
            })
            .collect();
        for (target, is_extra) in &edges {
            if let Some(target) = target {
                packages[*target].required_by.push((index, *is_extra));
            }
        }
        let always = edges.iter().filter(|(_, is_extra)| !is_extra);
        packages[index].installs = always.filter_map(|(target, _)| *target).collect();
        packages[index].requires = edges.into_iter().map(|(target, _)| target).collect();
    }
}

impl Wheelhouse {
    fn new(index: usize, facts: WheelhouseFacts, packages: &[Package]) -> Self {
        let mut own = Vec::new();
        let (mut sizes, mut count) = (Vec::new(), 0);
        for (position, package) in packages.iter().enumerate() {
            if !package.wheelhouses.contains(&index) {
                continue;
            }
            let files = package.releases.iter().flat_map(|release| &release.files);
            let mut size = 0;
            for file in files.filter(|file| file.wheelhouses.contains(&index)) {
                size += file.size;
                count += 1;
            }
            own.push(position);
            sizes.push(size);
        }
        let versions = facts.files.iter().fold(
            BTreeMap::<&PackageName, &Version>::new(),
            |mut versions, file| {
                let version = versions
                    .entry(&file.indexed.name)
                    .or_insert(&file.indexed.version);
                *version = (*version).max(&file.indexed.version);
                versions
            },
        );
        let newer = versions.iter().filter_map(|(name, version)| {
            let newest = facts.newest.get(name).filter(|newest| newest > version)?;
            let short = |version: &Version| text::line(&version.to_string(), VERSION);
            Some((name.to_string(), short(version), short(newest)))
        });
        let newer = newer.collect();
        let compared = versions
            .keys()
            .filter(|name| facts.newest.contains_key(name))
            .count();
        let manifest = facts.manifest.as_ref();
        let lines = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter().take(1_000);
            lines
                .map(|line| text::line(&redact::redacted(line), PLACE))
                .collect()
        };
        Self {
            href: encode_segment(&facts.name),
            generator: manifest.map(|manifest| text::line(&manifest.generator, VERSION)),
            made: facts.made.map(text::time),
            targets: manifest.map_or_else(Vec::new, |manifest| {
                let targets = manifest.targets.iter().take(100);
                targets
                    .map(|target| text::line(&target.label(), PLACE))
                    .collect()
            }),
            requirements: manifest.map_or_else(Vec::new, |manifest| lines(&manifest.requirements)),
            sets: manifest.map_or_else(Vec::new, |manifest| {
                let sets = manifest.sets.iter().take(100);
                sets.map(|set| (text::line(&set.name, VERSION), lines(&set.requirements)))
                    .collect()
            }),
            has_manifest: manifest.is_some(),
            changes: facts
                .previous
                .as_ref()
                .zip(manifest)
                .map(|(previous, manifest)| difference::between(previous, manifest)),
            verification: facts.verification,
            newer,
            compared,
            packages: own,
            size: sizes.iter().sum(),
            sizes,
            files: count,
            name: text::line(&facts.name, 255),
        }
    }
}
