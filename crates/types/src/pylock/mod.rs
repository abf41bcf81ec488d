//! `pylock.toml`: a [`Lock`](crate::Lock) as text, by the `pylock.toml` specification (PEP 751).
//!
//! [`write()`] turns a lock into a file that any installer of the specification can use, byte for
//! byte the same for the same lock; [`read`] takes it back without loss, and takes the files of
//! other tools as well. What the specification has no key for (or forbids, as the version of a
//! source tree) stands under `tool.wheelhouse`.
//!
//! Paths are computed from their names alone: this module never touches a filesystem, and never
//! evaluates a marker or judges a wheel's tags itself; the caller of [`read`] does both.

mod artifact;
mod path;
mod reader;
mod time;
mod toml_writer;
mod universal;
mod writer;

#[cfg(test)]
mod tests;

pub use artifact::{check_exclusive, version_of};
pub use reader::{LockSummary, Marker, read, read_builds, read_files, summarize};
pub use universal::write_shared;
pub use writer::{write, write_with_files};

/// The version of the file format that is written, and the only one that is known in full.
const LOCK_VERSION: &str = "1.0";
