//! Reaching servers, be they indexes or registries.
//!
//! - [`tls_with`]: TLS that trusts the certificates in a file.
//! - [`Unreachable`]: the cause, in one sentence, of a request without a response.
//!
//! Never sends a request.

#![warn(missing_docs)]

mod certificates;
mod unreachable;

pub use certificates::tls_with;
pub use unreachable::{Peer, Unreachable, error_chain};
