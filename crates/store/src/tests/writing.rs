//! Writing of files, and rejection of wrong ones.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use wheelhouse_types::{Hashes, Kind, Sha256};

use super::{add, files, find, names, new_store};
use crate::{ExpectedFile, Lookup, Store};

/// The digest of `wheel` that `hashlib` computes.
const MD5: &str = "5eda0ea98768e91b815fa6667e4f0178";
const SHA1: &str = "3a7195d99bee6bb15aacf02a10d56b4cbd65b1fe";

fn hashes(pairs: &[(&str, &str)]) -> Hashes {
    let pairs = pairs
        .iter()
        .map(|(name, digits)| ((*name).to_owned(), (*digits).to_owned()));
    Hashes(pairs.collect())
}

fn write(store: &Store, expected: ExpectedFile, bytes: &[u8]) -> wheelhouse_types::Result<()> {
    let mut writer = store.writer(expected)?;
    writer.write(bytes)?;
    writer.finish().map(drop)
}

#[test]
fn resumes_interrupted_transfer() {
    let (_directory, store) = new_store();
    let bytes = vec![7; 600_000];
    let expected = ExpectedFile::with_sha256("example", Sha256::of(&bytes)).size(Some(600_000));
    let mut writer = store.writer(expected).unwrap();
    writer.write(&bytes[..299_999]).unwrap();
    assert_eq!(writer.len(), 299_999);
    writer.write(&bytes[299_999..]).unwrap();
    assert_eq!(writer.finish().unwrap().size, 600_000);
}

#[test]
fn restart_discards_written_bytes() {
    let (_directory, store) = new_store();
    let expected = ExpectedFile::with_sha256("example", Sha256::of(b"wheel"));
    let mut writer = store.writer(expected).unwrap();
    writer.write(&vec![1; 700_000]).unwrap();
    writer.write(b"in the buffer").unwrap();
    writer.restart().unwrap();
    assert!(writer.is_empty());
    writer.write(b"wheel").unwrap();
    let stored = writer.finish().unwrap();
    assert_eq!(std::fs::read(stored.path).unwrap(), b"wheel");
}

#[test]
fn unfinished_file_is_invisible_and_removed_on_drop() {
    let (_directory, store) = new_store();
    let mut writer = store.writer(ExpectedFile::any("example")).unwrap();
    writer.write(b"wheel").unwrap();
    assert_eq!(find(&store, b"wheel"), Lookup::Miss);
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
    assert_eq!(files(&store, "tmp").len(), 1);
    drop(writer);
    assert_eq!(files(&store, "tmp"), Vec::<PathBuf>::new());
}

#[test]
fn keeps_intact_entry_when_written_again() {
    let (_directory, store) = new_store();
    let inode = |path| std::fs::metadata(path).unwrap().ino();
    let first = add(&store, b"wheel");
    let before = inode(&first.path);
    let second = add(&store, b"wheel");
    assert_eq!(first, second);
    assert_eq!(inode(&second.path), before);
    // A changed entry is replaced.
    std::fs::write(&first.path, "bad").unwrap();
    let third = add(&store, b"wheel");
    assert_eq!(std::fs::read(third.path).unwrap(), b"wheel");
    assert_eq!(files(&store, "tmp"), Vec::<PathBuf>::new());
}

#[test]
fn rejects_wrong_digest_and_names_both() {
    let (_directory, store) = new_store();
    let wanted = Sha256::of(b"wheel");
    let error = write(&store, ExpectedFile::with_sha256("a.whl", wanted), b"other").unwrap_err();
    let actual = Sha256::of(b"other");
    let message = format!("`a.whl` has the sha256 `{actual}` instead of `{wanted}`");
    assert_eq!(error.to_string(), message);
    assert_eq!(error.kind(), Kind::Fetch);
    assert!(error.hint().is_some());
    assert_eq!(files(&store, "files-v1"), Vec::<PathBuf>::new());
    assert_eq!(files(&store, "tmp"), Vec::<PathBuf>::new());
}

