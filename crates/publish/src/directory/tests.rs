use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use wheelhouse_types::Kind;

use super::*;

pub(crate) mod support;

use support::{FullDisk, InterruptedFs, SampleSet, check_invariants, state};

fn before() -> SampleSet {
    SampleSet::new(
        &[
            ("a-1.whl", "a one"),
            ("b-1.whl", "b one"),
            ("c-1.whl", "c one"),
        ],
        &[
            ("pylock.toml", "one"),
            ("simple/a/index.html", "a"),
            ("simple/b/index.html", "b"),
        ],
    )
}

fn after() -> SampleSet {
    SampleSet::new(
        &[
            ("a-1.whl", "a one"),
            ("b-1.whl", "b other"),
            ("d-1.whl", "d one"),
        ],
        &[
            ("pylock.toml", "two"),
            ("simple/a/index.html", "a"),
            ("simple/d/index.html", "d"),
        ],
    )
}

/// The result of an uninterrupted run into a new directory.
fn clean_result(set: &SampleSet) -> BTreeMap<String, Option<String>> {
    let directory = tempfile::tempdir().unwrap();
    set.publish(&InterruptedFs::never(), directory.path())
        .unwrap();
    state(directory.path())
}

#[test]
fn directory_matches_set_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("made/with/parents");
    let published = before().publish(&RealFs, &root).unwrap();
    assert_eq!(published.written.len(), 6);
    check_invariants(&root, &[&before()]);
    fs::write(root.join("foreign.whl"), "mine").unwrap();
    fs::create_dir(root.join("notes")).unwrap();
    fs::create_dir(root.join("simple/extra")).unwrap();
    let published = after().publish(&RealFs, &root).unwrap();
    assert_eq!(
        published.written,
        ["b-1.whl", "d-1.whl", "pylock.toml", "simple/d/index.html"]
    );
    assert_eq!(published.removed, ["c-1.whl", "simple/b/index.html"]);
    assert_eq!(
        published.foreign,
        ["foreign.whl", "notes/", "simple/extra/"]
    );
    assert_eq!(published.unchanged, 2);
    let mut expected = clean_result(&after());
    expected.insert("foreign.whl".to_owned(), Some("mine".to_owned()));
    expected.insert("notes".to_owned(), None);
    expected.insert("simple/extra".to_owned(), None);
    assert_eq!(state(&root), expected);
}

#[test]
fn keeps_manifest_of_version_before() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let previous = || fs::read(root.join(PREVIOUS_NAME)).ok();
    let manifest = || fs::read(root.join(MANIFEST_NAME)).unwrap();
    before().publish(&RealFs, root).unwrap();
    assert_eq!(previous(), None);
    let first = manifest();
    for _ in 0..2 {
        // The second run changes nothing.
        let published = after().publish(&RealFs, root).unwrap();
        assert_eq!(published.foreign, [] as [&str; 0]);
        assert_eq!(previous(), Some(first.clone()));
    }
    let second = manifest();
    let _ = before().publish(&InterruptedFs::after(24), root);
    assert!(root.join(PENDING_NAME).exists());
    before().publish(&RealFs, root).unwrap();
    assert_eq!(manifest(), first);
    assert_eq!(previous(), Some(second));
}

#[test]
fn unchanged_set_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    before()
        .publish(&InterruptedFs::never(), directory.path())
        .unwrap();
    // The one permitted step ensures that the directory exists.
    let published = before()
        .publish(&InterruptedFs::after(1), directory.path())
        .unwrap();
    assert!(published.written.is_empty() && published.removed.is_empty());
    assert_eq!(published.unchanged, 6);
}

#[test]
fn trusts_wheel_with_placed_mtime() {
    let placed = staging::PLACED_MTIME;
    assert_eq!(placed, wheelhouse_store::STORE_MTIME);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&InterruptedFs::never(), root).unwrap();
    let manifest = fs::read(root.join(MANIFEST_NAME)).unwrap();
    // Another file of the same size, older than the manifest in both cases.
    for (time, written) in [
        (placed, &[][..]),
        (placed + Duration::from_secs(1), &["a-1.whl"]),
    ] {
        fs::write(root.join("a-1.whl"), "A ONE").unwrap();
        let wheel = fs::File::open(root.join("a-1.whl")).unwrap();
        wheel.set_modified(UNIX_EPOCH + time).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        fs::write(root.join(MANIFEST_NAME), &manifest).unwrap();
        let published = before().publish(&InterruptedFs::never(), root).unwrap();
        assert_eq!(published.written, written);
    }
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "a one");
}

