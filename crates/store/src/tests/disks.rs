//! Full and read-only filesystems, and a store on another filesystem than its output. The tests mount them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wheelhouse_types::Kind;

use super::{add, files, find, names, new_store};
use crate::{ExpectedFile, LinkMode, LinkOptions, LinkOutcome, Lookup, Store};

/// A tmpfs, unmounted on drop.
struct Disk {
    directory: TempDir,
}

impl Disk {
    /// Mounts a tmpfs of `size` bytes.
    fn mount(size: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        assert!(
            mount(&arguments, directory.path()),
            "failed to mount a tmpfs"
        );
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

fn mount(options: &[&str], directory: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(directory).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn full_disk_of_store_is_an_error_and_leaves_nothing() {
    let disk = Disk::mount(1 << 20);
    let store = Store::open(disk.path().join("cache")).unwrap();
    add(&store, &vec![1; 600_000]);
    let mut writer = store.writer(ExpectedFile::any("a.whl")).unwrap();
    let piece = vec![2; 100_000];
    let error = (0..10).find_map(|_| writer.write(&piece).err()).unwrap();
    let root = store.root().display().to_string();
    assert!(error.to_string().contains(&root), "{error}");
    assert!(error.hint().unwrap().contains("--cache-dir"));
    // A caller that ignores the failure does not get a partial file, even if there is space again.
    let stored = find(&store, &vec![1; 600_000]).hit().unwrap();
    std::fs::remove_file(stored.path).unwrap();
    writer.write(b"end").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("`a.whl`"), "{error}");
    assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new());
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
    add(&store, &vec![1; 600_000]);
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn full_disk_of_destination_is_an_error_and_leaves_nothing() {
    let disk = Disk::mount(1 << 18);
    let (_directory, store) = new_store();
    let stored = add(&store, &vec![1; 600_000]);
    let destination = disk.path().join("a.whl");
    let error = store
        .link(&stored, &destination, LinkOptions::default())
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Publish);
    let path = destination.display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    assert!(error.hint().unwrap().contains("Free some space"));
    assert_eq!(names(disk.path()), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn copies_file_to_another_filesystem() {
    let disk = Disk::mount(1 << 20);
    let (_directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let auto = LinkOptions::default();
    for name in ["a.whl", "b.whl", "a.whl"] {
        let placed = store.link(&stored, &disk.path().join(name), auto).unwrap();
        assert_eq!(placed, LinkOutcome::Copied);
    }
    let again = LinkOptions {
        linked_before: true,
        ..auto
    };
    let placed = store.link(&stored, &disk.path().join("a.whl"), again);
    assert_eq!(placed.unwrap(), LinkOutcome::Unchanged);
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn link_support_is_remembered_per_filesystem() {
    let disk = Disk::mount(1 << 20);
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let auto = LinkOptions::default();
    let far = store.link(&stored, &disk.path().join("a.whl"), auto);
    assert_eq!(far.unwrap(), LinkOutcome::Copied);
    let near = store.link(&stored, &directory.path().join("a.whl"), auto);
    assert_ne!(near.unwrap(), LinkOutcome::Copied);
    let link = LinkOptions {
        mode: LinkMode::Hardlink,
        ..auto
    };
    let error = store.link(&stored, &disk.path().join("b.whl"), link);
    let error = error.unwrap_err();
    assert!(error.hint().unwrap().contains("another filesystem"));
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn read_only_disk_is_readable() {
    let disk = Disk::mount(1 << 20);
    let root = disk.path().join("cache");
    let stored = add(&Store::open(&root).unwrap(), b"wheel");
    disk.make_read_only();
    let error = Store::open(&root).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains(&root.display().to_string()));
    Store::open(disk.path().join("new")).unwrap_err();

    let store = Store::open_read_only(&root).unwrap();
    assert_eq!(find(&store, b"wheel"), Lookup::Hit(stored.clone()));
    let (directory, _) = new_store();
    let near = directory.path().join("a.whl");
    let placed = store.link(&stored, &near, LinkOptions::default()).unwrap();
    assert_eq!(placed, LinkOutcome::Copied);
    let error = store.link(&stored, &disk.path().join("a.whl"), LinkOptions::default());
    assert!(error.unwrap_err().hint().unwrap().contains("writable"));
}
