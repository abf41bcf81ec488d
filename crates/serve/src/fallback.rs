//! Pull-through from another index: what the wheelhouse does not have is listed with its own files, and is fetched, checked
//! and added to the wheelhouse when it is first requested.
//!
//! A project of which the wheelhouses have a file from elsewhere is never looked up: a project of the same name on the index
//! may be that of another author (dependency confusion). Files keep their names and digests; a local file is never
//! replaced by one of the index.
//!
//! If the index cannot be reached, pages have what is there, and the failure is logged.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG};
use url::Url;
use wheelhouse_publish::addition::AddedEntry;
use wheelhouse_publish::simple_index::{self, IndexedProject, RenderedPage};
use wheelhouse_publish::{AddOutcome, Addition, DirectoryPublisher, IndexedWheel};
use wheelhouse_types::manifest::{Sdist, Wheel};
use wheelhouse_types::redact::{redacted, without_credentials};
use wheelhouse_types::{
    Kind, Manifest, Origin, PackageName, ProjectStatus, Result, Sha256, StatusMarker, Version,
    WheelFilename, limits,
};

pub(crate) use self::pull_through::PullThrough;
use self::upstream::{Upstream, read_body};
use self::upstream_page::{JSON, UpstreamFile, UpstreamPage};
use crate::incoming::{self, FileLocks, Incoming, ReceivedFile};

mod pull_through;
mod upstream;
mod upstream_page;

/// The time for which a page is used without asking again.
const FRESH: Duration = Duration::from_mins(1);

/// The number of pages that are kept in memory.
const PAGES: usize = 512;

/// The total size of the metadata files that are kept in memory, in bytes.
const METADATA: usize = 64 << 20;

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
    upstream: Upstream,
    publisher: DirectoryPublisher,
    locks: FileLocks,
    pages: Mutex<HashMap<PackageName, CachedPage>>,
    metadata: Mutex<HashMap<String, Bytes>>,
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
    Found(RenderedPage),
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
        Ok(Self {
            upstream: Upstream::new(options)?,
            publisher: DirectoryPublisher {
                directory,
                overwrite: false,
            },
            locks: FileLocks::default(),
            pages: Mutex::default(),
            metadata: Mutex::default(),
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
            Origin::Index { url } => {
                url.trim_end_matches('/') == self.upstream.shown.trim_end_matches('/')
            }
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
                let (index, filename) = (&self.upstream.shown, &file.filename);
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
        if self.upstream.was_unreachable() {
            return stale(known);
        }
        match self.request_page(name, known.as_ref()).await {
            Ok(current) => {
                let page = current.page.clone();
                self.keep_page(name, current);
                Ok(page)
            }
            Err(reason) => {
                let index = &self.upstream.shown;
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
        let tag = known.and_then(|known| known.entity_tag.as_ref());
        let _permit = self.upstream.permit().await;
        let checked = Instant::now();
        let mut response = self.upstream.page(name, tag).await?;
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
            let _permit = self.upstream.permit().await;
            let mut response = self.upstream.file(url).await?;
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
            let _permit = self.upstream.permit().await;
            match self.receive(file).await {
                Ok(received) => received,
                Err(reason) => return self.failed(filename, &reason),
            }
        };
        let (publisher, file, shown) = (
            self.publisher.clone(),
            file.clone(),
            self.upstream.shown.clone(),
        );
        let page = locked(&self.pages).get(&file.indexed.name).cloned();
        let status = page.and_then(|known| Some(known.page?.status.clone()));
        let add = move || add(&publisher, &file, &received, &shown, status);
        match tokio::task::spawn_blocking(add).await {
            Ok(Ok(AddOutcome::Conflict)) => {
                self.failed(filename, "the wheelhouse has another file of this name")
            }
            Ok(Ok(_)) => {
                tracing::info!(index = self.upstream.shown, filename, "fetched a file");
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
        let mut response = self.upstream.file(file.url.clone()).await?;
        let announced = (size > 0).then_some(size).or(response.content_length());
        let limit = announced.unwrap_or(limits::UNANNOUNCED_FILE);
        let incoming = Incoming::create(&self.publisher, limit).await;
        let mut incoming = incoming.map_err(|error| error.to_string())?;
        let reason = |error| self.upstream.reason(&error);
        while let Some(chunk) = response.chunk().await.map_err(reason)? {
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

    fn failed(&self, filename: &str, reason: &str) -> FileLookup {
        let index = &self.upstream.shown;
        tracing::warn!(index, filename, reason, "cannot fetch a file");
        let reason = format!("{filename} cannot be fetched from {index}: {reason}");
        FileLookup::Failed(StatusCode::BAD_GATEWAY, reason)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            listing: indexed.listing,
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
            listing: indexed.listing,
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
