//! Locks between processes: waiting for one can be interrupted, and a message says so after a moment.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wheelhouse_types::Result;

use crate::interruption;

/// The time for which a lock is waited for in silence.
const SILENCE: Duration = Duration::from_millis(700);

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(40);

/// Shows that a lock is waited for.
type Notice = Box<dyn Fn(&str) + Send>;

static NOTICE: Mutex<Option<Notice>> = Mutex::new(None);

/// Has `notice` show what is waited for. Locks are taken far below what knows how to tell it, and there is one place
/// where a process does.
pub fn tell_with(notice: impl Fn(&str) + Send + 'static) {
    *NOTICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(notice));
}

/// The ways to have a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Exclusive,
    Shared,
}

/// Takes the lock of `file`, and waits while another process has it; `what` names that for the user, as in `the cache`.
///
/// # Errors
/// The outer one is that of an interruption, the inner one that of the filesystem.
pub fn take(file: &File, share: Share, what: &str) -> Result<io::Result<()>> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut is_told = false;
    loop {
        let taken = match share {
            Share::Exclusive => file.try_lock(),
            Share::Shared => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => return Ok(Ok(())),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Ok(Err(error)),
        }
        interruption::check()?;
        if !is_told && begun.elapsed() >= SILENCE {
            is_told = true;
            if let Some(notice) = &*NOTICE.lock().unwrap_or_else(PoisonError::into_inner) {
                notice(&format!("waiting for another process, which uses {what}"));
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE);
    }
}

/// Returns whether `file`, which is locked, is still what is at `path`. It is not if the process that had the lock before
/// has removed it.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = fs_err::symlink_metadata(path).map(identity).ok();
    there.is_some() && file.metadata().map(identity).ok() == there
}
