//! The results of a run and of a dry run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::{Lock, Plan};

/// The lock and the plan of a dry run.
pub struct Preview {
    /// The lock.
    pub lock: Lock,
    /// The plan.
    pub plan: Plan,
    /// The previews of the additional sets, by name.
    pub additional_sets: BTreeMap<String, Preview>,
}

/// Counts of the work of a run.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// The number of fetched files.
    pub fetched: usize,
    /// The number of built wheels.
    pub built: usize,
    /// The number of wheels from the cache.
    pub reused: usize,
    /// The number of wheels from shared caches.
    pub copied: usize,
    /// The number of source distributions among these files.
    pub sdists: usize,
    /// The number of Rust crates of a download.
    pub crates: usize,
    /// The size of all wheels and source distributions.
    pub bytes: u64,
    /// The number of bytes that were received over the network.
    pub bytes_fetched: u64,
    /// The time during which at least one download was active.
    pub time_fetching: Duration,
    /// Files in the output that are not part of the wheelhouse.
    pub foreign: Vec<String>,
    /// The directories of the wheelhouses. There are several if each target has its own.
    pub wheelhouses: Vec<PathBuf>,
}
