//! `wheelhouse lock`: what it pins, when a lock is kept, and builds from locks.

use crate::support::sandbox::RunResult;
use crate::support::{Index, Sandbox, Sdist, Wheel, python, sha256, test_python, tree};

/// Runs `wheelhouse lock` in the sandbox, from `index` alone.
fn lock(sandbox: &Sandbox, index: &Index, arguments: &[&str]) -> RunResult {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["lock", "--index-url", &index.url(), "--cache-dir"]);
    command.arg(sandbox.cache()).args(arguments);
    sandbox.spawn(command).finish()
}

fn text(sandbox: &Sandbox, name: &str) -> String {
    std::fs::read_to_string(sandbox.path(name)).unwrap()
}

/// Returns an index where the build of `alpha` requires `tool` and reports `plugin`.
fn index_with_sdist() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("tool", "1.0"));
    index.add(&Wheel::new("plugin", "1.0"));
    let alpha = Sdist::new("alpha", "1.0").requires("tool");
    index.add_sdist(&alpha.reports("plugin").script("import tool, plugin"));
    index
}

#[test]
fn build_uses_versions_of_lock() {
    let (index, sandbox) = (index_with_sdist(), Sandbox::new());
    lock(&sandbox, &index, &["alpha"]).assert_success();
    let digest = sha256(&Wheel::new("tool", "1.0").bytes());
    for pinned in ["\"plugin==1.0\"", "\"tool==1.0\"", &digest] {
        assert!(text(&sandbox, "pylock.toml").contains(pinned));
    }
    for name in ["tool", "plugin"] {
        index.add(&Wheel::new(name, "2.0"));
    }
    index.forget_requests();
    sandbox
        .build(&index, &["--lock", "pylock.toml", "--require-hashes"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
    assert_eq!(index.requests("tool-2.0-py3-none-any.whl").len(), 0);
    assert_eq!(index.requests("plugin-2.0-py3-none-any.whl").len(), 0);
}

#[test]
fn builds_download_as_its_lock_pins_it() {
    let (index, sandbox) = (index_with_sdist(), Sandbox::new());
    let download = ["alpha", "--no-bootstrap"];
    sandbox.download(&index, &download).assert_success();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["build", "--cache-dir", "fresh", "-o", "wheels"]);
    command.args(["--no-index", "--find-links", "out", "--require-hashes"]);
    command.args(["--lock", "out/pylock.toml"]);
    sandbox.spawn(command).finish().assert_success();
    let wheels = tree::wheels(&sandbox.path("wheels"));
    assert_eq!(wheels, ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn build_requirement_missing_from_lock_is_an_error() {
    let (index, sandbox) = (index_with_sdist(), Sandbox::new());
    lock(&sandbox, &index, &["alpha"]).assert_success();
    let whole = text(&sandbox, "pylock.toml");
    let without = whole.replace("plugin==1.0", "other==1.0");
    sandbox.write("pylock.toml", &without);
    sandbox
        .build(&index, &["--lock", "pylock.toml"])
        .assert_exit(5)
        .assert_error_names(&["alpha==1.0", "plugin==1.0", "does not pin", "hint:"]);
    sandbox.write("pylock.toml", &whole.replace("plugin==1.0", "plugin==0.9"));
    sandbox
        .build(&index, &["--lock", "pylock.toml"])
        .assert_exit(5)
        .assert_error_names(&["alpha==1.0", "plugin", "hint:"]);
}

#[test]
fn rejects_build_requirement_with_another_digest_than_locked() {
    let (index, sandbox) = (index_with_sdist(), Sandbox::new());
    lock(&sandbox, &index, &["alpha"]).assert_success();
    let digest = sha256(&Wheel::new("tool", "1.0").bytes());
    let changed = text(&sandbox, "pylock.toml").replace(&digest, &"0".repeat(64));
    sandbox.write("pylock.toml", &changed);
    sandbox
        .build(&index, &["--lock", "pylock.toml"])
        .assert_exit(5)
        .assert_error_names(&["tool"]);
}

#[test]
fn require_hashes_applies_to_build_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("tool", "1.0"));
    let alpha = Sdist::new("alpha", "1.0").requires("tool");
    index.add_sdist(&alpha);
    let digest = sha256(&alpha.bytes());
    let requirements = format!("alpha==1.0 --hash=sha256:{digest}\n");
    sandbox.write("requirements.txt", &requirements);
    let arguments = ["-r", "requirements.txt", "--require-hashes"];
    sandbox
        .build(&index, &arguments)
        .assert_exit(5)
        .assert_error_names(&[
            "alpha==1.0",
            "tool==1.0",
            "--build-constraint",
            "wheelhouse lock",
        ]);
    // Like in pip, hashes without `--require-hashes` do not apply to build requirements.
    sandbox.build(&index, &arguments[..2]).assert_success();
    let digest = sha256(&Wheel::new("tool", "1.0").bytes());
    let constraint = format!("tool==1.0 --hash=sha256:{digest}\n");
    sandbox.write("build.txt", &constraint);
    let arguments = [&arguments[..], &["--build-constraint", "build.txt"]].concat();
    sandbox.build(&index, &arguments).assert_success();
}

/// Returns an index with newer versions than those that are locked for `alpha` and `beta`.
fn locked_pair() -> (Index, Sandbox) {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for name in ["alpha", "beta"] {
        index.add(&Wheel::new(name, "1.0"));
    }
    sandbox.write("requirements.txt", "alpha\nbeta\n");
    lock(&sandbox, &index, &[]).assert_success();
    for name in ["alpha", "beta", "gamma"] {
        index.add(&Wheel::new(name, "2.0"));
    }
    index.forget_requests();
    (index, sandbox)
}

fn lock_has(sandbox: &Sandbox, filename: &str) -> bool {
    text(sandbox, "pylock.toml").contains(&format!("\"{filename}-py3-none-any.whl\""))
}

#[test]
fn keeps_current_lock_without_requests() {
    let (index, sandbox) = locked_pair();
    let before = text(&sandbox, "pylock.toml");
    lock(&sandbox, &index, &[]).assert_success();
    let checked = lock(&sandbox, &index, &["--check", "--json"]);
    checked.assert_success();
    assert!(
        checked.stdout.contains("\"change\": \"current\""),
        "{}",
        checked.stdout
    );
    assert_eq!(text(&sandbox, "pylock.toml"), before);
    assert_eq!(index.requests("/").len(), 0);
}

#[test]
fn keeps_versions_when_requirements_change() {
    let (index, sandbox) = locked_pair();
    sandbox.write("requirements.txt", "alpha\nbeta\ngamma\n");
    let checked = lock(&sandbox, &index, &["--check"]);
    checked
        .assert_exit(3)
        .assert_error_names(&["pylock.toml", "out of date"]);
    assert!(
        checked.stderr.contains("  added gamma 2.0\n"),
        "{}",
        checked.stderr
    );
    assert!(!lock_has(&sandbox, "gamma-2.0"));
    let checked = lock(&sandbox, &index, &["--check", "--json"]);
    checked.assert_exit(3);
    // The error follows as a separate document.
    let mut documents = serde_json::Deserializer::from_str(&checked.stdout).into_iter();
    let document: serde_json::Value = documents.next().unwrap().unwrap();
    let found = &document["locks"][0];
    assert_eq!(found["change"], "outdated");
    let added = serde_json::json!([{ "package": "gamma", "from": null, "to": "2.0" }]);
    assert_eq!(found["versions"], added);
    let differences = serde_json::json!(["`requirements.txt` has changed"]);
    assert_eq!(found["differences"], differences);
    lock(&sandbox, &index, &[]).assert_success();
    assert!(
        lock_has(&sandbox, "alpha-1.0")
            && lock_has(&sandbox, "beta-1.0")
            && lock_has(&sandbox, "gamma-2.0")
    );
}

#[test]
fn next_build_uses_lock() {
    let (index, sandbox) = locked_pair();
    let built = sandbox.build(&index, &[]);
    built.assert_success();
    let said = "From pylock.toml; not used: requirements.txt\n";
    assert!(built.stderr.contains(said), "{}", built.stderr);
    let locked = ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), locked);
    sandbox.build(&index, &["--frozen"]).assert_success();
    // A change of comments does not make the lock outdated.
    sandbox.write("requirements.txt", "# both\nalpha\n\nbeta # too\n");
    sandbox.build(&index, &[]).assert_success();
    sandbox.write("requirements.txt", "alpha\n");
    sandbox
        .build(&index, &[])
        .assert_exit(2)
        .assert_error_names(&["pylock.toml", "requirements.txt", "wheelhouse lock"]);
    let built = sandbox.build(&index, &["-r", "requirements.txt"]);
    built.assert_success();
    let said = "From requirements.txt; not used: pylock.toml\n";
    assert!(built.stderr.contains(said), "{}", built.stderr);
    let locked = lock(&sandbox, &index, &[]);
    locked.assert_success();
    assert!(
        locked.stderr.contains("  removed beta 1.0\n"),
        "{}",
        locked.stderr
    );
    sandbox.build(&index, &[]).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_installs_from_wheelhouse_and_its_lock_alone() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0").requires("beta"));
    index.add_sdist(&Sdist::new("beta", "1.0"));
    Sdist::new("local", "1.0").write_tree(&sandbox.path("local"));
    let arguments = ["alpha", "./local"];
    sandbox.build(&index, &arguments).assert_success();
    let written = text(&sandbox, "out/pylock.toml");
    index.forget_requests();
    sandbox
        .build(&index, &[&arguments[..], &["--frozen"]].concat())
        .assert_success();
    assert_eq!(text(&sandbox, "out/pylock.toml"), written);
    assert_eq!(index.requests("/").len(), 0);
    for name in ["alpha", "beta", "local"] {
        let path = format!("path = \"{name}-1.0-py3-none-any.whl\"");
        assert!(written.contains(&path), "{written}");
    }
    std::fs::rename(sandbox.out(), sandbox.path("moved")).unwrap();
    std::fs::remove_dir_all(sandbox.path("local")).unwrap();
    let mut build = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    build.args([
        "build",
        "--no-index",
        "--lock",
        "moved/pylock.toml",
        "-o",
        "again",
    ]);
    build.arg("--no-cache");
    sandbox.spawn(build).finish().assert_success();
    assert_eq!(
        tree::wheels(&sandbox.path("again")),
        tree::wheels(&sandbox.path("moved"))
    );
    let test_python = test_python();
    let installed = python::environment(&test_python, &sandbox.path(""), "environment");
    let mut pip = python::pip(&test_python, &installed);
    pip.args(["install", "--no-index", "-r"]);
    python::run(pip.arg(sandbox.path("moved/pylock.toml")));
    let list = python::run(python::pip(&test_python, &installed).arg("freeze"));
    let list = String::from_utf8(list.stdout).unwrap();
    for name in ["alpha", "beta", "local"] {
        assert!(list.contains(name), "{list}");
    }
    assert_eq!(index.requests("/").len(), 0);
}

