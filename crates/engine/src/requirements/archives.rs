//! URLs of archives without a file extension: pip accepts them, and uv does not. So such a URL is parsed as if it had
//! [one](SUFFIX), and the contents of the file determine its format.

use uv_distribution_filename::DistExtension;
use uv_distribution_types::{RequirementSource, UnresolvedRequirement};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_redacted::DisplaySafeUrl;

/// The suffix with which the URL of an archive without one is parsed.
const SUFFIX: &str = "/archive.tar.gz";

/// The suffix of the file name of such an archive.
pub(crate) const FILE_SUFFIX: &str = ".tar.gz";

/// Returns `text`, a requirement with an HTTP URL, with a suffix if the URL has none of an archive.
pub(crate) fn with_suffix(text: &str) -> Option<String> {
    let start = text
        .match_indices("http")
        .map(|(start, _)| start)
        .find(|start| {
            let before = text[..*start].trim_end_matches(char::is_whitespace);
            before.is_empty() || before.ends_with('@')
        })?;
    let end = text[start..].find(char::is_whitespace);
    let end = end.map_or(text.len(), |length| start + length);
    let path_end = text[start..end].find(['?', '#']);
    let path_end = path_end.map_or(end, |length| start + length);
    let (before, rest) = text.split_at(path_end);
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| before[start..].starts_with(scheme));
    let has_suffix = DistExtension::from_path(before).is_ok();
    (is_url && !has_suffix).then(|| format!("{before}{SUFFIX}{rest}"))
}

/// Removes the suffix that [`with_suffix`] added.
pub(crate) fn without_suffix(requirement: &mut UnresolvedRequirement) {
    let (location, verbatim) = match requirement {
        UnresolvedRequirement::Named(named) => match &mut named.source {
            RequirementSource::Url { location, url, .. } => (location, url),
            _ => return,
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &mut unnamed.url.parsed_url {
            ParsedUrl::Archive(archive) => (&mut archive.url, &mut unnamed.url.verbatim),
            _ => return,
        },
    };
    let shorten = |url: &mut DisplaySafeUrl| {
        let path = url.path().strip_suffix(SUFFIX).map(ToOwned::to_owned);
        if let Some(path) = path {
            url.set_path(&path);
        }
    };
    let mut url = verbatim.to_url();
    shorten(&mut url);
    shorten(location);
    *verbatim = VerbatimUrl::from_url(url);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_suffix_to_urls_without_one() {
        let suffixed = |text: &str| with_suffix(text);
        assert_eq!(
            suffixed("a @ https://host/tar.gz/v1?x=1#egg=a ; python_version > '3'").as_deref(),
            Some("a @ https://host/tar.gz/v1/archive.tar.gz?x=1#egg=a ; python_version > '3'")
        );
        assert_eq!(
            suffixed("http://host/download?id=5").as_deref(),
            Some("http://host/download/archive.tar.gz?id=5")
        );
        for text in [
            "a @ https://host/a.zip",
            "git+https://host/a",
            "a>=1",
            "a @ git+https://host/a",
            "http",
        ] {
            assert_eq!(suffixed(text), None, "{text}");
        }
    }
}
