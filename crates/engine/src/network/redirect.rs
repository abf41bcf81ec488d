//! The target of a redirect.

use reqwest::Response;
use reqwest::header::LOCATION;
use url::Url;

/// Returns the URL to which `response` redirects.
pub(crate) fn redirect_target(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}