#[cfg(unix)]
#[test]
fn digested_wheel_is_not_read_again() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let root = &directory.path().join("out");
    before().publish(&InterruptedFs::never(), root).unwrap();
    // Another wheelhouse from the same cache does this.
    std::thread::sleep(Duration::from_millis(50));
    fs::hard_link(root.join("a-1.whl"), directory.path().join("link")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    before().publish(&InterruptedFs::never(), root).unwrap();
    let changed = |name: &str| {
        let metadata = fs::metadata(root.join(name)).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    assert!(changed("a-1.whl") < changed(MANIFEST_NAME));
}

#[test]
fn next_run_completes_interrupted_run() {
    let (before, after) = (before(), after());
    for start in [None, Some(&before)] {
        let expected = clean_result(&after);
        for steps in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().join("out");
            if let Some(start) = start {
                start.publish(&InterruptedFs::never(), &root).unwrap();
            }
            let stopped = after.publish(&InterruptedFs::after(steps), &root).is_err();
            if root.exists() {
                check_invariants(&root, &[&before, &after]);
            }
            after.publish(&InterruptedFs::never(), &root).unwrap();
            assert_eq!(state(&root), expected, "after {steps} steps");
            if !stopped {
                assert!(steps > 10);
                break;
            }
        }
    }
}

#[test]
fn interrupted_runs_of_different_sets_are_completed() {
    let (before, after) = (before(), after());
    let third = SampleSet::new(
        &[("b-1.whl", "b one"), ("e-1.whl", "e")],
        &[("pylock.toml", "three")],
    );
    let expected = clean_result(&third);
    for first in 0..60 {
        for second in (0..60).step_by(7) {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            before.publish(&InterruptedFs::never(), root).unwrap();
            let _ = after.publish(&InterruptedFs::after(first), root);
            check_invariants(root, &[&before, &after]);
            let _ = third.publish(&InterruptedFs::after(second), root);
            check_invariants(root, &[&before, &after, &third]);
            third.publish(&InterruptedFs::never(), root).unwrap();
            assert_eq!(state(root), expected, "after {first} and {second} steps");
        }
    }
}

#[test]
fn removes_temporary_files_of_interrupted_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for name in [".wheelhouse-0.tmp", ".wheelhouse-aB3xYz", ".wheel"] {
        fs::write(root.join(name), "half").unwrap();
    }
    let published = before().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.foreign, [".wheel"]);
    assert!(!root.join(".wheelhouse-aB3xYz").exists());
}

#[test]
fn restores_modified_wheel_and_keeps_modified_stale_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&InterruptedFs::never(), root).unwrap();
    // The same length as before, so that only the content differs.
    fs::write(root.join("a-1.whl"), "A ONE").unwrap();
    fs::write(root.join("c-1.whl"), "mine!").unwrap();
    let published = after().publish(&InterruptedFs::never(), root).unwrap();
    assert!(published.written.contains(&"a-1.whl".to_owned()));
    assert_eq!(published.modified_since, ["c-1.whl"]);
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "a one");
    assert_eq!(fs::read_to_string(root.join("c-1.whl")).unwrap(), "mine!");
    let published = after().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.foreign, ["c-1.whl"]);
}

#[test]
fn reports_overwritten_foreign_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("pylock.toml"), "other").unwrap();
    let published = before().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.overwritten, ["pylock.toml"]);
}

