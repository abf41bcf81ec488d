//! Small files at URLs: requirements files, which are read before the engine starts, and attestations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;
use uv_cache::Cache;
use uv_client::{ExtraMiddleware, RegistryClientBuilder};
use uv_distribution_types::{Index, IndexLocations};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Network;
use wheelhouse_types::{Error, Kind, Result};

use super::client;
use super::download::{FetchError, Fetcher};
use super::plain_http::{self, PlainHttp, SecureRedirects};
use super::response_limits::ResponseLimits;

/// The kind of files that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteFileKind {
    /// Requirements files.
    Requirements,
    /// Provenance objects with the attestations of a file (PEP 740).
    Provenance,
}

impl RemoteFileKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Requirements => "requirements file",
            Self::Provenance => "provenance object",
        }
    }

    /// Returns the maximum size (bytes).
    fn largest(self) -> usize {
        match self {
            Self::Requirements => 10 << 20,
            Self::Provenance => 2 << 20,
        }
    }

    fn offline_hint(self) -> &'static str {
        match self {
            Self::Requirements => "Download the file first and name its path.",
            Self::Provenance => "Run once without --offline.",
        }
    }
}

/// Reads files at URLs. The client is opened for the first one.
pub struct RemoteFiles {
    kind: RemoteFileKind,
    network: Network,
    /// The indexes, whose credentials apply to all URLs of their hosts.
    indexes: Vec<Url>,
    fetcher: OnceCell<Fetcher>,
}

impl RemoteFiles {
    /// Creates a reader that uses the credentials of `indexes`.
    #[must_use]
    pub fn new(kind: RemoteFileKind, network: Network, indexes: Vec<Url>) -> Self {
        Self {
            kind,
            network,
            indexes,
            fetcher: OnceCell::new(),
        }
    }

    /// Reads the file at `url`.
    ///
    /// # Errors
    /// `Fetch` if it cannot be read or the network is disabled; `Input` if it is too large or an option is not valid.
    pub async fn read(&self, url: &Url) -> Result<Vec<u8>> {
        let trusted_hosts = plain_http::trusted_hosts(&self.network.trusted_hosts)?;
        let plain_http = PlainHttp::new(trusted_hosts);
        plain_http.check(&format!("the {}", self.kind.noun()), url)?;
        if self.network.offline {
            let message = format!("{} is not read with --offline", redacted(url.as_str()));
            return Err(Error::new(Kind::Fetch, message).with_hint(self.kind.offline_hint()));
        }
        let open = async || self.open(plain_http);
        let fetcher = self.fetcher.get_or_try_init(open).await?;
        let mut failures = 0;
        loop {
            let error = match self.attempt(fetcher, url).await {
                Ok(Some(content)) => return Ok(content),
                Ok(None) => return Err(self.too_large(url)),
                Err(error) => error,
            };
            failures += 1;
            if !error.passing || failures > self.network.retries {
                return Err(error.into());
            }
            let delay = error.delay(failures);
            self.network.notices.observe(url, error.reason(), delay);
            tokio::time::sleep(delay).await;
        }
    }

    fn open(&self, plain_http: PlainHttp) -> Result<Fetcher> {
        let failed = || "failed to set up the HTTP client".to_owned();
        let indexes = self.indexes.iter().map(|url| {
            let url = client::parse(url.as_str())?;
            Ok(Index::from_extra_index_url(url))
        });
        let locations = IndexLocations::new(indexes.collect::<Result<_>>()?, Vec::new(), false);
        // Retries are counted here. The responses are not cached, since the client has no cache.
        let redirects = Arc::new(SecureRedirects(plain_http.clone()));
        let bounds = ResponseLimits::new(self.network.timeout).without_files();
        let middleware = ExtraMiddleware(vec![redirects, Arc::new(bounds)]);
        let builder = client::client_builder(&self.network)?
            .retries(0)
            .extra_middleware(middleware);
        let client = RegistryClientBuilder::new(builder, Cache::from_path(""))
            .index_locations(locations)
            .build()
            .context(Kind::Input, failed)?;
        Ok(Fetcher::new(client, plain_http, false))
    }

    /// Reads the file in one attempt. Returns `None` if it is too large.
    async fn attempt(&self, fetcher: &Fetcher, url: &Url) -> Result<Option<Vec<u8>>, FetchError> {
        let timeout: Duration = self.network.timeout;
        let silent =
            |_| FetchError::passing(format!("{} stopped responding", redacted(url.as_str())));
        let opening = tokio::time::timeout(timeout, fetcher.open(url, 0, None));
        let mut remote = opening.await.map_err(silent)??;
        let mut content = Vec::new();
        loop {
            let chunk = tokio::time::timeout(timeout, remote.chunk());
            let Some(chunk) = chunk.await.map_err(silent)?? else {
                return Ok(Some(content));
            };
            content.extend_from_slice(&chunk);
            if content.len() > self.kind.largest() {
                return Ok(None);
            }
        }
    }

    fn too_large(&self, url: &Url) -> Error {
        let message = format!(
            "{} is larger than {} MiB, the maximum for a {}",
            redacted(url.as_str()),
            self.kind.largest() >> 20,
            self.kind.noun()
        );
        Error::new(Kind::Input, message)
    }
}
