//! Conversion of this crate's errors to the program's error type.

use wheelhouse_types::error::display_chain;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

/// Converts an error. Its text may contain URLs with credentials, which are removed.
pub(crate) fn input(error: impl std::error::Error) -> Error {
    Error::new(Kind::Input, sentence(error))
}

/// Joins the message with those of all causes, without credentials.
pub(crate) fn sentence(error: impl std::error::Error) -> String {
    redacted(&display_chain(&error))
}
