//! Measures the network traffic of a run.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The received bytes, and the time during which at least one download was active.
#[derive(Default)]
pub(super) struct Traffic(RefCell<Totals>);

#[derive(Default)]
struct Totals {
    bytes: u64,
    time: Duration,
    active: usize,
    since: Option<Instant>,
}

impl Traffic {
    pub(super) fn start(&self) {
        let mut totals = self.0.borrow_mut();
        totals.active += 1;
        totals.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn stop(&self) {
        let mut totals = self.0.borrow_mut();
        totals.active -= 1;
        if totals.active == 0 {
            let elapsed = totals.since.take().map(|since| since.elapsed());
            totals.time += elapsed.unwrap_or_default();
        }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.borrow_mut().bytes += bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.borrow().bytes
    }

    pub(super) fn time(&self) -> Duration {
        self.0.borrow().time
    }
}
