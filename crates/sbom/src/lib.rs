//! Bills of materials of a wheelhouse.
//!
//! 1. [`Bill::read`] reads the metadata of the wheels of a manifest, and the bills of materials in them ([`bundled`], PEP 770).
//! 2. [`Bill::cyclonedx`] and [`Bill::spdx`] render it. The bytes depend only on the manifest, the wheels and the time that
//!    the caller passes.
//!
//! This crate writes nothing.

#![warn(missing_docs)]

mod bill;
mod bundled;
mod cyclonedx;
mod licenses;
mod purl;
mod spdx;

/// The name of a wheelhouse in its bill of materials, unless the caller has another.
pub const WHEELHOUSE_NAME: &str = "wheelhouse";

pub use bill::Bill;
pub use cyclonedx::MEDIA_TYPE as CYCLONEDX_MEDIA_TYPE;
