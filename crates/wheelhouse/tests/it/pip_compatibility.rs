//! Behavior that matches pip: per-requirement options, compatibility of direct references, format control and hashes.

use crate::support::{Index, Sandbox, Sdist, Wheel, sha256, tree};

const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Returns an sdist whose wheel contains the config settings of its build.
fn sdist_recording_settings(name: &str) -> Sdist {
    Sdist::new(name, "1.0").script(
        "with open('settings.py', 'w') as file: file.write('SETTINGS = %r' % (config_settings,))",
    )
}

fn has_settings(sandbox: &Sandbox, name: &str, text: &str) -> bool {
    let wheel = std::fs::read(sandbox.out().join(format!("{name}-1.0-py3-none-any.whl"))).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(wheel)).unwrap();
    let mut file = archive.by_name("settings.py").unwrap();
    let mut content = String::new();
    std::io::Read::read_to_string(&mut file, &mut content).unwrap();
    content.contains(text)
}

#[test]
fn config_settings_of_requirement_apply_to_its_package() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let (alpha, beta) = (
        sdist_recording_settings("alpha"),
        sdist_recording_settings("beta"),
    );
    index.add_sdist(&alpha);
    index.add_sdist(&beta);
    std::fs::write(sandbox.path(&alpha.filename()), alpha.bytes()).unwrap();
    for line in [
        "alpha",
        "alpha==1.0",
        "./alpha-1.0.tar.gz",
        "alpha @ ./alpha-1.0.tar.gz",
        "file:alpha-1.0.tar.gz#egg=alpha",
    ] {
        let lines = format!("{line} --config-settings FOO={}\nbeta\n", line.len());
        sandbox.write("requirements.txt", &lines);
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_success();
        let setting = format!("'FOO': '{}'", line.len());
        assert!(has_settings(&sandbox, "alpha", &setting), "{line}");
        assert!(!has_settings(&sandbox, "beta", "FOO"), "{line}");
    }
}

#[test]
fn rejects_config_settings_for_unnamed_requirement() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    // The name of the project differs from that of its directory.
    Sdist::new("alpha", "1.0").write_tree(&sandbox.path("my-project"));
    for line in ["./my-project", "git+https://example.org/my-project"] {
        sandbox.write("requirements.txt", &format!("{line} -C FOO=1\n"));
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_exit(2)
            .assert_error_names(&[line, "requirements.txt:1"]);
    }
}

#[test]
fn rejects_direct_reference_to_incompatible_wheel() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for tags in [
        "cp311-cp311-win_amd64",
        "py3-none-macosx_11_0_arm64",
        "cp999-cp999-any",
    ] {
        let filename = format!("alpha-1.0-{tags}.whl");
        let bytes = Wheel::new("alpha", "1.0").tag(tags).bytes();
        std::fs::write(sandbox.path(&filename), bytes).unwrap();
        for requirement in [format!("./{filename}"), format!("alpha @ ./{filename}")] {
            let run = sandbox.build(&index, &[&requirement]);
            run.assert_exit(3).assert_error_names(&[&filename]);
        }
    }
}

#[test]
fn respects_requires_python_of_direct_references_and_find_links() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0")
        .metadata("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nRequires-Python: <3\n");
    std::fs::create_dir(sandbox.path("links")).unwrap();
    let path = sandbox.path("links").join(alpha.filename());
    std::fs::write(path, alpha.bytes()).unwrap();
    let direct = format!("./links/{}", alpha.filename());
    for arguments in [
        &[direct.as_str()][..],
        &["alpha", "--no-index", "--find-links", "links"],
        &["alpha", "--no-index", "--find-links", "links", "--no-deps"],
    ] {
        let run = sandbox.build(&index, arguments);
        run.assert_exit(3).assert_error_names(&["alpha", "<3"]);
    }
}

#[test]
fn ignores_metadata_of_excluded_wheel() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("alpha", "1.0"));
    index.add(&Wheel::new("alpha", "1.0").requires("nowhere"));
    sandbox
        .build(&index, &["alpha", "--no-binary", "alpha"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn format_control_applies_only_to_index_files() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0");
    std::fs::write(sandbox.path(&alpha.filename()), alpha.bytes()).unwrap();
    alpha.write_tree(&sandbox.path("alpha"));
    for direct in [
        "./alpha-1.0.tar.gz",
        "./alpha",
        "alpha @ ./alpha-1.0.tar.gz",
    ] {
        for control in [":all:", "alpha"] {
            let run = sandbox.build(&index, &[direct, "--only-binary", control]);
            run.assert_success();
        }
    }
    index.add_sdist(&alpha);
    let run = sandbox.build(&index, &["alpha", "--only-binary", ":all:"]);
    run.assert_exit(3);
}

#[test]
fn combines_hashes_of_constraints_and_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0");
    index.add(&alpha);
    let right = format!("alpha==1.0 --hash=sha256:{}\n", sha256(&alpha.bytes()));
    let wrong = format!("alpha==1.0 --hash=sha256:{WRONG}\n");
    sandbox.write("requirements.txt", &right);
    let url = index.file_url(&alpha.filename());
    sandbox.write("constraints.txt", &format!("alpha @ {url}\n"));
    let files = ["-r", "requirements.txt", "-c", "constraints.txt"];
    sandbox.build(&index, &files).assert_success();
    sandbox.write("constraints.txt", &wrong);
    sandbox.build(&index, &files).assert_exit(2);
    sandbox.write("constraints.txt", &format!("{wrong}{right}"));
    sandbox
        .build(&index, &["alpha", "-c", "constraints.txt"])
        .assert_exit(2)
        .assert_error_names(&["alpha", "exclude one another"]);
    let run = sandbox.build(&index, &["alpha", "--override", "constraints.txt"]);
    run.assert_exit(2)
        .assert_error_names(&["constraints.txt:1"]);
}

