//! How much of an image has been moved, for whoever shows it.

/// Hears of bytes that go to a registry or come from it.
pub trait TransferProgress: Send + Sync {
    /// So many more bytes are to be moved.
    fn add_expected(&self, bytes: u64);

    /// So many more were moved.
    fn add_transferred(&self, bytes: u64);
}

/// Shows nothing.
pub struct NoProgress;

impl TransferProgress for NoProgress {
    fn add_expected(&self, _bytes: u64) {}

    fn add_transferred(&self, _bytes: u64) {}
}
