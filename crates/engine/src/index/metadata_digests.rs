//! The digests that index pages state for the metadata files of wheels (PEP 658, PEP 714).
//!
//! uv remembers only that a page offers such files, not their digests. [`MetadataDigests`] is a middleware of the HTTP
//! client that reads the digests from pages as they arrive, and refuses a metadata file that has another one. It also
//! keeps pages from uv with links that [are refused](PageLinks). Pages outlive a run in uv's cache, so the digests are
//! kept beside them; a page that an older version cached has none.

use std::collections::{HashMap, HashSet};
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Extensions, StatusCode};
use reqwest::{Request, Response, ResponseBuilderExt as _};
use reqwest_middleware::{Middleware, Next};
use sha2::{Digest as _, Sha256};
use url::Url;
use uv_normalize::PackageName;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

use super::page_links::PageLinks;
use super::page_records::{PageRecords, PageRedirects};
use super::page_statements::{Digest, PageStatements};
use crate::error::EngineError;
use crate::network::client::{JSON_PAGE, PageKind};
use crate::network::redirect::redirect_target;

/// The start of the SHA-256 of a metadata file's URL.
type Key = [u8; 16];

/// The length of one entry of a file of digests: a key and a digest.
const ENTRY: usize = size_of::<Key>() + size_of::<Digest>();

/// The digests of the pages seen so far, in this run and by the cache.
pub(crate) struct MetadataDigests {
    directory: PathBuf,
    links: PageLinks,
    redirects: PageRedirects,
    known: Mutex<AnnouncedDigests>,
    records: Option<Arc<PageRecords>>,
}

#[derive(Default)]
struct AnnouncedDigests {
    digests: HashMap<Key, Digest>,
    /// The packages whose digests in the cache were read.
    read: HashSet<String>,
}

impl MetadataDigests {
    /// Stores digests below `directory`.
    pub(crate) fn new(directory: PathBuf, links: PageLinks, redirects: PageRedirects) -> Self {
        Self {
            directory,
            links,
            redirects,
            known: Mutex::default(),
            records: None,
        }
    }

    /// Keeps what pages say besides in `records`.
    pub(crate) fn with_records(self, records: Arc<PageRecords>) -> Self {
        Self {
            records: Some(records),
            ..self
        }
    }

    /// Remembers `stated`, the digests of the page at `url`.
    fn remember(&self, url: &Url, stated: &[(Url, Digest)]) {
        let Some(package) = stated.first().and_then(|(file, _)| package_of(file)) else {
            return;
        };
        let entries: Vec<(Key, Digest)> = stated
            .iter()
            .map(|(file, digest)| (key(file), *digest))
            .collect();
        if let Err(error) = self.keep(&package, url, &entries) {
            tracing::debug!("failed to keep the metadata digests of {package}: {error}");
        }
        self.lock().digests.extend(entries);
    }

