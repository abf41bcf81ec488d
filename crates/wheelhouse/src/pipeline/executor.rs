//! Carrying out the steps of a plan, all at once as far as the limits of the worker allow.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures::stream::{FuturesUnordered, StreamExt as _};
use wheelhouse_types::{Error, Event, PackageName, Plan, Result, Step};

use super::Run;
use super::worker::{LocalWorker, Made, Worker as _};
use wheelhouse_store::Found;

/// Makes the wheel of every step of `plan`.
///
/// # Errors
/// The first failure, after which nothing new is waited for; or, when the job is to keep going, one
/// error that lists all of them.
pub(super) async fn run(
    plan: &Plan,
    run: &Run,
    worker: Option<&Rc<LocalWorker>>,
) -> Result<BTreeMap<PackageName, Made>> {
    let mut steps: FuturesUnordered<_> = plan
        .steps
        .iter()
        .map(async |step| (step, make(step, run, worker).await))
        .collect();
    let mut made = BTreeMap::new();
    let mut failures = Vec::new();
    while let Some((step, result)) = steps.next().await {
        let package = step.package.distribution().to_string();
        match result {
            Ok(wheel) => {
                run.observer.observe(&Event::StepFinished {
                    package,
                    filename: wheel.filename.clone(),
                    sha256: wheel.stored.sha256,
                    bytes: wheel.stored.size,
                    outcome: wheel.outcome,
                });
                made.insert(step.package.name.clone(), wheel);
            }
            Err(error) if run.job.keep_going => {
                run.observer.observe(&Event::StepFailed {
                    package,
                    reason: error.sentence(),
                });
                failures.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let wanted = plan.steps.len();
    let summary_of = |failed| format!("{failed} of {wanted} wheels could not be made");
    summary(failures, summary_of).map_or(Ok(made), Err)
}

async fn make(step: &Step, run: &Run, worker: Option<&Rc<LocalWorker>>) -> Result<Made> {
    let distribution = step.package.distribution();
    // What was made ahead of the plan was made by this run, though the plan finds it in the store.
    let begun = worker.is_some_and(|worker| worker.has_begun(&distribution));
    if !begun && let Some(made) = run.at_hand(step)? {
        return Ok(made);
    }
    match worker {
        Some(worker) => {
            let made = worker.make(&distribution).await?;
            match run.job.store.find(&made.stored.sha256)? {
                Found::Present(_) => return Ok(made),
                Found::Absent => {}
                Found::Corrupt(_) => {
                    let file = &made.filename;
                    run.observer.observe(&Event::warning(format!(
                        "the cached copy of {file} is corrupt and is downloaded or built again"
                    )));
                }
            }
            // A build changed it after it was made.
            worker.forget(&distribution);
            worker.make(&distribution).await
        }
        None => Err(Error::new(
            wheelhouse_types::Kind::Fetch,
            format!("{distribution} vanished from the store"),
        )
        .with_hint("Another process may have pruned it: run again.")),
    }
}

/// All failures as one, of the kind of the first; `message` is given how many there are.
pub(super) fn summary(
    mut failures: Vec<Error>,
    message: impl FnOnce(usize) -> String,
) -> Option<Error> {
    if failures.len() < 2 {
        return failures.pop();
    }
    let told: Vec<String> = failures
        .iter()
        .map(|failure| {
            let hint = failure
                .hint()
                .map(|hint| format!("\nhint: {hint}"))
                .unwrap_or_default();
            let detail = failure
                .detail()
                .map(|detail| format!("\n{detail}"))
                .unwrap_or_default();
            format!("{}{detail}{hint}", failure.sentence())
        })
        .collect();
    let message = message(failures.len());
    Some(Error::new(failures[0].kind(), message).with_detail(told.join("\n\n")))
}
