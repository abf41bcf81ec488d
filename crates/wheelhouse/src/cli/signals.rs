//! SIGINT and SIGTERM: the first cancels what runs, the second ends the process at once.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Error, Kind, Result};

use super::exit;

/// Signals so close to the first belong to it: `timeout` and terminals may send to a process and
/// to its group.
const ONE: Duration = Duration::from_millis(300);

/// Runs `work` until it ends or a signal arrives; then it is dropped, and with it its child
/// processes, which guards end.
pub(crate) async fn until_interrupted<Output>(
    work: impl Future<Output = Result<Output>>,
) -> Result<Output> {
    let interrupted = listen()?;
    tokio::select! {
        outcome = work => outcome,
        Ok(()) = interrupted => Err(Error::new(Kind::Interrupted, "interrupted")),
    }
}

/// Returns what ends when a signal arrives.
pub(crate) fn interruption() -> Result<impl Future<Output = ()>> {
    let interrupted = listen()?;
    Ok(async {
        if interrupted.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Listens on a thread of its own, so that a second signal is heard while the first is obeyed.
fn listen() -> Result<oneshot::Receiver<()>> {
    let failed = || "failed to listen to signals".to_owned();
    let mut interrupt = signal(SignalKind::interrupt()).context(Kind::Input, failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(Kind::Input, failed)?;
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let mut heard = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        heard().await;
        // When the work has ended there is nobody to tell any more.
        let _ = sender.send(());
        let first = Instant::now();
        loop {
            heard().await;
            if first.elapsed() > ONE {
                end_at_once();
            }
        }
    });
    Ok(receiver)
}

#[expect(
    clippy::exit,
    reason = "the user has asked twice, and cleaning up takes too long"
)]
fn end_at_once() {
    wheelhouse_engine::family::end_all();
    std::process::exit(i32::from(exit::INTERRUPTED));
}
