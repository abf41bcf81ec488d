//! The process-wide state and the runtime that the uv crates need.

use std::future::Future;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use uv_preview::Preview;
use wheelhouse_types::{Error, Kind, Result};

/// The stack size of the thread that resolves and builds. Builds for metadata nest polls, with about 150 KiB for each in a debug
/// build of this program.
const STACK: usize = 64 << 20;

/// The maximum number of threads for the network.
const WORKERS: usize = 8;

/// The minimum number of file descriptors of a run: streams, the runtime, locks, connections and files.
const DESCRIPTORS: u64 = 32;

/// The requested number of file descriptors, since many connections and files are open at the same time.
const WANTED_DESCRIPTORS: u64 = 1024;

/// The time after which an idle thread of the runtime ends, longer than a run.
const IDLE: Duration = Duration::from_hours(24);

/// The maximum time to wait for threads that use the runtime.
const PATIENCE: Duration = Duration::from_secs(2);

/// Closed when the runtime is about to end.
static OPEN: Semaphore = Semaphore::const_new(0);

/// The number of [`Guest`]s.
static GUESTS: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// Registers a thread that uses the runtime without being part of it. It has to end first: setting a timer while the runtime
/// shuts down panics.
pub(crate) struct Guest(());

impl Guest {
    pub(crate) fn new() -> Self {
        *GUESTS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }

    /// Waits until the runtime is about to end.
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

/// Notifies all guests, and waits a short time for them: one may be parsing a large page.
fn dismiss_guests() {
    OPEN.close();
    let guests = GUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    drop(LEFT.wait_timeout_while(guests, PATIENCE, |guests| *guests > 0));
}

/// Runs `main` on a thread with the large stack that uv's futures need.
///
/// The future stays on that thread, with the tasks that it spawns locally (uv's resolver and builds are not `Send`). Other
/// tasks run on worker threads. Call it once per process.
///
/// # Errors
/// Those of `main`; `Input` if the system does not grant the minimum of threads or file descriptors.
///
/// # Panics
/// If `main` panics.
pub fn run<Output, Main>(main: impl FnOnce() -> Main + Send + 'static) -> Result<Output>
where
    Output: Send + 'static,
    Main: Future<Output = Result<Output>>,
{
    // They fail only if set twice, and must be set before any code of uv runs.
    let _ = uv_preview::set(Preview::default());
    let _ = uv_preview::finalize();
    let _ = uv_flags::init(uv_flags::EnvironmentFlags::empty());
    allow_descriptors()?;
    let stack_size = uv_configuration::min_stack_size();
    let wanted = available_parallelism().map_or(2, usize::from).min(WORKERS);
    // Besides the workers, there are the main thread and one for blocking work. tokio and rayon panic if a thread cannot be
    // started, so they get no more than the system grants.
    let granted = granted_threads(wanted + 2, stack_size);
    if granted < 3 {
        return Err(refused("threads", "ulimit -u"));
    }
    if granted < wanted + 2 {
        uv_configuration::RAYON_PARALLELISM.store(1, Ordering::Relaxed);
    }
    let thread = Builder::new()
        .name("wheelhouse".to_owned())
        .stack_size(stack_size.max(STACK))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(granted - 2)
                .thread_stack_size(stack_size)
                .thread_keep_alive(IDLE)
                .enable_all()
                .build()
                .map_err(|error| refused("descriptors", "ulimit -n").caused_by(error))?;
            // Starts the thread for blocking work now, while the system grants it.
            runtime.spawn_blocking(|| ());
            let local = tokio::task::LocalSet::new();
            let output = runtime.block_on(local.run_until(async { Box::pin(main()).await }));
            // Ends the remaining tasks, and with them the processes of hooks. Dropped connections may set timers.
            let entered = runtime.enter();
            drop(local);
            drop(entered);
            dismiss_guests();
            // The solver thread of an aborted resolution may still wait; it must not delay the end.
            runtime.shutdown_background();
            output
        });
    let thread = thread.map_err(|error| refused("threads", "ulimit -u").caused_by(error))?;
    match thread.join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Raises the limit of file descriptors as far as allowed.
fn allow_descriptors() -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(mut limit) = current.filter(|limit| *limit < WANTED_DESCRIPTORS) else {
        return Ok(());
    };
    let wanted = maximum.map_or(WANTED_DESCRIPTORS, |most| most.min(WANTED_DESCRIPTORS));
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        limit = wanted;
    }
    if limit >= DESCRIPTORS {
        return Ok(());
    }
    let message = format!("the limit of open files is {limit}, and a run takes {DESCRIPTORS}");
    Err(Error::new(Kind::Input, message).with_hint("Raise it with `ulimit -n`."))
}

fn refused(what: &str, command: &str) -> Error {
    let message = format!("the system refused the {what} that a run takes");
    let hint = format!("Raise the limit with `{command}`, or that of the container's processes.");
    Error::new(Kind::Input, message).with_hint(hint)
}

/// Counts the threads that the system grants at the same time, up to `wanted`.
fn granted_threads(wanted: usize, stack_size: usize) -> usize {
    let start = |_| -> io::Result<_> {
        let (release, waiting) = mpsc::channel::<()>();
        let thread = Builder::new().stack_size(stack_size).spawn(move || {
            // Ends when the sender is dropped.
            let _ = waiting.recv();
        })?;
        Ok((release, thread))
    };
    let started: Vec<_> = (0..wanted).map_while(|one| start(one).ok()).collect();
    let count = started.len();
    for (release, thread) in started {
        drop(release);
        let _ = thread.join();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_threads() {
        assert_eq!(granted_threads(3, 1 << 20), 3);
    }
}
