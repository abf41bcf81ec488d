//! Build steps on other machines: the order in which they start, and the Kubernetes Jobs that carry them out.
//!
//! 1. [`schedule`] decides which of the steps that are ready starts next.
//! 2. A [`StepRunner`] carries out a [`BuildStep`](wheelhouse_types::step::BuildStep) whose inputs are in a shared cache, and
//!    leaves the wheel and the record of its build there.
//! 3. [`Kubernetes`] runs each step as a Job with `wheelhouse worker`, [`Processes`] as a process of this machine.
//!
//! This crate knows nothing of indexes, of the store and of building itself.

#![warn(missing_docs)]

pub mod config;
pub mod job;
mod kubernetes;
pub mod outcome;
mod processes;
mod quantity;
mod runner;
pub mod schedule;
#[cfg(test)]
mod testing;
pub mod worker_output;

pub use config::FarmConfig;
pub use kubernetes::{Cleanup, Connection, Kubernetes};
pub use processes::Processes;
pub use quantity::Memory;
pub use runner::StepRunner;
