//! The interface of every location: records by build key, files by digest, a list, and removal; and the options of
//! connections to one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper::body::Bytes;
use wheelhouse_oci::registry::Access;
use wheelhouse_store::BuildKey;
use wheelhouse_types::{Error, Kind, Result, Sha256};

/// The maximum size of a record, in bytes. Records have some KiB; a build with 1,000 requirements has about 300 KiB.
pub const MAX_RECORD: u64 = 1 << 20;

/// The options of connections to locations.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The options of connections to registries. Time-out, certificates, proxy and `offline` are those of all locations.
    pub access: Access,
    /// The environment variables that configure buckets, such as `AWS_ENDPOINT_URL` and `GOOGLE_APPLICATION_CREDENTIALS`.
    /// Others are ignored.
    pub variables: BTreeMap<String, String>,
}

/// A place that holds a shared cache.
///
/// An implementation transfers bytes. It neither verifies digests nor parses records nor limits the time: its caller does.
/// It reports an entry that does not exist as `None`, an entry that is wrong as [`wrong_entry`], and everything else that
/// goes wrong as another error.
pub trait Location: Send + Sync {
    /// Reads the record of `key`, of which at most [`MAX_RECORD`] bytes are accepted.
    fn record<'a>(&'a self, key: &'a BuildKey) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Opens the file that is stored under `sha256`, which may have other bytes.
    fn file<'a>(&'a self, sha256: &'a Sha256) -> BoxFuture<'a, Result<Option<RemoteFile>>>;

    /// Writes the local file `path`, whose digest and size are those of `file`, unless the location has an entry of that
    /// digest and size. Writes it in any case if `replace` is set, because the entry was found to be wrong. The cause of the
    /// error is [`FileTooLarge`](wheelhouse_oci::registry::FileTooLarge) if the server states that.
    fn write_file<'a>(
        &'a self,
        file: FileId,
        path: &'a Path,
        replace: bool,
    ) -> BoxFuture<'a, Result<()>>;

    /// Writes the record of `key`, after its wheel `file` was written.
    fn write_record<'a>(
        &'a self,
        key: &'a BuildKey,
        record: Vec<u8>,
        file: FileId,
    ) -> BoxFuture<'a, Result<()>>;

    /// Lists all entries, in any order. Other files at the location are left out.
    fn entries(&self) -> BoxStream<'_, Result<Entry>>;

    /// Removes an entry, if it exists.
    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<()>>;
}

/// Creates the error for an entry that exists but cannot be used. It says nothing about other entries.
#[must_use]
pub fn wrong_entry(cause: impl Into<String>) -> Error {
    Error::new(Kind::Verification, cause)
}

/// Returns whether `error` concerns one entry only, rather than the location.
#[must_use]
pub fn is_wrong_entry(error: &Error) -> bool {
    error.kind() == Kind::Verification
}

/// The digest and the size (bytes) of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The digest.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

/// A file at a location that is being read.
pub struct RemoteFile {
    /// The size in bytes, if the location states it.
    pub size: Option<u64>,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

/// The name of an entry. Displays as its path below the location: `ac/KEY` or `cas/SHA256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryName {
    /// The record of a build.
    Record(BuildKey),
    /// A file.
    File(Sha256),
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(key) => write!(formatter, "ac/{key}"),
            Self::File(sha256) => write!(formatter, "cas/{sha256}"),
        }
    }
}

/// A path that is not the name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEntry;

impl FromStr for EntryName {
    type Err = NotAnEntry;

    fn from_str(path: &str) -> Result<Self, NotAnEntry> {
        let (kind, name) = path.split_once('/').ok_or(NotAnEntry)?;
        match kind {
            "ac" => name.parse().map(Self::Record).map_err(|_| NotAnEntry),
            "cas" => name.parse().map(Self::File).map_err(|_| NotAnEntry),
            _ => Err(NotAnEntry),
        }
    }
}

/// An entry in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: EntryName,
    /// The size in bytes.
    pub size: u64,
    /// The time at which it was written, if the location states it.
    pub modified: Option<SystemTime>,
}
