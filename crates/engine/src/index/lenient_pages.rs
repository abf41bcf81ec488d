//! Index pages with malformed entries, which uv rejects as a whole.
//!
//! A page that uv cannot read is requested again through [`LenientPages`], a middleware of the HTTP client. It reads each file
//! separately: malformed optional fields are removed, and a file that cannot be used is skipped, with the cause recorded
//! for the error message. As for pip, an index does not have the package if it responds with 410 or with something
//! that is not an index page. Other pages are not affected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Extensions, HeaderMap, StatusCode};
use reqwest::{Request, Response, ResponseBuilderExt as _};
use reqwest_middleware::{Middleware, Next};
use serde_json::{Map, Value, json};
use url::Url;
use uv_client::{Error, ErrorKind};
use uv_distribution_filename::DistFilename;
use uv_normalize::PackageName;
use uv_pypi_types::{ProjectStatus, PypiFile};
use wheelhouse_types::redact::redacted;

use super::foreign_files::ForeignWheels;
use super::page_links::PageLinks;
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

/// The files and responses of indexes that were skipped in a run.
#[derive(Clone, Default)]
pub(crate) struct SkippedFiles(Arc<Mutex<SkippedByPackage>>);

#[derive(Default)]
struct SkippedByPackage {
    /// The first response of each index that was not a page.
    answers: BTreeMap<String, String>,
    of_packages: BTreeMap<String, BTreeSet<String>>,
}

impl SkippedFiles {
    /// Records that the page at `url` was not an index page.
    fn not_a_page(&self, url: &Url, answer: &str) {
        let (index, package) = index_and_package(url);
        let sentence = format!("{index} is taken not to have {package}: it answered {answer}");
        let mut known = self.0.lock().expect("no panic while locked");
        let of_package = known.of_packages.entry(package).or_default();
        of_package.insert(sentence.clone());
        known.answers.entry(index).or_insert(sentence);
    }

    /// Records that a file on the page at `url` cannot be used.
    fn passed_over(&self, url: &Url, file: &str, why: &str) {
        let (index, mut package) = index_and_package(url);
        // A page of links may be of several packages.
        if let Some(filename) = DistFilename::try_from_normalized_filename(file) {
            package = filename.name().to_string();
        }
        let file = redacted(file);
        tracing::debug!(file, package, index, reason = why, "skipping a file");
        let sentence = format!("{file} on {index} was skipped: {why}");
        let mut known = self.0.lock().expect("no panic while locked");
        let of_package = known.of_packages.entry(package).or_default();
        of_package.insert(sentence);
    }

    /// Records that the metadata of `file` is not that of `package`.
    pub(crate) fn inconsistent(&self, package: &PackageName, file: &str, found: &str) {
        let sentence = format!("{file} was skipped: its metadata is that of {found}");
        let mut known = self.0.lock().expect("no panic while locked");
        let of_package = known.of_packages.entry(package.to_string()).or_default();
        of_package.insert(sentence);
    }

    /// Records that `file` of `package` is not used for this `reason`.
    pub(crate) fn unusable(&self, package: &PackageName, file: &str, reason: &str) {
        let sentence = format!("{file} was skipped: {reason}");
        let mut known = self.0.lock().expect("no panic while locked");
        let of_package = known.of_packages.entry(package.to_string()).or_default();
        of_package.insert(sentence);
    }

    /// Records that `package` was not built for its metadata.
    pub(crate) fn metadata_build(&self, package: &str) {
        let sentence = format!(
            "{package} is not compiled to learn what it requires: its PKG-INFO is believed"
        );
        let mut known = self.0.lock().expect("no panic while locked");
        known.answers.insert(package.to_owned(), sentence);
    }

    /// Returns a sentence for each index that did not respond with an index page.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let known = self.0.lock().expect("no panic while locked");
        known.answers.values().cloned().collect()
    }

    /// Returns a sentence for each skipped file of the packages `names`.
    pub(crate) fn of_packages(&self, names: &[&str]) -> Vec<String> {
        let known = self.0.lock().expect("no panic while locked");
        let of_packages = names.iter().filter_map(|name| known.of_packages.get(*name));
        of_packages.flatten().cloned().collect()
    }
}

