//! Packages with their releases and files, from the files of all wheelhouses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wheelhouse_publish::simple_index::encode_segment;
use wheelhouse_types::project_status::StatusMarker;
use wheelhouse_types::{PackageName, ProjectStatus, Version};

use super::file_origin::{FileOrigin, FileOriginKind, Origins};
use super::{PLACE, VERSION};
use crate::facts::SiteFile;
use crate::metadata::{self, DeclaredRequirement, Metadata};
use crate::tags::{self, Tags};
use crate::text::{self, Clipped};

/// One package.
#[derive(Debug)]
pub(crate) struct ListedPackage {
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
    pub(crate) origin: FileOrigin,
    /// Sorted.
    pub(crate) wheelhouses: Vec<usize>,
}

/// A file with what is only needed until the site is made.
pub(super) struct Draft {
    pub(super) file: File,
    pub(super) name: PackageName,
    pub(super) version: Version,
    pub(super) metadata: Option<Arc<[u8]>>,
    /// The names in the manifest, in case that there is no metadata.
    pub(super) dependencies: Vec<String>,
}

impl Draft {
    pub(super) fn new(file: &SiteFile, origins: Option<&Origins<'_>>) -> Self {
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
                origin: entry.map_or_else(FileOrigin::default, FileOrigin::of),
                wheelhouses: Vec::new(),
            },
        }
    }
}

impl ListedPackage {
    /// `releases` are sorted by version and have at least one file.
    pub(super) fn new(
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
                Some(DeclaredRequirement {
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
        let is_kind = |kind| files().any(|file| file.origin.kind == kind);
        let origin = match (
            is_kind(FileOriginKind::Built),
            is_kind(FileOriginKind::Fetched),
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

impl Release {
    fn new(version: &Version, mut drafts: Vec<Draft>) -> Self {
        drafts.sort_by(|one, other| one.file.filename.cmp(&other.file.filename));
        Self {
            version: text::line(&version.to_string(), VERSION),
            files: drafts.into_iter().map(|draft| draft.file).collect(),
        }
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
