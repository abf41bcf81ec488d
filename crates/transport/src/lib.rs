//! How servers are reached, be they indexes or registries.
//!
//! - [`certificates`]: TLS that trusts the certificates in a file.
//! - [`unreachable`]: why a server was not reached, in one sentence.
//!
//! Never sends a request.

mod certificates;
mod unreachable;

pub use certificates::tls_with;
pub use unreachable::{Peer, Unreachable};
