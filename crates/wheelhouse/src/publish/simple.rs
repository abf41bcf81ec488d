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
use serde_json::{Map, Value, json};
use wheelhouse_model::{PackageName, Sha256, Version};

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
        body.push_str(&anchor(wheel));
    }
    document(&format!("Links for {name}"), &body)
}

fn anchor(wheel: &IndexedWheel) -> String {
    let mut anchor = format!("    <a href=\"{}#sha256={}\"", url(wheel), wheel.sha256);
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
    let projects: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name.as_str() }))
        .collect();
    rendered(&json!({ "meta": { "api-version": "1.1" }, "projects": projects }))
}

fn json_page(name: &PackageName, wheels: &[&IndexedWheel]) -> Vec<u8> {
    let mut versions: Vec<&Version> = wheels.iter().map(|wheel| &wheel.version).collect();
    versions.sort();
    versions.dedup();
    let versions: Vec<String> = versions.into_iter().map(Version::to_string).collect();
    let files: Vec<Value> = wheels.iter().map(|wheel| file(wheel)).collect();
    rendered(&json!({
        "meta": { "api-version": "1.1" },
        "name": name.as_str(),
        "versions": versions,
        "files": files,
    }))
}

fn file(wheel: &IndexedWheel) -> Value {
    let sha256 = |digest: &Sha256| json!({ "sha256": digest.to_string() });
    let mut file = Map::new();
    file.insert("filename".to_owned(), json!(wheel.filename));
    file.insert("url".to_owned(), json!(url(wheel)));
    file.insert("hashes".to_owned(), sha256(&wheel.sha256));
    file.insert("size".to_owned(), json!(wheel.size));
    if let Some(requires_python) = &wheel.requires_python {
        file.insert("requires-python".to_owned(), json!(requires_python));
    }
    if let Some(metadata) = &wheel.metadata {
        file.insert("core-metadata".to_owned(), sha256(metadata));
        file.insert("dist-info-metadata".to_owned(), sha256(metadata));
    }
    if let Some(reason) = &wheel.yanked {
        // An empty text would read as "not yanked".
        let value = if reason.is_empty() {
            json!(true)
        } else {
            json!(reason)
        };
        file.insert("yanked".to_owned(), value);
    }
    if let Some(time) = wheel.uploaded.and_then(timestamp) {
        file.insert("upload-time".to_owned(), json!(time));
    }
    Value::Object(file)
}

/// Writes a time as PEP 700 wants it: `2024-05-01T12:00:00.000000Z`.
fn timestamp(milliseconds: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_millisecond(milliseconds).ok()?;
    Some(format!("{timestamp:.6}"))
}

fn rendered(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

fn url(wheel: &IndexedWheel) -> String {
    format!("../../{}", segment(&wheel.filename))
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
