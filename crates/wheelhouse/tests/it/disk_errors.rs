//! Full and read-only filesystems, corrupt caches and concurrent runs.

use std::path::{Path, PathBuf};

use crate::support::mounts::Mount;
use crate::support::{Behavior, Index, Sandbox, Sdist, Wheel, python_literal, sha256, tree};

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0").padded(1_500_000));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    index
}

const WANTED: [&str; 2] = ["alpha", "gamma"];

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn full_output_disk_is_an_error_and_keeps_old_wheelhouse() {
    let (index, sandbox) = (index(), Sandbox::new());
    let _disk = Mount::memory(&sandbox.out(), 1_000_000);
    sandbox.build(&index, &["gamma"]).assert_success();
    let before = tree::read(&sandbox.out());
    let run = sandbox.build(&index, &WANTED);
    run.assert_exit(7)
        .assert_error_names(&[&sandbox.out().display().to_string(), "space"]);
    tree::assert_same(&tree::read(&sandbox.out()), &before);
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn full_cache_disk_is_an_error() {
    let (index, sandbox) = (index(), Sandbox::new());
    let _disk = Mount::memory(&sandbox.cache(), 1_000_000);
    let cache = sandbox.cache().display().to_string();
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&[&cache, "space", "hint: "]);
    // Either the download or the build fails first.
    let run = sandbox.build(&index, &WANTED);
    assert!(matches!(run.status.code(), Some(4 | 5)), "{}", run.stderr);
    run.assert_error_names(&[&cache, "space"]);
    assert!(!sandbox.out().exists(), "a failed run left an output");
    let left: Vec<_> = tree::read(&sandbox.cache())
        .into_keys()
        .filter(|name| name.contains(".tmp-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn full_cache_disk_is_an_error_at_any_stage() {
    let (index, sandbox) = (index(), Sandbox::new());
    let cache = sandbox.cache().display().to_string();
    // The sizes range from too small for a cache, through too small for querying the interpreter, to almost enough
    // for the build.
    for pages in (1..35).step_by(3) {
        let _disk = Mount::memory(&sandbox.cache(), pages * 4096);
        let run = sandbox.build(&index, &["gamma"]);
        assert!(matches!(run.status.code(), Some(4 | 5)), "{}", run.stderr);
        run.assert_error_names(&[&cache, "hint: "]);
        let told = run.stderr.to_lowercase();
        assert!(told.contains("free some space"), "{}", run.stderr);
    }
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn read_only_output_is_an_error() {
    let (index, sandbox) = (index(), Sandbox::new());
    let disk = Mount::memory(&sandbox.out(), 10_000_000);
    disk.make_read_only();
    let run = sandbox.build(&index, &WANTED);
    run.assert_exit(7)
        .assert_error_names(&[&sandbox.out().display().to_string(), "ead-only"]);
}

#[test]
fn output_below_a_file_is_an_error() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("file", "");
    let out = sandbox.path("file/out");
    let run = sandbox
        .start_into(&index, &out, &sandbox.cache(), &WANTED)
        .finish();
    run.assert_exit(7)
        .assert_error_names(&[&out.display().to_string()]);
}

fn assert_falls_back(index: &Index, sandbox: &Sandbox, cache: &Path) {
    let run = sandbox
        .start_into(index, &sandbox.out(), cache, &WANTED)
        .finish();
    run.assert_success();
    let said = run.stderr.lines().any(|line| {
        line.starts_with("warning: ")
            && line.contains(&cache.display().to_string())
            && line.contains("temporary")
    });
    assert!(said, "{}", run.stderr);
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
    assert!(
        tree::read(&sandbox.path("tmp")).is_empty(),
        "temporary files stay behind"
    );
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn falls_back_to_temporary_cache() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.write("file", "");
    assert_falls_back(&index, &sandbox, &sandbox.path("file/cache"));
    let disk = Mount::memory(&sandbox.cache(), 10_000_000);
    disk.make_read_only();
    std::fs::remove_dir_all(sandbox.out()).unwrap();
    assert_falls_back(&index, &sandbox, &sandbox.cache());
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn uses_complete_read_only_cache() {
    let (index, sandbox) = (index(), Sandbox::new());
    let disk = Mount::memory(&sandbox.cache(), 20_000_000);
    sandbox.build(&index, &WANTED).assert_success();
    disk.make_read_only();
    std::fs::remove_dir_all(sandbox.out()).unwrap();
    sandbox.build(&index, &WANTED).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires permission to mount")]
fn cache_on_another_filesystem_gives_same_output() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &WANTED).assert_success();
    let cache = sandbox.path("other");
    let _disk = Mount::memory(&cache, 50_000_000);
    let out = sandbox.path("out-other");
    sandbox
        .start_into(&index, &out, &cache, &WANTED)
        .finish()
        .assert_success();
    tree::assert_same(&tree::read(&out), &tree::read(&sandbox.out()));
}

/// Returns the paths of all files of the store.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let names = tree::read(&cache.join("files-v1")).into_keys();
    let names = names.filter(|name| !name.ends_with('/'));
    names
        .map(|name| cache.join("files-v1").join(name))
        .collect()
}

/// Corrupts every file of the store in one of five ways; the last two preserve the modification time.
fn corrupt(cache: &Path, how: usize) -> usize {
    let mut corrupted = 0;
    for path in entries(cache) {
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // The output may be hard-linked to it.
        std::fs::remove_file(&path).unwrap();
        let corrupted_bytes = match how {
            0 => Vec::new(),
            1 | 3 => bytes[..bytes.len() / 2].to_vec(),
            _ => bytes.iter().map(|byte| byte ^ 1).collect(),
        };
        std::fs::write(&path, corrupted_bytes).unwrap();
        if how > 2 {
            let file = std::fs::File::open(&path).unwrap();
            file.set_modified(time).unwrap();
        }
        corrupted += 1;
    }
    corrupted
}

#[test]
fn downloads_and_builds_corrupt_cache_entries_again() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &WANTED).assert_success();
    let expected = tree::read(&sandbox.out());
    for how in 0..5 {
        assert!(corrupt(&sandbox.cache(), how) >= 2);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
        let run = sandbox.build(&index, &WANTED);
        run.assert_success();
        for file in ["alpha-1.0-py3-none-any.whl", "gamma==1.0"] {
            let said = run
                .stderr
                .matches(&format!("{file} is corrupt and is"))
                .count();
            assert_eq!(said, 1, "{}", run.stderr);
        }
        tree::assert_same(&tree::read(&sandbox.out()), &expected);
    }
}

