//! Changes of a directory while it is served.

use std::path::Path;
use std::thread::sleep;

use wheelhouse_archive::testing::{WHEEL_NAME, WheelSample};
use wheelhouse_types::PackageName;
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME};

use super::*;

fn open(directory: &Path, files: usize) -> Wheelhouse {
    let open_files = OpenFiles::new(files);
    Wheelhouse::open("w".to_owned(), directory.to_owned(), &open_files).unwrap()
}

/// Returns the current snapshot after the time for which checks are valid.
fn later(wheelhouse: &Wheelhouse) -> Arc<Snapshot> {
    sleep(Duration::from_millis(1100));
    wheelhouse.current().unwrap()
}

fn write_wheel(directory: &Path) {
    std::fs::write(directory.join(WHEEL_NAME), WheelSample::new().bytes()).unwrap();
}

/// Replaces the manifest by one that lists the files `names` and nothing else.
fn publish(directory: &Path, names: &[&str]) {
    let files: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    let manifest = format!(
        r#"{{"schema": "wheelhouse-manifest/1", "generator": "test", "targets": [], "requirements": [],
            "request": "", "wheels": [], "files": [{}]}}"#,
        files.join(", ")
    );
    let temporary = directory.join(".new");
    std::fs::write(&temporary, manifest).unwrap();
    std::fs::rename(temporary, directory.join(MANIFEST_NAME)).unwrap();
}

#[test]
fn serves_a_directory_without_a_manifest() {
    let directory = tempfile::tempdir().unwrap();
    write_wheel(directory.path());
    std::fs::write(directory.path().join("beta-1.0.tar.gz"), "sdist").unwrap();
    std::fs::write(directory.path().join("broken-1.0-py3-none-any.whl"), "no").unwrap();
    std::fs::write(directory.path().join("secret.txt"), "no").unwrap();
    let wheelhouse = open(directory.path(), 100);
    let index = &wheelhouse.current().unwrap().index;
    assert_eq!(index.projects().len(), 2);
    assert!(index.file("beta-1.0.tar.gz").is_some());
    assert!(index.file("secret.txt").is_none());
    let example: PackageName = "example".parse().unwrap();
    assert!(index.project_page(&example).is_some());
    std::fs::write(directory.path().join("gamma-1.0.zip"), "sdist").unwrap();
    assert_eq!(later(&wheelhouse).index.projects().len(), 3);
}

#[test]
fn a_replaced_file_is_served_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), "old").unwrap();
    publish(directory.path(), &["a.toml"]);
    let wheelhouse = open(directory.path(), 100);
    std::fs::remove_file(directory.path().join("a.toml")).unwrap();
    publish(directory.path(), &[]);
    assert!(later(&wheelhouse).index.file("a.toml").is_none());
    let replaced = wheelhouse.replaced_file("a.toml").unwrap();
    assert_eq!(replaced.read(100).unwrap(), b"old");
    assert!(wheelhouse.replaced_file("b.toml").is_none());
}

#[test]
fn an_unfinished_publication_is_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "old").unwrap();
    publish(directory.path(), &["a.toml"]);
    let wheelhouse = open(directory.path(), 100);
    std::fs::write(directory.path().join(PENDING_NAME), "{}").unwrap();
    publish(directory.path(), &[]);
    std::fs::remove_file(&file).unwrap();
    let during = later(&wheelhouse);
    let read = during.index.file("a.toml").unwrap().read(100);
    assert_eq!(read.unwrap(), b"old");
    std::fs::write(&file, "newer").unwrap();
    publish(directory.path(), &["a.toml"]);
    std::fs::remove_file(directory.path().join(PENDING_NAME)).unwrap();
    let after = later(&wheelhouse);
    let read = after.index.file("a.toml").unwrap().read(100);
    assert_eq!(read.unwrap(), b"newer");
}

#[test]
fn without_descriptors_a_changed_file_is_not_mixed_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "old").unwrap();
    publish(directory.path(), &["a.toml"]);
    let wheelhouse = open(directory.path(), 0);
    let served = Arc::clone(wheelhouse.current().unwrap().index.file("a.toml").unwrap());
    assert_eq!(served.read(100).unwrap(), b"old");
    std::fs::write(&file, "newer").unwrap();
    let error = served.read(100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
}

#[test]
fn a_removed_directory_stays_available() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("w");
    std::fs::create_dir(&directory).unwrap();
    write_wheel(&directory);
    let wheelhouse = open(&directory, 100);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(later(&wheelhouse).index.projects().len(), 1);
}
