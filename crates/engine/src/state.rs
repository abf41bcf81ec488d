//! The state of an engine: the clients, indexes and caches of resolutions, the environment of builds, and the targets.

use std::path::Path;
use std::sync::Arc;

use url::Url;
use uv_cache::{CacheBucket, Refresh};
use uv_git::GitResolver;
use uv_resolver::ExcludeNewer;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Observer, Request, Result, secrets};

use crate::build::{BuildParts, BuildState};
use crate::convert::Distributions;
use crate::index::lenient_pages::LenientPages;
use crate::index::locked_files::LockedFiles;
use crate::index::metadata_digests::MetadataDigests;
use crate::index::page_links::PageLinks;
use crate::index::page_records::{PageRecords, PageRedirects};
use crate::index::{IndexOptions, IndexState};
use crate::network::client;
use crate::network::clients::{Clients, PageMiddleware};
use crate::network::plain_http::{self, PlainHttp};
use crate::network::url_credentials::UrlCredentials;
use crate::python::host::Host;
use crate::requirements::local_trees::LocalTrees;
use crate::resolve::ResolveState;
use crate::target::{TargetCache, TargetEnvironment};

/// The options of an engine.
pub struct EngineOptions<'a> {
    /// The Python that builds.
    pub host: Host,
    /// The request to resolve and build.
    pub request: &'a Request,
    /// The directory for build logs.
    pub logs: &'a Path,
    /// Receives the events of builds.
    pub observer: Arc<dyn Observer>,
}

/// The state of an engine.
pub(crate) struct EngineState {
    resolve: ResolveState,
    build: BuildState,
    targets: TargetCache,
}

impl EngineState {
    pub(crate) async fn start(options: EngineOptions<'_>) -> Result<Self> {
        let request = options.request.clone();
        let (cache, interpreter, target) = options.host.into_parts();
        let host = TargetEnvironment::of_interpreter(&interpreter, target)?;
        let refresh = request.resolution.refresh;
        let cache = cache.with_refresh(Refresh::from_args(Some(refresh), Vec::new()));
        let locations = client::locations(&request.indexes, &request.network, refresh)?;
        let credentials = UrlCredentials::of(&request);
        let plain_http = PlainHttp::new(plain_http::trusted_hosts(&request.network.trusted_hosts)?);
        let redirects = PageRedirects::default();
        let pages = LenientPages::new(PageLinks(plain_http.clone()), redirects.clone());
        let digests = cache.bucket(CacheBucket::Simple).join("metadata-digests");
        let records = Arc::new(PageRecords::new(
            cache.bucket(CacheBucket::Simple).join("page-records"),
            redirects.clone(),
        ));
        let checks = MetadataDigests::new(digests, PageLinks(plain_http.clone()), redirects);
        let middleware = PageMiddleware {
            checks: Arc::new(checks.with_records(Arc::clone(&records))),
            lenient: Arc::new(pages.clone()),
        };
        let clients = Arc::new(Clients::open(
            &request,
            &cache,
            &locations,
            &interpreter,
            plain_http,
            &middleware,
            credentials.clone(),
        )?);
        let locked_files = Arc::new(LockedFiles::new(&request.locked_files));
        let (trees, git) = (LocalTrees::default(), GitResolver::default());
        let distributions = Distributions::new(
            locations.clone(),
            Arc::clone(&request.indexes.images),
            Arc::clone(&locked_files),
            Arc::clone(&records),
            credentials,
            trees.clone(),
            git.clone(),
        );
        let index = IndexOptions {
            locations,
            strategy: request.indexes.strategy,
            exclude_newer: exclude_newer(&request)?,
            locked_files,
            records,
        };
        let index = IndexState::open(index, Arc::clone(&clients), pages, &cache).await?;
        let build = BuildState::new(BuildParts {
            request: &request,
            cache: cache.clone(),
            interpreter,
            logs: options.logs.to_owned(),
            observer: options.observer,
            skipped: index.skipped().clone(),
        });
        tracing::debug!(
            target = host.target.label(),
            offline = request.network.offline,
            indexes = ?index.urls(),
            "started the engine"
        );
        Ok(Self {
            build,
            targets: TargetCache::new(host),
            resolve: ResolveState::new(request, cache, clients, index, distributions, trees, git)?,
        })
    }

    pub(crate) fn resolve(&self) -> &ResolveState {
        &self.resolve
    }

    pub(crate) fn build(&self) -> &BuildState {
        &self.build
    }

    pub(crate) fn targets(&self) -> &TargetCache {
        &self.targets
    }
}

/// Registers the credentials of `request` as secrets, which are masked in the output of builds.
pub(crate) fn mask_credentials(request: &Request) {
    let lines = [
        &request.requirements,
        &request.constraints,
        &request.overrides,
        &request.build_constraints,
    ];
    let lines = lines.into_iter().flatten().map(|line| line.text.as_str());
    let locations = request.indexes.find_links.iter().map(String::as_str);
    let urls = request.indexes.urls.iter().map(Url::as_str);
    let texts = lines.chain(locations).chain(urls);
    secrets::register(texts.flat_map(secrets::find_in_text));
}

fn exclude_newer(request: &Request) -> Result<ExcludeNewer> {
    let Some(text) = &request.resolution.exclude_newer else {
        return Ok(ExcludeNewer::default());
    };
    text.parse()
        .map(ExcludeNewer::global)
        .context(Kind::Input, || {
            format!("`{text}` is not a valid date for --exclude-newer")
        })
}
