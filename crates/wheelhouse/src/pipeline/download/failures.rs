//! The failures of targets, while the others go on with `--keep-going`.

use std::cell::RefCell;

use futures::future::{join_all, try_join_all};
use wheelhouse_types::{Error, Result, Target};

use super::super::context::RunContext;
use super::super::executor::summarize;

/// Collects the failures of the targets of a run.
#[derive(Default)]
pub(super) struct TargetFailures(RefCell<Vec<Error>>);

impl TargetFailures {
    /// Runs `work` for all targets and returns the results. With `--keep-going` failures are collected for
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// The first failure, without `--keep-going`.
    pub(super) async fn run_all<T>(
        &self,
        context: &RunContext,
        work: impl Iterator<Item = impl Future<Output = Result<T>>>,
    ) -> Result<Vec<T>> {
        if !context.keep_going {
            return try_join_all(work).await;
        }
        let outcomes = join_all(work).await;
        let mut failures = self.0.borrow_mut();
        let results = outcomes
            .into_iter()
            .filter_map(|outcome| outcome.map_err(|error| failures.push(error)).ok());
        Ok(results.collect())
    }

    /// Fails if a target has failed.
    ///
    /// # Errors
    /// One error that lists all failures.
    pub(super) fn check(&self, context: &RunContext) -> Result<()> {
        let count = context.targets.len();
        let message = |failed| format!("{failed} of {count} targets failed");
        summarize(self.0.take(), message).map_or(Ok(()), Err)
    }
}

/// Adds the target to `error`, unless the run has only that of the host.
pub(super) fn for_target(context: &RunContext, target: &Target, error: Error) -> Error {
    if target.interpreter.is_some() && context.targets.len() == 1 {
        return error;
    }
    let message = format!("failed to download for {}", target.label());
    Error::new(error.kind(), message).caused_by(error)
}