#[test]
fn rejects_foreign_wheel_with_other_content() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("a-1.whl"), "mine").unwrap();
    let error = before().publish(&InterruptedFs::never(), root).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a-1.whl` exists with other content"),
        "{error}"
    );
    let found = fs::read_dir(root).unwrap().count();
    assert_eq!(found, 1, "nothing else was written");
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "mine");
}

#[test]
fn keeps_foreign_wheel_that_left_the_set() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("c-1.whl"), "c one").unwrap();
    for stop in [Some(9), None, None] {
        let fs_ops = stop.map_or_else(InterruptedFs::never, InterruptedFs::after);
        let _ = before().publish(&fs_ops, root);
    }
    let manifest = fs::read(root.join(MANIFEST_NAME)).unwrap();
    assert_eq!(Manifest::parse(&manifest).unwrap().found, ["c-1.whl"]);
    let published = after().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), [] as [&str; 0]);
    assert_eq!(published.foreign, ["c-1.whl"]);
    // After the user removed it and a run wrote it, it is removed like any other file.
    fs::remove_file(root.join("c-1.whl")).unwrap();
    before().publish(&InterruptedFs::never(), root).unwrap();
    let published = after().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), ["c-1.whl"]);
}

#[test]
fn publishes_over_damaged_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&InterruptedFs::never(), root).unwrap();
    fs::write(root.join(MANIFEST_NAME), "{").unwrap();
    after().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(fs::read_to_string(root.join("b-1.whl")).unwrap(), "b other");
    let published = before().publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), ["d-1.whl"]);
}

#[test]
fn foreign_file_survives_interrupted_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("pylock.toml"), "foreign").unwrap();
    // Interrupted after the journal was written and before any rename.
    let journal_written = (0..100).any(|steps| {
        let _ = before().publish(&InterruptedFs::after(steps), root);
        root.join(PENDING_NAME).exists()
    });
    assert!(journal_written);
    let empty = SampleSet::default();
    let published = empty.publish(&InterruptedFs::never(), root).unwrap();
    assert_eq!(published.modified_since, ["pylock.toml"]);
    assert_eq!(
        fs::read_to_string(root.join("pylock.toml")).unwrap(),
        "foreign"
    );
}

#[test]
fn malicious_manifest_affects_no_outside_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("out");
    let outside = directory.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    before().publish(&InterruptedFs::never(), &root).unwrap();
    symlink(&outside, &root.join("linked"));
    let mut manifest = before().manifest();
    manifest.files = vec![
        "../outside/kept".into(),
        "linked/kept".into(),
        "/etc/passwd".into(),
    ];
    fs::write(root.join(MANIFEST_NAME), manifest_bytes(&manifest)).unwrap();
    let published = after().publish(&InterruptedFs::never(), &root).unwrap();
    assert!(outside.join("kept").exists());
    assert_eq!(published.warnings.len(), 2);
}

#[test]
fn keeps_manifest_of_unknown_schema() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for text in ["{\"schema\": \"wheelhouse-manifest/9\"}", "{\"other\": 1}"] {
        fs::write(root.join(MANIFEST_NAME), text).unwrap();
        let error = before().publish(&InterruptedFs::never(), root).unwrap_err();
        assert_eq!(error.kind(), Kind::Publish);
        assert!(error.hint().is_some());
        assert_eq!(state(root).len(), 1);
    }
    fs::write(root.join(MANIFEST_NAME), "{\"sch").unwrap();
    let published = before().publish(&InterruptedFs::never(), root).unwrap();
    assert!(published.warnings[0].contains("is damaged"));
    check_invariants(root, &[&before()]);
}

#[test]
fn names_obstacle_with_hint() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let assert_rejected = |root: &Path, path: &Path| {
        let error = before().publish(&InterruptedFs::never(), root).unwrap_err();
        assert_eq!(error.kind(), Kind::Publish);
        let sentence = error.display_chain();
        assert!(sentence.contains(&path.display().to_string()), "{sentence}");
        assert!(error.hint().is_some(), "{sentence}");
    };
    assert_rejected(&file, &file);
    assert_rejected(&file.join("below"), &file);
    let root = directory.path().join("out");
    fs::create_dir_all(root.join("a-1.whl")).unwrap();
    assert_rejected(&root, &root.join("a-1.whl"));
    fs::remove_dir(root.join("a-1.whl")).unwrap();
    fs::write(root.join("simple"), "").unwrap();
    assert_rejected(&root, &root.join("simple"));
    fs::remove_file(root.join("simple")).unwrap();
    symlink(directory.path(), &root.join("simple"));
    assert_rejected(&root, &root.join("simple"));
}

#[test]
fn failure_before_journal_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&InterruptedFs::never(), root).unwrap();
    let expected = state(root);
    let full = FullDisk(AtomicUsize::new(2));
    assert!(after().publish(&full, root).is_err());
    assert_eq!(state(root), expected);
}

#[test]
fn concurrent_runs_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (before, after) = (before(), after());
    std::thread::scope(|scope| {
        for set in [&before, &after, &before, &after] {
            scope.spawn(move || {
                for _ in 0..20 {
                    set.publish(&InterruptedFs::never(), root).unwrap();
                }
            });
        }
    });
    check_invariants(root, &[&before, &after]);
    let result = state(root);
    assert!(result == clean_result(&before) || result == clean_result(&after));
}

fn symlink(target: &Path, path: &Path) {
    fs_err::os::unix::fs::symlink(target, path).unwrap();
}

fn any_set() -> impl Strategy<Value = SampleSet> {
    let wheels = prop::collection::btree_map("[ab]-[12]\\.whl", "[xy]{1,2}", 0..4);
    let files = prop::collection::btree_map("(p|simple/[ab]/[ij]|simple/k)", "[xy]", 0..4);
    (wheels, files).prop_map(|(wheels, files)| SampleSet { wheels, files })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_history_ends_in_last_set(history in prop::collection::vec((any_set(), 0..40_usize), 1..5), last in any_set()) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (set, steps) in &history {
            let _ = set.publish(&InterruptedFs::after(*steps), root);
        }
        last.publish(&InterruptedFs::never(), root).unwrap();
        prop_assert_eq!(state(root), clean_result(&last));
    }
}
