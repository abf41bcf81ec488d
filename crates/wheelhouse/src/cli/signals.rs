//! SIGINT, SIGTERM and SIGHUP: the first signal cancels the work, the second ends the process immediately.

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

/// Signals within this time of the first one count as the same: `timeout` and terminals may send a signal to both the
/// process and its group.
const ONE: Duration = Duration::from_millis(300);

/// The time for work that cannot be dropped to remove its unfinished files.
const REMOVING: Duration = Duration::from_secs(10);

/// Runs `work` on the engine's runtime until it ends or a signal arrives. A signal drops the work and thereby ends its
/// child processes. Returns after work on other threads has removed its unfinished files.
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

/// Returns a future that completes when a signal arrives.
pub(crate) fn stop() -> Result<impl Future<Output = ()>> {
    let interrupted = listen()?;
    Ok(async {
        if interrupted.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Listens on a thread with its own runtime, so that a second signal is handled while the first is processed, even after the
/// engine's runtime has ended.
fn listen() -> Result<oneshot::Receiver<()>> {
    let failed = || "failed to listen for signals".to_owned();
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().build().context(Kind::Input, failed)?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context(Kind::Input, failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(Kind::Input, failed)?;
    // Under `nohup` the signal stays ignored.
    let mut hangup = if is_ignored(SignalKind::hangup()) {
        None
    } else {
        Some(signal(SignalKind::hangup()).context(Kind::Input, failed)?)
    };
    // A write beyond the file size limit then fails instead of ending the process.
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
        // After the end of the work, the receiver is gone.
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
            // The closure must own the whole runtime.
            let runtime = runtime;
            if let Some(runtime) = &runtime.0 {
                runtime.block_on(obey);
            }
        })
        .context(Kind::Input, failed)?;
    Ok(receiver)
}

/// A runtime that is dropped without waiting, for example if the system refuses its thread: waiting within another
/// runtime makes tokio panic.
struct Background(Option<runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns whether `kind` was ignored when this process started; `false` if that is unknown.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = 1 << (kind.as_raw_value() - 1);
    ignored.is_some_and(|mask| mask & bit != 0)
}

#[expect(
    clippy::exit,
    reason = "a second signal demands an immediate exit, without cleanup"
)]
fn end_at_once() {
    wheelhouse_engine::process_tree::end_all();
    std::process::exit(i32::from(exit_code::INTERRUPTED));
}
