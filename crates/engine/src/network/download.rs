//! Streaming files over HTTP, from any offset.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE,
    RETRY_AFTER,
};
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

/// Opens files by their URL, with the credentials that the indexes and the environment give.
#[derive(Clone)]
pub struct Fetcher {
    /// Decodes what a server says is encoded.
    client: RegistryClient,
    undecoded: Option<UndecodedClients>,
    plain_http: PlainHttp,
    url_credentials: UrlCredentials,
    offline: bool,
}

/// The clients that take files as they are sent.
#[derive(Clone)]
pub(crate) struct UndecodedClients {
    pub(crate) checking: RegistryClient,
    /// For these hosts any certificate will do.
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

/// A file that has begun to arrive.
pub struct Download {
    /// Where its first byte stands in the file: the offset that was asked for, or 0 when the server
    /// cannot start there.
    pub offset: u64,
    /// The size of the whole file in bytes, if the server says so.
    pub total: Option<u64>,
    /// What no other contents have (a strong `ETag`, RFC 9110, section 8.8.3), if the server says so.
    pub version: Option<String>,
    stream: BoxStream<'static, Result<Bytes, reqwest::Error>>,
}

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    message: String,
    /// Whether trying again may help.
    pub passing: bool,
    /// How long the server wants us to wait before.
    pub retry_after: Option<Duration>,
    pub hint: Option<String>,
    /// The cause alone, where the message names the file, too.
    reason: Option<String>,
}

impl Fetcher {
    pub(crate) fn new(client: RegistryClient, plain_http: PlainHttp, offline: bool) -> Self {
        Self {
            client,
            undecoded: None,
            plain_http,
            url_credentials: UrlCredentials::default(),
            offline,
        }
    }

    /// Asks for URLs with the credentials that they had.
    pub(crate) fn with_url_credentials(self, url_credentials: UrlCredentials) -> Self {
        Self {
            url_credentials,
            ..self
        }
    }

    /// Takes files as they are sent: they were published so, whatever a server says of an encoding.
    pub(crate) fn with_undecoded(self, undecoded: UndecodedClients) -> Self {
        Self {
            undecoded: Some(undecoded),
            ..self
        }
    }

    /// Returns an error if the file at `url`, for which there is no digest, could be changed on its way here.
    ///
    /// # Errors
    /// `Fetch` when it is at plain HTTP on another host that is not trusted.
    pub fn check_without_digest(&self, url: &Url) -> Result<(), Error> {
        self.plain_http.check("the file", url)
    }

    /// Asks for the file at `url`, from `offset` on if it still has the `version`, where one is known. Does not
    /// try again by itself.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or sends what was not asked for.
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
        let undecoded = self
            .undecoded
            .as_ref()
            .map(|clients| clients.client_for(url, &self.plain_http));
        let client = undecoded.unwrap_or(&self.client);
        let mut response = ask(client, url, offset, version).await?;
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
                response = ask(&self.client, url, offset, version).await?;
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
            let message = format!("byte {start} came where byte {offset} was asked for");
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
}

async fn ask(
    client: &RegistryClient,
    url: &Url,
    offset: u64,
    version: Option<&str>,
) -> Result<Response, FetchError> {
    let client = client.uncached_client(DisplaySafeUrl::ref_cast(url));
    let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
        if let Some(version) = version {
            request = request.header(IF_RANGE, version);
        }
    }
    let response = request.send().await;
    response.map_err(|error| FetchError::from_error(url, &error))
}

/// Whether the file at `url`, which begins with `start`, was compressed on its way, though that was not asked for.
fn is_compressed(url: &Url, start: &[u8]) -> bool {
    let path = url.path().to_ascii_lowercase();
    let is_zip = [".whl", ".zip"].iter().any(|end| path.ends_with(end));
    is_zip && !start.starts_with(b"PK")
}

impl Download {
    /// The next bytes; `None` at the end of what the server sends.
    ///
    /// # Errors
    /// When the connection breaks; what came before is good.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(error)) => Err(FetchError::passing(format!(
                "the connection broke off: {}",
                innermost(&error)
            ))),
        }
    }
}

/// Start and total size of `bytes 10-99/100`.
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

impl FetchError {
    /// The wait before the next try, when this is the last of so many `failures`.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        retry::delay(failures, self.retry_after)
    }

    /// A failure after which trying again may help.
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

    /// Why the server is asked again.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.message)
    }

    fn refused(url: &Url, status: StatusCode, retry_after: Option<&str>) -> Self {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Some("Give credentials in the URL, in .netrc or by a keyring.")
            }
            status if status.is_redirection() => Some("The server redirects in a circle."),
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
                match known.as_unreachable() {
                    Some(unreachable) => Self::unreachable(unreachable),
                    None => {
                        let known = known.to_error();
                        Self::fatal(known.display_chain(), known.hint())
                    }
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

/// The message of the cause at the end of the chain, where the reason is.
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
    fn a_content_range_is_read() {
        assert_eq!(content_range("bytes 10-99/100"), Some((10, Some(100))));
        assert_eq!(content_range("bytes 10-99/*"), Some((10, None)));
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
