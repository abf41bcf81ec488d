//! `wheelhouse download`: published files for each target, and what is built on the host.

use std::ffi::OsStr;
use std::path::Path;

use crate::support::{Index, Member, Sandbox, Sdist, Wheel, tree};

/// Returns the filenames of the distributions in `directory`.
fn distributions(directory: &Path) -> Vec<String> {
    let names = tree::read(directory).into_keys();
    let is_one = |name: &String| {
        let end = Path::new(name).extension();
        end.is_some_and(|end| end == "whl" || end == "gz") && !name.contains('/')
    };
    names.filter(is_one).collect()
}

fn wheel_name(name: &str) -> String {
    format!("{name}-1.0-py3-none-any.whl")
}

fn sdist_name(name: &str) -> String {
    format!("{name}-1.0.tar.gz")
}

/// Returns an index with pure wheels of version 1.0.
fn index_with(names: &[&str]) -> Index {
    let index = Index::start();
    for name in names {
        index.add(&Wheel::new(name, "1.0"));
    }
    index
}

/// Runs `wheelhouse build` from `out` alone, into `wheels`, with an empty cache.
fn build_from_out(sandbox: &Sandbox, wanted: &[&str]) {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["build", "--cache-dir", "fresh", "-o", "wheels"]);
    command.args(["--no-index", "--find-links", "out"]);
    command.args(wanted);
    sandbox.spawn(command).finish().assert_success();
}

#[test]
fn downloads_build_closure_as_published() {
    let (index, sandbox) = (index_with(&["base", "plugin", "unwanted"]), Sandbox::new());
    let alpha = Wheel::new("alpha", "1.0").requires("gamma");
    let tool = Sdist::new("tool", "1.0").requires("base");
    let script = "import tool, plugin";
    let gamma = Sdist::new("gamma", "1.0").requires("tool");
    let gamma = gamma.reports("plugin").script(script);
    index.add(&alpha);
    index.add_sdist(&tool);
    index.add_sdist(&gamma);
    sandbox
        .download(&index, &["alpha", "--no-bootstrap"])
        .assert_success();
    let expected = [
        wheel_name("alpha"),
        wheel_name("base"),
        sdist_name("gamma"),
        wheel_name("plugin"),
        sdist_name("tool"),
    ];
    assert_eq!(distributions(&sandbox.out()), expected);
    let files = tree::read(&sandbox.out());
    assert_eq!(files[&alpha.filename()], alpha.bytes());
    assert_eq!(files[&gamma.filename()], gamma.bytes());
    assert_eq!(files[&tool.filename()], tool.bytes());

    for sdist in [&tool, &gamma] {
        let file = format!("/files/{}", sdist.filename());
        assert_eq!(index.requests(&file).len(), 1, "{file}");
    }

    index.forget_requests();
    build_from_out(&sandbox, &["alpha"]);
    assert_eq!(
        tree::wheels(&sandbox.path("wheels")),
        [wheel_name("alpha"), wheel_name("gamma")]
    );
    assert!(index.requests("").is_empty());
}

#[test]
fn default_output_is_packages() {
    let (index, sandbox) = (index_with(&["alpha"]), Sandbox::new());
    let cases: [(&str, &[&str]); 4] = [
        ("packages", &[]),
        ("one", &["-d", "one"]),
        ("two", &["--dest", "two"]),
        ("three", &["--output", "three"]),
    ];
    for (directory, arguments) in cases {
        let arguments = ["alpha", "--no-bootstrap"].iter().chain(arguments);
        let run = sandbox.download_anywhere(&index, arguments.map(|text| OsStr::new(*text)));
        run.assert_success();
        assert_eq!(
            distributions(&sandbox.path(directory)),
            [wheel_name("alpha")],
            "{directory}"
        );
    }
}

#[test]
fn downloads_bootstrap_packages() {
    let (index, sandbox) = (
        index_with(&["alpha", "pip", "setuptools", "wheel"]),
        Sandbox::new(),
    );
    sandbox.download(&index, &["alpha"]).assert_success();
    let all = ["alpha", "pip", "setuptools", "wheel"].map(wheel_name);
    assert_eq!(distributions(&sandbox.out()), all);
    let lock = std::fs::read_to_string(sandbox.path("out/pylock.toml")).unwrap();
    assert!(!lock.contains("setuptools"), "not required:\n{lock}");

    sandbox
        .download(&index, &["alpha", "--bootstrap", "--no-bootstrap"])
        .assert_success();
    assert_eq!(distributions(&sandbox.out()), [wheel_name("alpha")]);
    sandbox
        .download(&index, &["alpha", "--no-bootstrap", "--bootstrap"])
        .assert_success();
    assert_eq!(distributions(&sandbox.out()), all);
}

const TAGS: [(&str, &str); 4] = [
    (
        "cp39-manylinux_2_28_x86_64",
        "cp39-cp39-manylinux_2_17_x86_64",
    ),
    ("cp39-win_amd64", "cp39-cp39-win_amd64"),
    (
        "cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
    ),
    ("cp312-win_amd64", "cp312-cp312-win_amd64"),
];

