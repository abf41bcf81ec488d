//! Requests to the index of a fallback.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Response};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;
use wheelhouse_transport::{ClientOptions, Unreachable, secure_redirects};
use wheelhouse_types::redact::{redacted, without_credentials};
use wheelhouse_types::{Error, Kind, PackageName, Result, limits};

use super::FallbackOptions;

/// The formats of pages, by preference.
const ACCEPT_PAGES: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// The time for which an index that cannot be reached is not asked again.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// The number of concurrent requests to the index.
const REQUESTS: usize = 32;

/// The index of a fallback.
#[derive(Debug)]
pub(super) struct Upstream {
    index: Url,
    /// The URL of the index as it is recorded and shown.
    pub(super) shown: String,
    client: Client,
    requests: Semaphore,
    /// The time of the last failure to reach the index.
    unreachable: Mutex<Option<Instant>>,
}

impl Upstream {
    /// Prepares requests.
    ///
    /// # Errors
    /// [`Kind::Input`] if the URL is not one of an HTTP server, or if the certificates or the proxy cannot be used.
    pub(super) fn new(options: FallbackOptions) -> Result<Self> {
        let mut index = options.index;
        let shown = redacted(without_credentials(&index).as_str());
        let can_have_path = index.path_segments_mut().map(|mut segments| {
            segments.pop_if_empty().push("");
        });
        if can_have_path.is_err() || !matches!(index.scheme(), "http" | "https") {
            let message = format!("`{shown}` is not the URL of an index on an HTTP server");
            return Err(Error::new(Kind::Input, message));
        }
        index.set_fragment(None);
        let client = client(
            options.certificates.as_deref(),
            options.proxy.as_deref(),
            options.timeout,
        )?;
        Ok(Self {
            index,
            shown,
            client,
            requests: Semaphore::new(REQUESTS),
            unreachable: Mutex::default(),
        })
    }

    /// Waits until another request may be sent. The caller holds the permit until it has read the response.
    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        let permit = self.requests.acquire().await;
        permit.unwrap_or_else(|_| unreachable!("the semaphore is never closed"))
    }

    /// Returns whether the last request failed a short while ago, because the index could not be reached.
    pub(super) fn was_unreachable(&self) -> bool {
        let failed = *self
            .unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| failed.elapsed() < UNREACHABLE)
    }

    /// Requests the page of the project `name`, of which the caller has the version with the entity tag `known`.
    pub(super) async fn page(
        &self,
        name: &PackageName,
        known: Option<&HeaderValue>,
    ) -> Result<Response, String> {
        let url = self.index.join(&format!("{name}/"));
        let url = url.map_err(|error| error.to_string())?;
        let mut request = self.client.get(url).header(ACCEPT, ACCEPT_PAGES);
        if let Some(tag) = known {
            request = request.header(IF_NONE_MATCH, tag);
        }
        self.send(request).await
    }

    /// Requests a file as it is stored.
    pub(super) async fn file(&self, url: Url) -> Result<Response, String> {
        let request = self.client.get(url).header(ACCEPT_ENCODING, "identity");
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(format!("the server answered {status}")),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, String> {
        let response = request.send().await;
        let unreachable = self.unreachable.lock();
        let mut unreachable = unreachable.unwrap_or_else(PoisonError::into_inner);
        match response {
            Ok(response) => {
                *unreachable = None;
                Ok(response)
            }
            Err(error) => {
                if error.is_connect() || error.is_timeout() {
                    *unreachable = Some(Instant::now());
                }
                Err(self.reason(&error))
            }
        }
    }

    /// Returns the cause of a failed request without secrets.
    pub(super) fn reason(&self, error: &reqwest::Error) -> String {
        let url = error.url().unwrap_or(&self.index);
        Unreachable::new(&without_credentials(url), error).to_string()
    }
}

/// Creates the client of an index. uv's client belongs to uv's cache and to its resolver.
fn client(certificates: Option<&Path>, proxy: Option<&str>, timeout: Duration) -> Result<Client> {
    let options = ClientOptions {
        connect_timeout: timeout.min(Duration::from_secs(10)),
        read_timeout: timeout,
        certificates,
        insecure: false,
        proxy,
    };
    options.client(secure_redirects(10), |builder| builder)
}

/// Reads a response of at most `limit` bytes.
pub(super) async fn read_body(response: &mut Response, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let failed = |error: reqwest::Error| error.without_url().to_string();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        limits::size(bytes.len() as u64, limit).map_err(|excess| excess.to_string())?;
    }
    Ok(bytes)
}
