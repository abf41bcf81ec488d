//! Interruption by signals.
//!
//! A signal handler calls [`request`]. Futures are then dropped, but a blocked thread cannot be: long work calls [`check`]
//! to stop early. Before the process exits, it calls [`wait_for_holds`], so that work with a [`Hold`] can remove its
//! unfinished files. A process that is killed leaves them behind; [`crate::scratch`] and the store remove them later.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wheelhouse_types::{Error, Kind, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The number of holds.
static HOLDS: Mutex<usize> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

/// Requests that all work ends.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Fails if an interruption was requested.
///
/// # Errors
/// [`Kind::Interrupted`].
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) {
        return Err(interrupted());
    }
    Ok(())
}

/// Fails as [`check`] does, for implementations of [`io::Read`] and [`io::Write`].
///
/// # Errors
/// An [`io::Error`] with the error of [`interrupted`] as its source.
pub fn check_io() -> io::Result<()> {
    check().map_err(io::Error::other)
}

/// Returns the error of interrupted work.
#[must_use]
pub fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

/// Delays the exit of an interrupted process until it is dropped.
#[derive(Debug)]
pub struct Hold(());

/// Registers work that would leave files behind if the process exited now.
pub fn hold() -> Hold {
    *HOLDS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        *HOLDS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RELEASED.notify_all();
    }
}

/// Waits until every [`Hold`] is dropped, for at most `limit`.
pub fn wait_for_holds(limit: Duration) {
    let holds = HOLDS.lock().unwrap_or_else(PoisonError::into_inner);
    let result = RELEASED.wait_timeout_while(holds, limit, |holds| *holds > 0);
    drop(result);
}

/// Runs blocking `work` on a thread of the current runtime, and holds the process until it ends.
///
/// # Errors
/// The error of `work`, [`Kind::Interrupted`] if an interruption was requested, or [`Kind::Fetch`] if `work` panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let hold = hold();
    let work = move || {
        let outcome = check().and_then(|()| work());
        // Drops the result of interrupted work, with its temporary files, while the process still waits.
        let outcome = check().and(outcome);
        drop(hold);
        outcome
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_cancelled() => Err(interrupted()),
        Err(error) => Err(Error::new(Kind::Fetch, "a worker thread panicked").caused_by(error)),
    }
}
