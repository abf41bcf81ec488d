//! The contents of the output directory after a run.

use std::path::Path;

use wheelhouse_publish::addition::AddedEntry;
use wheelhouse_publish::{AddOutcome, Addition, DirectoryPublisher};
use wheelhouse_types::manifest::{self, MANIFEST_NAME, PREVIOUS_NAME};
use wheelhouse_types::{Listing, Manifest, Origin};

use crate::support::{Index, Sandbox, Sdist, Wheel, sha256, tree};

fn manifest(wheelhouse: &Path) -> Manifest {
    Manifest::parse(&std::fs::read(wheelhouse.join(MANIFEST_NAME)).unwrap()).unwrap()
}

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0").requires("beta"));
    index.add(&Wheel::new("beta", "1.0"));
    index.add(&Wheel::new("beta", "2.0"));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    index
}

#[test]
fn contains_exactly_the_locked_set() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    let first = [
        "alpha-1.0-py3-none-any.whl",
        "beta-2.0-py3-none-any.whl",
        "gamma-1.0-py3-none-any.whl",
    ];
    assert_eq!(tree::wheels(&sandbox.out()), first);
    sandbox.build(&index, &["alpha", "beta<2"]).assert_success();
    let second = ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), second);
    let files = tree::read(&sandbox.out());
    let strays: Vec<_> = files
        .keys()
        .filter(|name| name.contains("gamma") || name.contains("2.0"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
    assert!(
        files.keys().all(|name| !name.starts_with('.')),
        "{:?}",
        files.keys()
    );
}

#[test]
fn records_upload_times() {
    let (index, sandbox) = (index(), Sandbox::new());
    let [alpha, gamma] = ["alpha-1.0-py3-none-any.whl", "gamma-1.0.tar.gz"];
    index.claim_upload_time(alpha, "2024-05-01T12:00:00.123456Z");
    index.claim_upload_time(gamma, "2023-01-01T00:00:00Z");
    let (of_alpha, of_gamma) = (Some(1_714_564_800_123), Some(1_672_531_200_000));
    // The second run takes the times from its lock.
    for _ in 0..2 {
        sandbox.build(&index, &["alpha", "gamma"]).assert_success();
        let wheels = manifest(&sandbox.out()).wheels;
        let times: Vec<_> = wheels.iter().map(|wheel| wheel.listing.uploaded).collect();
        // The wheel that was built has the time of its sdist.
        assert_eq!(times, [of_alpha, None, of_gamma]);
        let page = |format: &str| {
            let path = sandbox.out().join(format!("simple/gamma/index.{format}"));
            std::fs::read_to_string(path).unwrap()
        };
        let json = r#""upload-time":"2023-01-01T00:00:00.000000Z""#;
        assert!(page("json").contains(json), "{}", page("json"));
        let html = r#"data-upload-time="2023-01-01T00:00:00.000000Z""#;
        assert!(page("html").contains(html), "{}", page("html"));
    }
    sandbox
        .download(&index, &["alpha", "--no-bootstrap"])
        .assert_success();
    let wheels = manifest(&sandbox.out()).wheels;
    let times: Vec<_> = wheels.iter().map(|wheel| wheel.listing.uploaded).collect();
    assert_eq!(times, [of_alpha, None]);
}

#[test]
fn keeps_files_that_a_server_added() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    let first = std::fs::read(sandbox.out().join(MANIFEST_NAME)).unwrap();
    let wheel = Wheel::new("mine", "1.0");
    let publisher = DirectoryPublisher {
        directory: sandbox.out(),
        overwrite: false,
    };
    let incoming = publisher.incoming_file().unwrap();
    std::fs::write(incoming.path(), wheel.bytes()).unwrap();
    let entry = manifest::Wheel {
        filename: wheel.filename(),
        name: "mine".to_owned(),
        version: "1.0".to_owned(),
        sha256: sha256(&wheel.bytes()).parse().unwrap(),
        size: wheel.bytes().len() as u64,
        requires_python: None,
        dependencies: Vec::new(),
        origin: Origin::Upload,
        source: wheel.filename(),
        listing: Listing::default(),
        added: true,
        build_only: false,
        built: None,
    };
    let addition = Addition {
        entry: AddedEntry::Wheel(entry),
        metadata: Some(wheel.metadata_text().into_bytes()),
        status: None,
    };
    let outcome = publisher.add(incoming.path(), &addition).unwrap();
    assert_eq!(outcome, AddOutcome::Added);
    let out = sandbox.out().display().to_string();
    let mine = Path::new("simple/mine/index.html");
    for requirements in [&["alpha"][..], &["alpha", "gamma"], &["beta"]] {
        let verified = sandbox.wheelhouse(&["verify", &out]);
        verified.assert_success();
        assert!(
            !verified.stderr.contains("wheelhouse-previous"),
            "{}",
            verified.stderr
        );
        let run = sandbox.build(&index, requirements);
        run.assert_success();
        assert!(!run.stderr.contains("mine"), "{}", run.stderr);
        let wheels = manifest(&sandbox.out()).wheels;
        let added: Vec<_> = wheels.iter().filter(|wheel| wheel.added).collect();
        assert_eq!(added.len(), 1);
        assert_eq!(added[0].filename, wheel.filename());
        assert!(sandbox.out().join(mine).is_file());
    }
    sandbox.wheelhouse(&["verify", &out]).assert_success();
    let previous = std::fs::read(sandbox.out().join(PREVIOUS_NAME)).unwrap();
    assert!(previous != first && Manifest::parse(&previous).is_ok());
}

