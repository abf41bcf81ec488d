//! Package URLs and IRIs.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// The characters to encode in a package URL.
const PURL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The characters to encode in an IRI.
const IRI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Returns the package URL of a distribution.
pub(crate) fn purl(name: &str, version: &str, filename: Option<&str>) -> String {
    let encoded = |text| utf8_percent_encode(text, PURL);
    let purl = format!("pkg:pypi/{}@{}", encoded(name), encoded(version));
    match filename {
        Some(filename) => format!("{purl}?file_name={}", encoded(filename)),
        None => purl,
    }
}

/// Converts the source of a file, a path or a URL, to an IRI (RFC 3987).
pub(crate) fn iri(source: &str) -> String {
    match Url::from_file_path(source) {
        Ok(url) => url.into(),
        Err(()) => utf8_percent_encode(source, IRI).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_iris() {
        assert_eq!(iri("/some wheels/a.whl"), "file:///some%20wheels/a.whl");
        assert_eq!(iri("oci:/a b:1#c.whl"), "oci:/a%20b:1#c.whl");
        let plain = "git+https://example.org/a.git@0f";
        assert_eq!(iri(plain), plain);
    }

    #[test]
    fn encodes_package_urls() {
        let filename = "torch-2.0+cpu-cp312-cp312-linux_x86_64.whl";
        assert_eq!(
            purl("torch", "2.0+cpu", Some(filename)),
            "pkg:pypi/torch@2.0%2Bcpu?file_name=torch-2.0%2Bcpu-cp312-cp312-linux_x86_64.whl"
        );
        assert_eq!(purl("a", "1", None), "pkg:pypi/a@1");
    }
}
