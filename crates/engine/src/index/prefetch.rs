//! Prefetches index pages on separate threads.
//!
//! uv parses a page on the thread that requests it, and the resolver requests from one thread only; parsing the pages of a
//! hundred packages one by one takes longer than fetching them. So pages are fetched, parsed and cached on other threads,
//! and the resolver reads them from uv's cache, where they need no parsing.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, join_all};
use http::StatusCode;
use http::header::ACCEPT;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use url::Url;
use uv_client::{ErrorKind, MetadataFormat, RegistryClient};
use uv_distribution_filename::SourceDistExtension;
use uv_distribution_types::{Index, IndexCapabilities, IndexLocations, IndexMetadataRef};
use uv_normalize::PackageName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::{Error, Kind};

use super::IndexOptions;
use super::foreign_files;
use super::lenient_pages::{LenientPages, is_login_page, is_malformed_page};
use super::local_pages;
use super::locked_files::LockedFiles;
use crate::network::clients::Clients;
use crate::requirements::legacy_sdists::is_legacy;
use crate::runtime::Guest;

/// The `Accept` header with which uv requests an index page.
const ACCEPT_PAGES: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// Fetches index pages into the cache, each once.
pub(crate) struct IndexPrefetcher {
    readers: Vec<mpsc::UnboundedSender<PrefetchRequest>>,
    requested: Mutex<HashMap<PackageName, Shared<BoxFuture<'static, IndexPages>>>>,
}

/// The result of fetching the pages of a package.
#[derive(Clone, Default)]
pub(crate) struct IndexPages {
    /// True if all pages are cached. If not, the next request returns the error.
    pub(crate) are_cached: bool,
    /// True if a page has versions with only [legacy sdists](crate::requirements::legacy_sdists).
    pub(crate) have_legacy_versions: bool,
    /// The [locked files](LockedFiles) that the pages list with their digests.
    pub(crate) locked: HashSet<String>,
    /// True if uv rejects a page that is [on this machine](super::local_pages).
    pub(crate) are_malformed: bool,
    /// The first index whose response is ambiguous. No other index may replace it: a package of the same name elsewhere
    /// may be another package.
    pub(crate) refusal: Option<IndexRefusal>,
}

/// An index that neither lists the package nor states that it lacks it.
#[derive(Clone)]
pub(crate) struct IndexRefusal {
    /// The URL of the index, without credentials.
    index: String,
    response: Ambiguity,
}

/// A response that neither lists files nor states that there are none.
#[derive(Clone)]
enum Ambiguity {
    Status(StatusCode),
    /// A login page at this URL.
    Login(String),
    /// A page at another URL than that of the package.
    OtherPage(String),
    EmptyPage,
    /// A page with this file of another package.
    ForeignFile(String),
}

impl IndexRefusal {
    /// Returns the error of a resolution that needs the versions of `name`.
    pub(crate) fn error(&self, name: &PackageName) -> Error {
        let index = &self.index;
        let response = match &self.response {
            Ambiguity::Status(status) => format!("{index} answered {status}"),
            Ambiguity::Login(page) => format!("{index} shows a login page ({page})"),
            Ambiguity::OtherPage(page) => format!("{index} shows another page ({page})"),
            Ambiguity::EmptyPage => format!("{index} answered with an empty page"),
            Ambiguity::ForeignFile(file) => {
                format!("{index} lists {file}, a file of another package")
            }
        };
        let credentials = "Give credentials in the index URL, in .netrc or by a keyring";
        let hint = match &self.response {
            Ambiguity::Status(
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            ) => format!(
                "{credentials}; if the index answers so for packages that it does not have, pass \
                 --ignore-error-codes {}.",
                status.as_u16()
            ),
            Ambiguity::Status(_) => {
                "Give credentials of the proxy in its URL, with --proxy.".to_owned()
            }
            Ambiguity::Login(_) => format!("{credentials}."),
            Ambiguity::ForeignFile(_) => "Report it to the operator of the index.".to_owned(),
            Ambiguity::OtherPage(_) | Ambiguity::EmptyPage => {
                "An index without the package should respond with 404 or a page without files; report it to the \
                 operator of the index, or leave the index out."
                    .to_owned()
            }
        };
        let message = format!("failed to look up `{name}`: {response}");
        Error::new(Kind::Fetch, message).with_hint(hint)
    }
}

/// The response of one index about one package.
enum Answer {
    Absent,
    Found {
        has_legacy_versions: bool,
        locked: HashSet<String>,
    },
    /// A page on this machine that uv rejects.
    Malformed,
    Ambiguous(IndexRefusal),
    Failed,
}

/// A request for the pages of a package.
struct PrefetchRequest {
    name: PackageName,
    done: oneshot::Sender<IndexPages>,
}

/// Fetches and parses pages.
#[derive(Clone)]
pub(crate) struct PageReader {
    /// A client with uv's strategy `first-index`: under the others, uv treats a 401 or 403 as a missing package.
    client: RegistryClient,
    /// Reads pages that `client` cannot.
    lenient_client: RegistryClient,
    pages: LenientPages,
    strategy: IndexStrategy,
    slots: Arc<Semaphore>,
    locations: IndexLocations,
    locked_files: Arc<LockedFiles>,
}

