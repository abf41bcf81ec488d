//! The store: a content-addressed cache of wheels and sdists below one root directory, shared by all runs.
//!
//! ```text
//! CACHEDIR.TAG                marks the root as a cache of wheelhouse
//! files-v1/<aa>/<sha256>      wheels and sdists, named by the SHA-256 of their bytes
//! built-v1/<key>.json         the wheel that a build produced, by the inputs of the build
//! metadata-v1/<sha256>        the METADATA of a wheel, after its own digest
//! layers-v1/<sha256>          the description of an image layer by its recipe, after its own digest
//! locks-v1/<sha256>           empty: a lock that was written with this store, by the digest of its text
//! surroundings-v1/<sha256>    the files beside a local tree that its builds read, by the path of the tree
//! tree-files-v1/<sha256>      the digests of the files of a local tree, by the path of the tree
//! examined-v1/<sha256>        empty: an archive that is within the limits, by its digest
//! tmp/                        unfinished files
//! builds/, trees/, ...        directories of other crates
//! .lock                       held shared while a store is open, and exclusively by garbage collection
//! ```
//!
//! A file gets its final name when it is complete, digested and flushed to the disk, and has the modification time
//! [`STORE_MTIME`] from then on. A process digests a file before it first uses or links it (see [`Store::find`]). It only
//! examines the times of the files that an unchanged wheelhouse has ([`Store::trusting`]), because writing to a file changes
//! its time. Writers need no lock, because names are digests and renaming is atomic.
//!
//! A killed process leaves unfinished files. The last process to close the store removes them: while it holds the lock
//! exclusively, no other process can use them.
//!
//! The crate does not fetch or build anything, does not choose its root, and does not follow links out of it.

#![warn(missing_docs)]

mod built_wheels;
mod entry;
mod error;
mod expected;
mod gc;
mod layout;
mod link;
mod sidecar;
mod store;
mod temporary;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use built_wheels::{BuildKey, BuildRecord};
pub use entry::{Lookup, StoredFile};
pub use expected::ExpectedFile;
pub use gc::{GarbageCollector, PrunePolicy, Removal, StoreUsage};
pub use layout::{STORE_MTIME, TEMPORARY_PREFIX};
pub use link::{LinkMode, LinkOptions, LinkOutcome, is_unmodified};
pub use store::Store;
pub use verify::StoreVerification;
pub use writer::FileWriter;
