//! Roles of a builder image, called like its scripts call them, in directories of the test.

use std::path::Path;
use std::process::Command;

use crate::support::builder_image::BuilderImage;
use crate::support::services::certificates;
use crate::support::{Sdist, Wheel, test_python, tree};

#[test]
fn assemble_builds_wheelhouse() {
    let image = BuilderImage::new();
    image
        .index
        .add(&Wheel::new("alpha", "1.0").requires("beta"));
    image.index.add(&Wheel::new("beta", "2.0"));
    image.upload("requirements.txt", "alpha\n");
    image.upload(".hidden/file", "moved too");
    image.assemble().assert_success();
    let expected = ["alpha-1.0-py3-none-any.whl", "beta-2.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&image.wheelhouse()), expected);
    for name in ["wheelhouse.json", "pylock.toml", "simple/alpha/index.html"] {
        assert!(image.wheelhouse().join(name).is_file(), "{name}");
    }
    let left = std::fs::read_dir(image.root().join("src")).unwrap();
    assert_eq!(left.count(), 0, "the source was not removed");
    assert_shared(&image.root());
}

/// Some settings require a new process, so the program executes itself again.
#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn removes_source_when_program_executes_itself_again() {
    let place = tempfile::tempdir().unwrap();
    let [authority, ..] = certificates(place.path());
    for (name, value) in [
        ("PIP_CERT", authority.to_str().unwrap()),
        ("PIP_NO_PROXY_ENV", "1"),
    ] {
        let mut image = BuilderImage::new();
        image.sandbox.set(name, value);
        image.sandbox.set("HTTPS_PROXY", "http://127.0.0.1:9");
        image.index.add(&Wheel::new("alpha", "1.0"));
        image.upload("requirements.txt", "alpha\n");
        image.upload("project/__init__.py", "");
        image.assemble().assert_success();
        let left = std::fs::read_dir(image.root().join("src")).unwrap();
        assert_eq!(left.count(), 0, "{name}");
    }
}

/// Checks that the group has the permissions of the owner for everything in `directory`.
#[track_caller]
fn assert_shared(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        let shared = (mode >> 3) & 7 == (mode >> 6) & 7;
        assert!(
            shared || entry.path_is_symlink(),
            "{} {mode:o}",
            entry.path().display()
        );
    }
}

#[test]
fn incremental_build_fetches_and_builds_only_changes() {
    let mut image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.index.add(&Wheel::new("beta", "1.0"));
    image.index.add(&Wheel::new("beta", "2.0"));
    image.index.add(&Wheel::new("tool", "1.0"));
    image
        .index
        .add_sdist(&Sdist::new("compiled", "1.0").requires("tool"));
    image
        .index
        .add_sdist(&Sdist::new("other", "1.0").requires("tool"));
    let requirements = "alpha\nbeta==1.0\ncompiled\n";
    image.upload("requirements.txt", requirements);
    image.assemble().assert_success();

    image.start_incremental_container();
    image.index.forget_requests();
    image.upload("requirements.txt", requirements);
    let again = image.assemble();
    again.assert_success();
    assert_eq!(image.index.requests("").len(), 0, "nothing has changed");
    assert_eq!(tree::wheels(&image.wheelhouse()).len(), 3);
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);

    image.start_incremental_container();
    image.upload("requirements.txt", "alpha\nbeta==2.0\ncompiled\nother\n");
    image.assemble().assert_success();
    let fetched: Vec<_> = [".whl", ".tar.gz"]
        .iter()
        .flat_map(|end| image.index.requests(end))
        .collect();
    let fetched: Vec<_> = fetched
        .iter()
        .map(|logged| logged.path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(fetched, ["beta-2.0-py3-none-any.whl", "other-1.0.tar.gz"]);
    let expected = ["alpha-1.0", "beta-2.0", "compiled-1.0", "other-1.0"]
        .map(|name| format!("{name}-py3-none-any.whl"));
    assert_eq!(tree::wheels(&image.wheelhouse()), expected);

    image.start_incremental_container();
    let stored = walkdir::WalkDir::new(image.uploads().join("artifacts/cache/files-v1"));
    let files = stored
        .into_iter()
        .filter(|entry| entry.as_ref().unwrap().file_type().is_file());
    assert_eq!(
        files.count(),
        5,
        "the wheels of the wheelhouse, and the tool of their builds"
    );
}

#[test]
fn save_fetched_excludes_downloaded_wheels() {
    let mut image = BuilderImage::new();
    image.sandbox.set("WHEELHOUSE_SAVE_FETCHED", "0");
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.index.add_sdist(&Sdist::new("compiled", "1.0"));
    image.upload("requirements.txt", "alpha\ncompiled\n");
    image.assemble().assert_success();

    image.start_incremental_container();
    image.index.forget_requests();
    image.upload("requirements.txt", "alpha\ncompiled\n");
    image.assemble().assert_success();
    let requests = image.index.requests("");
    let paths: Vec<_> = requests.iter().map(|request| &request.path).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    assert!(
        paths[0].ends_with("alpha-1.0-py3-none-any.whl"),
        "{paths:?}"
    );
}

