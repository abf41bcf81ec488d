//! Selects the entries of a location that are old, too many, or without a record.
//!
//! A writer writes a file before its record, so a file without a record may be about to get one. Such files are kept for
//! [`GRACE`].

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use wheelhouse_store::BuildKey;
use wheelhouse_types::Sha256;

use crate::location::{Entry, EntryName};

/// The time for which a file without a record is kept.
pub const GRACE: Duration = Duration::from_hours(1);

/// The entries to remove. Without limits, there are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryPolicy {
    /// Selects entries that were written longer ago. A file stays as long as a record names it.
    pub older_than: Option<Duration>,
    /// Selects the oldest entries until the others have at most this size in bytes.
    pub max_bytes: Option<u64>,
    /// Selects the files that no record names.
    pub unreferenced: bool,
}

/// Returns the entries that `policy` selects at the time `now`: the records first, so that no record names a file that is
/// already removed. `files` has the wheel of each record that can be read.
#[must_use]
pub fn expired(
    entries: &[Entry],
    files: &BTreeMap<BuildKey, Sha256>,
    policy: &ExpiryPolicy,
    now: SystemTime,
) -> Vec<Entry> {
    let mut selection = Selection {
        files,
        by_digest: entries
            .iter()
            .filter_map(|entry| match entry.name {
                EntryName::File(sha256) => Some((sha256, entry)),
                EntryName::Record(_) => None,
            })
            .collect(),
        references: BTreeMap::new(),
        records: Vec::new(),
        removed_files: Vec::new(),
        total: entries.iter().map(|entry| entry.size).sum(),
    };
    for entry in entries {
        if let Some(sha256) = selection.wheel(entry) {
            *selection.references.entry(sha256).or_default() += 1;
        }
    }
    // An entry whose time is unknown never becomes too old, but is the first to go if there are too many.
    let is_older = |entry: &Entry, limit: Duration| {
        let age = entry
            .modified
            .and_then(|modified| now.duration_since(modified).ok());
        age.is_some_and(|age| age > limit)
    };
    let (mut candidates, loose): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .filter(|entry| !selection.is_referenced(entry))
        .partition(|entry| matches!(entry.name, EntryName::Record(_)));
    for entry in loose {
        let has_no_record = policy.unreferenced && is_older(entry, GRACE);
        if has_no_record
            || policy
                .older_than
                .is_some_and(|limit| is_older(entry, limit))
        {
            selection.remove(entry);
        } else if entry.modified.is_none() || is_older(entry, GRACE) {
            candidates.push(entry);
        }
    }
    candidates.sort_by_key(|entry| (entry.modified, entry.name));
    for entry in candidates {
        let is_old = match (entry.name, policy.older_than) {
            (EntryName::Record(_), Some(limit)) => is_older(entry, limit),
            _ => false,
        };
        if is_old
            || policy
                .max_bytes
                .is_some_and(|limit| selection.total > limit)
        {
            selection.remove(entry);
        }
    }
    let Selection {
        mut records,
        removed_files,
        ..
    } = selection;
    records.extend(removed_files);
    records.into_iter().cloned().collect()
}

/// The entries that are selected so far.
struct Selection<'a> {
    files: &'a BTreeMap<BuildKey, Sha256>,
    by_digest: BTreeMap<Sha256, &'a Entry>,
    /// The number of records that name a file and are not selected.
    references: BTreeMap<Sha256, usize>,
    records: Vec<&'a Entry>,
    removed_files: Vec<&'a Entry>,
    /// The size of the entries that are not selected, in bytes.
    total: u64,
}

impl<'a> Selection<'a> {
    fn wheel(&self, entry: &Entry) -> Option<Sha256> {
        match entry.name {
            EntryName::Record(key) => self.files.get(&key).copied(),
            EntryName::File(_) => None,
        }
    }

    fn is_referenced(&self, entry: &Entry) -> bool {
        matches!(entry.name, EntryName::File(sha256) if self.references.contains_key(&sha256))
    }

