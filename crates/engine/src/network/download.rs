//! Downloads of files over HTTP, from any offset.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG,
    IF_RANGE, RANGE, RETRY_AFTER,
};
use http::{HeaderValue, StatusCode};
use reqwest::Response;
use url::Url;
use uv_client::RegistryClient;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_transport::{Peer, Unreachable};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind, retry};

use super::plain_http::PlainHttp;
use super::url_credentials::UrlCredentials;
use crate::error::EngineError;

/// Downloads files by URL, with the credentials of the indexes and the environment.
#[derive(Clone)]
pub struct Fetcher {
    /// Decodes responses with a `Content-Encoding`.
    client: RegistryClient,
    undecoded: Option<LazyUndecodedClients>,
    plain_http: PlainHttp,
    url_credentials: UrlCredentials,
    /// The value of the `Authorization` header.
    authorization: Option<HeaderValue>,
    offline: bool,
}

/// The clients that do not decode responses. The first download opens them: that reads all certificates of the system, which a
/// run without downloads does not need.
pub(crate) type LazyUndecodedClients = Arc<LazyLock<Result<UndecodedClients, Error>, Opening>>;

type Opening = Box<dyn FnOnce() -> Result<UndecodedClients, Error> + Send>;

/// The clients that do not decode responses.
pub(crate) struct UndecodedClients {
    pub(crate) checking: RegistryClient,
    /// Accepts any certificate, for the trusted hosts.
    pub(crate) trusting: Option<RegistryClient>,
}

impl UndecodedClients {
    fn client_for(&self, url: &Url, plain_http: &PlainHttp) -> &RegistryClient {
        match &self.trusting {
            Some(trusting) if plain_http.is_trusted(url) => trusting,
            _ => &self.checking,
        }
    }
}

/// A download in progress.
pub struct Download {
    /// The position of the first byte in the file: the requested offset, or 0 if the server does not support ranges.
    pub offset: u64,
    /// The size of the whole file in bytes, if the server states it.
    pub total: Option<u64>,
    /// The strong `ETag` of the contents (RFC 9110, section 8.8.3), if the server states it.
    pub version: Option<String>,
    stream: BoxStream<'static, Result<Bytes, reqwest::Error>>,
}

/// The error of a download.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    message: String,
    /// True if a retry may succeed.
    pub passing: bool,
    /// The delay before a retry that the server asks for.
    pub retry_after: Option<Duration>,
    /// A hint for the user.
    pub hint: Option<String>,
    /// The cause only, if the message names the file, too.
    reason: Option<String>,
}

impl Fetcher {
    pub(crate) fn new(client: RegistryClient, plain_http: PlainHttp, offline: bool) -> Self {
        Self {
            client,
            undecoded: None,
            plain_http,
            url_credentials: UrlCredentials::default(),
            authorization: None,
            offline,
        }
    }

    /// Adds the original credentials to URLs.
    pub(crate) fn with_url_credentials(self, url_credentials: UrlCredentials) -> Self {
        Self {
            url_credentials,
            ..self
        }
    }

    /// Sends `authorization` as the `Authorization` header, but not to other hosts that the server redirects to.
    ///
    /// # Errors
    /// `Input` if it is not the value of a header, or not valid for the scheme `Basic`.
    pub fn with_authorization(self, authorization: &str) -> Result<Self, Error> {
        let invalid = || Error::new(Kind::Input, "the token of the registry is not valid");
        // uv's client panics if the credentials cannot be decoded.
        if let Some(encoded) = authorization.strip_prefix("Basic ") {
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
            let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if !decoded.is_some_and(|decoded| decoded.contains(':')) {
                return Err(invalid());
            }
        }
        let mut value = HeaderValue::from_str(authorization).map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(Self {
            authorization: Some(value),
            ..self
        })
    }

    /// Ignores `Content-Encoding`: some servers send it for a `.tar.gz` as published.
    pub(crate) fn with_undecoded(self, undecoded: LazyUndecodedClients) -> Self {
        Self {
            undecoded: Some(undecoded),
            ..self
        }
    }

    /// Checks that the file at `url`, for which there is no digest, cannot be changed in transit.
    ///
    /// # Errors
    /// `Fetch` if it is at plain HTTP on a host that is not trusted.
    pub fn check_without_digest(&self, url: &Url) -> Result<(), Error> {
        self.plain_http.check("the file", url)
    }