#[test]
fn build_environment_overrides_s2i_environment_file() {
    let image = BuilderImage::new();
    let wheel = Wheel::new("alpha", "1.0");
    image.upload("requirements.txt", "alpha\n");
    image.upload(
        ".s2i/environment",
        "PIP_NO_INDEX=1\nPIP_FIND_LINKS=packages\n",
    );
    image
        .assemble()
        .assert_exit(3)
        .assert_error_names(&["alpha"]);

    let packages = image.root().join("src/packages");
    std::fs::create_dir(&packages).unwrap();
    std::fs::write(packages.join(wheel.filename()), wheel.bytes()).unwrap();
    image.upload(
        ".s2i/environment",
        "PIP_NO_INDEX=1\nPIP_FIND_LINKS=packages\n",
    );
    image.assemble().assert_success();
    assert_eq!(image.index.requests("").len(), 0);

    image.upload(".s2i/environment", "PIP_FIND_LINKS=nowhere\n");
    let mut command = image.command(&["assemble"]);
    command
        .env("PIP_FIND_LINKS", &packages)
        .env("PIP_NO_INDEX", "1");
    image.sandbox.spawn(command).finish().assert_success();
}

#[test]
fn finds_requirements_by_name() {
    let mut image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.index.add(&Wheel::new("beta", "1.0"));
    image.assemble().assert_exit(2).assert_error_names(&[
        "no requirements found",
        "hint:",
        "REQUIREMENTS_FILE",
    ]);

    image.upload("a.txt", "alpha\n");
    image.upload("b.txt", "beta\n");
    image
        .sandbox
        .set("REQUIREMENTS_FILE", "a.txt missing.txt b.txt");
    let finished = image.assemble();
    finished.assert_success();
    assert!(
        finished
            .stderr
            .contains("`missing.txt` in REQUIREMENTS_FILE does not exist"),
        "{}",
        finished.stderr
    );
    assert_eq!(tree::wheels(&image.wheelhouse()).len(), 2);

    image.sandbox.set("REQUIREMENTS_FILE", "missing.txt");
    image
        .assemble()
        .assert_exit(2)
        .assert_error_names(&["missing.txt"]);

    image.start_container();
    image.sandbox.set("REQUIREMENTS_FILE", "");
    image.upload(
        "pyproject.toml",
        "[project]\nname = 'app'\nversion = '1'\ndependencies = ['beta']\n",
    );
    image.assemble().assert_success();
    assert_eq!(
        tree::wheels(&image.wheelhouse()),
        ["beta-1.0-py3-none-any.whl"]
    );
}

