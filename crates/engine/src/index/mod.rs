//! Package indexes and `--find-links` locations: fetching their pages, reading what uv rejects, and choosing files where
//! uv cannot.

pub(crate) mod foreign_files;
pub(crate) mod legacy_candidates;
pub(crate) mod legacy_formats;
pub(crate) mod lenient_metadata;
pub(crate) mod lenient_pages;
pub(crate) mod local_pages;
pub(crate) mod locked_files;
pub(crate) mod metadata_digests;
pub(crate) mod page_links;
pub(crate) mod prefetch;
pub(crate) mod wheel_ranges;
