//! Index pages, asked for and read on threads of their own.
//!
//! uv reads a page on the thread that asks for it, and the resolver asks from one thread alone;
//! reading the pages of a hundred packages one after the other takes longer than fetching them. So
//! pages are fetched, read and put into uv's cache elsewhere, and the resolver takes them from the
//! cache, where they lie in a form that needs no reading.

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
use uv_distribution_types::{Index, IndexCapabilities, IndexLocations, IndexMetadataRef};
use uv_normalize::PackageName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::{Error, Kind};

use crate::index::foreign_files;
use crate::index::legacy_formats::has_legacy_versions;
use crate::index::lenient_pages::{LenientPages, is_login_page, is_odd_page};
use crate::index::local_pages;
use crate::index::locked_files::LockedFiles;
use crate::runtime::Guest;

/// The header with which uv asks for an index page.
const ACCEPT_PAGES: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// The pages that were asked for, and the threads that read them.
pub(crate) struct IndexPrefetcher {
    readers: Vec<mpsc::UnboundedSender<PrefetchRequest>>,
    asked: Mutex<HashMap<PackageName, Shared<BoxFuture<'static, IndexPages>>>>,
}

/// What became of the pages of a package.
#[derive(Clone, Default)]
pub(crate) struct IndexPages {
    /// Whether they are in the cache. Why they are not is found out by asking once more.
    pub(crate) are_cached: bool,
    /// Whether one has versions that have no sdists but [legacy ones](crate::index::legacy_formats).
    pub(crate) have_legacy_versions: bool,
    /// The [locked files](LockedFiles) that they list with their digests.
    pub(crate) locked: HashSet<String>,
    /// Whether one is on this machine and [odd](crate::index::local_pages).
    pub(crate) are_odd: bool,
    /// The first index that refused to say whether it has the package. No other index may stand in
    /// for it: a package of the same name elsewhere need not be the same package.
    pub(crate) refusal: Option<IndexRefusal>,
}

/// An index that refused to answer.
#[derive(Clone)]
pub(crate) struct IndexRefusal {
    /// The URL of the index, without credentials.
    index: String,
    answer: Ambiguity,
}

/// An answer that neither lists files nor says that there are none.
#[derive(Clone)]
enum Ambiguity {
    Status(StatusCode),
    /// A login page at this URL.
    Login(String),
    /// A page at another URL than that of the package.
    Elsewhere(String),
    Nothing,
    /// A page with this file of another package.
    Foreign(String),
}

impl IndexRefusal {
    /// Returns the error of a resolution that needs the versions of `name`.
    pub(crate) fn error(&self, name: &PackageName) -> Error {
        let index = &self.index;
        let answer = match &self.answer {
            Ambiguity::Status(status) => format!("{index} answered {status}"),
            Ambiguity::Login(page) => format!("{index} shows a login page ({page})"),
            Ambiguity::Elsewhere(page) => format!("{index} shows another page ({page})"),
            Ambiguity::Nothing => format!("{index} answered with an empty page"),
            Ambiguity::Foreign(file) => {
                format!("{index} lists {file}, a file of another package")
            }
        };
        let credentials = "Give credentials in the index URL, in .netrc or by a keyring";
        let hint = match &self.answer {
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
            Ambiguity::Foreign(_) => "Ask those who run the index.".to_owned(),
            Ambiguity::Elsewhere(_) | Ambiguity::Nothing => {
                "An index says that it does not have a package by 404, or by a page without files; ask those who run \
                 it, or leave it out."
                    .to_owned()
            }
        };
        let message = format!("failed to look up `{name}`: {answer}");
        Error::new(Kind::Fetch, message).with_hint(hint)
    }
}

/// The answer of one index about one package.
enum Answer {
    Absent,
    Found {
        has_legacy_versions: bool,
        locked: HashSet<String>,
    },
    /// A page on this machine that uv refuses.
    Odd,
    Refused(IndexRefusal),
    Failed,
}

/// A page to read, and whom to tell.
struct PrefetchRequest {
    name: PackageName,
    done: oneshot::Sender<IndexPages>,
}

/// What a reader reads with.
#[derive(Clone)]
pub(crate) struct PageReader {
    /// A client with uv's strategy `first-index`, the only one under which uv does not take a refusal
    /// for not having the package. It is asked for one index at a time.
    pub(crate) client: RegistryClient,
    /// Reads pages that `client` cannot, in the same way.
    pub(crate) lenient_client: RegistryClient,
    pub(crate) pages: LenientPages,
    pub(crate) strategy: IndexStrategy,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) locations: IndexLocations,
    pub(crate) locked_files: Arc<LockedFiles>,
}

impl IndexPrefetcher {
    /// Starts as many readers as there are processors, within reason.
    pub(crate) fn new(reader: &PageReader) -> Self {
        let count = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4);
        Self {
            readers: (0..count)
                .map(|_| reader.clone().start(Handle::current()))
                .collect(),
            asked: Mutex::default(),
        }
    }

    /// Begins to fetch the pages of `name` into the cache, unless that has begun.
    pub(crate) fn ask(&self, name: &PackageName) -> Shared<BoxFuture<'static, IndexPages>> {
        let mut asked = self.asked.lock().expect("no panic while locked");
        if let Some(pending) = asked.get(name) {
            return pending.clone();
        }
        let (done, told) = oneshot::channel();
        let reader = &self.readers[asked.len() % self.readers.len()];
        let order = PrefetchRequest {
            name: name.clone(),
            done,
        };
        // A reader that ended tells nothing, and the page is then asked for without it.
        let _ = reader.send(order);
        let pending = async move { told.await.unwrap_or_default() }
            .boxed()
            .shared();
        asked.insert(name.clone(), pending.clone());
        pending
    }
}

