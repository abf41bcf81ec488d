//! Hints for failures of the disk and the network.
//!
//! Errors of this process are recognized by their types, those of Git by its output, which is all that it gives.

use std::error::Error as StdError;
use std::io;

use uv_client::ErrorKind;
use wheelhouse_transport::error_chain;
use wheelhouse_types::Error;

const FREE_SPACE: &str =
    "Free some space there (`wheelhouse cache prune`), or name another place with --cache-dir.";
const MORE_TIME: &str = "Allow the server more time with --timeout SECONDS, or try again later.";
const CHECK_REDIRECTS: &str =
    "The response is not an index page; check whether the server redirects in a loop.";

/// Parts of Git's messages, each with a hint; the first match counts.
const GIT_HINTS: [(&[&str], &str); 6] = [
    (
        &["No space left on device", "Disk quota exceeded"],
        FREE_SPACE,
    ),
    (
        &[
            "certificate verification failed",
            "certificate problem",
            "certificate subject name",
        ],
        "Name the certificates to trust with --cert FILE, or the host with --trusted-host.",
    ),
    (
        &[
            "unexpected TLS packet",
            "wrong version number",
            "packet length",
        ],
        "The server does not use TLS at that port; check whether it is an `http:` URL.",
    ),
    (
        &["Could not resolve host"],
        "Check the spelling of the host, and the network. Name a proxy with --proxy or HTTPS_PROXY.",
    ),
    (
        &[
            "Couldn't connect",
            "Connection refused",
            "Connection reset",
            "tunnel",
        ],
        "Check that the server is up at this port. If a proxy is in use (--proxy, HTTPS_PROXY), check that, too.",
    ),
    (&["timed out", "timeout"], MORE_TIME),
];

/// Returns the hint for a failure of Git with this `message`.
pub(super) fn git_hint(message: &str) -> Option<&'static str> {
    let mut hints = GIT_HINTS.iter();
    hints.find_map(|(parts, hint)| {
        let mut parts = parts.iter();
        parts.any(|part| message.contains(part)).then_some(*hint)
    })
}

/// Returns whether `error` is due to a full disk or an exhausted quota.
pub(crate) fn is_storage_full(error: &(dyn StdError + 'static)) -> bool {
    io_kinds(error).any(|kind| {
        matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    })
}

fn io_kinds(error: &(dyn StdError + 'static)) -> impl Iterator<Item = io::ErrorKind> {
    let errors = error_chain(error).into_iter();
    errors.filter_map(|error| {
        let io = error.downcast_ref::<io::Error>();
        io.or_else(|| transparent_io(error)).map(io::Error::kind)
    })
}

/// Returns the I/O error in a variant of uv's that is transparent, so that it is not a source of its own.
fn transparent_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    if let Some(uv_virtualenv::Error::Io(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(uv_install_wheel::Error::Io(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(uv_cache::Error::Io(error)) = error.downcast_ref() {
        return Some(error);
    }
    let client = error.downcast_ref::<uv_client::Error>();
    let client = client.map(uv_client::Error::kind);
    match client.or_else(|| error.downcast_ref::<ErrorKind>()) {
        Some(ErrorKind::Io(error)) => Some(error),
        _ => None,
    }
}

/// Returns the hint for a failure of the disk or the network in the chain of `error`.
pub(crate) fn io_hint(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let chain = error_chain(error);
    let has_no_content_type = chain.iter().any(|error| {
        let client = error.downcast_ref::<uv_client::Error>();
        let kind = client.map(uv_client::Error::kind);
        let kind = kind.or_else(|| error.downcast_ref::<ErrorKind>());
        matches!(kind, Some(ErrorKind::MissingContentType(_)))
    });
    let timed_out = io_kinds(error).any(|kind| kind == io::ErrorKind::TimedOut)
        || chain.iter().any(|error| {
            let request = error.downcast_ref::<reqwest::Error>();
            request.is_some_and(reqwest::Error::is_timeout)
        });
    if is_storage_full(error) {
        Some(FREE_SPACE)
    } else if has_no_content_type {
        Some(CHECK_REDIRECTS)
    } else {
        timed_out.then_some(MORE_TIME)
    }
}

/// Adds a hint to `error` if it has none and its cause is a known failure of the disk or the network.
pub(crate) fn with_io_hint(error: Error) -> Error {
    match io_hint(&error) {
        Some(hint) if error.hint().is_none() => error.with_hint(hint),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::Kind;

    #[test]
    fn adds_hint_to_io_failure_without_one() {
        let failure = |kind| Error::new(Kind::Fetch, "a").caused_by(io::Error::from(kind));
        let hint = |error| with_io_hint(error).hint().map(ToOwned::to_owned);
        let full = || failure(io::ErrorKind::StorageFull);
        assert_eq!(hint(full()).as_deref(), Some(FREE_SPACE));
        assert_eq!(hint(full().with_hint("Own.")).as_deref(), Some("Own."));
        assert_eq!(
            hint(failure(io::ErrorKind::TimedOut)).as_deref(),
            Some(MORE_TIME)
        );
        assert_eq!(hint(failure(io::ErrorKind::NotFound)), None);
    }

    #[test]
    fn recognizes_messages_of_git() {
        let refused = "server certificate verification failed. CAfile: none";
        assert!(git_hint(refused).is_some_and(|hint| hint.contains("--cert")));
        assert_eq!(git_hint("repository not found"), None);
    }
}
