//! The exit codes documented in `docs/reference/exit-codes.md`.

use wheelhouse_types::Kind;

/// Success.
pub const SUCCESS: u8 = 0;
/// Wrong usage, or an input that cannot be read.
pub const INPUT: u8 = 2;
/// No set of versions satisfies the request.
pub const RESOLUTION: u8 = 3;
/// A file could not be fetched, or was not the expected file.
pub const FETCH: u8 = 4;
/// A wheel could not be built.
pub const BUILD: u8 = 5;
/// The verification of a wheelhouse failed.
pub const VERIFICATION: u8 = 6;
/// The result could not be written or published.
pub const PUBLISH: u8 = 7;
/// The run was interrupted by SIGINT or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// Returns the exit code for a kind of error.
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

/// Returns the name of a kind of error in JSON output.
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
