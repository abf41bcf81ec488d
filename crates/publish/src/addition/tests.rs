use std::collections::BTreeMap;

use wheelhouse_types::manifest::PREVIOUS_NAME;
use wheelhouse_types::{Listing, Origin, StatusMarker};

use super::*;
use crate::directory::tests::support::{InterruptedFs, SampleSet, state, wheel};

fn addition(filename: &str, text: &str) -> Addition {
    let (name, _) = filename.split_once('-').unwrap();
    Addition {
        entry: AddedEntry::Wheel(Wheel {
            name: name.to_owned(),
            origin: Origin::Upload,
            source: filename.to_owned(),
            listing: Listing {
                uploaded: Some(1_714_564_800_000),
                ..Listing::default()
            },
            ..wheel(filename, text)
        }),
        metadata: Some(format!("Name: {name}\n").into_bytes()),
        status: None,
    }
}

fn publisher(root: &Path) -> DirectoryPublisher {
    DirectoryPublisher {
        directory: root.to_owned(),
        overwrite: false,
    }
}

fn add_with(fs_ops: &dyn FsOps, root: &Path, filename: &str, text: &str) -> Result<AddOutcome> {
    let incoming = publisher(root).incoming_file().unwrap();
    fs::write(incoming.path(), text).unwrap();
    add(fs_ops, root, incoming.path(), &addition(filename, text))
}

fn add_file(root: &Path, filename: &str, text: &str) -> Result<AddOutcome> {
    add_with(&RealFs, root, filename, text)
}

fn manifest(root: &Path) -> Manifest {
    Manifest::parse(&fs::read(root.join(MANIFEST_NAME)).unwrap()).unwrap()
}

fn text(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap()
}

/// Asserts that the directory has exactly the files of its manifest, and the pages of exactly these.
fn check_complete(root: &Path) {
    let manifest = manifest(root);
    let read = |name: &str| fs::read(root.join(name)).ok();
    let indexed = simple_index::indexed_files(&manifest, read);
    for (name, bytes) in simple_index::pages(&indexed, &manifest.project_status) {
        assert_eq!(
            text(root, &name),
            String::from_utf8(bytes).unwrap(),
            "{name}"
        );
        assert!(manifest.files.contains(&name), "{name}");
    }
    let listed: BTreeMap<String, Option<Sha256>> = manifest
        .distributions()
        .map(|file| (file.filename.to_owned(), Some(file.sha256)))
        .chain(manifest.files.iter().map(|name| (name.clone(), None)))
        .collect();
    let found: BTreeMap<String, String> = state(root)
        .into_iter()
        .filter_map(|(name, content)| Some((name, content?)))
        .filter(|(name, _)| name != MANIFEST_NAME)
        .collect();
    assert!(
        listed.keys().eq(found.keys()),
        "{listed:?} {:?}",
        found.keys()
    );
    for (name, digest) in listed {
        if let Some(digest) = digest {
            assert_eq!(Sha256::of(found[&name].as_bytes()), digest, "{name}");
        }
    }
}

#[test]
fn adds_to_new_directory_and_never_replaces() {
    let directory = tempfile::tempdir().unwrap();
    let root = &directory.path().join("new");
    assert_eq!(add_file(root, "a-1.whl", "one").unwrap(), AddOutcome::Added);
    check_complete(root);
    let before = state(root);
    assert_eq!(
        add_file(root, "a-1.whl", "one").unwrap(),
        AddOutcome::AlreadyThere
    );
    assert_eq!(
        add_file(root, "a-1.whl", "two").unwrap(),
        AddOutcome::Conflict
    );
    assert_eq!(state(root), before);
    assert_eq!(add_file(root, "b-1.whl", "b").unwrap(), AddOutcome::Added);
    assert_eq!(add_file(root, "a-2.whl", "two").unwrap(), AddOutcome::Added);
    check_complete(root);
    let page = text(root, "simple/a/index.json");
    assert!(page.contains("2024-05-01T12:00:00.000000Z"), "{page}");
    assert_eq!(
        text(root, "simple/a/index.json")
            .matches("core-metadata")
            .count(),
        2
    );
}

