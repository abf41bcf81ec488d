//! Processes of the machine, by their ids.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Whether a process is there and no zombie.
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
            "in vain waited for: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process ids that a script has written into `file`, one a line.
pub(crate) fn ids(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[track_caller]
pub(crate) fn assert_dead(ids: &[u32]) {
    assert!(!ids.is_empty(), "nobody has written an id");
    for id in ids {
        // A signal takes a moment to arrive.
        eventually(&format!("the end of process {id}"), || !is_alive(*id));
    }
}

/// Whether calls can be traced; where everything must be tested, they must be.
pub(crate) fn strace_is_there() -> bool {
    let output = Command::new("strace").arg("-V").output();
    let present = output.is_ok_and(|output| output.status.success());
    if !present {
        left_out("strace is missing", true);
    }
    present
}

/// Says that a test is left out, which is a failure if it is `forbidden` where everything must be
/// tested.
pub(crate) fn left_out(why: &str, forbidden: bool) {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!(ci && forbidden), "{why}, and CI=true wants every test");
    let _ = writeln!(std::io::stderr(), "left out: {why}");
}

/// How a process gets a network of its own that leads nowhere.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Starts programs where there is no network.
pub(crate) struct CutOff(&'static [&'static str]);

impl CutOff {
    /// Finds a way that is permitted here. Without `unshare` the test is left out, except where
    /// everything must be tested; where the kernel does not permit it, the test says so.
    pub(crate) fn find() -> Option<Self> {
        let mut why = String::new();
        for arguments in NAMESPACES {
            let own = Self(arguments);
            let interfaces = own.command("cat").arg("/proc/self/net/dev").output();
            let Ok(output) = interfaces else {
                left_out("unshare is missing", true);
                return None;
            };
            if output.status.success() {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let mut lines = text.lines().skip(2).map(str::trim_start);
                let only = lines.all(|line| line.starts_with("lo:"));
                assert!(only, "not cut off:\n{text}");
                return Some(own);
            }
            why = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        let denied = why.contains("not permitted") || why.contains("denied");
        left_out(
            &format!("NOTHING PROVEN WITHOUT A NETWORK: {}", why.trim()),
            !denied,
        );
        None
    }

    /// A command of `program` without a network.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.0).arg("--").arg(program);
        command
    }
}
