//! The farm of a run: where steps are carried out, the shared cache between the machines, and the order of the steps.
//!
//! What a step requires is known when its build requirements are resolved, before those start. So the graph of steps grows during
//! the run, and a step is ranked by the steps that wait for it.

use std::path::PathBuf;
use std::time::Duration;

use tracing::debug;
use wheelhouse_farm::StepRunner;
use wheelhouse_farm::schedule::{ExpectedStep, Scheduler};
use wheelhouse_store::Store;
use wheelhouse_types::PackageName;

use super::step_cache::StepCache;

/// The expected duration of the build of a package that was never built with this cache.
const UNKNOWN: Duration = Duration::from_secs(30);

/// The farm that builds the sdists of a run.
pub struct Farm {
    pub(super) runner: Box<dyn StepRunner>,
    pub(super) steps: StepCache,
    pub(super) scheduler: Scheduler,
}

impl Farm {
    /// Creates a farm that carries out at most `parallelism` steps at the same time by `runner`.
    #[must_use]
    pub fn new(runner: Box<dyn StepRunner>, steps: StepCache, parallelism: usize) -> Self {
        Self {
            runner,
            steps,
            scheduler: Scheduler::new(parallelism),
        }
    }

    /// Adds a step to the graph by which waiting steps are ranked.
    pub(super) fn expect(&self, step: ExpectedStep) {
        if let Err(cycle) = self.scheduler.expect(step) {
            // It is found again when it is waited for, with a better message.
            debug!(%cycle, "left a step out of the order");
        }
    }
}

/// Returns the duration of the last build of `package` with this cache.
pub(super) fn expected_duration(store: &Store, package: &PackageName) -> Duration {
    let text = fs_err::read_to_string(duration_path(store, package)).ok();
    let seconds = text.and_then(|text| text.trim().parse().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.unwrap_or(UNKNOWN)
}

/// Saves the duration of a build in seconds for [`expected_duration`].
pub(super) fn save_duration(store: &Store, package: &PackageName, seconds: f64) {
    let path = duration_path(store, package);
    // Without the file, the order of a later run is not the best.
    let _ = path.parent().map(fs_err::create_dir_all);
    let _ = fs_err::write(path, format!("{seconds}\n"));
}

fn duration_path(store: &Store, package: &PackageName) -> PathBuf {
    store.root().join("durations-v1").join(package.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_last_build() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let name: PackageName = "example".parse().unwrap();
        assert_eq!(expected_duration(&store, &name), UNKNOWN);
        save_duration(&store, &name, 12.5);
        let expected = Duration::from_millis(12_500);
        assert_eq!(expected_duration(&store, &name), expected);
    }
}
