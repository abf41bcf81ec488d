//! The static index: the pages of a simple repository, as HTML and as JSON.
//!
//! Implements PEP 503 (layout and HTML), 592 (yanked), 629 (version), 658 and 714 (metadata files),
//! 691 (JSON) and 700 (versions, sizes and upload times). A pure function from wheels to bytes;
//! never touches the filesystem.
//!
//! Pages lie at `simple/NAME/`, wheels and their `.metadata` files two directories above, and every
//! link is relative: the index works from `file:` URLs and from any static web server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use wheelhouse_types::{PackageName, Sha256, Version};

/// What a path segment of a URL may hold as it is (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One wheel, as an index shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedWheel {
    pub filename: String,
    pub name: PackageName,
    pub version: Version,
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    pub requires_python: Option<String>,
    /// The digest of the file `FILENAME.metadata`, if there is one.
    pub metadata: Option<Sha256>,
    /// Why the wheel was withdrawn, if it was; may be empty.
    pub yanked: Option<String>,
    /// In milliseconds since 1970-01-01 UTC, if known.
    pub uploaded: Option<i64>,
}

/// A page beside the files. pip 24 and newer take only `.tar.gz` and `.zip` for source distributions in a directory, but
/// read the HTML pages in it, and take other formats from these.
pub const LEGACY_PAGE: &str = "legacy-sdists.html";

/// The longest name that common filesystems take, in bytes.
pub const LONGEST_NAME: usize = 255;

/// Returns the name of the metadata file of the wheel `filename`, or nothing if no filesystem takes it: clients then read
/// the metadata in the wheel.
#[must_use]
pub fn metadata_name(filename: &str) -> Option<String> {
    let name = format!("{filename}.metadata");
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Tells whether [`pages`] makes the file `name`.
#[must_use]
pub fn is_page(name: &str) -> bool {
    name.starts_with("simple/") || name == LEGACY_PAGE
}

/// Tells whether pip 24 and newer pass over `filename` in a directory.
#[must_use]
pub fn is_legacy(filename: &str) -> bool {
    let seen = [".whl", ".tar.gz", ".zip"];
    !seen.iter().any(|ending| filename.ends_with(ending))
}

/// Makes all pages of the index of `wheels`: paths relative to the wheelhouse with their bytes,
/// sorted by path. The same set gives the same bytes, in whatever order it comes.
#[must_use]
pub fn pages(wheels: &[IndexedWheel]) -> Vec<(String, Vec<u8>)> {
    let mut projects: BTreeMap<&PackageName, Vec<&IndexedWheel>> = BTreeMap::new();
    for wheel in wheels {
        projects.entry(&wheel.name).or_default().push(wheel);
    }
    let mut pages = BTreeMap::new();
    let names: Vec<&PackageName> = projects.keys().copied().collect();
    pages.insert("simple/index.html".to_owned(), root_html(&names));
    pages.insert("simple/index.json".to_owned(), root_json(&names));
    let mut legacy: Vec<_> = wheels.iter().filter(|it| is_legacy(&it.filename)).collect();
    if !legacy.is_empty() {
        legacy.sort_by(|one, other| one.filename.cmp(&other.filename));
        let anchors: String = legacy.iter().map(|it| anchor(it, "")).collect();
        let page = document("Source distributions in old formats", &anchors);
        pages.insert(LEGACY_PAGE.to_owned(), page);
    }
    for (name, mut wheels) in projects {
        wheels.sort_by(|one, other| one.filename.cmp(&other.filename));
        pages.insert(format!("simple/{name}/index.html"), html(name, &wheels));
        pages.insert(
            format!("simple/{name}/index.json"),
            json_page(name, &wheels),
        );
    }
    pages.into_iter().collect()
}

/// Encodes `filename` as the last segment of a URL.
#[must_use]
pub fn segment(filename: &str) -> String {
    utf8_percent_encode(filename, SEGMENT).to_string()
}

fn root_html(names: &[&PackageName]) -> Vec<u8> {
    let mut body = String::new();
    for name in names {
        let _ = writeln!(body, "    <a href=\"{name}/\">{name}</a><br>");
    }
    document("Simple index", &body)
}

fn html(name: &PackageName, wheels: &[&IndexedWheel]) -> Vec<u8> {
    let mut body = format!("    <h1>Links for {name}</h1>\n");
    for wheel in wheels {
        body.push_str(&anchor(wheel, ABOVE));
    }
    document(&format!("Links for {name}"), &body)
}

/// Where the files are from the page of a project.
const ABOVE: &str = "../../";

/// Returns the link to `wheel`, whose directory is at `base` from the page.
fn anchor(wheel: &IndexedWheel, base: &str) -> String {
    let url = format!("{base}{}", segment(&wheel.filename));
    let mut anchor = format!("    <a href=\"{url}#sha256={}\"", wheel.sha256);
    let mut attribute = |name: &str, value: &str| {
        let _ = write!(anchor, " {name}=\"{}\"", escaped(value));
    };
    if let Some(requires_python) = &wheel.requires_python {
        attribute("data-requires-python", requires_python);
    }
    if let Some(metadata) = &wheel.metadata {
        // PEP 714: the second is the name that older clients look for.
        attribute("data-core-metadata", &format!("sha256={metadata}"));
        attribute("data-dist-info-metadata", &format!("sha256={metadata}"));
    }
    if let Some(reason) = &wheel.yanked {
        attribute("data-yanked", reason);
    }
    let _ = writeln!(anchor, ">{}</a><br>", escaped(&wheel.filename));
    anchor
}

fn document(title: &str, body: &str) -> Vec<u8> {
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n  \
           <head>\n    \
             <meta charset=\"utf-8\">\n    \
             <meta name=\"pypi:repository-version\" content=\"1.1\">\n    \
             <title>{title}</title>\n  \
           </head>\n  \
           <body>\n{body}  \
           </body>\n\
         </html>\n"
    )
    .into_bytes()
}

