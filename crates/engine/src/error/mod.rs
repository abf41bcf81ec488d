//! Errors of the engine on their way through uv, and uv's errors as those of a run.
//!
//! A middleware or a build fails inside a call of uv, which wraps the error in its own. [`EngineError`] stays typed in that
//! chain, so that [`explain`] finds it again with its hint and details.

pub(crate) mod hints;
pub(crate) mod resolver_report;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use cargo_util::ProcessError;
use uv_distribution_types::IsBuildBackendError;
use wheelhouse_transport::{Unreachable, error_chain};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

use hints::{git_hint, io_hint, with_io_hint};

/// An error that passes through uv.
///
/// `thiserror`'s transparent variants and `anyhow` hide the outermost type from the chain of sources. So the error itself
/// is the source of this one.
#[derive(Clone, Debug)]
pub(crate) struct EngineError(Payload);

#[derive(Clone, Debug)]
enum Payload {
    Failed(Arc<Error>),
    Unreachable(Box<Unreachable>),
}

impl EngineError {
    pub(crate) fn new(error: Error) -> Self {
        Self(Payload::Failed(Arc::new(with_io_hint(error))))
    }

    pub(crate) fn unreachable(unreachable: Unreachable) -> Self {
        Self(Payload::Unreachable(Box::new(unreachable)))
    }

    /// Returns the server that was not reached, if that is the error.
    pub(crate) fn as_unreachable(&self) -> Option<&Unreachable> {
        match &self.0 {
            Payload::Unreachable(unreachable) => Some(unreachable),
            Payload::Failed(_) => None,
        }
    }

    pub(crate) fn to_error(&self) -> Error {
        self.0.to_error()
    }
}

impl Payload {
    fn to_error(&self) -> Error {
        match self {
            Self::Failed(error) => error.to_shared(),
            Self::Unreachable(unreachable) => unreachable.error(),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_error().display_chain())
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

// It has no source: uv would send a request again because of an I/O error in the chain.
impl StdError for Payload {}

impl uv_errors::Hint for EngineError {
    fn hints(&self) -> uv_errors::Hints<'_> {
        uv_errors::Hints::none()
    }
}

impl IsBuildBackendError for EngineError {
    fn is_build_backend_error(&self) -> bool {
        true
    }
}

/// Returns the [`EngineError`] in the chain of `error`.
pub(crate) fn find(error: &(dyn StdError + 'static)) -> Option<Error> {
    error_chain(error)
        .into_iter()
        .find_map(|error| error.downcast_ref::<Payload>())
        .map(Payload::to_error)
}

/// Converts an error of uv: into the [`EngineError`] or the failure of Git in its chain, else into one with `message`.
pub(crate) fn explain(error: &(dyn StdError + 'static), message: &str) -> Error {
    find(error).or_else(|| git_error(error)).unwrap_or_else(|| {
        let cause = redacted(&display_chain(error));
        let explained = Error::new(Kind::Fetch, redacted(message)).caused_by(cause);
        match io_hint(error) {
            Some(hint) => explained.with_hint(hint),
            None => explained,
        }
    })
}

/// Converts a failed Git command in the chain of `error`. The path of the clone in the cache and the command line are left
/// out.
fn git_error(error: &(dyn StdError + 'static)) -> Option<Error> {
    let process = error_chain(error)
        .into_iter()
        .find_map(|error| error.downcast_ref::<ProcessError>())?;
    let output = String::from_utf8_lossy(process.stderr.as_deref()?);
    let last = |prefix: &str| {
        let mut lines = output.lines().rev();
        lines.find_map(|line| line.strip_prefix(prefix))
    };
    let reason = last("fatal: ").or_else(|| last("error: "))?;
    let url = process
        .desc
        .split_whitespace()
        .map(|word| word.trim_matches('\''))
        .find(|word| word.contains("://"))
        .unwrap_or("a repository");
    // Git repeats the URL.
    let cause = reason.rsplit_once("': ").map_or(reason, |(_, cause)| cause);
    let message = format!("failed to fetch {}: Git says: {cause}", redacted(url));
    let mut error = Error::new(Kind::Fetch, message);
    if output.trim_end().lines().count() > 1 {
        error = error.with_detail(redacted(output.trim_end()));
    }
    Some(match git_hint(cause) {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

/// Joins the messages of `error` and its sources, each of them once.
fn display_chain(error: &(dyn StdError + 'static)) -> String {
    error_chain(error)
        .into_iter()
        .fold(String::new(), |text, error| {
            let message = error.to_string();
            match &*text {
                "" => message,
                text if text.contains(&message) => text.to_owned(),
                text => format!("{text}: {message}"),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_engine_error_behind_transparent_errors() {
        let hinted = Error::new(Kind::Build, "failed to build a").with_hint("Install it.");
        let build = uv_distribution::Error::Build(EngineError::new(hinted).into());
        let found = find(&build).unwrap();
        assert_eq!(found.kind(), Kind::Build);
        assert_eq!(found.hint(), Some("Install it."));
        let refused = EngineError::new(Error::new(Kind::Fetch, "a is refused"));
        let request = reqwest_middleware::Error::middleware(refused.clone());
        assert_eq!(find(&request).unwrap().display_chain(), "a is refused");
        let client =
            uv_client::Error::from(uv_client::ErrorKind::Io(std::io::Error::other(refused)));
        assert_eq!(find(&client).unwrap().display_chain(), "a is refused");
        assert!(find(&std::io::Error::other("something else")).is_none());
    }

    #[test]
    fn reports_git_failure_without_cache_path_and_command_line() {
        let process = ProcessError::new_raw(
            "process didn't exit successfully: `git fetch 'https://me:secret@host/a.git' '+HEAD:refs/remotes/origin/HEAD'`",
            Some(128),
            "exit status: 128",
            None,
            Some(b"fatal: unable to access 'https://host/a.git/': Could not resolve host: host\n"),
        );
        let error = anyhow::Error::from(process).context("failed to clone into: cache/git-v0/db/0");
        let error = uv_git::GitResolverError::Git(error);
        let error = explain(&error, "failed to check out a");
        assert_eq!(
            error.display_chain(),
            "failed to fetch https://****@host/a.git: Git says: Could not resolve host: host"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("--proxy")));
        assert!(git_error(&std::io::Error::other("Failed to fetch")).is_none());
    }
}
