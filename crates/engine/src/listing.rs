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
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use url::Url;
use uv_client::{ErrorKind, RegistryClient};
use uv_distribution_types::IndexCapabilities;
use uv_normalize::PackageName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_model::redact::redacted;

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
        let slots = &self.slots;
        let pages = self
            .client
            .simple_detail(&order.name, None, &self.capabilities, slots)
            .await;
        let pages = pages.map(|pages| Pages {
            are_cached: true,
            have_legacy_versions: pages.iter().any(|(_, page)| has_legacy_versions(page)),
        });
        if let Err(error) = &pages
            && matches!(error.kind(), ErrorKind::RemotePackageNotFound(_))
        {
            self.look_for_refusals(&order.name).await;
        }
        let pages = pages.unwrap_or_default();
        let _ = order.done.send(pages);
    }

    /// Asks each index once more for what none has, to learn whether it refuses to say.
    async fn look_for_refusals(&self, name: &PackageName) {
        for index in &self.indexes {
            let mut page = index.clone();
            if let Ok(mut segments) = page.path_segments_mut() {
                segments.pop_if_empty().push(name.as_ref()).push("");
            }
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
