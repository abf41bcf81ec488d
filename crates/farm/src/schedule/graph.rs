//! The steps of a plan, which of them need the wheels of others, and how long they are expected to take.
//!
//! The graph of a run grows during the run. A new step makes only the chains longer that its requirements begin, so adding it
//! looks at no other steps.

use std::collections::{HashMap, HashSet};
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

/// The steps that a step requires include the step itself.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the build steps {} wait for each other", steps.join(", "))]
pub struct Cycle {
    /// The steps of the cycle: each requires the next, and the last requires the first.
    pub steps: Vec<String>,
}

/// A step that begins a longer chain than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongerTail {
    /// The identity of the step.
    pub id: String,
    /// The tail that it had, or zero for a new step.
    pub before: Duration,
}

/// Steps and their requirements. A requirement that is not a step of the graph is met from the start.
#[derive(Clone, Debug, Default)]
pub struct StepGraph {
    steps: Vec<ExpectedStep>,
    /// For each step, the longest time from its start to the end of a chain of steps that need each other.
    tails: Vec<Duration>,
    positions: HashMap<String, usize>,
    /// For each requirement that is not a step yet, the longest tail of the steps that require it.
    awaited: HashMap<String, Duration>,
}

impl StepGraph {
    /// Creates the graph of `steps`. Of steps with the same identity, the first counts.
    ///
    /// # Errors
    /// [`Cycle`] if steps require each other.
    pub fn new(steps: impl IntoIterator<Item = ExpectedStep>) -> Result<Self, Cycle> {
        let mut graph = Self::default();
        for step in steps {
            graph.add(step)?;
        }
        Ok(graph)
    }

    /// Adds a step, unless there is one with its identity. Returns the steps whose tail has changed.
    ///
    /// # Errors
    /// [`Cycle`] if the step would require itself. It is not added then.
    pub fn add(&mut self, step: ExpectedStep) -> Result<Vec<LongerTail>, Cycle> {
        if self.positions.contains_key(&step.id) {
            return Ok(Vec::new());
        }
        let closure = self.closure(&step)?;
        let position = self.steps.len();
        let later = self.awaited.remove(&step.id).unwrap_or_default();
        self.tails.push(step.duration + later);
        self.positions.insert(step.id.clone(), position);
        self.steps.push(step);
        let mut before = HashMap::from([(position, Duration::ZERO)]);
        for changed in std::iter::once(position).chain(closure) {
            // Everything that requires the step and has changed has been dealt with before it.
            if !before.contains_key(&changed) {
                continue;
            }
            let tail = self.tails[changed];
            for id in &self.steps[changed].requires {
                let Some(&required) = self.positions.get(id) else {
                    let awaited = self.awaited.entry(id.clone()).or_default();
                    *awaited = tail.max(*awaited);
                    continue;
                };
                let longer = tail + self.steps[required].duration;
                if longer > self.tails[required] {
                    let old = std::mem::replace(&mut self.tails[required], longer);
                    before.entry(required).or_insert(old);
                }
            }
        }
        let changes = before.into_iter().map(|(position, before)| LongerTail {
            id: self.steps[position].id.clone(),
            before,
        });
        Ok(changes.collect())
    }

