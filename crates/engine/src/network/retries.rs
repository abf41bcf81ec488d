//! Requests that fail: how long to wait before the next try, and what to say after the last one.
//!
//! uv sends requests again, and waits silently for as long as it sees fit. So its clients are told not to wait, and
//! [`Waiting`], a middleware, does: as long as for files, or as the server asks, and with a notice. What fails in the end
//! becomes an [`Unreachable`], which uv takes for final.

use std::time::Duration;

use http::Extensions;
use http::header::RETRY_AFTER;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use reqwest_retry::Retryable;
use uv_client::retryable_on_request_failure;
use wheelhouse_transport::Unreachable;
use wheelhouse_types::retry;
use wheelhouse_types::retry::RetryNotices;

use crate::error::Failures;

/// Waits after failures of a client that sends a request again so often.
pub(crate) struct Waiting {
    pub(crate) retries: u32,
    pub(crate) notices: RetryNotices,
    pub(crate) failures: Failures,
}

/// How often a request has failed. The tries of one request share it.
#[derive(Clone, Default)]
struct Count(u32);

#[async_trait::async_trait]
impl Middleware for Waiting {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let url = request.url().clone();
        let result = next.run(request, extensions).await;
        let (reason, asked, unreachable) = match &result {
            Ok(response) if retry::is_transient(response.status().as_u16()) => {
                let asked = response.headers().get(RETRY_AFTER);
                let asked = asked.and_then(|asked| asked.to_str().ok());
                let asked =
                    asked.and_then(|asked| retry::retry_after(asked, jiff::Timestamp::now()));
                (format!("it answered {}", response.status()), asked, None)
            }
            Err(Error::Reqwest(error)) => {
                let unreachable = Unreachable::new(&url, error);
                (unreachable.cause(), None, Some(unreachable))
            }
            // The least rate is measured by a middleware.
            Err(Error::Middleware(error)) if error.is::<std::io::Error>() => {
                let unreachable = Unreachable::new(&url, error.as_ref());
                (unreachable.cause(), None, Some(unreachable))
            }
            _ => return result,
        };
        let count = extensions.get_or_insert_default::<Count>();
        count.0 += 1;
        let failures = count.0;
        if failures <= self.retries && is_sent_again(&result, unreachable.as_ref()) {
            self.wait(&url, &reason, retry::delay(failures, asked))
                .await;
            return result;
        }
        match unreachable {
            None => result,
            Some(unreachable) => {
                self.failures.keep_unreachable(&unreachable);
                Err(Error::middleware(unreachable))
            }
        }
    }
}

impl Waiting {
    async fn wait(&self, url: &url::Url, reason: &str, delay: Duration) {
        tracing::debug!("trying {url} again in {delay:?}: {reason}");
        self.notices.observe(url, reason, delay);
        tokio::time::sleep(delay).await;
    }
}

/// Returns whether uv sends the request again.
fn is_sent_again(
    result: &reqwest_middleware::Result<Response>,
    unreachable: Option<&Unreachable>,
) -> bool {
    let Err(error) = result else { return true };
    unreachable.is_some_and(Unreachable::is_passing)
        && retryable_on_request_failure(error) == Some(Retryable::Transient)
}
