//! The checks of a verification, one per file.

pub(super) mod attestations;
pub(super) mod completeness;
pub(super) mod external_lock;
pub(super) mod files;
pub(super) mod imports;
pub(super) mod index;
pub(super) mod install;
pub(super) mod lock;
pub(super) mod sdists;
pub(super) mod signatures;
pub(super) mod wheels;
