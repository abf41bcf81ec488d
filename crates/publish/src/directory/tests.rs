use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use wheelhouse_types::Kind;

use super::*;

mod support;

use support::{Full, Set, Stopping, check_invariants, state};

fn before() -> Set {
    Set::new(
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

fn after() -> Set {
    Set::new(
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

/// What an undisturbed run from nothing gives.
fn undisturbed(set: &Set) -> BTreeMap<String, Option<String>> {
    let directory = tempfile::tempdir().unwrap();
    set.publish(&Stopping::never(), directory.path()).unwrap();
    state(directory.path())
}

#[test]
fn a_directory_holds_exactly_the_set() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("made/with/parents");
    let published = before().publish(&Disk, &root).unwrap();
    assert_eq!(published.put.len(), 6);
    check_invariants(&root, &[&before()]);
    fs::write(root.join("foreign.whl"), "mine").unwrap();
    fs::create_dir(root.join("notes")).unwrap();
    fs::create_dir(root.join("simple/extra")).unwrap();
    let published = after().publish(&Disk, &root).unwrap();
    assert_eq!(
        published.put,
        ["b-1.whl", "d-1.whl", "pylock.toml", "simple/d/index.html"]
    );
    assert_eq!(published.removed, ["c-1.whl", "simple/b/index.html"]);
    assert_eq!(
        published.foreign,
        ["foreign.whl", "notes/", "simple/extra/"]
    );
    assert_eq!(published.unchanged, 2);
    let mut expected = undisturbed(&after());
    expected.insert("foreign.whl".to_owned(), Some("mine".to_owned()));
    expected.insert("notes".to_owned(), None);
    expected.insert("simple/extra".to_owned(), None);
    assert_eq!(state(&root), expected);
}

#[test]
fn an_unchanged_set_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    before()
        .publish(&Stopping::never(), directory.path())
        .unwrap();
    // One step: the directory itself is made sure of.
    let published = before()
        .publish(&Stopping::after(1), directory.path())
        .unwrap();
    assert!(published.put.is_empty() && published.removed.is_empty());
    assert_eq!(published.unchanged, 6);
}

#[test]
fn a_wheel_is_believed_by_the_time_that_it_was_placed_with() {
    let placed = staging::PLACED_TIME;
    assert_eq!(placed, wheelhouse_store::STORE_MTIME);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&Stopping::never(), root).unwrap();
    let manifest = fs::read(root.join(MANIFEST_NAME)).unwrap();
    // Another one of its size, and a manifest that is younger in any case.
    for (time, put) in [
        (placed, &[][..]),
        (placed + Duration::from_secs(1), &["a-1.whl"]),
    ] {
        fs::write(root.join("a-1.whl"), "A ONE").unwrap();
        let wheel = fs::File::open(root.join("a-1.whl")).unwrap();
        wheel.set_modified(UNIX_EPOCH + time).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        fs::write(root.join(MANIFEST_NAME), &manifest).unwrap();
        let published = before().publish(&Stopping::never(), root).unwrap();
        assert_eq!(published.put, put);
    }
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "a one");
}

#[cfg(unix)]
#[test]
fn what_was_read_once_is_believed_the_next_time() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let root = &directory.path().join("out");
    before().publish(&Stopping::never(), root).unwrap();
    // As another wheelhouse does that is made from the same cache.
    std::thread::sleep(Duration::from_millis(50));
    fs::hard_link(root.join("a-1.whl"), directory.path().join("link")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    before().publish(&Stopping::never(), root).unwrap();
    let changed = |name: &str| {
        let metadata = fs::metadata(root.join(name)).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    assert!(changed("a-1.whl") < changed(MANIFEST_NAME));
}

#[test]
fn a_run_stopped_anywhere_is_completed_by_the_next() {
    let (before, after) = (before(), after());
    for start in [None, Some(&before)] {
        let expected = undisturbed(&after);
        for steps in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().join("out");
            if let Some(start) = start {
                start.publish(&Stopping::never(), &root).unwrap();
            }
            let stopped = after.publish(&Stopping::after(steps), &root).is_err();
            if root.exists() {
                check_invariants(&root, &[&before, &after]);
            }
            after.publish(&Stopping::never(), &root).unwrap();
            assert_eq!(state(&root), expected, "after {steps} steps");
            if !stopped {
                assert!(steps > 10);
                break;
            }
        }
    }
}