impl IndexPrefetcher {
    /// Starts up to four reader threads.
    pub(crate) fn new(reader: &PageReader) -> Self {
        let count = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4);
        Self {
            readers: (0..count)
                .map(|_| reader.clone().start(Handle::current()))
                .collect(),
            requested: Mutex::default(),
        }
    }

    /// Fetches the pages of `name` into the cache, unless that has begun.
    pub(super) fn request(&self, name: &PackageName) -> Shared<BoxFuture<'static, IndexPages>> {
        let mut requested = self.requested.lock().expect("no panic while locked");
        if let Some(pending) = requested.get(name) {
            return pending.clone();
        }
        let (done, response) = oneshot::channel();
        let reader = &self.readers[requested.len() % self.readers.len()];
        let request = PrefetchRequest {
            name: name.clone(),
            done,
        };
        // If the thread has ended, the resolver requests the page itself.
        let _ = reader.send(request);
        let pending = async move { response.await.unwrap_or_default() }
            .boxed()
            .shared();
        requested.insert(name.clone(), pending.clone());
        pending
    }
}

impl PageReader {
    pub(super) fn new(options: &IndexOptions, clients: &Clients, pages: LenientPages) -> Self {
        Self {
            client: clients.pages().clone(),
            lenient_client: clients.lenient_pages().clone(),
            pages,
            strategy: options.strategy,
            slots: Arc::new(Semaphore::new(PAGES)),
            locations: options.locations.clone(),
            locked_files: Arc::clone(&options.locked_files),
        }
    }

    /// Starts a thread that serves requests until their sender is dropped.
    ///
    /// `runtime` serves the connections, so that parsing a page does not block them.
    fn start(self, runtime: Handle) -> mpsc::UnboundedSender<PrefetchRequest> {
        let (requests, mut queue) = mpsc::unbounded_channel::<PrefetchRequest>();
        let guest = Guest::new();
        let work = move || {
            // Dropped connections may set timers.
            let _entered = runtime.enter();
            let local = LocalSet::new();
            let reading = local.run_until(async {
                while let Some(request) = queue.recv().await {
                    let reader = self.clone();
                    tokio::task::spawn_local(async move { reader.read(request).await });
                }
            });
            runtime.block_on(async {
                tokio::select! {
                    () = guest.dismissed() => {}
                    () = reading => {}
                }
            });
            drop(local);
        };
        // Without the thread, the resolver fetches the pages itself.
        let _ = std::thread::Builder::new()
            .name("index pages".to_owned())
            .stack_size(uv_configuration::min_stack_size())
            .spawn(work);
        requests
    }

    async fn read(self, request: PrefetchRequest) {
        let mut pages = IndexPages::default();
        let mut failed = false;
        for answer in self.answers(&request.name).await {
            match answer {
                Answer::Absent => {}
                Answer::Found {
                    has_legacy_versions,
                    locked,
                } => {
                    pages.are_cached = true;
                    pages.have_legacy_versions |= has_legacy_versions;
                    pages.locked.extend(locked);
                }
                Answer::Malformed => {
                    pages.are_cached = true;
                    pages.are_malformed = true;
                }
                Answer::Ambiguous(refusal) => {
                    pages.refusal.get_or_insert(refusal);
                }
                Answer::Failed => failed = true,
            }
        }
        pages.are_cached &= !failed;
        tracing::debug!(
            package = %request.name,
            cached = pages.are_cached,
            legacy_versions = pages.have_legacy_versions,
            ambiguous = pages.refusal.is_some(),
            "fetched the index pages"
        );
        let _ = request.done.send(pages);
    }

    /// Requests `name` from all indexes, or under `first-index` from each in turn up to the first that does not respond
    /// that it lacks the package.
    async fn answers(&self, name: &PackageName) -> Vec<Answer> {
        let indexes = self.locations.fetch_indexes();
        if self.strategy != IndexStrategy::FirstIndex {
            return join_all(indexes.map(|index| self.ask(name, index))).await;
        }
        for index in indexes {
            match self.ask(name, index).await {
                Answer::Absent => {}
                answer => return vec![answer],
            }
        }
        Vec::new()
    }

