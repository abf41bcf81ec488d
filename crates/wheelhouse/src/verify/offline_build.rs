//! Requests and builds that use only the files of the verified directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_shared_cache::SharedCaches;
use wheelhouse_store::{LinkMode, Store};
use wheelhouse_types::request::{Indexes, Network, Prereleases, Resolution};
use wheelhouse_types::{Event, Observer, Request, Target};

use crate::pipeline::{BuildJob, LockPolicy, RunInputs};

/// Returns a request that only the files of `directory` can satisfy.
pub(super) fn request(directory: &Path) -> Request {
    Request {
        indexes: Indexes {
            find_links: vec![directory.display().to_string()],
            no_index: true,
            ..Indexes::default()
        },
        network: Network {
            offline: true,
            ..Network::default()
        },
        resolution: Resolution {
            // A pre-release in the directory was selected when the directory was made.
            prereleases: Prereleases {
                others: Some(true),
                ..Prereleases::default()
            },
            ..Resolution::default()
        },
        ..Request::default()
    }
}

/// Returns the build of `request` for the interpreter of `target`, with temporary files below `scratch` and
/// an output there called `output`.
///
/// # Errors
/// When the temporary store cannot be opened.
pub(super) fn job(
    request: Request,
    target: &Target,
    scratch: &Path,
    output: impl Into<PathBuf>,
) -> wheelhouse_types::Result<BuildJob> {
    Ok(BuildJob {
        inputs: RunInputs {
            request,
            python: target.interpreter.clone(),
            store: Store::open(scratch.join("store"))?,
            lock_policy: LockPolicy::Upgrade,
            keep_going: false,
            shared: Arc::new(SharedCaches::none()),
            farm: None,
        },
        additional_sets: Vec::new(),
        output: scratch.join(output.into()),
        platform: None,
        warn_new_systems: false,
        link_mode: LinkMode::Copy,
        attestations: false,
    })
}

/// Ignores all events.
pub(super) struct NullObserver;

impl Observer for NullObserver {
    fn observe(&self, _event: &Event) {}
}
