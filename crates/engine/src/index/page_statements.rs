//! The statements of index pages that uv does not remember: digests of metadata files, refused links and foreign files.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use reqwest::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use super::foreign_files::ForeignWheels;
use super::page_links::PageLinks;
use super::page_records::PageRecord;

/// The SHA-256 of a metadata file.
pub(super) type Digest = [u8; 32];

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
pub(super) struct PageStatements {
    /// The digests of metadata files, with their URLs.
    pub(super) digests: Vec<(Url, Digest)>,
    pub(super) has_refused_links: bool,
    pub(super) has_foreign_files: bool,
    pub(super) record: PageRecord,
}

impl PageStatements {
    /// Reads the page `body` of `response`, which the URL `requested` led to.
    pub(super) fn read(
        links: &PageLinks,
        requested: &Url,
        response: &Response,
        body: &[u8],
    ) -> Self {
        let judge = ForeignWheels::new(requested);
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_json = content_type
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("json"));
        if is_json {
            Self::read_json(links, judge, body, response.url())
        } else {
            let html = String::from_utf8_lossy(body);
            Self::read_html(links, judge, &html, response.url())
        }
    }

    fn read_json(links: &PageLinks, mut judge: ForeignWheels, body: &[u8], page: &Url) -> Self {
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

    fn read_html(links: &PageLinks, mut judge: ForeignWheels, html: &str, page: &Url) -> Self {
        let mut stated = Self::default();
        let Ok(dom) = tl::parse(html, tl::ParserOptions::default()) else {
            return stated;
        };
        let mut base = page.clone();
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

fn parse(digits: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    hex::decode_to_slice(digits, &mut digest).ok()?;
    Some(digest)
}
