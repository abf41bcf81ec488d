//! Stub; being written.
pub mod config;
pub mod publish;
pub mod store;
