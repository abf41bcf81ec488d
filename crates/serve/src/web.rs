//! The pages for people, rendered from the snapshots that the indexes are made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderValue, REFERRER_POLICY};
use wheelhouse_publish::simple_index;
use wheelhouse_site::{LinkContext, Site, SiteFile, Verification, WheelhouseFacts};
use wheelhouse_types::{Manifest, PackageName, Version, limits};

use crate::fallback::PullThrough;
use crate::index::{Index, ServedDistribution};
use crate::negotiation;
use crate::page::Representation;
use crate::respond;
use crate::snapshot::{Derived, Snapshot};
use crate::wheelhouse::Wheelhouse;

/// The time for which the newest versions on the fallback index are not asked for again.
const NEWEST_VALID: Duration = Duration::from_hours(1);

/// Verifies the wheelhouse in a directory, which may take a while. Returns `None` if that is not possible.
pub type Verifier = Arc<dyn Fn(&Path) -> Option<Verification> + Send + Sync>;

/// Renders the pages of all wheelhouses.
pub(crate) struct Web {
    wheelhouses: Vec<Arc<Wheelhouse>>,
    /// The path below which the pages are.
    base: String,
    is_encrypted: bool,
    site: Derived<Site>,
    pull_through: Option<Arc<PullThrough>>,
    newest: Mutex<Newest>,
    verifier: Option<Verifier>,
    /// By the names of the wheelhouses.
    verified: Mutex<HashMap<String, VerifiedSnapshot>>,
}

/// A snapshot that was verified, or is being verified.
#[derive(Debug)]
struct VerifiedSnapshot {
    snapshot: Arc<Snapshot>,
    result: Option<Verification>,
}

/// The newest versions on the fallback index, as of a point in time.
#[derive(Debug, Default)]
struct Newest {
    asked: Option<Instant>,
    versions: BTreeMap<PackageName, Version>,
}

/// A page for people.
#[derive(Clone, Debug)]
pub(crate) enum WebPage {
    Home,
    /// A wheelhouse by its path segment.
    Wheelhouse(String),
    /// A package by its normalized name.
    Package(String),
}

impl Web {
    pub(crate) fn new(
        wheelhouses: Vec<Arc<Wheelhouse>>,
        base: &str,
        is_encrypted: bool,
        pull_through: Option<Arc<PullThrough>>,
        verifier: Option<Verifier>,
    ) -> Self {
        Self {
            wheelhouses,
            base: base.to_owned(),
            is_encrypted,
            site: Derived::default(),
            pull_through,
            newest: Mutex::default(),
            verifier,
            verified: Mutex::default(),
        }
    }

    /// Returns the path of the page of the package `name`.
    pub(crate) fn path_of_package(&self, name: &PackageName) -> String {
        format!("{}/package/{name}/", self.base)
    }

