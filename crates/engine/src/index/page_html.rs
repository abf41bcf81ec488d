//! Index pages in HTML: reads their files as those of JSON pages, and writes files as an HTML page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use url::Url;

use super::usable_file::digest_length;

/// Returns the files of an HTML page at `url` as those of a JSON page, or `None` if it is not HTML.
pub(super) fn files_of_html(html: &str, url: &Url) -> Option<Vec<Value>> {
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
    parts
        .filter(|(name, _)| digest_length(name).is_some())
        .collect()
}

/// Returns the project status of an HTML page as that of a JSON page.
pub(super) fn status_of_html(html: &str) -> Option<Value> {
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

/// Returns a page of `files` as HTML: uv does not read JSON in `--find-links` locations.
pub(super) fn html_page(files: &[Value]) -> String {
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
    }
}
