//! Wheels and sdists that are corrupt or malicious.

use crate::support::sdist;
use crate::support::{Behavior, Index, Member, RunResult, Sandbox, Sdist, Wheel, sha256, tree};
use wheelhouse_archive::testing::archives::patched;

/// Returns an index with `bytes` as the wheel of `alpha` 1.0, with or without a metadata file.
fn index_with_wheel(bytes: &[u8], metadata: bool) -> Index {
    let index = Index::start();
    let wheel = Wheel::new("alpha", "1.0");
    let beside = metadata.then(|| wheel.metadata_text());
    index.add_bytes(&wheel.filename(), bytes.to_vec(), beside);
    index
}

/// Checks that the wheel is rejected with and without a metadata file, and with and without a digest.
#[track_caller]
fn assert_refused(bytes: &[u8], words: &[&str]) {
    for metadata in [true, false] {
        for digest in [true, false] {
            let index = index_with_wheel(bytes, metadata);
            if !digest {
                index.claim_digest("alpha-1.0-py3-none-any.whl", "");
            }
            let sandbox = Sandbox::new();
            let run = sandbox.build(&index, &["alpha"]);
            run.assert_exit(4)
                .assert_error_names(&["alpha"])
                .assert_error_names(words);
            assert!(!sandbox.out().exists(), "a failed run left an output");
        }
    }
}

#[test]
fn rejects_wheel_that_is_not_an_archive() {
    assert_refused(b"<html>Not found</html>", &[]);
    assert_refused(b"", &[]);
}

#[test]
fn rejects_truncated_wheel() {
    let bytes = Wheel::new("alpha", "1.0").padded(10_000).bytes();
    assert_refused(&bytes[..bytes.len() / 2], &[]);
}

#[test]
fn rejects_wheel_of_another_project_or_version() {
    let other = |text| Wheel::new("alpha", "1.0").metadata(text).bytes();
    let name = other("Metadata-Version: 2.1\nName: beta\nVersion: 1.0\n");
    assert_refused(&name, &["beta"]);
    let version = other("Metadata-Version: 2.1\nName: alpha\nVersion: 2.0\n");
    let run = Sandbox::new().build(&index_with_wheel(&version, true), &["alpha"]);
    run.assert_exit(4).assert_error_names(&["alpha", "2.0"]);
    // The resolver reads the metadata and skips this version.
    let run = Sandbox::new().build(&index_with_wheel(&version, false), &["alpha"]);
    run.assert_exit(3)
        .assert_error_names(&["agrees with the name of its file", "alpha==2.0"]);
}

#[test]
fn rejects_renamed_wheel() {
    let bytes = Wheel::new("beta", "1.0").bytes();
    let run = Sandbox::new().build(&index_with_wheel(&bytes, true), &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "beta"]);
    // The resolver reads the metadata and skips this version.
    let run = Sandbox::new().build(&index_with_wheel(&bytes, false), &["alpha"]);
    run.assert_exit(3).assert_error_names(&["alpha", "beta"]);
}

#[test]
fn rejects_wheel_with_paths_outside_root() {
    for (written, meant) in [
        ("xx/escape.py", "../escape.py"),
        ("xtmp/escape.py", "/tmp/escape.py"),
    ] {
        let wheel = Wheel::new("alpha", "1.0").file(written, "print()");
        let bytes = patched(wheel.bytes(), written.as_bytes(), meant.as_bytes());
        assert_refused(&bytes, &[meant]);
    }
}