impl PageReader {
    /// Starts a thread that carries out orders until nobody can give any.
    ///
    /// The connections are served by `runtime`, so that a page being read holds none of them up.
    fn start(self, runtime: Handle) -> mpsc::UnboundedSender<PrefetchRequest> {
        let (orders, mut queue) = mpsc::unbounded_channel::<PrefetchRequest>();
        let guest = Guest::new();
        let work = move || {
            // Connections that are dropped may set timers.
            let _entered = runtime.enter();
            let local = LocalSet::new();
            let reading = local.run_until(async {
                while let Some(order) = queue.recv().await {
                    let reader = self.clone();
                    tokio::task::spawn_local(async move { reader.read(order).await });
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
        // Without the thread the orders are refused, and the resolver reads the pages itself.
        let _ = std::thread::Builder::new()
            .name("index pages".to_owned())
            .stack_size(uv_configuration::min_stack_size())
            .spawn(work);
        orders
    }

    async fn read(self, order: PrefetchRequest) {
        let mut pages = IndexPages::default();
        let mut failed = false;
        for answer in self.answers(&order.name).await {
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
                Answer::Odd => {
                    pages.are_cached = true;
                    pages.are_odd = true;
                }
                Answer::Refused(refusal) => {
                    pages.refusal.get_or_insert(refusal);
                }
                Answer::Failed => failed = true,
            }
        }
        pages.are_cached &= !failed;
        let _ = order.done.send(pages);
    }

    /// Asks the indexes for `name`: all of them, or under `first-index` each in turn up to the first
    /// that does not say that it lacks the package.
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
        // uv notes here which index refused; what it notes of others is of no use.
        let capabilities = IndexCapabilities::default();
        let (page, slots) = (Some(IndexMetadataRef::from(index)), &self.slots);
        let mut answer = self
            .client
            .simple_detail(name, page, &capabilities, slots)
            .await;
        if answer.as_ref().is_err_and(is_odd_page) {
            if index.url().url().scheme() == "file" {
                return Answer::Odd;
            }
            answer = self
                .lenient_client
                .simple_detail(name, page, &capabilities, slots)
                .await;
        }
        let refused = |answer| {
            Answer::Refused(IndexRefusal {
                index: redacted(index.url().url().as_str()),
                answer,
            })
        };
        if let Ok(pages) = &answer
            && pages.iter().all(|(_, page)| is_empty(page))
            && let Some(unclear) = self.look_closer(index.url().url(), name).await
        {
            return refused(unclear);
        }
        let foreign = answer.iter().flatten();
        let mut foreign = foreign.filter_map(|(_, page)| foreign_files::first(page, name));
        if let Some(file) = foreign.next() {
            return if index.url().url().scheme() == "file" {
                Answer::Odd
            } else {
                refused(Ambiguity::Foreign(file))
            };
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

    /// Asks the indexes once more for the pages of `name`, to learn what uv passes over without a word.
    pub(crate) async fn look_for_oddities(&self, name: &PackageName) {
        let indexes = self
            .locations
            .fetch_indexes()
            .map(|index| index.url().url());
        let indexes = indexes.filter(|url| url.scheme() != "file");
        let pages = indexes.map(|url| (page_of(url, name), ACCEPT_PAGES));
        let links = self.locations.flat_indexes().map(|index| index.url().url());
        let links = links.filter(|url| url.scheme() != "file");
        for (url, accept) in pages.chain(links.map(|url| (url.clone(), "text/html"))) {
            let client = self.lenient_client.uncached_client(&url);
            let request = client.get(Url::from(url.clone())).header(ACCEPT, accept);
            // The middleware of the client notes what it passes over.
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

    /// Asks `index` once more for the page of `name`, which has no files, to learn whether it says so.
    async fn look_closer(&self, index: &DisplaySafeUrl, name: &PackageName) -> Option<Ambiguity> {
        let page = page_of(index, name);
        let request = self.client.uncached_client(&page);
        let request = request
            .get(Url::from(page.clone()))
            .header(ACCEPT, "text/html");
        let answer = request.send().await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        let shown = answer.url().clone();
        let html = answer.text().await.ok()?;
        if is_login_page(&html, name) {
            return Some(Ambiguity::Login(redacted(shown.as_str())));
        }
        if html.trim().is_empty() {
            return Some(Ambiguity::Nothing);
        }
        let is_of_package = |segment: &str| {
            PackageName::from_str(segment).is_ok_and(|of_segment| of_segment == *name)
        };
        let has_moved = !shown.path_segments()?.any(is_of_package);
        has_moved.then(|| Ambiguity::Elsewhere(redacted(shown.as_str())))
    }
}

fn is_empty(page: &MetadataFormat) -> bool {
    matches!(page, MetadataFormat::Simple(page) if page.iter().next().is_none())
}

/// The URL of the page that `index` has of the package `name`.
fn page_of(index: &DisplaySafeUrl, name: &PackageName) -> DisplaySafeUrl {
    let mut page = index.clone();
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().push(name.as_ref()).push("");
    }
    page
}
