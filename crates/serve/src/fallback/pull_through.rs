//! The fallback of served wheelhouses: which projects may be looked up on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use wheelhouse_publish::IndexedWheel;
use wheelhouse_types::{PackageName, Version};

use super::{Fallback, FileLookup, ProjectLookup};
use crate::index::Index;
use crate::scope::Scope;
use crate::snapshot::Snapshot;

/// The number of pages that are requested at once to learn the newest versions.
const CONCURRENT_PAGES: usize = 4;

/// A fallback of served wheelhouses.
#[derive(Debug)]
pub(crate) struct PullThrough {
    fallback: Arc<Fallback>,
    /// All wheelhouses: a project may be private in any of them.
    all: Arc<Scope>,
}

impl PullThrough {
    pub(crate) fn new(fallback: Fallback, all: Arc<Scope>) -> Self {
        Self {
            fallback: Arc::new(fallback),
            all,
        }
    }

    /// Returns the page of the project `name` with its files in `index` and those of the fallback, or `None` if the project
    /// may not be looked up.
    ///
    /// # Errors
    /// Fails if a wheelhouse cannot be read.
    pub(crate) async fn project(
        &self,
        name: &PackageName,
        index: &Index,
    ) -> io::Result<Option<ProjectLookup>> {
        let snapshots = self.all.snapshots().await?;
        if !self.is_public(name, &snapshots) {
            return Ok(None);
        }
        let local = index.project(name).iter();
        let local: Vec<&IndexedWheel> = local.map(|local| &*local.indexed).collect();
        let status = index.statuses().get(name);
        Ok(Some(self.fallback.project(name, &local, status).await))
    }

    /// Fetches the file `filename`, unless its project may not be looked up.
    ///
    /// # Errors
    /// Fails if a wheelhouse cannot be read.
    pub(crate) async fn file(&self, filename: &str) -> io::Result<FileLookup> {
        let snapshots = self.all.snapshots().await?;
        let may_look_up = |name: &PackageName| self.is_public(name, &snapshots);
        Ok(self.fallback.file(filename, may_look_up).await)
    }

    /// Returns the newest releases on the fallback of those projects `names` that may be looked up: neither pre-releases nor
    /// yanked.
    pub(crate) async fn newest(&self, names: Vec<PackageName>) -> BTreeMap<PackageName, Version> {
        let Ok(snapshots) = self.all.snapshots().await else {
            return BTreeMap::new();
        };
        let public = names
            .into_iter()
            .filter(|name| self.is_public(name, &snapshots));
        let newest = stream::iter(public).map(async |name| {
            let page = self.fallback.page(&name).await.ok()??;
            let files = page.files.values().map(|file| &file.indexed);
            let releases = files.filter(|file| file.listing.yanked.is_none());
            let versions = releases.map(|file| &file.version);
            let newest = versions.filter(|version| !version.any_prerelease()).max()?;
            Some((name, newest.clone()))
        });
        let newest: Vec<_> = newest.buffer_unordered(CONCURRENT_PAGES).collect().await;
        newest.into_iter().flatten().collect()
    }

    /// Returns whether no wheelhouse has files of `name` from elsewhere. Nothing is known of the origins in a directory without
    /// a manifest.
    fn is_public(&self, name: &PackageName, snapshots: &[Arc<Snapshot>]) -> bool {
        let manifests = snapshots.iter().filter_map(|one| one.manifest.as_ref());
        let mut unknown = snapshots
            .iter()
            .filter(|snapshot| snapshot.manifest.is_none());
        unknown.all(|snapshot| snapshot.index.project(name).is_empty())
            && self.fallback.may_look_up(name, manifests)
    }
}
