//! The output of workers: followed while they run, and read again for the error of a failed one.

use std::sync::Arc;

use futures::AsyncBufReadExt as _;
use futures::StreamExt as _;
use kube::api::LogParams;
use tokio::task::JoinHandle;
use tracing::debug;
use wheelhouse_types::{Error, Event, Observer};

use super::Kubernetes;
use crate::job::CONTAINER;
use crate::worker_output::WorkerOutput;

/// The number of lines of a failed worker that are fetched.
const LOG_LINES: i64 = 2000;

impl Kubernetes {
    /// Returns the error in the log of `pod`, or else the end of the log.
    pub(super) async fn worker_error(
        &self,
        pod: &str,
        observer: &Arc<dyn Observer>,
    ) -> Result<Error, String> {
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        let log = self
            .server
            .request(|| self.pods.logs(pod, &parameters))
            .await;
        let log = match log {
            Ok(Ok(log)) => log,
            Ok(Err(error)) => {
                return Err(format!("the log of the pod {pod} cannot be read: {error}"));
            }
            Err(error) => return Err(error.display_chain()),
        };
        let mut output = WorkerOutput::default();
        let silent = Silent;
        for line in log.lines() {
            output.read(line, &silent);
        }
        debug!(
            pod,
            lines = log.lines().count(),
            wanted = observer.wants_output(),
            "fetched a log"
        );
        output.into_error().ok_or_else(|| {
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        })
    }

    /// Passes the output of a running worker to `observer` until the task is aborted.
    pub(super) fn follow(&self, pod: &str, observer: &Arc<dyn Observer>) -> JoinHandle<()> {
        let (pods, pod, observer) = (self.pods.clone(), pod.to_owned(), Arc::clone(observer));
        tokio::spawn(async move {
            let parameters = LogParams {
                container: Some(CONTAINER.to_owned()),
                follow: true,
                ..LogParams::default()
            };
            let Ok(stream) = pods.log_stream(&pod, &parameters).await else {
                return;
            };
            let mut lines = stream.lines();
            let mut output = WorkerOutput::default();
            while let Some(Ok(line)) = lines.next().await {
                output.read(&line, &*observer);
            }
        })
    }
}

/// Ignores all events: those of a log that is read again were reported before.
pub(super) struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Event) {}
}