#[test]
fn upgrades_one_or_all_packages() {
    let (index, sandbox) = locked_pair();
    let upgraded = lock(&sandbox, &index, &["--upgrade-package", "alpha"]);
    upgraded.assert_success();
    let said = "updated pylock.toml\n  changed alpha 1.0 -> 2.0\n";
    assert!(upgraded.stderr.contains(said), "{}", upgraded.stderr);
    assert!(lock_has(&sandbox, "alpha-2.0") && lock_has(&sandbox, "beta-1.0"));
    lock(&sandbox, &index, &["--upgrade"]).assert_success();
    assert!(lock_has(&sandbox, "alpha-2.0") && lock_has(&sandbox, "beta-2.0"));
}

#[test]
fn build_upgrades_one_package_of_its_lock() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for name in ["alpha", "beta"] {
        index.add(&Wheel::new(name, "1.0"));
    }
    sandbox.build(&index, &["alpha", "beta"]).assert_success();
    for name in ["alpha", "beta"] {
        index.add(&Wheel::new(name, "2.0"));
    }
    let upgrade = ["alpha", "beta", "-P", "beta"];
    let built = sandbox.build(&index, &upgrade);
    built.assert_success();
    assert!(
        built.stderr.contains("Changed beta 1.0 -> 2.0\n"),
        "{}",
        built.stderr
    );
    let expected = ["alpha-1.0-py3-none-any.whl", "beta-2.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&sandbox.out()), expected);
}