    fn keep(&self, package: &str, page: &Url, entries: &[(Key, Digest)]) -> std::io::Result<()> {
        let directory = self.directory.join(package);
        fs_err::create_dir_all(&directory)?;
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|(key, digest)| [&key[..], &digest[..]].concat())
            .collect();
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&directory)?;
        file.write_all(&bytes)?;
        file.persist(directory.join(name_of(page)))?;
        Ok(())
    }

    /// Returns the digest stated for the metadata file at `url`.
    fn stated(&self, url: &Url) -> Option<Digest> {
        let mut known = self.lock();
        let key = key(url);
        if let Some(digest) = known.digests.get(&key) {
            return Some(*digest);
        }
        let package = package_of(url)?;
        if known.read.insert(package.clone()) {
            let cached = read(&self.directory.join(package));
            for (key, digest) in cached {
                known.digests.entry(key).or_insert(digest);
            }
        }
        known.digests.get(&key).copied()
    }

    /// Applies the digest of `url` to the target of its redirect.
    fn follow(&self, url: &Url, response: &Response) {
        if let (Some(target), Some(digest)) = (redirect_target(response), self.stated(url)) {
            self.lock().digests.insert(key(&target), digest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, AnnouncedDigests> {
        self.known.lock().expect("no panic while locked")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the page has links that are refused")]
struct RefusedLinks;

#[async_trait::async_trait]
impl Middleware for MetadataDigests {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let kind = PageKind::of(&request);
        let url = request.url().clone();
        let response = next.run(request, extensions).await?;
        if let Some(kind) = kind
            && response.status() == StatusCode::OK
        {
            let (mut response, body) = whole(response).await?;
            let requested = self.redirects.requested(&url);
            let page = PageStatements::read(&self.links, &requested, &response, &body);
            if kind == PageKind::Index
                && let Some(records) = &self.records
            {
                records.keep(&url, &page.record);
                if page.record.is_quarantined() {
                    return Ok(empty_page(response.url()));
                }
            }
            if page.has_refused_links || (page.has_foreign_files && kind == PageKind::Index) {
                // Without a content type, uv rejects the page, and it is requested again through `LenientPages`.
                if kind == PageKind::FindLinks {
                    return Err(reqwest_middleware::Error::middleware(RefusedLinks));
                }
                response.headers_mut().remove(CONTENT_TYPE);
                return Ok(response);
            }
            self.remember(response.url(), &page.digests);
            return Ok(response);
        }
        if response.status().is_redirection() {
            self.follow(&url, &response);
            if let (Some(_), Some(target)) = (kind, redirect_target(&response)) {
                self.redirects.follow(&url, &target);
            }
            return Ok(response);
        }
        let stated = self.stated_for(&url, &response);
        let Some(stated) = stated else {
            return Ok(response);
        };
        let (response, body) = whole(response).await?;
        let digest = Sha256::digest(&body);
        if digest[..] == stated {
            return Ok(response);
        }
        let message = format!(
            "{} has the SHA-256 {}, and its index states {}",
            redacted(url.as_str()),
            hex::encode(digest),
            hex::encode(stated)
        );
        let error = Error::new(Kind::Fetch, message).with_hint(
            "The metadata of this wheel was changed on its way or on the server; ask those who run the index.",
        );
        Err(reqwest_middleware::Error::middleware(EngineError::new(
            error,
        )))
    }
}

impl MetadataDigests {
    fn stated_for(&self, url: &Url, response: &Response) -> Option<Digest> {
        if response.status() != StatusCode::OK {
            return None;
        }
        let known = self.lock().digests.get(&key(url)).copied();
        known.or_else(|| {
            let is_metadata = url.path().ends_with(".whl.metadata");
            is_metadata.then(|| self.stated(url)).flatten()
        })
    }
}

/// Reads all of `response`, and returns the same answer with its body.
async fn whole(response: Response) -> reqwest_middleware::Result<(Response, bytes::Bytes)> {
    let mut copy = http::Response::builder()
        .status(response.status())
        .version(response.version())
        .url(response.url().clone());
    for (name, value) in response.headers() {
        // They are about the bytes that were sent, not those that were read.
        if ![CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            copy = copy.header(name, value);
        }
    }
    let body = response.bytes().await?;
    let copy = copy
        .body(body.clone())
        .map_err(reqwest_middleware::Error::middleware)?;
    Ok((copy.into(), body))
}

/// Returns a page without files: those of a quarantined project must not be used (PEP 792).
fn empty_page(url: &Url) -> Response {
    let page = r#"{"meta": {"api-version": "1.0"}, "files": []}"#;
    let response = http::Response::builder()
        .url(url.clone())
        .header(CONTENT_TYPE, JSON_PAGE)
        .body(page);
    response.expect("the headers are valid").into()
}

/// Returns the key of `url`, which does not depend on credentials and fragments.
fn key(url: &Url) -> Key {
    let mut url = url.clone();
    url.set_fragment(None);
    // Only URLs without a host refuse these, and they have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let digest = Sha256::digest(url.as_str());
    *digest.first_chunk().expect("a digest is longer than a key")
}

/// Returns the name under which the digests of `page` are kept.
fn name_of(page: &Url) -> String {
    hex::encode(key(page))
}

/// Returns the package whose wheel's metadata is at `url`.
fn package_of(url: &Url) -> Option<String> {
    let filename = url.path_segments()?.next_back()?;
    let name: PackageName = filename.split('-').next()?.parse().ok()?;
    Some(name.to_string())
}

/// Reads the digests in `directory`. Files that were not written in full are ignored.
fn read(directory: &Path) -> Vec<(Key, Digest)> {
    let Ok(files) = fs_err::read_dir(directory) else {
        return Vec::new();
    };
    let contents = files.filter_map(|file| fs_err::read(file.ok()?.path()).ok());
    contents
        .flat_map(|bytes| {
            let entries = bytes.chunks_exact(ENTRY).filter_map(|entry| {
                let (key, digest) = entry.split_first_chunk()?;
                Some((*key, digest.try_into().ok()?))
            });
            entries.collect::<Vec<_>>()
        })
        .collect()
}
