//! Archives and source trees from untrusted sources: inspects wheels, unpacks source distributions, and reads local source
//! trees.
//!
//! 1. [`inspect`] verifies from the directory of a wheel that it is what its file name says.
//! 2. [`verify_contents`] compares every byte of a wheel with its `RECORD`.
//! 3. [`canonicalize`] rewrites a built wheel so that its bytes depend on its files alone.
//! 4. [`compare_wheels`] names what differs between two builds of a wheel.
//! 5. [`unpack`] unpacks a source distribution into one directory.
//! 6. [`examine()`] reads an archive within limits before another program unpacks it.
//! 7. [`has_extension_modules`] guesses from a source tree whether its build compiles anything.
//! 8. [`documents()`] reads the metadata and the bills of materials of a wheel.
//! 9. [`source_tree::digest`] and [`source_tree::copy`] digest and copy a local source tree; [`surroundings`] shows the copy the
//!    files beside the tree.
//!
//! The crate does not build, install or fetch anything, and does not write outside the directories that callers pass.

#![warn(missing_docs)]

mod canonical;
mod documents;
mod examine;
mod extension_modules;
mod git;
mod glibc;
mod ignore;
pub mod known_files;
mod limits;
pub mod metadata;
mod record;
mod record_check;
pub mod safe_path;
mod sdist;
pub mod source_tree;
pub mod surroundings;
pub mod tarball;
mod unpack_dir;
mod wheel;
mod wheel_difference;
mod zip_layout;
mod zip_reader;

pub use canonical::canonicalize;
pub use documents::{SbomFile, WheelDocuments, documents};
pub use examine::examine;
pub use extension_modules::has_extension_modules;
pub use glibc::needed_glibc;
pub use limits::Limits;
pub use record::RecordDifference;
pub use record_check::verify_contents;
pub use sdist::{
    UnpackedSdist, is_find_links_name, is_sdist_name, static_metadata, strip_sdist_suffix, unpack,
};
pub use wheel::{WheelInspection, WheelIrregularity, inspect};
pub use wheel_difference::{Cause, WheelDifference, compare_wheels};

#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "for tests"
)]
pub mod testing;