#[test]
fn frozen_run_replaces_corrupt_cache_entries() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &WANTED).assert_success();
    let expected = tree::read(&sandbox.out());
    corrupt(&sandbox.cache(), 2);
    std::fs::remove_file(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap();
    sandbox
        .build(&index, &["alpha", "gamma", "--frozen"])
        .assert_success();
    tree::assert_same(&tree::read(&sandbox.out()), &expected);
}

#[test]
fn change_in_output_does_not_corrupt_cache() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &WANTED).assert_success();
    let path = sandbox.out().join("gamma-1.0-py3-none-any.whl");
    let right = sha256(&std::fs::read(&path).unwrap());
    // Written in place, so that a hard link to the cache changes too.
    std::fs::write(&path, "something else").unwrap();
    let other = sandbox.path("other");
    sandbox
        .start_into(&index, &other, &sandbox.cache(), &WANTED)
        .finish()
        .assert_success();
    assert_eq!(
        sha256(&std::fs::read(other.join("gamma-1.0-py3-none-any.whl")).unwrap()),
        right
    );
}

/// Changes a file in place, which affects its hard links, and restores its modification time.
fn change_preserving_time(path: &Path) {
    let time = std::fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[60] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn change_with_restored_time_does_not_reach_wheelhouse() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &WANTED).assert_success();
    let expected = tree::read(&sandbox.out());
    for path in entries(&sandbox.cache()) {
        change_preserving_time(&path);
    }
    let other = sandbox.path("other");
    let build = |out: &Path| {
        let run = sandbox.start_into(&index, out, &sandbox.cache(), &WANTED);
        run.finish().assert_success();
    };
    build(&other);
    tree::assert_same(&tree::read(&other), &expected);
    // If the first wheelhouse shared its files with the cache, its next run repairs it.
    build(&sandbox.out());
    tree::assert_same(&tree::read(&sandbox.out()), &expected);
}

