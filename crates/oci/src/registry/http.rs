//! Talking HTTP to a registry: with TLS or without, and for how long.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect};
use url::Url;
use wheelhouse_transport::{Peer, Unreachable, tls_with};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::limits::{self, Excess, Rate, TooSlow};
use wheelhouse_types::{Error, Kind, Result, retry};

use super::Access;

/// A client for the registry itself.
pub(super) fn client(access: &Access) -> Result<Client> {
    built(builder(access)?.redirect(redirect::Policy::custom(follow)))
}

/// A client for servers of tokens, which are asked with credentials: it follows nobody elsewhere.
pub(super) fn token_client(access: &Access) -> Result<Client> {
    built(builder(access)?.redirect(redirect::Policy::none()))
}

fn built(builder: ClientBuilder) -> Result<Client> {
    let built = builder.build();
    built.context(Kind::Input, || "no HTTP client can be made".to_owned())
}

fn builder(access: &Access) -> Result<ClientBuilder> {
    let mut builder = Client::builder()
        .user_agent(concat!("wheelhouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(access.timeout.min(Duration::from_secs(15)))
        .read_timeout(access.timeout)
        // Blobs are what they are, however they are compressed.
        .no_gzip()
        .no_deflate()
        .no_zstd()
        .tls_danger_accept_invalid_certs(access.insecure);
    if let Some(path) = access.certificates.as_ref().filter(|_| !access.insecure) {
        builder = builder.tls_backend_preconfigured(tls_with(path, None)?);
    }
    if let Some(proxy) = &access.proxy {
        let proxy =
            reqwest::Proxy::all(proxy).context(Kind::Input, || "the proxy is no URL".to_owned())?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

/// Follows redirects, but none that gives up TLS. reqwest itself takes credentials off a request
/// that goes to another host.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > 5 {
        attempt.error("it redirects without end")
    } else if secure && attempt.url().scheme() != "https" {
        attempt.error("it redirects to a server without TLS")
    } else {
        attempt.follow()
    }
}

/// The URL of the registry at `host`: HTTPS, or what answers there if plain HTTP is allowed. On this
/// machine, where nobody listens in, that is tried first.
pub(super) async fn base(client: &Client, host: &str, access: &Access, kind: Kind) -> Result<Url> {
    let url = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .context(Kind::Input, || format!("`{host}` is no host"))
    };
    let (secure, plain) = (url("https")?, url("http")?);
    let is_here = is_loopback(&secure);
    if !access.insecure && !is_here {
        return Ok(secure);
    }
    let mut heard = None;
    if is_here {
        match probe_plain_http(client, &plain).await {
            PlainHttp::Registry => return Ok(plain),
            other => heard = Some(other),
        }
    }
    let Err(error) = client.get(secure.clone()).send().await else {
        return Ok(secure);
    };
    let unreachable = Unreachable::new(&secure, &error);
    if unreachable.is_about_certificates() {
        return Err(unreached(kind, &unreachable));
    }
    let heard = match heard {
        Some(heard) => heard,
        None => probe_plain_http(client, &plain).await,
    };
    match heard {
        // A registry may be on its way up; requests will be patient.
        PlainHttp::Registry | PlainHttp::Nothing => Ok(plain),
        PlainHttp::TlsServer => Err(unreached(kind, &unreachable)),
    }
}

/// The error of this `kind` about a registry that was not reached.
pub(super) fn unreached(kind: Kind, unreachable: &Unreachable) -> Error {
    let error = Error::new(kind, unreachable.to_string());
    match unreachable.hint(Peer::Registry) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Who answers plain HTTP.
enum PlainHttp {
    Registry,
    /// A server for HTTPS, which says so in plain words or leads there.
    TlsServer,
    Nothing,
}

async fn probe_plain_http(client: &Client, plain: &Url) -> PlainHttp {
    match client.get(plain.clone()).send().await {
        Ok(response) if response.status() == StatusCode::BAD_REQUEST => PlainHttp::TlsServer,
        Ok(response) if response.url().scheme() == "https" => PlainHttp::TlsServer,
        Ok(_) => PlainHttp::Registry,
        Err(_) => PlainHttp::Nothing,
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

/// A request that failed.
pub(super) struct FailedRequest {
    /// As it is told when it is sent again.
    reason: String,
    message: String,
    hint: Option<String>,
    url: Option<Url>,
    /// The pause that the server asks for.
    asked: Option<Duration>,
    may_pass: bool,
}

impl FailedRequest {
    /// What has come of a request, unless that may pass.
    pub(super) fn classify(sent: reqwest::Result<Response>) -> Result<Response, Box<Self>> {
        match sent {
            Ok(response) if retry::is_transient(response.status().as_u16()) => {
                let asked = response.headers().get(RETRY_AFTER);
                let asked = asked.and_then(|asked| asked.to_str().ok());
                Err(Box::new(Self {
                    reason: format!("it answered {}", response.status()),
                    message: response.status().to_string(),
                    hint: None,
                    url: Some(response.url().clone()),
                    asked: asked.and_then(|text| retry::retry_after(text, jiff::Timestamp::now())),
                    may_pass: true,
                }))
            }
            Ok(response) => Ok(response),
            Err(error) => Err(Box::new(Self::broken(&error))),
        }
    }

    /// A server that stalled while it sent what is at `url`.
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
                asked: None,
                may_pass: true,
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
            asked: None,
            may_pass: unreachable.is_passing(),
        }
    }

    /// Waits before the next try, when this was the last of so many `failures`.
    ///
    /// # Errors
    /// The message and a hint, when there is no other try.
    pub(super) async fn pause(
        self,
        failures: u32,
        access: &Access,
    ) -> Result<(), (String, Option<String>)> {
        if failures > access.retries || !self.may_pass {
            return Err((self.message, self.hint));
        }
        let delay = retry::delay(failures, self.asked);
        if let Some(url) = &self.url {
            access.notices.observe(url, &self.reason, delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// The body of an answer as it arrives. A server that stalls is given up.
pub(super) struct BodyReader {
    response: Response,
    rate: Rate,
    /// The time that was spent waiting for the server.
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

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Box<FailedRequest>> {
        let begun = Instant::now();
        let chunk = self.response.chunk().await;
        self.waited += begun.elapsed();
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

/// The reason why a body was not read.
pub(super) enum BodyError {
    Failed(Box<FailedRequest>),
    TooLong(Excess),
}

impl From<BodyError> for std::io::Error {
    fn from(unread: BodyError) -> Self {
        match unread {
            BodyError::Failed(failed) => Self::other(failed.message),
            BodyError::TooLong(excess) => Self::other(excess),
        }
    }
}

/// Reads a body that must not be longer than `most` bytes, from a server that may be silent for `timeout`.
pub(super) async fn read_body(
    response: Response,
    most: u64,
    timeout: Duration,
) -> Result<Vec<u8>, BodyError> {
    let mut arriving = BodyReader::new(response, timeout);
    let mut bytes = Vec::new();
    while let Some(chunk) = arriving.chunk().await.map_err(BodyError::Failed)? {
        limits::size((bytes.len() + chunk.len()) as u64, most).map_err(BodyError::TooLong)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads what an engine on this machine answers, up to `most` bytes. It is silent while it works.
pub(crate) async fn local(response: Response, most: u64) -> std::io::Result<Vec<u8>> {
    Ok(read_body(response, most, Duration::MAX).await?)
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