fn root_json(names: &[&PackageName]) -> Vec<u8> {
    let projects = names.iter().map(|name| Project { name }).collect();
    rendered(&Root {
        meta: Meta::VALUE,
        projects,
    })
}

fn json_page(name: &PackageName, wheels: &[&IndexedWheel]) -> Vec<u8> {
    let mut versions: Vec<&Version> = wheels.iter().map(|wheel| &wheel.version).collect();
    versions.sort();
    versions.dedup();
    rendered(&Page {
        meta: Meta::VALUE,
        name,
        versions: versions.into_iter().map(Version::to_string).collect(),
        files: wheels.iter().map(|wheel| file(wheel)).collect(),
    })
}

fn file(wheel: &IndexedWheel) -> File<'_> {
    let metadata = wheel.metadata.map(|sha256| Digests { sha256 });
    File {
        filename: &wheel.filename,
        url: format!("{ABOVE}{}", segment(&wheel.filename)),
        hashes: Digests {
            sha256: wheel.sha256,
        },
        size: wheel.size,
        requires_python: wheel.requires_python.as_deref(),
        core_metadata: metadata,
        dist_info_metadata: metadata,
        yanked: wheel.yanked.as_deref().map(Yanked::from),
        upload_time: wheel.uploaded.and_then(timestamp),
    }
}

/// `simple/index.json`. The fields are written in the order of the types: always the same bytes.
#[derive(Serialize)]
struct Root<'a> {
    meta: Meta,
    projects: Vec<Project<'a>>,
}

#[derive(Serialize)]
struct Project<'a> {
    name: &'a PackageName,
}

/// `simple/NAME/index.json`.
#[derive(Serialize)]
struct Page<'a> {
    meta: Meta,
    name: &'a PackageName,
    versions: Vec<String>,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: &'static str,
}

impl Meta {
    const VALUE: Self = Self { api_version: "1.1" };
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct File<'a> {
    filename: &'a str,
    url: String,
    hashes: Digests,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_metadata: Option<Digests>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dist_info_metadata: Option<Digests>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yanked: Option<Yanked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_time: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
struct Digests {
    sha256: Sha256,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Yanked<'a> {
    Plainly(bool),
    Because(&'a str),
}

impl<'a> From<&'a str> for Yanked<'a> {
    fn from(reason: &'a str) -> Self {
        // An empty text would read as "not yanked".
        if reason.is_empty() {
            Self::Plainly(true)
        } else {
            Self::Because(reason)
        }
    }
}

/// Writes a time as PEP 700 wants it: `2024-05-01T12:00:00.000000Z`.
fn timestamp(milliseconds: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_millisecond(milliseconds).ok()?;
    Some(format!("{timestamp:.6}"))
}

fn rendered(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("a plain value has a JSON form");
    bytes.push(b'\n');
    bytes
}

/// Escapes text for HTML, in content and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
