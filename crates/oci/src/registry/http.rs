//! HTTP connections to registries: TLS, redirects, retries and limits.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;
use wheelhouse_transport::{ClientOptions, Peer, Unreachable, secure_redirects};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::limits::{self, Excess, Rate, TooSlow};
use wheelhouse_types::{Error, Kind, Result, retry};

use super::access::Access;

/// Creates a client for the registry itself.
pub(super) fn client(access: &Access) -> Result<Client> {
    client_with(access, HeaderMap::new())
}

/// Creates a client that sends `headers` with each request, but credentials among them not to other hosts. It follows
/// redirects unless they lead from a server with TLS to one without.
///
/// # Errors
/// [`Kind::Input`] if the certificates cannot be read or the proxy is not valid.
pub fn client_with(access: &Access, headers: HeaderMap) -> Result<Client> {
    options(access).client(secure_redirects(5), |builder| {
        builder.default_headers(headers)
    })
}

/// Creates a client for token servers. It follows no redirects, because its requests carry credentials.
pub(super) fn token_client(access: &Access) -> Result<Client> {
    options(access).client(redirect::Policy::none(), |builder| builder)
}

fn options(access: &Access) -> ClientOptions<'_> {
    ClientOptions {
        connect_timeout: access.timeout.min(Duration::from_secs(15)),
        read_timeout: access.timeout,
        certificates: access.certificates.as_deref(),
        insecure: access.insecure,
        proxy: access.proxy.as_deref(),
    }
}

/// Determines the URL of the registry at `host`: HTTPS, or the protocol that the server supports if plain HTTP is
/// allowed. For this machine plain HTTP is allowed and tried first, because no other machine can read the traffic.
pub(super) async fn base_url(
    client: &Client,
    host: &str,
    access: &Access,
    kind: Kind,
) -> Result<Url> {
    let url = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .context(Kind::Input, || format!("`{host}` is not a valid host"))
    };
    let (secure, plain) = (url("https")?, url("http")?);
    let is_local = is_loopback(&secure);
    if !access.insecure && !is_local {
        return Ok(secure);
    }
    let mut probed = None;
    if is_local {
        match probe_plain_http(client, &plain).await {
            PlainHttpProbe::Registry => return Ok(plain),
            other => probed = Some(other),
        }
    }
    let Err(error) = client.get(secure.clone()).send().await else {
        return Ok(secure);
    };
    let unreachable = Unreachable::new(&secure, &error);
    if unreachable.is_about_certificates() {
        return Err(unreached(kind, &unreachable));
    }
    let probed = match probed {
        Some(probed) => probed,
        None => probe_plain_http(client, &plain).await,
    };
    match probed {
        // A registry may still be starting; later requests are retried.
        PlainHttpProbe::Registry | PlainHttpProbe::Unreachable => Ok(plain),
        PlainHttpProbe::TlsServer => Err(unreached(kind, &unreachable)),
    }
}

