//! The order in which build steps start: the step with the longest path of work after it comes first.
//!
//! A step asks for a slot once its build requirements are made. With more such steps than slots, the one at the head of
//! the longest chain of steps is started: the run cannot end before that chain does (list scheduling by critical path).
//!
//! [`StepGraph`] knows the steps of a plan and their expected durations, [`Queue`] decides, and [`Scheduler`] makes callers
//! wait for the decision.

mod graph;
mod queue;
mod scheduler;

pub use graph::{Cycle, ExpectedStep, LongerTail, StepGraph};
pub use queue::{Queue, Ticket};
pub use scheduler::{Scheduler, Slot};
