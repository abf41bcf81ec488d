//! `wheelhouse` turns the requirements of a Python application into a complete, verified wheelhouse.
//!
//! 1. [`cli`] parses the command line, and merges it with pip's configuration and the requirements
//!    files into a [`Request`](wheelhouse_types::Request).
//! 2. [`pipeline`] resolves the request into a lock, plans it against the cache, fetches or builds
//!    each wheel, and publishes a directory with a manifest and a static index.
//! 3. [`verify`] checks that a directory is intact, complete and installable.
//! 4. [`s2i`] implements a Source-to-Image builder image.

#![warn(missing_docs)]

pub mod cli;
pub mod pipeline;
pub mod s2i;
pub mod verify;
