//! What the attempts at one request learn: the metadata of versions, and how many of a package were considered.
//!
//! Never asks anybody.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

use tokio::sync::Notify;
use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{Dist, DistributionId, Name as _, Requirement, RequirementSource};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerTree;

use crate::requirements::pinned_version;

/// The answers of earlier attempts at the same request.
#[derive(Default)]
pub(crate) struct MetadataCache {
    metadata: Mutex<HashMap<DistributionId, ArchiveMetadata>>,
    /// What others require in just one version, which may then be a yanked one.
    pins: Mutex<HashMap<PackageName, Vec<Requirement>>>,
    announced: Mutex<HashSet<PackageName>>,
    /// What others require at a URL.
    urls: Mutex<Vec<Requirement>>,
}

impl MetadataCache {
    /// The metadata of this distribution, if it is known.
    pub(crate) fn metadata(&self, id: &DistributionId) -> Option<ArchiveMetadata> {
        let remembered = self.metadata.lock().expect("no panic while locked");
        remembered.get(id).cloned()
    }

    /// Whether `name` is announced for the first time.
    pub(crate) fn first_seen(&self, name: &PackageName) -> bool {
        let mut announced = self.announced.lock().expect("no panic while locked");
        announced.insert(name.clone())
    }

    pub(crate) fn remember(&self, id: DistributionId, metadata: &ArchiveMetadata) {
        let mut pins = self.pins.lock().expect("no panic while locked");
        let required = metadata.metadata.requires_dist.iter();
        for pin in required.filter(|requirement| pinned_version(requirement).is_some()) {
            let of_package = pins.entry(pin.name.clone()).or_default();
            of_package.push(Requirement {
                marker: MarkerTree::TRUE,
                ..pin.clone()
            });
        }
        let mut remembered = self.metadata.lock().expect("no panic while locked");
        remembered.insert(id, metadata.clone());
    }

    /// Remembers what `metadata` requires at URLs, which may be followed: `with_local` those of this machine, too.
    pub(crate) fn allow_urls(&self, metadata: &ArchiveMetadata, with_local: bool) {
        let required = metadata.metadata.requires_dist.iter();
        let direct = required.filter(|requirement| match &requirement.source {
            RequirementSource::Registry { .. } => false,
            RequirementSource::Path { .. } | RequirementSource::Directory { .. } => with_local,
            RequirementSource::GitDirectory { git, .. }
            | RequirementSource::GitPath { git, .. } => with_local || git.url().scheme() != "file",
            RequirementSource::Url { .. } => true,
        });
        let direct = direct.map(|requirement| Requirement {
            extras: Box::default(),
            marker: MarkerTree::TRUE,
            ..requirement.clone()
        });
        let mut urls = self.urls.lock().expect("no panic while locked");
        urls.extend(direct);
    }

    /// What others require of `name` at `url`, where that may be followed.
    pub(crate) fn allowed_url(&self, name: &PackageName, url: &str) -> Option<Requirement> {
        let urls = self.urls.lock().expect("no panic while locked");
        let mut of_name = urls.iter().filter(|allowed| allowed.name == *name);
        of_name
            .find(|allowed| {
                let known = allowed.source.to_verbatim_parsed_url();
                known.is_some_and(|known| known.verbatim.to_string() == url)
            })
            .cloned()
    }

    /// What the newest version of `name` requires that was looked at.
    pub(crate) fn newest_requires(&self, name: &PackageName) -> Vec<Requirement> {
        let remembered = self.metadata.lock().expect("no panic while locked");
        let metadata = remembered.values().map(|known| &known.metadata);
        let of_name = metadata.filter(|metadata| metadata.name == *name);
        let newest = of_name.max_by_key(|metadata| &metadata.version);
        newest.map_or_else(Vec::new, |newest| newest.requires_dist.to_vec())
    }

    /// A version that was looked at and requires `name`, as `alpha==1.0`; the request itself may, too.
    pub(crate) fn who_requires(&self, name: &PackageName) -> Option<String> {
        let remembered = self.metadata.lock().expect("no panic while locked");
        let metadata = remembered.values().map(|known| &known.metadata);
        let requiring = metadata.filter(|metadata| {
            let mut required = metadata.requires_dist.iter();
            required.any(|requirement| requirement.name == *name)
        });
        requiring
            .map(|metadata| format!("{}=={}", metadata.name, metadata.version))
            .min()
    }

    /// The requirements of others that allow one version of `name`.
    pub(crate) fn pins(&self, name: &PackageName) -> Option<Vec<Requirement>> {
        let pins = self.pins.lock().expect("no panic while locked");
        pins.get(name).cloned()
    }
}

/// Counts how many versions of each package were considered, and calls when it gets too many.
pub(crate) struct BacktrackLimit {
    limit: usize,
    considered: Mutex<HashMap<PackageName, BTreeSet<Version>>>,
    /// The packages of which a version has no metadata because that could not be had.
    failed: Mutex<BTreeSet<PackageName>>,
    exceeded: Notify,
}

impl BacktrackLimit {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            considered: Mutex::default(),
            failed: Mutex::default(),
            exceeded: Notify::new(),
        }
    }

    /// One that never calls.
    pub(crate) fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Returns once a package had more versions considered than the limit.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// The packages of which more than so many versions were considered.
    pub(crate) fn considered_more_than(&self, few: usize) -> BTreeSet<PackageName> {
        let considered = self.considered.lock().expect("no panic while locked");
        let often = considered
            .iter()
            .filter(|(_, versions)| versions.len() > few);
        often.map(|(name, _)| name.clone()).collect()
    }

    /// Notes that the metadata of a version of `name` could not be had.
    pub(crate) fn fail(&self, name: &PackageName) {
        let mut failed = self.failed.lock().expect("no panic while locked");
        failed.insert(name.clone());
    }

    /// The packages of which another version was considered, too, before one failed.
    pub(crate) fn failed_going_back(&self) -> BTreeSet<PackageName> {
        let mut names = self.considered_more_than(1);
        let failed = self.failed.lock().expect("no panic while locked");
        names.retain(|name| failed.contains(name));
        names
    }

    /// Counts the version of `dist`.
    pub(crate) fn consider(&self, dist: &Dist) {
        let Some(version) = dist.version() else {
            return;
        };
        let mut considered = self.considered.lock().expect("no panic while locked");
        let versions = considered.entry(dist.name().clone()).or_default();
        versions.insert(version.clone());
        if versions.len() > self.limit {
            self.exceeded.notify_one();
        }
    }
}
