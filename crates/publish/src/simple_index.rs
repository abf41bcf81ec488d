//! The static index: the pages of a simple repository, as HTML and as JSON.
//!
//! Implements PEP 503 (layout and HTML), 592 (yanked), 629 (version), 658 and 714 (metadata files), 691 (JSON), 700
//! (versions, sizes and upload times), 740 (provenance) and 792 (project status). The pages are a pure function of the
//! files, without access to the file system: the static index and a server render the same bytes.
//!
//! The pages are at `simple/NAME/`, wheels and their `.metadata` files two directories above, and every link is relative:
//! the index works from `file:` URLs and from any static web server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use wheelhouse_types::{
    Listing, Manifest, PackageName, ProjectStatus, Sha256, Version, upload_time,
};

/// The version of the API that the pages state: the newest whose fields they have.
pub const API_VERSION: &str = "1.4";

/// The characters to encode in a path segment of a URL: all but the unreserved ones of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A wheel or an sdist as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedWheel {
    /// The file name, which is the text of the link.
    pub filename: String,
    /// The project, whose normalized name is that of the page.
    pub name: PackageName,
    /// The version of the release.
    pub version: Version,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The size in bytes; 0 if an index has not stated it.
    pub size: u64,
    /// The `Requires-Python` of the metadata.
    pub requires_python: Option<String>,
    /// The digest of the file `FILENAME.metadata`, if there is one.
    pub metadata: Option<Sha256>,
    /// The statements of the index that the file is from.
    pub listing: Listing,
}

/// A project, as its page describes it.
#[derive(Clone, Copy, Debug)]
pub struct IndexedProject<'a> {
    /// The normalized name.
    pub name: &'a PackageName,
    /// The status at the origin of its files; `None` for an active project.
    pub status: Option<&'a ProjectStatus>,
}

/// A page in both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedPage {
    /// The document `index.html`.
    pub html: Vec<u8>,
    /// The document `index.json`.
    pub json: Vec<u8>,
}

/// The name of a page next to the files that lists sdists in old formats. In a directory of `--find-links`, pip 24 and
/// newer accept only `.tar.gz` and `.zip` as sdists, but also follow the links of HTML files, where they accept all
/// formats.
pub const LEGACY_PAGE: &str = "legacy-sdists.html";

/// The maximum length of a name on common file systems, in bytes.
pub const LONGEST_NAME: usize = 255;

