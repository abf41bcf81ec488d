//! Local source trees and files: never modified, and built again after changes.

use std::path::Path;

use super::{LOCAL, builds, file_url, wheel_contains, write_tree};
use crate::support::{Index, Sandbox, Sdist, Wheel, python_literal, sha256, tree};

#[test]
fn does_not_modify_tree_and_rebuilds_changed_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let before = tree::read(&project);
    sandbox.build(&index, &["./project"]).assert_success();
    tree::assert_same(&tree::read(&project), &before);
    assert_eq!(tree::wheels(&sandbox.out()), [LOCAL]);
    assert_eq!(builds(&sandbox), 1);
    assert!(
        !wheel_contains(&sandbox, LOCAL, "prepared.py"),
        "the build got a tree with litter"
    );
    for round in 0..2 {
        if round == 1 {
            std::fs::remove_dir_all(sandbox.out()).unwrap();
        }
        sandbox.build(&index, &["./project"]).assert_success();
        assert_eq!(builds(&sandbox), 1, "an unchanged tree was built again");
    }
    std::fs::write(project.join("module.py"), "TWO = 2\n").unwrap();
    sandbox.build(&index, &["./project"]).assert_success();
    assert_eq!(builds(&sandbox), 2);
    assert!(
        wheel_contains(&sandbox, LOCAL, "TWO = 2"),
        "the wheel is the old one"
    );
}

#[test]
fn tree_edited_during_run_is_an_error() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let (edited, module) = (sandbox.path("edited"), project.join("module.py"));
    let (mark, quoted) = (python_literal(&edited), python_literal(&module));
    let edit = format!(
        "    if not os.path.exists({mark}):\n        open({mark}, 'w').close()\n        \
         with open({quoted}, 'w') as file: file.write('TWO = 2\\n')\n    open('prepared.py'"
    );
    let backend = std::fs::read_to_string(project.join("backend.py")).unwrap();
    let backend = backend.replace("    open('prepared.py'", &edit);
    std::fs::write(project.join("backend.py"), backend).unwrap();
    let run = sandbox.build(&index, &["./project"]);
    run.assert_exit(5)
        .assert_error_names(&["/project changed", "hint:"]);
    for content in ["TWO = 2", "ONE = 1"] {
        std::fs::write(&module, format!("{content}\n")).unwrap();
        sandbox.build(&index, &["./project"]).assert_success();
        assert!(
            wheel_contains(&sandbox, LOCAL, content),
            "the wheel is not of the tree with {content}"
        );
    }
}

#[test]
fn output_inside_tree_does_not_cause_rebuild() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let project = sandbox.path("project");
    write_tree(&sandbox, &project);
    let (out, cache) = (project.join("wheelhouse"), sandbox.cache());
    for _ in 0..2 {
        sandbox
            .start_into(&index, &out, &cache, &["./project"])
            .finish()
            .assert_success();
        assert_eq!(builds(&sandbox), 1);
    }
    assert_eq!(tree::wheels(&out), [LOCAL]);
}

#[test]
fn reads_changed_local_file_again() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let path = sandbox.path("alpha-1.0-py3-none-any.whl");
    for content in ["one", "two"] {
        let wheel = Wheel::new("alpha", "1.0").file("x.py", content).bytes();
        std::fs::write(&path, &wheel).unwrap();
        sandbox
            .build(&index, &["./alpha-1.0-py3-none-any.whl"])
            .assert_success();
        assert_eq!(
            std::fs::read(sandbox.out().join("alpha-1.0-py3-none-any.whl")).unwrap(),
            wheel
        );
    }
    let sdist = Sdist::new("gamma", "1.0");
    std::fs::write(sandbox.path(&sdist.filename()), sdist.bytes()).unwrap();
    sandbox
        .build(&index, &["./gamma-1.0.tar.gz"])
        .assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
}

#[test]
fn missing_path_is_an_error_with_file_and_line() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("other", "1.0"));
    for missing in [
        "./nothing-here",
        "alpha @ ./nothing-here",
        "alpha @ file:nothing-here",
        "alpha @ file:///nothing-here-1.0.tar.gz",
    ] {
        sandbox.write("requirements.txt", &format!("other\n{missing}\n"));
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_exit(2)
            .assert_error_names(&[missing, "requirements.txt:2"]);
        let elsewhere = format!("other\n{missing} ; python_version < '2'\n");
        sandbox.write("requirements.txt", &elsewhere);
        let run = sandbox.build(&index, &["-r", "requirements.txt"]);
        run.assert_success();
    }
}

#[test]
fn build_failure_names_original_tree() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let broken = Sdist::new("broken", "1.0").script("raise SystemExit('no')");
    broken.write_tree(&sandbox.path("project"));
    let run = sandbox.build(&index, &["./project"]);
    run.assert_exit(5).assert_error_names(&["/project"]);
    assert!(!run.error().contains("/trees/"), "{}", run.stderr);
}

