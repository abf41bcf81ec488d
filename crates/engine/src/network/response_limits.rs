//! Limits of responses, applied before anything else reads them.
//!
//! [`ResponseLimits`] is the middleware closest to the network. It measures every decoded body as it arrives: its size, and
//! its rate, so that a stalled server is abandoned. Index pages and metadata are read and checked as a whole here, so that
//! an excess becomes an error that names the URL.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{Extensions, Method, StatusCode};
use reqwest::{Body, Request, Response, ResponseBuilderExt as _};
use reqwest_middleware::{Middleware, Next};
use url::Url;
use wheelhouse_types::limits::{self, Excess, Rate};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Error, Kind};

use super::client::PageKind;
use super::redirect::redirect_target;
use crate::error::EngineError;

/// A middleware that measures responses as they arrive.
pub(crate) struct ResponseLimits {
    /// The time for which a server may send nothing.
    timeout: Duration,
    /// True if a file without an announced size is limited here; otherwise its reader knows the size.
    ends_files: bool,
    /// The URLs that metadata was redirected to.
    metadata: Mutex<HashSet<Url>>,
}

/// The contents of a response, judged by the request.
#[derive(Clone, Copy, PartialEq)]
enum Contents {
    Page,
    Metadata,
    File,
}

impl ResponseLimits {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            ends_files: true,
            metadata: Mutex::default(),
        }
    }

    /// Leaves the size of files to the reader.
    pub(crate) fn without_files(self) -> Self {
        Self {
            ends_files: false,
            ..self
        }
    }

    fn contents(&self, request: &Request) -> Contents {
        if PageKind::of(request).is_some() {
            return Contents::Page;
        }
        let url = request.url();
        let redirected = self.metadata.lock().expect("no panic while locked");
        if url.path().ends_with(".metadata") || redirected.contains(url) {
            Contents::Metadata
        } else {
            Contents::File
        }
    }

    /// Treats the target of a redirected metadata file as metadata, too.
    fn follow(&self, response: &Response) {
        let target = redirect_target(response);
        let mut redirected = self.metadata.lock().expect("no panic while locked");
        redirected.extend(target);
    }

    fn limit(&self, contents: Contents, response: &Response) -> u64 {
        let announced = response.headers().contains_key(CONTENT_LENGTH);
        match contents {
            _ if !response.status().is_success() => limits::METADATA,
            Contents::Page => limits::PAGE,
            Contents::Metadata => limits::METADATA,
            Contents::File if announced || !self.ends_files => u64::MAX,
            Contents::File => limits::UNANNOUNCED_FILE,
        }
    }

    fn rejected(url: &Url, excess: Excess) -> reqwest_middleware::Error {
        tracing::debug!(url = redacted(url.as_str()), %excess, "rejecting a response");
        let message = format!("{} is refused", redacted(url.as_str()));
        let error = Error::new(Kind::Fetch, message)
            .caused_by(excess)
            .with_hint("Allow other versions, or report it to the operator of the index.");
        reqwest_middleware::Error::middleware(EngineError::new(error))
    }
}

#[async_trait::async_trait]
impl Middleware for ResponseLimits {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let (url, contents) = (request.url().clone(), self.contents(&request));
        let has_body = request.method() != Method::HEAD;
        let response = next.run(request, extensions).await?;
        if !has_body {
            return Ok(response);
        }
        if response.status().is_redirection() && contents == Contents::Metadata {
            self.follow(&response);
        }
        let limit = self.limit(contents, &response);
        let is_read_whole = contents != Contents::File && response.status() == StatusCode::OK;
        let (head, body) = into_parts(response);
        let mut body = Box::pin(bounded(body, limit, self.timeout));
        if !is_read_whole {
            return Ok(from_parts(head, Body::wrap_stream(body)));
        }
        let body = match whole(&mut body).await {
            Ok(body) => body,
            Err(Interruption::Excess(excess)) => return Err(Self::rejected(&url, excess)),
            Err(Interruption::Broken(error)) => return Err(error.into()),
            Err(Interruption::Slow(error)) => {
                return Err(reqwest_middleware::Error::middleware(error));
            }
        };
        if contents == Contents::Metadata {
            limits::metadata(&body).map_err(|excess| Self::rejected(&url, excess))?;
        }
        Ok(from_parts(head, body.into()))
    }
}

/// The reason why a body ended early.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Excess(Excess),
    /// An I/O error of kind `TimedOut`, which is retried.
    #[error("the server stalled")]
    Slow(#[source] io::Error),
    #[error("the connection was lost")]
    Broken(#[source] reqwest::Error),
}

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Passes `body` on until it exceeds `limit` or falls below the minimum rate. Only the time spent waiting for the server
/// counts.
fn bounded(
    body: Chunks,
    limit: u64,
    timeout: Duration,
) -> impl Stream<Item = Result<Bytes, Interruption>> + Send {
    let state = (body, Rate::new(timeout), Duration::ZERO, 0_u64);
    stream::try_unfold(
        state,
        move |(mut body, mut rate, waited, received)| async move {
            let begun = Instant::now();
            let Some(chunk) = body.next().await else {
                return Ok(None);
            };
            let chunk = chunk.map_err(Interruption::Broken)?;
            let waited = waited + begun.elapsed();
            let received = received + chunk.len() as u64;
            limits::size(received, limit).map_err(Interruption::Excess)?;
            let slow = |error| io::Error::new(io::ErrorKind::TimedOut, error);
            rate.count(chunk.len(), waited)
                .map_err(|error| Interruption::Slow(slow(error)))?;
            Ok(Some((chunk, (body, rate, waited, received))))
        },
    )
}

async fn whole(
    body: &mut (impl Stream<Item = Result<Bytes, Interruption>> + Unpin),
) -> Result<Bytes, Interruption> {
    let mut chunks = Vec::new();
    while let Some(chunk) = body.next().await {
        chunks.push(chunk?);
    }
    if let [chunk] = &chunks[..] {
        return Ok(chunk.clone());
    }
    let mut bytes = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    // Each chunk is freed as soon as it is copied.
    for chunk in chunks {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Separates the body of `response` from its head.
fn into_parts(response: Response) -> (http::response::Builder, Chunks) {
    let mut head = http::Response::builder()
        .status(response.status())
        .version(response.version())
        .url(response.url().clone());
    for (name, value) in response.headers() {
        head = head.header(name, value);
    }
    (head, Box::pin(response.bytes_stream()))
}

fn from_parts(head: http::response::Builder, body: Body) -> Response {
    head.body(body).expect("the head was one before").into()
}
