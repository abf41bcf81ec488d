use std::collections::BTreeMap;

use super::*;
use crate::store::{BuildKey, BuiltWheel, Expected, Found};

fn places(root: &Path) -> Places {
    Places {
        root: root.join("app-root"),
        uploads: root.join("tmp"),
    }
}

fn target(python_version: &str) -> Target {
    Target {
        implementation: "cpython".to_owned(),
        python_version: python_version.to_owned(),
        platform: "manylinux_2_36_x86_64".to_owned(),
        free_threaded: false,
        wide_unicode: false,
        markers: BTreeMap::new(),
        interpreter: None,
    }
}

/// Adds a file that claims to be the wheel of `name` 1.0.
fn add(store: &Store, name: &str) -> Sha256 {
    let mut writer = store.writer(Expected::anything(name)).unwrap();
    writer.write(name.as_bytes()).unwrap();
    let sha256 = writer.finish().unwrap().sha256;
    store.keep_metadata(&sha256, format!("Name: {name}\nVersion: 1.0\n").as_bytes());
    sha256
}

fn wheel(name: &str, sha256: Sha256, requirements: Option<&[&str]>) -> serde_json::Value {
    let mut wheel = serde_json::json!({
        "filename": format!("{name}-1.0-py3-none-any.whl"), "name": name, "version": "1.0",
        "sha256": sha256.to_string(), "size": 1, "origin": { "kind": "direct" }, "source": "",
    });
    if let Some(requirements) = requirements {
        wheel["built"] =
            serde_json::json!({ "python": "cpython 3.11.7", "requirements": requirements });
    }
    wheel
}

/// A finished build: a wheel that was fetched, one that was built with `Builder`, and leftovers.
fn finished(places: &Places) -> (Store, [Sha256; 3]) {
    let store = Store::open(places.cache()).unwrap();
    let [fetched, built, builder, _leftover] =
        ["fetched", "built", "Builder", "leftover"].map(|name| add(&store, name));
    let record = BuiltWheel {
        filename: "built-1.0-py3-none-any.whl".to_owned(),
        sha256: built,
        size: 5,
        requirements: vec!["builder==1.0".to_owned()],
        python: "cpython 3.11.7".to_owned(),
        seconds: 0.0,
    };
    store
        .record_built(&BuildKey::new([("source", "a")]), &record)
        .unwrap();
    fs::create_dir_all(places.cache().join("uv")).unwrap();
    fs::create_dir_all(places.wheelhouse()).unwrap();
    fs::write(places.wheelhouse().join("pylock.toml"), "lock").unwrap();
    fs::write(
        places.wheelhouse().join("fetched-1.0-py3-none-any.whl"),
        "fetched",
    )
    .unwrap();
    let manifest = serde_json::json!({
        "schema": "wheelhouse-manifest/1", "generator": "", "requirements": [], "request": "", "files": [],
        "targets": [target("3.11.7")],
        "wheels": [wheel("fetched", fetched, None), wheel("built", built, Some(&["builder==1.0"]))],
    });
    fs::write(
        places.wheelhouse().join(MANIFEST_NAME),
        manifest.to_string(),
    )
    .unwrap();
    (store, [fetched, built, builder])
}

/// What the next container has below `/tmp/artifacts`.
fn upload(places: &Places, next: &Places) -> Vec<String> {
    let mut bytes = Vec::new();
    save(places, &mut bytes).unwrap();
    tar::Archive::new(&*bytes).unpack(next.artifacts()).unwrap();
    let mut archive = tar::Archive::new(&*bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

#[test]
fn what_is_in_use_goes_from_build_to_build() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (places, next) = (places(here.path()), super::tests::places(there.path()));
    let (store, used) = finished(&places);
    drop(store);
    tidy(&places, &["uv"]).unwrap();
    let names = upload(&places, &next);
    assert!(
        names.contains(&"wheelhouse/pylock.toml".to_owned()),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("fetched-1.0")
        || name.contains("lock-")
        || name.contains("tmp")));
    assert_eq!(
        restore(&next, &target("3.11.7")).unwrap(),
        Restored::Everything
    );
    let store = Store::open(next.cache()).unwrap();
    assert_eq!(
        store
            .digests()
            .unwrap()
            .into_iter()
            .collect::<BTreeSet<_>>(),
        used.into()
    );
    assert_eq!(store.info().unwrap().built, 1);
    assert!(store.find(&used[0]).unwrap().present().is_some());
    assert_eq!(
        fs::read(next.wheelhouse().join("pylock.toml")).unwrap(),
        b"lock"
    );
    assert!(!next.artifacts().exists());
}

#[test]
fn what_somebody_wrote_to_is_not_believed_by_the_next_build() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (places, next) = (places(here.path()), super::tests::places(there.path()));
    let (store, [damaged, whole, _]) = finished(&places);
    let entry = store.find(&damaged).unwrap().present().unwrap();
    fs::write(entry.path, "FETCHED").unwrap();
    upload(&places, &next);
    restore(&next, &target("3.11.7")).unwrap();
    let store = Store::open(next.cache()).unwrap();
    assert!(matches!(store.find(&damaged).unwrap(), Found::Corrupt(_)));
    assert!(store.find(&whole).unwrap().present().is_some());
}

#[test]
fn what_was_made_for_another_python_is_left_aside() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (places, next) = (places(here.path()), super::tests::places(there.path()));
    let (_store, _) = finished(&places);
    upload(&places, &next);
    let expected = Restored::Foreign("cp311-manylinux_2_36_x86_64".to_owned());
    assert_eq!(restore(&next, &target("3.11.8")).unwrap(), expected);
    assert!(!next.cache().exists() && !next.wheelhouse().exists());
    assert_eq!(
        restore(&next, &target("3.11.7")).unwrap(),
        Restored::Nothing
    );
}

#[test]
fn without_a_cache_the_tar_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    save(&places(directory.path()), &mut bytes).unwrap();
    assert_eq!(tar::Archive::new(&*bytes).entries().unwrap().count(), 0);
    assert!(!bytes.is_empty());
}
