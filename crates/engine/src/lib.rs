//! Resolving, reading indexes and building wheels: the only crate that uses uv's resolver, client and installer.
//!
//! Its interface consists of plain [`wheelhouse_types`] values:
//!
//! 1. [`run`] starts the runtime that uv needs.
//! 2. [`RemoteFiles::read`] reads a small file at a URL, such as a requirements file.
//! 3. [`python::locate`] finds the interpreter, [`Host::discover`] queries it, and [`Engine::start`] opens the clients.
//! 4. [`Engine::resolve`] resolves the request into a [`Lock`](wheelhouse_types::Lock). It asks an [`ArtifactProvider`] for
//!    the wheels of sources, and announces the wheels that the lock will probably need.
//! 5. [`Fetcher::open`] downloads a file, [`Engine::checkout`] checks out a Git commit.
//! 6. [`Engine::build_wheel`] builds a wheel from an unpacked source.
//!
//! The engine does not decide what is fetched or built when, does not write a wheelhouse, and never prints.

#![warn(missing_docs)]

mod artifact_provider;
mod build;
mod convert;
mod dispatch;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod network;
pub mod process_tree;
pub mod python;
mod requirements;
mod resolve;
mod runtime;
mod state;
mod target;

pub mod git {
    //! Git's commands.
    pub use uv_git::CommandCredentials;
}

pub use artifact_provider::{
    ArtifactProvider, BuildResources, BuildSource, WheelFile, build_cycle_error, build_depth_error,
};
pub use build::requirements::BuildRequirements;
pub use build::{BuildRequest, BuiltWheel};
pub use engine::Engine;
pub use network::download::{Download, FetchError, Fetcher};
pub use network::remote_file::{RemoteFileKind, RemoteFiles};
pub use python::host::Host;
pub use resolve::{ResolveOptions, ResolveOutput};
pub use runtime::run;
pub use state::EngineOptions;
pub use target::compatibility::{WheelCompatibility, can_substitute};