/// Returns an index with `alpha`, which has a wheel for each target and requires others by markers.
fn index_of_targets() -> Index {
    let index = index_with(&["common", "winonly", "backport"]);
    let alpha = Wheel::new("alpha", "1.0")
        .requires("common")
        .requires("winonly ; sys_platform == 'win32'")
        .requires("backport ; python_version < '3.10'");
    for (_, tag) in TAGS {
        index.add(&alpha.clone().tag(tag));
    }
    index.add(&alpha.tag("cp312-cp312-macosx_11_0_arm64"));
    index
}

#[test]
fn each_target_has_its_wheels_and_markers() {
    let (index, sandbox) = (index_of_targets(), Sandbox::new());
    let pythons = ["--python-version", "3.9,3.12"];
    let platforms = ["--platform", "linux,windows"];
    let arguments = ["alpha", "--no-bootstrap"];
    let arguments = [arguments, pythons, platforms].concat();
    sandbox.download(&index, &arguments).assert_success();
    for (target, tag) in TAGS {
        let lock = sandbox.path(&format!("out/pylock.{target}.toml"));
        let lock = std::fs::read_to_string(lock).unwrap();
        let has = |name: &str| lock.contains(&format!("name = \"{name}\""));
        assert!(lock.contains(&format!("alpha-1.0-{tag}.whl")), "{lock}");
        assert_eq!(
            lock.matches("alpha-1.0-").count(),
            lock.matches(tag).count()
        );
        assert!(has("common"), "{lock}");
        assert_eq!(has("winonly"), target.contains("win"), "{target}: {lock}");
        assert_eq!(has("backport"), target.contains("cp39"), "{target}: {lock}");
    }
    assert!(!sandbox.path("out/pylock.toml").exists());
    let wheels = tree::wheels(&sandbox.out());
    assert_eq!(wheels.len(), 4 + 3, "{wheels:?}");
    assert_eq!(
        index.requests("/files/common-1.0-py3-none-any.whl").len(),
        1
    );
}

/// Returns the only `target-finished` event of a run.
fn target_finished(stdout: &str) -> serde_json::Value {
    let events = stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut ends: Vec<_> = events
        .filter(|event| event["event"] == "target-finished")
        .collect();
    assert_eq!(ends.len(), 1, "{stdout}");
    ends.remove(0)
}

const FOREIGN: [&str; 3] = ["--no-bootstrap", "--target", "3.12-windows"];

#[test]
fn reports_sdists_to_build_on_foreign_target() {
    let (index, sandbox) = (index_with(&["tool"]), Sandbox::new());
    index.add_sdist(&Sdist::new("pure", "1.0"));
    index.add_sdist(
        &Sdist::new("native", "1.0")
            .requires("tool")
            .platform_wheel(),
    );
    let broken = Sdist::new("broken", "1.0").static_metadata();
    index.add_sdist(&broken.script("raise SystemExit('only elsewhere')"));
    let wanted = ["pure", "native", "broken", "--json"];
    let run = sandbox.download(&index, &[&wanted[..], &FOREIGN].concat());
    run.assert_success();
    let expected = [
        sdist_name("broken"),
        sdist_name("native"),
        wheel_name("pure"),
        wheel_name("tool"),
    ];
    assert_eq!(distributions(&sandbox.out()), expected);
    for name in ["pure", "native", "broken"] {
        let file = format!("/files/{name}-1.0.tar.gz");
        assert_eq!(index.requests(&file).len(), 1, "{file}");
    }
    let event = target_finished(&run.stdout);
    assert_eq!(event["target"], "cp312-win_amd64");
    assert_eq!(event["packages"], 3);
    assert_eq!(event["wheels"], 2);
    assert_eq!(
        event["to_build"],
        serde_json::json!(["broken==1.0", "native==1.0"])
    );
}

#[test]
fn does_not_build_sdist_with_extension_modules_for_foreign_target() {
    let (index, sandbox) = (index_with(&["tool"]), Sandbox::new());
    let native = Sdist::new("native", "1.0");
    let setup = b"from setuptools import setup\nsetup(ext_modules=[])\n";
    let native = native
        .requires("tool")
        .member(Member::file("native-1.0/setup.py", setup))
        .member(Member::file("native-1.0/src/native.c", b""));
    index.add_sdist(&native);
    let wanted = [&["native", "--json"][..], &FOREIGN].concat();
    let run = sandbox.download(&index, &wanted);
    run.assert_success();
    assert!(!run.stdout.contains("build-started"), "{}", run.stdout);
    let expected = [sdist_name("native"), wheel_name("tool")];
    assert_eq!(distributions(&sandbox.out()), expected);
    let event = target_finished(&run.stdout);
    assert_eq!(event["to_build"], serde_json::json!(["native==1.0"]));
    // A cached wheel is inspected.
    sandbox.build(&index, &["native"]).assert_success();
    let again = sandbox.path("again");
    let again = ["-d", again.to_str().unwrap()];
    let run = sandbox.download(&index, &[&wanted[..], &again].concat());
    run.assert_success();
    let event = target_finished(&run.stdout);
    assert_eq!(event["to_build"], serde_json::json!([]));
}

