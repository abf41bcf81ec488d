//! Servers that were not reached: one sentence with the cause, and a hint.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use url::Url;
use webpki::Error as WebpkiError;
use wheelhouse_types::limits::TooSlow;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

use crate::certificates::NoAuthorities;

/// A server that was not reached, or closed the connection before it responded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to reach {url}: {cause}")]
pub struct Unreachable {
    url: String,
    /// `host:port`
    host: String,
    cause: UnreachableCause,
}

/// The kind of a server, which decides which options a hint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A Python package index.
    Index,
    /// An image registry.
    Registry,
}

#[derive(Clone, Debug, thiserror::Error)]
enum UnreachableCause {
    #[error("its certificate is self-signed and not trusted")]
    SelfSigned,
    #[error("its certificate is from an authority that is not trusted")]
    UnknownIssuer,
    #[error("its certificate is for {for_names}, not for {name}")]
    OtherName { name: String, for_names: String },
    #[error("its certificate expired on {0}")]
    Expired(String),
    #[error("its certificate is valid from {0} on")]
    NotYetValid(String),
    #[error("its certificate is not valid ({0})")]
    InvalidCertificate(String),
    #[error("this machine has no certificates of authorities ({0})")]
    NoAuthorities(String),
    #[error("it requires a client certificate")]
    WantsCertificate,
    #[error("it does not use TLS at this port")]
    WithoutTls,
    #[error("TLS failed ({0})")]
    Tls(String),
    #[error("the name of its host cannot be looked up (DNS)")]
    UnknownHost,
    #[error("the proxy did not connect ({0})")]
    Proxy(String),
    #[error("the connection was refused")]
    Refused,
    #[error("the connection was closed before an answer came")]
    Closed,
    #[error("it did not answer in time")]
    TimedOut,
    #[error(transparent)]
    TooSlow(TooSlow),
    #[error("it redirects in a loop")]
    RedirectLoop,
    #[error("{0}")]
    Other(String),
}

