//! Pull-through from another index: what the wheelhouse does not have is listed with its own files, and is fetched, checked
//! and added to the wheelhouse when it is first requested.
//!
//! A project of which the wheelhouses have a file from elsewhere is never looked up: a project of the same name on the index
//! may be that of another author (dependency confusion). Files keep their names and digests; a local file is never
//! replaced by one of the index.
//!
//! If the index cannot be reached, pages have what is there, and the failure is logged.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures::{StreamExt as _, stream};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use reqwest::{Client, ClientBuilder, Response, redirect};
use tokio::sync::Semaphore;
use url::Url;
use wheelhouse_publish::addition::AddedEntry;
use wheelhouse_publish::simple_index::{self, IndexedProject, Page};
use wheelhouse_publish::{AddOutcome, Addition, DirectoryPublisher, IndexedWheel};
use wheelhouse_transport::{Unreachable, tls_with};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{Sdist, Wheel};
use wheelhouse_types::redact::{redacted, without_credentials};
use wheelhouse_types::{
    Error, Kind, Manifest, Origin, PackageName, ProjectStatus, Result, Sha256, StatusMarker,
    Version, WheelFilename, limits,
};

use self::upstream_page::{JSON, UpstreamFile, UpstreamPage};
use crate::incoming::{self, FileLocks, Incoming, ReceivedFile};
use crate::index::Index;
use crate::scope::Scope;
use crate::snapshot::Snapshot;

mod upstream_page;

/// The formats of pages, by preference.
const ACCEPT_PAGES: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// The time for which a page is used without asking again.
const FRESH: Duration = Duration::from_mins(1);

/// The time for which an index that cannot be reached is not asked again.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// The number of pages that are kept in memory.
const PAGES: usize = 512;

/// The total size of the metadata files that are kept in memory, in bytes.
const METADATA: usize = 64 << 20;

/// The number of pages that are requested at once to learn the newest versions.
const CONCURRENT_PAGES: usize = 4;

/// The number of concurrent requests to the index.
const REQUESTS: usize = 32;

/// The options of a fallback.
#[derive(Clone, Debug)]
pub struct FallbackOptions {
    /// The URL of the index, the parent of the pages of projects. It may have credentials.
    pub index: Url,
    /// A file of certificates to trust instead of the usual ones.
    pub certificates: Option<PathBuf>,
    /// A proxy for all requests instead of that of the environment.
    pub proxy: Option<String>,
    /// The time after which a server that sends nothing is given up.
    pub timeout: Duration,
}

/// Another index whose files fill a wheelhouse.
#[derive(Debug)]
pub(crate) struct Fallback {
    index: Url,
    /// The URL of the index as it is recorded and shown.
    shown: String,
    publisher: DirectoryPublisher,
    client: Client,
    requests: Semaphore,
    locks: FileLocks,
    pages: Mutex<HashMap<PackageName, CachedPage>>,
    metadata: Mutex<HashMap<String, Bytes>>,
    /// The time of the last failure to reach the index.
    unreachable: Mutex<Option<Instant>>,
}

/// The last response about a project.
#[derive(Clone, Debug)]
struct CachedPage {
    /// `None` if the index does not have the project.
    page: Option<Arc<UpstreamPage>>,
    entity_tag: Option<hyper::header::HeaderValue>,
    checked: Instant,
}

/// The failure to get an answer from the index.
#[derive(Debug)]
struct Unavailable;

/// The result of looking up a project.
#[derive(Debug)]
pub(crate) enum ProjectLookup {
    /// The page with the local files and those of the index.
    Found(Page),
    /// Neither the wheelhouses nor the index have the project.
    Absent,
    /// The wheelhouses do not have the project, and the index cannot be asked.
    Unavailable,
}

/// The result of looking up a file.
#[derive(Debug)]
pub(crate) enum FileLookup {
    /// The file is in the wheelhouse now.
    Kept,
    /// The bytes of a metadata file.
    Metadata(Bytes),
    /// The index does not have the file, or may not be asked for it.
    Absent,
    /// The file cannot be had; the reason is for the client.
    Failed(StatusCode, String),
}

