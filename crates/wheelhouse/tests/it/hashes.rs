//! Hash checking of requirements and constraints.

use crate::support::{Index, Sandbox, Sdist, Wheel, sha256};

const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Returns an index with `alpha`, which depends on `beta`, and the digest of `alpha`.
fn index() -> (Index, String) {
    let index = Index::start();
    let alpha = Wheel::new("alpha", "1.0").requires("beta");
    index.add(&alpha);
    index.add(&Wheel::new("beta", "1.0"));
    (index, sha256(&alpha.bytes()))
}

#[test]
fn one_hash_requires_hashes_for_all_unless_disabled() {
    let ((index, digest), sandbox) = (index(), Sandbox::new());
    let line = format!("alpha==1.0 --hash=sha256:{digest}\n");
    sandbox.write("requirements.txt", &line);
    let file = ["-r", "requirements.txt"];
    sandbox
        .build(&index, &file)
        .assert_exit(3)
        .assert_error_names(&["beta", "by alpha==1.0", "--no-require-hashes"]);
    sandbox
        .build(&index, &[&file[..], &["--no-require-hashes"]].concat())
        .assert_success();
    sandbox.write("requirements.txt", &format!("--no-require-hashes\n{line}"));
    sandbox.build(&index, &file).assert_success();
    sandbox
        .build(&index, &[&file[..], &["--require-hashes"]].concat())
        .assert_exit(2)
        .assert_error_names(&["--require-hashes", "--no-require-hashes"]);
}

#[test]
fn accepts_hash_with_arbitrary_equality() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0");
    index.add(&alpha);
    index.add(&Wheel::new("alpha", "2.0"));
    let line = format!("alpha===1.0 --hash=sha256:{}\n", sha256(&alpha.bytes()));
    sandbox.write("requirements.txt", &line);
    sandbox
        .build(&index, &["-r", "requirements.txt"])
        .assert_success();
    assert!(sandbox.out().join(alpha.filename()).exists());
}

#[test]
fn checks_hash_even_if_not_required() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    let line = format!("alpha==1.0 --hash=sha256:{WRONG}\n");
    sandbox.write("requirements.txt", &line);
    let run = sandbox.build(&index, &["-r", "requirements.txt", "--no-require-hashes"]);
    assert!(matches!(run.status.code(), Some(3 | 4)), "{}", run.stderr);
    run.assert_error_names(&["alpha"]);
    assert!(!sandbox.out().exists());
}

