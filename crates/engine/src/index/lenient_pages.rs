//! Index pages with malformed entries, which uv rejects as a whole.
//!
//! A page that uv cannot read is requested again through [`LenientPages`], a middleware of the HTTP client. It reads each file
//! separately: malformed optional fields are removed, and a file that cannot be used is skipped, with the cause recorded
//! for the error message. As for pip, an index does not have the package if it responds with 410 or with something
//! that is not an index page. Other pages are not affected.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Extensions, HeaderMap, StatusCode};
use reqwest::{Request, Response, ResponseBuilderExt as _};
use reqwest_middleware::{Middleware, Next};
use serde_json::{Value, json};
use url::Url;
use uv_client::{Error, ErrorKind};
use uv_normalize::PackageName;
use uv_pypi_types::ProjectStatus;

use super::foreign_files::ForeignWheels;
use super::page_html::{files_of_html, html_page, status_of_html};
use super::page_links::PageLinks;
use super::page_records::PageRedirects;
use super::skipped_files::SkippedFiles;
use super::usable_file::usable_file;
use crate::network::client::{JSON_PAGE as JSON, PageKind};

const HTML: [&str; 2] = ["application/vnd.pypi.simple.v1+html", "text/html"];

/// Returns whether `error` is about a page that [`LenientPages`] may be able to read.
pub(crate) fn is_malformed_page(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::BadHtml { .. }
        | ErrorKind::BadJson { .. }
        | ErrorKind::MissingContentType(_)
        | ErrorKind::InvalidContentTypeHeader(..)
        | ErrorKind::UnsupportedMediaType(..) => true,
        ErrorKind::WrappedReqwestError(_, error) => error.status() == Some(StatusCode::GONE),
        // A page on this machine that is not UTF-8.
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Returns whether `html`, a page of `package` without files, asks for a login.
pub(crate) fn is_login_page(html: &str, package: &PackageName) -> bool {
    let html = html.to_ascii_lowercase().replace(package.as_ref(), "");
    let asks_for_password = html.contains("<form") && html.contains("password");
    let mut words = ["log in", "login", "sign in", "signin"].into_iter();
    asks_for_password || words.any(|word| html.contains(word))
}

/// A middleware that rewrites pages that uv cannot read.
#[derive(Clone, Default)]
pub(crate) struct LenientPages {
    skipped: SkippedFiles,
    links: PageLinks,
    redirects: PageRedirects,
}

#[async_trait::async_trait]
impl Middleware for LenientPages {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let kind = PageKind::of(&request);
        let response = next.run(request, extensions).await?;
        match kind {
            Some(kind) => self.readable(response, kind).await,
            None => Ok(response),
        }
    }
}

impl LenientPages {
    pub(crate) fn new(links: PageLinks, redirects: PageRedirects) -> Self {
        Self {
            skipped: SkippedFiles::default(),
            links,
            redirects,
        }
    }

    pub(crate) fn skipped(&self) -> &SkippedFiles {
        &self.skipped
    }

    async fn readable(
        &self,
        response: Response,
        kind: PageKind,
    ) -> reqwest_middleware::Result<Response> {
        let (status, url) = (response.status(), response.url().clone());
        if status == StatusCode::GONE && kind == PageKind::Index {
            self.skipped.not_a_page(&url, "410 Gone");
            return Ok(not_found(&url));
        }
        if status != StatusCode::OK {
            return Ok(response);
        }
        let content_type = content_type(response.headers());
        let is_json = content_type == JSON;
        if !is_json && !HTML.contains(&&*content_type) {
            if kind == PageKind::FindLinks {
                return Ok(response);
            }
            let content_type = match &*content_type {
                "" => "something without a content type",
                other => other,
            };
            let answer = format!("with {content_type}, which is not an index page");
            self.skipped.not_a_page(&url, &answer);
            return Ok(not_found(&url));
        }
        let mut headers = response.headers().clone();
        let body = response.bytes().await?;
        let files = listed(is_json, &body, &url);
        let (content_type, body) = match files {
            None => (content_type.as_str(), body.to_vec()),
            Some(listed) if kind == PageKind::Index => {
                let files = self.usable(listed, &url, PageKind::Index);
                let page = json!({"meta": {"api-version": "1.0"}, "files": files});
                (JSON, with_status(page, &body).to_string().into_bytes())
            }
            Some(listed) => {
                let files = self.usable(listed, &url, PageKind::FindLinks);
                (HTML[1], html_page(&files).into_bytes())
            }
        };
        for header in [CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(header);
        }
        if let Ok(content_type) = content_type.parse() {
            headers.insert(CONTENT_TYPE, content_type);
        }
        Ok(answer(&url, StatusCode::OK, headers, body))
    }

