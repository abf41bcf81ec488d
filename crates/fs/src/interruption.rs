//! Interruption: a signal asked the process to end. Futures are dropped then; work that blocks a thread cannot be, so it
//! asks here whether it is to go on, and the process waits for it to remove what it has begun.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wheelhouse_types::{Error, Kind, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The number of holds.
static HELD: Mutex<usize> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

/// Notes that the process was asked to end.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Fails if the process was asked to end.
///
/// # Errors
/// [`Kind::Interrupted`].
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) {
        return Err(interrupted());
    }
    Ok(())
}

/// Fails as [`check`] does, within what reads and writes.
///
/// # Errors
/// The error of [`interrupted`].
pub fn check_io() -> io::Result<()> {
    check().map_err(io::Error::other)
}

/// Makes the error of what was interrupted.
#[must_use]
pub fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

/// Keeps the process from ending while it lives.
#[derive(Debug)]
pub struct Hold(());

/// Begins work that leaves files behind if the process ends before it.
pub fn hold() -> Hold {
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RELEASED.notify_all();
    }
}

/// Waits until the work that was begun has ended, but no longer than `limit`.
pub fn wait_for_holds(limit: Duration) {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = RELEASED.wait_timeout_while(held, limit, |held| *held > 0);
    drop(waited);
}

/// Runs `work`, which blocks, on a thread of the current runtime for such work. The process does not end before it.
///
/// # Errors
/// Whatever `work` fails with, or [`Kind::Interrupted`].
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let hold = hold();
    let work = move || {
        let outcome = check().and_then(|()| work());
        // What came of it is removed while the process still waits.
        let outcome = check().and(outcome);
        drop(hold);
        outcome
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(ended) if ended.is_cancelled() => Err(interrupted()),
        Err(ended) => Err(Error::new(Kind::Fetch, "a worker thread ended").caused_by(ended)),
    }
}
