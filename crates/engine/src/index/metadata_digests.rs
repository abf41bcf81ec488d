//! The digests that index pages state for the metadata files of wheels (PEP 658, PEP 714).
//!
//! uv remembers only that a page offers such files, not their digests. [`MetadataDigests`] is a middleware of the HTTP
//! client that reads the digests from pages as they arrive, and refuses a metadata file that has another one. It also
//! keeps pages from uv with links that [are refused](PageLinks). Pages outlive a run in uv's cache, so the digests are kept beside them; a page that an older version cached has none.

use std::borrow::Cow;
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
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;
use uv_normalize::PackageName;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

use super::foreign_files::ForeignWheels;
use super::page_links::PageLinks;
use super::page_records::{PageRecord, PageRecords};
use crate::error::EngineError;
use crate::network::client::{JSON_PAGE, PageKind};
use crate::network::redirect::redirect_target;

/// The start of the SHA-256 of a metadata file's URL.
type Key = [u8; 16];
/// The SHA-256 of a metadata file.
type Digest = [u8; 32];

/// The length of one entry of a file of digests: a key and a digest.
const ENTRY: usize = size_of::<Key>() + size_of::<Digest>();

/// The digests of the pages seen so far, in this run and by the cache.
pub(crate) struct MetadataDigests {
    directory: PathBuf,
    links: PageLinks,
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
    pub(crate) fn new(directory: PathBuf, links: PageLinks) -> Self {
        Self {
            directory,
            links,
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
            let page = Stated::read(&self.links, &response, &body);
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
            if let (Some(_), Some(records)) = (kind, &self.records)
                && let Some(target) = redirect_target(&response)
            {
                records.follow(&url, &target);
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

/// A page of files as JSON (PEP 691).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Page<'a> {
    #[serde(borrow)]
    files: Vec<PageFile<'a>>,
    project_status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PageFile<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    filename: Option<Cow<'a, str>>,
    hashes: Option<PageHashes>,
    core_metadata: Option<Value>,
    dist_info_metadata: Option<Value>,
    data_dist_info_metadata: Option<Value>,
    provenance: Option<Value>,
}

/// The digests of a file that uv knows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PageHashes {
    md5: Option<IgnoredAny>,
    sha256: Option<IgnoredAny>,
    sha384: Option<IgnoredAny>,
    sha512: Option<IgnoredAny>,
    blake2b: Option<IgnoredAny>,
}

impl PageHashes {
    fn is_empty(&self) -> bool {
        let all = [
            &self.md5,
            &self.sha256,
            &self.sha384,
            &self.sha512,
            &self.blake2b,
        ];
        all.into_iter().all(Option::is_none)
    }
}

/// The statements of a page that matter here.
#[derive(Default)]
struct Stated {
    /// The digests of metadata files, with their URLs.
    digests: Vec<(Url, Digest)>,
    has_refused_links: bool,
    has_foreign_files: bool,
    record: PageRecord,
}

impl Stated {
    fn read(links: &PageLinks, response: &Response, body: &[u8]) -> Self {
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_json = content_type
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("json"));
        if is_json {
            Self::read_json(links, body, response.url())
        } else {
            Self::read_html(links, &String::from_utf8_lossy(body), response.url())
        }
    }

    fn read_json(links: &PageLinks, body: &[u8], page: &Url) -> Self {
        let mut stated = Self::default();
        let Ok(Page {
            files,
            project_status,
        }) = serde_json::from_slice(body)
        else {
            return stated;
        };
        if let Some(status) = &project_status
            && let Some(marker) = status["status"].as_str()
        {
            stated.record.set_status(marker, status["reason"].as_str());
        }
        let mut judge = ForeignWheels::new(page);
        for file in &files {
            judge.see(file.filename.as_deref().unwrap_or_default());
            let has_digest = || {
                file.hashes
                    .as_ref()
                    .is_some_and(|hashes| !hashes.is_empty())
            };
            stated.has_refused_links |=
                (links.refusal(page, page, &file.url, has_digest)).is_some();
            let metadata = [
                &file.core_metadata,
                &file.dist_info_metadata,
                &file.data_dist_info_metadata,
            ];
            let mut metadata = metadata.into_iter().flatten();
            let digest = metadata.find_map(|stated| parse(stated.get("sha256")?.as_str()?));
            stated.add(page, &file.url, digest);
            if let Some(href) = file.provenance.as_ref().and_then(Value::as_str)
                && let Some(filename) = &file.filename
            {
                stated.record.add_provenance(page, filename, href);
            }
        }
        stated.has_foreign_files = judge.finds_foreign();
        stated
    }

    fn read_html(links: &PageLinks, html: &str, page: &Url) -> Self {
        let mut stated = Self::default();
        let Ok(dom) = tl::parse(html, tl::ParserOptions::default()) else {
            return stated;
        };
        let (mut base, mut judge) = (page.clone(), ForeignWheels::new(page));
        let (mut marker, mut reason) = (None, None);
        for tag in dom.nodes().iter().filter_map(|node| node.as_tag()) {
            let attribute = |name: &str| {
                let value = tag.attributes().get(name).flatten()?;
                Some(html_escape::decode_html_entities(&value.as_utf8_str()).into_owned())
            };
            match attribute("name").as_deref() {
                Some("pypi:project-status") => marker = attribute("content"),
                Some("pypi:project-status-reason") => reason = attribute("content"),
                _ => {}
            }
            let Some(href) = attribute("href") else {
                continue;
            };
            if let Some(url) = attribute("data-provenance") {
                stated.record.add_provenance(&base, &file_name(&href), &url);
            }
            judge.see(&file_name(&href));
            let has_digest = || has_digest(&href);
            stated.has_refused_links |= (links.refusal(page, &base, &href, has_digest)).is_some();
            let digest = ["data-core-metadata", "data-dist-info-metadata"]
                .into_iter()
                .filter_map(attribute)
                .find_map(|stated| parse(stated.strip_prefix("sha256=")?));
            stated.add(&base, &href, digest);
            if tag.name().as_bytes().eq_ignore_ascii_case(b"base") {
                base = page.join(&href).unwrap_or(base);
            }
        }
        if let Some(marker) = marker {
            stated.record.set_status(&marker, reason.as_deref());
        }
        stated.has_foreign_files = judge.finds_foreign();
        stated
    }

    /// Adds the file at `href`, whose metadata has the `digest` if one is stated.
    fn add(&mut self, base: &Url, href: &str, digest: Option<Digest>) {
        if let (Some(digest), Some(url)) = (digest, metadata_url(base, href)) {
            self.digests.push((url, digest));
        }
    }
}

/// Returns the name of the file at `href`.
fn file_name(href: &str) -> Cow<'_, str> {
    let end = href.find(['?', '#']).unwrap_or(href.len());
    let name = href[..end].rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(name).decode_utf8_lossy()
}

/// Returns whether the fragment of `href` states a digest.
fn has_digest(href: &str) -> bool {
    let fragment = href.split_once('#').map_or("", |(_, fragment)| fragment);
    let mut parts = fragment.split('&').filter_map(|part| part.split_once('='));
    parts.any(|(name, _)| ["md5", "sha256", "sha384", "sha512", "blake2b"].contains(&name))
}

/// Returns the URL of the metadata file beside the file at `href`.
fn metadata_url(base: &Url, href: &str) -> Option<Url> {
    let mut url = base.join(href).ok()?;
    url.set_path(&format!("{}.metadata", url.path()));
    Some(url)
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

fn parse(digits: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    hex::decode_to_slice(digits, &mut digest).ok()?;
    Some(digest)
}
