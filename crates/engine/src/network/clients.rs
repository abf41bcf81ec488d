//! The clients of a run, which share connections, and the middleware that all of their requests go through.
//!
//! In order: [`CachedSecrets`] keeps credentials out of uv's cache, [`Retries`] waits between attempts, [`SecureRedirects`]
//! rejects redirects to plain HTTP, the middleware for index pages checks metadata digests and links, and
//! [`ResponseLimits`] measures what arrives.

use std::sync::{Arc, LazyLock};

use reqwest_middleware::Middleware;
use tokio::sync::Semaphore;
use uv_cache::Cache;
use uv_client::{
    BaseClientBuilder, Connectivity, ExtraMiddleware, RegistryClient, RegistryClientBuilder,
};
use uv_distribution_types::IndexLocations;
use uv_python::Interpreter;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::{Kind, Request, Result};

use super::cached_secrets::CachedSecrets;
use super::client::{self, UndecodedHttpClients};
use super::download::{Fetcher, UndecodedClients};
use super::plain_http::{PlainHttp, SecureRedirects};
use super::response_limits::ResponseLimits;
use super::retries::Retries;
use super::url_credentials::UrlCredentials;

/// The maximum number of concurrent downloads of metadata. Where an index has no metadata of a wheel, each takes a megabyte
/// for the end of the wheel.
pub(crate) const DOWNLOADS: usize = 12;

/// The clients of a run.
pub(crate) struct Clients {
    registry: RegistryClient,
    single_attempt: RegistryClient,
    cache_only: RegistryClient,
    pages: RegistryClient,
    lenient_pages: RegistryClient,
    fetcher: Fetcher,
    downloads: Arc<Semaphore>,
    offline: bool,
}

/// The middleware that reads index pages.
pub(crate) struct PageMiddleware {
    /// Checks the digests and links of pages as they arrive.
    pub(crate) checks: Arc<dyn Middleware>,
    /// Rewrites pages that uv cannot read.
    pub(crate) lenient: Arc<dyn Middleware>,
}

impl Clients {
    pub(crate) fn open(
        request: &Request,
        cache: &Cache,
        locations: &IndexLocations,
        interpreter: &Interpreter,
        plain_http: PlainHttp,
        pages: &PageMiddleware,
        credentials: UrlCredentials,
    ) -> Result<Self> {
        let network = &request.network;
        let secrets: Arc<dyn Middleware> = Arc::new(CachedSecrets);
        let redirects: Arc<dyn Middleware> = Arc::new(SecureRedirects(plain_http.clone()));
        let limits: Arc<dyn Middleware> = Arc::new(ResponseLimits::new(network.timeout));
        let limits_without_files: Arc<dyn Middleware> =
            Arc::new(ResponseLimits::new(network.timeout).without_files());
        let with = |builder: BaseClientBuilder<'static>, retries, rest: &[&Arc<dyn Middleware>]| {
            let retries: Arc<dyn Middleware> = Arc::new(Retries {
                retries,
                notices: network.notices.clone(),
            });
            let all = [&[&secrets, &retries, &redirects], rest].concat();
            let all = all.into_iter().map(Arc::clone).collect();
            builder.extra_middleware(ExtraMiddleware(all))
        };
        let base = client::client_builder(network)?;
        let retrying = with(base.clone(), network.retries, &[&pages.checks, &limits]);
        let once = base.retries(0);
        let single_attempt = with(once.clone(), 0, &[&pages.checks, &limits_without_files]);
        // The checks see the page that uv gets.
        let lenient = with(once, 0, &[&pages.checks, &pages.lenient, &limits]);
        let registry = |builder, strategy| {
            RegistryClientBuilder::new(builder, cache.clone())
                .index_locations(locations.clone())
                .index_strategy(strategy)
                .markers(interpreter.markers())
                .platform(interpreter.platform())
        };
        let failed = || "failed to set up the HTTP client".to_owned();
        let strategy = client::strategy(request.indexes.strategy);
        let main = registry(retrying.clone(), strategy).build();
        let main = main.context(Kind::Input, failed)?;
        // The others share the connections of this one.
        let share = |builder, strategy| {
            registry(builder, strategy)
                .wrap_existing(main.cached_client().uncached())
                .context(Kind::Input, failed)
        };
        let first_index = client::strategy(IndexStrategy::FirstIndex);
        let undecoded = {
            let (network, builder) = (network.clone(), single_attempt.clone());
            let (cache, locations) = (cache.clone(), locations.clone());
            move || {
                let open = |client| {
                    let builder = builder.clone().custom_client(client);
                    let builder = RegistryClientBuilder::new(builder, cache.clone());
                    let builder = builder.index_locations(locations.clone());
                    builder.build().context(Kind::Input, failed)
                };
                let UndecodedHttpClients { checking, trusting } =
                    UndecodedHttpClients::open(&network)?;
                Ok(UndecodedClients {
                    checking: open(checking)?,
                    trusting: trusting.map(open).transpose()?,
                })
            }
        };
        let single_attempt = share(single_attempt, strategy)?;
        Ok(Self {
            fetcher: Fetcher::new(single_attempt.clone(), plain_http, network.offline)
                .with_undecoded(Arc::new(LazyLock::new(Box::new(undecoded))))
                .with_url_credentials(credentials),
            single_attempt,
            cache_only: share(
                retrying.clone().connectivity(Connectivity::Offline),
                strategy,
            )?,
            pages: share(retrying, first_index)?,
            lenient_pages: share(lenient, first_index)?,
            registry: main,
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            offline: network.offline,
        })
    }

    /// Returns the client that retries.
    pub(crate) fn registry(&self) -> &RegistryClient {
        &self.registry
    }

    /// Returns a client that never retries.
    pub(crate) fn single_attempt(&self) -> &RegistryClient {
        &self.single_attempt
    }

    /// Returns a client that answers from the cache only, however old the entry is.
    pub(crate) fn cache_only(&self) -> &RegistryClient {
        &self.cache_only
    }

    /// Returns a client with the strategy `first-index`, for one index at a time.
    pub(crate) fn pages(&self) -> &RegistryClient {
        &self.pages
    }

    /// Returns a client like [`pages`](Self::pages), for pages that uv cannot read.
    pub(crate) fn lenient_pages(&self) -> &RegistryClient {
        &self.lenient_pages
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Returns the limit of concurrent downloads of metadata.
    pub(crate) fn downloads(&self) -> &Arc<Semaphore> {
        &self.downloads
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }
}