#[test]
fn change_during_run_does_not_reach_wheelhouse() {
    let (index, sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    let digest = sha256(&tree::read(&sandbox.out())["alpha-1.0-py3-none-any.whl"]);
    let entry = sandbox
        .cache()
        .join("files-v1")
        .join(&digest[..2])
        .join(&digest);
    let script = format!(
        "path = {}\nstate = os.stat(path)\n\
         with open(path, 'r+b') as file: file.write(b'?')\n\
         os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))",
        python_literal(&entry)
    );
    index.add_sdist(&Sdist::new("epsilon", "1.0").script(&script));
    let other = sandbox.path("other");
    let wanted = ["alpha", "epsilon"];
    let run = sandbox.start_into(&index, &other, &sandbox.cache(), &wanted);
    let run = run.finish();
    run.assert_success();
    let said = run.stderr.matches("alpha-1.0-py3-none-any.whl is corrupt");
    assert_eq!(said.count(), 1, "{}", run.stderr);
    assert_eq!(
        sha256(&tree::read(&other)["alpha-1.0-py3-none-any.whl"]),
        digest
    );
}

#[test]
fn ignores_build_record_of_another_package() {
    let (index, sandbox) = (index(), Sandbox::new());
    index.add_sdist(&Sdist::new("epsilon", "1.0"));
    let wanted = ["gamma", "epsilon"];
    sandbox.build(&index, &wanted).assert_success();
    let expected = tree::read(&sandbox.out());
    let records = sandbox.cache().join("built-v1");
    let records: Vec<_> = std::fs::read_dir(records).unwrap().flatten().collect();
    let [one, other] = &records[..] else {
        panic!("{records:?}")
    };
    let texts = [one, other].map(|record| std::fs::read(record.path()).unwrap());
    std::fs::write(one.path(), &texts[1]).unwrap();
    std::fs::write(other.path(), &texts[0]).unwrap();
    std::fs::remove_dir_all(sandbox.out()).unwrap();
    let run = sandbox.build(&index, &wanted);
    run.assert_success();
    let said = run.stderr.matches("the wheel is built again").count();
    assert_eq!(said, 2, "{}", run.stderr);
    tree::assert_same(&tree::read(&sandbox.out()), &expected);
}

#[test]
fn cache_verify_reports_and_removes_corrupt_files() {
    let (index, sandbox) = (index(), Sandbox::new());
    let verify = |arguments: &[&str]| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.arg("--cache-dir").arg(sandbox.cache());
        sandbox.spawn({
            command.args(["cache", "verify"]).args(arguments);
            command
        })
    };
    verify(&[]).finish().assert_success();
    sandbox.build(&index, &WANTED).assert_success();
    let run = verify(&[]).finish();
    run.assert_success();
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("3 files"), "{}", run.stderr);
    let entry = entries(&sandbox.cache()).swap_remove(0);
    std::fs::write(&entry, "bad").unwrap();
    for arguments in [&["--dry-run"][..], &["--dry-run", "--json"], &[]] {
        let run = verify(arguments).finish();
        run.assert_exit(6);
        assert!(
            run.stdout.contains(entry.to_str().unwrap()),
            "{}",
            run.stdout
        );
        assert_eq!(entry.exists(), !arguments.is_empty());
    }
    verify(&[]).finish().assert_success();
}