#[test]
fn rejects_egg_fragment_with_another_name() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    Sdist::new("alpha", "1.0").write_tree(&sandbox.path("alpha"));
    let url = url::Url::from_file_path(sandbox.path("alpha")).unwrap();
    let run = sandbox.build(&index, &[&format!("{url}#egg=other")]);
    assert_ne!(run.status.code(), Some(0));
    run.assert_error_names(&["other", "alpha"]);
}

#[test]
fn incomplete_lock_stays_incomplete_until_upgrade() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0").requires("beta");
    let silent = "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n".to_owned();
    index.add_bytes(&alpha.filename(), alpha.bytes(), Some(silent));
    index.add(&Wheel::new("beta", "1.0"));
    let mut lock = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    lock.args(["lock", "alpha", "-o", "out", "--index-url", &index.url()]);
    lock.arg("--cache-dir").arg(sandbox.cache());
    sandbox.spawn(lock).finish().assert_success();
    for _ in 0..2 {
        let run = sandbox.build(&index, &["alpha"]);
        run.assert_exit(4)
            .assert_error_names(&["beta", "--upgrade"]);
    }
    sandbox
        .build(&index, &["alpha", "--upgrade"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
}

#[test]
fn rejects_cached_wheel_under_another_name() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let other = Wheel::new("other", "1.0");
    index.add(&other);
    let claimed = "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n".to_owned();
    index.add_bytes("alpha-1.0-py3-none-any.whl", other.bytes(), Some(claimed));
    sandbox.build(&index, &["other"]).assert_success();
    for _ in 0..2 {
        let run = sandbox.build(&index, &["alpha"]);
        run.assert_exit(4).assert_error_names(&["alpha-1.0"]);
    }
}

#[test]
fn computes_required_digest_that_index_does_not_provide() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0");
    index.add(&alpha);
    let sha512 = |bytes: &[u8]| hex::encode(<sha2::Sha512 as sha2::Digest>::digest(bytes));
    let line = |digest: &str| format!("alpha==1.0 --hash=sha512:{digest}\n");
    sandbox.write("requirements.txt", &line(&sha512(&alpha.bytes())));
    let file = ["-r", "requirements.txt"];
    sandbox.build(&index, &file).assert_success();
    index.forget_requests();
    sandbox.build(&index, &file).assert_success();
    let fetched = index.requests(&format!("/files/{}", alpha.filename()));
    assert!(fetched.is_empty(), "the store has it");
    sandbox.write("requirements.txt", &line(&sha512(b"other")));
    sandbox.build(&index, &file).assert_exit(4);
}

#[test]
fn builds_do_not_see_pythonpath() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    sandbox.write("library/helper.py", "");
    let script = "try:\n    import helper\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit('seen')";
    index.add_sdist(&Sdist::new("alpha", "1.0").script(script));
    let library = sandbox.path("library");
    sandbox.set("PYTHONPATH", library);
    sandbox.build(&index, &["alpha"]).assert_success();
}

#[test]
fn checks_hashes_of_build_constraints() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("helper", "1.0"));
    index.add_sdist(&Sdist::new("alpha", "1.0").requires("helper"));
    sandbox.write("constraints.txt", "helper==1.0\n");
    let arguments = ["alpha", "--build-constraint", "constraints.txt"];
    sandbox.build(&index, &arguments).assert_success();
    let wrong = format!("helper==1.0 --hash=sha256:{WRONG}\n");
    sandbox.write("constraints.txt", &wrong);
    let run = sandbox.build(&index, &arguments);
    assert_ne!(run.status.code(), Some(0));
    run.assert_error_names(&["helper"]);
}

#[test]
fn warns_about_upgrade_of_unused_package() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let upgrade = [
        "alpha",
        "--upgrade-package",
        "alpha",
        "--upgrade-package",
        "nosuch",
    ];
    let run = sandbox.build(&index, &upgrade);
    run.assert_success();
    assert!(run.stderr.contains("`nosuch`"), "{}", run.stderr);
    assert!(!run.stderr.contains("`alpha`"), "{}", run.stderr);
}
