//! Reads the entries of a location and the records among them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;

use futures::{StreamExt as _, TryStreamExt as _};
use wheelhouse_attest::{Envelope, VerifyingKey};
use wheelhouse_shared_cache::{Entry, EntryName, Location, decode_record, is_wrong_entry};
use wheelhouse_store::{BuildKey, BuildRecord};
use wheelhouse_types::{Error, Result, Sha256, WheelFilename};

/// The number of records that are read at the same time.
const CONCURRENCY: usize = 8;

/// The contents of a location.
pub(super) struct Contents {
    /// All entries.
    pub(super) entries: Vec<Entry>,
    /// The records, sorted by file name.
    pub(super) records: Vec<ListedRecord>,
    /// The keys of records that cannot be parsed.
    pub(super) unreadable: Vec<BuildKey>,
}

/// A record at a location.
pub(super) struct ListedRecord {
    pub(super) key: BuildKey,
    pub(super) entry: Entry,
    pub(super) record: BuildRecord,
    pub(super) trust: Trust,
}

/// The signature of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Unsigned,
    /// Signed; no key was named to verify it.
    Signed,
    /// Signed by the named key.
    Verified,
    /// Signed, but not by the named key.
    OtherKey,
}

impl Trust {
    fn of(record: &[u8], name: &BuildKey, key: Option<&VerifyingKey>) -> Self {
        match key {
            _ if Envelope::parse(record).is_err() => Self::Unsigned,
            None => Self::Signed,
            Some(_) if decode_record(record, name, key).is_ok() => Self::Verified,
            Some(_) => Self::OtherKey,
        }
    }

    pub(super) fn is_signed(self) -> bool {
        self != Self::Unsigned
    }

    /// Returns whether the named key has signed the record, if one was named.
    pub(super) fn is_verified(self) -> Option<bool> {
        match self {
            Self::Unsigned | Self::Signed => None,
            Self::Verified => Some(true),
            Self::OtherKey => Some(false),
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unsigned => "unsigned",
            Self::Signed => "signed",
            Self::Verified => "verified",
            Self::OtherKey => "signed by another key",
        })
    }
}

impl Contents {
    /// Lists the entries of `location` and reads all records. An entry that disappears meanwhile is left out.
    ///
    /// # Errors
    /// Fails if the location cannot be listed or read.
    pub(super) async fn read(location: &dyn Location, key: Option<&VerifyingKey>) -> Result<Self> {
        let entries = location.entries().try_collect().await?;
        Self::of(entries, location, key).await
    }

    /// Reads the records among `entries`.
    ///
    /// # Errors
    /// Fails if the location cannot be read.
    pub(super) async fn of(
        entries: Vec<Entry>,
        location: &dyn Location,
        key: Option<&VerifyingKey>,
    ) -> Result<Self> {
        let named = entries.iter().filter_map(|entry| match entry.name {
            EntryName::Record(key) => Some((key, entry)),
            EntryName::File(_) => None,
        });
        let read = futures::stream::iter(named)
            .map(async |(name, entry)| {
                match location.record(&name).await {
                    // It cannot be parsed either.
                    Err(error) if is_wrong_entry(&error) => Ok((name, entry, Some(Vec::new()))),
                    record => Ok::<_, Error>((name, entry, record?)),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (name, entry, bytes) in read {
            let Some(bytes) = bytes else { continue };
            match decode_record(&bytes, &name, None) {
                Ok(record) => records.push(ListedRecord {
                    key: name,
                    entry: entry.clone(),
                    record,
                    trust: Trust::of(&bytes, &name, key),
                }),
                Err(_) => unreadable.push(name),
            }
        }
        records.sort_by(|one, other| {
            let key = |listed: &ListedRecord| (listed.record.filename.clone(), listed.key);
            key(one).cmp(&key(other))
        });
        unreadable.sort();
        Ok(Self {
            entries,
            records,
            unreadable,
        })
    }

    /// Returns the entries that are files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Entry> + Clone {
        let entries = self.entries.iter();
        entries.filter(|entry| matches!(entry.name, EntryName::File(_)))
    }

    /// Returns the wheel of each record.
    pub(super) fn wheels(&self) -> BTreeMap<BuildKey, Sha256> {
        let records = self.records.iter();
        records
            .map(|listed| (listed.key, listed.record.sha256))
            .collect()
    }
}

impl ListedRecord {
    /// Returns the package, `name==version`.
    pub(super) fn package(&self) -> String {
        match WheelFilename::from_str(&self.record.filename) {
            Ok(filename) => format!("{}=={}", filename.name, filename.version),
            Err(_) => self.record.filename.clone(),
        }
    }

    /// Returns the platform tags of the file name, such as `manylinux_2_36_x86_64` or `any`.
    pub(super) fn platform(&self) -> &str {
        let stem = self.record.filename.trim_end_matches(".whl");
        stem.rsplit('-').next().unwrap_or(stem)
    }
}
