//! Runs against `PyPI`, compared with pip and uv, with the example application.

use std::path::Path;
use std::process::Command;

use crate::support::python::{blog, environment, pip, run};
use crate::support::test_python;

/// Runs `wheelhouse build` in `directory` with the output `wheels`.
fn build(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    command
        .current_dir(directory)
        .args(["build", "--cache-dir", "cache", "-o", "wheels"]);
    let output = run(command.args(arguments));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-pypi")),
    ignore = "requires the test Python, PyPI"
)]
fn example_runs_from_its_wheelhouse() {
    let test_python = test_python();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (blog, wheels) = (blog(), root.join("wheels"));
    let source = blog.to_str().unwrap();
    let said = build(root, &["--source", source]);
    assert!(said.contains("Built misaka"), "{said}");

    let requirements = blog.join("requirements.txt");
    let python = environment(&test_python, root, "by-find-links");
    run(pip(&test_python, &python)
        .args(["install", "-q", "--no-index", "--find-links"])
        .arg(&wheels)
        .arg("-r")
        .arg(&requirements));
    run(pip(&test_python, &python).arg("check"));
    // Other tests copy the checkout at the same time, so nothing may be written to it.
    let database = format!("sqlite:///{}", root.join("db.sqlite3").display());
    for arguments in [&["makemigrations", "--check"][..], &["test"]] {
        let mut manage = Command::new(&python);
        manage.arg("manage.py").args(arguments).current_dir(&blog);
        run(manage.env("DATABASE_URL", &database));
    }

    let python = environment(&test_python, root, "by-index");
    let index = format!("file://{}/simple/", wheels.display());
    run(pip(&test_python, &python)
        .args(["install", "-q", "--index-url", &index, "-r"])
        .arg(&requirements));

    let python = environment(&test_python, root, "by-lock");
    run(pip(&test_python, &python)
        .args(["install", "-q", "-r"])
        .arg(wheels.join("pylock.toml")));

    let python = environment(&test_python, root, "by-uv");
    run(Command::new(&test_python)
        .args([
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--no-index",
            "--no-cache",
            "--find-links",
        ])
        .arg(&wheels)
        .arg("-r")
        .arg(&requirements)
        .arg("--python")
        .arg(&python));

    let check = "import sys, tomllib; from packaging.pylock import Pylock; \
                 lock = Pylock.from_dict(tomllib.load(open(sys.argv[1], 'rb'))); lock.validate(); \
                 print(len(list(lock.select())))";
    let output = run(Command::new(&test_python)
        .args(["-c", check])
        .arg(wheels.join("pylock.toml")));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "9");
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-pypi")),
    ignore = "requires the test Python, PyPI"
)]
fn selects_same_versions_as_pip() {
    let test_python = test_python();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let requirements = "flask[async]>=3\nrequests[socks]\npackaging<24 ; python_version >= '3.8'\n\
                        colorama ; sys_platform == 'win32'\n";
    std::fs::write(root.join("requirements.txt"), requirements).unwrap();
    let python = test_python.to_str().unwrap();
    build(root, &["-r", "requirements.txt", "--python", python]);
    run(Command::new(&test_python)
        .args([
            "-m",
            "pip",
            "wheel",
            "-q",
            "-r",
            "requirements.txt",
            "-w",
            "by-pip",
        ])
        .current_dir(root));
    let wheels = |name: &str| {
        let mut names: Vec<String> = std::fs::read_dir(root.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                Path::new(name)
                    .extension()
                    .is_some_and(|extension| extension == "whl")
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(wheels("wheels"), wheels("by-pip"));
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-pypi")),
    ignore = "requires the test Python, PyPI"
)]
fn late_direct_requirement_stays_current() {
    let directory = tempfile::tempdir().unwrap();
    let set = "jupyterlab\npandas\nscikit-learn\nboto3\nfastapi\nsphinx\nrequests\nmatplotlib\n";
    std::fs::write(directory.path().join("requirements.txt"), set).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    command
        .args([
            "build",
            "--dry-run",
            "--json",
            "--cache-dir",
            "cache",
            "-r",
            "requirements.txt",
        ])
        .current_dir(directory.path());
    let plan: serde_json::Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let boto3 = steps.iter().find(|step| step["name"] == "boto3").unwrap();
    let version = boto3["version"].as_str().unwrap();
    let numbers: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    assert!(numbers >= vec![1, 40, 0], "boto3 {version}");
}