    /// Requests the file at `url`: from `offset` on if it still has the `version`, else from the start. Does not retry.
    ///
    /// # Errors
    /// If the server cannot be reached, rejects the request, or sends another range.
    pub async fn open(
        &self,
        url: &Url,
        offset: u64,
        version: Option<&str>,
    ) -> Result<Download, FetchError> {
        if self.offline {
            return Err(FetchError::fatal(
                format!(
                    "{} is not in the store, and the network may not be used",
                    redacted(url.as_str())
                ),
                Some("Run once without --offline."),
            ));
        }
        let url = &self.url_credentials.restored(url);
        let undecoded = match self.undecoded.as_deref().map(LazyLock::force) {
            None => None,
            Some(Ok(clients)) => Some(clients.client_for(url, &self.plain_http)),
            Some(Err(error)) => return Err(FetchError::fatal(error.display_chain(), error.hint())),
        };
        let client = undecoded.unwrap_or(&self.client);
        let mut response = self.ask(client, url, offset, version).await?;
        let mut first = None;
        if undecoded.is_some() && offset == 0 && response.headers().contains_key(CONTENT_ENCODING) {
            let chunk = response.chunk().await;
            first =
                chunk.map_err(|error| FetchError::unreachable(&Unreachable::new(url, &error)))?;
            if first
                .as_deref()
                .is_some_and(|start| is_compressed(url, start))
            {
                first = None;
                response = self.ask(&self.client, url, offset, version).await?;
            }
        }
        let status = response.status();
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if !status.is_success() {
            return Err(FetchError::refused(url, status, header(RETRY_AFTER)));
        }
        let (start, total) = match header(CONTENT_RANGE).and_then(content_range) {
            Some(range) if status == StatusCode::PARTIAL_CONTENT => range,
            _ => (
                0,
                header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            ),
        };
        if start != 0 && start != offset {
            let message = format!("the server sent byte {start} instead of byte {offset}");
            return Err(FetchError::passing(message));
        }
        Ok(Download {
            offset: start,
            total,
            version: header(ETAG)
                .filter(|version| version.starts_with('"'))
                .map(ToOwned::to_owned),
            stream: stream::iter(first.map(Ok))
                .chain(response.bytes_stream())
                .boxed(),
        })
    }

    async fn ask(
        &self,
        client: &RegistryClient,
        url: &Url,
        offset: u64,
        version: Option<&str>,
    ) -> Result<Response, FetchError> {
        let client = client.uncached_client(DisplaySafeUrl::ref_cast(url));
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(version) = version {
                request = request.header(IF_RANGE, version);
            }
        }
        let response = request.send().await;
        response.map_err(|error| FetchError::from_error(url, &error))
    }
}

/// Returns whether the file at `url`, which begins with `start`, was compressed in transit, although that was not requested.
fn is_compressed(url: &Url, start: &[u8]) -> bool {
    let path = url.path().to_ascii_lowercase();
    let is_zip = [".whl", ".zip"].iter().any(|end| path.ends_with(end));
    is_zip && !start.starts_with(b"PK")
}

impl Download {
    /// Returns the next bytes, or `None` at the end of the response.
    ///
    /// # Errors
    /// If the connection is lost. The bytes before remain valid.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(error)) => Err(FetchError::passing(format!(
                "the connection was lost: {}",
                innermost(&error)
            ))),
        }
    }
}

/// Returns the start and the total size of `bytes 10-99/100`.
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

impl FetchError {
    /// Returns the delay before the next attempt after this number of `failures`.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        retry::delay(failures, self.retry_after)
    }

    /// Returns an error after which a retry may succeed.
    #[must_use]
    pub fn passing(message: String) -> Self {
        Self {
            message,
            passing: true,
            retry_after: None,
            hint: None,
            reason: None,
        }
    }

    fn fatal(message: String, hint: Option<&str>) -> Self {
        Self {
            message,
            passing: false,
            retry_after: None,
            hint: hint.map(str::to_owned),
            reason: None,
        }
    }

    /// Returns the reason for a retry.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.message)
    }

    fn refused(url: &Url, status: StatusCode, retry_after: Option<&str>) -> Self {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Some("Give credentials in the URL, in .netrc or by a keyring.")
            }
            status if status.is_redirection() => {
                Some("Check the redirects of the server; they form a loop.")
            }
            _ => None,
        };
        Self {
            message: format!("{} answered {status}", redacted(url.as_str())),
            passing: retry::is_transient(status.as_u16()),
            retry_after: retry_after
                .and_then(|asked| retry::retry_after(asked, jiff::Timestamp::now())),
            hint: hint.map(str::to_owned),
            reason: Some(format!("it answered {status}")),
        }
    }

    fn unreachable(unreachable: &Unreachable) -> Self {
        Self {
            message: unreachable.to_string(),
            passing: unreachable.is_passing(),
            retry_after: None,
            hint: unreachable.hint(Peer::Index),
            reason: Some(unreachable.cause()),
        }
    }

    fn from_error(url: &Url, error: &reqwest_middleware::Error) -> Self {
        match error {
            reqwest_middleware::Error::Reqwest(error) => {
                Self::unreachable(&Unreachable::new(url, error))
            }
            reqwest_middleware::Error::Middleware(error) => {
                let Some(known) = error.downcast_ref::<EngineError>() else {
                    return Self::unreachable(&Unreachable::new(url, error.as_ref()));
                };
                if let Some(unreachable) = known.as_unreachable() {
                    Self::unreachable(unreachable)
                } else {
                    let known = known.to_error();
                    Self::fatal(known.display_chain(), known.hint())
                }
            }
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        let converted = Self::new(Kind::Fetch, error.message);
        match error.hint {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}

/// Returns the message of the last error in the chain.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_content_range() {
        assert_eq!(content_range("bytes 10-99/100"), Some((10, Some(100))));
        assert_eq!(content_range("bytes 10-99/*"), Some((10, None)));
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
