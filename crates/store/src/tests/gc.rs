//! Statistics, pruning and cleaning.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wheelhouse_types::Sha256;

use super::{add, days_ago, files, find, names, new_store, set_accessed, set_modified};
use crate::{
    BuildKey, BuildRecord, ExpectedFile, GarbageCollector, Lookup, PrunePolicy, Removal, Store,
};

fn record(store: &Store, label: &str, bytes: &[u8]) {
    let wheel = BuildRecord {
        key: None,
        filename: "example-1.0-py3-none-any.whl".to_owned(),
        sha256: Sha256::of(bytes),
        size: bytes.len() as u64,
        requirements: Vec::new(),
        python: "cpython 3.11.7".to_owned(),
        seconds: 0.0,
        glibc: None,
        inputs: None,
        run: None,
    };
    let key = BuildKey::new([(label, "")]);
    store.save_build_record(&key, &wheel).unwrap();
}

/// Closes, prunes and reopens the store.
fn prune(store: Store, policy: PrunePolicy) -> (Store, Removal) {
    let root = store.root().to_owned();
    drop(store);
    let upkeep = GarbageCollector::try_lock(&root).unwrap().unwrap();
    let removed = upkeep.prune(policy).unwrap();
    drop(upkeep);
    (Store::open(root).unwrap(), removed)
}

/// The names in a cache without contents.
const EMPTY: [&str; 11] = [
    ".lock",
    "CACHEDIR.TAG",
    "built-v1",
    "examined-v1",
    "files-v1",
    "layers-v1",
    "locks-v1",
    "metadata-v1",
    "surroundings-v1",
    "tmp",
    "tree-files-v1",
];

#[test]
fn counts_files_and_records() {
    let (_directory, store) = new_store();
    add(&store, b"wheel");
    add(&store, b"another");
    record(&store, "one", b"wheel");
    std::fs::create_dir(store.root().join("uv")).unwrap();
    std::fs::write(store.root().join("uv/index"), "1234").unwrap();
    let mut writer = store.writer(ExpectedFile::any("a")).unwrap();
    writer.write(&vec![0; 300_000]).unwrap();
    let info = store.usage().unwrap();
    assert_eq!((info.files, info.file_bytes, info.built), (2, 12, 1));
    assert_eq!(info.temporary_bytes, 300_000);
    assert_eq!(info.others, [("uv".to_owned(), 4)].into());
    assert_eq!(info.total_bytes(), 300_016);
    assert_eq!(info.root, store.root());
}

#[test]
fn prunes_unused_files_with_their_records() {
    let (_directory, store) = new_store();
    let old = add(&store, b"old");
    add(&store, b"new");
    record(&store, "old", b"old");
    record(&store, "new", b"new");
    record(&store, "gone", b"gone");
    std::fs::write(store.root().join("built-v1/unreadable.json"), "").unwrap();
    set_accessed(&old.path, days_ago(40));
    let policy = PrunePolicy {
        unused_for: Some(Duration::from_hours(24 * 30)),
        max_bytes: None,
    };
    let (store, removed) = prune(store, policy);
    assert_eq!((removed.files, removed.records), (1, 3));
    assert_eq!(find(&store, b"old"), Lookup::Miss);
    assert!(find(&store, b"new").hit().is_some());
    assert_eq!(files(&store, "built-v1").len(), 1);
    let (_, removed) = prune(store, policy);
    assert_eq!(removed, Removal::default());
}

#[test]
fn lookup_counts_as_use() {
    let (_directory, store) = new_store();
    let old = add(&store, b"old");
    set_accessed(&old.path, days_ago(40));
    find(&store, b"old");
    let policy = PrunePolicy {
        unused_for: Some(Duration::from_hours(24 * 30)),
        max_bytes: None,
    };
    assert_eq!(prune(store, policy).1, Removal::default());
}

#[test]
fn prunes_least_recently_used_files_to_size() {
    let (_directory, store) = new_store();
    for (days, bytes) in [(1, b"1111"), (3, b"3333"), (2, b"2222")] {
        set_accessed(&add(&store, bytes).path, days_ago(days));
    }
    let policy = PrunePolicy {
        unused_for: None,
        max_bytes: Some(9),
    };
    let (store, removed) = prune(store, policy);
    assert_eq!((removed.files, removed.bytes), (1, 4));
    assert_eq!(find(&store, b"3333"), Lookup::Miss);
    let everything = PrunePolicy {
        unused_for: None,
        max_bytes: Some(0),
    };
    let (store, removed) = prune(store, everything);
    assert_eq!(removed.files, 2);
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
}

