//! The process-wide state and the runtime that the uv crates expect.

use std::future::Future;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use uv_preview::Preview;

/// How long the end waits for threads that use the runtime.
const PATIENCE: Duration = Duration::from_secs(2);

/// Closed when the runtime is about to end.
static OPEN: Semaphore = Semaphore::const_new(0);

/// How many [`Guest`]s there are.
static GUESTS: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// A thread that uses the runtime and is not one of its own. It has to end first: a timer that is set while the runtime
/// ends panics.
pub(crate) struct Guest(());

impl Guest {
    pub(crate) fn new() -> Self {
        *GUESTS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }

    /// Waits until the thread has to end.
    pub(crate) async fn dismissed(&self) {
        // There are no permits.
        let _ = OPEN.acquire().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        *GUESTS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        LEFT.notify_all();
    }
}

/// Has all guests end, and waits for them, but not for long: one may be reading a large page.
fn dismiss_guests() {
    OPEN.close();
    let guests = GUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    drop(LEFT.wait_timeout_while(guests, PATIENCE, |guests| *guests > 0));
}

/// Runs `main` to its end on a thread with the large stack that uv's futures need.
///
/// The future stays on that thread, as does what it spawns locally (uv's resolver and builds are not
/// `Send`); what it spawns otherwise runs on worker threads. Call it once in a process.
///
/// # Panics
/// When the thread or the runtime cannot be started, or `main` panics.
pub fn run<Output, Main>(main: impl FnOnce() -> Main + Send + 'static) -> Output
where
    Output: Send + 'static,
    Main: Future<Output = Output>,
{
    // These fail only when set twice; they must be set before any uv code runs.
    let _ = uv_preview::set(Preview::default());
    let _ = uv_preview::finalize();
    let _ = uv_flags::init(uv_flags::EnvironmentFlags::empty());
    let stack_size = uv_configuration::min_stack_size();
    let thread = std::thread::Builder::new()
        .name("wheelhouse".to_owned())
        .stack_size(stack_size)
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(
                    std::thread::available_parallelism()
                        .map_or(2, usize::from)
                        .min(8),
                )
                .thread_stack_size(stack_size)
                .enable_all()
                .build()
                .expect("the runtime starts");
            let local = tokio::task::LocalSet::new();
            let output = runtime.block_on(local.run_until(async { Box::pin(main()).await }));
            // Ends what still runs, and with it the processes of hooks. Connections that are dropped may set timers.
            let entered = runtime.enter();
            drop(local);
            drop(entered);
            dismiss_guests();
            // A solver thread of an abandoned resolution may still wait; it must not delay the end.
            runtime.shutdown_background();
            output
        })
        .expect("a thread starts");
    match thread.join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