#[test]
fn keeps_and_reports_foreign_files() {
    let (index, sandbox) = (index(), Sandbox::new());
    let foreign = Wheel::new("mine", "1.0");
    std::fs::create_dir(sandbox.out()).unwrap();
    std::fs::write(sandbox.out().join(foreign.filename()), foreign.bytes()).unwrap();
    std::fs::write(sandbox.out().join("notes.txt"), "mine").unwrap();
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_success();
    assert!(
        run.stderr.contains(&foreign.filename()) && run.stderr.contains("notes.txt"),
        "{}",
        run.stderr
    );
    sandbox.build(&index, &["beta"]).assert_success();
    let files = tree::read(&sandbox.out());
    assert_eq!(files["notes.txt"], b"mine");
    assert_eq!(files[&foreign.filename()], foreign.bytes());
    assert!(!files.contains_key("alpha-1.0-py3-none-any.whl"));
}

#[test]
fn reports_removed_wheels() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    let run = sandbox.build(&index, &["beta<2", "--json"]);
    run.assert_success();
    let removed = run.stdout.lines().find(|line| line.contains("removed"));
    let removed: serde_json::Value = serde_json::from_str(removed.unwrap()).unwrap();
    assert_eq!(removed["event"], "removed");
    let names = [
        "alpha-1.0-py3-none-any.whl",
        "beta-2.0-py3-none-any.whl",
        "gamma-1.0-py3-none-any.whl",
    ];
    assert_eq!(removed["files"], serde_json::json!(names));
    let run = sandbox.build(&index, &["beta>=2"]);
    run.assert_success();
    let expected = "Removed 1 file of an earlier run from ";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    assert!(run.stderr.contains("beta-1.0-py3-none-any.whl"));
}

#[test]
fn never_replaces_or_removes_wheel_of_user() {
    let (index, sandbox) = (index(), Sandbox::new());
    std::fs::create_dir(sandbox.out()).unwrap();
    let own = sandbox.out().join("beta-1.0-py3-none-any.whl");
    std::fs::write(&own, Wheel::new("beta", "1.0").bytes()).unwrap();
    sandbox.build(&index, &["beta<2"]).assert_success();
    let run = sandbox.build(&index, &["beta>=2"]);
    run.assert_success();
    let is_named = run.stderr.contains("beta-1.0-py3-none-any.whl");
    assert!(is_named && own.exists(), "{}", run.stderr);
    std::fs::write(&own, "mine").unwrap();
    let run = sandbox.build(&index, &["beta<2"]);
    run.assert_error_names(&["beta-1.0-py3-none-any.whl", "exists with other content"]);
    assert_eq!(std::fs::read(&own).unwrap(), b"mine");
}

#[test]
fn does_not_remove_replaced_wheel() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    let path = sandbox.out().join("alpha-1.0-py3-none-any.whl");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let run = sandbox.build(&index, &["beta"]);
    run.assert_success();
    assert!(
        run.stderr.contains("alpha-1.0-py3-none-any.whl"),
        "{}",
        run.stderr
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn restores_missing_or_corrupt_wheel() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    let before = tree::read(&sandbox.out());
    let alpha = sandbox.out().join("alpha-1.0-py3-none-any.whl");
    let gamma = sandbox.out().join("gamma-1.0-py3-none-any.whl");
    std::fs::remove_file(&alpha).unwrap();
    std::fs::remove_file(&gamma).unwrap();
    std::fs::write(&gamma, "damaged").unwrap();
    for arguments in [
        &["alpha", "gamma"][..],
        &["alpha", "gamma", "--frozen", "--offline"],
    ] {
        sandbox.build(&index, arguments).assert_success();
        tree::assert_same(&tree::read(&sandbox.out()), &before);
    }
}