#[test]
fn prints_error_of_failed_build_last() {
    let image = BuilderImage::new();
    image
        .index
        .add_sdist(&Sdist::new("broken", "1.0").script("raise SystemExit('no such header')"));
    image
        .index
        .add_sdist(&Sdist::new("needy", "1.0").requires("nowhere"));
    image.upload("requirements.txt", "broken\n");
    let finished = image.assemble();
    finished
        .assert_exit(5)
        .assert_error_names(&["broken==1.0", "no such header"]);
    assert!(
        finished.stderr.ends_with(finished.error()),
        "{}",
        finished.stderr
    );
    image.upload("requirements.txt", "needy\n");
    image
        .assemble()
        .assert_exit(5)
        .assert_error_names(&["needy==1.0", "nowhere"]);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn upgrades_tools_of_image() {
    let python = test_python();
    let mut image = BuilderImage::new();
    let environment = image.sandbox.path("venv");
    let made = Command::new(&python)
        .args(["-m", "venv"])
        .arg(&environment)
        .status()
        .unwrap();
    assert!(made.success());
    let package = |version: &str| format!("__version__ = '{version}'\n");
    for name in ["pip", "setuptools", "wheel"] {
        image
            .index
            .add(&Wheel::new(name, "999.1").file(&format!("{name}/__init__.py"), package("999.1")));
    }
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.upload("requirements.txt", "alpha\n");
    image.sandbox.set("VIRTUAL_ENV", &environment);
    image.sandbox.set("WHEELHOUSE_UPGRADE_TOOLS", "");
    let finished = image.assemble();
    finished.assert_success();
    let versions = "import pip, setuptools, wheel, importlib.metadata as m; \
        print(pip.__version__, setuptools.__version__, wheel.__version__, \
        sorted(d.metadata['Name'] for d in m.distributions()))";
    let output = Command::new(environment.join("bin/python"))
        .args(["-c", versions])
        .output()
        .unwrap();
    let expected = "999.1 999.1 999.1 ['pip', 'setuptools', 'wheel']\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{}",
        finished.stderr
    );
    assert_eq!(
        tree::wheels(&image.wheelhouse()),
        ["alpha-1.0-py3-none-any.whl"]
    );

    image.start_incremental_container();
    image.index.forget_requests();
    image.upload("requirements.txt", "alpha\n");
    let again = image.assemble();
    again.assert_success();
    assert_eq!(image.index.requests("").len(), 0);
    assert!(
        !again.stderr.contains("Installed"),
        "installed again: {}",
        again.stderr
    );
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn upgrades_tools_of_builder_without_cache() {
    let python = test_python();
    let mut image = BuilderImage::new();
    let environment = image.sandbox.path("venv");
    let mut venv = Command::new(&python);
    venv.args(["-m", "venv", "--without-pip"]).arg(&environment);
    assert!(venv.status().unwrap().success());
    for name in ["pip", "setuptools", "wheel"] {
        let file = format!("{name}/__init__.py");
        image.index.add(&Wheel::new(name, "999.1").file(&file, ""));
    }
    image.sandbox.set("VIRTUAL_ENV", &environment);
    image.sandbox.set("WHEELHOUSE_UPGRADE_TOOLS", "1");
    let mut nowhere = image.command(&["tools"]);
    nowhere
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .env("PIP_RETRIES", "0");
    image.sandbox.spawn(nowhere).finish().assert_exit(4);
    assert!(!image.root().join("cache").exists());
    image
        .sandbox
        .spawn(image.command(&["tools"]))
        .finish()
        .assert_success();
    assert!(!image.root().join("cache").exists());
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.upload("requirements.txt", "alpha\n");
    let finished = image.assemble();
    assert!(
        !finished.assert_success().stderr.contains("Installed"),
        "{}",
        finished.stderr
    );
    image.index.add(&Wheel::new("pip", "999.2"));
    image.start_container();
    image.upload("requirements.txt", "alpha\n");
    let finished = image.assemble();
    assert!(
        finished
            .assert_success()
            .stderr
            .contains("Installed pip-999.2"),
        "{}",
        finished.stderr
    );
}

#[test]
fn keeps_tools_that_index_does_not_have() {
    let mut image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.upload("requirements.txt", "alpha\n");
    image.sandbox.set("WHEELHOUSE_UPGRADE_TOOLS", "1");
    let finished = image.assemble();
    finished.assert_success();
    assert!(
        finished.stderr.contains("stay as they are"),
        "{}",
        finished.stderr
    );
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires root")]
fn read_only_destination_is_an_error() {
    let image = BuilderImage::new();
    let mut command = image.command(&["assemble"]);
    image.upload("requirements.txt", "alpha\n");
    // Root may write everywhere except to `/proc`.
    command.current_dir("/proc");
    let finished = image.sandbox.spawn(command).finish();
    finished
        .assert_exit(7)
        .assert_error_names(&["failed to move", "into place"]);
}

#[test]
fn other_roles_report_errors() {
    let image = BuilderImage::new();
    let run = |role: &[&str]| image.sandbox.spawn(image.command(role)).finish();
    run(&["run"])
        .assert_exit(2)
        .assert_error_names(&["does not contain a wheelhouse"]);
    assert!(
        run(&["usage"])
            .assert_success()
            .stdout
            .contains("REQUIREMENTS_FILE")
    );
    let written = run(&["init", "."]);
    assert_eq!(
        written.assert_success().stdout,
        ".s2i/bin/assemble\n.s2i/bin/run\n.s2i/environment\n"
    );
    std::fs::write(image.root().join("src/.s2i/bin/run"), "mine").unwrap();
    run(&["init"]).assert_exit(2).assert_error_names(&[
        ".s2i/bin/run",
        "--force",
        "exec /opt/app-root/s2i/run",
    ]);
    assert_eq!(
        run(&["init", "--force"]).assert_success().stdout,
        ".s2i/bin/run\n"
    );
}

#[test]
fn errors_name_variables_instead_of_options() {
    let image = BuilderImage::new();
    image.upload("requirements.txt", "nowhere\n");
    let finished = image.assemble();
    finished.assert_exit(3);
    let error = finished.error().replace(&image.index.url(), "INDEX");
    insta::assert_snapshot!(error, @"
    error: no set of versions satisfies the requirements
      Because nowhere was not found in the package registry and you require nowhere, we can conclude that your requirements are unsatisfiable.
      You require `nowhere` in requirements.txt:1.
      The queried index is INDEX.
    hint: Check the spelling; if another index has it, name that with PIP_EXTRA_INDEX_URL.
    ");

    let script = "for i in range(100): print('\\x1b[31mline', i)\n\
        print('fatal error: zlib.h: No such file or directory')\nsys.exit(3)";
    image
        .index
        .add_sdist(&Sdist::new("broken", "1.0").static_metadata().script(script));
    image.upload("requirements.txt", "broken\n");
    let finished = image.assemble();
    finished.assert_exit(5);
    let mut expected =
        "error: failed to build broken==1.0: `build_wheel` of backend ended with exit status: 3\n"
            .to_owned();
    for number in 51..100 {
        expected.extend(["  line ", &number.to_string(), "\n"]);
    }
    expected += "  fatal error: zlib.h: No such file or directory\n\
         hint: The build needs the development files of zlib, which it did not find. Install in the builder image with \
         `apt-get install zlib1g-dev` (Debian, Ubuntu) or `dnf install zlib-devel` (Fedora, RHEL, UBI).\n";
    assert_eq!(finished.error(), expected);
}
