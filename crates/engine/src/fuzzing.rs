//! Entries for fuzzing: what reads bytes of servers, without the servers.

use url::Url;

use crate::index::lenient_pages::LenientPages;
use crate::index::page_links::PageLinks;

/// Reads `bytes` as an index page, as JSON or as HTML, and each of its files.
///
/// # Panics
/// Never, which is what fuzzing is to show.
pub fn page(is_json: bool, bytes: &[u8]) {
    let url = Url::parse("https://host/simple/alpha/").expect("it is a URL");
    LenientPages::new(PageLinks::default()).read_bytes(is_json, bytes, &url);
}
