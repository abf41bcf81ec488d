//! Entry points for fuzzing the parsers of responses.

use url::Url;

use crate::index::lenient_pages::LenientPages;

/// Parses `bytes` as an index page in JSON or HTML, with each of its files.
///
/// # Panics
/// Never; fuzzing verifies that.
pub fn page(is_json: bool, bytes: &[u8]) {
    let url = Url::parse("https://host/simple/alpha/").expect("it is a URL");
    LenientPages::default().read_bytes(is_json, bytes, &url);
}
