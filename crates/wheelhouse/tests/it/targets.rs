//! Downloads for several targets: their names, and foreign targets without an interpreter.

use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, tree};

/// Returns the events named `name` in the output of a run with `--json`.
fn events(run: &RunResult, name: &str) -> Vec<Value> {
    let events = run.stdout.lines().map(serde_json::from_str::<Value>);
    events
        .map(Result::unwrap)
        .filter(|event| event["event"] == name)
        .collect()
}

/// Downloads without pip, setuptools and wheel.
fn download(sandbox: &Sandbox, index: &Index, arguments: &[&str]) -> RunResult {
    sandbox.download(index, &[&["--no-bootstrap", "--json"], arguments].concat())
}

#[test]
fn build_backend_failure_does_not_fail_foreign_target() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    for name in ["tool", "common"] {
        index.add(&Wheel::new(name, "1.0"));
    }
    let picky = Sdist::new("picky", "1.0").requires("tool");
    index.add_sdist(&picky.script("raise SystemExit('this is not Windows')"));
    let picky = "picky ; sys_platform == 'win32'";
    let wanted = [picky, "common", "--target", "3.12-windows,3.12-linux"];
    let run = download(&sandbox, &index, &wanted);
    run.assert_success();
    let ends = events(&run, "target-finished");
    let end_of = |target: &str| ends.iter().find(|end| end["target"] == target).unwrap();
    let linux = end_of("cp312-manylinux_2_28_x86_64");
    assert_eq!(
        (&linux["to_build"], &linux["unknown"]),
        (&json!([]), &json!([]))
    );
    let windows = end_of("cp312-win_amd64");
    assert_eq!(windows["to_build"], json!(["picky==1.0"]));
    assert_eq!(windows["unknown"][0]["package"], "picky==1.0");
    let reason = windows["unknown"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("picky"), "{reason}");
    let files = tree::read(&sandbox.out());
    assert!(files.contains_key("picky-1.0.tar.gz"));
    assert!(files.contains_key("tool-1.0-py3-none-any.whl"), "declared");

    let only = [&wanted[..], &["--only-binary", ":all:"]].concat();
    let run = download(&sandbox, &index, &only);
    run.assert_exit(3);
    assert!(run.stdout.contains("win_amd64"), "{}", run.stdout);
}

#[test]
fn does_not_build_package_with_platform_wheels_for_foreign_target() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let native = Sdist::new("native", "1.0").static_metadata();
    index.add_sdist(&native.platform_wheel());
    index.add(&Wheel::new("native", "1.0").tag("cp312-cp312-macosx_11_0_arm64"));
    let run = download(&sandbox, &index, &["native", "--target", "3.12-windows"]);
    run.assert_success();
    assert_eq!(events(&run, "build-started"), Vec::<Value>::new());
    let end = &events(&run, "target-finished")[0];
    assert_eq!(end["to_build"], json!(["native==1.0"]));
}

#[test]
fn patch_versions_are_separate_targets() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let late = "late ; python_full_version >= '3.12.4'";
    index.add(&Wheel::new("alpha", "1.0").requires(late));
    index.add(&Wheel::new("late", "1.0"));
    let targets = [
        "alpha",
        "--target",
        "3.12.1-linux,3.12.4-linux,3.12.4-windows",
    ];
    download(&sandbox, &index, &targets).assert_success();
    for (name, has_late) in [
        ("cp3_12_1-manylinux_2_28_x86_64", false),
        ("cp3_12_4-manylinux_2_28_x86_64", true),
        ("cp312-win_amd64", true),
    ] {
        let lock = sandbox.path(&format!("out/pylock.{name}.toml"));
        let lock = std::fs::read_to_string(lock).unwrap();
        assert_eq!(lock.contains("name = \"late\""), has_late, "{name}: {lock}");
    }
    sandbox
        .wheelhouse(&["verify", "out", "--no-install"])
        .assert_success();
}

