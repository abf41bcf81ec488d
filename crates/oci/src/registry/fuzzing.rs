//! The entry point for fuzzing the parsers of responses of registries.

use jiff::Timestamp;
use oci_spec::image::MediaType;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use wheelhouse_types::retry;

use super::{auth, client, push};
use crate::image::blob::Blob;
use crate::image::manifest::{self, Document};

/// The size of the upload that is resumed.
const UPLOAD_SIZE: u64 = 1 << 20;

/// Parses a response of a registry or of its token server. Each header that is parsed has the value `header`.
///
/// # Panics
/// Panics if a property of a parser is violated; fuzzing verifies that this never happens.
pub fn response(header: &[u8], body: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(header) {
        let _ = auth::challenge(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]));
    }
    if let Ok(text) = std::str::from_utf8(header) {
        let offset = push::parse_upload_range(text, UPLOAD_SIZE);
        assert!(offset.is_none_or(|offset| offset <= UPLOAD_SIZE));
        let _ = retry::delay(1, retry::retry_after(text, Timestamp::now()));
    }
    let _ = auth::parse_token(body);
    let message = client::ErrorResponse::parse(body).message();
    assert!(!message.contains(char::is_control), "{message:?}");
    let document = Document::new(&body.len(), MediaType::ImageManifest);
    let referrers = manifest::with_referrer(Some(body), &document, "type");
    assert_eq!(referrers.blob, Blob::of(&referrers.bytes));
}