/// Returns the index with the page at `url`, and the package.
fn index_and_package(url: &Url) -> (String, String) {
    let mut index = url.clone();
    let package = url
        .path_segments()
        .and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    let package = package.unwrap_or_default().to_owned();
    if let Ok(mut segments) = index.path_segments_mut() {
        segments.pop_if_empty().pop().push("");
    }
    index.set_query(None);
    (redacted(index.as_str()), package)
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
    pub(crate) fn new(links: PageLinks) -> Self {
        let skipped = SkippedFiles::default();
        Self { skipped, links }
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
        let mut judge = ForeignWheels::new(url);
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

/// Returns the project status of an HTML page as that of a JSON page.
fn status_of_html(html: &str) -> Option<Value> {
    let dom = tl::parse(html, tl::ParserOptions::default()).ok()?;
    let mut status = Map::new();
    for tag in dom.nodes().iter().filter_map(|node| node.as_tag()) {
        let attributes = attributes(tag);
        let key = match attributes.get("name").map(String::as_str) {
            Some("pypi:project-status") => "status",
            Some("pypi:project-status-reason") => "reason",
            _ => continue,
        };
        status.insert(key.to_owned(), json!(attributes.get("content")));
    }
    (!status.is_empty()).then_some(Value::Object(status))
}

/// Returns the files of a JSON page, or `None` if it is not one.
fn files_of_json(body: &[u8]) -> Option<Vec<Value>> {
    let mut page: Value = serde_json::from_slice(body).ok()?;
    match page.get_mut("files")?.take() {
        Value::Array(files) => Some(files),
        _ => None,
    }
}

/// Returns the files of an HTML page at `url` as those of a JSON page, or `None` if it is not HTML.
fn files_of_html(html: &str, url: &Url) -> Option<Vec<Value>> {
    let dom = tl::parse(html, tl::ParserOptions::default()).ok()?;
    let mut base = url.clone();
    let mut files = Vec::new();
    for tag in dom.nodes().iter().filter_map(|node| node.as_tag()) {
        let is = |name: &[u8]| tag.name().as_bytes().eq_ignore_ascii_case(name);
        let attributes = attributes(tag);
        let Some(href) = attributes.get("href").filter(|href| !href.is_empty()) else {
            continue;
        };
        if is(b"base") && files.is_empty() {
            base = base.join(href).unwrap_or(base);
        } else if is(b"a") {
            files.push(file_of_link(href, &base, &attributes));
        }
    }
    Some(files)
}

/// Returns the attributes of `tag` by lowercase names, with decoded entities.
fn attributes(tag: &tl::HTMLTag<'_>) -> BTreeMap<String, String> {
    let attributes = tag.attributes().iter().map(|(name, value)| {
        let value = value.unwrap_or_default();
        let value = html_escape::decode_html_entities(&value).into_owned();
        (name.to_ascii_lowercase(), value)
    });
    attributes.collect()
}

/// Returns the file at `href` as that of a JSON page.
fn file_of_link(href: &str, base: &Url, attributes: &BTreeMap<String, String>) -> Value {
    let Ok(mut url) = base.join(href) else {
        return json!({"filename": href});
    };
    let fragment = url.fragment().unwrap_or_default().to_owned();
    url.set_fragment(None);
    let name = url
        .path_segments()
        .and_then(|mut segments| segments.next_back());
    let name = percent_encoding::percent_decode_str(name.unwrap_or_default());
    let mut file = Map::new();
    file.insert("filename".to_owned(), json!(name.decode_utf8_lossy()));
    file.insert("url".to_owned(), json!(url));
    file.insert("hashes".to_owned(), json!(digests(&fragment)));
    if let Some(requires) = attributes.get("data-requires-python") {
        file.insert("requires-python".to_owned(), json!(requires));
    }
    if let Some(reason) = attributes.get("data-yanked") {
        let yanked = if reason.is_empty() {
            json!(true)
        } else {
            json!(reason)
        };
        file.insert("yanked".to_owned(), yanked);
    }
    let metadata = attributes.get("data-core-metadata");
    if let Some(metadata) = metadata.or_else(|| attributes.get("data-dist-info-metadata")) {
        let digests = digests(metadata);
        let is_there = !digests.is_empty() || metadata == "true";
        file.insert("core-metadata".to_owned(), json!(is_there));
        if !digests.is_empty() {
            file.insert("core-metadata".to_owned(), json!(digests));
        }
    }
    if let Some(size) = attributes
        .get("data-size")
        .and_then(|size| size.parse::<u64>().ok())
    {
        file.insert("size".to_owned(), json!(size));
    }
    if let Some(time) = attributes.get("data-upload-time") {
        file.insert("upload-time".to_owned(), json!(time));
    }
    if let Some(url) = attributes.get("data-provenance") {
        file.insert("provenance".to_owned(), json!(url));
    }
    Value::Object(file)
}

/// Returns the digests in `fragment` (`sha256=...&egg=...`), by their algorithms.
fn digests(fragment: &str) -> BTreeMap<String, String> {
    let parts = fragment.split('&').filter_map(|part| part.split_once('='));
    let parts = parts.map(|(name, digest)| (name.to_ascii_lowercase(), digest.to_owned()));
    parts.filter(|(name, _)| digits(name).is_some()).collect()
}

/// Returns the number of hexadecimal digits of a digest, if the algorithm is supported.
fn digits(algorithm: &str) -> Option<usize> {
    match algorithm {
        "md5" => Some(32),
        "sha1" => Some(40),
        "sha256" => Some(64),
        "sha384" => Some(96),
        "sha512" => Some(128),
        _ => None,
    }
}

/// Removes optional fields that uv cannot read from `file`.
///
/// # Errors
/// The reason why the file cannot be used.
fn usable_file(file: Value) -> Result<Value, String> {
    let Value::Object(mut file) = file else {
        return Err("its entry is not an object".to_owned());
    };
    let hashes = match file.remove("hashes") {
        Some(Value::Object(hashes)) => hashes,
        _ => Map::new(),
    };
    let hashes = usable_hashes(hashes)?;
    // uv does not support SHA-1; `Distributions::artifact` reads it from the URL.
    if let (Some(sha1), Some(Value::String(url))) = (hashes.get("sha1"), file.get_mut("url"))
        && let Some(sha1) = sha1.as_str()
        && !url.contains('#')
    {
        let _ = write!(url, "#sha1={sha1}");
    }
    file.retain(|name, value| is_readable(name, value));
    file.insert("hashes".to_owned(), Value::Object(hashes));
    let file = Value::Object(file);
    match serde_json::from_value::<PypiFile>(file.clone()) {
        Ok(PypiFile {
            requires_python: Some(Err(error)),
            ..
        }) => Err(format!(
            "its Requires-Python is not valid: `{}`",
            error.line()
        )),
        Ok(_) => Ok(file),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns whether uv can read the optional field `name` with `value`.
fn is_readable(name: &str, value: &Value) -> bool {
    if matches!(name, "filename" | "url") {
        return true;
    }
    let probe = json!({"filename": "", "url": "", "hashes": {}, name: value});
    serde_json::from_value::<PypiFile>(probe).is_ok()
}

fn usable_hashes(hashes: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut usable = Map::new();
    for (name, digest) in hashes {
        let name = name.to_ascii_lowercase();
        let (Some(digits), Value::String(digest)) = (digits(&name), digest) else {
            continue;
        };
        let is_hexadecimal = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digest.len() != digits || !is_hexadecimal {
            return Err(format!("its {name} is not a digest: `{digest}`"));
        }
        usable.insert(name, Value::String(digest.to_ascii_lowercase()));
    }
    Ok(usable)
}

/// Returns a page of `files` as HTML: uv does not read JSON in `--find-links` locations.
fn html_page(files: &[Value]) -> String {
    let mut page = "<!DOCTYPE html><html><body>\n".to_owned();
    for file in files {
        let text = |name: &str| file[name].as_str();
        let url = text("url").unwrap_or_default();
        let mut hashes = file["hashes"].as_object().into_iter().flatten();
        let strongest = hashes.rfind(|(name, _)| *name != "sha1");
        let fragment = strongest
            .map(|(name, digest)| format!("#{name}={}", digest.as_str().unwrap_or_default()));
        let url = url.split('#').next().unwrap_or_default();
        let href = format!("{url}{}", fragment.unwrap_or_default());
        let quoted = |text: &str| html_escape::encode_double_quoted_attribute(text).into_owned();
        let _ = write!(page, "<a href=\"{}\"", quoted(&href));
        if let Some(requires) = text("requires-python") {
            let _ = write!(page, " data-requires-python=\"{}\"", quoted(requires));
        }
        match &file["yanked"] {
            Value::Bool(true) => page.push_str(" data-yanked"),
            Value::String(reason) => {
                let _ = write!(page, " data-yanked=\"{}\"", quoted(reason));
            }
            _ => {}
        }
        page.push_str("></a>\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(extra: &Value) -> Value {
        let mut file = json!({"filename": "a-1.tar.gz", "url": "a-1.tar.gz", "hashes": {}});
        for (name, value) in extra.as_object().unwrap() {
            file[name] = value.clone();
        }
        file
    }

    #[test]
    fn removes_malformed_optional_fields() {
        for malformed in [
            json!({"size": null}),
            json!({"size": -1}),
            json!({"yanked": null}),
            json!({"hashes": null}),
            json!({"hashes": {"sha9": "1", "sha256": null}}),
            json!({"upload-time": "yesterday"}),
            json!({"upload-time": ""}),
            json!({"core-metadata": "yes"}),
            json!({"dist-info-metadata": []}),
            json!({"requires-python": 3}),
            json!({"gpg-sig": {"a": 1}}),
        ] {
            let usable =
                usable_file(file(&malformed)).unwrap_or_else(|why| panic!("{malformed}: {why}"));
            serde_json::from_value::<PypiFile>(usable).unwrap();
        }
    }

    #[test]
    fn rejects_unusable_file_with_reason() {
        for (malformed, word) in [
            (json!({"filename": null}), "invalid type"),
            (json!({"url": 1}), "invalid type"),
            (json!({"hashes": {"sha256": "abc"}}), "its sha256"),
            (json!({"requires-python": "new"}), "Requires-Python"),
        ] {
            let why = usable_file(file(&malformed)).unwrap_err();
            assert!(why.contains(word), "{malformed}: {why}");
        }
        assert!(usable_file(json!("a-1.tar.gz")).is_err());
    }

    #[test]
    fn reads_files_from_links() {
        let page = "<head><BASE href='/files/'></head><a name=x>no link</a>\
            <A HREF='a-1.tar.gz#MD5=0123456789ABCDEF0123456789ABCDEF' data-requires-python='&gt;=3'>a</A>\
            <a href='a%2B1.zip?x=1#egg=a-1&sha1=aa' data-yanked>b</a>";
        let url = "https://host/simple/a/".parse().unwrap();
        let files = files_of_html(page, &url).unwrap();
        assert_eq!(
            files,
            [
                json!({"filename": "a-1.tar.gz", "url": "https://host/files/a-1.tar.gz",
                    "hashes": {"md5": "0123456789ABCDEF0123456789ABCDEF"}, "requires-python": ">=3"}),
                json!({"filename": "a+1.zip", "url": "https://host/files/a%2B1.zip?x=1",
                    "hashes": {"sha1": "aa"}, "yanked": true}),
            ]
        );
        let sha1 = "a".repeat(40);
        let usable = usable_file(file(&json!({"hashes": {"sha1": sha1}}))).unwrap();
        assert_eq!(usable["url"], format!("a-1.tar.gz#sha1={sha1}"));
    }

    #[test]
    fn splits_index_and_package() {
        let url = "https://user:secret@host/simple/some-package/"
            .parse()
            .unwrap();
        assert_eq!(
            index_and_package(&url),
            (
                "https://****@host/simple/".to_owned(),
                "some-package".to_owned()
            )
        );
    }
}
