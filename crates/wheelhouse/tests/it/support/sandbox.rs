//! A directory for one test, and runs of the program in it with a clean environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Index;

/// The time after which a run is considered stuck.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A temporary directory with `home`, `tmp`, `cache` (created by the program) and `out`.
pub(crate) struct Sandbox {
    directory: TempDir,
    environment: BTreeMap<OsString, OsString>,
    count: std::cell::Cell<u32>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("it-").tempdir().unwrap();
        let mut environment = BTreeMap::new();
        for (name, below) in [("HOME", "home"), ("TMPDIR", "tmp")] {
            std::fs::create_dir(directory.path().join(below)).unwrap();
            environment.insert(name.into(), directory.path().join(below).into());
        }
        environment.insert("PATH".into(), search_path().clone());
        environment.insert("PIP_CONFIG_FILE".into(), "/dev/null".into());
        environment.insert("GIT_CONFIG_NOSYSTEM".into(), "1".into());
        Self {
            directory,
            environment,
            count: std::cell::Cell::new(0),
        }
    }

    /// Creates a sandbox in which build hooks can do what the user can: write files in it, for instance.
    pub(crate) fn unconfined() -> Self {
        let mut sandbox = Self::new();
        sandbox.set("WHEELHOUSE_SANDBOX", "off");
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Sets a variable for all further runs.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.insert(name.into(), value.into());
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs `wheelhouse build` into `out` with `cache`, from `index` alone.
    pub(crate) fn build(&self, index: &Index, arguments: &[&str]) -> RunResult {
        self.start(index, arguments).finish()
    }

    /// Starts `wheelhouse build` like `build`.
    pub(crate) fn start(&self, index: &Index, arguments: &[&str]) -> RunningProcess {
        self.start_into(index, &self.out(), &self.cache(), arguments)
    }

    /// Starts `wheelhouse build` into another output with another cache.
    pub(crate) fn start_into(
        &self,
        index: &Index,
        out: &Path,
        cache: &Path,
        arguments: &[&str],
    ) -> RunningProcess {
        let mut command = self.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command
            .args(build_arguments(index, out, cache))
            .args(arguments);
        self.spawn(command)
    }

    /// Runs `wheelhouse download` into `out` with `cache`, from `index` alone.
    pub(crate) fn download(&self, index: &Index, arguments: &[&str]) -> RunResult {
        let out = self.out();
        let arguments = arguments.iter().map(AsRef::as_ref);
        let own = [std::ffi::OsStr::new("-o"), out.as_os_str()];
        self.download_anywhere(index, own.into_iter().chain(arguments))
    }

    /// Runs `wheelhouse download` into the directory that `arguments` name or the default one.
    pub(crate) fn download_anywhere<'a>(
        &self,
        index: &Index,
        arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>,
    ) -> RunResult {
        let mut command = self.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(["download", "--index-url", &index.url(), "--cache-dir"]);
        command.arg(self.cache()).args(arguments);
        self.spawn(command).finish()
    }

    /// Returns a command with the clean environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.directory.path());
        command
    }

    /// Runs `wheelhouse` with `arguments`.
    pub(crate) fn wheelhouse(&self, arguments: &[&str]) -> RunResult {
        let mut command = self.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(arguments);
        self.spawn(command).finish()
    }

    /// Starts `command` with its output in files, which child processes cannot block.
    pub(crate) fn spawn(&self, mut command: Command) -> RunningProcess {
        self.count.set(self.count.get() + 1);
        let stdout = self.path(&format!("stdout-{}", self.count.get()));
        let stderr = self.path(&format!("stderr-{}", self.count.get()));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap();
        RunningProcess {
            child,
            stdout,
            stderr,
            begun: Instant::now(),
        }
    }
}

/// Returns the arguments of every build.
pub(crate) fn build_arguments(index: &Index, out: &Path, cache: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["build".into(), "--cache-dir".into(), cache.into()];
    arguments.extend([
        "-o".into(),
        out.into(),
        "--index-url".into(),
        index.url().into(),
    ]);
    arguments
}

/// A running process.
pub(crate) struct RunningProcess {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    begun: Instant,
}

impl RunningProcess {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the output so far: both streams, one after the other.
    pub(crate) fn output(&self) -> String {
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        read(&self.stdout) + &read(&self.stderr)
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    pub(crate) fn finish(mut self) -> RunResult {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.begun.elapsed() > TIMEOUT {
                self.child.kill().unwrap();
                let stderr = std::fs::read(&self.stderr).unwrap();
                panic!(
                    "stuck for {TIMEOUT:?}:\n{}",
                    String::from_utf8_lossy(&stderr)
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        RunResult {
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
            took: self.begun.elapsed(),
        }
    }
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl RunResult {
    #[track_caller]
    pub(crate) fn assert_exit(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}: {}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn assert_success(&self) -> &Self {
        self.assert_exit(0)
    }

    /// Checks that there is exactly one error, and that it contains all of `words` in its message or hint.
    #[track_caller]
    pub(crate) fn assert_error_names(&self, words: &[&str]) -> &Self {
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(errors, 1, "not one error:\n{}", self.stderr);
        let error = self.error();
        for word in words {
            assert!(error.contains(word), "`{word}` is not in:\n{error}");
        }
        self
    }

    /// Checks that the standard output contains all of `words`.
    #[track_caller]
    pub(crate) fn assert_stdout_contains(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "`{word}` is not in:\n{}\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// Returns the error with its details and hint.
    pub(crate) fn error(&self) -> &str {
        self.stderr
            .find("error: ")
            .map_or("", |start| &self.stderr[start..])
    }
}

/// Returns `PATH` with the directory of the real Python first, because a shim would read `HOME`.
fn search_path() -> &'static OsString {
    static PATH: OnceLock<OsString> = OnceLock::new();
    PATH.get_or_init(|| {
        let script = "import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))";
        let output = Command::new("python3")
            .args(["-c", script])
            .output()
            .expect("python3 is needed");
        let directory = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let others = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&others)))
            .unwrap()
    })
}
