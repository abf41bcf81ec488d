//! Answers requests: catches panics, and counts and logs requests when their responses have been sent.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use futures::FutureExt as _;
use hyper::Request;
use hyper::body::{Buf as _, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, USER_AGENT};
use tower::ServiceExt as _;

use crate::AccessRecord;
use crate::auth::AuthenticatedUser;
use crate::metrics::Metrics;
use crate::respond;
use crate::sendfile::{BodyData, NextRange, SentBody};

/// Receives a record of each request.
pub type AccessLog = Arc<dyn Fn(&AccessRecord) + Send + Sync>;

/// The receivers of what is observed.
#[derive(Clone)]
pub(crate) struct Observers {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Option<AccessLog>,
}

/// Answers one request of `client` by `router`, and observes it. `next` is that of a connection that sends files.
pub(crate) async fn answer(
    router: Router,
    observers: Observers,
    client: Option<IpAddr>,
    next: Option<NextRange>,
    request: Request<Incoming>,
) -> Result<Response<ObservedBody>, Infallible> {
    let mut observation = Observation::begin(observers, client, &request);
    let answering = AssertUnwindSafe(router.oneshot(request.map(Body::new)));
    let mut response = match answering.catch_unwind().await {
        Ok(response) => response?,
        Err(_panic) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        // The length is that of the page, or, by axum, of the empty body.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let record = &mut observation.record;
    record.status = response.status();
    let user = response.extensions_mut().remove::<AuthenticatedUser>();
    record.user = user.map(|user| user.0);
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.or_else(|| response.body().size_hint().exact());
    record.complete = record.method == Method::HEAD || length == Some(0);
    let next = next.filter(|_| record.method != Method::HEAD && record.version < Version::HTTP_2);
    Ok(SentBody::replace(response, next).map(|inner| ObservedBody {
        inner,
        length,
        observation,
    }))
}

/// A request whose response is being sent. Recorded when it is dropped.
struct Observation {
    observers: Observers,
    record: AccessRecord,
    begun: Instant,
}

impl Observation {
    fn begin(observers: Observers, client: Option<IpAddr>, request: &Request<Incoming>) -> Self {
        // Without a log, no text is copied.
        let is_logged = observers.access_log.is_some();
        let uri = request.uri();
        let path = || match uri.path_and_query() {
            Some(path) => path.to_string(),
            None => uri.path().to_owned(),
        };
        let user_agent = request.headers().get(USER_AGENT);
        let record = AccessRecord {
            time: SystemTime::now(),
            client,
            user: None,
            method: request.method().clone(),
            path: is_logged.then(path).unwrap_or_default(),
            version: request.version(),
            status: StatusCode::OK,
            bytes: 0,
            duration: std::time::Duration::ZERO,
            user_agent: user_agent
                .filter(|_| is_logged)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            complete: false,
        };
        Self {
            observers,
            record,
            begun: Instant::now(),
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let record = &mut self.record;
        record.duration = self.begun.elapsed();
        self.observers.metrics.count(
            &record.method,
            record.status,
            record.bytes,
            record.duration.as_secs_f64(),
        );
        if let Some(log) = &self.observers.access_log {
            log(record);
        }
    }
}

/// A body that counts its bytes.
pub(crate) struct ObservedBody {
    inner: SentBody,
    length: Option<u64>,
    observation: Observation,
}

impl HttpBody for ObservedBody {
    type Data = BodyData;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<BodyData>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let length = self.length;
        let record = &mut self.observation.record;
        match &frame {
            Some(Ok(frame)) => {
                record.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
            }
            Some(Err(_)) => {}
            None => record.complete = true,
        }
        // hyper drops a body of known length without asking for its end.
        record.complete |= length == Some(record.bytes);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
