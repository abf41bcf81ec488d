use std::collections::BTreeMap;

use super::*;
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Lookup};

fn paths(root: &Path) -> Paths {
    Paths {
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

/// Adds a file as the wheel of `name` 1.0.
fn add(store: &Store, name: &str) -> Sha256 {
    let mut writer = store.writer(ExpectedFile::any(name)).unwrap();
    writer.write(name.as_bytes()).unwrap();
    let sha256 = writer.finish().unwrap().sha256;
    store.save_metadata(&sha256, format!("Name: {name}\nVersion: 1.0\n").as_bytes());
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

/// The files of a completed build.
struct StoredFiles {
    fetched: Sha256,
    built: Sha256,
    /// The wheel that was used for building.
    builder: Sha256,
}

/// Creates a completed build: a fetched wheel, one built with `Builder`, and leftovers.
fn finished(paths: &Paths) -> StoredFiles {
    let store = Store::open(paths.cache()).unwrap();
    let [fetched, built, builder, _leftover] =
        ["fetched", "built", "Builder", "leftover"].map(|name| add(&store, name));
    let record = BuildRecord {
        key: None,
        filename: "built-1.0-py3-none-any.whl".to_owned(),
        sha256: built,
        size: 5,
        requirements: vec!["builder==1.0".to_owned()],
        python: "cpython 3.11.7".to_owned(),
        seconds: 0.0,
        glibc: None,
        inputs: None,
        run: None,
    };
    store
        .save_build_record(&BuildKey::new([("source", "a")]), &record)
        .unwrap();
    fs::create_dir_all(paths.cache().join("uv")).unwrap();
    fs::create_dir_all(paths.wheelhouse()).unwrap();
    fs::write(paths.wheelhouse().join("pylock.toml"), "lock").unwrap();
    for (name, sha256) in [("fetched", &fetched), ("built", &built)] {
        let stored = store.find(sha256).unwrap().hit().unwrap();
        let wheel = format!("{name}-1.0-py3-none-any.whl");
        fs::hard_link(stored.path, paths.wheelhouse().join(wheel)).unwrap();
    }
    let manifest = serde_json::json!({
        "schema": "wheelhouse-manifest/1", "generator": "", "requirements": [], "request": "", "files": [],
        "targets": [target("3.11.7")],
        "wheels": [wheel("fetched", fetched, None), wheel("built", built, Some(&["builder==1.0"]))],
    });
    fs::write(paths.wheelhouse().join(MANIFEST_NAME), manifest.to_string()).unwrap();
    StoredFiles {
        fetched,
        built,
        builder,
    }
}

fn tidy_after(paths: &Paths, all: bool) {
    tidy(paths, all, &BTreeSet::new(), &["uv"]).unwrap();
}

#[test]
fn what_an_engine_carries_more_quickly_is_slow() {
    let transfer = |milliseconds| DownloadStats {
        bytes: 100_000_000,
        time: Duration::from_millis(milliseconds),
    };
    assert!(!transfer(9_999).is_slow() && transfer(10_001).is_slow());
    assert!(!DownloadStats::default().is_slow());
}

/// Uploads the artifacts to `next`, and returns the names in the tar archive.
fn upload(paths: &Paths, next: &Paths) -> Vec<String> {
    let mut bytes = Vec::new();
    save(paths, &mut bytes).unwrap();
    tar::Archive::new(&*bytes).unpack(next.artifacts()).unwrap();
    let mut archive = tar::Archive::new(&*bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

#[test]
fn what_was_built_goes_from_build_to_build() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (paths, next) = (paths(here.path()), super::tests::paths(there.path()));
    let files = finished(&paths);
    tidy_after(&paths, false);
    let names = upload(&paths, &next);
    assert!(
        names.contains(&"cache/wheelhouse/pylock.toml".to_owned()),
        "{names:?}"
    );
    assert!(
        names.iter().all(|name| name.starts_with("cache")
            && !name.contains("lock-")
            && !name.contains("/."))
    );
    let expected = BTreeSet::from([files.built]);
    assert_eq!(
        restore(&next, &target("3.11.7")).unwrap(),
        RestoredArtifacts::Everything(expected)
    );
    let store = Store::open(next.cache()).unwrap();
    assert_eq!(store.usage().unwrap().built, 1);
    assert!(store.find(&files.built).unwrap().hit().is_some());
    assert_eq!(
        fs::read(next.wheelhouse().join("pylock.toml")).unwrap(),
        b"lock"
    );
    assert!(!next.artifacts().exists());
}

#[test]
fn what_was_slow_to_fetch_goes_along_for_ever() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (paths, next) = (paths(here.path()), super::tests::paths(there.path()));
    let files = finished(&paths);
    tidy_after(&paths, true);
    upload(&paths, &next);
    let all = BTreeSet::from([files.fetched, files.built, files.builder]);
    let restored = restore(&next, &target("3.11.7")).unwrap();
    assert_eq!(restored, RestoredArtifacts::Everything(all.clone()));
    tidy(&next, false, &all, &["uv"]).unwrap();
    let store = Store::open(next.cache()).unwrap();
    let kept: BTreeSet<_> = store.digests().unwrap().into_iter().collect();
    assert_eq!(kept, all);
}

#[test]
fn wheels_have_one_name_in_the_image() {
    let here = tempfile::tempdir().unwrap();
    let paths = paths(here.path());
    finished(&paths);
    tidy_after(&paths, true);
    for name in ["fetched", "built"] {
        let wheel = paths
            .wheelhouse()
            .join(format!("{name}-1.0-py3-none-any.whl"));
        let metadata = fs::metadata(&wheel).unwrap();
        assert_eq!(
            (metadata.nlink(), fs::read(wheel).unwrap()),
            (1, name.into())
        );
        assert_eq!(
            metadata.mtime(),
            i64::try_from(STORE_MTIME.as_secs()).unwrap()
        );
    }
}

#[test]
fn what_an_earlier_build_has_left_is_digested_again() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (paths, next) = (paths(here.path()), super::tests::paths(there.path()));
    let files = finished(&paths);
    tidy_after(&paths, true);
    upload(&paths, &next);
    // File times are not trusted, because the creator of the artifacts can set them.
    let path = |sha256: Sha256| {
        let name = sha256.to_string();
        let files = next.artifacts().join("cache/files-v1");
        files.join(&name[..2]).join(&name)
    };
    fs::write(path(files.fetched), "FETCHED").unwrap();
    let time = FileTime::from_unix_time(i64::try_from(STORE_MTIME.as_secs()).unwrap(), 0);
    filetime::set_file_mtime(path(files.fetched), time).unwrap();
    restore(&next, &target("3.11.7")).unwrap();
    let store = Store::open(next.cache()).unwrap();
    assert!(matches!(
        store.find(&files.fetched).unwrap(),
        Lookup::Corrupt(_)
    ));
    assert!(store.find(&files.built).unwrap().hit().is_some());
}

#[test]
fn what_was_made_for_another_python_is_left_aside() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (paths, next) = (paths(here.path()), super::tests::paths(there.path()));
    finished(&paths);
    tidy_after(&paths, false);
    upload(&paths, &next);
    let expected = RestoredArtifacts::Foreign("cp311-manylinux_2_36_x86_64".to_owned());
    assert_eq!(restore(&next, &target("3.11.8")).unwrap(), expected);
    assert!(!next.cache().exists() && !next.wheelhouse().exists());
    assert_eq!(
        restore(&next, &target("3.11.7")).unwrap(),
        RestoredArtifacts::Nothing
    );
}

#[test]
fn a_cache_without_locks_is_of_an_unknown_target() {
    let directory = tempfile::tempdir().unwrap();
    let paths = paths(directory.path());
    fs::create_dir_all(paths.artifacts().join("cache/http")).unwrap();
    let expected = RestoredArtifacts::Foreign("an unknown target".to_owned());
    assert_eq!(restore(&paths, &target("3.11.7")).unwrap(), expected);
}

#[test]
fn without_a_cache_the_tar_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    save(&paths(directory.path()), &mut bytes).unwrap();
    assert_eq!(tar::Archive::new(&*bytes).entries().unwrap().count(), 0);
    assert!(!bytes.is_empty());
}
