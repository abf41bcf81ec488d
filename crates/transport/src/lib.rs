//! Reaching servers, be they indexes or registries.
//!
//! - [`ClientOptions`]: HTTP clients with these options.
//! - [`tls`]: TLS that trusts the certificates of the system or of a file.
//! - [`Unreachable`]: the cause, in one sentence, of a request without a response.
//!
//! Never sends a request.

#![warn(missing_docs)]

mod certificates;
mod client;
mod unreachable;

pub use certificates::tls;
pub use client::{ClientOptions, secure_redirects};
pub use unreachable::{Peer, Unreachable, error_chain};
