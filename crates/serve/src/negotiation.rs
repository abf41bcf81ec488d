//! Content negotiation: the format of an index page (PEP 691) and its compression.

use axum::http::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING};

/// The content type of index pages as JSON.
pub(crate) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The content type of index pages as HTML, for clients that ask for it by this name.
pub(crate) const VERSIONED_HTML: &str = "application/vnd.pypi.simple.v1+html";

/// The content type of index pages as HTML for all others.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

const LATEST_JSON: &str = "application/vnd.pypi.simple.latest+json";
const LATEST_HTML: &str = "application/vnd.pypi.simple.latest+html";

/// The formats of index pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFormat {
    Json,
    /// With a versioned content type.
    VersionedHtml,
    Html,
}

impl PageFormat {
    /// Returns the format with the content type `name`.
    fn from_content_type(name: &str) -> Option<Self> {
        let is = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is(&[JSON, LATEST_JSON]) {
            Some(Self::Json)
        } else if is(&[VERSIONED_HTML, LATEST_HTML]) {
            Some(Self::VersionedHtml)
        } else {
            is(&["text/html"]).then_some(Self::Html)
        }
    }

    /// Determines the format from the parameter `format` of `query`, else from the `Accept` header. A client that accepts
    /// anything gets HTML, as from every older index. Returns `None` if the client accepts none of the formats.
    pub(crate) fn negotiate(query: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        let parameters = query.unwrap_or_default().split('&');
        let mut formats = parameters.filter_map(|pair| pair.strip_prefix("format="));
        if let Some(format) = formats.next() {
            let format = percent_encoding::percent_decode_str(format).decode_utf8();
            // In a query, `+` may stand for itself or for a space.
            return Self::from_content_type(&format.ok()?.replace(' ', "+"));
        }
        let accepted: Vec<_> = preferences(headers, &ACCEPT).collect();
        if accepted.is_empty() {
            return Some(Self::Html);
        }
        let quality = |format: Self| {
            let named = accepted
                .iter()
                .filter(|(name, _)| Self::from_content_type(name) == Some(format))
                .map(|(_, quality)| *quality)
                .reduce(f32::max);
            named.or_else(|| wildcard(&accepted, format))
        };
        // Of formats with the same quality, the last one counts.
        [Self::VersionedHtml, Self::Html, Self::Json]
            .into_iter()
            .filter_map(|format| Some((format, quality(format)?)))
            .filter(|(_, quality)| *quality > 0.0)
            .reduce(|best, other| if other.1 >= best.1 { other } else { best })
            .map(|(format, _)| format)
    }
}

/// Returns the quality of the media range that covers `format`. Only `text/html` is offered to clients that name no format.
fn wildcard(accepted: &[(&str, f32)], format: PageFormat) -> Option<f32> {
    if format != PageFormat::Html {
        return None;
    }
    let of = |range: &str| accepted.iter().find(|(name, _)| *name == range);
    of("text/*")
        .or_else(|| of("*/*"))
        .map(|(_, quality)| *quality)
}

/// Returns whether the client accepts gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut offers = preferences(headers, &ACCEPT_ENCODING);
    offers
        .any(|(name, quality)| (name.eq_ignore_ascii_case("gzip") || name == "*") && quality > 0.0)
}

/// Returns whether the client is a browser: it accepts XHTML, unlike installers and scripts.
pub(crate) fn is_browser(headers: &HeaderMap) -> bool {
    preferences(headers, &ACCEPT).any(|(name, _)| name == "application/xhtml+xml")
}

/// Returns the values of a header such as `Accept` with their qualities.
fn preferences<'a>(
    headers: &'a HeaderMap,
    name: &hyper::header::HeaderName,
) -> impl Iterator<Item = (&'a str, f32)> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            Some((name, quality.unwrap_or("1").parse().unwrap_or(0.0)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> Option<PageFormat> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        PageFormat::negotiate(None, &headers)
    }

    #[test]
    fn installers_get_json_and_browsers_html() {
        let pip = format!("{JSON}, {VERSIONED_HTML}; q=0.1, text/html; q=0.01");
        assert_eq!(negotiated(&pip), Some(PageFormat::Json));
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert_eq!(negotiated(browser), Some(PageFormat::Html));
        assert_eq!(
            negotiated(&format!("{JSON};q=0, text/html")),
            Some(PageFormat::Html)
        );
        assert_eq!(
            negotiated(&format!("{JSON}; q=0.2, text/html")),
            Some(PageFormat::Html)
        );
        assert_eq!(negotiated(VERSIONED_HTML), Some(PageFormat::VersionedHtml));
        assert_eq!(negotiated(LATEST_JSON), Some(PageFormat::Json));
        assert_eq!(negotiated(&JSON.to_uppercase()), Some(PageFormat::Json));
        assert_eq!(negotiated("*/*"), Some(PageFormat::Html));
        assert_eq!(negotiated("image/png"), None);
        assert_eq!(
            PageFormat::negotiate(None, &HeaderMap::new()),
            Some(PageFormat::Html)
        );
    }

    #[test]
    fn the_query_has_precedence() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "text/html".parse().unwrap());
        for query in [
            "format=application/vnd.pypi.simple.v1+json",
            "a=b&format=application%2Fvnd.pypi.simple.v1%2Bjson",
        ] {
            let format = PageFormat::negotiate(Some(query), &headers);
            assert_eq!(format, Some(PageFormat::Json), "{query}");
        }
        assert_eq!(PageFormat::negotiate(Some("format=x"), &headers), None);
    }

    #[test]
    fn compresses_for_clients_that_accept_it() {
        for (value, expected) in [
            ("gzip, deflate", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("*", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
    }
}
