//! Clients of registries (OCI distribution specification).
//!
//! 1. [`credentials`] reads the credential files and helpers of docker and podman.
//! 2. [`client`] sends requests over HTTP, with retries and authentication.
//! 3. [`push`] and [`pull`] transfer images; [`referrers`] attaches documents to them.
//! 4. [`repository`] lists the tags of a repository and deletes its documents.
//!
//! Credentials are sent to the registry and to its token server. They are never sent to the target of a redirect, nor over
//! plain HTTP to another machine unless the user allows it.

pub mod access;
mod auth;
pub mod client;
pub mod credentials;
pub mod fuzzing;
pub(super) mod http;
pub mod pull;
pub mod push;
pub mod referrers;
pub mod repository;

pub use access::Access;
pub use client::{FileTooLarge, Registry, SIZE_LIMIT_HINT};
pub use credentials::Credentials;
pub use http::client_with;