#[test]
fn restores_missing_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    add_file(root, "a-1.whl", "one").unwrap();
    let before = state(root);
    fs::remove_file(root.join("a-1.whl")).unwrap();
    assert_eq!(
        add_file(root, "a-1.whl", "two").unwrap(),
        AddOutcome::Conflict
    );
    assert_eq!(add_file(root, "a-1.whl", "one").unwrap(), AddOutcome::Added);
    assert_eq!(state(root), before);
}

#[test]
fn keeps_file_of_the_user() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    add_file(root, "a-1.whl", "one").unwrap();
    fs::write(root.join("b-1.whl"), "mine").unwrap();
    assert_eq!(
        add_file(root, "b-1.whl", "new").unwrap(),
        AddOutcome::Conflict
    );
    assert_eq!(text(root, "b-1.whl"), "mine");
    assert_eq!(
        add_file(root, "b-1.whl", "mine").unwrap(),
        AddOutcome::Added
    );
    assert_eq!(manifest(root).found, ["b-1.whl"]);
    fs::create_dir_all(root.join("simple/c")).unwrap();
    fs::write(root.join("simple/c/index.html"), "mine").unwrap();
    let before = state(root);
    add_file(root, "c-1.whl", "c").unwrap_err();
    assert_eq!(state(root), before);
}

#[test]
fn concurrent_additions_of_same_file_add_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let outcomes: Vec<AddOutcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..1000)
            .map(|_| scope.spawn(|| add_file(root, "a-1.whl", "one").unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let count = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    assert_eq!(count(AddOutcome::Added), 1);
    assert_eq!(count(AddOutcome::AlreadyThere), 999);
    check_complete(root);
}

#[test]
fn concurrent_additions_of_different_files_add_all() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::thread::scope(|scope| {
        for index in 0..40 {
            scope.spawn(move || {
                let name = format!("{}-{index}.whl", ["a", "b", "c"][index % 3]);
                assert_eq!(add_file(root, &name, &name).unwrap(), AddOutcome::Added);
            });
        }
    });
    assert_eq!(manifest(root).wheels.len(), 40);
    check_complete(root);
}