impl Fallback {
    /// Prepares requests to the index, whose files the wheelhouse in `directory` keeps.
    ///
    /// # Errors
    /// [`Kind::Input`] if the URL is not one of an HTTP server, or if the certificates or the proxy cannot be used.
    pub(crate) fn new(options: FallbackOptions, directory: PathBuf) -> Result<Self> {
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
            publisher: DirectoryPublisher {
                directory,
                overwrite: false,
            },
            client,
            requests: Semaphore::new(REQUESTS),
            locks: FileLocks::default(),
            pages: Mutex::default(),
            metadata: Mutex::default(),
            unreachable: Mutex::default(),
        })
    }

    /// Returns whether the project `name` may be looked up: all its files in the wheelhouses with these `manifests` are from
    /// the index.
    fn may_look_up<'a>(
        &self,
        name: &PackageName,
        manifests: impl IntoIterator<Item = &'a Manifest>,
    ) -> bool {
        let is_from_index = |origin: &Origin| match origin {
            Origin::Index { url } => url.trim_end_matches('/') == self.shown.trim_end_matches('/'),
            _ => false,
        };
        manifests.into_iter().all(|manifest| {
            let wheels = manifest.wheels.iter();
            let wheels = wheels.map(|wheel| (&wheel.name, &wheel.origin));
            let sdists = manifest.sdists.iter();
            let sdists = sdists.map(|sdist| (&sdist.name, &sdist.origin));
            wheels
                .chain(sdists)
                .filter(|(known, _)| *known == name.as_ref())
                .all(|(_, origin)| is_from_index(origin))
        })
    }

    /// Returns the page of the project `name` with its `local` files and those of the index. The caller has checked
    /// [`Self::may_look_up`].
    async fn project(
        &self,
        name: &PackageName,
        local: &[&IndexedWheel],
        local_status: Option<&ProjectStatus>,
    ) -> ProjectLookup {
        let upstream = match self.page(name).await {
            Ok(upstream) => upstream,
            Err(Unavailable) if local.is_empty() => return ProjectLookup::Unavailable,
            Err(Unavailable) => None,
        };
        if upstream.is_none() && local.is_empty() {
            return ProjectLookup::Absent;
        }
        let mut files: BTreeMap<&str, &IndexedWheel> = BTreeMap::new();
        for (filename, file) in upstream.iter().flat_map(|page| &page.files) {
            files.insert(filename, &file.indexed);
        }
        for file in local {
            let other = files.insert(&file.filename, file);
            if other.is_some_and(|other| other.sha256 != file.sha256) {
                let (index, filename) = (&self.shown, &file.filename);
                tracing::warn!(index, filename, "the index has another file of this name");
            }
        }
        let status = upstream.as_ref().map(|page| &page.status);
        let status = status
            .filter(|status| !status.is_default())
            .or(local_status);
        // An index must not offer the files of a project in quarantine (PEP 792).
        if status.is_some_and(|status| status.status == StatusMarker::Quarantined) {
            files.clear();
        }
        let files: Vec<&IndexedWheel> = files.into_values().collect();
        let project = IndexedProject { name, status };
        ProjectLookup::Found(simple_index::project_page(&project, &files))
    }

    /// Fetches the file `filename`, a distribution or the metadata file of one, unless it is there already. `may_look_up`
    /// returns whether a project may be looked up.
    async fn file(
        self: &Arc<Self>,
        filename: &str,
        may_look_up: impl Fn(&PackageName) -> bool,
    ) -> FileLookup {
        let (distribution, is_metadata) = match filename.strip_suffix(".metadata") {
            Some(distribution) => (distribution, true),
            None => (filename, false),
        };
        for name in candidates(distribution) {
            if !may_look_up(&name) {
                continue;
            }
            let page = match self.page(&name).await {
                Ok(Some(page)) => page,
                Ok(None) => continue,
                Err(Unavailable) => {
                    let reason = "the fallback index cannot be reached".to_owned();
                    return FileLookup::Failed(StatusCode::BAD_GATEWAY, reason);
                }
            };
            if page.status.status == StatusMarker::Quarantined {
                continue;
            }
            if let Some(file) = page.files.get(distribution).cloned() {
                // A client that goes away does not end the work, because others may wait for it.
                let fallback = Arc::clone(self);
                let work = tokio::spawn(async move {
                    if is_metadata {
                        fallback.fetch_metadata(&file).await
                    } else {
                        fallback.fetch(&file).await
                    }
                });
                return work.await.unwrap_or_else(|error| {
                    FileLookup::Failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
                });
            }
        }
        FileLookup::Absent
    }

    /// Returns the page of `name` on the index, or `None` if the index does not have the project.
    async fn page(&self, name: &PackageName) -> Result<Option<Arc<UpstreamPage>>, Unavailable> {
        if let Some(known) = self.fresh_page(name) {
            return Ok(known.page);
        }
        let _lock = self.locks.lock(&format!("simple/{name}")).await;
        if let Some(known) = self.fresh_page(name) {
            return Ok(known.page);
        }
        let known = locked(&self.pages).get(name).cloned();
        let stale = |known: Option<CachedPage>| known.map(|known| known.page).ok_or(Unavailable);
        if let Some(failed) = *locked(&self.unreachable)
            && failed.elapsed() < UNREACHABLE
        {
            return stale(known);
        }
        match self.request_page(name, known.as_ref()).await {
            Ok(current) => {
                let page = current.page.clone();
                self.keep_page(name, current);
                Ok(page)
            }
            Err(reason) => {
                let index = &self.shown;
                tracing::warn!(index, %name, reason, "the fallback index does not answer");
                stale(known)
            }
        }
    }

    fn fresh_page(&self, name: &PackageName) -> Option<CachedPage> {
        let known = locked(&self.pages).get(name).cloned();
        known.filter(|known| known.checked.elapsed() < FRESH)
    }

    fn keep_page(&self, name: &PackageName, page: CachedPage) {
        let mut pages = locked(&self.pages);
        if pages.len() >= PAGES && !pages.contains_key(name) {
            let oldest = pages.iter().min_by_key(|(_, page)| page.checked);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| pages.remove(&name));
        }
        pages.insert(name.clone(), page);
    }

    /// Requests the page of `name`, which was `known` before.
    async fn request_page(
        &self,
        name: &PackageName,
        known: Option<&CachedPage>,
    ) -> Result<CachedPage, String> {
        let url = self.index.join(&format!("{name}/"));
        let url = url.map_err(|error| error.to_string())?;
        let mut request = self.client.get(url).header(ACCEPT, ACCEPT_PAGES);
        if let Some(tag) = known.and_then(|known| known.entity_tag.as_ref()) {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let _permit = self.requests.acquire().await;
        let checked = Instant::now();
        let mut response = self.send(request).await?;
        tracing::debug!(%name, status = response.status().as_u16(), "asked the fallback index");
        let page = match (response.status(), known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => {
                return Ok(CachedPage {
                    checked,
                    ..known.clone()
                });
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => None,
            (StatusCode::OK, _) => {
                let content_type = response.headers().get(CONTENT_TYPE);
                let is_json = content_type
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|value| value.starts_with(JSON));
                let bytes = read_body(&mut response, limits::PAGE).await?;
                let (name, url) = (name.clone(), response.url().clone());
                let read = move || upstream_page::read(&name, &url, is_json, &bytes);
                let page = tokio::task::spawn_blocking(read).await;
                let page = page.map_err(|error| error.to_string())?;
                Some(Arc::new(page.ok_or("it is not an index page")?))
            }
            (status, _) => return Err(format!("it answered {status}")),
        };
        Ok(CachedPage {
            page,
            entity_tag: response.headers().get(ETAG).cloned(),
            checked,
        })
    }

    /// Fetches the metadata file of `file`.
    async fn fetch_metadata(&self, file: &UpstreamFile) -> FileLookup {
        let Some(sha256) = file.indexed.metadata else {
            return FileLookup::Absent;
        };
        let name = format!("{}.metadata", file.indexed.filename);
        let _lock = self.locks.lock(&name).await;
        if let Some(bytes) = locked(&self.metadata).get(&name) {
            return FileLookup::Metadata(bytes.clone());
        }
        let mut url = file.url.clone();
        url.set_path(&format!("{}.metadata", url.path()));
        let fetched = async {
            let _permit = self.requests.acquire().await;
            let mut response = self.get_file(url).await?;
            read_body(&mut response, limits::METADATA).await
        };
        let bytes: Bytes = match fetched.await {
            Ok(bytes) if Sha256::of(&bytes) == sha256 => bytes.into(),
            Ok(_) => return self.failed(&name, "it has another digest than the index states"),
            Err(reason) => return self.failed(&name, &reason),
        };
        let mut kept = locked(&self.metadata);
        if kept.values().map(Bytes::len).sum::<usize>() + bytes.len() > METADATA {
            kept.clear();
        }
        kept.insert(name, bytes.clone());
        FileLookup::Metadata(bytes)
    }

    /// Fetches `file` into the wheelhouse.
    async fn fetch(&self, file: &UpstreamFile) -> FileLookup {
        let filename = &file.indexed.filename;
        let _lock = self.locks.lock(filename).await;
        let (publisher, indexed) = (self.publisher.clone(), file.indexed.clone());
        let lookup = move || publisher.lookup(&indexed.filename, indexed.sha256);
        match tokio::task::spawn_blocking(lookup).await {
            Ok(Some(AddOutcome::Conflict)) => {
                return self.failed(filename, "the wheelhouse has another file of this name");
            }
            Ok(Some(_)) => return FileLookup::Kept,
            Ok(None) | Err(_) => {}
        }
        let received = {
            let _permit = self.requests.acquire().await;
            match self.receive(file).await {
                Ok(received) => received,
                Err(reason) => return self.failed(filename, &reason),
            }
        };
        let (publisher, file, shown) = (self.publisher.clone(), file.clone(), self.shown.clone());
        let page = locked(&self.pages).get(&file.indexed.name).cloned();
        let status = page.and_then(|known| Some(known.page?.status.clone()));
        let add = move || add(&publisher, &file, &received, &shown, status);
        match tokio::task::spawn_blocking(add).await {
            Ok(Ok(AddOutcome::Conflict)) => {
                self.failed(filename, "the wheelhouse has another file of this name")
            }
            Ok(Ok(_)) => {
                tracing::info!(index = self.shown, filename, "fetched a file");
                FileLookup::Kept
            }
            Ok(Err(error)) if error.kind() == Kind::Fetch => {
                self.failed(filename, &error.display_chain())
            }
            Ok(Err(error)) => {
                tracing::error!(
                    error = error.display_chain(),
                    filename,
                    "cannot keep a file"
                );
                let reason = "the file cannot be stored; the log of the server has the reason";
                FileLookup::Failed(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
            }
            Err(error) => self.failed(filename, &error.to_string()),
        }
    }

    /// Receives the bytes of `file` and compares size and digest with those that the index states.
    async fn receive(&self, file: &UpstreamFile) -> Result<ReceivedFile, String> {
        let IndexedWheel { size, sha256, .. } = file.indexed;
        let mut response = self.get_file(file.url.clone()).await?;
        let announced = (size > 0).then_some(size).or(response.content_length());
        let limit = announced.unwrap_or(limits::UNANNOUNCED_FILE);
        let incoming = Incoming::create(&self.publisher, limit).await;
        let mut incoming = incoming.map_err(|error| error.to_string())?;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.reason(&error))?
        {
            let written = incoming.write(&chunk).await;
            written.map_err(|error| error.to_string())?;
        }
        let received = incoming.finish().await.map_err(|error| error.to_string())?;
        if size > 0 && received.digests.length != size {
            return Err("it has another size than the index states".to_owned());
        }
        if received.digests.sha256 != sha256 {
            return Err("it has another digest than the index states".to_owned());
        }
        Ok(received)
    }

    /// Requests a file as it is stored.
    async fn get_file(&self, url: Url) -> Result<Response, String> {
        let request = self.client.get(url).header(ACCEPT_ENCODING, "identity");
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(format!("the server answered {status}")),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, String> {
        let response = request.send().await;
        let mut unreachable = locked(&self.unreachable);
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
    fn reason(&self, error: &reqwest::Error) -> String {
        let url = error.url().unwrap_or(&self.index);
        Unreachable::new(&without_credentials(url), error).to_string()
    }

    fn failed(&self, filename: &str, reason: &str) -> FileLookup {
        let index = &self.shown;
        tracing::warn!(index, filename, reason, "cannot fetch a file");
        let reason = format!("{filename} cannot be fetched from {index}: {reason}");
        FileLookup::Failed(StatusCode::BAD_GATEWAY, reason)
    }
}

/// A fallback of served wheelhouses.
#[derive(Debug)]
pub(crate) struct PullThrough {
    fallback: Arc<Fallback>,
    /// All wheelhouses: a project may be private in any of them.
    all: Arc<Scope>,
}

impl PullThrough {
    pub(crate) fn new(fallback: Fallback, all: Arc<Scope>) -> Self {
        Self {
            fallback: Arc::new(fallback),
            all,
        }
    }

    /// Returns the page of the project `name` with its files in `index` and those of the fallback, or `None` if the project
    /// may not be looked up.
    ///
    /// # Errors
    /// Fails if a wheelhouse cannot be read.
    pub(crate) async fn project(
        &self,
        name: &PackageName,
        index: &Index,
    ) -> io::Result<Option<ProjectLookup>> {
        let snapshots = self.all.snapshots().await?;
        if !self.is_public(name, &snapshots) {
            return Ok(None);
        }
        let local = index.project(name).iter();
        let local: Vec<&IndexedWheel> = local.map(|local| &*local.indexed).collect();
        let status = index.statuses().get(name);
        Ok(Some(self.fallback.project(name, &local, status).await))
    }

    /// Fetches the file `filename`, unless its project may not be looked up.
    ///
    /// # Errors
    /// Fails if a wheelhouse cannot be read.
    pub(crate) async fn file(&self, filename: &str) -> io::Result<FileLookup> {
        let snapshots = self.all.snapshots().await?;
        let may_look_up = |name: &PackageName| self.is_public(name, &snapshots);
        Ok(self.fallback.file(filename, may_look_up).await)
    }

    /// Returns the newest releases on the fallback of those projects `names` that may be looked up: neither pre-releases nor
    /// yanked.
    pub(crate) async fn newest(&self, names: Vec<PackageName>) -> BTreeMap<PackageName, Version> {
        let Ok(snapshots) = self.all.snapshots().await else {
            return BTreeMap::new();
        };
        let public = names
            .into_iter()
            .filter(|name| self.is_public(name, &snapshots));
        let newest = stream::iter(public).map(async |name| {
            let page = self.fallback.page(&name).await.ok()??;
            let files = page.files.values().map(|file| &file.indexed);
            let releases = files.filter(|file| file.yanked.is_none());
            let versions = releases.map(|file| &file.version);
            let newest = versions.filter(|version| !version.any_prerelease()).max()?;
            Some((name, newest.clone()))
        });
        let newest: Vec<_> = newest.buffer_unordered(CONCURRENT_PAGES).collect().await;
        newest.into_iter().flatten().collect()
    }

    /// Returns whether no wheelhouse has files of `name` from elsewhere. Nothing is known of the origins in a directory without
    /// a manifest.
    fn is_public(&self, name: &PackageName, snapshots: &[Arc<Snapshot>]) -> bool {
        let manifests = snapshots.iter().filter_map(|one| one.manifest.as_ref());
        let mut unknown = snapshots
            .iter()
            .filter(|snapshot| snapshot.manifest.is_none());
        unknown.all(|snapshot| snapshot.index.project(name).is_empty())
            && self.fallback.may_look_up(name, manifests)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates the client of an index. It is the client of registries with another limit of redirects; uv's client belongs to
/// uv's cache and to its resolver.
fn client(certificates: Option<&Path>, proxy: Option<&str>, timeout: Duration) -> Result<Client> {
    let mut builder: ClientBuilder = Client::builder()
        .user_agent(concat!("wheelhouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .read_timeout(timeout)
        .redirect(redirect::Policy::custom(follow))
        // The digest of a file is that of its bytes as stored.
        .no_brotli()
        .no_deflate()
        .no_gzip()
        .no_zstd();
    if let Some(path) = certificates {
        builder = builder.tls_backend_preconfigured(tls_with(path, None)?);
    }
    if let Some(proxy) = proxy {
        let proxy = reqwest::Proxy::all(proxy)
            .context(Kind::Input, || "the proxy is not a valid URL".to_owned())?;
        builder = builder.proxy(proxy);
    }
    builder
        .build()
        .context(Kind::Input, || "failed to create an HTTP client".to_owned())
}

/// Follows redirects except from a server with TLS to one without.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > 10 {
        attempt.error("the server redirects too often")
    } else if secure && attempt.url().scheme() != "https" {
        attempt.error("the server redirects to a server without TLS")
    } else {
        attempt.follow()
    }
}

/// Reads a response of at most `limit` bytes.
async fn read_body(response: &mut Response, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let failed = |error: reqwest::Error| error.without_url().to_string();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        limits::size(bytes.len() as u64, limit).map_err(|excess| excess.to_string())?;
    }
    Ok(bytes)
}

/// Returns the projects that may have a file called `filename`.
fn candidates(filename: &str) -> Vec<PackageName> {
    if incoming::is_wheel(filename) {
        let parsed = WheelFilename::from_str(filename).ok();
        return parsed.into_iter().map(|parsed| parsed.name).collect();
    }
    let Some(stem) = wheelhouse_archive::strip_sdist_suffix(filename) else {
        return Vec::new();
    };
    stem.rmatch_indices('-')
        .filter(|(index, _)| Version::from_str(&stem[index + 1..]).is_ok())
        .filter_map(|(index, _)| PackageName::from_str(&stem[..index]).ok())
        .take(2)
        .collect()
}

/// Adds the `received` file of the index `shown` to the wheelhouse.
fn add(
    publisher: &DirectoryPublisher,
    file: &UpstreamFile,
    received: &ReceivedFile,
    shown: &str,
    status: Option<ProjectStatus>,
) -> Result<AddOutcome> {
    let indexed = file.indexed.clone();
    let origin = Origin::Index {
        url: shown.to_owned(),
    };
    let source = redacted(without_credentials(&file.url).as_str());
    let (name, version) = (indexed.name.to_string(), indexed.version.to_string());
    let size = received.digests.length;
    let mut metadata = None;
    let entry = if incoming::is_wheel(&indexed.filename) {
        let inspected = wheelhouse_archive::inspect(received.file.path(), &indexed.filename)?;
        metadata = Some(inspected.metadata);
        AddedEntry::Wheel(Wheel {
            filename: indexed.filename,
            name,
            version,
            sha256: indexed.sha256,
            size,
            requires_python: inspected.requires_python,
            dependencies: Vec::new(),
            origin,
            source,
            yanked: indexed.yanked,
            uploaded: indexed.uploaded,
            provenance: indexed.provenance,
            added: true,
            build_only: false,
            built: None,
        })
    } else {
        AddedEntry::Sdist(Sdist {
            filename: indexed.filename,
            name,
            version,
            sha256: indexed.sha256,
            size,
            origin,
            source,
            requires_python: indexed.requires_python,
            yanked: indexed.yanked,
            uploaded: indexed.uploaded,
            provenance: indexed.provenance,
            added: true,
            build_only: false,
        })
    };
    let addition = Addition {
        entry,
        metadata,
        status,
    };
    publisher.add(received.file.path(), &addition)
}

#[cfg(test)]
mod tests;
