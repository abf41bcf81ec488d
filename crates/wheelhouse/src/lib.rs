//! `wheelhouse`: from what a Python application requires to a complete, verified wheelhouse.
//!
//! 1. [`cli`] parses the command line; [`config`] joins it with pip's configuration and the
//!    requirements files into a [`Request`](wheelhouse_types::Request).
//! 2. [`pipeline`] has the engine resolve the request into a lock, plans it against the [`store`],
//!    and fetches or builds each wheel; [`archive`] reads and unpacks what comes in.
//! 3. [`publish`] turns the wheels into a directory with a manifest and a static index.
//! 4. [`oci`] turns the directory into an image, and an image into the directory.
//! 5. [`verify`] tells whether a directory is what it should be, and would install.
//! 6. [`s2i`] does all of this inside a Source-to-Image builder image.

pub mod cli;
pub mod pipeline;
pub mod s2i;
pub mod verify;
