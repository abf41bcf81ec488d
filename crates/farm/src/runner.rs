//! The seam between a coordinator and the places where steps are carried out.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Observer, Result, Target};

/// Carries out build steps.
pub trait StepRunner {
    /// Returns whether there are places that build for `target`.
    fn serves(&self, target: &Target) -> bool;

    /// Carries out `step`, whose document and files the shared cache has. When it returns, the shared cache has the record of
    /// the build under the key of the step, and the wheel that the record names.
    ///
    /// Repeats the step if its place was lost. Reports to `observer` where it runs, what it waits for, and its output.
    ///
    /// # Errors
    /// The error of the build as the worker reported it, or the reason why no place carries out the step.
    fn run<'a>(
        &'a self,
        step: &'a BuildStep,
        observer: &'a Arc<dyn Observer>,
    ) -> LocalBoxFuture<'a, Result<()>>;
}
