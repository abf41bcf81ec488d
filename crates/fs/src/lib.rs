//! Access to the operating system that all crates share: files that users name, digests, locks, scratch directories,
//! removal, threads, and interruption by signals.

#![warn(missing_docs)]

pub mod digest;
pub mod input;
pub mod interruption;
pub mod locks;
pub mod remove;
pub mod scratch;
pub mod threads;