#[test]
fn only_binary_rejects_sdist_for_target() {
    let index = Index::start();
    index.add_sdist(&Sdist::new("native", "1.0").platform_wheel());
    let arguments = ["native", "--only-binary", ":all:"];
    let sandbox = Sandbox::new();
    let run = sandbox.download(&index, &[&arguments[..], &FOREIGN].concat());
    run.assert_exit(3)
        .assert_error_names(&["native", "win_amd64"]);
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn sources_all_downloads_sdists_and_their_build_closure() {
    let (index, sandbox) = (index_with(&["alpha", "tool", "beta"]), Sandbox::new());
    index.add_sdist(&Sdist::new("alpha", "1.0").requires("tool"));
    sandbox
        .download(&index, &["alpha", "beta", "--no-bootstrap"])
        .assert_success();
    assert_eq!(
        distributions(&sandbox.out()),
        ["alpha", "beta"].map(wheel_name)
    );
    let all = ["alpha", "beta", "--no-bootstrap", "--sources", "all"];
    let run = sandbox.download(&index, &[&all[..], &["--json"]].concat());
    run.assert_success();
    let end = target_finished(&run.stdout);
    assert_eq!(end["to_build"], serde_json::json!([]));
    let expected = [
        wheel_name("alpha"),
        sdist_name("alpha"),
        wheel_name("beta"),
        wheel_name("tool"),
    ];
    assert_eq!(distributions(&sandbox.out()), expected);
}

#[test]
fn unknown_target_is_an_error() {
    let (index, sandbox) = (index_with(&["alpha"]), Sandbox::new());
    for (option, name) in [
        ("--platform", "beos"),
        ("--python-version", "4.1"),
        ("--target", "3.12-beos"),
        ("--target", "somewhere"),
    ] {
        let run = sandbox.download(&index, &["alpha", option, name]);
        let named = name.trim_start_matches("3.12-");
        run.assert_exit(2).assert_error_names(&[named, "hint:"]);
        assert!(!sandbox.out().exists());
    }
}

#[test]
fn second_run_removes_unneeded_files_and_keeps_foreign_files() {
    let (index, sandbox) = (index_with(&["alpha", "beta"]), Sandbox::new());
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    let both = ["alpha", "beta", "gamma", "--no-bootstrap"];
    let targets = ["--target", "host,3.12-windows"];
    sandbox
        .download(&index, &[&both[..], &targets].concat())
        .assert_success();
    let windows = sandbox.path("out/pylock.cp312-win_amd64.toml");
    assert!(windows.exists());
    sandbox.write("out/notes.txt", "mine\n");
    sandbox
        .download(&index, &["beta", "--no-bootstrap"])
        .assert_success();
    assert_eq!(distributions(&sandbox.out()), [wheel_name("beta")]);
    assert!(!windows.exists());
    assert!(sandbox.path("out/pylock.toml").exists());
    let notes = std::fs::read_to_string(sandbox.path("out/notes.txt"));
    assert_eq!(notes.unwrap(), "mine\n");
    let simple = tree::read(&sandbox.path("out/simple"));
    assert!(simple.keys().all(|name| !name.contains("alpha")));
}

#[test]
fn one_job_suffices_for_nested_build_requirements() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add_sdist(&Sdist::new("base", "1.0"));
    index.add_sdist(&Sdist::new("tool", "1.0").requires("base").reports("extra"));
    index.add_sdist(&Sdist::new("extra", "1.0").requires("base"));
    for name in ["alpha", "beta", "gamma"] {
        index.add_sdist(&Sdist::new(name, "1.0").requires("tool").reports("extra"));
    }
    index.add_sdist(
        &Sdist::new("delta", "1.0")
            .requires("alpha")
            .requires("beta"),
    );
    let wanted = ["delta", "gamma", "alpha", "tool", "--jobs", "1"];
    let targets = ["--no-bootstrap", "--target", "host,3.12-windows,3.9-macos"];
    let run = sandbox.download(&index, &[&wanted[..], &targets].concat());
    run.assert_success();
    let got = distributions(&sandbox.out());
    // The foreign targets need no build closures, because their wheels are pure and built on the host.
    let locked = ["alpha", "delta", "gamma", "tool"];
    for name in locked.into_iter().chain(["base", "beta", "extra"]) {
        assert!(got.contains(&sdist_name(name)), "{name}: {got:?}");
        let built = got.contains(&wheel_name(name));
        assert_eq!(built, locked.contains(&name), "{name}: {got:?}");
    }
    build_from_out(&sandbox, &["delta", "gamma"]);
}
