//! Tests of the store, by what a user of it would try; here is what they share.

mod building;
mod concurrency;
mod disks;
mod entries;
mod gc;
mod link;
mod writing;

use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wheelhouse_types::Sha256;

use crate::{ExpectedFile, Lookup, Store, StoredFile};

/// A store in a directory of its own, and that directory.
fn new_store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("cache")).unwrap();
    (directory, store)
}

fn add(store: &Store, bytes: &[u8]) -> StoredFile {
    let mut writer = store.writer(ExpectedFile::any("example")).unwrap();
    writer.write(bytes).unwrap();
    writer.finish().unwrap()
}

fn find(store: &Store, bytes: &[u8]) -> Lookup {
    store.find(&Sha256::of(bytes)).unwrap()
}

/// The paths of all files in a bucket, `files-v1` for one.
fn files(store: &Store, bucket: &str) -> Vec<PathBuf> {
    walkdir::WalkDir::new(store.root().join(bucket))
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn days_ago(days: u64) -> SystemTime {
    SystemTime::now() - Duration::from_hours(24 * days)
}

/// Makes a file look as if it was last read at `time`.
fn set_accessed(path: &Path, time: SystemTime) {
    let times = FileTimes::new().set_accessed(time);
    std::fs::File::open(path).unwrap().set_times(times).unwrap();
}

fn set_modified(path: &Path, time: SystemTime) {
    let times = FileTimes::new().set_modified(time);
    std::fs::File::open(path).unwrap().set_times(times).unwrap();
}
