//! Progress of transfers from and to registries.

/// Observes the progress of transfers.
pub trait TransferProgress: Send + Sync {
    /// Adds `bytes` to the expected size of all transfers.
    fn add_expected(&self, bytes: u64);

    /// Adds `bytes` to the number of transferred bytes.
    fn add_transferred(&self, bytes: u64);
}

/// Ignores all progress.
pub struct NoProgress;

impl TransferProgress for NoProgress {
    fn add_expected(&self, _bytes: u64) {}

    fn add_transferred(&self, _bytes: u64) {}
}
