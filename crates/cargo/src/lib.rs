//! The crates that Rust sources need, so that cargo builds them without a network.
//!
//! 1. [`RustSource`] finds the `Cargo.lock` files of a source; [`lockfile`] reads the crates that they pin.
//! 2. [`CargoConfig`] says where each crate comes from, by the user's own configuration of cargo, and [`RegistryConfig`] states
//!    the address of its file. Crates of Git repositories are packed by [`git_package::pack`].
//! 3. [`CrateCache`] unpacks the files, each once.
//! 4. [`CargoHome`] offers them to cargo as vendored sources.
//!
//! This crate does not use the network: callers download files and check out repositories. Only [`generate_lock`] runs cargo.

#![warn(missing_docs)]

mod cargo_home;
mod config;
mod crate_cache;
pub mod git_package;
mod local_registry;
pub mod lockfile;
mod registry;
mod resolve;
mod rust_source;
mod rust_version;
mod toolchain;

pub use cargo_home::{CargoHome, download_path, source_key};
pub use config::{CargoConfig, CrateOrigin, Token};
pub use crate_cache::{CrateCache, CrateFile};
pub use local_registry::local_registry;
pub use registry::{CONFIG_NAME, CONFIG_SIZE, RegistryConfig};
pub use resolve::{CrateNetwork, generate_lock};
pub use rust_source::{RustSource, read_lock};
pub use rust_version::{
    InvalidRustVersion, RustVersion, TOOLCHAIN_VARIABLE, installed_rust, rust_sysroot,
};