/// Creates what killed processes leave: unfinished files, a source in a build and its environment, a copied tree and
/// an image in extraction.
fn leave_unfinished(root: &Path) {
    for left in [
        "tmp/.wheelhouse-a",
        ".wheelhouse-b/a",
        "builds/0123/a",
        "uv/builds-v0/.tmp0/a",
        "trees/4567/a",
    ] {
        let path = root.join(left);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "left").unwrap();
    }
    std::fs::write(root.join("builds/0123.lock"), "").unwrap();
    std::fs::create_dir_all(root.join("images-v1/.wheelhouse-b")).unwrap();
    std::fs::create_dir_all(root.join("images-v1/names")).unwrap();
}

fn unfinished(root: &Path) -> usize {
    let below = |name| std::fs::read_dir(root.join(name)).unwrap().count();
    let own = ["tmp", "builds", "trees", "images-v1", "uv/builds-v0"];
    let here = usize::from(root.join(".wheelhouse-b").exists());
    own.into_iter().map(below).sum::<usize>() + here - 1
}

#[test]
fn prunes_files_of_killed_processes() {
    let (_directory, store) = new_store();
    let root = store.root().to_owned();
    drop(store);
    leave_unfinished(&root);
    for file in ["simple-v1/index/.tmp1", "git-v0/checkout/.tmp2"] {
        let path = root.join("uv").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "file").unwrap();
    }
    let removed = GarbageCollector::lock(&root)
        .unwrap()
        .prune(PrunePolicy::default());
    let removed = removed.unwrap();
    assert_eq!((removed.temporary, removed.bytes), (8, 24));
    assert!(!root.join("uv/simple-v1/index/.tmp1").exists());
    assert!(root.join("uv/git-v0/checkout/.tmp2").exists());
    assert_eq!(unfinished(&root), 0);
    assert!(root.join("images-v1/names").is_dir());
}

#[test]
fn last_process_removes_files_of_killed_processes() {
    let (_directory, store) = new_store();
    let root = store.root().to_owned();
    leave_unfinished(&root);
    let second = Store::open(&root).unwrap();
    drop((store.clone(), store));
    assert_eq!(unfinished(&root), 7, "another process may use it");
    drop(second);
    assert_eq!(unfinished(&root), 0);
}