#[test]
fn rejects_wheel_with_wrong_record_without_digest() {
    let records = ["", "other.py,,\nalpha-1.0.dist-info/RECORD,,\n"];
    for record in records {
        let bytes = Wheel::new("alpha", "1.0").record(record).bytes();
        let with_digest = index_with_wheel(&bytes, true);
        let run = Sandbox::new().build(&with_digest, &["alpha"]);
        run.assert_success();
        assert!(
            run.stderr
                .contains("warning: alpha-1.0-py3-none-any.whl: RECORD"),
            "{}",
            run.stderr
        );
        let without_digest = index_with_wheel(&bytes, true);
        without_digest.claim_digest("alpha-1.0-py3-none-any.whl", "");
        let run = Sandbox::new().build(&without_digest, &["alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["alpha-1.0-py3-none-any.whl", "RECORD", "hint: "]);
        // Like pip, the program accepts local files.
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.path("wheels")).unwrap();
        std::fs::write(sandbox.path("wheels/alpha-1.0-py3-none-any.whl"), &bytes).unwrap();
        let own = ["--no-index", "--find-links", "wheels", "alpha"];
        let run = sandbox.build(&Index::start(), &own);
        run.assert_success();
        assert!(run.stderr.contains("alpha-1.0-py3-none-any.whl: RECORD"));
    }
}

/// Builds an sdist with `member` in it, and checks that nothing is written outside of the cache.
fn build_with_member(member: Member) -> (RunResult, Sandbox) {
    let index = Index::start();
    index.add_sdist(&Sdist::new("gamma", "1.0").member(member));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["gamma"]);
    let strays: Vec<String> = tree::read(sandbox.path("").as_path())
        .into_keys()
        .filter(|name| name.contains("escape") && !name.starts_with("cache/"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
    assert!(!std::path::Path::new("/tmp/escape.py").exists());
    (run, sandbox)
}

#[test]
fn rejects_sdist_with_paths_outside_root() {
    for name in ["../escape.py", "gamma-1.0/../../escape.py"] {
        let (run, _) = build_with_member(Member::file(name, "print()"));
        run.assert_exit(4)
            .assert_error_names(&["gamma-1.0.tar.gz", name]);
    }
    // An absolute path becomes a relative one (PEP 721), so the archive has no single top-level directory.
    let (run, _) = build_with_member(Member::file("/tmp/escape.py", "print()"));
    run.assert_exit(5).assert_error_names(&["gamma"]);
}

#[test]
fn rejects_sdist_with_links_outside_root() {
    let links = [
        Member::link("gamma-1.0/link", "/etc/passwd"),
        Member::link("gamma-1.0/link", "../../outside"),
        Member::hard_link("gamma-1.0/link", "/etc/passwd"),
        Member::hard_link("gamma-1.0/link", "../outside"),
        Member::special("gamma-1.0/link", tar::EntryType::Char),
    ];
    for link in links {
        let (run, _) = build_with_member(link.clone());
        assert_ne!(run.status.code(), Some(0), "{link:?}");
        run.assert_exit(4).assert_error_names(&["gamma-1.0.tar.gz"]);
    }
}

#[test]
fn rejects_decompression_bomb() {
    // Zeros compress by a factor of a thousand, to a size for which fewer bytes are permitted.
    let zeros = 1_100_000_000;
    for (filename, bytes) in [
        ("gamma-1.0.tar.gz", sdist::bomb("gamma-1.0", zeros)),
        ("gamma-1.0.zip", sdist::zip_bomb("gamma-1.0", zeros)),
    ] {
        let index = Index::start();
        index.add_bytes(filename, bytes, None);
        let sandbox = Sandbox::new();
        let run = sandbox.build(&index, &["gamma"]);
        run.assert_exit(4).assert_error_names(&[filename]);
        let left: usize = tree::read(&sandbox.cache()).values().map(Vec::len).sum();
        assert!(left < 50_000_000, "{left} bytes stay in the cache");
    }
}

#[test]
fn rejects_wheel_with_oversized_metadata() {
    let metadata = format!(
        "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n\n{}",
        " ".repeat(40 << 20)
    );
    let bytes = Wheel::new("alpha", "1.0").metadata(&metadata).bytes();
    let run = Sandbox::new().build(&index_with_wheel(&bytes, true), &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl", "METADATA"]);
}

#[test]
fn checks_direct_references_like_index_files() {
    let index = Index::start();
    index.add_sdist(&Sdist::new("gamma", "1.0").member(Member::file("../escape.py", "print()")));
    let sandbox = Sandbox::new();
    let run = sandbox.build(
        &index,
        &[&format!("gamma @ {}", index.file_url("gamma-1.0.tar.gz"))],
    );
    run.assert_exit(4).assert_error_names(&["gamma"]);
    assert!(!sandbox.path("escape.py").exists());
    let metadata = "Metadata-Version: 2.1\nName: beta\nVersion: 1.0\n";
    let index = index_with_wheel(
        &Wheel::new("alpha", "1.0").metadata(metadata).bytes(),
        false,
    );
    let run = Sandbox::new().build(
        &index,
        &[&format!(
            "alpha @ {}",
            index.file_url("alpha-1.0-py3-none-any.whl")
        )],
    );
    run.assert_exit(4).assert_error_names(&["alpha", "beta"]);
}

#[test]
fn rejects_sdist_that_is_not_an_archive() {
    for bytes in [
        &b"<html>Not found</html>"[..],
        b"",
        &Sdist::new("gamma", "1.0").bytes()[..200],
    ] {
        let index = Index::start();
        index.add_bytes("gamma-1.0.tar.gz", bytes.to_vec(), None);
        let run = Sandbox::new().build(&index, &["gamma"]);
        run.assert_exit(4).assert_error_names(&["gamma-1.0.tar.gz"]);
    }
}

#[test]
fn rejects_sdist_that_builds_another_project() {
    let index = Index::start();
    let liar = Sdist::new("gamma", "1.0").script("os.rename('PKG-INFO', 'x'); io.open('PKG-INFO', 'w').write(u'Name: delta\\nVersion: 1.0\\n')");
    index.add_sdist(&liar);
    let run = Sandbox::new().build(&index, &["gamma"]);
    // The resolver skips versions with inconsistent metadata.
    run.assert_exit(3).assert_error_names(&["gamma", "delta"]);
}

#[test]
fn rejects_wheel_with_more_requirements_than_index_states() {
    let wheel = Wheel::new("alpha", "1.0").requires("beta");
    let index = index_with_wheel(&wheel.bytes(), true);
    index.add(&Wheel::new("beta", "1.0"));
    for verb in ["build", "download"] {
        let sandbox = Sandbox::new();
        let run = |arguments: &[&str]| match verb {
            "build" => sandbox.build(&index, arguments),
            _ => sandbox.download(&index, &[&["--no-bootstrap"], arguments].concat()),
        };
        run(&["alpha", "--no-deps"]).assert_success();
        std::fs::remove_dir_all(sandbox.cache()).unwrap();
        let first = run(&["alpha"]);
        first
            .assert_exit(4)
            .assert_error_names(&["alpha 1.0", "`beta`"]);
        assert_eq!(tree::wheels(&sandbox.out()), [wheel.filename()]);
        run(&["alpha"]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
    }
}

#[test]
fn warns_about_wheel_with_fewer_requirements_than_index_states() {
    let (index, wheel) = (Index::start(), Wheel::new("alpha", "1.0"));
    index.add(&wheel);
    index.add(&Wheel::new("beta", "1.0"));
    let stated = Wheel::new("alpha", "1.0").requires("beta").metadata_text();
    index.claim_metadata_digest(&wheel.filename(), &sha256(stated.as_bytes()));
    index.always(
        "/files/alpha-1.0-py3-none-any.whl.metadata",
        Behavior::Body("text/plain", stated.into_bytes()),
    );
    let sandbox = Sandbox::new();
    let warning = "published metadata says that beta is required by alpha==1.0";
    let run = sandbox.build(&index, &["alpha"]);
    run.assert_success();
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    assert!(run.stderr.contains("--upgrade"), "{}", run.stderr);
    let run = sandbox.build(&index, &["alpha", "--upgrade"]);
    run.assert_success();
    assert!(!run.stderr.contains(warning), "{}", run.stderr);
    assert_eq!(tree::wheels(&sandbox.out()), [wheel.filename()]);
}