/// Returns the name of the metadata file of the wheel `filename`, or `None` if it is too long for a file system: clients
/// then read the metadata in the wheel.
#[must_use]
pub fn metadata_name(filename: &str) -> Option<String> {
    let name = format!("{filename}.metadata");
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Returns the name of the file with the provenance of the built wheel `filename`, or `None` if it is too long for a file
/// system.
#[must_use]
pub fn provenance_name(filename: &str) -> Option<String> {
    let name = format!("{filename}.provenance.json");
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Returns the name of the file with the attestations that an index offers for `filename` (PEP 740), or `None` if it is too
/// long for a file system.
#[must_use]
pub fn attestations_name(filename: &str) -> Option<String> {
    let name = format!("{filename}.provenance");
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Returns whether the file `name` is one of [`pages`].
#[must_use]
pub fn is_page(name: &str) -> bool {
    name.starts_with("simple/") || name == LEGACY_PAGE
}

/// Returns whether pip 24 and newer ignore the sdist `filename` in a directory of `--find-links`.
#[must_use]
pub fn is_legacy(filename: &str) -> bool {
    !wheelhouse_archive::is_find_links_name(filename)
}

/// Returns the wheels and sdists of `manifest` as index entries, in the order of [`Manifest::distributions`]. `metadata`
/// returns the bytes of a file `FILENAME.metadata` by its name. Files whose name or version is not valid are left out.
pub fn indexed_files(
    manifest: &Manifest,
    metadata: impl Fn(&str) -> Option<Vec<u8>>,
) -> Vec<IndexedWheel> {
    let wheels = manifest.wheels.iter().map(|wheel| {
        let metadata = metadata_name(&wheel.filename).and_then(|name| metadata(&name));
        Some(IndexedWheel {
            filename: wheel.filename.clone(),
            name: wheel.name.parse().ok()?,
            version: wheel.version.parse().ok()?,
            sha256: wheel.sha256,
            size: wheel.size,
            requires_python: wheel.requires_python.clone(),
            metadata: metadata.map(|bytes| Sha256::of(&bytes)),
            listing: wheel.listing.clone(),
        })
    });
    let sdists = manifest.sdists.iter().map(|sdist| {
        Some(IndexedWheel {
            filename: sdist.filename.clone(),
            name: sdist.name.parse().ok()?,
            version: sdist.version.parse().ok()?,
            sha256: sdist.sha256,
            size: sdist.size,
            requires_python: sdist.requires_python.clone(),
            metadata: None,
            listing: sdist.listing.clone(),
        })
    });
    wheels.chain(sdists).flatten().collect()
}

/// Renders all pages of the index of `files`: paths relative to the wheelhouse with their bytes, sorted by path. The
/// bytes do not depend on the order of `files`. `status` is that of [`Manifest::project_status`].
#[must_use]
pub fn pages(
    files: &[IndexedWheel],
    status: &BTreeMap<PackageName, ProjectStatus>,
) -> Vec<(String, Vec<u8>)> {
    let mut projects: BTreeMap<&PackageName, Vec<&IndexedWheel>> = BTreeMap::new();
    for file in files {
        projects.entry(&file.name).or_default().push(file);
    }
    let names: Vec<&PackageName> = projects.keys().copied().collect();
    let mut pages = BTreeMap::new();
    let mut insert = |directory: String, page: RenderedPage| {
        pages.insert(format!("{directory}index.html"), page.html);
        pages.insert(format!("{directory}index.json"), page.json);
    };
    insert("simple/".to_owned(), index_page(&names));
    for (name, files) in &projects {
        let status = status.get(*name);
        let project = IndexedProject { name, status };
        insert(format!("simple/{name}/"), project_page(&project, files));
    }
    if let Some(page) = legacy_page(files) {
        pages.insert(LEGACY_PAGE.to_owned(), page);
    }
    pages.into_iter().collect()
}

/// Renders the page `simple/` of the projects `names`, which are sorted.
#[must_use]
pub fn index_page(names: &[&PackageName]) -> RenderedPage {
    RenderedPage {
        html: root_html(names),
        json: root_json(names),
    }
}

/// Renders the page of `project` with its `files` in any order.
#[must_use]
pub fn project_page(project: &IndexedProject<'_>, files: &[&IndexedWheel]) -> RenderedPage {
    let mut files = files.to_vec();
    files.sort_by(|one, other| one.filename.cmp(&other.filename));
    RenderedPage {
        html: project_html(project, &files),
        json: project_json(project, &files),
    }
}

/// Renders [`LEGACY_PAGE`], or returns `None` if none of `files` belongs there.
#[must_use]
pub fn legacy_page(files: &[IndexedWheel]) -> Option<Vec<u8>> {
    let mut legacy: Vec<_> = files
        .iter()
        .filter(|file| is_legacy(&file.filename))
        .collect();
    if legacy.is_empty() {
        return None;
    }
    legacy.sort_by(|one, other| one.filename.cmp(&other.filename));
    let anchors: String = legacy.iter().map(|file| anchor(file, "")).collect();
    let title = "Source distributions in old formats";
    Some(html_document(title, None, &anchors))
}

/// Percent-encodes `filename` as the last segment of a URL.
#[must_use]
pub fn encode_segment(filename: &str) -> String {
    utf8_percent_encode(filename, SEGMENT).to_string()
}

fn root_html(names: &[&PackageName]) -> Vec<u8> {
    let mut body = String::new();
    for name in names {
        let _ = writeln!(body, "    <a href=\"{name}/\">{name}</a><br>");
    }
    html_document("Simple index", None, &body)
}

fn project_html(project: &IndexedProject<'_>, files: &[&IndexedWheel]) -> Vec<u8> {
    let title = format!("Links for {}", project.name);
    let mut body = format!("    <h1>{title}</h1>\n");
    for file in files {
        body.push_str(&anchor(file, FILES_BASE));
    }
    html_document(&title, project.status, &body)
}

/// The directory of the files, relative to the page of a project.
const FILES_BASE: &str = "../../";

/// Renders the link to `wheel`, which is in the directory `base` relative to the page.
fn anchor(wheel: &IndexedWheel, base: &str) -> String {
    let url = format!("{base}{}", encode_segment(&wheel.filename));
    let mut anchor = format!("    <a href=\"{url}#sha256={}\"", wheel.sha256);
    let mut attribute = |name: &str, value: &str| {
        let _ = write!(anchor, " {name}=\"{}\"", escape_html(value));
    };
    if let Some(requires_python) = &wheel.requires_python {
        attribute("data-requires-python", requires_python);
    }
    if let Some(metadata) = &wheel.metadata {
        // Older clients know only the second name (PEP 714).
        attribute("data-core-metadata", &format!("sha256={metadata}"));
        attribute("data-dist-info-metadata", &format!("sha256={metadata}"));
    }
    if let Some(reason) = &wheel.listing.yanked {
        attribute("data-yanked", reason);
    }
    // Not in a standard, but uv reads it, so that `--exclude-newer` works with HTML, too.
    if let Some(time) = wheel.listing.uploaded.and_then(upload_time::to_text) {
        attribute("data-upload-time", &time);
    }
    if let Some(url) = &wheel.listing.provenance {
        attribute("data-provenance", url);
    }
    let _ = writeln!(anchor, ">{}</a><br>", escape_html(&wheel.filename));
    anchor
}

fn html_document(title: &str, status: Option<&ProjectStatus>, body: &str) -> Vec<u8> {
    let mut metas = String::new();
    let mut meta = |name: &str, content: &str| {
        let content = escape_html(content);
        let _ = writeln!(
            metas,
            "    <meta name=\"pypi:{name}\" content=\"{content}\">"
        );
    };
    meta("repository-version", API_VERSION);
    if let Some(status) = status {
        meta("project-status", status.status.as_str());
        if let Some(reason) = &status.reason {
            meta("project-status-reason", reason);
        }
    }
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n  \
           <head>\n    \
             <meta charset=\"utf-8\">\n\
             {metas}    \
             <title>{title}</title>\n  \
           </head>\n  \
           <body>\n{body}  \
           </body>\n\
         </html>\n"
    )
    .into_bytes()
}

fn root_json(names: &[&PackageName]) -> Vec<u8> {
    let projects = names.iter().map(|name| IndexProject { name }).collect();
    to_json(&IndexPage {
        meta: PageMeta::VALUE,
        projects,
    })
}

fn project_json(project: &IndexedProject<'_>, files: &[&IndexedWheel]) -> Vec<u8> {
    let mut versions: Vec<&Version> = files.iter().map(|file| &file.version).collect();
    versions.sort();
    versions.dedup();
    to_json(&ProjectPage {
        meta: PageMeta::VALUE,
        name: project.name,
        project_status: project.status,
        versions: versions.into_iter().map(Version::to_string).collect(),
        files: files.iter().map(|file| project_file(file)).collect(),
    })
}

fn project_file(wheel: &IndexedWheel) -> ProjectFile<'_> {
    ProjectFile {
        filename: &wheel.filename,
        url: format!("{FILES_BASE}{}", encode_segment(&wheel.filename)),
        hashes: FileHashes {
            sha256: wheel.sha256,
        },
        size: (wheel.size > 0).then_some(wheel.size),
        requires_python: wheel.requires_python.as_deref(),
        // Without the older key `dist-info-metadata`, whose object is an error for pip 22.3 to 23.0 (PEP 714).
        core_metadata: wheel.metadata.map(|sha256| FileHashes { sha256 }),
        yanked: wheel.listing.yanked.as_deref().map(YankedStatus::from),
        upload_time: wheel.listing.uploaded.and_then(upload_time::to_text),
        provenance: wheel.listing.provenance.as_deref(),
    }
}

/// The document `simple/index.json`. Fields are serialized in the order of their declaration, so that the bytes are
/// reproducible.
#[derive(Serialize)]
struct IndexPage<'a> {
    meta: PageMeta,
    projects: Vec<IndexProject<'a>>,
}

