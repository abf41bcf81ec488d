//! How much of an image has been moved, for whoever shows it.

/// Hears of bytes that go to a registry or come from it.
pub trait Progress: Send + Sync {
    /// So many more bytes are to be moved.
    fn expect(&self, bytes: u64);

    /// So many more were moved.
    fn moved(&self, bytes: u64);
}

/// Shows nothing.
pub struct NoProgress;

impl Progress for NoProgress {
    fn expect(&self, _bytes: u64) {}

    fn moved(&self, _bytes: u64) {}
}
