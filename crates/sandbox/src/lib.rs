//! Runs programs that are not trusted: without network access, with access to named files only, and so that none of their
//! processes survives.
//!
//! A [`Profile`] describes what a program may do. The program is started through a launcher, which is this library in a
//! process of its own ([`launch()`]): a process can only give up rights for itself and its descendants. Two mechanisms exist,
//! and [`SandboxSupport::probe`] finds by trying which of them the machine permits:
//!
//! - [`namespaces`]: user, mount, PID, network, IPC and UTS namespaces. The program has a root directory of its own, in which
//!   only the paths of the profile exist, a network without an exit, and fixed user, host name and paths.
//! - [`landlock`]: rules for paths, which an unprivileged process may set in containers, too.
//!
//! System calls that would lead around either are refused by a seccomp filter ([`system_calls`]), and resource limits bound
//! what a program can use ([`limits`]).

#![warn(missing_docs)]

mod landlock;
mod launch;
mod launcher;
mod limits;
mod mechanism;
mod namespaces;
mod network;
mod profile;
mod root;
mod support;
mod system_calls;
pub mod system_paths;

pub use launch::COMMAND;
pub use launcher::launch;
pub use mechanism::Mechanism;
pub use network::NetworkRequests;
pub use profile::{LayeredDirectory, PathAccess, PathMount, Profile, ResourceLimits};
pub use support::{MissingMechanism, SandboxSupport};
