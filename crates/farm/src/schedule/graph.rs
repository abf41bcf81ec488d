//! The steps of a plan, which of them need the wheels of others, and how long they are expected to take.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

/// A step as a plan expects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedStep {
    /// The identity of the step, unique in its graph.
    pub id: String,
    /// The duration of an earlier run, or an estimate.
    pub duration: Duration,
    /// The identities of the steps whose wheels the build needs.
    pub requires: Vec<String>,
}

/// The graph contains steps that wait for each other.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the build steps {} wait for each other", steps.join(", "))]
pub struct Cycle {
    /// The steps on cycles, and those that need them, sorted.
    pub steps: Vec<String>,
}

/// Steps and their requirements.
#[derive(Clone, Debug, Default)]
pub struct StepGraph {
    steps: Vec<ExpectedStep>,
    /// For each step, the longest time from its start to the end of a chain of steps that need each other.
    tails: BTreeMap<String, Duration>,
}

impl StepGraph {
    /// Creates the graph of `steps`. A requirement that is not one of them is met from the start; of steps with the same
    /// identity, the first counts.
    ///
    /// # Errors
    /// [`Cycle`] if steps require each other.
    pub fn new(steps: impl IntoIterator<Item = ExpectedStep>) -> Result<Self, Cycle> {
        let mut positions = BTreeMap::new();
        let mut unique: Vec<ExpectedStep> = Vec::new();
        for step in steps {
            positions.entry(step.id.clone()).or_insert_with(|| {
                unique.push(step);
                unique.len() - 1
            });
        }
        let requires = |step: &ExpectedStep| -> Vec<usize> {
            let mut known: Vec<_> = (step.requires.iter())
                .filter_map(|id| positions.get(id).copied())
                .collect();
            known.sort_unstable();
            known.dedup();
            known
        };
        let requires: Vec<_> = unique.iter().map(requires).collect();
        let mut dependents = vec![0_usize; unique.len()];
        for &required in requires.iter().flatten() {
            dependents[required] += 1;
        }
        // From the steps that no other step needs to those that all need.
        let mut tails = vec![Duration::ZERO; unique.len()];
        let mut ready: Vec<usize> = (0..unique.len())
            .filter(|&step| dependents[step] == 0)
            .collect();
        let mut done = 0;
        while let Some(step) = ready.pop() {
            done += 1;
            tails[step] += unique[step].duration;
            for &required in &requires[step] {
                tails[required] = tails[required].max(tails[step]);
                dependents[required] -= 1;
                if dependents[required] == 0 {
                    ready.push(required);
                }
            }
        }
        if done < unique.len() {
            let cyclic = (0..unique.len()).filter(|&step| dependents[step] > 0);
            let mut steps: Vec<_> = cyclic.map(|step| unique[step].id.clone()).collect();
            steps.sort();
            return Err(Cycle { steps });
        }
        let ids = unique.iter().map(|step| step.id.clone());
        Ok(Self {
            tails: ids.zip(tails).collect(),
            steps: unique,
        })
    }

    /// Returns the steps.
    #[must_use]
    pub fn steps(&self) -> &[ExpectedStep] {
        &self.steps
    }

    /// Returns the longest time from the start of the step `id` to the end of a chain of steps that it begins.
    #[must_use]
    pub fn tail(&self, id: &str) -> Option<Duration> {
        self.tails.get(id).copied()
    }

    /// Returns the sum of all durations: the time that one worker needs.
    #[must_use]
    pub fn work(&self) -> Duration {
        self.steps.iter().map(|step| step.duration).sum()
    }

    /// Returns the duration of the longest chain: no number of workers needs less time.
    #[must_use]
    pub fn critical_path(&self) -> Duration {
        self.tails.values().max().copied().unwrap_or_default()
    }

    /// Returns a lower bound of the time that `workers` need for all steps.
    #[must_use]
    pub fn bound(&self, workers: usize) -> Duration {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        self.critical_path().max(self.work() / workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, seconds: u64, requires: &[&str]) -> ExpectedStep {
        ExpectedStep {
            id: id.to_owned(),
            duration: Duration::from_secs(seconds),
            requires: requires.iter().map(ToString::to_string).collect(),
        }
    }

    fn seconds(duration: Option<Duration>) -> Option<u64> {
        duration.map(|duration| duration.as_secs())
    }

    #[test]
    fn tail_is_the_longest_chain_that_a_step_begins() {
        let graph = StepGraph::new([
            step("numpy", 10, &["cython", "meson-python"]),
            step("cython", 5, &[]),
            step("meson-python", 1, &["meson"]),
            step("meson", 2, &[]),
            step("pandas", 20, &["numpy", "cython"]),
            step("idna", 1, &["flit-core"]),
        ])
        .unwrap();
        let tail = |id| seconds(graph.tail(id));
        assert_eq!(tail("pandas"), Some(20));
        assert_eq!(tail("numpy"), Some(30));
        assert_eq!(tail("cython"), Some(35));
        assert_eq!(tail("meson"), Some(33));
        assert_eq!(tail("idna"), Some(1));
        assert_eq!(tail("flit-core"), None);
        assert_eq!(graph.work().as_secs(), 39);
        assert_eq!(graph.critical_path().as_secs(), 35);
        assert_eq!(graph.bound(1).as_secs(), 39);
        assert_eq!(graph.bound(8).as_secs(), 35);
    }

    #[test]
    fn counts_repeated_steps_and_requirements_once() {
        let graph = StepGraph::new([
            step("a", 3, &["b", "b"]),
            step("b", 2, &[]),
            step("b", 9, &["a"]),
        ])
        .unwrap();
        assert_eq!(graph.steps().len(), 2);
        assert_eq!(seconds(graph.tail("b")), Some(5));
    }

    #[test]
    fn names_steps_that_wait_for_each_other() {
        let cycle = StepGraph::new([
            step("a", 1, &["b"]),
            step("b", 1, &["a"]),
            step("c", 1, &[]),
            step("d", 1, &["c"]),
        ])
        .unwrap_err();
        assert_eq!(cycle.steps, ["a", "b"]);
        assert!(cycle.to_string().contains("a, b wait for each other"));
        assert!(StepGraph::new([step("a", 1, &["a"])]).is_err());
    }
}
