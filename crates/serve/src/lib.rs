//! Serves wheelhouses over HTTP: a package index for installers and pages for people.
//!
//! Implements the simple repository API (PEP 503, 691 and their successors) with the pages of
//! [`wheelhouse_publish::simple_index`]: a server and a static index have the same bytes. Only files that belong to a
//! wheelhouse are served, and links are not followed.
//!
//! [`Server::new`] reads the wheelhouses, [`Server::run`] serves them. The crate neither prints nor reads the environment.

#![warn(missing_docs)]

mod access_log;
mod auth;
mod fallback;
mod incoming;
mod index;
mod listener;
mod metrics;
mod negotiation;
mod observe;
mod page;
mod respond;
mod router;
mod scope;
mod sendfile;
mod served_file;
mod server;
mod snapshot;
mod tls;
mod upload;
mod web;
mod wheelhouse;

pub use access_log::AccessRecord;
pub use auth::Users;
pub use fallback::FallbackOptions;
pub use listener::{Bind, Listener};
pub use observe::AccessLog;
pub use scope::Filter;
pub use server::{ServeOptions, ServedDirectory, Server, UploadOptions, View, safe_segment};
pub use tls::server_config;
pub use upload::DEFAULT_MAX_SIZE;
pub use web::Verifier;
pub use wheelhouse_site::Verification;