/// Returns an index where `alpha` requires `winonly` on Windows and has a wheel for each of two systems.
fn index_for_systems() -> Index {
    let index = Index::start();
    for tag in ["py3-none-manylinux_2_17_x86_64", "py3-none-win_amd64"] {
        let alpha = Wheel::new("alpha", "1.0").tag(tag);
        index.add(&alpha.requires("winonly; sys_platform == 'win32'"));
    }
    index.add(&Wheel::new("winonly", "1.0"));
    index
}

const SYSTEMS: [&str; 4] = ["--platform", "linux,windows", "--python-version", "3.11"];

#[test]
fn writes_one_lock_per_target() {
    let (index, sandbox) = (index_for_systems(), Sandbox::new());
    let arguments = [&["alpha", "-o", "locks"], &SYSTEMS[..]].concat();
    lock(&sandbox, &index, &arguments).assert_success();
    let linux = text(&sandbox, "locks/pylock.cp311-manylinux_2_28_x86_64.toml");
    assert!(linux.contains("alpha-1.0-py3-none-manylinux") && !linux.contains("winonly"));
    let windows = text(&sandbox, "locks/pylock.cp311-win_amd64.toml");
    assert!(windows.contains("alpha-1.0-py3-none-win") && windows.contains("winonly-1.0"));
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_installs_from_universal_lock() {
    let (index, sandbox) = (index_for_systems(), Sandbox::new());
    let host = ["--target", "host"];
    let arguments = [&["alpha", "--universal"], &host[..], &SYSTEMS[..]].concat();
    lock(&sandbox, &index, &arguments).assert_success();
    let shared = text(&sandbox, "pylock.toml");
    assert!(
        shared.contains("marker = \"sys_platform == 'win32'\""),
        "{shared}"
    );
    assert_eq!(shared.matches("name = \"alpha\"").count(), 1);
    assert_eq!(shared.matches("[[packages.wheels]]").count(), 3);
    sandbox
        .build(&index, &["--lock", "pylock.toml"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()).len(), 1);
    let test_python = test_python();
    let installed = python::environment(&test_python, &sandbox.path(""), "environment");
    let mut pip = python::pip(&test_python, &installed);
    python::run(pip.args(["install", "-r"]).arg(sandbox.path("pylock.toml")));
    let list = python::run(python::pip(&test_python, &installed).arg("freeze"));
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("alpha==1.0") && !list.contains("winonly"),
        "{list}"
    );
}

