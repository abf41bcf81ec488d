//! What to do about failures of the disk and the network, where uv leaves only words of them.
//!
//! Responsible for knowing them by these words, which are the operating system's and the libraries'.
//! Never replaces advice that an error has already.

use wheelhouse_types::Error;

/// What the operating system calls a disk without room.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Words of failures and what to do then; the first that fits counts. Those about the network are Git's: what our own
/// clients meet is an [`Unreachable`](wheelhouse_transport::Unreachable).
const REMEDIES: [(&[&str], &str); 7] = [
    (
        &FULL,
        "Free some space there (`wheelhouse cache prune`), or name another place with --cache-dir.",
    ),
    (
        &[
            "certificate verification failed",
            "certificate inputs",
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
        "The server does not speak TLS at that port: is it an `http:` URL?",
    ),
    // What uv makes of a redirect that it does not follow any more.
    (
        &["Missing `Content-Type` header"],
        "That is no index page; the server may redirect in a circle.",
    ),
    (
        &["Could not resolve host"],
        "Check how the host is spelt, and the network. A proxy is named with --proxy or HTTPS_PROXY.",
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
    (
        &["timed out", "timeout"],
        "Give the server more time with --timeout SECONDS, or try again later.",
    ),
];

/// Whether `text`, of an error and its causes, tells of a full disk.
pub(crate) fn is_full(text: &str) -> bool {
    FULL.iter().any(|words| text.contains(words))
}

/// What to do about the failure that `text` tells of, if it is a known one.
pub(crate) fn remedy(text: &str) -> Option<&'static str> {
    let fits = |words: &&(&[&str], &str)| words.0.iter().any(|words| text.contains(words));
    REMEDIES.iter().find(fits).map(|(_, remedy)| *remedy)
}

/// Says what to do, if that is known and `error` does not say so itself.
pub(crate) fn with_remedy(error: Error) -> Error {
    match remedy(&error.display_chain()) {
        Some(remedy) if error.hint().is_none() => error.with_hint(remedy),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::Kind;

    #[test]
    fn known_failures_without_advice_get_some() {
        let failure = |words: &str| Error::new(Kind::Fetch, "a").caused_by(words);
        let hint = |error: Error| with_remedy(error).hint().map(ToOwned::to_owned);
        let full = || failure("No space left on device (os error 28)");
        assert!(hint(full()).is_some_and(|hint| hint.contains("--cache-dir")));
        assert_eq!(hint(full().with_hint("Own.")).as_deref(), Some("Own."));
        let refused = failure("server certificate verification failed. CAfile: none");
        assert!(hint(refused).is_some_and(|hint| hint.contains("--cert")));
        assert_eq!(hint(failure("b")), None);
    }
}