impl Unreachable {
    /// Finds the cause in the `error` of a request for `url`.
    #[must_use]
    pub fn new(url: &Url, error: &(dyn StdError + 'static)) -> Self {
        let name = url.host_str().unwrap_or_default();
        let host = match url.port_or_known_default() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        Self {
            url: redacted(url.as_str()),
            cause: UnreachableCause::of(error),
            host,
        }
    }

    /// Returns whether a retry may succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            &self.cause,
            UnreachableCause::UnknownHost
                | UnreachableCause::Proxy(_)
                | UnreachableCause::Refused
                | UnreachableCause::Closed
                | UnreachableCause::TimedOut
                | UnreachableCause::TooSlow(_)
                | UnreachableCause::Other(_)
        )
    }

    /// Returns whether the server uses TLS, but a certificate was rejected.
    #[must_use]
    pub fn is_about_certificates(&self) -> bool {
        matches!(
            self.cause,
            UnreachableCause::SelfSigned
                | UnreachableCause::UnknownIssuer
                | UnreachableCause::OtherName { .. }
                | UnreachableCause::Expired(_)
                | UnreachableCause::NotYetValid(_)
                | UnreachableCause::InvalidCertificate(_)
                | UnreachableCause::NoAuthorities(_)
                | UnreachableCause::WantsCertificate
        )
    }

    /// Returns the cause alone.
    #[must_use]
    pub fn cause(&self) -> String {
        self.cause.to_string()
    }

    /// Returns a hint for the cause.
    #[must_use]
    pub fn hint(&self, peer: Peer) -> Option<String> {
        let unchecked = match peer {
            Peer::Index => format!("`--trusted-host {}`", self.host),
            Peer::Registry => "`--insecure`".to_owned(),
        };
        Some(match &self.cause {
            UnreachableCause::SelfSigned => format!(
                "If it is the right server, name its certificate with `--cert FILE`. With {unchecked} no certificate is checked."
            ),
            UnreachableCause::UnknownIssuer | UnreachableCause::InvalidCertificate(_) => format!(
                "Name the certificate of its authority with `--cert FILE`. With {unchecked} no certificate is checked."
            ),
            UnreachableCause::OtherName { .. } => format!(
                "Name the server as its certificate does. With {unchecked} no certificate is checked."
            ),
            UnreachableCause::Expired(_) | UnreachableCause::NotYetValid(_) => format!(
                "Check the clock of this machine, and have the certificate renewed. With {unchecked} no certificate is checked."
            ),
            UnreachableCause::NoAuthorities(_) => {
                "Install the system's package `ca-certificates`, or name a file of certificates with `--cert FILE`.".to_owned()
            }
            UnreachableCause::WantsCertificate => {
                "Name a client certificate with `--client-cert FILE`.".to_owned()
            }
            UnreachableCause::WithoutTls => match peer {
                Peer::Index => "Begin the URL with http: if it is a server without TLS.".to_owned(),
                Peer::Registry => "Pass `--insecure` if it is a registry without TLS.".to_owned(),
            },
            UnreachableCause::UnknownHost => "Check the spelling of the host, and the network. Name a proxy with --proxy or HTTPS_PROXY.".to_owned(),
            UnreachableCause::Proxy(_) => "Check the proxy, which --proxy or HTTPS_PROXY names.".to_owned(),
            UnreachableCause::Refused => "Check that the server is up at this port. If a proxy is in use (--proxy, HTTPS_PROXY), check that, too.".to_owned(),
            UnreachableCause::Closed if peer == Peer::Index && self.url.starts_with("http:") => {
                "Begin the URL with https: if it is a server with TLS.".to_owned()
            }
            UnreachableCause::TimedOut => "Allow the server more time with --timeout SECONDS. If it is behind a proxy, name that with --proxy.".to_owned(),
            UnreachableCause::Closed
            | UnreachableCause::TooSlow(_)
            | UnreachableCause::Tls(_)
            | UnreachableCause::RedirectLoop
            | UnreachableCause::Other(_) => return None,
        })
    }

    /// Returns the error of a run that needs what an index has.
    #[must_use]
    pub fn error(&self) -> Error {
        let error = Error::new(Kind::Fetch, self.to_string());
        match self.hint(Peer::Index) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl UnreachableCause {
    fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut known = None;
        let mut last = error.to_string();
        for error in error_chain(error) {
            last = error.to_string();
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::of_tls(error);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                let inner = error.get_ref();
                if let Some(slow) = inner.and_then(|inner| inner.downcast_ref::<TooSlow>()) {
                    return Self::TooSlow(*slow);
                }
                known = known.or(Self::of_io(error.kind()));
            }
            if let Some(error) = error.downcast_ref::<reqwest::Error>() {
                if error.is_redirect() {
                    return Self::RedirectLoop;
                }
                if error.is_timeout() {
                    known = known.or(Some(Self::TimedOut));
                }
            }
            // These errors of hyper have private types.
            if last.starts_with("dns error") {
                return Self::UnknownHost;
            }
            if last.starts_with("tunnel error") {
                known = known.or_else(|| Some(Self::Proxy(redacted(&last))));
            }
            if last.starts_with("connection closed before message completed") {
                known = known.or(Some(Self::Closed));
            }
        }
        known.unwrap_or_else(|| Self::Other(redacted(&last)))
    }

    fn of_io(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            io::ErrorKind::TimedOut => Some(Self::TimedOut),
            _ => None,
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::WithoutTls,
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                Self::WantsCertificate
            }
            other => Self::Tls(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::OtherName {
                name: match expected {
                    ServerName::DnsName(name) => format!("`{}`", name.as_ref()),
                    ServerName::IpAddress(address) => {
                        format!("`{}`", std::net::IpAddr::from(*address))
                    }
                    other => format!("{other:?}"),
                },
                for_names: match &presented[..] {
                    [] => "no name".to_owned(),
                    names => names
                        .iter()
                        .map(|name| format!("`{}`", bare(name)))
                        .collect::<Vec<_>>()
                        .join(", "),
                },
            },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(date(*not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(date(*not_before))
            }
            CertificateError::Other(other)
                if other.0.downcast_ref() == Some(&WebpkiError::CaUsedAsEndEntity) =>
            {
                Self::SelfSigned
            }
            CertificateError::Other(other) if let Some(error) = other.0.downcast_ref() => {
                let error: &NoAuthorities = error;
                Self::NoAuthorities(error.to_string())
            }
            other => Self::InvalidCertificate(other.to_string()),
        }
    }
}

/// Returns `error` and its sources, including those inside [`io::Error`]s, whose `source` skips the wrapped error itself.
#[must_use]
pub fn error_chain<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| next_error(*error)).collect()
}

fn next_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match inner {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// `other.example` of `DnsName("other.example")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or_default();
    let timestamp = Timestamp::from_second(seconds).unwrap_or_default();
    timestamp.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_cause_inside_io_error() {
        let url = Url::parse("https://me:secret@host/simple/a/").unwrap();
        let inner = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let error = io::Error::other(io::Error::other(inner));
        let unreachable = Unreachable::new(&url, &error);
        assert_eq!(
            unreachable.to_string(),
            "failed to reach https://****@host/simple/a/: it does not use TLS at this port"
        );
        assert!(!unreachable.is_passing());
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(Unreachable::new(&url, &refused).is_passing());
    }

    #[test]
    fn hint_names_server() {
        let url = Url::parse("https://host/simple/a/").unwrap();
        let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let unreachable = Unreachable::new(&url, &error);
        let hint = |peer| unreachable.hint(peer).unwrap();
        assert!(hint(Peer::Index).contains("`--trusted-host host:443`"));
        assert!(hint(Peer::Registry).contains("`--insecure`"));
    }
}
