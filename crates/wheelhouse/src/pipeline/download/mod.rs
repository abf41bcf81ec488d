//! Downloads everything that installing and building need later, for any number of targets.
//!
//! 1. Each target is resolved on its own, with its markers and tags; all at the same time ([`resolve`]).
//! 2. For each target, the files of its lock are downloaded as they were published, with the build closure
//!    of each sdist among them; files that several targets need are downloaded once ([`collect`]).
//! 3. All files are published into one directory ([`publish`]); or the sdists are built, and each target gets a wheelhouse of
//!    its own ([`build`]).
//!
//! The only wheels that are built are those that provide metadata of others, and those that turn out to
//! fit every platform.

mod build;
mod collect;
mod failures;
mod plan;
mod publish;
mod resolve;
mod run;

pub use resolve::SdistSelection;
pub use run::{DownloadJob, download, preview};
