//! Registries, as the OCI distribution specification describes them.
//!
//! 1. [`credentials`] finds what docker and podman know of a registry.
//! 2. [`client`] sends requests over [`http`]: retries, and answers to challenges ([`token`]).
//! 3. [`push`] and [`pull`] move images; [`referrers`] attaches to them.
//!
//! Credentials go to the registry, and to the server for tokens that it names; never to where
//! either redirects, and never over plain HTTP to another machine unless the user says so.

mod auth;
pub mod client;
pub mod credentials;
pub(super) mod http;
pub mod pull;
pub mod push;
pub mod referrers;

use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::retry::RetryNotices;

pub use client::Registry;
pub use credentials::Credentials;

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Access {
    pub credentials: Credentials,
    /// Certificates to trust instead of the system's, in PEM.
    pub certificates: Option<PathBuf>,
    /// Whether plain HTTP and any certificate will do.
    pub insecure: bool,
    /// How long a server may stay silent.
    pub timeout: Duration,
    /// How often a request that failed is sent again.
    pub retries: u32,
    pub notices: RetryNotices,
    pub proxy: Option<String>,
    pub offline: bool,
}