#[test]
fn checks_hash_of_sdist_with_cached_wheel() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let alpha = Sdist::new("alpha", "1.0");
    index.add_sdist(&alpha);
    sandbox.build(&index, &["alpha"]).assert_success();
    let line = |digest: &str| format!("alpha==1.0 --hash=sha256:{digest}\n");
    sandbox.write("r.txt", &line(WRONG));
    sandbox
        .build(&index, &["-r", "r.txt"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0.tar.gz", WRONG]);
    sandbox.write("r.txt", &line(&sha256(&alpha.bytes())));
    sandbox.build(&index, &["-r", "r.txt"]).assert_success();
}

#[test]
fn rejects_hash_of_unpinned_requirement() {
    let ((index, digest), sandbox) = (index(), Sandbox::new());
    let line = format!("alpha>=1 --hash=sha256:{digest}\n");
    sandbox.write("lines.txt", &line);
    for arguments in [
        &["-r", "lines.txt", "--no-require-hashes"][..],
        &["alpha", "-c", "lines.txt"],
        &["alpha", "--build-constraint", "lines.txt"],
    ] {
        sandbox
            .build(&index, arguments)
            .assert_exit(2)
            .assert_error_names(&["alpha>=1", "lines.txt", "=="]);
    }
}

#[test]
fn accepts_unpinned_constraints_with_required_hashes() {
    let ((index, digest), sandbox) = (index(), Sandbox::new());
    let beta = sha256(&Wheel::new("beta", "1.0").bytes());
    let lines = format!("alpha==1.0 --hash=sha256:{digest}\nbeta==1.0 --hash=sha256:{beta}\n");
    sandbox.write("requirements.txt", &lines);
    sandbox.write("constraints.txt", "beta<2\nother>3\n");
    let arguments = ["-r", "requirements.txt", "-c", "constraints.txt"];
    sandbox.build(&index, &arguments).assert_success();
}

#[test]
fn intersects_hashes_of_repeated_requirement() {
    let ((index, digest), sandbox) = (index(), Sandbox::new());
    let file = ["-r", "requirements.txt", "--no-deps"];
    let line = |digests: &[&str]| {
        let hashes = digests
            .iter()
            .map(|digest| format!(" --hash=sha256:{digest}"));
        format!("alpha==1.0{}\n", hashes.collect::<String>())
    };
    let other = "1".repeat(64);
    for lines in [
        [line(&[WRONG]), line(&[&digest])],
        [line(&[&digest]), line(&[WRONG])],
    ] {
        sandbox.write("requirements.txt", &lines.concat());
        sandbox
            .build(&index, &file)
            .assert_exit(2)
            .assert_error_names(&["alpha", "exclude one another"]);
    }
    let lines = [line(&[WRONG]), line(&[&digest, WRONG])];
    sandbox.write("requirements.txt", &lines.concat());
    let run = sandbox.build(&index, &file);
    assert!(matches!(run.status.code(), Some(3 | 4)), "{}", run.stderr);
    let lines = [line(&[&other, &digest]), line(&[&digest, WRONG])];
    sandbox.write("requirements.txt", &lines.concat());
    sandbox.build(&index, &file).assert_success();
}

#[test]
fn selects_file_with_matching_hash_from_find_links() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let wheel = Wheel::new("alpha", "1.0");
    let (plain, rebuilt) = (wheel.bytes(), wheel.file("x.py", "again").bytes());
    let link = |(name, bytes): (&str, &Vec<u8>)| {
        std::fs::write(sandbox.path(name), bytes).unwrap();
        format!("<a href=\"{name}#sha256={}\">{name}</a>", sha256(bytes))
    };
    let page = [
        ("alpha-1.0-py3-none-any.whl", &plain),
        ("alpha-1.0-1-py3-none-any.whl", &rebuilt),
    ];
    sandbox.write("links.html", &page.map(link).join("\n"));
    for (name, bytes) in [("alpha-1.0-1-", &rebuilt), ("alpha-1.0-py3", &plain)] {
        let line = format!("alpha==1.0 --hash=sha256:{}\n", sha256(bytes));
        sandbox.write("requirements.txt", &line);
        let links = [
            "-r",
            "requirements.txt",
            "--no-index",
            "--find-links",
            "links.html",
        ];
        sandbox.build(&index, &links).assert_success();
        let wheels = crate::support::tree::wheels(&sandbox.out());
        assert!(
            wheels.len() == 1 && wheels[0].starts_with(name),
            "{wheels:?}"
        );
    }
}

#[test]
fn rejects_extras_in_constraints() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    sandbox.write("constraints.txt", "beta[more]<2\n");
    sandbox
        .build(&index, &["alpha", "-c", "constraints.txt"])
        .assert_exit(2)
        .assert_error_names(&["beta[more]<2", "constraints.txt", "extras"]);
}

#[test]
fn does_not_reuse_lock_without_required_hashes() {
    let ((index, _), sandbox) = (index(), Sandbox::new());
    sandbox.build(&index, &["alpha"]).assert_success();
    for more in [&["--require-hashes"][..], &["--require-hashes", "--frozen"]] {
        let run = sandbox.build(&index, &[&["alpha"], more].concat());
        assert!(!run.status.success(), "{}", run.stderr);
    }
    sandbox
        .build(&index, &["alpha", "--frozen"])
        .assert_success();
}
