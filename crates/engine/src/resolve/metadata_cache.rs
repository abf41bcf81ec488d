//! The metadata of versions that attempts share, and the count of versions that one attempt considers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

use tokio::sync::Notify;
use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{Dist, DistributionId, Name as _, Requirement, RequirementSource};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerTree;

use crate::requirements::pinned_version;

/// The metadata that earlier attempts have read.
#[derive(Default)]
pub(crate) struct MetadataCache {
    metadata: Mutex<HashMap<DistributionId, ArchiveMetadata>>,
    /// Requirements that allow one version only, which may then be a yanked one.
    pins: Mutex<HashMap<PackageName, Vec<Requirement>>>,
    announced: Mutex<HashSet<PackageName>>,
    /// Requirements at URLs.
    urls: Mutex<Vec<Requirement>>,
}

impl MetadataCache {
    /// Returns the metadata of a distribution.
    pub(crate) fn metadata(&self, id: &DistributionId) -> Option<ArchiveMetadata> {
        let remembered = self.metadata.lock().expect("no panic while locked");
        remembered.get(id).cloned()
    }

    /// Returns whether this is the first call for `name`.
    pub(crate) fn first_seen(&self, name: &PackageName) -> bool {
        let mut announced = self.announced.lock().expect("no panic while locked");
        announced.insert(name.clone())
    }

    /// Adds the metadata of a distribution.
    pub(crate) fn insert(&self, id: DistributionId, metadata: &ArchiveMetadata) {
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

    /// Adds the requirements at URLs in `metadata`, which may be followed: with `with_local`, also those on this machine.
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

    /// Returns the requirement of `name` at `url`, if it may be followed.
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

    /// Returns the requirements of the newest version of `name` among those considered.
    pub(crate) fn newest_requires(&self, name: &PackageName) -> Vec<Requirement> {
        let remembered = self.metadata.lock().expect("no panic while locked");
        let metadata = remembered.values().map(|known| &known.metadata);
        let of_name = metadata.filter(|metadata| metadata.name == *name);
        let newest = of_name.max_by_key(|metadata| &metadata.version);
        newest.map_or_else(Vec::new, |newest| newest.requires_dist.to_vec())
    }

    /// Returns a considered version that requires `name`, as `alpha==1.0`.
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

    /// Returns the requirements that allow one version of `name`.
    pub(crate) fn pins(&self, name: &PackageName) -> Option<Vec<Requirement>> {
        let pins = self.pins.lock().expect("no panic while locked");
        pins.get(name).cloned()
    }
}

/// Counts the considered versions of each package, and notifies when one exceeds the limit.
pub(crate) struct BacktrackLimit {
    limit: usize,
    considered: Mutex<HashMap<PackageName, BTreeSet<Version>>>,
    /// The packages with a version whose metadata could not be read.
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

    /// Returns one without a limit.
    pub(crate) fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Waits until a package exceeds the limit.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// Returns the packages with more considered versions than `count`.
    pub(crate) fn considered_more_than(&self, count: usize) -> BTreeSet<PackageName> {
        let considered = self.considered.lock().expect("no panic while locked");
        let often = considered
            .iter()
            .filter(|(_, versions)| versions.len() > count);
        often.map(|(name, _)| name.clone()).collect()
    }

    /// Records that the metadata of a version of `name` could not be read.
    pub(crate) fn record_failure(&self, name: &PackageName) {
        let mut failed = self.failed.lock().expect("no panic while locked");
        failed.insert(name.clone());
    }

    /// Returns the packages with a failed version and another considered one.
    pub(crate) fn failed_after_backtracking(&self) -> BTreeSet<PackageName> {
        let mut names = self.considered_more_than(1);
        let failed = self.failed.lock().expect("no panic while locked");
        names.retain(|name| failed.contains(name));
        names
    }

    /// Counts the version of `dist`.
    pub(crate) fn count(&self, dist: &Dist) {
        if let Some(version) = dist.version() {
            self.count_version(dist.name(), version);
        }
    }

    pub(crate) fn count_version(&self, name: &PackageName, version: &Version) {
        let mut considered = self.considered.lock().expect("no panic while locked");
        let versions = considered.entry(name.clone()).or_default();
        versions.insert(version.clone());
        if versions.len() > self.limit {
            self.exceeded.notify_one();
        }
    }
}
