//! A page in its representations: HTML and JSON, each as it is and compressed, with entity tags.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use wheelhouse_publish::simple_index;
use wheelhouse_types::Sha256;

/// The smallest page that is compressed, in bytes: a smaller one fits into one packet anyway.
const LEAST_COMPRESSED: usize = 1024;

/// A page of an index, or another page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) html: Representation,
    /// `None` for a page that exists as HTML only.
    pub(crate) json: Option<Representation>,
    pub(crate) modified: Option<SystemTime>,
}

impl Page {
    pub(crate) fn of_index(page: simple_index::Page, modified: Option<SystemTime>) -> Self {
        Self {
            html: Representation::new(page.html),
            json: Some(Representation::new(page.json)),
            modified,
        }
    }

    pub(crate) fn of_html(html: Representation, modified: Option<SystemTime>) -> Self {
        Self {
            html,
            json: None,
            modified,
        }
    }
}

/// The bytes of a page in one format.
#[derive(Debug)]
pub(crate) struct Representation {
    plain: Encoded,
    compressed: OnceLock<Option<Encoded>>,
}

/// Bytes and their strong entity tag. Representations with different bytes have different tags.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) entity_tag: HeaderValue,
}

impl Representation {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let entity_tag = entity_tag(&bytes, "");
        Self {
            plain: Encoded {
                bytes: bytes.into(),
                entity_tag,
            },
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
            (bytes.len() < plain.len()).then(|| Encoded {
                entity_tag: entity_tag(plain, "-gzip"),
                bytes: bytes.into(),
            })
        });
        compressed.as_ref()
    }
}

fn entity_tag(bytes: &[u8], suffix: &str) -> HeaderValue {
    let digest = Sha256::of(bytes).to_string();
    HeaderValue::try_from(format!("\"{}{suffix}\"", &digest[..32]))
        .expect("a digest has only hexadecimal digits")
}
