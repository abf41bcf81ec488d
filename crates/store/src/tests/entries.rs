//! Lookup of entries, and detection of changes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wheelhouse_types::Sha256;

use super::{add, days_ago, files, find, new_store, set_accessed, set_modified};
use crate::entry::{has_store_mtime, store_mtime};
use crate::store::EntryState;
use crate::{ExpectedFile, LinkOptions, Lookup, Store, StoredFile};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_back_any_content_written_in_any_chunks(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20),
        repeats in 1_usize..40,
    ) {
        let (_directory, store) = new_store();
        let bytes = pieces.concat().repeat(repeats);
        let mut writer = store.writer(ExpectedFile::any("example")).unwrap();
        for _ in 0..repeats {
            for piece in &pieces {
                writer.write(piece).unwrap();
            }
        }
        prop_assert_eq!(writer.len(), bytes.len() as u64);
        let stored = writer.finish().unwrap();
        prop_assert_eq!(stored.sha256, Sha256::of(&bytes));
        prop_assert_eq!(stored.size, bytes.len() as u64);
        prop_assert_eq!(find(&store, &bytes), Lookup::Hit(stored.clone()));
        prop_assert_eq!(std::fs::read(&stored.path).unwrap(), bytes);
    }

    #[test]
    fn detects_truncation_and_flipped_bits(
        bytes in prop::collection::vec(any::<u8>(), 1..3000),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<bool>(),
    ) {
        let (_directory, store) = new_store();
        let stored = add(&store, &bytes);
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        if cut {
            changed.truncate(at);
        } else {
            changed[at] ^= 1 << bit;
        }
        std::fs::write(&stored.path, changed).unwrap();
        prop_assert_eq!(find(&store, &bytes), Lookup::Corrupt(stored.path.clone()));
        prop_assert!(!stored.path.exists());
        prop_assert_eq!(find(&store, &bytes), Lookup::Miss);
        // The entry can be written again.
        prop_assert_eq!(add(&store, &bytes), stored.clone());
        prop_assert_eq!(find(&store, &bytes), Lookup::Hit(stored));
    }
}

#[test]
fn entry_path_follows_layout() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let digest = Sha256::of(b"wheel").to_string();
    let path = store
        .root()
        .join("files-v1")
        .join(&digest[..2])
        .join(&digest);
    assert_eq!(stored.path, path);
    assert_eq!(files(&store, "tmp"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn entry_has_default_permissions_and_constant_time() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let other = directory.path().join("other");
    std::fs::write(&other, "").unwrap();
    let usual = std::fs::metadata(other).unwrap().permissions().mode() & 0o644;
    let metadata = std::fs::metadata(&stored.path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, usual);
    assert!(has_store_mtime(&metadata));
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (315_532_802, 0));
}

#[test]
fn empty_entry_is_always_read() {
    let (_directory, store) = new_store();
    assert_eq!(add(&store, b"").size, 0);
    assert!(matches!(find(&store, b""), Lookup::Hit(_)));
    let stored = add(&store, b"wheel");
    let file = std::fs::File::create(&stored.path).unwrap();
    file.set_modified(store_mtime()).unwrap();
    assert_eq!(find(&store, b"wheel"), Lookup::Corrupt(stored.path));
}

#[test]
fn trusts_touched_entry_after_reading() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    set_modified(&stored.path, days_ago(1));
    assert_eq!(find(&store, b"wheel"), Lookup::Hit(stored.clone()));
    assert!(has_store_mtime(&std::fs::metadata(&stored.path).unwrap()));
}

#[test]
fn removes_link_in_place_of_entry() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let outside = directory.path().join("outside");
    std::fs::rename(&stored.path, &outside).unwrap();
    symlink(&outside, &stored.path).unwrap();
    assert_eq!(find(&store, b"wheel"), Lookup::Corrupt(stored.path));
    assert_eq!(std::fs::read(outside).unwrap(), b"wheel");
}

#[test]
fn does_not_remove_concurrently_replaced_entry() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    std::fs::write(&stored.path, "bad").unwrap();
    let judged = std::fs::metadata(&stored.path).unwrap();
    let again = add(&store, b"wheel");
    let found = store
        .discard(&stored.sha256, stored.path, &judged, "test")
        .unwrap();
    assert_eq!(found, Lookup::Hit(again));
}

#[test]
fn recording_use_keeps_entry_trusted() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    set_accessed(&stored.path, days_ago(3));
    find(&store, b"wheel");
    let metadata = std::fs::metadata(&stored.path).unwrap();
    assert!(metadata.accessed().unwrap() > days_ago(1));
    assert!(has_store_mtime(&metadata));
}

