//! Publication of a finished set of wheels: the output directory and its static index.
//!
//! [`DirectoryPublisher`] brings a directory to the state of a [`WheelhouseContents`], every wheel of which was verified
//! before; [`addition`] adds a single file to it. [`simple_index`] renders the pages of the index as plain bytes.
//!
//! This crate does not decide which wheels belong to a set, and neither fetches nor builds them.

#![warn(missing_docs)]

pub mod addition;
mod atomic_file;
pub mod directory;
mod fs_ops;
mod journal;
pub mod simple_index;
mod staging;
mod wheelhouse;

pub use addition::{AddOutcome, Addition};
pub use atomic_file::write_file;
pub use directory::DirectoryPublisher;
pub use journal::manifest_bytes;
pub use simple_index::IndexedWheel;
pub use staging::{is_companion, unmodified_distributions};
pub use wheelhouse::{FilePlacer, Published, WheelhouseContents};