    /// Returns the positions of all steps that a new step requires, each before those that it requires itself.
    fn closure(&self, new: &ExpectedStep) -> Result<Vec<usize>, Cycle> {
        let mut path: Vec<(&ExpectedStep, std::slice::Iter<'_, String>)> =
            vec![(new, new.requires.iter())];
        let (mut seen, mut finished) = (HashSet::new(), Vec::new());
        while let Some((step, requires)) = path.last_mut() {
            let Some(id) = requires.next() else {
                finished.extend(self.positions.get(&step.id).copied());
                path.pop();
                continue;
            };
            if *id == new.id {
                let steps = path.iter().map(|(step, _)| step.id.clone());
                return Err(Cycle {
                    steps: steps.collect(),
                });
            }
            if let Some(&position) = self.positions.get(id)
                && seen.insert(position)
            {
                let required = &self.steps[position];
                path.push((required, required.requires.iter()));
            }
        }
        finished.reverse();
        Ok(finished)
    }

    /// Returns the steps.
    #[must_use]
    pub fn steps(&self) -> &[ExpectedStep] {
        &self.steps
    }

    /// Returns the longest time from the start of the step `id` to the end of a chain of steps that it begins.
    #[must_use]
    pub fn tail(&self, id: &str) -> Option<Duration> {
        self.positions.get(id).map(|&position| self.tails[position])
    }

    /// Returns the sum of all durations: the time that one worker needs.
    #[must_use]
    pub fn work(&self) -> Duration {
        self.steps.iter().map(|step| step.duration).sum()
    }

    /// Returns the duration of the longest chain: no number of workers needs less time.
    #[must_use]
    pub fn critical_path(&self) -> Duration {
        self.tails.iter().max().copied().unwrap_or_default()
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
    fn new_step_makes_the_tails_of_its_requirements_longer() {
        let mut graph = StepGraph::new([
            step("meson", 2, &[]),
            step("numpy", 10, &["meson", "cython"]),
            step("idna", 1, &["flit-core"]),
        ])
        .unwrap();
        let mut add = |new| {
            let changes = graph.add(new).unwrap().into_iter();
            let mut changes: Vec<_> = changes
                .map(|LongerTail { id, before }| {
                    let after = graph.tail(&id).unwrap().as_secs();
                    format!("{id} {} -> {after}", before.as_secs())
                })
                .collect();
            changes.sort();
            changes
        };
        assert_eq!(add(step("cython", 5, &[])), ["cython 0 -> 15"]);
        assert_eq!(add(step("small", 1, &["meson"])), ["small 0 -> 1"]);
        assert_eq!(
            add(step("scipy", 20, &["numpy", "meson"])),
            [
                "cython 15 -> 35",
                "meson 12 -> 32",
                "numpy 10 -> 30",
                "scipy 0 -> 20"
            ]
        );
        assert_eq!(add(step("scipy", 99, &[])), [""; 0]);
    }

    #[test]
    fn order_of_additions_does_not_matter() {
        // Each step requires two later ones, so that there are many ways to each.
        let steps: Vec<_> = (0..40_u64)
            .map(|at| {
                let id = |at: u64| format!("step-{at}");
                ExpectedStep {
                    id: id(at),
                    duration: Duration::from_secs(1 + at * 7 % 5),
                    requires: vec![id(at + 1), id(at + 2)],
                }
            })
            .collect();
        let tails = |order: Vec<usize>| -> Vec<_> {
            let graph = StepGraph::new(order.iter().map(|&at| steps[at].clone())).unwrap();
            let tails = steps.iter().map(|step| graph.tail(&step.id));
            tails.collect()
        };
        let forward = tails((0..40).collect());
        let path: u64 = steps.iter().map(|step| step.duration.as_secs()).sum();
        assert_eq!(seconds(forward[39]), Some(path));
        assert_eq!(tails((0..40).rev().collect()), forward);
        assert_eq!(tails((0..40).map(|at| at * 7 % 40).collect()), forward);
    }

    #[test]
    fn rejects_step_that_requires_itself() {
        let cycle = StepGraph::new([
            step("c", 1, &[]),
            step("d", 1, &["c"]),
            step("a", 1, &["d", "b"]),
            step("b", 1, &["c", "a"]),
        ])
        .unwrap_err();
        assert_eq!(cycle.steps, ["b", "a"]);
        assert!(cycle.to_string().contains("b, a wait for each other"));
        assert!(StepGraph::new([step("a", 0, &["a"])]).is_err());
        let mut graph = StepGraph::new([step("a", 1, &["b"])]).unwrap();
        assert!(graph.add(step("b", 1, &["a"])).is_err());
        assert_eq!(seconds(graph.tail("a")), Some(1));
        assert_eq!(graph.tail("b"), None);
    }
}
