//! From a request to a published wheelhouse, a set of locks, or a download for other targets.
//!
//! 1. A run starts with the host, its targets and the previous lock ([`context`]).
//! 2. The previous lock is kept if it answers the same request; otherwise the engine resolves while the
//!    [`worker`] prefetches wheels and builds sources ahead.
//! 3. The lock and the contents of the store make a plan ([`cached_wheels`]).
//! 4. The steps of the plan are executed concurrently, through the [`Worker`] seam ([`executor`]).
//! 5. The wheels are published into the output directory ([`publish`]).
//!
//! [`build()`], [`lock`] and [`download`] are the three entry points; [`rebuild`] compares new builds with an earlier one. All progress is reported as events;
//! the pipeline never prints, and never reads options or the environment.

pub mod additional_set;
mod attestations;
pub mod build;
mod build_closure;
mod build_machine;
mod cached_wheels;
mod check_metadata;
mod context;
pub mod download;
mod executor;
mod farm;
mod local_trees;
pub mod lock;
mod lock_file;
mod lock_policy;
mod platform_fit;
mod previous_lock;
mod publish;
mod published_files;
pub mod rebuild;
mod report;
mod set_run;
mod signing;
pub mod step;
mod step_cache;
mod target_selection;
mod wheel_metadata;
pub mod worker;

pub use build::{BuildJob, build, preview};
pub use build_machine::BuildMachine;
pub use context::RunInputs;
pub use farm::Farm;
pub use lock_policy::LockPolicy;
pub use report::{Preview, RunReport};
pub use signing::sign;
pub use step_cache::StepCache;
pub use target_selection::{TargetFilter, TargetSelection};
pub use worker::{WheelArtifact, Worker};
