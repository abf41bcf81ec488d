//! The contents of a repository: its tags, and the deletion of documents.

use reqwest::header::{ACCEPT, HeaderMap, LINK};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::Url;
use wheelhouse_types::Result;
use wheelhouse_types::error::Context as _;

use super::client::Registry;
use super::http::{BodyError, read_body};

/// The number of tags that a page is requested to have.
const PAGE: &str = "1000";

/// The maximum size of a page, in bytes. Some registries ignore the requested number of tags.
const MAX_PAGE_SIZE: u64 = 64 << 20;

/// The maximum number of tags.
const MAX_TAGS: usize = 1_000_000;

/// A page of tags (OCI distribution specification, listing tags).
#[derive(Deserialize)]
struct TagPage {
    /// Some registries return null for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Lists the tags of the repository. A repository that does not exist has none.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or rejects the request, or if there are too many tags.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let name = || format!("the tags of docker://{}", self.reference());
        let mut url = self.url("tags/list");
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut tags = Vec::new();
        let mut failures = 0;
        loop {
            let get = || {
                let request = self.client().get(url.clone());
                request.header(ACCEPT, "application/json")
            };
            let response = self.send(get).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(tags);
            }
            let response = self.ensure_success(response, "the list of tags").await?;
            let next = next_page(&url, response.headers());
            let bytes = match read_body(response, MAX_PAGE_SIZE, self.timeout()).await {
                Ok(bytes) => bytes,
                Err(BodyError::Failed(failed)) => {
                    failures += 1;
                    self.pause(*failed, failures).await?;
                    continue;
                }
                Err(BodyError::TooLong(excess)) => return Err(excess).context(self.kind(), name),
            };
            let page: TagPage = serde_json::from_slice(&bytes).context(self.kind(), name)?;
            let page = page.tags.unwrap_or_default();
            let is_empty = page.is_empty();
            tags.extend(page);
            if tags.len() > MAX_TAGS {
                return Err(self.error(&format!("the repository has more than {MAX_TAGS} tags")));
            }
            match next {
                Some(next) if !is_empty && self.is_own(&next) => url = next,
                _ => return Ok(tags),
            }
        }
    }

    /// Deletes the manifest with `digest` and all its tags. Its blobs stay until the registry collects garbage. Returns
    /// whether the manifest existed.
    ///
    /// # Errors
    /// Fails if the registry cannot be reached or does not allow the deletion.
    pub async fn delete_document(&self, digest: &str) -> Result<bool> {
        let url = self.url(&format!("manifests/{digest}"));
        let response = self.send(|| self.client().delete(url.clone())).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            // The specification has this status for registries whose configuration disables deletion.
            StatusCode::METHOD_NOT_ALLOWED => Err(self
                .error("the registry does not allow the deletion of manifests")
                .with_hint(
                    "Enable it in the configuration of the registry, or use the registry's own rules for expiry.",
                )),
            _ => self
                .ensure_success(response, "the deletion of a manifest")
                .await
                .map(|_: Response| true),
        }
    }
}

/// Returns the URL of the next page, relative to the `current` one (RFC 8288, relation `next`).
fn next_page(current: &Url, headers: &HeaderMap) -> Option<Url> {
    let links = headers.get_all(LINK).iter();
    links
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = parameters
                .split(';')
                .any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
            is_next.then(|| current.join(target).ok())?
        })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn next(link: &'static str) -> Option<String> {
        let current = Url::parse("https://host/v2/acme/cache/tags/list?n=1000").unwrap();
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]);
        next_page(&current, &headers).map(String::from)
    }

    #[test]
    fn resolves_link_to_next_page() {
        let expected = "https://host/v2/acme/cache/tags/list?n=1000&last=b";
        for link in [
            "</v2/acme/cache/tags/list?n=1000&last=b>; rel=\"next\"",
            "<https://host/v2/acme/cache/tags/list?n=1000&last=b>;rel=next",
            "</other>; rel=\"prev\", <?n=1000&last=b>; rel=\"next\"",
        ] {
            assert_eq!(next(link).as_deref(), Some(expected), "{link}");
        }
        for link in [
            "",
            "</next>",
            "</next>; rel=\"previous\"",
            "next; rel=\"next\"",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
