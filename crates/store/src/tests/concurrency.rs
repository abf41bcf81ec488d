//! Concurrent writers in one process and in several, some of which are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wheelhouse_types::Sha256;

use super::{add, files, find, names, new_store};
use crate::{ExpectedFile, LinkMode, LinkOptions, Store};

/// Names the store that [`child`] fills.
const ROOT: &str = "WHEELHOUSE_TEST_STORE";

fn content(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(50_000)
}

fn fill(store: &Store, output: &Path) {
    for number in 0..20 {
        let stored = add(store, &content(number));
        let destination = output.join(format!("{number}.whl"));
        let link = LinkOptions {
            mode: LinkMode::Hardlink,
            linked_before: false,
        };
        store.link(&stored, &destination, link).unwrap();
    }
}

/// Checks that the digest of each file is its name.
fn assert_intact(store: &Store) {
    for path in files(store, "files-v1") {
        let digest = Sha256::of(&std::fs::read(&path).unwrap()).to_string();
        assert!(path.ends_with(digest), "{}", path.display());
    }
}

/// Runs in other processes; not a test by itself.
#[test]
#[ignore = "run by the other tests, in processes of their own"]
fn child() {
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let store = Store::open(root.join("cache")).unwrap();
    fill(&store, &root.join("output"));
}

fn spawn_child(root: &Path) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", &format!("{module}::child")])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn threads_write_same_files() {
    let (directory, store) = new_store();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fill(&store, directory.path()));
        }
    });
    assert_eq!(files(&store, "files-v1").len(), 20);
    assert_eq!(files(&store, "tmp").len(), 0);
    assert_eq!(names(directory.path()).len(), 21);
    assert_intact(&store);
}

#[test]
fn processes_write_same_files() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("output");
    std::fs::create_dir(&output).unwrap();
    let children: Vec<_> = (0..4).map(|_| spawn_child(directory.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open(directory.path().join("cache")).unwrap();
    assert_eq!(files(&store, "files-v1").len(), 20);
    assert_eq!(files(&store, "tmp").len(), 0);
    assert_eq!(names(&output).len(), 20);
    assert_intact(&store);
}

#[test]
fn killed_process_leaves_store_intact() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("output");
    std::fs::create_dir(&output).unwrap();
    for round in 0..25 {
        let mut child = spawn_child(directory.path());
        std::thread::sleep(Duration::from_millis(4 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let store = Store::open(directory.path().join("cache")).unwrap();
    assert_intact(&store);
    fill(&store, &output);
    for number in 0..20 {
        assert!(find(&store, &content(number)).hit().is_some());
        let placed = std::fs::read(output.join(format!("{number}.whl"))).unwrap();
        assert_eq!(placed, content(number));
    }
}

#[test]
fn unfinished_file_of_killed_writer_is_invisible() {
    let (_directory, store) = new_store();
    let mut writer = store.writer(ExpectedFile::any("a.whl")).unwrap();
    writer.write(&content(1)).unwrap();
    // Simulates the end of the process.
    std::mem::forget(writer);
    assert_eq!(files(&store, "tmp").len(), 1);
    assert!(find(&store, &content(1)).hit().is_none());
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
    assert_eq!(store.usage().unwrap().files, 0);
}

#[test]
fn threads_detect_same_corrupt_entry() {
    let (_directory, store) = new_store();
    for _ in 0..50 {
        let stored = add(&store, b"wheel");
        std::fs::write(&stored.path, "wheeL").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if find(&store, b"wheel").hit().is_none() {
                        add(&store, b"wheel");
                    }
                    // No thread has removed an entry that another has restored.
                    assert!(find(&store, b"wheel").hit().is_some());
                });
            }
        });
    }
}

#[test]
fn threads_create_store_concurrently() {
    for _ in 0..30 {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Store::open(directory.path().join("cache")).unwrap());
            }
        });
    }
}

#[test]
fn store_and_writer_are_send_and_sync() {
    fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<Store>();
    assert_send_and_sync::<crate::FileWriter>();
}
