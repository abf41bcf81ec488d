//! Advisory file locks between processes. Waiting for one can be interrupted, and is reported to the user after a moment.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wheelhouse_types::Result;

use crate::interruption;

/// The time after which waiting for a lock is reported.
const NOTICE_DELAY: Duration = Duration::from_millis(700);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(40);

/// Shows a message to the user.
type Notice = Box<dyn Fn(&str) + Send>;

static NOTICE: Mutex<Option<Notice>> = Mutex::new(None);

/// Sets the function that shows the user which lock the process waits for. It is global, because locks are acquired far
/// below the code that owns the terminal.
pub fn set_notice(notice: impl Fn(&str) + Send + 'static) {
    *NOTICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(notice));
}

/// The mode of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Excludes every other lock of the file.
    Exclusive,
    /// Excludes exclusive locks of the file.
    Shared,
}

/// Acquires the lock of `file`, and waits while another process holds it. `what` describes the locked resource for the user:
/// `the cache`.
///
/// # Errors
/// The outer error is an interruption, the inner one is that of the filesystem; [`io::ErrorKind::Unsupported`] means that it
/// has no locks.
pub fn acquire(file: &File, mode: LockMode, what: &str) -> Result<io::Result<()>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut is_reported = false;
    loop {
        let result = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match result {
            Ok(()) => {
                if is_reported {
                    tracing::debug!(what, ?mode, waited = ?start.elapsed(), "acquired lock");
                }
                return Ok(Ok(()));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Ok(Err(error)),
        }
        interruption::check()?;
        if !is_reported && start.elapsed() >= NOTICE_DELAY {
            is_reported = true;
            tracing::debug!(what, ?mode, "waiting for lock");
            let holder = match holder(file) {
                // A task of this process ends without the user.
                Some(id) if id == std::process::id() => None,
                Some(id) => Some(format!("process {id}")),
                None => Some("another process".to_owned()),
            };
            let notice = NOTICE.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(holder), Some(notice)) = (holder, &*notice) {
                notice(&format!("waiting for {holder}, which uses {what}"));
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Returns the process that holds a lock of `file`, by `/proc/locks` (proc(5)); `None` if it cannot be seen from here.
fn holder(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    let locks = fs_err::read_to_string("/proc/locks").ok()?;
    // NUMBER: FLOCK ADVISORY MODE PROCESS MAJOR:MINOR:INODE START END. The device is not that of stat(2) on some filesystems.
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, id, place, ..] if place.ends_with(&inode) => {
                id.parse().ok().filter(|id| *id > 0)
            }
            _ => None,
        }
    })
}

/// Returns whether the locked `file` is still the file at `path`. It is not if the previous holder of the lock has removed
/// or replaced it.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let current = fs_err::symlink_metadata(path).map(identity).ok();
    current.is_some() && file.metadata().map(identity).ok() == current
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_wait_for_the_same_process_is_not_reported() {
        let (sender, notices) = mpsc::channel();
        set_notice(move |notice| sender.send(notice.to_owned()).unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = file.reopen().unwrap();
        held.lock().unwrap();
        assert_eq!(holder(&held), Some(std::process::id()));
        let waiting = file.reopen().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| acquire(&waiting, LockMode::Exclusive, "the file").unwrap());
            std::thread::sleep(NOTICE_DELAY * 2);
            held.unlock().unwrap();
        });
        assert_eq!(notices.try_iter().count(), 0);
    }
}