#[test]
fn accepts_names_of_maximum_length() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for length in [246, 247, 255] {
        let name = "a".repeat(length - "-1.0-py3-none-any.whl".len());
        index.add(&Wheel::new(&name, "1.0"));
        sandbox.build(&index, &[&name]).assert_success();
        let file = format!("{name}-1.0-py3-none-any.whl");
        assert_eq!(tree::wheels(&sandbox.out()), std::slice::from_ref(&file));
        let beside = tree::read(&sandbox.out()).contains_key(&format!("{file}.metadata"));
        assert_eq!(beside, length < 247);
        let mut verify = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        verify.args(["verify", "--no-install"]).arg(sandbox.out());
        sandbox.spawn(verify).finish().assert_success();
    }
}

#[test]
fn output_entry_of_wrong_type_is_an_error() {
    let (index, sandbox) = (index(), Sandbox::new());
    let elsewhere = sandbox.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for (name, code, words) in [
        ("wheelhouse.json", 7, "not a regular file"),
        ("pylock.toml", 2, "not a regular file"),
        ("alpha-1.0-py3-none-any.whl", 7, "is a directory"),
        ("simple", 7, "a directory is needed at this path"),
    ] {
        sandbox.build(&index, &["alpha"]).assert_success();
        let path = sandbox.out().join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
            let make = if code == 7 && name.ends_with("whl") {
                "mkdir"
            } else {
                "mkfifo"
            };
            let made = sandbox.command(make).arg(&path).status().unwrap();
            assert!(made.success());
        }
        let run = sandbox.build(&index, &["alpha"]);
        run.assert_exit(code)
            .assert_error_names(&[name, words, "hint: "]);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
}

#[test]
fn concurrent_runs_share_cache_and_output() {
    let (index, sandbox) = (index(), Sandbox::new());
    index.always(
        "/files/alpha-1.0-py3-none-any.whl",
        Behavior::Drip(100_000, 10),
    );
    let reference = sandbox.path("reference");
    sandbox
        .start_into(
            &index,
            &reference,
            &sandbox.path("cache-reference"),
            &WANTED,
        )
        .finish()
        .assert_success();
    let runs: Vec<_> = (0..3).map(|_| sandbox.start(&index, &WANTED)).collect();
    for run in runs {
        run.finish().assert_success();
    }
    tree::assert_same(&tree::read(&sandbox.out()), &tree::read(&reference));
}

#[test]
fn concurrent_runs_of_different_sets_leave_one_complete_set() {
    let (index, sandbox) = (index(), Sandbox::new());
    for round in 0..3 {
        let runs = [&["alpha"][..], &["gamma"]].map(|wanted| sandbox.start(&index, wanted));
        for run in runs {
            run.finish().assert_success();
        }
        let wheels = tree::wheels(&sandbox.out());
        assert_eq!(wheels.len(), 1, "round {round}: {wheels:?}");
        let files = tree::read(&sandbox.out());
        let manifest: serde_json::Value =
            serde_json::from_slice(&files["wheelhouse.json"]).unwrap();
        assert_eq!(manifest["wheels"][0]["filename"], wheels[0]);
        assert!(String::from_utf8_lossy(&files["pylock.toml"]).contains(&wheels[0][..5]));
    }
}

#[test]
fn concurrent_runs_build_same_trees_in_any_order() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let mut lines = Vec::new();
    for number in 0..6 {
        let name = format!("tree{number}");
        Sdist::new(&name, "1.0").write_tree(&sandbox.path(&name));
        lines.push(format!("./{name}\n"));
    }
    sandbox.write("forward.txt", &lines.concat());
    lines.reverse();
    sandbox.write("backward.txt", &lines.concat());
    for round in 0..3 {
        let cache = sandbox.path(&format!("cache-{round}"));
        let runs = ["forward", "backward"].map(|name| {
            let (out, lines) = (format!("{name}-{round}"), format!("{name}.txt"));
            sandbox.start_into(&index, &sandbox.path(&out), &cache, &["-r", &lines])
        });
        for run in runs {
            run.finish().assert_success();
        }
    }
}
