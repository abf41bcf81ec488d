//! The solution of one resolution.

use uv_distribution_types::Resolution;
use uv_resolver::InMemoryIndex;

/// The solution of a resolution.
pub(crate) struct Solution {
    pub(crate) resolution: Resolution,
    /// The metadata of all versions that were considered.
    pub(crate) index: InMemoryIndex,
}