#[test]
fn rejects_invalid_lock_filename() {
    let (index, sandbox) = (index_for_systems(), Sandbox::new());
    lock(&sandbox, &index, &["alpha", "-o", "requirements.lock"])
        .assert_exit(2)
        .assert_error_names(&["requirements.lock", "pylock.NAME.toml"]);
    sandbox.write("pylock.toml", "not a lock");
    lock(&sandbox, &index, &["alpha"])
        .assert_exit(2)
        .assert_error_names(&["pylock.toml", "hint:"]);
    assert_eq!(text(&sandbox, "pylock.toml"), "not a lock");
}

/// Writes a source tree whose requirements are read from `sub/base.txt`.
fn write_dynamic_tree(directory: &std::path::Path) {
    Sdist::new("local", "1.0").write_tree(directory);
    let backend = std::fs::read_to_string(directory.join("backend.py")).unwrap();
    let read = "metadata = file.read() + io.open(\"sub/base.txt\").read()";
    let backend = backend.replace("metadata = file.read()", read);
    std::fs::write(directory.join("backend.py"), backend).unwrap();
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("sub/base.txt"), "Requires-Dist: alpha\n").unwrap();
}

#[test]
fn lock_inside_source_tree_is_not_part_of_its_state() {
    let systems = [&["--output", "project"][..], &SYSTEMS].concat();
    for (output, path) in [
        (&["-o", "project/sub/pylock.toml"][..], "sub/pylock.toml"),
        (&["-o", "project/pylock.toml"], "pylock.toml"),
        (
            &["-o", "project/sub/pylock.web.toml"],
            "sub/pylock.web.toml",
        ),
        (&systems, "pylock.cp311-win_amd64.toml"),
    ] {
        let (index, sandbox) = (Index::start(), Sandbox::new());
        index.add(&Wheel::new("alpha", "1.0"));
        index.add(&Wheel::new("beta", "1.0"));
        let project = sandbox.path("project");
        write_dynamic_tree(&project);
        let arguments = [&["./project"], output].concat();
        let check = [&arguments[..], &["--check"]].concat();
        lock(&sandbox, &index, &arguments).assert_success();
        let path = format!("project/{path}");
        assert!(text(&sandbox, &path).contains("name = \"alpha\""));
        lock(&sandbox, &index, &check).assert_success();
        std::fs::write(project.join("sub/base.txt"), "Requires-Dist: beta\n").unwrap();
        lock(&sandbox, &index, &check).assert_exit(3);
        lock(&sandbox, &index, &arguments).assert_success();
        assert!(text(&sandbox, &path).contains("name = \"beta\""));
        lock(&sandbox, &index, &check).assert_success();
    }
}

#[test]
fn relocks_when_tree_required_by_another_changes() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let (upper, lower) = (sandbox.path("upper"), sandbox.path("lower"));
    let write = |name: &str, path: &std::path::Path, requires: &str| {
        Sdist::new(name, "1.0").write_tree(path);
        let metadata = std::fs::read_to_string(path.join("PKG-INFO")).unwrap();
        std::fs::write(path.join("PKG-INFO"), metadata + requires).unwrap();
    };
    let url = url::Url::from_file_path(&lower).unwrap();
    write("upper", &upper, &format!("Requires-Dist: lower @ {url}\n"));
    write("lower", &lower, "");
    lock(&sandbox, &index, &["./upper"]).assert_success();
    index.forget_requests();
    lock(&sandbox, &index, &["./upper", "--check"]).assert_success();
    assert_eq!(index.requests("/").len(), 0);
    write("lower", &lower, "Requires-Dist: alpha\n");
    lock(&sandbox, &index, &["./upper", "--check"]).assert_exit(3);
    lock(&sandbox, &index, &["./upper"]).assert_success();
    assert!(lock_has(&sandbox, "alpha-1.0"));
}
