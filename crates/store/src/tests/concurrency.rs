//! Many writers at once, in one process and in several, some of them killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wheelhouse_types::Sha256;

use super::super::{ExpectedFile, LinkMode, LinkOptions, Store};
use super::{add, files, find, names, new_store};

/// Tells [`child`] which store to fill.
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

/// Asserts that each file has the content that its name promises.
fn assert_whole(store: &Store) {
    for path in files(store, "files-v1") {
        let digest = Sha256::of(&std::fs::read(&path).unwrap()).to_string();
        assert!(path.ends_with(digest), "{}", path.display());
    }
}

/// The part of other processes: not a test of its own.
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
fn threads_may_write_the_same_files() {
    let (directory, store) = new_store();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fill(&store, directory.path()));
        }
    });
    assert_eq!(files(&store, "files-v1").len(), 20);
    assert_eq!(files(&store, "tmp").len(), 0);
    assert_eq!(names(directory.path()).len(), 21);
    assert_whole(&store);
}

#[test]
fn processes_may_write_the_same_files() {
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
    assert_whole(&store);
}

#[test]
fn a_killed_process_leaves_nothing_wrong() {
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
    assert_whole(&store);
    fill(&store, &output);
    for number in 0..20 {
        assert!(find(&store, &content(number)).hit().is_some());
        let placed = std::fs::read(output.join(format!("{number}.whl"))).unwrap();
        assert_eq!(placed, content(number));
    }
}

#[test]
fn what_a_killed_writer_leaves_is_never_seen() {
    let (_directory, store) = new_store();
    let mut writer = store.writer(ExpectedFile::any("a.whl")).unwrap();
    writer.write(&content(1)).unwrap();
    // As if the process had ended here.
    std::mem::forget(writer);
    assert_eq!(files(&store, "tmp").len(), 1);
    assert!(find(&store, &content(1)).hit().is_none());
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
    assert_eq!(store.usage().unwrap().files, 0);
}

#[test]
fn two_runs_may_notice_the_same_corrupt_entry() {
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
                    // Nobody has removed what somebody else has had again.
                    assert!(find(&store, b"wheel").hit().is_some());
                });
            }
        });
    }
}

#[test]
fn many_may_create_the_store_at_once() {
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
fn stores_and_writers_may_go_from_thread_to_thread() {
    fn assert_mobile<T: Send + Sync>() {}
    assert_mobile::<Store>();
    assert_mobile::<super::super::FileWriter>();
}
