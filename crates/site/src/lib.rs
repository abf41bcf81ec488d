//! Renders wheelhouses as HTML pages for people: a list of the packages, a page of each package and each wheelhouse, and a
//! report in one file.
//!
//! [`Site::new`] parses everything once; rendering a page is a pure function. All links are relative to the paths `/`,
//! `/package/NAME/` and `/WHEELHOUSE/`, so the pages work below any path. The pages have no inline styles and scripts, as
//! [`CONTENT_SECURITY_POLICY`] demands, and the metadata of packages is escaped, bounded, and never a link to anything but a
//! web page.
//!
//! This crate knows nothing of HTTP.

#![warn(missing_docs)]

mod assets;
mod commands;
mod difference;
mod directory;
mod facts;
mod metadata;
mod model;
mod pages;
mod tags;
mod text;
mod treemap;

pub use assets::{Asset, CONTENT_SECURITY_POLICY, asset};
pub use commands::{LinkContext, ReportLocation};
pub use directory::read_directory;
pub use facts::{
    CheckCount, CheckOutcome, Finding, InvalidVerification, SiteFile, Verification,
    VerificationCheck, WheelhouseFacts,
};
pub use model::Site;
