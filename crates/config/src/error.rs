//! Errors of this crate as errors of the program.

use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

/// A foreign error as one of ours. Its text may hold URLs with credentials.
pub(crate) fn input(error: impl std::error::Error) -> Error {
    Error::new(Kind::Input, sentence(error))
}

/// The message and those of all causes, without credentials.
pub(crate) fn sentence(error: impl std::error::Error) -> String {
    let mut cause = error.source();
    let mut sentence = error.to_string();
    while let Some(deeper) = cause {
        sentence = format!("{sentence}: {deeper}");
        cause = deeper.source();
    }
    redacted(&sentence)
}
