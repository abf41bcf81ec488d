//! Failed requests: the delay before the next attempt, and the error after the last one.
//!
//! uv retries requests, and waits silently for a time of its own choice. So its clients do not wait, and [`Retries`], a
//! middleware, does: as long as for files, or as long as the server asks, and with a notice. The last failure becomes an
//! [`Unreachable`], which uv does not retry.

use std::time::{Duration, Instant};

use http::Extensions;
use http::header::RETRY_AFTER;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use reqwest_retry::Retryable;
use uv_client::retryable_on_request_failure;
use wheelhouse_transport::Unreachable;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::retry;
use wheelhouse_types::retry::RetryNotices;

use crate::error::EngineError;

/// A middleware that waits before each of the `retries` of uv.
pub(crate) struct Retries {
    pub(crate) retries: u32,
    pub(crate) notices: RetryNotices,
}

/// The number of failures of a request, shared by its attempts.
#[derive(Clone, Default)]
struct Count(u32);

#[async_trait::async_trait]
impl Middleware for Retries {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let url = request.url().clone();
        let method = request.method().clone();
        let begun = Instant::now();
        let result = next.run(request, extensions).await;
        if let Ok(response) = &result {
            tracing::debug!(
                %method,
                url = redacted(url.as_str()),
                status = response.status().as_u16(),
                elapsed = ?begun.elapsed(),
                "received a response"
            );
        }
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
            // `ResponseLimits` measures the minimum rate.
            Err(Error::Middleware(error)) if error.is::<std::io::Error>() => {
                let unreachable = Unreachable::new(&url, error.as_ref());
                (unreachable.cause(), None, Some(unreachable))
            }
            _ => return result,
        };
        let count = extensions.get_or_insert_default::<Count>();
        count.0 += 1;
        let failures = count.0;
        if failures <= self.retries && is_retried(&result, unreachable.as_ref()) {
            self.wait(&url, &reason, retry::delay(failures, asked))
                .await;
            return result;
        }
        match unreachable {
            None => result,
            Some(unreachable) => {
                tracing::debug!(url = redacted(url.as_str()), failures, %unreachable, "giving up on a request");
                Err(Error::middleware(EngineError::unreachable(unreachable)))
            }
        }
    }
}

impl Retries {
    async fn wait(&self, url: &url::Url, reason: &str, delay: Duration) {
        tracing::debug!(
            url = redacted(url.as_str()),
            ?delay,
            reason,
            "retrying a request"
        );
        self.notices.observe(url, reason, delay);
        tokio::time::sleep(delay).await;
    }
}

/// Returns whether uv retries the request.
fn is_retried(
    result: &reqwest_middleware::Result<Response>,
    unreachable: Option<&Unreachable>,
) -> bool {
    let Err(error) = result else { return true };
    unreachable.is_some_and(Unreachable::is_passing)
        && retryable_on_request_failure(error) == Some(Retryable::Transient)
}
