//! Executing: from a request to a published wheelhouse.
//!
//! 1. The lock of an earlier run is kept while it answers the same request; otherwise the engine
//!    resolves, and [`worker`] fetches and builds ahead what comes in sight.
//! 2. The lock and what the store has make a plan.
//! 3. The steps of the plan run concurrently within limits, through the [`Worker`] seam.
//! 4. The wheels become the output directory.
//!
//! Everything that happens is told as an event. This room never prints, and never reads options
//! or the environment.

use std::path::PathBuf;
use std::sync::Arc;

use wheelhouse_model::{Lock, Observer, Plan, Request, Result};

use crate::store::{LinkMode, Store};

/// What a run is to do.
pub struct Job {
    pub request: Request,
    /// The interpreter that the request means, as far as it is known without starting one.
    pub python: Option<PathBuf>,
    pub store: Store,
    /// The directory that gets the wheels.
    pub output: PathBuf,
    pub link_mode: LinkMode,
    pub reuse: Reuse,
    /// Whether a failed step leaves the others to go on; all failures are told at the end.
    pub keep_going: bool,
}

/// What becomes of the lock that the output has from an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is kept if it answers the same request; else its versions are preferred.
    Prefer,
    /// It is left aside: the newest versions are chosen.
    Upgrade,
    /// It must answer the request; no index is asked.
    Frozen,
}

/// What a run would do.
pub struct Preview {
    pub lock: Lock,
    pub plan: Plan,
}

/// What a run has done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub fetched: usize,
    pub built: usize,
    pub reused: usize,
    /// The size of all wheels.
    pub bytes: u64,
    /// What came over the network.
    pub bytes_fetched: u64,
    /// Files in the output that no run put there.
    pub foreign: Vec<String>,
}

/// Makes the wheelhouse of `job`.
///
/// # Errors
/// Whatever stood in the way, of the kind that tells its class; with `keep_going` the detail lists
/// every failure. The output stays as it was before.
pub async fn build(job: Job, observer: Arc<dyn Observer>) -> Result<Report> {
    let _ = (job, observer);
    unimplemented!()
}

/// Plans `job` and does nothing of it, except that metadata may be asked of build back ends.
///
/// # Errors
/// As [`build`].
pub async fn preview(job: Job, observer: Arc<dyn Observer>) -> Result<Preview> {
    let _ = (job, observer);
    unimplemented!()
}
