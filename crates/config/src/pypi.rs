//! Recognizes `PyPI` by all of its names.

use url::Url;

/// The default index.
pub(super) const PYPI: &str = "https://pypi.org/simple";

/// The names of its server, the current one first.
const HOSTS: [&str; 3] = ["pypi.org", "pypi.python.org", "pypi.io"];

/// Returns whether `index` is `PyPI`, possibly by a name from before 2018, which locks and configurations
/// keep, or without TLS.
pub(super) fn is_pypi(index: &Url) -> bool {
    let host = index.host_str().unwrap_or_default();
    matches!(index.scheme(), "http" | "https")
        && index.port().is_none()
        && HOSTS.contains(&host.trim_end_matches('.'))
        && matches!(index.path().trim_end_matches('/'), "/simple" | "/pypi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_all_urls_of_pypi() {
        let is_pypi = |index: &str| is_pypi(&index.parse().unwrap());
        for index in [
            PYPI,
            "https://pypi.org/simple/",
            "http://pypi.org/simple",
            "https://PyPI.python.org/simple",
            "https://pypi.python.org/simple/",
            "http://pypi.python.org/simple",
            "https://pypi.python.org:443/pypi",
            "http://pypi.python.org/pypi/",
            "https://user:secret@pypi.python.org/simple",
            "https://pypi.io/simple",
        ] {
            assert!(is_pypi(index), "{index}");
        }
        for index in [
            "https://test.pypi.org/simple",
            "https://pypi.python.org.example/simple",
            "https://mirror.example/pypi.python.org/simple",
            "https://pypi.org:8443/simple",
            "https://pypi.org/",
            "https://pypi.org/simple/foo",
            "ftp://pypi.org/simple",
            "file:///simple",
        ] {
            assert!(!is_pypi(index), "{index}");
        }
    }
}