#[test]
fn a_stopped_run_can_be_followed_by_another_set_and_stopped_again() {
    let (before, after) = (before(), after());
    let third = Set::new(
        &[("b-1.whl", "b one"), ("e-1.whl", "e")],
        &[("pylock.toml", "three")],
    );
    let expected = undisturbed(&third);
    for first in 0..60 {
        for second in (0..60).step_by(7) {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            before.publish(&Stopping::never(), root).unwrap();
            let _ = after.publish(&Stopping::after(first), root);
            check_invariants(root, &[&before, &after]);
            let _ = third.publish(&Stopping::after(second), root);
            check_invariants(root, &[&before, &after, &third]);
            third.publish(&Stopping::never(), root).unwrap();
            assert_eq!(state(root), expected, "after {first} and {second} steps");
        }
    }
}

#[test]
fn temporary_files_of_a_stopped_run_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for name in [".wheelhouse-0.tmp", ".wheelhouse-aB3xYz", ".wheel"] {
        fs::write(root.join(name), "half").unwrap();
    }
    let published = before().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.foreign, [".wheel"]);
    assert!(!root.join(".wheelhouse-aB3xYz").exists());
}

#[test]
fn what_others_changed_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&Stopping::never(), root).unwrap();
    // As long as before, so that only the content tells.
    fs::write(root.join("a-1.whl"), "A ONE").unwrap();
    fs::write(root.join("c-1.whl"), "mine!").unwrap();
    let published = after().publish(&Stopping::never(), root).unwrap();
    assert!(published.put.contains(&"a-1.whl".to_owned()));
    assert_eq!(published.replaced_since, ["c-1.whl"]);
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "a one");
    assert_eq!(fs::read_to_string(root.join("c-1.whl")).unwrap(), "mine!");
    let published = after().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.foreign, ["c-1.whl"]);
}

#[test]
fn a_foreign_file_in_the_way_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("pylock.toml"), "other").unwrap();
    let published = before().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.overwritten, ["pylock.toml"]);
}

#[test]
fn a_foreign_wheel_in_the_way_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("a-1.whl"), "mine").unwrap();
    let error = before().publish(&Stopping::never(), root).unwrap_err();
    assert!(
        error.to_string().contains("a-1.whl` is in the way"),
        "{error}"
    );
    let found = fs::read_dir(root).unwrap().count();
    assert_eq!(found, 1, "nothing else was written");
    assert_eq!(fs::read_to_string(root.join("a-1.whl")).unwrap(), "mine");
}

#[test]
fn a_foreign_wheel_of_the_set_stays_when_the_set_has_it_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("c-1.whl"), "c one").unwrap();
    for stop in [Some(9), None, None] {
        let operations = stop.map_or_else(Stopping::never, Stopping::after);
        let _ = before().publish(&operations, root);
    }
    let manifest = fs::read(root.join(MANIFEST_NAME)).unwrap();
    assert_eq!(Manifest::parse(&manifest).unwrap().found, ["c-1.whl"]);
    let published = after().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), [] as [&str; 0]);
    assert_eq!(published.foreign, ["c-1.whl"]);
    // Removed by the user and put there by a run, it goes as any other.
    fs::remove_file(root.join("c-1.whl")).unwrap();
    before().publish(&Stopping::never(), root).unwrap();
    let published = after().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), ["c-1.whl"]);
}

#[test]
fn a_lost_manifest_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&Stopping::never(), root).unwrap();
    fs::write(root.join(MANIFEST_NAME), "{").unwrap();
    after().publish(&Stopping::never(), root).unwrap();
    assert_eq!(fs::read_to_string(root.join("b-1.whl")).unwrap(), "b other");
    let published = before().publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.removed_distributions(), ["d-1.whl"]);
}

#[test]
fn a_file_never_put_there_survives_a_stopped_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join("pylock.toml"), "foreign").unwrap();
    // Stopped when the journal is written and nothing is renamed yet.
    let journal_written = (0..100).any(|steps| {
        let _ = before().publish(&Stopping::after(steps), root);
        root.join(PENDING_NAME).exists()
    });
    assert!(journal_written);
    let empty = Set::default();
    let published = empty.publish(&Stopping::never(), root).unwrap();
    assert_eq!(published.replaced_since, ["pylock.toml"]);
    assert_eq!(
        fs::read_to_string(root.join("pylock.toml")).unwrap(),
        "foreign"
    );
}

