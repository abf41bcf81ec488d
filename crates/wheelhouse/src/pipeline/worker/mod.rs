//! The worker makes wheels on this machine: from the store, by download, or with a build backend.
//!
//! [`Worker`] is the only way to get a wheel. While the engine resolves, the worker is also its
//! [`Prefetcher`]: it downloads and builds candidates ahead. Each wheel, file and source is worked on
//! once; everything else that needs it awaits the same task ([`tasks`]).

mod artifact;
mod build;
mod build_dir;
pub(super) mod build_key;
mod built_wheel;
pub(super) mod cache;
pub(super) mod compilers;
mod crate_provider;
mod crates;
mod declared_compilers;
mod download;
mod examine;
mod farm_build;
mod local;
mod local_trees;
mod provider;
mod published_wheel;
pub(super) mod shared_build;
mod source_date_epoch;
mod source_dir;
mod step_inputs;
mod tasks;
mod traffic;
mod wait_graph;

pub use artifact::{WheelArtifact, Worker};
pub(super) use crate_provider::StoredCrate;
pub(crate) use examine::examine;
pub(super) use local::{LocalWorker, Prefetch};
pub(super) use provider::Prefetcher;
pub(super) use tasks::identity;