#[test]
fn detects_corruption_in_copied_directory() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["beta"]).assert_success();
    let files = tree::read(&sandbox.out());
    let copied = sandbox.path("copied");
    tree::copy(&sandbox.out(), &copied);
    let beta = "beta-2.0-py3-none-any.whl";
    let mut bytes = files[beta].clone();
    bytes[10] ^= 1;
    std::fs::write(copied.join(beta), bytes).unwrap();
    // Timestamps of filesystems have a coarse resolution.
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::write(copied.join("wheelhouse.json"), &files["wheelhouse.json"]).unwrap();
    sandbox
        .start_into(&index, &copied, &sandbox.cache(), &["beta"])
        .finish()
        .assert_success();
    tree::assert_same(&tree::read(&copied), &files);
}

#[test]
fn output_is_reproducible_with_any_cache() {
    let (index, sandbox) = (index(), Sandbox::new());
    let trees: Vec<_> = ["one", "two"]
        .map(|name| {
            let (out, cache) = (sandbox.path(name), sandbox.path(&format!("cache-{name}")));
            sandbox
                .start_into(&index, &out, &cache, &["alpha", "gamma"])
                .finish()
                .assert_success();
            tree::read(&out)
        })
        .into();
    tree::assert_same(&trees[0], &trees[1]);
}

#[test]
fn unchanged_run_writes_and_requests_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    let stamps = || -> Vec<_> {
        let entries = walkdir::WalkDir::new(sandbox.out())
            .sort_by_file_name()
            .into_iter();
        let stamp =
            |metadata: std::fs::Metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        entries
            .map(|entry| stamp(entry.unwrap().metadata().unwrap()))
            .collect()
    };
    let before = stamps();
    index.forget_requests();
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    assert_eq!(stamps(), before);
    assert!(index.requests("").is_empty(), "{:?}", index.requests(""));
}

#[test]
fn manifest_lists_wheels_with_digests() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    let files = tree::read(&sandbox.out());
    let manifest: serde_json::Value = serde_json::from_slice(&files["wheelhouse.json"]).unwrap();
    let wheels = manifest["wheels"].as_array().unwrap();
    assert_eq!(wheels.len(), 3);
    for wheel in wheels {
        let bytes = &files[wheel["filename"].as_str().unwrap()];
        assert_eq!(wheel["sha256"], sha256(bytes));
        assert_eq!(wheel["size"], bytes.len());
    }
}

#[test]
fn second_wheelhouse_makes_first_read_wheels_once() {
    use std::os::unix::fs::MetadataExt as _;
    let (index, sandbox) = (index(), Sandbox::new());
    let linked = ["alpha", "--link-mode=hardlink"];
    sandbox.build(&index, &linked).assert_success();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let other = sandbox.path("other");
    let run = sandbox.start_into(&index, &other, &sandbox.cache(), &linked);
    run.finish().assert_success();
    let changed = |path: std::path::PathBuf| {
        let metadata = std::fs::metadata(path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let wheel = || sandbox.out().join("alpha-1.0-py3-none-any.whl");
    let manifest = || sandbox.out().join("wheelhouse.json");
    assert!(changed(wheel()) > changed(manifest()), "no link was added");
    sandbox.build(&index, &linked).assert_success();
    // A run that reads wheels writes a newer manifest, and the next one does not read them.
    assert!(changed(wheel()) < changed(manifest()));
    let before = changed(manifest());
    sandbox.build(&index, &linked).assert_success();
    assert_eq!(changed(manifest()), before);
    // A change of the shared file is detected, even if its modification time is restored.
    let placed = std::fs::metadata(wheel()).unwrap().modified().unwrap();
    let mut damaged = std::fs::read(wheel()).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(wheel(), damaged).unwrap();
    let file = std::fs::File::open(wheel()).unwrap();
    file.set_modified(placed).unwrap();
    sandbox.build(&index, &linked).assert_success();
    let bytes = Wheel::new("alpha", "1.0").requires("beta").bytes();
    assert_eq!(std::fs::read(wheel()).unwrap(), bytes);
}
