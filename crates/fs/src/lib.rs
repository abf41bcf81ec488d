//! Files of the user, locks, temporary files, threads, and ending early.

pub mod digest;
pub mod input;
pub mod interruption;
pub mod locks;
pub mod scratch;
pub mod threads;