    async fn ask(&self, name: &PackageName, index: &Index) -> Answer {
        // uv records here whether the index rejected the credentials.
        let capabilities = IndexCapabilities::default();
        let (page, slots) = (Some(IndexMetadataRef::from(index)), &self.slots);
        let mut answer = self
            .client
            .simple_detail(name, page, &capabilities, slots)
            .await;
        if answer.as_ref().is_err_and(is_malformed_page) {
            if index.url().url().scheme() == "file" {
                return Answer::Malformed;
            }
            answer = self
                .lenient_client
                .simple_detail(name, page, &capabilities, slots)
                .await;
        }
        let refused = |response| {
            Answer::Ambiguous(IndexRefusal {
                index: redacted(index.url().url().as_str()),
                response,
            })
        };
        if let Ok(pages) = &answer
            && pages.iter().all(|(_, page)| is_empty(page))
            && let Some(unclear) = self.check_empty_page(index.url().url(), name).await
        {
            return refused(unclear);
        }
        let mut pages = answer.iter().flatten().map(|(_, page)| page);
        if index.url().url().scheme() == "file" {
            if pages.any(|page| foreign_files::first(page, name).is_some()) {
                return Answer::Malformed;
            }
        } else if let Some(file) = pages.find_map(|page| foreign_files::remaining(page, name)) {
            return refused(Ambiguity::ForeignFile(file));
        }
        let refused_with = |status| refused(Ambiguity::Status(status));
        match answer {
            Ok(pages) => Answer::Found {
                has_legacy_versions: pages.iter().any(|(_, page)| has_legacy_versions(page)),
                locked: pages
                    .iter()
                    .flat_map(|(_, page)| self.locked_files.listed(name, page))
                    .collect(),
            },
            Err(_) if capabilities.unauthorized(index.url()) => {
                refused_with(StatusCode::UNAUTHORIZED)
            }
            Err(_) if capabilities.forbidden(index.url()) => refused_with(StatusCode::FORBIDDEN),
            Err(error) => match error.kind() {
                ErrorKind::RemotePackageNotFound(_) | ErrorKind::Offline(_) => Answer::Absent,
                ErrorKind::WrappedReqwestError(_, error) => match error.status() {
                    Some(
                        status @ (StatusCode::PROXY_AUTHENTICATION_REQUIRED
                        | StatusCode::NETWORK_AUTHENTICATION_REQUIRED),
                    ) => refused_with(status),
                    _ => Answer::Failed,
                },
                _ => Answer::Failed,
            },
        }
    }

    /// Requests the pages of `name` again through the lenient reader, to record what uv skips silently.
    pub(super) async fn find_skipped(&self, name: &PackageName) {
        let indexes = self
            .locations
            .fetch_indexes()
            .map(|index| index.url().url());
        let indexes = indexes.filter(|url| url.scheme() != "file");
        let pages = indexes.map(|url| (page_url(url, name), ACCEPT_PAGES));
        let links = self.locations.flat_indexes().map(|index| index.url().url());
        let links = links.filter(|url| url.scheme() != "file");
        for (url, accept) in pages.chain(links.map(|url| (url.clone(), "text/html"))) {
            let client = self.lenient_client.uncached_client(&url);
            let request = client.get(Url::from(url.clone())).header(ACCEPT, accept);
            // The middleware of the client records what it skips.
            let _ = request.send().await;
        }
        for index in self.locations.fetch_indexes() {
            if index.url().url().scheme() == "file" {
                local_pages::of_index(&self.pages, index.url(), name);
            }
        }
        for place in self.locations.flat_indexes() {
            local_pages::of_links(&self.pages, place);
        }
    }

    /// Requests the page of `name`, which uv found to be empty, from `index` again. Returns the ambiguity if it is not a page
    /// without files.
    async fn check_empty_page(
        &self,
        index: &DisplaySafeUrl,
        name: &PackageName,
    ) -> Option<Ambiguity> {
        let page = page_url(index, name);
        let request = self.client.uncached_client(&page);
        let request = request
            .get(Url::from(page.clone()))
            .header(ACCEPT, "text/html");
        let response = request.send().await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let shown = response.url().clone();
        let html = response.text().await.ok()?;
        if is_login_page(&html, name) {
            return Some(Ambiguity::Login(redacted(shown.as_str())));
        }
        if html.trim().is_empty() {
            return Some(Ambiguity::EmptyPage);
        }
        let is_of_package = |segment: &str| {
            PackageName::from_str(segment).is_ok_and(|of_segment| of_segment == *name)
        };
        let has_moved = !shown.path_segments()?.any(is_of_package);
        has_moved.then(|| Ambiguity::OtherPage(redacted(shown.as_str())))
    }
}

/// The maximum number of index pages that are fetched and parsed at once; each takes some megabytes.
const PAGES: usize = 16;

fn is_empty(page: &MetadataFormat) -> bool {
    matches!(page, MetadataFormat::Simple(page) if page.iter().next().is_none())
}

/// Returns the URL of the page of `name` on `index`.
fn page_url(index: &DisplaySafeUrl, name: &PackageName) -> DisplaySafeUrl {
    let mut page = index.clone();
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().push(name.as_ref()).push("");
    }
    page
}

/// Returns whether `page` has a version with only legacy sdists.
fn has_legacy_versions(page: &MetadataFormat) -> bool {
    let MetadataFormat::Simple(page) = page else {
        return false;
    };
    page.iter().any(|datum| {
        let mut formats = datum.files.source_dists.iter().filter_map(|sdist| {
            let sdist = rkyv::deserialize::<_, rkyv::rancor::Error>(sdist);
            SourceDistExtension::from_path(sdist.expect("uv wrote it").filename()).ok()
        });
        formats.next().is_some_and(is_legacy) && formats.all(is_legacy)
    })
}
