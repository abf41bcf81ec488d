//! Credentials that uv would write into its cache, which records requests with their responses.

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderValue, PROXY_AUTHORIZATION, VARY};
use http::{Extensions, HeaderMap};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next};
use wheelhouse_types::redact::has_query_secrets;

/// A middleware that keeps the credentials of requests out of the cache.
///
/// uv caches the request headers that `Vary` names (RFC 9111, section 4.1). So headers with credentials are removed from
/// `Vary`, and the response is revalidated each time. uv also caches the whole URL, so the response for a URL with
/// credentials is not cached.
pub(crate) struct CachedSecrets;

#[async_trait::async_trait]
impl Middleware for CachedSecrets {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let is_secret = has_query_secrets(request.url());
        let mut response = next.run(request, extensions).await?;
        let headers = response.headers_mut();
        if is_secret {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        } else {
            vary_without_credentials(headers);
        }
        Ok(response)
    }
}

fn vary_without_credentials(headers: &mut HeaderMap) {
    let holds_credentials = |name: &str| {
        let mut known = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].into_iter();
        known.any(|known| name.eq_ignore_ascii_case(known.as_str()))
    };
    let values = headers.get_all(VARY).into_iter();
    let names = values.filter_map(|value| value.to_str().ok());
    let names = names.flat_map(|value| value.split(',').map(str::trim));
    let (secret, others): (Vec<&str>, Vec<&str>) = names.partition(|name| holds_credentials(name));
    if secret.is_empty() {
        return;
    }
    let others = HeaderValue::from_str(&others.join(", "));
    headers.remove(VARY);
    if let Some(others) = others.ok().filter(|others| !others.is_empty()) {
        headers.insert(VARY, others);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_other_headers_in_vary() {
        for (vary, kept, is_asked_again) in [
            ("Accept, Authorization", Some("Accept"), true),
            ("authorization,Cookie", None, true),
            (
                "Accept, Accept-Encoding",
                Some("Accept, Accept-Encoding"),
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(VARY, HeaderValue::from_static(vary));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=600"));
            vary_without_credentials(&mut headers);
            let after = headers.get(VARY).map(|value| value.to_str().unwrap());
            assert_eq!(after, kept);
            assert_eq!(headers[CACHE_CONTROL] == "no-cache", is_asked_again);
        }
    }
}