    /// Returns the files of the page at `url` that uv can read.
    pub(crate) fn read_bytes(&self, is_json: bool, body: &[u8], url: &Url) -> Vec<Value> {
        let listed = listed(is_json, body, url).unwrap_or_default();
        self.usable(listed, url, PageKind::Index)
    }

    /// Returns the files of the HTML page at `url` that uv can read.
    pub(crate) fn files_of_html(&self, html: &str, url: &Url, kind: PageKind) -> Vec<Value> {
        self.usable(files_of_html(html, url).unwrap_or_default(), url, kind)
    }

    /// Returns those of the `listed` files that uv can read.
    fn usable(&self, listed: Vec<Value>, url: &Url, kind: PageKind) -> Vec<Value> {
        let mut judge = ForeignWheels::new(&self.redirects.requested(url));
        if kind == PageKind::Index {
            for file in &listed {
                judge.see(name_of(file));
            }
        }
        let usable = listed.into_iter().filter_map(|file| {
            let name = name_of(&file).to_owned();
            if judge.refuses(&name) {
                self.skipped
                    .passed_over(url, &name, "it is a wheel of another package");
                return None;
            }
            let href = file.get("url").and_then(Value::as_str).unwrap_or_default();
            let hashes = file.get("hashes").and_then(Value::as_object);
            let has_digest = || hashes.is_some_and(|hashes| !hashes.is_empty());
            if let Some(why) = self.links.refusal(url, url, href, has_digest) {
                self.skipped.passed_over(url, &name, why);
                return None;
            }
            usable_file(file)
                .map_err(|why| self.skipped.passed_over(url, &name, &why))
                .ok()
        });
        usable.collect()
    }
}

fn name_of(file: &Value) -> &str {
    let name = file.get("filename").or_else(|| file.get("url"));
    name.and_then(Value::as_str).unwrap_or("a file")
}

/// Returns the files of the page at `url`, or `None` if it is not one.
fn listed(is_json: bool, body: &[u8], url: &Url) -> Option<Vec<Value>> {
    if is_json {
        files_of_json(body)
    } else {
        files_of_html(&String::from_utf8_lossy(body), url)
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}

fn not_found(url: &Url) -> Response {
    answer(url, StatusCode::NOT_FOUND, HeaderMap::new(), Vec::new())
}

fn answer(url: &Url, status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Response {
    let response = http::Response::builder().status(status).url(url.clone());
    let mut response = response.body(body).expect("the status is valid");
    *response.headers_mut() = headers;
    response.into()
}

/// Adds the project status of the page `original` to `page`, if uv can read it.
fn with_status(mut page: Value, original: &[u8]) -> Value {
    let status = match serde_json::from_slice::<Value>(original) {
        Ok(mut page) => page.get_mut("project-status").map(Value::take),
        Err(_) => status_of_html(&String::from_utf8_lossy(original)),
    };
    if let Some(status) = status
        && serde_json::from_value::<ProjectStatus>(status.clone()).is_ok()
    {
        page["project-status"] = status;
    }
    page
}

/// Returns the files of a JSON page, or `None` if it is not one.
fn files_of_json(body: &[u8]) -> Option<Vec<Value>> {
    let mut page: Value = serde_json::from_slice(body).ok()?;
    match page.get_mut("files")?.take() {
        Value::Array(files) => Some(files),
        _ => None,
    }
}
