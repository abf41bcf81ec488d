//! The air-gapped workflow: packages downloaded with a network, then built and installed without one, by this program
//! and pip in every combination.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::NoNetwork;
use crate::support::python::{blog, environment, pip, remove_pip_settings, run};
use crate::support::sandbox::build_arguments;
use crate::support::{Index, Sandbox, Sdist, Wheel, test_python, tree};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wheelhouse");

/// The tool that downloads or builds.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Wheelhouse,
    Pip,
}

const TOOLS: [Tool; 2] = [Tool::Wheelhouse, Tool::Pip];

/// One workflow, with `packages` and then `wheels` below `root`.
struct Workflow<'a> {
    no_network: &'a NoNetwork,
    test_python: &'a Path,
    root: PathBuf,
}

impl Workflow<'_> {
    /// Downloads the requirements of the example and their build requirements into `packages`.
    fn download(&self, tool: Tool) {
        std::fs::create_dir_all(&self.root).unwrap();
        match tool {
            Tool::Wheelhouse => {
                let mut command = Command::new(PROGRAM);
                command.args(["download", "--cache-dir", "cache", "--python"]);
                self.run(command.arg(self.test_python).arg("-r").arg(requirements()));
            }
            Tool::Pip => {
                let own = requirements().display().to_string();
                // pip does not download build requirements.
                for wanted in [&["-r", &own][..], &["setuptools", "wheel", "cffi"]] {
                    let mut command = Command::new(self.test_python);
                    command.args(["-m", "pip", "download", "-q", "--dest", "packages"]);
                    self.run(command.args(wanted));
                }
            }
        }
    }

    fn run(&self, command: &mut Command) {
        let command = command.env_remove("PIP_FIND_LINKS");
        run(command.env_remove("PIP_NO_INDEX").current_dir(&self.root));
    }

    /// Builds into `wheels` from `packages` alone.
    fn build(&self, tool: Tool) {
        let (python, wheels) = (self.test_python, ["-o", "wheels"]);
        let mut command = match tool {
            Tool::Wheelhouse => {
                let mut command = self.no_network.command(PROGRAM);
                command.args(["build", "--cache-dir", "fresh"]).args(wheels);
                command.arg("--python").arg(python);
                command
            }
            Tool::Pip => {
                let mut command = self.no_network.command(python);
                command.args(["-m", "pip", "wheel", "-q", "--no-cache-dir"]);
                command.args(["-w", "wheels"]);
                command
            }
        };
        self.without_index(&mut command, "packages");
        run(command.arg("-r").arg(requirements()));
    }

    /// Installs from `wheels` alone into a new environment and imports what was compiled.
    fn install(&self) {
        let python = environment(self.test_python, &self.root, "environment");
        for arguments in [vec!["install", "-q", "-r"], vec!["check"]] {
            let pip = pip(self.test_python, &python);
            let mut command = self.no_network.command(pip.get_program());
            command.args(pip.get_args()).args(&arguments);
            self.without_index(&mut command, "wheels");
            if arguments.contains(&"-r") {
                command.arg(requirements());
            }
            run(&mut command);
        }
        let script = "import misaka; print(misaka.html('*built*'))";
        let said = run(self.no_network.command(&python).args(["-c", script]));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("<em>built</em>"), "{said}");
    }

    fn without_index(&self, command: &mut Command, find_links: &str) {
        remove_pip_settings(command);
        command
            .env("PIP_NO_INDEX", "true")
            .env("PIP_FIND_LINKS", find_links)
            .current_dir(&self.root);
    }
}

fn requirements() -> PathBuf {
    blog().join("requirements.txt")
}

#[test]
#[cfg_attr(
    not(all(
        feature = "test-python",
        feature = "test-pypi",
        feature = "test-namespaces"
    )),
    ignore = "requires the test Python, PyPI, network namespaces"
)]
fn wheelhouse_and_pip_build_each_others_downloads_offline() {
    let (test_python, no_network) = (test_python(), NoNetwork::find());
    let directory = tempfile::tempdir().unwrap();
    let mut sets = Vec::new();
    for downloads in TOOLS {
        let mut flow = Workflow {
            no_network: &no_network,
            test_python: &test_python,
            root: directory.path().join(format!("{downloads:?}")),
        };
        flow.download(downloads);
        let packages = flow.root.join("packages");
        assert!(packages.join("misaka-2.1.1.tar.gz").exists(), "no sdist");
        for builds in TOOLS {
            flow.root = directory.path().join(format!("{downloads:?}-{builds:?}"));
            tree::copy(&packages, &flow.root.join("packages"));
            flow.build(builds);
            flow.install();
            sets.push(tree::wheels(&flow.root.join("wheels")));
        }
    }
    assert_eq!(sets[0].len(), 9, "{:?}", sets[0]);
    assert!(sets.iter().all(|set| *set == sets[0]), "{sets:#?}");
}

/// Runs `wheelhouse` under strace and returns each internet socket that it or a child process creates.
fn internet_sockets(sandbox: &Sandbox, command_line: &[&std::ffi::OsStr]) -> Vec<String> {
    let trace = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command.args(["-f", "-e", "trace=socket,execve", "-o"]);
    command.arg(&trace).arg(PROGRAM).args(command_line);
    sandbox.spawn(command).finish().assert_success();
    let text = std::fs::read_to_string(&trace).unwrap();
    assert!(text.contains("execve("), "the trace was not understood");
    let sockets = text.lines().filter(|line| line.contains("AF_INET"));
    sockets.map(ToOwned::to_owned).collect()
}

/// Returns the arguments of a build, followed by `more`.
fn arguments<'a>(first: &'a [std::ffi::OsString], more: &'a [&str]) -> Vec<&'a std::ffi::OsStr> {
    let first = first.iter().map(AsRef::as_ref);
    first.chain(more.iter().map(AsRef::as_ref)).collect()
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn creates_no_socket_without_index() {
    // The sandbox of builds has a name server.
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let tool = Wheel::new("tool", "1.0");
    let gamma = Sdist::new("gamma", "1.0").requires("tool");
    index.add(&tool);
    index.add_sdist(&gamma);
    std::fs::create_dir(sandbox.path("packages")).unwrap();
    for (name, bytes) in [
        (tool.filename(), tool.bytes()),
        (gamma.filename(), gamma.bytes()),
    ] {
        std::fs::write(sandbox.path("packages").join(name), bytes).unwrap();
    }

    let from_index = build_arguments(&index, &sandbox.out(), &sandbox.cache());
    let online = internet_sockets(&sandbox, &arguments(&from_index, &["gamma"]));
    assert!(!online.is_empty(), "an index is asked through sockets");
    let again = ["gamma", "--offline", "--upgrade"];
    let offline = internet_sockets(&sandbox, &arguments(&from_index, &again));
    assert!(offline.is_empty(), "{offline:#?}");

    let fresh = build_arguments(&index, &sandbox.path("two"), &sandbox.path("fresh"));
    let find_links = ["gamma", "--no-index", "--find-links", "packages"];
    let found = internet_sockets(&sandbox, &arguments(&fresh, &find_links));
    assert!(found.is_empty(), "{found:#?}");
    for output in [sandbox.out(), sandbox.path("two")] {
        assert_eq!(tree::wheels(&output), [gamma.wheel_filename()]);
    }
}
