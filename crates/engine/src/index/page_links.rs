//! The links of pages from servers: they may not lead to local files, nor to files that can be changed in transit without
//! notice.

use url::Url;

use crate::network::plain_http::PlainHttp;

/// Checks the links of pages.
#[derive(Clone, Default)]
pub(crate) struct PageLinks(pub(crate) PlainHttp);

impl PageLinks {
    /// Returns the reason to skip a file, if there is one. `href` is the link on the page at `page`, relative to `base`;
    /// `has_digest` returns whether the page states a digest of the file.
    pub(crate) fn refusal(
        &self,
        page: &Url,
        base: &Url,
        href: &str,
        has_digest: impl FnOnce() -> bool,
    ) -> Option<&'static str> {
        // An index could run the code of any source distribution on this machine.
        if href.starts_with("https://") || page.scheme() == "file" {
            return None;
        }
        let url = base.join(href).ok()?;
        if url.scheme() == "file" {
            return Some("it leads to a file of this machine");
        }
        if !self.0.is_exposed(&url) {
            return None;
        }
        if page.scheme() == "https" {
            return Some("it leads from HTTPS to plain HTTP");
        }
        (!has_digest()).then_some("it is at plain HTTP and has no digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_links_to_local_and_exposed_files() {
        let links = PageLinks::default();
        let refusal = |page: &str, href: &str, has_digest: bool| {
            let page = Url::parse(page).unwrap();
            links.refusal(&page, &page, href, || has_digest)
        };
        let (secure, plain, local) = ("https://i.example/a/", "http://localhost/a/", "file:///a/");
        for (page, href, has_digest, refused) in [
            (secure, "http://f.example/a.whl", true, true),
            (secure, "http://localhost/a.whl", false, false),
            (secure, "//f.example/a.whl", false, false),
            (secure, "a.whl", false, false),
            (secure, "file:///a.whl", true, true),
            (secure, "FILE:///a.whl", true, true),
            (plain, "http://f.example/a.whl", true, false),
            (plain, "//f.example/a.whl", false, true),
            (plain, "https://f.example/a.whl", false, false),
            (plain, "a.whl", false, false),
            (plain, "file:///a.whl", true, true),
            (local, "a.whl", false, false),
        ] {
            let answer = refusal(page, href, has_digest);
            assert_eq!(answer.is_some(), refused, "{page} {href}: {answer:?}");
        }
    }
}
