//! Corrupt cache entries, and files that change in the cache or in the output.

use std::path::{Path, PathBuf};

use super::{WANTED, index};
use crate::support::{Sandbox, Sdist, python_literal, sha256, tree};

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
    let (index, sandbox) = (index(), Sandbox::unconfined());
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
