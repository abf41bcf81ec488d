//! Real installers and publishers: pip of today and of Python 2.7, uv, PDM, Poetry and twine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, build, build_from, write_users};
use crate::support::python::{environment, pythons};
use crate::support::{Index, RunResult, Sandbox, Wheel, test_python, tree};

/// Returns a program of the environment with the packages of tests/requirements-clients.txt.
///
/// Tests that call it are ignored without the feature `test-clients`.
pub(crate) fn client(name: &str) -> PathBuf {
    let python = test_python();
    let environment = python.parent().and_then(Path::parent).unwrap();
    let program = environment.join("clients/bin").join(name);
    assert!(
        program.is_file(),
        "{} is missing: run ./test",
        program.display()
    );
    program
}

fn command(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(program.to_str().unwrap());
    command
        .args(arguments)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

#[track_caller]
fn pip(sandbox: &Sandbox, arguments: &[&str]) -> RunResult {
    let command = command(
        sandbox,
        &test_python(),
        &[&["-m", "pip"], arguments].concat(),
    );
    sandbox.spawn(command).finish()
}

#[track_caller]
fn uv(sandbox: &Sandbox, arguments: &[&str]) -> RunResult {
    let uv = test_python().with_file_name("uv");
    sandbox.spawn(command(sandbox, &uv, arguments)).finish()
}

/// Two projects with several versions, one of which requires the other.
fn wheels() -> Vec<Wheel> {
    vec![
        Wheel::new("alpha", "2.0").requires("beta-lib<2"),
        Wheel::new("beta_lib", "1.5").padded(400_000),
    ]
}

/// Returns the statuses of the requests for `path` in an access log of JSON lines.
fn statuses(log: &str, path: &str) -> Vec<u64> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines = lines.filter(|line| line["path"] == path);
    lines.map(|line| line["status"].as_u64().unwrap()).collect()
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_installs_and_revalidates_pages() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &wheels());
    let server = Server::start(&sandbox, &["out", "--access-log", "json"]);
    let index = server.url("/simple/");
    for target in ["first", "second"] {
        pip(
            &sandbox,
            &[
                // pip keeps nothing from hosts that it does not trust, such as those without TLS.
                "install",
                "-q",
                "--cache-dir",
                "pip-cache",
                "--trusted-host",
                "127.0.0.1",
                "--target",
                target,
                "-i",
                &index,
                "alpha",
            ],
        )
        .assert_success();
        let installed = tree::read(&sandbox.path(target));
        assert!(installed.contains_key("alpha.py") && installed.contains_key("beta_lib.py"));
    }
    let log = server.stop().stdout;
    for page in ["/simple/alpha/", "/simple/beta-lib/"] {
        assert_eq!(statuses(&log, page), [200, 304], "{log}");
    }
    // Wheels come from pip's cache, or are revalidated.
    let wheel = statuses(&log, "/beta_lib-1.5-py3-none-any.whl");
    assert!(wheel == [200] || wheel == [200, 304], "{log}");
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_downloads_through_every_path() {
    let sandbox = Sandbox::new();
    let out = build(&sandbox, "out", &wheels());
    let users = write_users(&sandbox);
    let expected = tree::wheels(&out);
    for (arguments, base) in [
        (&["out"][..], "/"),
        (&["out"], "/out/"),
        (&["out", "--base-path", "/pypi"], "/pypi/"),
        (&["out", "--auth-file", &users], "/"),
    ] {
        let server = Server::start(&sandbox, arguments);
        let url = if arguments.len() == 3 && arguments[1] == "--auth-file" {
            server.url_for("me:secret", base)
        } else {
            server.url(base)
        };
        let links = format!("--find-links={url}");
        for (number, source) in [
            &["--index-url", &format!("{url}simple/")][..],
            &["--index-url", &format!("{url}simple")],
            &["--no-index", &links],
        ]
        .into_iter()
        .enumerate()
        {
            let dest = format!("downloads-{number}");
            let _ = std::fs::remove_dir_all(sandbox.path(&dest));
            let common = ["download", "-q", "--no-cache-dir", "--dest", &dest, "alpha"];
            pip(&sandbox, &[&common, source].concat()).assert_success();
            assert_eq!(tree::wheels(&sandbox.path(&dest)), expected, "{source:?}");
        }
    }
    let server = Server::start(&sandbox, &["out", "--auth-file", &users]);
    let index = server.url_for("me:wrong", "/simple/");
    let result = pip(
        &sandbox,
        &[
            "download",
            "-q",
            "--no-input",
            "--no-cache-dir",
            "--retries",
            "0",
            "-i",
            &index,
            "alpha",
        ],
    );
    assert!(
        !result.status.success() && result.stderr.contains("401"),
        "{result:?}"
    );
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_reads_metadata_by_ranges_without_metadata_files() {
    let sandbox = Sandbox::new();
    let beta = Wheel::new("beta", "1.0").padded(2_000_000);
    // Without a manifest there are no metadata files.
    let plain = sandbox.path("plain");
    std::fs::create_dir(&plain).unwrap();
    let alpha = Wheel::new("alpha", "1.0").requires("beta");
    for wheel in [&alpha, &beta] {
        std::fs::write(plain.join(wheel.filename()), wheel.bytes()).unwrap();
    }
    let server = Server::start(&sandbox, &["plain", "--access-log", "json"]);
    let index = server.url("/simple/");
    let page = server.json("/simple/beta/");
    assert!(page["files"][0]["core-metadata"].is_null(), "{page}");
    pip(
        &sandbox,
        &[
            "install",
            "--dry-run",
            "--no-cache-dir",
            "--ignore-installed",
            "--use-feature=fast-deps",
            "-i",
            &index,
            "alpha",
            "--report",
            "report.json",
        ],
    )
    .assert_success();
    let requirements = sandbox.write("requirements.in", "alpha\n");
    uv(
        &sandbox,
        &[
            "pip",
            "compile",
            "--no-cache",
            "-q",
            "-i",
            &index,
            requirements.to_str().unwrap(),
        ],
    )
    .assert_success()
    .assert_stdout_contains(&["beta==1.0"]);
    let log = server.stop().stdout;
    let path = format!("/{}", beta.filename());
    let statuses = statuses(&log, &path);
    assert!(
        statuses.iter().filter(|status| **status == 206).count() >= 2,
        "{log}"
    );
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn uv_installs_resolves_and_revalidates() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &wheels());
    let server = Server::start(&sandbox, &["out", "--access-log", "json"]);
    let index = server.url("/simple/");
    let python = test_python();
    let python = python.to_str().unwrap();
    for target in ["first", "second"] {
        uv(
            &sandbox,
            &[
                "pip",
                "install",
                "--cache-dir",
                "uv-cache",
                "--python",
                python,
                "--target",
                target,
                "-i",
                &index,
                "--refresh",
                "alpha",
            ],
        )
        .assert_success();
        let installed = tree::read(&sandbox.path(target));
        assert!(
            installed.contains_key("beta_lib.py"),
            "{:?}",
            installed.keys()
        );
    }
    let log = server.stop().stdout;
    for page in ["/simple/alpha/", "/simple/beta-lib/"] {
        assert_eq!(statuses(&log, page), [200, 304], "{log}");
    }
    // The metadata file replaces reading the wheel.
    assert_eq!(
        statuses(&log, "/alpha-2.0-py3-none-any.whl.metadata")[0],
        200,
        "{log}"
    );
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn uv_locks_and_syncs_project() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &wheels());
    let server = Server::start(&sandbox, &["out"]);
    let index = server.url("/simple/");
    sandbox.write(
        "project/pyproject.toml",
        "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"alpha\"]\n",
    );
    let python = test_python();
    for command in ["lock", "sync"] {
        uv(
            &sandbox,
            &[
                command,
                "--no-cache",
                "--project",
                "project",
                "--default-index",
                &index,
                "--python",
                python.to_str().unwrap(),
            ],
        )
        .assert_success();
    }
    let lock = std::fs::read_to_string(sandbox.path("project/uv.lock")).unwrap();
    let digest = crate::support::sha256(&wheels()[1].bytes());
    assert!(lock.contains(&digest), "{lock}");
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn dates_limit_versions_of_pip_and_uv() {
    let sandbox = Sandbox::new();
    let index = Index::start();
    for (version, time) in [
        ("1.0", "2025-03-01T12:00:00Z"),
        ("2.0", "2026-03-01T12:00:00Z"),
    ] {
        let wheel = Wheel::new("alpha", version);
        index.add(&wheel);
        index.claim_upload_time(&wheel.filename(), time);
        build_from(
            &sandbox,
            &index,
            &sandbox.path(version),
            &[&wheel.requirement()],
        );
    }
    let server = Server::start(&sandbox, &["1.0", "2.0", "--exclude-newer", "2025-12-31"]);
    let url = server.url("/simple/");
    let view = server.url("/before/2025-12-31/simple/");
    let requirements = sandbox.write("requirements.in", "alpha\n");
    let requirements = requirements.to_str().unwrap();
    for (index, options, version) in [
        (&url, &[][..], "2.0"),
        (&url, &["2025-12-31"], "1.0"),
        (&view, &[], "1.0"),
    ] {
        let dated = |option: &'static str| -> Vec<&str> {
            options.iter().flat_map(|date| [option, date]).collect()
        };
        let arguments = [
            "pip",
            "compile",
            "--no-cache",
            "-q",
            "-i",
            index,
            requirements,
        ];
        let expected = format!("alpha=={version}");
        uv(
            &sandbox,
            &[&arguments[..], &dated("--exclude-newer")].concat(),
        )
        .assert_success()
        .assert_stdout_contains(&[&expected]);
        let dest = format!("dest-{version}-{}", options.len());
        let arguments = [
            "download",
            "-q",
            "--no-cache-dir",
            "--dest",
            &dest,
            "-i",
            index,
            "alpha",
        ];
        pip(
            &sandbox,
            &[&arguments[..], &dated("--uploaded-prior-to")].concat(),
        )
        .assert_success();
        let expected = format!("alpha-{version}-py3-none-any.whl");
        assert!(
            sandbox.path(&dest).join(&expected).exists(),
            "{index} {options:?}"
        );
    }
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-python2")),
    ignore = "requires the test Python, Python 2.7, Python 3.6 to 3.9"
)]
fn old_pips_install() {
    let sandbox = Sandbox::new();
    let wheels = [
        Wheel::new("alpha", "2.0")
            .tag("py2.py3-none-any")
            .requires("beta-lib"),
        Wheel::new("beta_lib", "1.5")
            .tag("py2.py3-none-any")
            .padded(100_000),
    ];
    build(&sandbox, "out", &wheels);
    let server = Server::start(&sandbox, &["out"]);
    let index = server.url("/simple/");
    for (version, python) in pythons() {
        if !["2.7", "3.6", "3.8"].contains(&version.as_str()) {
            continue;
        }
        let target = format!("target-{version}");
        let arguments = [
            "-m",
            "pip",
            "install",
            "-q",
            "--no-cache-dir",
            "--target",
            &target,
            "-i",
            &index,
            "alpha",
        ];
        let result = sandbox
            .spawn(command(&sandbox, &python, &arguments))
            .finish();
        result.assert_success();
        assert!(
            sandbox.path(&target).join("beta_lib.py").exists(),
            "{version}"
        );
        // The newest pip for Python 2.7 also takes the pages as a source of links.
        let dest = format!("dest-{version}");
        let links = server.url("/");
        let arguments = [
            "-m",
            "pip",
            "download",
            "-q",
            "--no-cache-dir",
            "--dest",
            &dest,
            "--no-index",
            "-f",
            &links,
            "alpha",
        ];
        sandbox
            .spawn(command(&sandbox, &python, &arguments))
            .finish()
            .assert_success();
        assert_eq!(tree::wheels(&sandbox.path(&dest)).len(), 2, "{version}");
    }
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-clients")),
    ignore = "requires the test Python, twine, PDM, Poetry"
)]
fn twine_and_uv_upload() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let users = write_users(&sandbox);
    let server = Server::start(&sandbox, &["out", "--auth-file", &users, "--allow-upload"]);
    let write = |wheel: &Wheel| {
        let path = sandbox.path(&wheel.filename());
        std::fs::write(&path, wheel.bytes()).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let beta = write(&Wheel::new("beta", "1.0").requires("alpha"));
    let url = server.url("/");
    let twine = |password: &str| {
        let common = [
            "upload",
            "--non-interactive",
            "--disable-progress-bar",
            "--repository-url",
            &url,
            "-u",
            "me",
            "-p",
            password,
            &beta,
        ];
        sandbox
            .spawn(command(&sandbox, &client("twine"), &common))
            .finish()
    };
    assert!(!twine("wrong").status.success());
    twine("secret").assert_success();
    // The same file again is accepted.
    twine("secret").assert_success();
    let gamma = write(&Wheel::new("gamma", "1.0").requires("beta"));
    let check = server.url_for("me:secret", "/simple/");
    for _ in 0..2 {
        // The second time, nothing is uploaded.
        uv(
            &sandbox,
            &[
                "publish",
                "--no-cache",
                "--trusted-publishing",
                "never",
                "--publish-url",
                &url,
                "--check-url",
                &check,
                "-u",
                "me",
                "-p",
                "secret",
                &gamma,
            ],
        )
        .assert_success();
    }
    pip(
        &sandbox,
        &[
            "download",
            "-q",
            "--no-cache-dir",
            "--dest",
            "all",
            "-i",
            &check,
            "gamma",
        ],
    )
    .assert_success();
    assert_eq!(tree::wheels(&sandbox.path("all")).len(), 3);
    sandbox.wheelhouse(&["verify", "out"]).assert_success();
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-clients")),
    ignore = "requires the test Python, twine, PDM, Poetry"
)]
fn pdm_and_poetry_install() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &wheels());
    let users = write_users(&sandbox);
    let server = Server::start(&sandbox, &["out", "--auth-file", &users]);
    let index = server.url_for("me:secret", "/simple/");
    let python = environment(&test_python(), &sandbox.path(""), "app");
    let python = python.to_str().unwrap();
    let project = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\n\
        dependencies = [\"alpha\"]\n";
    let digest = crate::support::sha256(&wheels()[1].bytes());

    sandbox.write(
        "pdm/pyproject.toml",
        &format!("{project}\n[[tool.pdm.source]]\nname = \"pypi\"\nurl = \"{index}\"\n"),
    );
    let pdm = |arguments: &[&str]| {
        let mut pdm = command(&sandbox, &client("pdm"), arguments);
        pdm.args(["-p", "pdm"]).env("PDM_CHECK_UPDATE", "0");
        sandbox.spawn(pdm).finish().assert_success();
    };
    pdm(&["use", "-f", python]);
    pdm(&["lock"]);
    pdm(&["sync", "--no-self"]);
    let lock = std::fs::read_to_string(sandbox.path("pdm/pdm.lock")).unwrap();
    assert!(lock.contains(&digest), "{lock}");

    sandbox.write(
        "poetry/pyproject.toml",
        &format!(
            "{project}\n[tool.poetry]\npackage-mode = false\n\n[[tool.poetry.source]]\nname = \"own\"\n\
             url = \"{}\"\npriority = \"primary\"\n",
            server.url("/simple/")
        ),
    );
    let poetry = |arguments: &[&str]| {
        let mut poetry = command(&sandbox, &client("poetry"), arguments);
        poetry
            .args(["--no-interaction", "-C", "poetry"])
            .env("POETRY_HTTP_BASIC_OWN_USERNAME", "me")
            .env("POETRY_HTTP_BASIC_OWN_PASSWORD", "secret")
            .env("POETRY_VIRTUALENVS_IN_PROJECT", "true");
        sandbox.spawn(poetry).finish().assert_success();
    };
    poetry(&["env", "use", python]);
    poetry(&["lock"]);
    poetry(&["sync", "--no-root"]);
    let lock = std::fs::read_to_string(sandbox.path("poetry/poetry.lock")).unwrap();
    assert!(lock.contains(&digest), "{lock}");
}
