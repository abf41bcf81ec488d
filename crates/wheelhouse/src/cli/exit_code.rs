//! Exit codes, as `docs/reference/exit-codes.md` promises them.
//!
//! Responsible for the one place where a kind of failure becomes a number. Never ends the process.

use wheelhouse_types::Kind;

/// All went well.
pub const SUCCESS: u8 = 0;
/// Wrong usage, or an input that cannot be read.
pub const INPUT: u8 = 2;
/// No set of versions satisfies the request.
pub const RESOLUTION: u8 = 3;
/// A file could not be fetched, or was not what it should be.
pub const FETCH: u8 = 4;
/// A wheel could not be built.
pub const BUILD: u8 = 5;
/// A check of a finished wheelhouse failed.
pub const VERIFICATION: u8 = 6;
/// The result could not be written or published.
pub const PUBLISH: u8 = 7;
/// SIGINT or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a failure.
#[must_use]
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Input => INPUT,
        Kind::Resolution => RESOLUTION,
        Kind::Fetch => FETCH,
        Kind::Build => BUILD,
        Kind::Verification => VERIFICATION,
        Kind::Publish => PUBLISH,
        Kind::Interrupted => INTERRUPTED,
    }
}

/// The name of a kind of failure, for programs.
#[must_use]
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input",
        Kind::Resolution => "resolution",
        Kind::Fetch => "fetch",
        Kind::Build => "build",
        Kind::Verification => "verification",
        Kind::Publish => "publish",
        Kind::Interrupted => "interrupted",
    }
}