#[test]
fn runs_keep_added_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let set = |files: &[(&str, &str)]| {
        let wheels: Vec<(&str, &str)> = [("s-1.whl", "set")].iter().chain(files).copied().collect();
        SampleSet::new(&wheels, &[])
    };
    set(&[]).publish(&RealFs, root).unwrap();
    let request = manifest(root).request;
    add_file(root, "a-1.whl", "one").unwrap();
    add_file(root, "b-1.whl", "b").unwrap();
    assert_eq!(manifest(root).request, request);
    let published = set(&[("t-1.whl", "more")]).publish(&RealFs, root).unwrap();
    assert_eq!(published.written, ["t-1.whl"]);
    let kept = manifest(root);
    let added = |manifest: &Manifest| {
        let wheels = manifest.wheels.iter().filter(|wheel| wheel.added);
        let names = wheels.map(|wheel| wheel.filename.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(added(&kept), ["a-1.whl", "b-1.whl"]);
    assert!(kept.files.contains(&"a-1.whl.metadata".to_owned()));
    // A set with the same file takes it over, and one with another file of this name fails.
    let error = set(&[("a-1.whl", "other")])
        .publish(&RealFs, root)
        .unwrap_err();
    assert!(error.to_string().contains("a-1.whl"), "{error}");
    assert_eq!(text(root, "a-1.whl"), "one");
    set(&[("a-1.whl", "one")]).publish(&RealFs, root).unwrap();
    assert_eq!(added(&manifest(root)), ["b-1.whl"]);
    // What the user removes or changes is no longer listed.
    fs::remove_file(root.join("b-1.whl")).unwrap();
    set(&[]).publish(&RealFs, root).unwrap();
    assert_eq!(added(&manifest(root)), [] as [&str; 0]);
    assert!(!root.join("b-1.whl.metadata").exists());
}

#[test]
fn next_addition_completes_interrupted_one() {
    let expected = {
        let directory = tempfile::tempdir().unwrap();
        add_file(directory.path(), "a-1.whl", "one").unwrap();
        add_file(directory.path(), "c-1.whl", "c").unwrap();
        state(directory.path())
    };
    for steps in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        add_file(root, "a-1.whl", "one").unwrap();
        let before = manifest(root);
        let fs_ops = InterruptedFs::after(steps);
        let stopped = add_with(&fs_ops, root, "b-1.whl", "b").is_err();
        // At every step, the manifest is complete, and its files exist.
        let now = manifest(root);
        assert!(
            now == before || now.wheels.len() == 2,
            "after {steps} steps"
        );
        for file in now.distributions() {
            let bytes = fs::read(root.join(file.filename)).unwrap();
            assert_eq!(Sha256::of(&bytes), file.sha256);
        }
        assert!(now.files.iter().all(|name| root.join(name).is_file()));
        // Another content of the file that was not added is accepted.
        if now == before {
            assert_eq!(add_file(root, "c-1.whl", "c").unwrap(), AddOutcome::Added);
            assert_eq!(state(root), expected, "after {steps} steps");
            assert_eq!(
                add_file(root, "b-1.whl", "other").unwrap(),
                AddOutcome::Added
            );
        } else {
            add_file(root, "c-1.whl", "c").unwrap();
        }
        check_complete(root);
        if !stopped {
            assert!(steps > 10);
            break;
        }
    }
}

#[test]
fn rejects_directories_that_are_not_wheelhouses() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let assert_rejected = |words: &str| {
        let before = state(root);
        let error = add_file(root, "a-1.whl", "one").unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(state(root), before);
    };
    fs::write(root.join("x-1.whl"), "mine").unwrap();
    assert_rejected("no manifest");
    fs::write(root.join(MANIFEST_NAME), "{").unwrap();
    assert_rejected("is damaged");
    fs::remove_file(root.join(MANIFEST_NAME)).unwrap();
    fs::remove_file(root.join("x-1.whl")).unwrap();
    let set = SampleSet::new(&[("s-1.whl", "set")], &[]);
    set.publish(&RealFs, root).unwrap();
    let next = SampleSet::new(&[("t-1.whl", "set")], &[]);
    let interrupted = (0..100).any(|steps| {
        let _ = next.publish(&InterruptedFs::after(steps), root);
        root.join(PENDING_NAME).exists()
    });
    assert!(interrupted);
    assert_rejected("was interrupted");
    let error = add_file(root, "../a-1.whl", "one").unwrap_err();
    assert!(error.to_string().contains("unsafe"), "{error}");
}

#[test]
fn scratch_files_in_use_survive_runs() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let incoming = publisher(root).incoming_file().unwrap();
    let set = SampleSet::new(&[("s-1.whl", "set")], &[]);
    let published = set.publish(&RealFs, root).unwrap();
    assert!(incoming.path().exists());
    assert_eq!(published.foreign, [] as [&str; 0]);
    assert!(!root.join(PREVIOUS_NAME).exists());
}

#[test]
fn records_status_of_project() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let incoming = publisher(root).incoming_file().unwrap();
    fs::write(incoming.path(), "one").unwrap();
    let archived = ProjectStatus {
        status: StatusMarker::Archived,
        reason: None,
    };
    let addition = Addition {
        status: Some(archived),
        ..addition("a-1.whl", "one")
    };
    publisher(root).add(incoming.path(), &addition).unwrap();
    let page = text(root, "simple/a/index.json");
    assert!(
        page.contains(r#""project-status":{"status":"archived"}"#),
        "{page}"
    );
    check_complete(root);
}
