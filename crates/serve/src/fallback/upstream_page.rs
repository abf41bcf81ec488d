//! Reads the page of a project on another index: JSON (PEP 691) or HTML (PEP 503).
//!
//! Only files that can be kept are read: wheels and sdists of the project with a SHA-256, at a URL that is protected as well
//! as the page.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;
use wheelhouse_publish::IndexedWheel;
use wheelhouse_types::redact::without_credentials;
use wheelhouse_types::{Listing, PackageName, ProjectStatus, Sha256, StatusMarker, upload_time};

use crate::incoming::DistributionName;

/// The content type of JSON pages.
pub(super) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A project on another index.
#[derive(Debug, Default)]
pub(super) struct UpstreamPage {
    /// The usable files by name.
    pub(super) files: BTreeMap<String, UpstreamFile>,
    pub(super) status: ProjectStatus,
}

/// A file on another index.
#[derive(Clone, Debug)]
pub(super) struct UpstreamFile {
    pub(super) indexed: IndexedWheel,
    pub(super) url: Url,
}

/// Reads the page at `url` of the project `name`. Returns `None` if it is not an index page of this project.
pub(super) fn read(
    name: &PackageName,
    url: &Url,
    is_json: bool,
    bytes: &[u8],
) -> Option<UpstreamPage> {
    if is_json {
        return read_json(name, url, bytes);
    }
    read_html(name, url, &String::from_utf8_lossy(bytes))
}

/// A value that is ignored if it is malformed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Valid(T),
    Malformed(IgnoredAny),
}