#[test]
fn checks_other_algorithms() {
    let (_directory, store) = new_store();
    let published = |pairs: &[(&str, &str)]| ExpectedFile::any("a.whl").published(&hashes(pairs));
    let good = published(&[("md5", MD5), ("sha1", &SHA1.to_uppercase())]);
    assert!(good.is_checked());
    write(&store, good, b"wheel").unwrap();
    for expected in [
        published(&[("md5", MD5)]),
        published(&[("sha1", SHA1)]),
        published(&[("sha512", &"0".repeat(128))]),
        published(&[("sha384", "")]),
    ] {
        let error = write(&store, expected, b"other").unwrap_err();
        assert!(error.to_string().contains("instead of"), "{error}");
    }
}

#[test]
fn requires_all_published_and_one_required_digest() {
    let (_directory, store) = new_store();
    let zeros = "0".repeat(64);
    let right = Sha256::of(b"wheel").to_string();
    let both = hashes(&[("md5", MD5), ("sha256", &zeros)]);
    write(&store, ExpectedFile::any("a").published(&both), b"wheel").unwrap_err();
    let required = [format!("sha256:{zeros}"), format!("sha256:{right}")];
    let expected = ExpectedFile::any("a").required(&required);
    write(&store, expected.clone(), b"wheel").unwrap();
    let error = write(&store, expected, b"other").unwrap_err();
    assert!(error.to_string().contains(&right) && error.to_string().contains(&zeros));
}

#[test]
fn rejects_unknown_algorithms_only_without_known_ones() {
    let (_directory, store) = new_store();
    let unknown = ExpectedFile::any("a").published(&hashes(&[("blake3", "00")]));
    assert!(!unknown.is_checked());
    let error = write(&store, unknown, b"wheel").unwrap_err();
    assert!(error.to_string().contains("`blake3`"), "{error}");
    let mixed = ExpectedFile::any("a").published(&hashes(&[("blake3", "00"), ("md5", MD5)]));
    write(&store, mixed, b"wheel").unwrap();
}

#[test]
fn rejects_wrong_size_and_endless_body() {
    let (_directory, store) = new_store();
    let expected = ExpectedFile::any("a.whl").size(Some(6));
    let error = write(&store, expected.clone(), b"wheel").unwrap_err();
    assert_eq!(error.to_string(), "`a.whl` has 5 bytes instead of 6 bytes");
    let mut writer = store.writer(expected).unwrap();
    let error = writer.write(b"wheels!").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a.whl` has more than the expected 6 bytes"
    );
    writer.finish().unwrap_err();
}

#[test]
fn imports_local_file_without_modifying_it() {
    let (directory, store) = new_store();
    let path = directory.path().join("a.whl");
    let bytes = vec![3; 1_000_000];
    std::fs::write(&path, &bytes).unwrap();
    let expected = ExpectedFile::with_sha256("a.whl", Sha256::of(&bytes)).size(Some(1_000_000));
    let stored = store.add_file(&path, expected).unwrap();
    assert_eq!(find(&store, &bytes), Lookup::Hit(stored));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let error = store
        .add_file(&path, ExpectedFile::with_sha256("a.whl", Sha256::of(b"")))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Fetch);
    let error = store
        .add_file(&directory.path().join("b.whl"), ExpectedFile::any("b.whl"))
        .unwrap_err();
    assert!(error.display_chain().contains("b.whl"));
}

#[test]
fn rejects_directory_with_other_contents() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.txt"), "").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("`thesis.txt`"), "{error}");
    assert_eq!(names(directory.path()), ["thesis.txt"]);
    let error = Store::open(directory.path().join("thesis.txt")).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.hint().unwrap().contains("--cache-dir"));
}

#[test]
fn accepts_directory_with_negligible_contents() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    std::fs::write(directory.path().join(".gitkeep"), "").unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tag = std::fs::read_to_string(store.root().join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    // Another run creates it again, next to other files.
    std::fs::create_dir(directory.path().join("uv")).unwrap();
    Store::open(directory.path()).unwrap();
}
