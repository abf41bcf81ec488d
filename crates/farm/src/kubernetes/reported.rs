//! The parts of an attempt that were reported, so that each is reported once.

use tokio::task::JoinHandle;
use wheelhouse_types::event::Wait;
use wheelhouse_types::{Event, Observer};

use crate::outcome::Place;

/// The reported parts of a running attempt.
#[derive(Default)]
pub(super) struct Reported {
    waiting: String,
    pub(super) place: Option<Place>,
    /// The pod whose log is shown, and the task that shows it.
    following: Option<(String, JoinHandle<()>)>,
}

impl Reported {
    /// Reports why a step waits, unless it was reported.
    pub(super) fn waiting(&mut self, package: &str, reason: String, observer: &dyn Observer) {
        if reason.is_empty() || self.waiting == reason {
            return;
        }
        observer.observe(&Event::BuildWaiting {
            package: package.to_owned(),
            wait: Wait::Farm {
                reason: reason.clone(),
            },
        });
        self.waiting = reason;
        self.place = None;
    }

    /// Records that it was reported where a step runs.
    pub(super) fn running(&mut self, place: Place) {
        self.place = Some(place);
        self.waiting.clear();
    }

    /// Shows the log of `pod` with the task that `start` starts, unless it is shown already.
    pub(super) fn follow(&mut self, pod: &str, start: impl FnOnce() -> JoinHandle<()>) {
        if self
            .following
            .as_ref()
            .is_none_or(|(shown, _)| shown != pod)
        {
            self.stop_following();
            self.following = Some((pod.to_owned(), start()));
        }
    }

    fn stop_following(&mut self) {
        if let Some((_, task)) = self.following.take() {
            task.abort();
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        self.stop_following();
    }
}
