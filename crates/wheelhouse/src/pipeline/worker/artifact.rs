//! The seam between a plan and the machine that makes its wheels.

use futures::future::LocalBoxFuture;
use wheelhouse_store::{BuildRecord, StoredFile};
use wheelhouse_types::{Distribution, Outcome, Result, Sha256};

/// Makes the wheels of distributions.
pub trait Worker {
    /// Returns the wheel of `distribution`, which is in the store and checked afterwards. The first call
    /// for a distribution makes the wheel or finds it in the store, further calls await the same wheel.
    fn make<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<WheelArtifact>>;

    /// Makes the wheel of `distribution` again, because the store has lost the one that was made.
    fn remake<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<WheelArtifact>>;

    /// Returns whether this run has begun to make the wheel of `distribution`.
    fn has_begun(&self, distribution: &Distribution) -> bool;
}

/// A wheel in the store.
#[derive(Clone, Debug)]
pub struct WheelArtifact {
    /// The file in the cache.
    pub stored: StoredFile,
    /// The file name.
    pub filename: String,
    /// The way in which the wheel was obtained.
    pub outcome: Outcome,
    /// The record of its build, in this run or an earlier one, unless it was published as a wheel.
    pub built: Option<BuildRecord>,
    /// The digest of the sdist that it was built from.
    pub sdist: Option<Sha256>,
}