#[test]
fn pruning_waits_for_open_stores() {
    let (_directory, store) = new_store();
    let root = store.root().to_owned();
    let clone = store.clone();
    assert!(GarbageCollector::try_lock(&root).unwrap().is_none());
    drop(store);
    assert!(GarbageCollector::try_lock(&root).unwrap().is_none());
    let waiting = std::thread::spawn({
        let root = root.clone();
        move || GarbageCollector::lock(root).unwrap()
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    drop(clone);
    let upkeep = waiting.join().unwrap();
    let opening = std::thread::spawn({
        let root = root.clone();
        move || drop(Store::open(root).unwrap())
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!opening.is_finished());
    drop(upkeep);
    opening.join().unwrap();
}

#[test]
fn cleaning_removes_only_known_files() {
    let (_directory, store) = new_store();
    add(&store, b"wheel");
    record(&store, "one", b"wheel");
    let root = store.root().to_owned();
    drop(store);
    std::fs::create_dir(root.join("uv")).unwrap();
    std::fs::write(root.join("uv/index"), "1234").unwrap();
    std::fs::write(root.join("notes.txt"), "mine").unwrap();
    let upkeep = GarbageCollector::lock(&root).unwrap();
    let removed = upkeep.clean(&["uv", "logs"]).unwrap();
    assert_eq!((removed.files, removed.records), (1, 1));
    assert!(removed.bytes > 9);
    drop(upkeep);
    std::fs::remove_file(root.join("notes.txt")).unwrap();
    assert_eq!(names(&root), EMPTY);
    assert_eq!(Store::open(root).unwrap().usage().unwrap().files, 0);
}

#[test]
fn cleaning_does_not_follow_links() {
    let (directory, store) = new_store();
    let root = store.root().to_owned();
    drop(store);
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let precious = outside.join(Sha256::of(b"precious").to_string());
    std::fs::write(&precious, "precious").unwrap();
    set_modified(&precious, days_ago(40));
    for link in ["interpreters-v1", "files-v1/link", "tmp/link"] {
        symlink(&outside, root.join(link)).unwrap();
    }
    std::fs::remove_dir(root.join("built-v1")).unwrap();
    symlink(&outside, root.join("built-v1")).unwrap();
    let upkeep = GarbageCollector::lock(&root).unwrap();
    let everything = PrunePolicy {
        unused_for: None,
        max_bytes: Some(0),
    };
    for bucket in ["builds", "images-v1"] {
        symlink(&outside, root.join(bucket)).unwrap();
    }
    std::fs::write(outside.join(".wheelhouse-a"), "").unwrap();
    let removed = upkeep.prune(everything).unwrap();
    // The link is among the unfinished files.
    assert_eq!((removed.temporary, removed.bytes), (1, 0));
    assert!(!root.join("tmp/link").exists() && outside.join(".wheelhouse-a").exists());
    for bucket in ["builds", "images-v1"] {
        std::fs::remove_file(root.join(bucket)).unwrap();
    }
    assert!(root.join("interpreters-v1").is_symlink());
    upkeep.clean(&["interpreters-v1"]).unwrap();
    assert_eq!(names(&root), EMPTY);
    assert_eq!(std::fs::read(precious).unwrap(), b"precious");
}

#[test]
fn cleaning_stays_inside_root() {
    let (_directory, store) = new_store();
    let root = store.root().to_owned();
    drop(store);
    let upkeep = GarbageCollector::lock(&root).unwrap();
    for name in ["..", ".", "", "/", "../outside", "/etc", "uv/.."] {
        assert!(upkeep.clean(&[name]).is_err(), "{name}");
    }
}

#[test]
fn rejects_directory_without_cache_tag() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("files-v1")).unwrap();
    let error = GarbageCollector::lock(directory.path()).unwrap_err();
    assert!(error.to_string().contains("is not a cache of wheelhouse"));
    let foreign = "Signature: 8a477f597d28d172789f06886806bc55\n# another tool\n";
    std::fs::write(directory.path().join("CACHEDIR.TAG"), foreign).unwrap();
    GarbageCollector::try_lock(directory.path()).unwrap_err();
    GarbageCollector::try_lock(directory.path().join("missing")).unwrap_err();
}

#[test]
fn accepts_cache_tag_of_another_version() {
    let (_directory, store) = new_store();
    let root = store.root().to_owned();
    drop(store);
    let tag = std::fs::read_to_string(root.join("CACHEDIR.TAG")).unwrap();
    std::fs::write(root.join("CACHEDIR.TAG"), tag + "# and more\n").unwrap();
    assert!(GarbageCollector::try_lock(&root).unwrap().is_some());
}

#[test]
fn retains_only_named_files() {
    let (_directory, store) = new_store();
    let wanted = add(&store, b"wanted").sha256;
    let other = add(&store, b"other").sha256;
    record(&store, "wanted", b"wanted");
    record(&store, "other", b"other");
    store.save_metadata(&wanted, b"Name: wanted");
    store.save_metadata(&other, b"Name: other");
    std::fs::create_dir(store.root().join("uv")).unwrap();
    std::fs::create_dir(store.root().join("stays")).unwrap();
    let root = store.root().to_owned();
    drop(store);
    let upkeep = GarbageCollector::try_lock(&root).unwrap().unwrap();
    let removed = upkeep.retain(&[wanted].into(), &["uv"]).unwrap();
    assert_eq!((removed.files, removed.records), (1, 1));
    drop(upkeep);
    let store = Store::open(&root).unwrap();
    assert_eq!(store.digests().unwrap(), [wanted]);
    assert_eq!(store.usage().unwrap().built, 1);
    assert!(store.metadata(&wanted).is_some() && store.metadata(&other).is_none());
    assert!(root.join("stays").exists() && !root.join("uv").exists());
}
