//! Archives as others made them: looks into wheels, unpacks source distributions, and reads local
//! source trees, trusting nothing of what they say.
//!
//! 1. [`wheel::inspect`] decides from the directory of a wheel whether it is what its name says.
//! 2. [`contents::verify_contents`] compares every byte of a wheel with its `RECORD`.
//! 3. [`sdist::unpack`] makes a source tree of a source distribution, inside one directory.
//! 4. [`examine`] reads an archive within bounds before others unpack it.
//! 5. [`compiled::compiles`] tells from a source tree whether building it compiles something.
//! 6. [`tree::digest`] and [`tree::copy`] name and copy a local source tree; [`surroundings`] shows the copy what
//!    lies beside the tree.
//!
//! This module never builds, installs, fetches or runs anything, and never writes outside the
//! directory that it was given.

pub mod compiled;
pub mod contents;
mod destination;
pub mod entry;
mod examine;
mod git;
mod glibc;
pub mod known_files;
mod left_out;
pub mod limits;
pub mod metadata;
mod record;
pub mod sdist;
pub mod surroundings;
pub mod tarball;
pub mod tree;
pub mod wheel;
mod zip_layout;
mod zipped;

pub use contents::verify_contents;
pub use examine::examine;
pub use glibc::needed_glibc;
pub use limits::Limits;
pub use sdist::{is_sdist_name, static_metadata, unpack};
pub use wheel::{WheelInspection, inspect};

#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "for tests"
)]
pub mod testing;