    /// Returns the response with `page`.
    pub(crate) async fn respond(
        self: &Arc<Self>,
        page: WebPage,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let web = Arc::clone(self);
        let context = LinkContext::new(&self.base_url(headers));
        // Reading and rendering thousands of packages takes a while.
        let rendered = tokio::task::spawn_blocking(move || {
            let site = web.site()?;
            let html = match page {
                WebPage::Home => Some(site.home(&context)),
                WebPage::Wheelhouse(name) => site.wheelhouse(&name),
                WebPage::Package(name) => site.package(&name, &context),
            };
            let page =
                |html: String| Representation::new(html.into_bytes(), negotiation::HTML, None);
            Ok::<_, io::Error>(html.map(page))
        });
        let page = match rendered.await {
            Ok(Ok(Some(page))) => page,
            Ok(Ok(None)) => return respond::not_found(),
            Ok(Err(error)) => return respond::failed(&error),
            Err(error) => return respond::failed(&error.into()),
        };
        let mut response = respond::representation(&page, headers);
        let answer = response.headers_mut();
        answer.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(wheelhouse_site::CONTENT_SECURITY_POLICY),
        );
        answer.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    /// Returns the URL under which the client sees the server; proxies say so in `X-Forwarded-Host` and `-Proto`.
    fn base_url(&self, headers: &HeaderMap) -> String {
        let first = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            value.split(',').next().map(str::trim)
        };
        let host = first("x-forwarded-host").or_else(|| first(HOST.as_str()));
        let encrypted = if self.is_encrypted { "https" } else { "http" };
        let scheme = first("x-forwarded-proto").unwrap_or(encrypted);
        format!("{scheme}://{}{}", host.unwrap_or_default(), self.base)
    }

    fn site(self: &Arc<Self>) -> io::Result<Arc<Site>> {
        let snapshots = self.wheelhouses.iter().map(|one| one.current());
        let snapshots: Vec<Arc<Snapshot>> = snapshots.collect::<io::Result<_>>()?;
        Ok(self.site.get_or_make(snapshots, |snapshots| {
            let newest = self.newest(snapshots);
            let facts = self.wheelhouses.iter().zip(snapshots);
            let facts = facts.map(|(wheelhouse, snapshot)| WheelhouseFacts {
                verification: self.verification(wheelhouse, snapshot),
                newest: newest.clone(),
                ..facts_of(wheelhouse, snapshot)
            });
            Arc::new(Site::new(facts.collect()))
        }))
    }

    /// Returns the newest versions that are known, and asks the fallback in the background if they are old.
    fn newest(self: &Arc<Self>, snapshots: &[Arc<Snapshot>]) -> BTreeMap<PackageName, Version> {
        let Some(pull_through) = self.pull_through.clone() else {
            return BTreeMap::new();
        };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest
            .asked
            .is_none_or(|asked| asked.elapsed() > NEWEST_VALID)
        {
            newest.asked = Some(Instant::now());
            let projects = snapshots
                .iter()
                .flat_map(|snapshot| snapshot.index.projects());
            let projects: BTreeSet<PackageName> = projects.cloned().collect();
            let web = Arc::clone(self);
            tokio::spawn(async move {
                let versions = pull_through.newest(projects.into_iter().collect()).await;
                let forget = tokio::task::spawn_blocking(move || {
                    let mut newest = web.newest.lock().unwrap_or_else(PoisonError::into_inner);
                    newest.versions = versions;
                    drop(newest);
                    web.site.clear();
                });
                let _ = forget.await;
            });
        }
        newest.versions.clone()
    }

    /// Returns the result of verifying `snapshot`, or starts to verify it in the background.
    fn verification(
        self: &Arc<Self>,
        wheelhouse: &Arc<Wheelhouse>,
        snapshot: &Arc<Snapshot>,
    ) -> Option<Verification> {
        let verifier = Arc::clone(self.verifier.as_ref()?);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = verified.get(&wheelhouse.name)
            && Arc::ptr_eq(&known.snapshot, snapshot)
        {
            return known.result.clone();
        }
        let running = VerifiedSnapshot {
            snapshot: Arc::clone(snapshot),
            result: None,
        };
        verified.insert(wheelhouse.name.clone(), running);
        let (web, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
        let wheelhouse = Arc::clone(wheelhouse);
        tokio::task::spawn_blocking(move || {
            let result = verifier(&wheelhouse.directory);
            let mut verified = web.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = verified.get_mut(&wheelhouse.name)
                && Arc::ptr_eq(&known.snapshot, &snapshot)
            {
                known.result = result;
            }
            drop(verified);
            web.site.clear();
        });
        None
    }
}

fn facts_of(wheelhouse: &Wheelhouse, snapshot: &Snapshot) -> WheelhouseFacts {
    let index = &snapshot.index;
    let files = index.distributions().map(|distribution| SiteFile {
        indexed: (*distribution.indexed).clone(),
        metadata: metadata(&wheelhouse.directory, index, distribution),
    });
    let modified = index.modified();
    WheelhouseFacts {
        name: wheelhouse.name.clone(),
        manifest: snapshot.manifest.clone(),
        made: modified.and_then(|time| jiff::Timestamp::try_from(time).ok()),
        files: files.collect(),
        previous: previous_manifest(&wheelhouse.directory),
        ..WheelhouseFacts::default()
    }
}

/// Returns the bytes of the metadata file of `distribution`, or of `METADATA` in the wheel.
fn metadata(
    directory: &Path,
    index: &Index,
    distribution: &ServedDistribution,
) -> Option<Arc<[u8]>> {
    let name = distribution.file.name();
    let beside = simple_index::metadata_name(name).and_then(|name| index.file(&name));
    if let Some(bytes) = beside.and_then(|file| file.read(limits::METADATA).ok()) {
        return Some(bytes.into());
    }
    if wheelhouse_archive::is_sdist_name(name) {
        return None;
    }
    let inspected = wheelhouse_archive::inspect(&directory.join(name), name);
    inspected.ok().map(|wheel| wheel.metadata.into())
}

fn previous_manifest(directory: &Path) -> Option<Manifest> {
    let path = directory.join(wheelhouse_types::manifest::PREVIOUS_NAME);
    let bytes = wheelhouse_fs::input::read_regular(&path).ok()?;
    Manifest::parse(&bytes).ok()
}

/// Returns the style sheet, script or icon `name`. Its name changes with its content.
pub(crate) fn asset(name: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(asset) = wheelhouse_site::asset(name) else {
        return respond::not_found();
    };
    let page = Representation::new(asset.bytes.to_vec(), asset.content_type, None);
    let mut response = respond::representation(&page, headers);
    let lasting = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, lasting);
    response
}
