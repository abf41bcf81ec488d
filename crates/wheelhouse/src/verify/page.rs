//! The pages of a simple repository (PEP 503, PEP 691), read for what they list.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What a page says of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) sha256: String,
    pub(super) requires_python: Option<String>,
    /// The SHA-256 of its metadata file.
    pub(super) metadata: Option<String>,
}

impl Listed {
    /// The names of what is not the same.
    pub(super) fn difference(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let differs = [
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
pub(super) fn links(text: &str) -> BTreeSet<String> {
    let anchors = anchors(text).into_iter();
    anchors
        .filter_map(|attributes| Some(attributes.get("href")?.trim_end_matches('/').to_owned()))
        .collect()
}

/// The files that the page of a project in HTML lists.
pub(super) fn html(text: &str) -> BTreeMap<String, Listed> {
    let file = |attributes: BTreeMap<String, String>| {
        let (url, fragment) = attributes.get("href")?.split_once('#')?;
        let filename = url.rsplit('/').next()?;
        let filename = percent_decode_str(filename).decode_utf8_lossy();
        let digest = |text: &str| text.strip_prefix("sha256=").map(str::to_owned);
        let listed = Listed {
            sha256: digest(fragment)?,
            requires_python: attributes.get("data-requires-python").cloned(),
            metadata: attributes
                .get("data-core-metadata")
                .and_then(|text| digest(text)),
        };
        Some((filename.into_owned(), listed))
    };
    anchors(text).into_iter().filter_map(file).collect()
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
pub(super) fn json(bytes: &[u8]) -> Option<BTreeMap<String, Listed>> {
    let page: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let file = |file: &Value| {
        let listed = Listed {
            sha256: text(&file["hashes"]["sha256"])?,
            requires_python: text(&file["requires-python"]),
            metadata: text(&file["core-metadata"]["sha256"]),
        };
        Some((text(&file["filename"])?, listed))
    };
    page["files"].as_array()?.iter().map(file).collect()
}

/// The attributes of every anchor. Values are in double quotes, as our pages have them.
fn anchors(text: &str) -> Vec<BTreeMap<String, String>> {
    let tags = text.split("<a ").skip(1);
    tags.map(|tag| {
        let mut attributes = BTreeMap::new();
        let mut rest = tag;
        // A value may hold `>` only in its escaped form.
        while let Some((name, after)) = rest.split_once("=\"")
            && !name.contains('>')
            && let Some((value, after)) = after.split_once('"')
        {
            attributes.insert(name.trim().to_owned(), unescaped(value));
            rest = after;
        }
        attributes
    })
    .collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}
