//! Index pages, asked for and read on threads of their own.
//!
//! uv reads a page on the thread that asks for it, and the resolver asks from one thread alone;
//! reading the pages of a hundred packages one after the other takes longer than fetching them. So
//! pages are fetched, read and put into uv's cache elsewhere, and the resolver takes them from the
//! cache, where they lie in a form that needs no reading.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::StatusCode;
use http::header::ACCEPT;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use url::Url;
use uv_client::{ErrorKind, MetadataFormat, RegistryClient};
use uv_distribution_types::IndexCapabilities;
use uv_normalize::PackageName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_model::redact::redacted;

use crate::index_page::{Oddities, is_login_page, is_odd_page};
use crate::legacy_sdists::has_legacy_versions;

/// The pages that were asked for, and the threads that read them.
pub(crate) struct Listings {
    readers: Vec<mpsc::UnboundedSender<Order>>,
    asked: Mutex<HashMap<PackageName, Shared<BoxFuture<'static, Pages>>>>,
}

/// What became of the pages of a package.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pages {
    /// Whether they are in the cache. Why they are not is found out by asking once more.
    pub(crate) are_cached: bool,
    /// Whether one has versions that have no sdists but [legacy ones](crate::legacy_sdists).
    pub(crate) have_legacy_versions: bool,
}

/// A page to read, and whom to tell.
struct Order {
    name: PackageName,
    done: oneshot::Sender<Pages>,
}

/// What a reader reads with.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) client: RegistryClient,
    /// Reads pages that `client` cannot.
    pub(crate) lenient_client: RegistryClient,
    pub(crate) oddities: Oddities,
    pub(crate) capabilities: IndexCapabilities,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) indexes: Vec<DisplaySafeUrl>,
    pub(crate) refusals: Refusals,
}

/// Indexes that want other credentials, which uv takes for not having a package.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<BTreeSet<String>>>);

impl Refusals {
    /// The first of them, fit to be shown.
    pub(crate) fn first(&self) -> Option<String> {
        self.0
            .lock()
            .expect("no panic while locked")
            .first()
            .cloned()
    }
}

impl Listings {
    /// Starts as many readers as there are processors, within reason.
    pub(crate) fn new(reader: &Reader) -> Self {
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
    pub(crate) fn ask(&self, name: &PackageName) -> Shared<BoxFuture<'static, Pages>> {
        let mut asked = self.asked.lock().expect("no panic while locked");
        if let Some(pending) = asked.get(name) {
            return pending.clone();
        }
        let (done, told) = oneshot::channel();
        let reader = &self.readers[asked.len() % self.readers.len()];
        let order = Order {
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

impl Reader {
    /// Starts a thread that carries out orders until nobody can give any.
    ///
    /// The connections are served by `runtime`, so that a page being read holds none of them up.
    fn start(self, runtime: Handle) -> mpsc::UnboundedSender<Order> {
        let (orders, mut queue) = mpsc::unbounded_channel::<Order>();
        let work = move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(async {
                while let Some(order) = queue.recv().await {
                    let reader = self.clone();
                    tokio::task::spawn_local(async move { reader.read(order).await });
                }
            }));
        };
        // Without the thread the orders are refused, and the resolver reads the pages itself.
        let _ = std::thread::Builder::new()
            .name("index pages".to_owned())
            .stack_size(uv_configuration::min_stack_size())
            .spawn(work);
        orders
    }

    async fn read(self, order: Order) {
        let mut pages = self.pages(&self.client, &order.name).await;
        if pages.as_ref().is_err_and(is_odd_page) {
            pages = self.pages(&self.lenient_client, &order.name).await;
        }
        if let Err(error) = &pages
            && matches!(error.kind(), ErrorKind::RemotePackageNotFound(_))
        {
            self.look_for_refusals(&order.name).await;
        }
        let pages = pages.unwrap_or_default();
        let _ = order.done.send(pages);
    }

    async fn pages(
        &self,
        client: &RegistryClient,
        name: &PackageName,
    ) -> Result<Pages, uv_client::Error> {
        let pages = client.simple_detail(name, None, &self.capabilities, &self.slots);
        let pages = pages.await?;
        for (index, page) in &pages {
            if matches!(page, MetadataFormat::Simple(page) if page.iter().next().is_none()) {
                self.look_for_login_page(index.url(), name).await;
            }
        }
        Ok(Pages {
            are_cached: true,
            have_legacy_versions: pages.iter().any(|(_, page)| has_legacy_versions(page)),
        })
    }

    /// Asks `index` once more for a page without files, to learn whether it is a login page.
    async fn look_for_login_page(&self, index: &DisplaySafeUrl, name: &PackageName) {
        let page = page_of(index, name);
        let request = self.client.uncached_client(&page);
        let request = request
            .get(Url::from(page.clone()))
            .header(ACCEPT, "text/html");
        let Ok(answer) = request.send().await else {
            return;
        };
        let shown = answer.url().clone();
        if answer.text().await.is_ok_and(|html| is_login_page(&html)) {
            let index = redacted(index.as_str());
            self.oddities.login_page(&index, name, &shown);
        }
    }

    /// Asks each index once more for what none has, to learn whether it refuses to say.
    async fn look_for_refusals(&self, name: &PackageName) {
        for index in &self.indexes {
            let page = page_of(index, name);
            let request = self
                .client
                .uncached_client(&page)
                .get(Url::from(page.clone()));
            let answer = request.send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED) {
                let mut refusals = self.refusals.0.lock().expect("no panic while locked");
                refusals.insert(redacted(index.as_str()));
            }
        }
    }
}

/// The URL of the page that `index` has of the package `name`.
fn page_of(index: &DisplaySafeUrl, name: &PackageName) -> DisplaySafeUrl {
    let mut page = index.clone();
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().push(name.as_ref()).push("");
    }
    page
}