/// `lead` requires an old `lib` on the target's Python, and its newest versions require newer Pythons.
#[test]
fn versions_for_other_pythons_do_not_cause_exhaustive_backtracking() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("lib", "1.0"));
    index.add(&Wheel::new("lib", "2.0"));
    for number in 1..=100 {
        let python = if number > 90 { ">=3.10" } else { ">=3.8" };
        let metadata = format!(
            "Metadata-Version: 2.1\nName: lead\nVersion: {number}.0\nRequires-Python: {python}\n\
             Requires-Dist: base=={number}.0\n"
        );
        let lead = Wheel::new("lead", &format!("{number}.0"));
        index.add(&lead.metadata(&metadata));
        let base = Wheel::new("base", &format!("{number}.0"));
        index.add(&base.requires("lib<2 ; python_version < '3.10'"));
    }
    let run = download(&sandbox, &index, &["lib", "lead", "--target", "3.9-linux"]);
    run.assert_success();
    let expected = ["base-90.0", "lead-90.0", "lib-1.0"];
    assert_eq!(
        tree::wheels(&sandbox.out()),
        expected.map(|name| format!("{name}-py3-none-any.whl"))
    );
    let asked = index.requests(".metadata");
    let asked = asked.iter().filter(|one| one.path.contains("/lead-"));
    let asked = asked.count();
    assert!(asked < 60, "{asked} versions were looked at");
}

#[test]
fn requests_metadata_of_one_compatible_version() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("lib", "1.0").requires("lead"));
    for number in 1..=100 {
        let lead = Wheel::new("lead", &format!("{number}.0"));
        index.add(&lead);
        if number > 50 {
            index.claim_requires_python(&lead.filename(), ">=3.10");
        }
    }
    let run = download(&sandbox, &index, &["lib", "lead", "--target", "3.9-linux"]);
    run.assert_success();
    let expected = ["lead-50.0", "lib-1.0"];
    assert_eq!(
        tree::wheels(&sandbox.out()),
        expected.map(|name| format!("{name}-py3-none-any.whl"))
    );
    let asked = index.requests(".metadata");
    let asked: Vec<&str> = asked.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[test]
fn builds_source_tree_once_for_all_targets() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("tool", "1.0"));
    let local = Sdist::new("local", "1.0").requires("tool");
    for directory in ["one", "two"] {
        local.write_tree(&sandbox.path(directory));
    }
    let targets = ["--target", "host,3.12-windows,3.9-macos"];
    for trees in [&["./one"][..], &["./one", "./two"]] {
        let run = download(&sandbox, &index, &[trees, &targets].concat());
        run.assert_success();
        let wheels = ["local-1.0-py3-none-any.whl"];
        assert_eq!(tree::wheels(&sandbox.out()), wheels, "{trees:?}");
    }
}

/// Returns an index where `alpha` has a newer version for Windows than for Linux.
fn index_with_two_versions() -> Index {
    let index = Index::start();
    for (version, tag) in [
        ("1.0", "cp312-cp312-manylinux_2_17_x86_64"),
        ("1.0", "cp312-cp312-win_amd64"),
        ("2.0", "cp312-cp312-win_amd64"),
    ] {
        index.add(&Wheel::new("alpha", version).tag(tag));
    }
    index
}

