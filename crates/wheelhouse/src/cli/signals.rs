//! SIGINT, SIGTERM and SIGHUP: the first cancels what runs, the second ends the process at once.

use std::future::Future;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::cli::exit_code;
use wheelhouse_fs::interruption;

/// Signals so close to the first belong to it: `timeout` and terminals may send to a process and
/// to its group.
const ONE: Duration = Duration::from_millis(300);

/// The time that work which cannot be dropped has to remove what it has begun.
const REMOVING: Duration = Duration::from_secs(10);

/// Runs `work` on the engine's runtime until it ends or a signal arrives; then it is dropped, and with it its child
/// processes, which guards end. Returns when work on other threads has removed what it had begun, too.
pub(crate) fn run<Output, Work>(work: impl FnOnce() -> Work + Send + 'static) -> Result<Output>
where
    Output: Send + 'static,
    Work: Future<Output = Result<Output>>,
{
    let outcome = wheelhouse_engine::run(move || until_interrupted(work()));
    if interruption::check().is_err() {
        interruption::wait_for_holds(REMOVING);
    }
    outcome
}

async fn until_interrupted<Output>(work: impl Future<Output = Result<Output>>) -> Result<Output> {
    let interrupted = listen()?;
    tokio::select! {
        outcome = work => outcome,
        Ok(()) = interrupted => Err(interruption::interrupted()),
    }
}

/// Returns what ends when a signal arrives.
pub(crate) fn stop() -> Result<impl Future<Output = ()>> {
    let interrupted = listen()?;
    Ok(async {
        if interrupted.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Listens on a thread with a runtime of its own, so that a second signal is heard while the first is obeyed, even after the
/// end of the engine's runtime.
fn listen() -> Result<oneshot::Receiver<()>> {
    let failed = || "failed to listen to signals".to_owned();
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().build().context(Kind::Input, failed)?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context(Kind::Input, failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(Kind::Input, failed)?;
    // Under `nohup` it stays ignored.
    let mut hangup = if is_ignored(SignalKind::hangup()) {
        None
    } else {
        Some(signal(SignalKind::hangup()).context(Kind::Input, failed)?)
    };
    // A write beyond the limit for the size of files then fails, instead of ending the process.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())));
    drop(entered);
    let (sender, receiver) = oneshot::channel();
    let obey = async move {
        let mut heard = async || {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up => {}
            }
        };
        heard().await;
        interruption::request();
        // When the work has ended, nothing waits for this any more.
        let _ = sender.send(());
        let first = Instant::now();
        loop {
            heard().await;
            if first.elapsed() > ONE {
                end_at_once();
            }
        }
    };
    let runtime = Background(Some(runtime));
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            // All of it belongs to the thread.
            let runtime = runtime;
            if let Some(runtime) = &runtime.0 {
                runtime.block_on(obey);
            }
        })
        .context(Kind::Input, failed)?;
    Ok(receiver)
}

/// A runtime that is dropped without waiting, as where the system refuses its thread: tokio panics where it would wait within
/// another runtime.
struct Background(Option<runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns whether this process was started with `kind` ignored; where that cannot be known, it was not.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = 1 << (kind.as_raw_value() - 1);
    ignored.is_some_and(|mask| mask & bit != 0)
}

#[expect(
    clippy::exit,
    reason = "the user has asked twice, and cleaning up takes too long"
)]
fn end_at_once() {
    wheelhouse_engine::process_tree::end_all();
    std::process::exit(i32::from(exit_code::INTERRUPTED));
}
