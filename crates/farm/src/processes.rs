//! Steps as processes of this machine: a farm without other machines, to try the protocol and to find faults.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tracing::debug;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Error, Event, Kind, Observer, Result, Target};

use crate::runner::StepRunner;
use crate::worker_output::WorkerOutput;

/// Carries out each step by `wheelhouse worker` in a process of its own.
#[derive(Debug)]
pub struct Processes {
    /// The program.
    pub program: PathBuf,
    /// The location of the shared cache.
    pub cache: String,
    /// Further arguments of `wheelhouse worker`.
    pub arguments: Vec<OsString>,
}

impl StepRunner for Processes {
    /// A process builds for the Pythons of this machine.
    fn serves(&self, _target: &Target) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        step: &'a BuildStep,
        observer: &'a Arc<dyn Observer>,
    ) -> LocalBoxFuture<'a, Result<()>> {
        self.work(step, observer).boxed_local()
    }
}

impl Processes {
    async fn work(&self, step: &BuildStep, observer: &Arc<dyn Observer>) -> Result<()> {
        let failed = || format!("failed to run a worker for {step}");
        let digest = step.digest();
        let mut command = Command::new(&self.program);
        command
            .args(["worker", &digest.to_string(), "--cache-to", &self.cache])
            .args(["--json", "--verbose"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context(Kind::Build, failed)?;
        let process = child.id().unwrap_or_default();
        debug!(%step, %digest, process, "started a worker");
        observer.observe(&Event::BuildPlaced {
            package: step.to_string(),
            place: format!("this machine (process {process})"),
            step: digest,
        });
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(BufReader::new);
        let reading = async {
            let mut output = WorkerOutput::default();
            let Some(stdout) = stdout else {
                return Ok(output);
            };
            let mut lines = stdout.lines();
            while let Some(line) = lines.next_line().await? {
                output.read(&line, &**observer);
            }
            Ok(output)
        };
        // What the worker writes to stderr does not belong to the build: it is shown if there is no other error.
        let complaints = async {
            let mut last = String::new();
            if let Some(stderr) = stderr {
                let mut lines = stderr.lines();
                while let Some(line) = lines.next_line().await? {
                    debug!(line, "the worker wrote");
                    last = line;
                }
            }
            Ok::<_, std::io::Error>(last)
        };
        let (output, complaint) = futures::join!(reading, complaints);
        let status = child.wait().await.context(Kind::Build, failed)?;
        let output: WorkerOutput = output
            .map_err(|error: std::io::Error| Error::new(Kind::Build, failed()).caused_by(error))?;
        if status.success() {
            return Ok(());
        }
        Err(output.into_error().unwrap_or_else(|| {
            let message = format!("the worker for {step} ended with {status}");
            Error::new(Kind::Build, message).with_detail(complaint.unwrap_or_default())
        }))
    }
}