#[test]
fn a_hostile_manifest_reaches_nothing_outside() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("out");
    let outside = directory.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    before().publish(&Stopping::never(), &root).unwrap();
    symlink(&outside, &root.join("linked"));
    let mut manifest = before().manifest();
    manifest.files = vec![
        "../outside/kept".into(),
        "linked/kept".into(),
        "/etc/passwd".into(),
    ];
    fs::write(root.join(MANIFEST_NAME), journal::json(&manifest)).unwrap();
    let published = after().publish(&Stopping::never(), &root).unwrap();
    assert!(outside.join("kept").exists());
    assert_eq!(published.warnings.len(), 2);
}

#[test]
fn a_manifest_that_is_not_understood_is_never_lost() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for text in ["{\"schema\": \"wheelhouse-manifest/9\"}", "{\"other\": 1}"] {
        fs::write(root.join(MANIFEST_NAME), text).unwrap();
        let error = before().publish(&Stopping::never(), root).unwrap_err();
        assert_eq!(error.kind(), Kind::Publish);
        assert!(error.hint().is_some());
        assert_eq!(state(root).len(), 1);
    }
    fs::write(root.join(MANIFEST_NAME), "{\"sch").unwrap();
    let published = before().publish(&Stopping::never(), root).unwrap();
    assert!(published.warnings[0].contains("is damaged"));
    check_invariants(root, &[&before()]);
}

#[test]
fn what_stands_in_the_way_is_named_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = |root: &Path, place: &Path| {
        let error = before().publish(&Stopping::never(), root).unwrap_err();
        assert_eq!(error.kind(), Kind::Publish);
        let sentence = error.sentence();
        assert!(
            sentence.contains(&place.display().to_string()),
            "{sentence}"
        );
        assert!(error.hint().is_some(), "{sentence}");
    };
    refused(&file, &file);
    refused(&file.join("below"), &file);
    let root = directory.path().join("out");
    fs::create_dir_all(root.join("a-1.whl")).unwrap();
    refused(&root, &root.join("a-1.whl"));
    fs::remove_dir(root.join("a-1.whl")).unwrap();
    fs::write(root.join("simple"), "").unwrap();
    refused(&root, &root.join("simple"));
    fs::remove_file(root.join("simple")).unwrap();
    symlink(directory.path(), &root.join("simple"));
    refused(&root, &root.join("simple"));
}

#[test]
fn a_failure_before_the_journal_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    before().publish(&Stopping::never(), root).unwrap();
    let expected = state(root);
    let full = Full(AtomicUsize::new(2));
    assert!(after().publish(&full, root).is_err());
    assert_eq!(state(root), expected);
}

#[test]
fn two_runs_at_once_both_end_well() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (before, after) = (before(), after());
    std::thread::scope(|scope| {
        for set in [&before, &after, &before, &after] {
            scope.spawn(move || {
                for _ in 0..20 {
                    set.publish(&Stopping::never(), root).unwrap();
                }
            });
        }
    });
    check_invariants(root, &[&before, &after]);
    let end = state(root);
    assert!(end == undisturbed(&before) || end == undisturbed(&after));
}

fn symlink(target: &Path, path: &Path) {
    fs_err::os::unix::fs::symlink(target, path).unwrap();
}

fn any_set() -> impl Strategy<Value = Set> {
    let wheels = prop::collection::btree_map("[ab]-[12]\\.whl", "[xy]{1,2}", 0..4);
    let files = prop::collection::btree_map("(p|simple/[ab]/[ij]|simple/k)", "[xy]", 0..4);
    (wheels, files).prop_map(|(wheels, files)| Set { wheels, files })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_history_ends_in_the_last_set(history in prop::collection::vec((any_set(), 0..40_usize), 1..5), last in any_set()) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (set, steps) in &history {
            let _ = set.publish(&Stopping::after(*steps), root);
        }
        last.publish(&Stopping::never(), root).unwrap();
        prop_assert_eq!(state(root), undisturbed(&last));
    }
}
