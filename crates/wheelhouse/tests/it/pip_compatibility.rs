//! What is used is what was asked for: for the target, with the settings, the digests and the metadata that count.

use crate::support::{Index, Sandbox, Sdist, Wheel, sha256, tree};

const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An sdist whose wheel has the settings that its build got.
fn telling(name: &str) -> Sdist {
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
fn settings_of_a_line_are_for_its_package() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let (alpha, beta) = (telling("alpha"), telling("beta"));
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
fn settings_for_what_has_no_known_name_are_refused() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    // Called otherwise than its directory.
    Sdist::new("alpha", "1.0").write_tree(&sandbox.path("my-project"));
    for line in ["./my-project", "git+https://example.org/my-project"] {
        sandbox.write("requirements.txt", &format!("{line} -C FOO=1\n"));
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_exit(2)
            .assert_error_names(&[line, "requirements.txt:1"]);
    }
}

#[test]
fn a_wheel_for_another_platform_is_refused_though_it_is_named_itself() {
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
fn the_pythons_that_a_file_is_for_count_wherever_it_comes_from() {
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
fn a_wheel_that_is_not_wanted_says_nothing() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("alpha", "1.0"));
    index.add(&Wheel::new("alpha", "1.0").requires("nowhere"));
    sandbox
        .build(&index, &["alpha", "--no-binary", "alpha"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn format_control_is_for_what_an_index_has() {
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
fn hashes_of_constraints_count_with_those_of_requirements() {
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
fn a_fragment_that_names_another_package_is_refused() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    Sdist::new("alpha", "1.0").write_tree(&sandbox.path("alpha"));
    let url = url::Url::from_file_path(sandbox.path("alpha")).unwrap();
    let run = sandbox.build(&index, &[&format!("{url}#egg=other")]);
    assert_ne!(run.status.code(), Some(0));
    run.assert_error_names(&["other", "alpha"]);
}

#[test]
fn a_set_that_was_found_open_stays_so() {
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
fn a_file_that_the_store_has_is_not_taken_under_another_name() {
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
fn a_digest_that_is_demanded_is_computed_whatever_the_index_says_of_it() {
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
fn packages_of_the_user_are_not_seen_by_builds() {
    let (index, mut sandbox) = (Index::start(), Sandbox::new());
    sandbox.write("library/helper.py", "");
    let script = "try:\n    import helper\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit('seen')";
    index.add_sdist(&Sdist::new("alpha", "1.0").script(script));
    let library = sandbox.path("library");
    sandbox.set("PYTHONPATH", library);
    sandbox.build(&index, &["alpha"]).assert_success();
}

#[test]
fn constraints_of_builds_count_with_their_hashes() {
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
fn an_upgrade_of_what_is_not_needed_is_told() {
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
