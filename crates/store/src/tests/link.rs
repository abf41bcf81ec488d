//! Linking files of the store into other directories.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use wheelhouse_types::Kind;

use super::{add, find, names, new_store};
use crate::entry::{has_store_mtime, store_mtime};
use crate::{LinkMode, LinkOptions, LinkOutcome, Lookup, Store, StoredFile};

const COPY: LinkOptions = by(LinkMode::Copy);
const LINK: LinkOptions = by(LinkMode::Hardlink);

const fn by(mode: LinkMode) -> LinkOptions {
    LinkOptions {
        mode,
        linked_before: false,
    }
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

fn place(
    store: &Store,
    stored: &StoredFile,
    destination: &Path,
    options: LinkOptions,
) -> LinkOutcome {
    let placed = store.link(stored, destination, options).unwrap();
    assert_eq!(
        std::fs::read(destination).unwrap(),
        std::fs::read(&stored.path).unwrap()
    );
    placed
}

#[test]
fn hard_link_shares_inode_with_entry() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let destination = directory.path().join("a.whl");
    assert_eq!(
        place(&store, &stored, &destination, LINK),
        LinkOutcome::Linked
    );
    assert_eq!(inode(&destination), inode(&stored.path));
    assert_eq!(
        place(&store, &stored, &destination, LINK),
        LinkOutcome::Unchanged
    );
}

#[test]
fn copy_is_separate_file_with_constant_time() {
    let (directory, store) = new_store();
    let stored = add(&store, &vec![1; 500_000]);
    let destination = directory.path().join("a.whl");
    assert_eq!(
        place(&store, &stored, &destination, COPY),
        LinkOutcome::Copied
    );
    let metadata = std::fs::metadata(&destination).unwrap();
    assert_ne!(metadata.ino(), inode(&stored.path));
    assert!(has_store_mtime(&metadata));
    assert_eq!(metadata.permissions().mode() & 0o777, stored.mode);
    assert_eq!(names(directory.path()), ["a.whl", "cache"]);
}

#[test]
fn clone_is_separate_file_or_unsupported() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let destination = directory.path().join("a.whl");
    match store.link(&stored, &destination, by(LinkMode::Clone)) {
        Ok(placed) => {
            assert_eq!(placed, LinkOutcome::Cloned);
            let metadata = std::fs::metadata(&destination).unwrap();
            assert_ne!(metadata.ino(), inode(&stored.path));
            assert!(has_store_mtime(&metadata));
            assert_eq!(std::fs::read(&destination).unwrap(), b"wheel");
        }
        Err(error) => {
            assert!(error.hint().unwrap().contains("--link-mode"));
            assert_eq!(names(directory.path()), ["cache"]);
        }
    }
}

#[test]
fn remembers_first_supported_link_mode() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let other = add(&store, b"other");
    let first = directory.path().join("a.whl");
    let second = directory.path().join("b.whl");
    let placed = place(&store, &stored, &first, LinkOptions::default());
    assert!(matches!(placed, LinkOutcome::Cloned | LinkOutcome::Linked));
    let device = std::fs::metadata(directory.path()).unwrap().dev();
    assert!(store.link_method(device).is_some());
    assert_eq!(
        place(&store, &other, &second, LinkOptions::default()),
        placed
    );
}

#[test]
fn keeps_only_file_that_caller_accepts() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let destination = directory.path().join("a.whl");
    let known = LinkOptions {
        linked_before: true,
        ..COPY
    };
    place(&store, &stored, &destination, COPY);
    assert_eq!(
        place(&store, &stored, &destination, COPY),
        LinkOutcome::Copied
    );
    assert_eq!(
        place(&store, &stored, &destination, known),
        LinkOutcome::Unchanged
    );
    std::fs::write(&destination, "wheeL").unwrap();
    assert_eq!(
        place(&store, &stored, &destination, known),
        LinkOutcome::Copied
    );
    let file = std::fs::File::create(&destination).unwrap();
    file.set_modified(store_mtime()).unwrap();
    assert_eq!(
        place(&store, &stored, &destination, known),
        LinkOutcome::Copied
    );
}

#[test]
fn replaces_existing_file_without_following_links() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let victim = directory.path().join("victim");
    let destination = directory.path().join("a.whl");
    std::fs::write(&victim, "mine").unwrap();
    for options in [LINK, COPY, LinkOptions::default()] {
        let _ = std::fs::remove_file(&destination);
        symlink(&victim, &destination).unwrap();
        place(&store, &stored, &destination, options);
        assert!(!destination.is_symlink());
    }
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    assert_eq!(names(directory.path()), ["a.whl", "cache", "victim"]);
}

#[test]
fn replacing_link_to_same_entry_leaves_no_temporary_name() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let destination = directory.path().join("a.whl");
    place(&store, &stored, &destination, LINK);
    // Another run has created the link concurrently.
    crate::link::hard_link(&stored, &destination).unwrap();
    assert_eq!(names(directory.path()), ["a.whl", "cache"]);
}

#[test]
fn detects_write_through_link() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let destination = directory.path().join("a.whl");
    place(&store, &stored, &destination, LINK);
    std::fs::write(&destination, "wheeL").unwrap();
    assert_eq!(find(&store, b"wheel"), Lookup::Corrupt(stored.path.clone()));
    let again = add(&store, b"wheel");
    assert_eq!(
        place(&store, &again, &destination, LINK),
        LinkOutcome::Linked
    );
    assert_eq!(std::fs::read(&destination).unwrap(), b"wheel");
}

#[test]
fn copies_entry_with_restricted_permissions() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let usual = stored.mode;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&stored.path, private).unwrap();
    let stored = find(&store, b"wheel").hit().unwrap();
    let destination = directory.path().join("a.whl");
    let placed = place(&store, &stored, &destination, LINK);
    let mode = std::fs::metadata(&destination)
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, usual);
    assert_eq!(placed == LinkOutcome::Copied, usual != 0o600);
}

#[test]
fn unwritable_destination_is_an_error() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let directory_there = directory.path().join("a.whl");
    std::fs::create_dir(&directory_there).unwrap();
    let missing = directory.path().join("missing/a.whl");
    for destination in [directory_there, missing] {
        for options in [LINK, COPY, LinkOptions::default()] {
            let error = store.link(&stored, &destination, options).unwrap_err();
            assert_eq!(error.kind(), Kind::Publish);
            let path = destination.display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
        }
    }
    assert_eq!(names(directory.path()), ["a.whl", "cache"]);
}

#[test]
#[ignore = "takes long, and says something only where a file can have no more than 65,000 names"]
fn copies_entry_with_maximum_link_count() {
    let (directory, store) = new_store();
    let stored = add(&store, b"wheel");
    let mut names = (0..70_000).map(|number| directory.path().join(number.to_string()));
    let limited = names.any(|name| std::fs::hard_link(&stored.path, name).is_err());
    let destination = directory.path().join("a.whl");
    let placed = place(&store, &stored, &destination, LINK);
    assert_eq!(placed == LinkOutcome::Copied, limited);
    std::fs::remove_file(&destination).unwrap();
    let placed = place(&store, &stored, &destination, LinkOptions::default());
    assert_ne!(placed == LinkOutcome::Linked, limited);
}