/// Writes a source tree that requires another one by path, like packages of one repository.
fn write_part(directory: &Path, name: &str, requires: Option<&Path>) {
    Sdist::new(name, "1.0").write_tree(directory);
    if let Some(required) = requires {
        let metadata = std::fs::read_to_string(directory.join("PKG-INFO")).unwrap();
        let required = format!("Requires-Dist: lower @ {}\n", file_url(required));
        std::fs::write(directory.join("PKG-INFO"), metadata + &required).unwrap();
    }
}

#[test]
fn source_tree_may_require_another_by_path() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let (lower, upper) = (sandbox.path("lower"), sandbox.path("upper"));
    write_part(&lower, "lower", None);
    write_part(&upper, "upper", Some(&lower));
    let before = tree::read(&lower);
    let url = file_url(&lower);
    sandbox.write("constraints.txt", &format!("lower @ {url}\n"));
    for arguments in [
        &["./upper"][..],
        &["./upper", "./lower"],
        &["./lower", "./upper"],
        &["./upper", &format!("lower @ {url}")],
        &["./upper", "lower", "-c", "constraints.txt"],
        &["./upper", "--override", "constraints.txt"],
    ] {
        sandbox.build(&index, arguments).assert_success();
        let wheels = ["lower-1.0-py3-none-any.whl", "upper-1.0-py3-none-any.whl"];
        assert_eq!(tree::wheels(&sandbox.out()), wheels, "{arguments:?}");
        tree::assert_same(&tree::read(&lower), &before);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    // The required tree does not exist elsewhere, so the wheelhouse is not complete by itself.
    sandbox.build(&index, &["./upper"]).assert_success();
    let run = sandbox.wheelhouse(&["verify", "out"]);
    run.assert_exit(6);
    assert!(run.stdout.contains("/lower is not part"), "{}", run.stdout);
}

#[test]
fn rebuilds_changed_tree_of_named_requirement() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let project = sandbox.path("project");
    let url = file_url(&project);
    for (version, requirement) in [
        ("1.0", format!("local@{url}")),
        ("2.0", format!("local@{url}")),
        ("3.0", format!("local @{url}")),
        ("4.0", format!("local @{url}")),
    ] {
        let local = Sdist::new("local", version);
        local.write_tree(&project);
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [local.wheel_filename()]);
    }
}

#[test]
fn rebuilds_changed_tree_required_by_another() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let (lower, upper) = (sandbox.path("lower"), sandbox.path("upper"));
    write_part(&lower, "lower", None);
    write_part(&upper, "upper", Some(&lower));
    sandbox.build(&index, &["./upper"]).assert_success();
    let frozen = sandbox.build(&index, &["./upper", "--frozen"]);
    frozen.assert_success();
    Sdist::new("lower", "2.0").write_tree(&lower);
    let metadata = std::fs::read_to_string(lower.join("PKG-INFO")).unwrap();
    std::fs::write(lower.join("PKG-INFO"), metadata + "Requires-Dist: alpha\n").unwrap();
    sandbox.build(&index, &["./upper"]).assert_success();
    let wheels = ["alpha-1.0", "lower-2.0", "upper-1.0"].map(|it| format!("{it}-py3-none-any.whl"));
    assert_eq!(tree::wheels(&sandbox.out()), wheels);
}

#[test]
fn supports_fragments_of_file_urls() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let sdist = Sdist::new("gamma", "1.0");
    std::fs::write(sandbox.path(&sdist.filename()), sdist.bytes()).unwrap();
    sdist.write_tree(&sandbox.path("project/python"));
    let (file, project) = (
        file_url(&sandbox.path(&sdist.filename())),
        file_url(&sandbox.path("project")),
    );
    let digest = sha256(&sdist.bytes());
    for requirement in [
        format!("{file}#egg=gamma"),
        format!("{file}#egg=gamma&sha256={digest} ; python_version > '2'"),
        format!("{project}#subdirectory=python"),
        format!("{project}#egg=gamma&subdirectory=python"),
        format!("gamma @ {project}#subdirectory=python"),
    ] {
        sandbox.build(&index, &[&requirement]).assert_success();
        assert_eq!(tree::wheels(&sandbox.out()), [sdist.wheel_filename()]);
        std::fs::remove_dir_all(sandbox.out()).unwrap();
    }
    for (requirement, exit, words) in [
        (format!("{file}#sha256={}", "0".repeat(64)), 4, "gamma"),
        (format!("{file}#subdirectory=python"), 2, "unpack it"),
        (
            format!("{project}#subdirectory=../other"),
            2,
            "out of the tree",
        ),
    ] {
        let run = sandbox.build(&index, &[&requirement]);
        run.assert_exit(exit).assert_error_names(&[words]);
    }
}
