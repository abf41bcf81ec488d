//! The indexes that have a path of their own: one wheelhouse, all wheelhouses merged, and filtered views of these.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use wheelhouse_types::{PackageName, VersionSpecifiers};

use crate::index::{Index, ServedDistribution};
use crate::served_file::ServedFile;
use crate::snapshot::{Derived, Snapshot};
use crate::wheelhouse::Wheelhouse;

/// The index below one path.
#[derive(Debug)]
pub(crate) struct Scope {
    wheelhouses: Vec<Arc<Wheelhouse>>,
    filter: Option<Filter>,
    index: Derived<Index>,
}

/// A condition on the distributions of a view.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Uploaded before this time, in milliseconds since 1970-01-01 UTC. Distributions without a time are excluded.
    UploadedBefore(i64),
    /// The named projects, in versions that satisfy the specifiers.
    Allowed(BTreeMap<PackageName, VersionSpecifiers>),
}

impl Filter {
    fn admits(&self, distribution: &ServedDistribution) -> bool {
        let indexed = &distribution.indexed;
        match self {
            Self::UploadedBefore(limit) => {
                indexed.listing.uploaded.is_some_and(|time| time < *limit)
            }
            Self::Allowed(allowed) => allowed
                .get(&indexed.name)
                .is_some_and(|specifiers| specifiers.contains(&indexed.version)),
        }
    }
}

impl Scope {
    pub(crate) fn new(wheelhouses: Vec<Arc<Wheelhouse>>, filter: Option<Filter>) -> Self {
        Self {
            wheelhouses,
            filter,
            index: Derived::default(),
        }
    }

    /// Returns the current index.
    ///
    /// # Errors
    /// Fails if a directory cannot be read.
    pub(crate) async fn index(self: &Arc<Self>) -> io::Result<Arc<Index>> {
        let fresh: Option<Vec<_>> = self.wheelhouses.iter().map(|one| one.fresh()).collect();
        if let Some(index) = fresh.and_then(|snapshots| self.index.get(&snapshots)) {
            return Ok(index);
        }
        let scope = Arc::clone(self);
        tokio::task::spawn_blocking(move || scope.read_index()).await?
    }

    /// Returns the current snapshots of the wheelhouses.
    ///
    /// # Errors
    /// Fails if a directory cannot be read.
    pub(crate) async fn snapshots(self: &Arc<Self>) -> io::Result<Vec<Arc<Snapshot>>> {
        let fresh: Option<Vec<_>> = self.wheelhouses.iter().map(|one| one.fresh()).collect();
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        let scope = Arc::clone(self);
        let current = move || scope.wheelhouses.iter().map(|one| one.current()).collect();
        tokio::task::spawn_blocking(current).await?
    }

    fn read_index(&self) -> io::Result<Arc<Index>> {
        let snapshots = self.wheelhouses.iter().map(|one| one.current());
        let snapshots: Vec<Arc<Snapshot>> = snapshots.collect::<io::Result<_>>()?;
        Ok(self
            .index
            .get_or_make(snapshots, |snapshots| match (snapshots, &self.filter) {
                ([only], None) => Arc::clone(&only.index),
                _ => Arc::new(self.merge(snapshots)),
            }))
    }

    fn merge(&self, snapshots: &[Arc<Snapshot>]) -> Index {
        let indexes = || snapshots.iter().map(|snapshot| &snapshot.index);
        let admitted = |distribution: &&ServedDistribution| {
            let filter = self.filter.as_ref();
            filter.is_none_or(|filter| filter.admits(distribution))
        };
        let mut distributions: Vec<ServedDistribution> = Vec::new();
        let mut seen: HashMap<String, Arc<ServedFile>> = HashMap::new();
        let mut metadata = Vec::new();
        for index in indexes() {
            for distribution in index.distributions().filter(admitted) {
                let name = distribution.file.name();
                if let Some(first) = seen.get(name) {
                    if first.sha256() != distribution.file.sha256() {
                        tracing::warn!(
                            name,
                            "two wheelhouses have different files of this name; the first one is served"
                        );
                    }
                    continue;
                }
                seen.insert(name.to_owned(), Arc::clone(&distribution.file));
                let beside = wheelhouse_publish::simple_index::metadata_name(name);
                metadata.extend(beside.and_then(|name| index.file(&name).cloned()));
                distributions.push(distribution.clone());
            }
        }
        let mut statuses = BTreeMap::new();
        for index in indexes() {
            for (name, status) in index.statuses() {
                statuses
                    .entry(name.clone())
                    .or_insert_with(|| status.clone());
            }
        }
        let modified = indexes().filter_map(|index| index.modified()).max();
        Index::new(distributions, metadata, statuses, modified)
    }

    /// Returns the file `name`, which `index` lists, or which it listed a short time ago.
    pub(crate) fn file(&self, index: &Index, name: &str) -> Option<Arc<ServedFile>> {
        if let Some(file) = index.file(name) {
            return Some(Arc::clone(file));
        }
        if self.filter.is_some() {
            return None;
        }
        let mut wheelhouses = self.wheelhouses.iter();
        wheelhouses.find_map(|wheelhouse| wheelhouse.replaced_file(name))
    }
}
