//! Full, read-only and separate filesystems, and names and entries that a filesystem rejects.

use std::path::Path;

use super::{WANTED, index};
use crate::support::mounts::Mount;
use crate::support::{Index, Sandbox, Wheel, tree};

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
    assert_eq!(tree::temporary(&sandbox.cache()), [""; 0]);
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
