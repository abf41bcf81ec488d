//! Decides which of the waiting steps starts next. Has no clock and no threads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::graph::{Cycle, ExpectedStep, LongerTail, StepGraph};

/// The longest remaining path first; of equal ones, the step that asked first.
type Rank = (Reverse<Duration>, u64);

/// The steps that wait for a slot, and the number of slots that are free.
#[derive(Debug)]
pub struct Queue<T> {
    free: usize,
    /// The identity of each waiting step, and its waiter.
    waiting: BTreeMap<Rank, (String, T)>,
    graph: StepGraph,
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
            asked: 0,
        }
    }

    /// Adds a step to the graph by which steps are ranked, those that wait already, too.
    ///
    /// # Errors
    /// [`Cycle`] if the step would require itself. Nothing changes then.
    pub fn expect(&mut self, step: ExpectedStep) -> Result<(), Cycle> {
        for LongerTail { id, before } in self.graph.add(step)? {
            let equal = (Reverse(before), u64::MIN)..=(Reverse(before), u64::MAX);
            let waiting = self.waiting.range(equal);
            let ranks: Vec<Rank> = waiting
                .filter(|(_, (step, _))| *step == id)
                .map(|(rank, _)| *rank)
                .collect();
            for rank in ranks {
                if let Some(waiter) = self.waiting.remove(&rank) {
                    self.waiting.insert(self.rank(&id, rank.1), waiter);
                }
            }
        }
        Ok(())
    }

    /// Adds a step that can start. A step that is not expected starts after those that are.
    pub fn ask(&mut self, step: &str, waiter: T) -> Ticket {
        let ticket = Ticket {
            step: step.to_owned(),
            number: self.asked,
        };
        self.asked += 1;
        let rank = self.rank(step, ticket.number);
        self.waiting.insert(rank, (step.to_owned(), waiter));
        ticket
    }

    fn rank(&self, step: &str, number: u64) -> Rank {
        (Reverse(self.graph.tail(step).unwrap_or_default()), number)
    }

    /// Removes a step that waits no longer. Returns whether it was still waiting.
    pub fn forget(&mut self, ticket: &Ticket) -> bool {
        let rank = self.rank(&ticket.step, ticket.number);
        self.waiting.remove(&rank).is_some()
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

/// The place of a step in a [`Queue`], by which [`Queue::forget`] finds it.
#[derive(Clone, Debug)]
pub struct Ticket {
    step: String,
    number: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn step(id: &str, seconds: u64, requires: &[String]) -> ExpectedStep {
        ExpectedStep {
            id: id.to_owned(),
            duration: Duration::from_secs(seconds),
            requires: requires.to_vec(),
        }
    }

    fn queue(steps: &[(&str, u64)]) -> Queue<&'static str> {
        let mut queue = Queue::new(1);
        for &(id, seconds) in steps {
            queue.expect(step(id, seconds, &[])).unwrap();
        }
        queue
    }

    /// Returns the steps in the order in which they start, one after another.
    fn order(mut queue: Queue<&'static str>) -> Vec<&'static str> {
        let start = || {
            let started = queue.start()?;
            assert_eq!(queue.start(), None);
            queue.finish();
            Some(started)
        };
        std::iter::from_fn(start).collect()
    }

    #[test]
    fn starts_the_longest_path_first() {
        let mut queue = queue(&[("short", 1), ("long", 9), ("middle", 5)]);
        for step in ["short", "unexpected", "long", "middle"] {
            queue.ask(step, step);
        }
        assert_eq!(order(queue), ["long", "middle", "short", "unexpected"]);
    }

    #[test]
    fn new_step_ranks_steps_that_wait_already() {
        let mut queue = queue(&[("a", 2), ("b", 2), ("c", 2), ("d", 3)]);
        for step in ["a", "b", "c", "d", "late"] {
            queue.ask(step, step);
        }
        queue.expect(step("e", 2, &["c".to_owned()])).unwrap();
        queue.expect(step("late", 9, &[])).unwrap();
        assert_eq!(order(queue), ["late", "c", "d", "a", "b"]);
    }

    #[test]
    fn equal_steps_start_in_the_order_in_which_they_asked() {
        let mut queue = queue(&[]);
        for step in ["b", "a", "c"] {
            queue.ask(step, step);
        }
        assert_eq!(order(queue), ["b", "a", "c"]);
    }

    #[test]
    fn forgets_a_step_that_waits_no_longer() {
        let mut queue = queue(&[("first", 1), ("second", 1)]);
        let first = queue.ask("first", "first");
        queue.ask("second", "second");
        queue
            .expect(step("third", 1, &["first".to_owned()]))
            .unwrap();
        assert!(queue.forget(&first));
        assert!(!queue.forget(&first));
        assert_eq!(order(queue), ["second"]);
    }

    #[test]
    fn expects_thousands_of_steps_while_they_wait() {
        let started = Instant::now();
        let mut queue = Queue::new(8);
        for at in 0..20_000_u64 {
            let requires = match at {
                0..10 => Vec::new(),
                _ => vec![(at % 10).to_string(), (at / 2).to_string()],
            };
            let id = at.to_string();
            queue.expect(step(&id, at * 7919 % 100, &requires)).unwrap();
            queue.ask(&id, at);
        }
        // With work for each step that grows with the graph, this takes minutes.
        let passed = started.elapsed();
        assert!(passed < Duration::from_secs(20), "{passed:?}");
    }
}
