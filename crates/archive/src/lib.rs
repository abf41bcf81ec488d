//! Archives as others made them: looks into wheels, unpacks source distributions, and reads local
//! source trees, trusting nothing of what they say.
//!
//! 1. [`wheel::inspect`] decides from the directory of a wheel whether it is what its name says.
//! 2. [`verify_contents`] compares every byte of a wheel with its `RECORD`.
//! 3. [`sdist::unpack`] makes a source tree of a source distribution, inside one directory.
//! 4. [`examine`] reads an archive within bounds before others unpack it.
//! 5. [`has_extension_modules`] tells from a source tree whether building it compiles something.
//! 6. [`source_tree::digest`] and [`source_tree::copy`] name and copy a local source tree; [`surroundings`] shows the copy what
//!    lies beside the tree.
//!
//! This module never builds, installs, fetches or runs anything, and never writes outside the
//! directory that it was given.

mod examine;
mod extension_modules;
mod git;
mod glibc;
mod ignore;
pub mod known_files;
pub mod limits;
pub mod metadata;
mod record;
mod record_check;
pub mod safe_path;
pub mod sdist;
pub mod source_tree;
pub mod surroundings;
pub mod tarball;
mod unpack_dir;
pub mod wheel;
mod zip_layout;
mod zip_reader;

pub use examine::examine;
pub use extension_modules::has_extension_modules;
pub use glibc::needed_glibc;
pub use limits::Limits;
pub use record::RecordDifference;
pub use record_check::verify_contents;
pub use sdist::{is_find_links_name, is_sdist_name, static_metadata, strip_sdist_suffix, unpack};
pub use wheel::{WheelInspection, WheelIrregularity, inspect};

#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "for tests"
)]
pub mod testing;