impl<T> Lenient<T> {
    fn valid(self) -> Option<T> {
        match self {
            Self::Valid(value) => Some(value),
            Self::Malformed(IgnoredAny) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonPage<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    files: Vec<Lenient<PageFile>>,
    project_status: Option<Lenient<PageStatus>>,
}

#[derive(Deserialize)]
struct PageStatus {
    status: String,
    reason: Option<String>,
}

/// A file of a page in either format, as JSON pages have it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PageFile {
    filename: String,
    url: String,
    hashes: BTreeMap<String, String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    requires_python: Option<String>,
    #[serde(default)]
    upload_time: Option<String>,
    #[serde(default)]
    yanked: Option<Yanked>,
    #[serde(default)]
    core_metadata: Option<CoreMetadata>,
    #[serde(default)]
    dist_info_metadata: Option<CoreMetadata>,
    #[serde(default)]
    provenance: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CoreMetadata {
    Digests(BTreeMap<String, String>),
    Other(IgnoredAny),
}

impl CoreMetadata {
    fn sha256(&self) -> Option<Sha256> {
        match self {
            Self::Digests(digests) => digests.get("sha256")?.to_ascii_lowercase().parse().ok(),
            Self::Other(IgnoredAny) => None,
        }
    }
}

fn read_json(name: &PackageName, url: &Url, bytes: &[u8]) -> Option<UpstreamPage> {
    let page: JsonPage<'_> = serde_json::from_slice(bytes).ok()?;
    if page
        .name
        .is_some_and(|stated| stated.parse().as_ref() != Ok(name))
    {
        return None;
    }
    let files = page.files.into_iter().filter_map(Lenient::valid);
    let status = page.project_status.and_then(Lenient::valid);
    let status = status.and_then(|status| {
        Some(ProjectStatus {
            status: StatusMarker::parse(&status.status)?,
            reason: status.reason,
        })
    });
    Some(UpstreamPage {
        files: usable(name, url, url, files),
        status: status.unwrap_or_default(),
    })
}

fn read_html(name: &PackageName, url: &Url, html: &str) -> Option<UpstreamPage> {
    let dom = tl::parse(html, tl::ParserOptions::default()).ok()?;
    let mut base = url.clone();
    let mut files = Vec::new();
    let (mut status, mut reason) = (None, None);
    for tag in dom.nodes().iter().filter_map(|node| node.as_tag()) {
        let is = |name: &[u8]| tag.name().as_bytes().eq_ignore_ascii_case(name);
        let attributes: BTreeMap<String, String> = tag
            .attributes()
            .iter()
            .map(|(name, value)| {
                let value = value.unwrap_or_default();
                let value = html_escape::decode_html_entities(&value).into_owned();
                (name.to_ascii_lowercase(), value)
            })
            .collect();
        let attribute = |name: &str| attributes.get(name).map(String::as_str);
        match (attribute("href"), attribute("name")) {
            (Some(href), _) if is(b"base") && files.is_empty() => {
                base = base.join(href).unwrap_or(base);
            }
            (Some(href), _) if is(b"a") => files.extend(linked_file(href, &attributes)),
            (_, Some("pypi:project-status")) if is(b"meta") => {
                status = attribute("content").and_then(StatusMarker::parse);
            }
            (_, Some("pypi:project-status-reason")) if is(b"meta") => {
                reason = attribute("content").map(str::to_owned);
            }
            _ => {}
        }
    }
    let status = status.map(|status| ProjectStatus { status, reason });
    Some(UpstreamPage {
        files: usable(name, url, &base, files.into_iter()),
        status: status.unwrap_or_default(),
    })
}

/// Returns the file of the link to `href`.
fn linked_file(href: &str, attributes: &BTreeMap<String, String>) -> Option<PageFile> {
    let (location, fragment) = href.split_once('#').unwrap_or((href, ""));
    let path = location.split('?').next().unwrap_or_default();
    let filename = percent_encoding::percent_decode_str(path.rsplit('/').next()?);
    let digests = |text: &str| -> BTreeMap<String, String> {
        let parts = text.split('&').filter_map(|part| part.split_once('='));
        parts
            .map(|(name, digest)| (name.to_ascii_lowercase(), digest.to_owned()))
            .collect()
    };
    let text = |name: &str| attributes.get(name).cloned();
    let metadata = text("data-core-metadata").or_else(|| text("data-dist-info-metadata"));
    Some(PageFile {
        filename: filename.decode_utf8().ok()?.into_owned(),
        url: location.to_owned(),
        hashes: digests(fragment),
        requires_python: text("data-requires-python"),
        upload_time: text("data-upload-time"),
        yanked: text("data-yanked").map(Yanked::Reason),
        core_metadata: metadata.map(|metadata| CoreMetadata::Digests(digests(&metadata))),
        provenance: text("data-provenance"),
        ..PageFile::default()
    })
}

/// Returns the usable ones of `files` of the page at `page`, whose links are relative to `base`.
fn usable(
    name: &PackageName,
    page: &Url,
    base: &Url,
    files: impl Iterator<Item = PageFile>,
) -> BTreeMap<String, UpstreamFile> {
    files
        .filter_map(|file| {
            let filename = DistributionName::parse(&file.filename, name)?;
            let sha256 = file.hashes.get("sha256")?.to_ascii_lowercase();
            let mut url = base.join(&file.url).ok()?;
            url.set_fragment(None);
            let is_protected = url.scheme() == "https" || page.scheme() == "http";
            if !matches!(url.scheme(), "http" | "https") || !is_protected {
                return None;
            }
            let metadata = file.core_metadata.or(file.dist_info_metadata);
            let provenance = file.provenance.and_then(|url| Url::parse(&url).ok());
            let indexed = IndexedWheel {
                filename: filename.text.clone(),
                name: name.clone(),
                version: filename.version,
                sha256: sha256.parse().ok()?,
                size: file.size.unwrap_or_default(),
                requires_python: file.requires_python.filter(|text| !text.is_empty()),
                metadata: metadata
                    .filter(|_| filename.is_wheel)
                    .and_then(|metadata| metadata.sha256()),
                listing: Listing {
                    yanked: match file.yanked {
                        None | Some(Yanked::Flag(false)) => None,
                        Some(Yanked::Flag(true)) => Some(String::new()),
                        Some(Yanked::Reason(reason)) => Some(reason),
                    },
                    uploaded: file.upload_time.and_then(|time| upload_time::parse(&time)),
                    provenance: provenance.map(|url| without_credentials(&url).into()),
                },
            };
            Some((filename.text, UpstreamFile { indexed, url }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn page(is_json: bool, text: &str) -> Option<UpstreamPage> {
        let url = "https://host/simple/my-lib/".parse().unwrap();
        let text = text.replace("DIGEST", DIGEST);
        read(&"my-lib".parse().unwrap(), &url, is_json, text.as_bytes())
    }

    fn file(page: &UpstreamPage) -> &UpstreamFile {
        let [file] = &page.files.values().collect::<Vec<_>>()[..] else {
            panic!("{page:?}")
        };
        file
    }

    #[test]
    fn reads_all_fields_in_both_formats() {
        let json = page(
            true,
            r#"{"meta": {"api-version": "1.4"}, "name": "My.Lib", "versions": [],
            "project-status": {"status": "archived", "reason": "old"}, "files": [{
            "filename": "my_lib-1-py3-none-any.whl", "url": "../../f/my_lib-1-py3-none-any.whl",
            "hashes": {"md5": "00", "sha256": "DIGEST"}, "size": 7, "requires-python": ">=3 <4",
            "upload-time": "2024-05-01T12:00:00.123456Z", "yanked": "why",
            "core-metadata": {"sha256": "DIGEST"}, "provenance": "https://host/p"}]}"#,
        );
        let html = page(
            false,
            r#"<meta name="pypi:project-status" content="archived">
            <meta name="pypi:project-status-reason" content="old">
            <a href="../../f/my_lib-1-py3-none-any.whl#sha256=DIGEST" data-requires-python="&gt;=3 &lt;4"
            data-yanked="why" data-core-metadata="sha256=DIGEST" data-provenance="https://host/p"
            data-upload-time="2024-05-01T12:00:00.123456Z">my_lib</a>"#,
        );
        for (page, size) in [(json.unwrap(), 7), (html.unwrap(), 0)] {
            assert_eq!(page.status.status, StatusMarker::Archived);
            assert_eq!(page.status.reason.as_deref(), Some("old"));
            let file = file(&page);
            assert_eq!(
                file.url.as_str(),
                "https://host/f/my_lib-1-py3-none-any.whl"
            );
            let digest: Sha256 = DIGEST.parse().unwrap();
            let expected = IndexedWheel {
                filename: "my_lib-1-py3-none-any.whl".to_owned(),
                name: "my-lib".parse().unwrap(),
                version: "1".parse().unwrap(),
                sha256: digest,
                size,
                requires_python: Some(">=3 <4".to_owned()),
                metadata: Some(digest),
                listing: Listing {
                    yanked: Some("why".to_owned()),
                    uploaded: Some(1_714_564_800_123),
                    provenance: Some("https://host/p".to_owned()),
                },
            };
            assert_eq!(file.indexed, expected);
        }
    }

    #[test]
    fn leaves_out_files_that_cannot_be_kept() {
        let sdist = r#"{"filename": "my-lib-1.tar.gz", "url": "my-lib-1.tar.gz", "hashes": {"sha256": "DIGEST"}}"#;
        for (from, to) in [
            ("sha256", "md5"),
            ("DIGEST", "abc"),
            ("my-lib-1.tar.gz", "other-1.tar.gz"),
            ("my-lib-1.tar.gz", "my-lib-1.exe"),
            ("\"my-lib-1.tar.gz\"", "1"),
            (r#""url": ""#, r#""url": "http://host/"#),
            (r#""url": ""#, r#""url": "file:///"#),
            (r#""url": ""#, r#""no": ""#),
        ] {
            let bad = sdist.replace(from, to);
            assert_ne!(bad, sdist);
            let text = format!(r#"{{"name": "my-lib", "files": [{bad}, {sdist}]}}"#);
            let page = page(true, &text).unwrap();
            assert_eq!(file(&page).indexed.filename, "my-lib-1.tar.gz");
            let text = format!(r#"{{"name": "my-lib", "files": [{bad}]}}"#);
            assert!(self::page(true, &text).unwrap().files.is_empty(), "{bad}");
        }
    }

    #[test]
    fn rejects_pages_of_others() {
        for text in [
            r#"{"name": "other", "files": []}"#,
            r#"{"name": "my-lib"}"#,
            "[]",
            "<html>",
        ] {
            assert!(page(true, text).is_none(), "{text}");
        }
        assert!(page(false, "<html>").unwrap().files.is_empty());
    }
}