/// Creates the error for a registry that was not reached.
pub(super) fn unreached(kind: Kind, unreachable: &Unreachable) -> Error {
    let error = Error::new(kind, unreachable.to_string());
    match unreachable.hint(Peer::Registry) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The result of a request over plain HTTP.
enum PlainHttpProbe {
    Registry,
    /// A server with TLS, which rejects the request or redirects to HTTPS.
    TlsServer,
    Unreachable,
}

async fn probe_plain_http(client: &Client, plain: &Url) -> PlainHttpProbe {
    match client.get(plain.clone()).send().await {
        Ok(response) if response.status() == StatusCode::BAD_REQUEST => PlainHttpProbe::TlsServer,
        Ok(response) if response.url().scheme() == "https" => PlainHttpProbe::TlsServer,
        Ok(_) => PlainHttpProbe::Registry,
        Err(_) => PlainHttpProbe::Unreachable,
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A failed request.
pub(super) struct FailedRequest {
    /// The reason in messages about a retry.
    reason: String,
    message: String,
    hint: Option<String>,
    url: Option<Url>,
    /// The delay that the server requests.
    retry_after: Option<Duration>,
    is_transient: bool,
}

impl FailedRequest {
    /// Returns the response of a request unless it reports a transient failure.
    pub(super) fn classify(sent: reqwest::Result<Response>) -> Result<Response, Box<Self>> {
        match sent {
            Ok(response) if retry::is_transient(response.status().as_u16()) => {
                let retry_after = response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok());
                Err(Box::new(Self {
                    reason: format!("it answered {}", response.status()),
                    message: response.status().to_string(),
                    hint: None,
                    url: Some(response.url().clone()),
                    retry_after: retry_after
                        .and_then(|text| retry::retry_after(text, jiff::Timestamp::now())),
                    is_transient: true,
                }))
            }
            Ok(response) => Ok(response),
            Err(error) => Err(Box::new(Self::broken(&error))),
        }
    }

    /// Creates the failure of a server that rejected a request to `url` and may accept it again.
    pub(super) fn rejected(url: Url, message: String) -> Self {
        Self {
            reason: message.clone(),
            message,
            hint: None,
            url: Some(url),
            retry_after: None,
            is_transient: true,
        }
    }

    /// Creates the failure of a server that stalled during the download of `url`.
    fn stalled(url: &Url, slow: TooSlow) -> Self {
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, slow);
        Self::unreachable(url, &Unreachable::new(url, &error))
    }

    fn broken(error: &reqwest::Error) -> Self {
        let Some(url) = error.url() else {
            return Self {
                reason: error.to_string(),
                message: error.to_string(),
                hint: None,
                url: None,
                retry_after: None,
                is_transient: true,
            };
        };
        Self::unreachable(url, &Unreachable::new(url, error))
    }

    fn unreachable(url: &Url, unreachable: &Unreachable) -> Self {
        Self {
            reason: unreachable.cause(),
            message: unreachable.to_string(),
            hint: unreachable.hint(Peer::Registry),
            url: Some(url.clone()),
            retry_after: None,
            is_transient: unreachable.is_passing(),
        }
    }

    /// Waits before the next attempt, after `failures` failures.
    ///
    /// # Errors
    /// Returns the message and a hint if the request must not be retried.
    pub(super) async fn pause(
        self,
        failures: u32,
        access: &Access,
    ) -> Result<(), (String, Option<String>)> {
        if failures > access.retries || !self.is_transient {
            return Err((self.message, self.hint));
        }
        let delay = retry::delay(failures, self.retry_after);
        tracing::debug!(
            host = self.url.as_ref().and_then(Url::host_str),
            reason = self.reason,
            failures,
            ?delay,
            "retrying a request"
        );
        if let Some(url) = &self.url {
            access.notices.observe(url, &self.reason, delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Reads the body of a response in chunks, and fails if the server stalls.
pub(super) struct BodyReader {
    response: Response,
    rate: Rate,
    /// The time spent waiting for the server.
    waited: Duration,
}

impl BodyReader {
    pub(super) fn new(response: Response, timeout: Duration) -> Self {
        Self {
            response,
            rate: Rate::new(timeout),
            waited: Duration::ZERO,
        }
    }

    /// Returns the length of the body in bytes, if the server states it.
    pub(super) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Box<FailedRequest>> {
        let start = Instant::now();
        let chunk = self.response.chunk().await;
        self.waited += start.elapsed();
        let chunk = chunk.map_err(|error| Box::new(FailedRequest::broken(&error)))?;
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        match self.rate.count(bytes, self.waited) {
            Err(slow) if chunk.is_some() => {
                Err(Box::new(FailedRequest::stalled(self.response.url(), slow)))
            }
            _ => Ok(chunk),
        }
    }
}

/// The reason why a body could not be read.
pub(super) enum BodyError {
    Failed(Box<FailedRequest>),
    TooLong(Excess),
}

impl From<BodyError> for std::io::Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Failed(failed) => Self::other(failed.message),
            BodyError::TooLong(excess) => Self::other(excess),
        }
    }
}

/// Reads a body of at most `limit` bytes from a server that may be silent for `timeout`.
pub(super) async fn read_body(
    response: Response,
    limit: u64,
    timeout: Duration,
) -> Result<Vec<u8>, BodyError> {
    let mut body = BodyReader::new(response, timeout);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(BodyError::Failed)? {
        limits::size((bytes.len() + chunk.len()) as u64, limit).map_err(BodyError::TooLong)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads the response of a container engine on this machine, up to `limit` bytes. The engine may be silent while it works.
pub(crate) async fn read_local_body(response: Response, limit: u64) -> std::io::Result<Vec<u8>> {
    Ok(read_body(response, limit, Duration::MAX).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_plain_http_only_for_loopback() {
        for (host, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
        ] {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(is_loopback(&url), expected, "{host}");
        }
    }
}