#[derive(Serialize)]
struct IndexProject<'a> {
    name: &'a PackageName,
}

/// The document `simple/NAME/index.json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ProjectPage<'a> {
    meta: PageMeta,
    name: &'a PackageName,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_status: Option<&'a ProjectStatus>,
    versions: Vec<String>,
    files: Vec<ProjectFile<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PageMeta {
    api_version: &'static str,
}

impl PageMeta {
    const VALUE: Self = Self {
        api_version: API_VERSION,
    };
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ProjectFile<'a> {
    filename: &'a str,
    url: String,
    hashes: FileHashes,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_metadata: Option<FileHashes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yanked: Option<YankedStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct FileHashes {
    sha256: Sha256,
}

#[derive(Serialize)]
#[serde(untagged)]
enum YankedStatus<'a> {
    Flag(bool),
    Reason(&'a str),
}

impl<'a> From<&'a str> for YankedStatus<'a> {
    fn from(reason: &'a str) -> Self {
        // Clients treat an empty string as "not yanked".
        if reason.is_empty() {
            Self::Flag(true)
        } else {
            Self::Reason(reason)
        }
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("the value has only string keys");
    bytes.push(b'\n');
    bytes
}

/// Escapes text for HTML, in content and in quoted attributes.
fn escape_html(text: &str) -> String {
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
