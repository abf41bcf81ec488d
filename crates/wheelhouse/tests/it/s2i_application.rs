//! The scripts that `s2i init` writes, run with many versions of pip. The `assemble` of the base image and its
//! directories are in a sandbox.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::containers::target;
use crate::support::python::{pythons, run};
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, sha256, test_python};

const ASSEMBLE: &str = include_str!("../../src/s2i/scaffold/assemble");

/// The steps of sclorg's `assemble` that process requirements; it records its variables.
const IMAGE_ASSEMBLE: &str = r#"#!/bin/bash
set -e
shopt -s dotglob
mv SOURCE/* "$HOME"
cd "$HOME"
env | grep '^PIP' | sort >"$HOME/variables"
cp "${PIP_CONSTRAINT##* }" "$HOME/constraints" 2>/dev/null || true
[ -n "$EXIT_CODE" ] && exit "$EXIT_CODE"
if [ -f requirements.txt ]; then pip install --quiet --target installed -r requirements.txt; fi
if [ -f pyproject.toml ]; then pip install --quiet --target installed .; fi
"#;

/// A Python, possibly with another version of pip.
struct Pip {
    python: PathBuf,
    /// The directory of another pip than the Python's.
    directory: Option<PathBuf>,
}

impl Pip {
    /// Returns the test Python with its pip, which is recent.
    fn new() -> Self {
        Self {
            python: test_python(),
            directory: None,
        }
    }

    /// Installs `version` of pip for `python`, cached below the target directory.
    fn version(python: &Path, version: &str) -> Self {
        let directories = target().join("test-pips");
        let directory = directories.join(version);
        std::fs::create_dir_all(&directories).unwrap();
        let lock = File::create(directories.join("lock")).unwrap();
        lock.lock().unwrap();
        if !directory.is_dir() {
            let made = tempfile::tempdir_in(&directories).unwrap();
            let mut install = Command::new(test_python());
            install.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
            install.args(["--ignore-requires-python", "--no-compile", "--target"]);
            run(install.arg(made.path()).arg(format!("pip=={version}")));
            std::fs::rename(made.keep(), &directory).unwrap();
        }
        Self {
            python: python.to_owned(),
            directory: Some(directory),
        }
    }
}

/// An application with an index and its wheelhouse.
struct Application {
    index: Index,
    sandbox: Sandbox,
}

impl Application {
    fn new() -> Self {
        Self {
            index: Index::start(),
            sandbox: Sandbox::new(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        self.sandbox.write(&format!("source/{name}"), text);
    }

    /// Builds the wheelhouse of `requirements` for `python`.
    fn wheelhouse(&self, python: &Path, requirements: &[&str]) {
        let wheelhouse = self.sandbox.path("source/.s2i/wheelhouse");
        std::fs::create_dir_all(wheelhouse.parent().unwrap()).unwrap();
        let mut arguments = vec!["--python", python.to_str().unwrap()];
        arguments.extend(requirements);
        self.sandbox
            .start_into(&self.index, &wheelhouse, &self.sandbox.cache(), &arguments)
            .finish()
            .assert_success();
        self.index.forget_requests();
    }

    /// Runs the script like S2I and checks that it leaves no files.
    fn assemble(&self, pip: &Pip, variables: &[(&str, &str)]) -> RunResult {
        let (source, home) = (self.sandbox.path("source"), self.sandbox.path("home"));
        let directory = |text: &str| text.replace("SOURCE", source.to_str().unwrap());
        self.script("scripts/assemble", &directory(IMAGE_ASSEMBLE));
        let assemble = ASSEMBLE.replace("/tmp/src", source.to_str().unwrap());
        assert!(assemble.contains("if [ -d /opt/app-root/wheelhouse ]"));
        self.script("assemble", &assemble);
        let directories = pip.directory.iter().map(|directory| {
            let directory = directory.to_str().unwrap();
            format!("PYTHONPATH={directory}${{PYTHONPATH:+:$PYTHONPATH}} ")
        });
        let python: String = directories
            .chain([pip.python.display().to_string()])
            .collect();
        self.script("bin/python", &format!("#!/bin/bash\n{python} \"$@\"\n"));
        self.script("bin/pip", "#!/bin/bash\nexec python -m pip \"$@\"\n");

        let mut command = self.sandbox.command("bash");
        command
            .arg(self.sandbox.path("assemble"))
            .current_dir(&home)
            .env("STI_SCRIPTS_PATH", self.sandbox.path("scripts"))
            .env("PIP_INDEX_URL", self.index.url())
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .envs(variables.iter().copied());
        let path = std::env::var("PATH").unwrap();
        command.env(
            "PATH",
            format!("{}:{path}", self.sandbox.path("bin").display()),
        );
        let finished = self.sandbox.spawn(command).finish();
        let left = std::fs::read_dir(self.sandbox.path("tmp")).unwrap().count();
        assert_eq!(left, 0, "files are left in TMPDIR\n{}", finished.stderr);
        for directory in [&source, &home] {
            let wheelhouse = directory.join(".s2i/wheelhouse");
            assert!(
                wheelhouse.symlink_metadata().is_err(),
                "{}",
                wheelhouse.display()
            );
        }
        finished
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.sandbox.write(name, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns a variable that the `assemble` of the image received.
    fn variable(&self, name: &str) -> Option<String> {
        let variables = std::fs::read_to_string(self.sandbox.path("home/variables")).unwrap();
        let mut lines = variables.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(key, _)| *key == name)?;
        Some(value.to_owned())
    }

    fn is_installed(&self, distribution: &str) -> bool {
        self.sandbox
            .path(&format!("home/installed/{distribution}.dist-info"))
            .is_dir()
    }
}

/// Returns a wheel for Python 2 and 3.
fn wheel(name: &str, version: &str) -> Wheel {
    Wheel::new(name, version).tag("py2.py3-none-any")
}

/// Returns versions of pip from 9 on, each with the newest installed Python that it supports.
fn pips() -> Vec<(&'static str, Pip)> {
    let pythons = pythons();
    let old = pythons.get("3.6").or_else(|| pythons.get("3.7"));
    let test_python = test_python();
    let versions = [
        ("9.0.3", old),
        ("20.3.4", pythons.get("2.7")),
        ("20.3.4", old),
        ("23.2.1", Some(&test_python)),
    ];
    let others = versions
        .into_iter()
        .filter_map(|(version, python)| Some((version, Pip::version(python?, version))));
    others.chain([("new", Pip::new())]).collect()
}

#[test]
#[cfg_attr(
    not(all(
        feature = "test-python",
        feature = "test-python2",
        feature = "test-pypi"
    )),
    ignore = "requires the test Python, Python 2.7, Python 3.6 to 3.9, PyPI"
)]
fn prefers_incomplete_wheelhouse_to_index() {
    let pips = pips();
    for (version, pip) in pips {
        let application = Application::new();
        let index = &application.index;
        for wheel in ["alpha", "beta"].map(|name| wheel(name, "1.0")) {
            index.add(&wheel);
        }
        application.wheelhouse(&pip.python, &["alpha", "beta"]);
        for wheel in ["alpha", "gamma"].map(|name| wheel(name, "2.0")) {
            index.add(&wheel);
        }
        application.write("requirements.txt", "alpha\nbeta==1.0\n-r more/others.txt\n");
        application.write("more/others.txt", "gamma>1\n");
        let own = [
            ("PIP_EXTRA_INDEX_URL", index.url()),
            ("PIP_FIND_LINKS", "more".to_owned()),
        ];
        let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
        let finished = application.assemble(&pip, &own);
        finished.assert_success();
        finished.assert_stdout_contains(&["is incomplete", "it lacks gamma"]);
        assert!(application.is_installed("gamma-2.0"), "pip {version}");
        // The index and the wheelhouse have the same version.
        assert!(application.is_installed("beta-1.0"), "pip {version}");
        assert!(
            index.requests("beta-1.0-py2.py3-none-any.whl").is_empty(),
            "pip {version}"
        );
        // The index has a newer version.
        let keeps = ["23.2.1", "new"].contains(&version);
        assert_eq!(
            application.is_installed("alpha-1.0"),
            keeps,
            "pip {version}"
        );
        let extra = application.variable("PIP_EXTRA_INDEX_URL").unwrap();
        assert!(
            extra.starts_with(&index.url()) && extra.ends_with("/simple/"),
            "{extra}"
        );
        assert!(
            application
                .variable("PIP_FIND_LINKS")
                .unwrap()
                .ends_with(" more")
        );
        assert_eq!(application.variable("PIP_NO_INDEX"), None);
    }
}

#[test]
#[cfg_attr(
    not(all(
        feature = "test-python",
        feature = "test-python2",
        feature = "test-pypi"
    )),
    ignore = "requires the test Python, Python 2.7, Python 3.6 to 3.9, PyPI"
)]
fn complete_wheelhouse_suffices() {
    let pips = pips();
    for (version, pip) in pips.into_iter().step_by(2) {
        let application = Application::new();
        application
            .index
            .add(&wheel("alpha", "1.0").requires("beta"));
        application.index.add(&wheel("beta", "1.0"));
        application.wheelhouse(&pip.python, &["alpha"]);
        application.write("requirements.txt", "-r more/others.txt\n");
        application.write("more/others.txt", "alpha\n");
        let finished = application.assemble(&pip, &[]);
        finished.assert_success();
        finished.assert_stdout_contains(&["It is complete: no index is asked"]);
        assert!(application.is_installed("beta-1.0"), "pip {version}");
        assert!(application.index.requests("").is_empty(), "pip {version}");
        assert_eq!(application.variable("PIP_NO_INDEX").unwrap(), "1");
    }
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn keeps_versions_only_if_they_resolve() {
    let pip = Pip::new();
    let application = Application::new();
    application.index.add(&Wheel::new("alpha", "1.0"));
    application.wheelhouse(&pip.python, &["alpha"]);
    application.index.add(&Wheel::new("alpha", "2.0"));
    application
        .index
        .add(&Wheel::new("beta", "1.0").requires("alpha>1"));
    application.write("requirements.txt", "alpha\nbeta\n");
    application.assemble(&pip, &[]).assert_success();
    assert!(application.is_installed("alpha-2.0"));
    assert!(!application.sandbox.path("home/constraints").exists());
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn checks_build_requirements_of_application() {
    let pip = Pip::new();
    for (requirements, words) in [
        (&["alpha"][..], "it lacks tool"),
        (&["alpha", "tool"], "no index is asked"),
    ] {
        let application = Application::new();
        for name in ["alpha", "tool"] {
            application.index.add(&Wheel::new(name, "1.0"));
        }
        application.wheelhouse(&pip.python, requirements);
        application.write("requirements.txt", "alpha\n");
        let own = Sdist::new("own", "1.0").requires("tool");
        let own = own.script("open('built', 'w').close()");
        own.write_tree(&application.sandbox.path("source"));
        let finished = application.assemble(&pip, &[("EXIT_CODE", "0")]);
        finished.assert_success();
        finished.assert_stdout_contains(&[words]);
        assert!(!application.sandbox.path("home/built").exists());
    }
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn checks_tools_that_image_installs() {
    let pip = Pip::new();
    let alpha = Wheel::new("alpha", "1.0");
    let lock = |digest: &str| {
        format!(
            r#"{{"default": {{"alpha": {{"version": "==1.0", "hashes": ["sha256:{digest}"]}},
            "own": {{"path": ".", "editable": true}}}}}}"#
        )
    };
    let (right, wrong) = (lock(&sha256(&alpha.bytes())), lock(&sha256(b"another")));
    let (complete, pinned) = ("no index is asked", "it lacks pipenv==4");
    let cases = [
        ("UPGRADE_PIP_TO_LATEST=1", None, "it lacks pip"),
        ("ENABLE_PIPENV=1", None, complete),
        ("ENABLE_PIPENV=1", Some(&right), complete),
        ("ENABLE_PIPENV=1", Some(&wrong), "HASHES"),
        ("ENABLE_PIPENV=1 PIN_PIPENV_VERSION=4", Some(&right), pinned),
        ("ENABLE_MICROPIPENV=1", None, complete),
        ("ENABLE_MICROPIPENV=1", Some(&wrong), "HASHES"),
    ];
    for (variables, lock, words) in cases {
        let application = Application::new();
        application.index.add(&alpha);
        for name in ["pipenv", "micropipenv"] {
            application.index.add(&Wheel::new(name, "1"));
        }
        let tools = ["alpha", "pipenv", "micropipenv"];
        application.wheelhouse(&pip.python, &tools);
        application.write("requirements.txt", "alpha\n");
        if let Some(lock) = lock {
            application.write("Pipfile", "");
            application.write("Pipfile.lock", lock);
            Sdist::new("own", "1.0").write_tree(&application.sandbox.path("source"));
        }
        let mut variables: Vec<_> = variables
            .split(' ')
            .filter_map(|variable| variable.split_once('='))
            .collect();
        variables.push(("DISABLE_PYPROJECT_TOML_PROCESSING", "1"));
        variables.push(("EXIT_CODE", "0"));
        let finished = application.assemble(&pip, &variables);
        finished.assert_success();
        finished.assert_stdout_contains(&[words]);
        let mirror = application.variable("PIPENV_PYPI_MIRROR");
        let is_set = words == complete && variables.contains(&("ENABLE_PIPENV", "1"));
        assert_eq!(mirror.is_some(), is_set, "{mirror:?}");
    }
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-python2")),
    ignore = "requires the test Python, Python 2.7, Python 3.6 to 3.9"
)]
fn ignores_incompatible_wheelhouse_for_another_python() {
    let (pip, pythons) = (Pip::new(), pythons());
    // The test Python is newer.
    let old = ["3.6", "3.7", "3.8", "3.9"]
        .into_iter()
        .find_map(|old| pythons.get(old))
        .expect("Python 3.6, 3.7, 3.8 or 3.9 is installed");
    for built in [false, true] {
        let application = Application::new();
        application.index.add(&Wheel::new("alpha", "1.0"));
        let own = Sdist::new("own", "1.0");
        let own = if built { own.platform_wheel() } else { own };
        application.index.add_sdist(&own);
        application.wheelhouse(old, &["alpha", "own"]);
        application.write("requirements.txt", "alpha\n");
        let finished = application.assemble(&pip, &[]);
        finished.assert_success();
        if built {
            let words = [
                "is not used: it was made for cpython 3.",
                ", and this is cpython 3.",
            ];
            finished.assert_stdout_contains(&words);
            assert_eq!(application.variable("PIP_FIND_LINKS").unwrap(), "");
        } else {
            finished.assert_stdout_contains(&["no index is asked"]);
        }
    }
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn empty_wheelhouse_is_an_error() {
    let pip = Pip::new();
    let label = "io.openshift.s2i.scripts-url";
    let application = Application::new();
    application.write("requirements.txt", "");
    std::fs::create_dir_all(application.sandbox.path("source/.s2i/wheelhouse")).unwrap();
    let finished = application.assemble(&pip, &[]);
    finished.assert_exit(1);
    assert!(finished.stderr.contains(label), "{}", finished.stderr);
    application.write(".s2i/wheelhouse/.gitkeep", "");
    let finished = application.assemble(&pip, &[]);
    finished.assert_success();
    assert!(finished.stderr.contains(label), "{}", finished.stderr);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn keeps_user_settings_and_exit_code() {
    let pip = Pip::new();
    let application = Application::new();
    application.index.add(&Wheel::new("alpha", "1.0"));
    application.write("requirements.txt", "alpha\nbeta\n");
    application.wheelhouse(&pip.python, &["alpha"]);
    let finished = application.assemble(&pip, &[("EXIT_CODE", "3"), ("PIP_NO_INDEX", "no")]);
    finished.assert_exit(3);
    finished.assert_stdout_contains(&["with PIP_NO_INDEX=no"]);
    assert_eq!(application.variable("PIP_NO_INDEX").unwrap(), "no");

    // A variable would replace this setting of pip's configuration.
    let application = Application::new();
    application.index.add(&Wheel::new("alpha", "1.0"));
    application.index.add(&Wheel::new("beta", "1.0"));
    application.wheelhouse(&pip.python, &["alpha"]);
    application.write("requirements.txt", "alpha\nbeta\n");
    application.write(
        ".config/pip/pip.conf",
        &format!("[global]\nextra-index-url = {}\n", application.index.url()),
    );
    let variables = [
        ("PIP_INDEX_URL", "http://127.0.0.1:9/"),
        ("PIP_RETRIES", "0"),
        ("PIP_CONFIG_FILE", ""),
    ];
    application.assemble(&pip, &variables).assert_success();
    assert!(application.is_installed("beta-1.0"));
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn without_wheelhouse_runs_assemble_of_image() {
    let pip = Pip::new();
    let application = Application::new();
    application.write("requirements.txt", "");
    let finished = application.assemble(&pip, &[("EXIT_CODE", "4")]);
    finished.assert_exit(4);
    assert_eq!(finished.stdout, "");
    assert_eq!(application.variable("PIP_FIND_LINKS"), None);
}