/// Changes a byte and restores the modification time, like a program that knows the store.
fn change_preserving_time(stored: &StoredFile) {
    std::fs::write(&stored.path, "wheeL").unwrap();
    set_modified(&stored.path, store_mtime());
}

#[test]
fn detects_change_with_restored_time() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    change_preserving_time(&stored);
    assert_eq!(find(&store, b"wheel"), Lookup::Corrupt(stored.path.clone()));
    add(&store, b"wheel");
    let other = Store::open(store.root()).unwrap();
    change_preserving_time(&stored);
    assert_eq!(find(&other, b"wheel"), Lookup::Corrupt(stored.path));
}

#[cfg(target_os = "linux")]
#[test]
fn threads_digest_an_entry_once() {
    /// Returns the bytes that this process has read so far (`proc_pid_io(5)`).
    fn bytes_read() -> u64 {
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        read.unwrap().parse().unwrap()
    }
    const SIZE: u64 = 64 << 20;
    let (_directory, store) = new_store();
    let stored = add(&store, &vec![7; usize::try_from(SIZE).unwrap()]);
    let other = Store::open(store.root()).unwrap();
    let before = bytes_read();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(other.find(&stored.sha256).unwrap().hit().is_some()));
        }
    });
    let read = bytes_read() - before;
    assert!((SIZE..2 * SIZE).contains(&read), "{read} bytes were read");
}

#[test]
fn digests_untrusted_entry_once() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let metadata = std::fs::metadata(&stored.path).unwrap();
    let is_verified = |store: &Store| {
        let verified = store.verified(&stored.sha256);
        let state = *verified.lock().unwrap();
        state == Some(EntryState::new(&metadata))
    };
    assert!(is_verified(&store));
    let other = Store::open(store.root()).unwrap();
    assert!(!is_verified(&other));
    find(&other, b"wheel");
    assert!(is_verified(&other));
    let trusting = Store::open(store.root()).unwrap();
    let trusting = trusting.trusting([stored.sha256].into());
    change_preserving_time(&stored);
    assert_eq!(find(&trusting, b"wheel"), Lookup::Hit(stored.clone()));
    let destination = store.root().join("placed.whl");
    let error = trusting.link(&stored, &destination, LinkOptions::default());
    assert!(error.unwrap_err().to_string().contains("became corrupt"));
    assert!(!destination.exists());
}

#[test]
fn replaces_unreadable_entry() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    std::fs::remove_file(&stored.path).unwrap();
    for make in [
        |path: &Path| std::fs::create_dir_all(path.join("inner")),
        |path: &Path| symlink("/dev/zero", path),
        |path: &Path| symlink("nowhere", path),
    ] {
        make(&stored.path).unwrap();
        assert_eq!(find(&store, b"wheel"), Lookup::Corrupt(stored.path.clone()));
        assert_eq!(add(&store, b"wheel"), stored);
        std::fs::remove_file(&stored.path).unwrap();
    }
}

#[test]
fn verify_finds_all_corrupt_entries() {
    let (_directory, store) = new_store();
    let digests: Vec<_> = (0..147_u32)
        .map(|number| add(&store, &number.to_le_bytes()).sha256)
        .collect();
    store.save_metadata(&digests[0], b"Name: example\n");
    store.save_metadata(&digests[1], b"Name: another\n");
    let entry = |position: usize| store.layout().entry(&digests[position]);
    std::fs::write(entry(5), "bad").unwrap();
    std::fs::remove_file(entry(6)).unwrap();
    symlink(entry(7), entry(6)).unwrap();
    let note = store
        .root()
        .join("metadata-v1")
        .join(digests[1].to_string());
    std::fs::write(&note, "bad").unwrap();
    let record = store.root().join("built-v1/example.json");
    std::fs::write(&record, "bad").unwrap();
    let mut corrupt = vec![entry(5), entry(6), note, record];
    corrupt.sort();
    let reader = Store::open_read_only(store.root()).unwrap();
    for store in [reader, store] {
        let mut verified = store.verify().unwrap();
        verified.corrupt.sort();
        assert_eq!((verified.files, verified.bytes), (145, 145 * 4));
        assert_eq!(verified.corrupt, corrupt);
        if store.is_writable() {
            assert_eq!(store.verify().unwrap().corrupt, Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn read_only_store_is_readable() {
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let reader = Store::open_read_only(store.root()).unwrap();
    assert_eq!(find(&reader, b"wheel"), Lookup::Hit(stored.clone()));
    let error = reader.writer(ExpectedFile::any("example")).unwrap_err();
    assert!(error.to_string().ends_with("is read-only"), "{error}");
    std::fs::write(&stored.path, "bad").unwrap();
    assert_eq!(
        find(&reader, b"wheel"),
        Lookup::Corrupt(stored.path.clone())
    );
    assert!(stored.path.exists());
}
