//! Parses the pages of a simple repository (PEP 503, PEP 691).

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The attributes of a file on a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PageFile {
    /// Its name on the page.
    pub(super) filename: String,
    pub(super) sha256: Option<String>,
    pub(super) requires_python: Option<String>,
    /// The SHA-256 of its metadata file.
    pub(super) metadata: Option<String>,
}

/// A link on the page of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageLink {
    pub(super) url: String,
    /// The name of the file at the top level of the directory; `None` for links to other places.
    pub(super) file: Option<String>,
    pub(super) attributes: PageFile,
}

impl PageFile {
    /// Returns the names of the attributes that differ.
    pub(super) fn difference(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let differs = [
            (self.filename != other.filename, "name"),
            (self.sha256 != other.sha256, "SHA-256"),
            (
                self.requires_python != other.requires_python,
                "Requires-Python",
            ),
            (self.metadata != other.metadata, "digest of its metadata"),
        ];
        differs
            .into_iter()
            .filter_map(|(differs, name)| differs.then_some(name))
    }
}

/// Returns the names of the projects on a root page in HTML.
pub(super) fn links(text: &str) -> Option<BTreeSet<String>> {
    let links = anchors(text)?.into_iter().map(|attributes| {
        let href = attributes.get("href").map_or("", String::as_str);
        href.strip_suffix('/').unwrap_or(href).to_owned()
    });
    Some(links.collect())
}

/// Returns the files on the page of a project in HTML.
pub(super) fn html(text: &str) -> Option<Vec<PageLink>> {
    html_at(text, ABOVE)
}

/// Returns the files on a page in HTML in the same directory.
pub(super) fn html_beside(text: &str) -> Option<Vec<PageLink>> {
    html_at(text, "")
}

/// The path from the page of a project to the files.
const ABOVE: &str = "../../";

fn html_at(text: &str, base: &str) -> Option<Vec<PageLink>> {
    let link = |attributes: BTreeMap<String, String>| {
        let href = attributes.get("href").map_or("", String::as_str);
        let (url, fragment) = href.split_once('#').unwrap_or((href, ""));
        let digest = |text: &str| text.strip_prefix("sha256=").map(str::to_owned);
        let file = destination(url, base);
        let attributes = PageFile {
            filename: file.clone().unwrap_or_default(),
            sha256: digest(fragment),
            requires_python: attributes.get("data-requires-python").cloned(),
            metadata: attributes
                .get("data-core-metadata")
                .and_then(|text| digest(text)),
        };
        PageLink {
            url: url.to_owned(),
            file,
            attributes,
        }
    };
    Some(anchors(text)?.into_iter().map(link).collect())
}

/// Returns the names of the projects on a root page in JSON.
pub(super) fn json_projects(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let page: Value = serde_json::from_slice(bytes).ok()?;
    let projects = page["projects"].as_array()?.iter();
    projects
        .map(|project| Some(project["name"].as_str()?.to_owned()))
        .collect()
}

/// Returns the files on the page of a project in JSON.
pub(super) fn json(bytes: &[u8]) -> Option<Vec<PageLink>> {
    let page: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let link = |file: &Value| {
        let attributes = PageFile {
            filename: text(&file["filename"])?,
            sha256: text(&file["hashes"]["sha256"]),
            requires_python: text(&file["requires-python"]),
            metadata: text(&file["core-metadata"]["sha256"]),
        };
        let url = text(&file["url"])?;
        Some(PageLink {
            file: destination(&url, ABOVE),
            url,
            attributes,
        })
    };
    page["files"].as_array()?.iter().map(link).collect()
}

/// Returns the file that `url` refers to, relative to a page with the path `base` to the files.
fn destination(url: &str, base: &str) -> Option<String> {
    let segment = url.strip_prefix(base)?;
    let is_segment = !segment.contains(['/', '\\', '?', '#', ':']);
    is_segment.then(|| percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

/// Returns the attributes of all elements that determine targets of links; `None` if parsers may disagree about
/// some of them.
fn anchors(text: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let mut anchors = Vec::new();
    for tag in text.split('<').skip(1) {
        let end = tag.find(|character: char| !character.is_ascii_alphanumeric());
        let (name, rest) = tag.split_at(end.unwrap_or(tag.len()));
        if name.eq_ignore_ascii_case("a") || name.eq_ignore_ascii_case("base") {
            anchors.push(attributes(rest)?);
        }
    }
    Some(anchors)
}

/// Parses the attributes of a tag from the text after its name. They must be written as on the pages of this
/// program: each once, in lower case, and with a value in double quotes.
fn attributes(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    // A value contains `>` only in its escaped form.
    while !rest.trim_start().starts_with('>') {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        let name = name.trim();
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        if !name.chars().all(is_plain) || attributes.contains_key(name) {
            return None;
        }
        attributes.insert(name.to_owned(), unescaped(value));
        rest = after;
    }
    Some(attributes)
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Option<Vec<String>> {
        Some(html(text)?.into_iter().map(|link| link.url).collect())
    }

    #[test]
    fn accepts_only_links_to_files_of_the_directory() {
        let file = destination("../../a-1%2Bb.whl", ABOVE);
        assert_eq!(file.as_deref(), Some("a-1+b.whl"));
        for elsewhere in [
            "a-1.whl",
            "/a-1.whl",
            "../a-1.whl",
            "../../../a-1.whl",
            "../../more/a-1.whl",
            "../../a-1.whl?b",
            "https://host/a-1.whl",
            "//host/../../a-1.whl",
        ] {
            assert_eq!(destination(elsewhere, ABOVE), None, "{elsewhere}");
        }
    }

    #[test]
    fn parses_all_anchors_and_base_elements() {
        let page = "<a href=\"../../a-1.whl#sha256=0\">a</a><base href=\"//host/\"><A\nhref=\"b\">";
        assert_eq!(urls(page).unwrap(), ["../../a-1.whl", "//host/", "b"]);
        assert_eq!(urls("<a name=\"b\"><abbr title='c'>").unwrap(), [""]);
    }

    #[test]
    fn rejects_pages_that_parsers_may_disagree_about() {
        for page in [
            "<a href='b'>",
            "<a href=b>",
            "<a HREF=\"b\">",
            "<a href=\"b\" href=\"c\">",
            "<a/href=\"b\">",
            "<a href=\"b\"",
        ] {
            assert_eq!(urls(page), None, "{page}");
        }
    }
}
