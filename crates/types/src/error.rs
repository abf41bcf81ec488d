//! Errors: a message that names the object, an optional hint, a cause, and a kind.

use std::error::Error as StdError;
use std::fmt;

/// Any failure of a run. The chain of messages reads as one sentence, `error: A: B: C`.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    detail: Option<String>,
    log: Option<Box<str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result whose failure is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of a failure; each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Wrong usage, or an input that cannot be read.
    Input,
    /// No set of versions satisfies the request.
    Resolution,
    /// A file could not be fetched, or was not what it should be.
    Fetch,
    /// A wheel could not be built.
    Build,
    /// A check of a finished wheelhouse failed.
    Verification,
    /// The result could not be written or published.
    Publish,
    /// The run was interrupted.
    Interrupted,
}

impl Error {
    /// Creates an error whose `message` is a lower-case fragment that names the thing it is about.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            detail: None,
            log: None,
            source: None,
        }
    }

    /// Adds what the user can do about it: a sentence without the word "hint". Options are
    /// written as on the command line; where there is none, the renderer puts them into other words.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines to be shown below the message, such as the end of a build's output.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds more of the end of a failed build's log than the detail has, for places where its file is lost.
    #[must_use]
    pub fn with_log(mut self, end: impl Into<Box<str>>) -> Self {
        self.log = Some(end.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the class of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Puts every text of this error and its causes through `rewrite`.
    #[must_use]
    pub fn rewritten(&self, rewrite: impl Fn(&str) -> String) -> Self {
        let rewrite_all = |text: Option<&str>| text.map(&rewrite);
        Self {
            kind: self.kind,
            message: rewrite(&self.display_chain()),
            hint: rewrite_all(self.hint()),
            detail: rewrite_all(self.detail()),
            log: rewrite_all(self.log()).map(Into::into),
            source: None,
        }
    }

    /// Returns the hint of this error, or the nearest one among its causes.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| self.cause()?.hint())
    }

    /// Creates an error with the same kind, words, hint, detail and log, for a second caller that waits for it.
    #[must_use]
    pub fn to_shared(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.display_chain(),
            hint: self.hint().map(ToOwned::to_owned),
            detail: self.detail().map(ToOwned::to_owned),
            log: self.log().map(Into::into),
            source: None,
        }
    }

    /// Returns the detail of this error, or the nearest one among its causes.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref().or_else(|| self.cause()?.detail())
    }

    /// Returns the end of the log of this error, or the nearest one among its causes.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref().or_else(|| self.cause()?.log())
    }

    fn cause(&self) -> Option<&Self> {
        let source: &(dyn StdError + 'static) = self.source.as_deref()?;
        source.downcast_ref()
    }

    /// Returns the message and those of all causes, joined with `: `; a message that is already contained is left out.
    #[must_use]
    pub fn display_chain(&self) -> String {
        display_chain(self)
    }
}

/// Returns the message of `error` and those of all causes, joined with `: `; a message that is already contained is left out.
#[must_use]
pub fn display_chain(error: &dyn StdError) -> String {
    let mut sentence = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        next = cause.source();
    }
    sentence
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Turns a foreign error into ours by saying what was being done.
pub trait Context<T> {
    /// Wraps the failure with `kind` and `message`.
    ///
    /// # Errors
    /// Whatever `self` failed with.
    fn context(self, kind: Kind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: Kind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(kind, message()).caused_by(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_one_sentence() {
        let cause = Error::new(Kind::Fetch, "status 500").with_hint("Try again.");
        let error = Error::new(Kind::Fetch, "failed to fetch example").caused_by(cause);
        assert_eq!(error.display_chain(), "failed to fetch example: status 500");
        assert_eq!(error.hint(), Some("Try again."));
    }
}