#[test]
fn same_versions_selects_common_versions_or_fails() {
    let (index, sandbox) = (index_with_two_versions(), Sandbox::new());
    let both = ["alpha", "--target", "3.12-windows,3.12-linux"];
    download(&sandbox, &index, &both).assert_success();
    let each = [
        "alpha-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "alpha-2.0-cp312-cp312-win_amd64.whl",
    ];
    assert_eq!(tree::wheels(&sandbox.out()), each);

    let same = [&both[..], &["--same-versions"]].concat();
    download(&sandbox, &index, &same).assert_success();
    let one = [
        "alpha-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "alpha-1.0-cp312-cp312-win_amd64.whl",
    ];
    assert_eq!(tree::wheels(&sandbox.out()), one);

    let newest = "alpha >= 2 ; sys_platform == 'win32'";
    let rest = "alpha ; sys_platform != 'win32'";
    let run = download(&sandbox, &index, &[&[newest, rest], &same[1..]].concat());
    run.assert_exit(3);
    for word in [
        "alpha 1.0: CPython",
        "alpha 2.0: CPython",
        "--same-versions",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    assert_eq!(tree::wheels(&sandbox.out()), one, "as it was");
}

#[test]
fn keep_going_continues_with_other_targets() {
    let (index, sandbox) = (index_with_two_versions(), Sandbox::new());
    index.add(&Wheel::new("common", "1.0"));
    let targets = ["--target", "3.12-windows,3.12-linux,3.12-macos,3.12-alpine"];
    let wanted = ["alpha", "common", "--keep-going"];
    let run = download(&sandbox, &index, &[&wanted[..], &targets].concat());
    run.assert_exit(3);
    for word in ["macosx_13_0_arm64", "musllinux_1_2_x86_64"] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    assert_eq!(events(&run, "target-finished").len(), 2, "{}", run.stdout);
    assert!(!sandbox.out().exists(), "not all is there");
}

#[test]
fn second_download_keeps_locks_unless_upgraded() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let both = ["alpha", "--target", "3.12-windows,3.12-linux"];
    let frozen = [&both[..], &["--frozen"]].concat();
    let run = download(&sandbox, &index, &frozen);
    run.assert_exit(3);
    assert!(run.stdout.contains("--frozen"), "{}", run.stdout);
    download(&sandbox, &index, &both).assert_success();

    index.add(&Wheel::new("alpha", "2.0"));
    index.forget_requests();
    for arguments in [&both[..], &frozen] {
        let run = download(&sandbox, &index, arguments);
        run.assert_success();
        assert!(
            events(&run, "locked")
                .iter()
                .all(|event| event["kept"] == true)
        );
        assert_eq!(tree::wheels(&sandbox.out()), ["alpha-1.0-py3-none-any.whl"]);
    }
    assert!(index.requests("").is_empty(), "no index is asked");

    let upgrade = [&both[..], &["--upgrade"]].concat();
    download(&sandbox, &index, &upgrade).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), ["alpha-2.0-py3-none-any.whl"]);
}

#[test]
fn dry_run_prints_plan_of_each_target() {
    let (index, sandbox) = (index_with_two_versions(), Sandbox::new());
    index.add_sdist(&Sdist::new("native", "1.0").static_metadata());
    let wanted = [
        "alpha",
        "native",
        "--dry-run",
        "--target",
        "3.12-windows,3.12-linux",
    ];
    let run = download(&sandbox, &index, &wanted);
    run.assert_success();
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let [windows, linux] = &document["targets"].as_array().unwrap()[..] else {
        panic!("two targets: {document}");
    };
    assert_eq!(windows["to_build"], json!(["native==1.0"]));
    assert_eq!(
        windows["steps"][0]["file"],
        "alpha-2.0-cp312-cp312-win_amd64.whl"
    );
    assert_eq!(linux["steps"][0]["version"], "1.0");
    assert_eq!(linux["steps"][0]["action"], "fetch");
    assert!(!sandbox.out().exists());
    assert!(index.requests(".whl").is_empty(), "nothing is fetched");
}

#[test]
fn reads_targets_from_pip_configuration() {
    let (index, mut sandbox) = (index_with_two_versions(), Sandbox::new());
    sandbox.write(
        "pip.conf",
        "[download]\nplatform = win_amd64\n[wheel]\nplatform = beos\n",
    );
    for (name, value) in [
        ("PIP_CONFIG_FILE", "pip.conf"),
        ("PIP_PYTHON_VERSION", "3.12"),
        ("PIP_DEST", "elsewhere"),
    ] {
        sandbox.set(name, value);
    }
    let run = sandbox.download_anywhere(&index, ["alpha", "--no-bootstrap"].map(OsStr::new));
    run.assert_success();
    let wheels = tree::wheels(&sandbox.path("elsewhere"));
    assert_eq!(wheels, ["alpha-2.0-cp312-cp312-win_amd64.whl"]);

    let run = sandbox.wheelhouse(&["config", "--for", "download", "--json"]);
    run.assert_success();
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let rows = document["settings"].as_array().unwrap();
    let row = |option: &str| rows.iter().find(|row| row["option"] == option).unwrap();
    assert_eq!(row("platform")["values"], json!(["win_amd64"]));
    assert_eq!(
        row("python-version")["origins"],
        json!(["`PIP_PYTHON_VERSION`"])
    );
    assert_eq!(row("dest")["origins"], json!(["`PIP_DEST`"]));
}
