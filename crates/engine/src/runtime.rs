//! The process-wide state and the runtime that the uv crates expect.

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

/// The stack of the thread that resolves and builds. Where what a build requires is built for its metadata, polls nest,
/// about 150 KiB for each build in a debug build of this program.
const STACK: usize = 64 << 20;

/// The most threads that serve the network.
const WORKERS: usize = 8;

/// The least descriptors that a run takes: the streams, the runtime's own, locks, connections and files.
const DESCRIPTORS: u64 = 32;

/// The descriptors that a run asks for: many connections and files are open at the same time.
const WANTED_DESCRIPTORS: u64 = 1024;

/// An idle thread of the runtime ends after this time; the first one never does in practice.
const IDLE: Duration = Duration::from_hours(24);

/// The time that the end waits for threads that use the runtime.
const PATIENCE: Duration = Duration::from_secs(2);

/// Closed when the runtime is about to end.
static OPEN: Semaphore = Semaphore::const_new(0);

/// The number of [`Guest`]s.
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
/// # Errors
/// Those of `main`; `Input` when the system refuses the threads or descriptors that a run takes at least.
///
/// # Panics
/// When `main` panics.
pub fn run<Output, Main>(main: impl FnOnce() -> Main + Send + 'static) -> Result<Output>
where
    Output: Send + 'static,
    Main: Future<Output = Result<Output>>,
{
    // These fail only when set twice; they must be set before any uv code runs.
    let _ = uv_preview::set(Preview::default());
    let _ = uv_preview::finalize();
    let _ = uv_flags::init(uv_flags::EnvironmentFlags::empty());
    allow_descriptors()?;
    let stack_size = uv_configuration::min_stack_size();
    let wanted = available_parallelism().map_or(2, usize::from).min(WORKERS);
    // Beside the workers there are this thread's successor and one for what blocks. tokio and rayon panic where a thread
    // is refused, so they get no more than there are.
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
            // From now on there is a thread for what blocks, however few the system gives later.
            runtime.spawn_blocking(|| ());
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
        });
    let thread = thread.map_err(|error| refused("threads", "ulimit -u").caused_by(error))?;
    match thread.join() {
        Ok(output) => output,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Raises the limit of descriptors to what this process may have.
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

/// Counts how many threads the system gives at the same time, up to `wanted`.
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
    fn threads_are_counted() {
        assert_eq!(granted_threads(3, 1 << 20), 3);
    }
}
