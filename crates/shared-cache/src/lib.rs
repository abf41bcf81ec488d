//! A build cache that machines share: built wheels by the inputs of their builds, and files by digest, in a registry, a
//! bucket, an HTTP server or a directory.
//!
//! 1. [`connect()`] opens a [`Location`]: a place that holds records by build key and files by digest, and verifies nothing.
//! 2. [`encode_record`] and [`decode_record`] write, sign and verify the records of builds.
//! 3. [`SharedCaches`] are the locations of a run: it limits the time of every request, verifies everything, and never fails.
//! 4. [`expired`] selects the entries that can be removed.
//!
//! The layout is the same everywhere: `ac/KEY` has the record of a build, and `cas/SHA256` the bytes of a file.

#![warn(missing_docs)]

mod connect;
mod expiry;
mod location;
mod objects;
mod record;
mod registry;
mod run_location;
mod shared;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use connect::connect;
pub use expiry::{ExpiryPolicy, GRACE, expired};
pub use location::{
    ConnectOptions, Entry, EntryName, FileId, Location, MAX_RECORD, NotAnEntry, RemoteFile,
    is_wrong_entry, wrong_entry,
};
pub use record::{
    InvalidRecord, RECORD_SCHEMA, RECORD_TYPE, decode_record, encode_record, shared_key,
};
pub use shared::{SharedBuild, SharedCaches, SharedOptions};
