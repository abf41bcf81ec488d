//! Stub; being written.
pub mod archive;
pub mod config;
pub mod publish;
pub mod store;
