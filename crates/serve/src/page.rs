//! A page in its representations: HTML and JSON, each as it is and compressed, with the headers of their responses.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use headers::{HeaderMapExt as _, LastModified};
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use wheelhouse_publish::simple_index;
use wheelhouse_types::Sha256;

use crate::negotiation::{HTML, JSON};

/// The smallest page that is compressed, in bytes: a smaller one fits into one packet anyway.
const LEAST_COMPRESSED: usize = 1024;

/// A page of an index, or another page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) html: Representation,
    /// `None` for a page that exists as HTML only.
    pub(crate) json: Option<Representation>,
}

impl Page {
    pub(crate) fn of_index(page: simple_index::RenderedPage, modified: Option<SystemTime>) -> Self {
        Self {
            json: Some(Representation::new(page.json, JSON, modified)),
            ..Self::of_html(page.html, modified)
        }
    }

    pub(crate) fn of_html(html: Vec<u8>, modified: Option<SystemTime>) -> Self {
        Self {
            html: Representation::new(html, HTML, modified),
            json: None,
        }
    }
}

/// A page in one format.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(crate) modified: Option<SystemTime>,
    plain: Encoded,
    compressed: OnceLock<Option<Encoded>>,
}

/// Bytes with their strong entity tag. Representations with different bytes have different tags.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) entity_tag: HeaderValue,
    /// The headers of a response with the bytes. They are made once: each request needs them.
    pub(crate) headers: HeaderMap,
}

impl Representation {
    pub(crate) fn new(
        bytes: Vec<u8>,
        content_type: &'static str,
        modified: Option<SystemTime>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        let fixed = [
            (CONTENT_TYPE, content_type),
            (VARY, "Accept, Accept-Encoding"),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        if let Some(modified) = modified {
            headers.typed_insert(LastModified::from(modified));
        }
        let entity_tag = entity_tag(&bytes, "");
        Self {
            modified,
            plain: Encoded::new(bytes, entity_tag, headers),
            compressed: OnceLock::new(),
        }
    }

    pub(crate) fn plain(&self) -> &Encoded {
        &self.plain
    }

    /// Returns the page as gzip, or `None` if that is not smaller.
    pub(crate) fn compressed(&self) -> Option<&Encoded> {
        let compressed = self.compressed.get_or_init(|| {
            let plain = &self.plain.bytes;
            if plain.len() < LEAST_COMPRESSED {
                return None;
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).ok()?;
            let bytes = encoder.finish().ok()?;
            (bytes.len() < plain.len()).then(|| {
                let mut headers = self.plain.headers.clone();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Encoded::new(bytes, entity_tag(plain, "-gzip"), headers)
            })
        });
        compressed.as_ref()
    }
}

impl Encoded {
    fn new(bytes: Vec<u8>, entity_tag: HeaderValue, mut headers: HeaderMap) -> Self {
        headers.insert(ETAG, entity_tag.clone());
        headers.insert(CONTENT_LENGTH, bytes.len().into());
        Self {
            bytes: bytes.into(),
            entity_tag,
            headers,
        }
    }
}

fn entity_tag(bytes: &[u8], suffix: &str) -> HeaderValue {
    let digest = Sha256::of(bytes).to_string();
    HeaderValue::try_from(format!("\"{}{suffix}\"", &digest[..32]))
        .expect("a digest has only hexadecimal digits")
}
