//! Records of built wheels.

use proptest::prelude::*;
use wheelhouse_types::Sha256;

use super::{add, files, new_store};
use crate::{BuildKey, BuildRecord, Lookup, Store};

fn key(fields: &[(&str, &str)]) -> BuildKey {
    BuildKey::new(fields.iter().copied())
}

fn wheel(bytes: &[u8]) -> BuildRecord {
    BuildRecord {
        key: None,
        filename: "example-1.0-py3-none-any.whl".to_owned(),
        sha256: Sha256::of(bytes),
        size: bytes.len() as u64,
        requirements: vec!["setuptools==80.0".to_owned(), "wheel==0.45".to_owned()],
        python: "cpython 3.11.7".to_owned(),
        seconds: 1.5,
        glibc: None,
        inputs: None,
        run: None,
    }
}

fn look(store: &Store) -> Lookup<(BuildRecord, crate::StoredFile)> {
    store.find_built(&key(&[("source", "example")])).unwrap()
}

fn record(store: &Store, wheel: &BuildRecord) {
    let key = key(&[("source", "example")]);
    store.save_build_record(&key, wheel).unwrap();
}

#[test]
fn records_built_wheel() {
    let (_directory, store) = new_store();
    assert_eq!(look(&store), Lookup::Miss);
    let stored = add(&store, b"wheel");
    record(&store, &wheel(b"wheel"));
    assert_eq!(look(&store), Lookup::Hit((wheel(b"wheel"), stored)));
    assert_eq!(
        store.find_built(&key(&[("source", "other")])).unwrap(),
        Lookup::Miss
    );
}

#[test]
fn ignores_record_without_wheel() {
    let (_directory, store) = new_store();
    record(&store, &wheel(b"wheel"));
    assert_eq!(look(&store), Lookup::Miss);
    let stored = add(&store, b"wheel");
    let size = 4;
    record(
        &store,
        &BuildRecord {
            size,
            ..wheel(b"wheel")
        },
    );
    assert_eq!(look(&store), Lookup::Miss);
    record(&store, &wheel(b"wheel"));
    std::fs::write(&stored.path, "bad").unwrap();
    assert_eq!(look(&store), Lookup::Corrupt(stored.path));
    assert_eq!(look(&store), Lookup::Miss);
}

#[test]
fn removes_invalid_record() {
    let (_directory, store) = new_store();
    add(&store, b"wheel");
    let good = || {
        record(&store, &wheel(b"wheel"));
        let path = files(&store, "built-v1").remove(0);
        (std::fs::read_to_string(&path).unwrap(), path)
    };
    let (text, path) = good();
    for bad in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replace("wheelhouse-built/1", "wheelhouse-built/9"),
        text.replace("example-1.0", "../example-1.0"),
        text.replace("any.whl", "any.zip"),
    ] {
        assert_ne!(bad, text);
        std::fs::write(&path, bad).unwrap();
        assert_eq!(look(&store), Lookup::Miss);
        assert!(!path.exists());
        good();
        assert!(matches!(look(&store), Lookup::Hit(_)));
    }
}

#[test]
fn keys_of_different_fields_do_not_collide() {
    let keys = [
        key(&[]),
        key(&[("", "")]),
        key(&[("ab", "c")]),
        key(&[("a", "bc")]),
        key(&[("a", "b"), ("c", "")]),
        key(&[("a", ""), ("b", "c")]),
        key(&[("b", "c"), ("a", "")]),
    ];
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn key_is_stable_across_versions() {
    assert_eq!(
        key(&[("source", "example")]).to_string(),
        "7d981aba12609aa0cfd4436add67a6d8c38521c2b8295dd8b2b20f74cd510e89"
    );
}

proptest! {
    #[test]
    fn different_fields_have_different_keys(
        one in prop::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 0..4),
        other in prop::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 0..4),
    ) {
        let same = BuildKey::new(one.clone()) == BuildKey::new(other.clone());
        prop_assert_eq!(same, one == other);
    }
}
