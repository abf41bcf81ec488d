//! Makes the callers of a [`Queue`] wait until their step may start.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::graph::{Cycle, ExpectedStep};
use super::queue::{Queue, Ticket};

/// Gives slots to steps, by the order of [`Queue`]. Clones share the slots.
#[derive(Clone, Debug)]
pub struct Scheduler {
    queue: Arc<Mutex<Queue<oneshot::Sender<Slot>>>>,
}

/// Permits a step to run, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    scheduler: Scheduler,
}

impl Scheduler {
    /// Creates a scheduler that runs `slots` steps at a time, at least one.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self {
            queue: Arc::new(Mutex::new(Queue::new(slots))),
        }
    }

    /// Adds a step to the graph by which steps are ranked, those that wait for a slot already, too.
    ///
    /// # Errors
    /// [`Cycle`] if the step would require itself. Nothing changes then.
    pub fn expect(&self, step: ExpectedStep) -> Result<(), Cycle> {
        self.with_queue(|queue| queue.expect(step))
    }

    /// Waits until the step `id` may run. Its build requirements must be made: a step that waits for others must not hold
    /// a slot.
    pub async fn slot(&self, id: &str) -> Slot {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.with_queue(|queue| queue.ask(id, sender));
        self.start_waiting();
        let waiting = Waiting {
            scheduler: self,
            ticket,
        };
        let slot = receiver.await;
        drop(waiting);
        slot.unwrap_or_else(|_| unreachable!("the queue drops no step that waits"))
    }

    /// Starts as many waiting steps as there are free slots. A step whose caller no longer waits gives its slot back.
    fn start_waiting(&self) {
        while let Some(waiter) = self.with_queue(Queue::start) {
            let slot = Slot {
                scheduler: self.clone(),
            };
            // The slot that a caller does not take is dropped here, outside the lock.
            drop(waiter.send(slot));
        }
    }

    fn with_queue<R>(&self, work: impl FnOnce(&mut Queue<oneshot::Sender<Slot>>) -> R) -> R {
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.scheduler.with_queue(Queue::finish);
        self.scheduler.start_waiting();
    }
}

/// A place in the queue, which is given up if the caller stops waiting.
struct Waiting<'a> {
    scheduler: &'a Scheduler,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.scheduler
            .with_queue(|queue| queue.forget(&self.ticket));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn runs_as_many_steps_as_there_are_slots() {
        let scheduler = Scheduler::new(2);
        let first = scheduler.slot("a").await;
        let _second = scheduler.slot("b").await;
        assert!(scheduler.slot("c").now_or_never().is_none());
        drop(first);
        assert!(scheduler.slot("c").now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_caller_that_stops_waiting_loses_no_slot() {
        let scheduler = Scheduler::new(1);
        let slot = scheduler.slot("a").await;
        let mut waiting = Box::pin(scheduler.slot("b"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(slot);
        // The slot was sent, but not taken.
        drop(waiting);
        assert!(scheduler.slot("c").now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_longest_path_goes_first() {
        let scheduler = Scheduler::new(1);
        let step = |id: &str, seconds| ExpectedStep {
            id: id.to_owned(),
            duration: Duration::from_secs(seconds),
            requires: Vec::new(),
        };
        scheduler.expect(step("short", 1)).unwrap();
        scheduler.expect(step("long", 9)).unwrap();
        let slot = scheduler.slot("first").await;
        let mut short = Box::pin(scheduler.slot("short"));
        let mut long = Box::pin(scheduler.slot("long"));
        assert!(short.as_mut().now_or_never().is_none());
        assert!(long.as_mut().now_or_never().is_none());
        drop(slot);
        assert!(short.as_mut().now_or_never().is_none());
        let long = long.as_mut().now_or_never();
        assert!(long.is_some());
        drop(long);
        assert!(short.now_or_never().is_some());
    }
}
