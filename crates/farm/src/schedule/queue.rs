//! Decides which of the waiting steps starts next. Has no clock and no threads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::graph::StepGraph;

/// The longest remaining path first; of equal ones, the step that asked first.
type Rank = (Reverse<Duration>, u64);

/// The steps that wait for a slot, and the number of slots that are free.
#[derive(Debug)]
pub struct Queue<T> {
    free: usize,
    /// The identity of each waiting step, and its waiter.
    waiting: BTreeMap<Rank, (String, T)>,
    graph: StepGraph,
    /// The expected path of a step that the graph does not contain.
    unknown: Duration,
    asked: u64,
}

impl<T> Queue<T> {
    /// Creates a queue with `slots` free slots, at least one.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self {
            free: slots.max(1),
            waiting: BTreeMap::new(),
            graph: StepGraph::default(),
            unknown: Duration::ZERO,
            asked: 0,
        }
    }

    /// Ranks all steps by `graph`, those that wait already, too. A step that it does not contain ranks as an average one:
    /// builds during a resolution start before the plan is known.
    pub fn plan(&mut self, graph: StepGraph) {
        let count = u32::try_from(graph.steps().len()).unwrap_or(u32::MAX);
        self.unknown = graph.work().checked_div(count).unwrap_or_default();
        self.graph = graph;
        for ((_, asked), (step, waiter)) in std::mem::take(&mut self.waiting) {
            let rank = (Reverse(self.path(&step)), asked);
            self.waiting.insert(rank, (step, waiter));
        }
    }

    /// Adds a step that can start, and returns the number by which [`Queue::forget`] finds it.
    pub fn ask(&mut self, step: &str, waiter: T) -> Ticket {
        let ticket = Ticket(self.asked);
        self.asked += 1;
        let rank = (Reverse(self.path(step)), ticket.0);
        self.waiting.insert(rank, (step.to_owned(), waiter));
        ticket
    }

    fn path(&self, step: &str) -> Duration {
        self.graph.tail(step).unwrap_or(self.unknown)
    }

    /// Removes a step that waits no longer. Returns whether it was still waiting.
    pub fn forget(&mut self, ticket: Ticket) -> bool {
        let mut waiting = self.waiting.keys();
        let rank = waiting.find(|(_, asked)| *asked == ticket.0).copied();
        rank.and_then(|rank| self.waiting.remove(&rank)).is_some()
    }

    /// Returns the waiter of the step that starts now, which takes a slot, if one is free and a step waits.
    pub fn start(&mut self) -> Option<T> {
        if self.free == 0 {
            return None;
        }
        let (_, (_, waiter)) = self.waiting.pop_first()?;
        self.free -= 1;
        Some(waiter)
    }

    /// Gives back the slot of a step that ended.
    pub fn finish(&mut self) {
        self.free += 1;
    }
}

/// The place of a step in a [`Queue`].
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

#[cfg(test)]
mod tests {
    use super::super::graph::ExpectedStep;
    use super::*;

    fn graph(steps: &[(&str, u64)]) -> StepGraph {
        StepGraph::new(steps.iter().map(|&(id, seconds)| ExpectedStep {
            id: id.to_owned(),
            duration: Duration::from_secs(seconds),
            requires: Vec::new(),
        }))
        .unwrap()
    }

    #[test]
    fn starts_the_longest_path_first() {
        let mut queue = Queue::new(2);
        queue.plan(graph(&[("short", 1), ("long", 9), ("middle", 5)]));
        for step in ["short", "unknown", "long", "middle"] {
            queue.ask(step, step);
        }
        assert_eq!(queue.start(), Some("long"));
        assert_eq!(queue.start(), Some("unknown"));
        assert_eq!(queue.start(), None);
        queue.finish();
        assert_eq!(queue.start(), Some("middle"));
        queue.finish();
        assert_eq!(queue.start(), Some("short"));
        queue.finish();
        assert_eq!(queue.start(), None);
    }

    #[test]
    fn new_plan_ranks_steps_that_wait_already() {
        let mut queue = Queue::new(1);
        let first = queue.ask("a", "a");
        queue.ask("b", "b");
        queue.plan(graph(&[("a", 1), ("b", 2), ("c", 3)]));
        queue.ask("c", "c");
        assert_eq!(queue.start(), Some("c"));
        queue.finish();
        assert_eq!(queue.start(), Some("b"));
        queue.finish();
        assert!(queue.forget(first));
        assert_eq!(queue.start(), None);
    }

    #[test]
    fn equal_steps_start_in_the_order_in_which_they_asked() {
        let mut queue = Queue::new(1);
        for step in ["b", "a", "c"] {
            queue.ask(step, step);
        }
        let mut order = Vec::new();
        while let Some(step) = queue.start() {
            order.push(step);
            queue.finish();
        }
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn forgets_a_step_that_waits_no_longer() {
        let mut queue = Queue::new(1);
        let first = queue.ask("first", "first");
        queue.ask("second", "second");
        assert!(queue.forget(first));
        assert!(!queue.forget(first));
        assert_eq!(queue.start(), Some("second"));
    }
}
