//! Executes the steps of a plan: all at the same time, within the limits of the worker.

use std::collections::BTreeMap;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tracing::{Instrument as _, debug, info_span};
use wheelhouse_types::{Error, Event, Kind, PackageName, Plan, Result, Step};

use super::cached_wheels;
use super::context::RunContext;
use super::worker::{WheelArtifact, Worker};
use wheelhouse_store::Lookup;

/// Makes the wheel of every step of `plan`. Without a `worker` all of them must be in the store.
///
/// # Errors
/// The first failure, after which no further wheel is awaited; with `keep_going` one error that lists
/// all failures.
pub(super) async fn run(
    plan: &Plan,
    context: &RunContext,
    worker: Option<&dyn Worker>,
) -> Result<BTreeMap<PackageName, WheelArtifact>> {
    let mut steps: FuturesUnordered<_> = plan
        .steps
        .iter()
        .map(async |step| {
            let span = info_span!("step", package = %step.package.distribution());
            (step, execute(step, context, worker).instrument(span).await)
        })
        .collect();
    let mut wheels = BTreeMap::new();
    let mut failures = Vec::new();
    while let Some((step, result)) = steps.next().await {
        let package = step.package.distribution().to_string();
        match result {
            Ok(wheel) => {
                debug!(package, filename = wheel.filename, outcome = ?wheel.outcome, "step finished");
                context.observer.observe(&Event::StepFinished {
                    package,
                    filename: wheel.filename.clone(),
                    sha256: wheel.stored.sha256,
                    bytes: wheel.stored.size,
                    outcome: wheel.outcome,
                });
                wheels.insert(step.package.name.clone(), wheel);
            }
            Err(error) if context.keep_going => {
                context.observer.observe(&Event::StepFailed {
                    package,
                    reason: error.display_chain(),
                });
                failures.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let count = plan.steps.len();
    let message = |failed| format!("failed to make {failed} of {count} wheels");
    summarize(failures, message).map_or(Ok(wheels), Err)
}

async fn execute(
    step: &Step,
    context: &RunContext,
    worker: Option<&dyn Worker>,
) -> Result<WheelArtifact> {
    let distribution = step.package.distribution();
    // The store has the wheels that this run prefetched or built before the plan; the worker knows that they are new.
    let has_begun = worker.is_some_and(|worker| worker.has_begun(&distribution));
    if !has_begun && let Some(wheel) = cached_wheels::find_step(context, step)? {
        return Ok(wheel);
    }
    let Some(worker) = worker else {
        let message = format!("{distribution} is no longer in the store");
        return Err(Error::new(Kind::Fetch, message)
            .with_hint("Run it again: another process may have pruned the cache."));
    };
    let wheel = worker.make(&distribution).await?;
    match context.store.find(&wheel.stored.sha256)? {
        Lookup::Hit(_) => return Ok(wheel),
        Lookup::Miss => {}
        Lookup::Corrupt(_) => {
            let file = &wheel.filename;
            context.observer.observe(&Event::warning(format!(
                "the cached copy of {file} is corrupt and is downloaded or built again"
            )));
        }
    }
    // A build changed the file after the worker had stored it.
    worker.remake(&distribution).await
}

/// Combines `failures` into one error of the kind of the first; `message` takes their number. Failures with the same detail, such as
/// those of all packages that need one failed build, are listed together above it.
pub(super) fn summarize(
    mut failures: Vec<Error>,
    message: impl FnOnce(usize) -> String,
) -> Option<Error> {
    if failures.len() < 2 {
        return failures.pop();
    }
    let mut groups: Vec<(Vec<String>, &Error)> = Vec::new();
    for failure in &failures {
        let sentence = failure.display_chain();
        let known = groups.iter_mut().find(|(_, known)| {
            failure.detail().is_some()
                && (known.detail(), known.hint()) == (failure.detail(), failure.hint())
        });
        match known {
            Some((sentences, _)) => sentences.push(sentence),
            None => groups.push((vec![sentence], failure)),
        }
    }
    let descriptions = groups.into_iter().map(|(mut lines, failure)| {
        lines.extend(failure.detail().map(ToOwned::to_owned));
        lines.extend(failure.hint().map(|hint| format!("hint: {hint}")));
        lines.join("\n")
    });
    let detail = descriptions.collect::<Vec<_>>().join("\n\n");
    let message = message(failures.len());
    Some(Error::new(failures[0].kind(), message).with_detail(detail))
}

#[cfg(test)]
mod tests {
    use wheelhouse_types::Kind;

    use super::*;

    #[test]
    fn output_of_one_build_is_shown_once() {
        let of_cmake = |package: &str| {
            let cause = Error::new(Kind::Build, "failed to build cmake")
                .with_detail("no network")
                .with_hint("Install it.");
            Error::new(Kind::Build, format!("failed to build {package}")).caused_by(cause)
        };
        let other = Error::new(Kind::Fetch, "failed to fetch c");
        let failures = vec![of_cmake("a"), other, of_cmake("b")];
        let error = summarize(failures, |failed| format!("{failed} failures")).unwrap();
        assert_eq!(error.to_string(), "3 failures");
        assert_eq!(
            error.detail().unwrap(),
            "failed to build a: failed to build cmake\nfailed to build b: failed to build cmake\n\
             no network\nhint: Install it.\n\nfailed to fetch c"
        );
    }
}
