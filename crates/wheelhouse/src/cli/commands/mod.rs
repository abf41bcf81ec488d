//! One file per command, and the steps that several commands share.
//!
//! A command merges its options with the configuration ([`session`]), calls the other modules of
//! the program, and renders the result.

mod after_build;
pub(super) mod build;
pub(super) mod cache;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod download;
mod dry_run;
pub(super) mod extract;
mod farm;
pub(super) mod image;
mod image_opener;
pub(super) mod inspect;
mod keys;
pub(super) mod lock;
mod open_store;
mod project_source;
pub(super) mod rebuild;
mod registry_access;
pub(super) mod report;
mod requirements_reader;
pub(super) mod s2i;
pub(super) mod sbom;
pub(super) mod serve;
mod session;
mod shared_cache;
pub(super) mod verify;
pub(super) mod worker;