    /// Selects an entry, and the wheel of a record if no other record names it.
    fn remove(&mut self, entry: &'a Entry) {
        self.total -= entry.size;
        let EntryName::Record(_) = entry.name else {
            self.removed_files.push(entry);
            return;
        };
        self.records.push(entry);
        let Some(sha256) = self.wheel(entry) else {
            return;
        };
        let count = self.references.entry(sha256).or_default();
        *count = count.saturating_sub(1);
        if *count == 0
            && let Some(file) = self.by_digest.remove(&sha256)
        {
            self.total -= file.size;
            self.removed_files.push(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn key(name: &str) -> BuildKey {
        BuildKey::new([("name", name)])
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + HOUR * 10_000
    }

    fn entry(name: EntryName, size: u64, hours: u32) -> Entry {
        Entry {
            name,
            size,
            modified: Some(now() - HOUR * hours),
        }
    }

    /// Creates the record of `name` and its wheel, and a file without a record.
    struct Entries {
        entries: Vec<Entry>,
        files: BTreeMap<BuildKey, Sha256>,
    }

    impl Entries {
        fn new() -> Self {
            Self {
                entries: Vec::new(),
                files: BTreeMap::new(),
            }
        }

        fn record(mut self, name: &str, wheel: &str, hours: u32) -> Self {
            self.entries
                .push(entry(EntryName::Record(key(name)), 1, hours));
            self.files.insert(key(name), Sha256::of(wheel.as_bytes()));
            self
        }

        fn file(mut self, name: &str, hours: u32) -> Self {
            let name = EntryName::File(Sha256::of(name.as_bytes()));
            self.entries.push(entry(name, 100, hours));
            self
        }

        #[track_caller]
        fn assert_expired(&self, policy: &ExpiryPolicy, expected: &[&str]) {
            let named = |text: &&str| match text.split_once(' ').unwrap() {
                ("record", name) => EntryName::Record(key(name)),
                (_, name) => EntryName::File(Sha256::of(name.as_bytes())),
            };
            let found = expired(&self.entries, &self.files, policy, now());
            let found: Vec<_> = found.iter().map(|entry| entry.name).collect();
            let expected: Vec<_> = expected.iter().map(named).collect();
            assert_eq!(found, expected);
        }
    }

    fn older_than(hours: u32) -> ExpiryPolicy {
        ExpiryPolicy {
            older_than: Some(HOUR * hours),
            ..ExpiryPolicy::default()
        }
    }

    fn at_most(bytes: u64) -> ExpiryPolicy {
        ExpiryPolicy {
            max_bytes: Some(bytes),
            ..ExpiryPolicy::default()
        }
    }

    #[test]
    fn nothing_expires_without_policy() {
        let entries = Entries::new().record("a", "x", 900).file("x", 900);
        entries.assert_expired(&ExpiryPolicy::default(), &[]);
    }

    #[test]
    fn file_stays_while_record_names_it() {
        let entries = Entries::new()
            .record("old", "x", 50)
            .record("new", "x", 5)
            .record("gone", "y", 51)
            .file("x", 50)
            .file("y", 5);
        entries.assert_expired(&older_than(24), &["record gone", "record old", "file y"]);
    }

    #[test]
    fn old_files_without_record_expire() {
        let entries = Entries::new().file("sdist", 50).file("recent", 5);
        entries.assert_expired(&older_than(24), &["file sdist"]);
    }

    #[test]
    fn oldest_entries_make_room() {
        let entries = Entries::new()
            .record("a", "x", 30)
            .file("x", 30)
            .record("b", "y", 10)
            .file("y", 10)
            .file("sdist", 20);
        entries.assert_expired(&at_most(302), &[]);
        entries.assert_expired(&at_most(301), &["record a", "file x"]);
        entries.assert_expired(&at_most(150), &["record a", "file x", "file sdist"]);
        entries.assert_expired(
            &at_most(0),
            &["record a", "record b", "file x", "file sdist", "file y"],
        );
    }

    #[test]
    fn shared_file_makes_room_with_its_last_record() {
        let entries = Entries::new()
            .record("a", "x", 30)
            .record("b", "x", 20)
            .file("x", 30)
            .record("c", "y", 10)
            .file("y", 10);
        entries.assert_expired(&at_most(150), &["record a", "record b", "file x"]);
    }

    #[test]
    fn file_that_may_get_a_record_is_kept() {
        let policy = ExpiryPolicy {
            unreferenced: true,
            ..at_most(0)
        };
        let entries = Entries::new().file("old", 2).file("recent", 0);
        entries.assert_expired(&policy, &["file old"]);
    }

    #[test]
    fn entries_without_time_do_not_become_old() {
        let mut entries = Entries::new().record("a", "x", 0).file("x", 0);
        for entry in &mut entries.entries {
            entry.modified = None;
        }
        entries.assert_expired(&older_than(1), &[]);
        entries.assert_expired(&at_most(0), &["record a", "file x"]);
    }
}
