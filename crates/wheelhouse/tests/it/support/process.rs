//! Processes of the machine, by their ids.

use std::path::Path;
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
