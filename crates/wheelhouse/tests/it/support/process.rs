//! Processes, and commands without a network.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Returns whether a process exists and is not a zombie.
pub(crate) fn is_alive(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "timed out waiting for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads the process ids that a script has written into `file`, one per line.
pub(crate) fn ids(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[track_caller]
pub(crate) fn assert_dead(ids: &[u32]) {
    assert!(!ids.is_empty(), "no process id was written");
    for id in ids {
        // A signal is delivered asynchronously.
        eventually(&format!("process {id} to end"), || !is_alive(*id));
    }
}

/// Counts the processes that have `argument` on their command lines.
pub(crate) fn with_argument(argument: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap();
    let command_lines =
        processes.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let has_argument = |line: &Vec<u8>| {
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    };
    command_lines.filter(has_argument).count()
}

/// A process that sleeps until it is dropped.
pub(crate) struct Sleeper(std::process::Child);

impl Sleeper {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.id())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Options of `unshare` that give a process an isolated network.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Runs programs without a network.
pub(crate) struct NoNetwork(&'static [&'static str]);

impl NoNetwork {
    /// Finds a way that the kernel permits.
    ///
    /// Tests that call it are ignored without the feature `test-namespaces`.
    pub(crate) fn find() -> Self {
        let mut reason = String::new();
        for arguments in NAMESPACES {
            let no_network = Self(arguments);
            let interfaces = no_network.command("cat").arg("/proc/self/net/dev").output();
            let output = interfaces.expect("unshare is installed");
            if output.status.success() {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let mut lines = text.lines().skip(2).map(str::trim_start);
                let only_loopback = lines.all(|line| line.starts_with("lo:"));
                assert!(only_loopback, "not cut off:\n{text}");
                return no_network;
            }
            reason = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("failed to create a network namespace: {}", reason.trim());
    }

    /// Returns a command of `program` without a network.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.0).arg("--").arg(program);
        command
    }
}
