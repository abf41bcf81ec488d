//! The pages of a simple repository (PEP 503, PEP 691), read for what they list.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What a page says of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// What the page calls it.
    pub(super) filename: String,
    pub(super) sha256: Option<String>,
    pub(super) requires_python: Option<String>,
    /// The SHA-256 of its metadata file.
    pub(super) metadata: Option<String>,
}

/// A link from the page of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) url: String,
    /// The file at the top of the directory that it leads to; `None` when it leads elsewhere.
    pub(super) file: Option<String>,
    pub(super) listed: Listed,
}

impl Listed {
    /// The names of what is not the same.
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

/// The names of the projects that a root page in HTML links to.
pub(super) fn links(text: &str) -> Option<BTreeSet<String>> {
    let links = anchors(text)?.into_iter().map(|attributes| {
        let href = attributes.get("href").map_or("", String::as_str);
        href.strip_suffix('/').unwrap_or(href).to_owned()
    });
    Some(links.collect())
}

/// The files that the page of a project in HTML lists.
pub(super) fn html(text: &str) -> Option<Vec<Link>> {
    html_at(text, ABOVE)
}

/// The files that a page in HTML lists which lies beside them.
pub(super) fn html_beside(text: &str) -> Option<Vec<Link>> {
    html_at(text, "")
}

/// Where the files are from the page of a project.
const ABOVE: &str = "../../";

fn html_at(text: &str, base: &str) -> Option<Vec<Link>> {
    let link = |attributes: BTreeMap<String, String>| {
        let href = attributes.get("href").map_or("", String::as_str);
        let (url, fragment) = href.split_once('#').unwrap_or((href, ""));
        let digest = |text: &str| text.strip_prefix("sha256=").map(str::to_owned);
        let file = destination(url, base);
        let listed = Listed {
            filename: file.clone().unwrap_or_default(),
            sha256: digest(fragment),
            requires_python: attributes.get("data-requires-python").cloned(),
            metadata: attributes
                .get("data-core-metadata")
                .and_then(|text| digest(text)),
        };
        Link {
            url: url.to_owned(),
            file,
            listed,
        }
    };
    Some(anchors(text)?.into_iter().map(link).collect())
}

/// The names of the projects that a root page in JSON lists.
pub(super) fn json_projects(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let page: Value = serde_json::from_slice(bytes).ok()?;
    let projects = page["projects"].as_array()?.iter();
    projects
        .map(|project| Some(project["name"].as_str()?.to_owned()))
        .collect()
}

/// The files that the page of a project in JSON lists.
pub(super) fn json(bytes: &[u8]) -> Option<Vec<Link>> {
    let page: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let link = |file: &Value| {
        let listed = Listed {
            filename: text(&file["filename"])?,
            sha256: text(&file["hashes"]["sha256"]),
            requires_python: text(&file["requires-python"]),
            metadata: text(&file["core-metadata"]["sha256"]),
        };
        let url = text(&file["url"])?;
        Some(Link {
            file: destination(&url, ABOVE),
            url,
            listed,
        })
    };
    page["files"].as_array()?.iter().map(link).collect()
}

/// The file that `url` leads to from the page of a project, which is two directories below it.
fn destination(url: &str, base: &str) -> Option<String> {
    let segment = url.strip_prefix(base)?;
    let is_segment = !segment.contains(['/', '\\', '?', '#', ':']);
    is_segment.then(|| percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

/// The attributes of everything that decides where links lead; `None` if some can be read otherwise
/// than here.
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

/// The attributes of a tag, out of what comes after its name. They are written as in our pages: each
/// once, in small letters, and with its value in double quotes.
fn attributes(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    // A value may hold `>` only in its escaped form.
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
    fn links_lead_to_files_of_the_directory_or_elsewhere() {
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
    fn every_anchor_counts() {
        let page = "<a href=\"../../a-1.whl#sha256=0\">a</a><base href=\"//host/\"><A\nhref=\"b\">";
        assert_eq!(urls(page).unwrap(), ["../../a-1.whl", "//host/", "b"]);
        assert_eq!(urls("<a name=\"b\"><abbr title='c'>").unwrap(), [""]);
    }

    #[test]
    fn what_others_may_read_otherwise_is_no_page() {
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
