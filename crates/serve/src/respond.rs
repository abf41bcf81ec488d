//! Responses with pages and files: conditional requests, ranges, and the statuses of failures.
//!
//! Implements RFC 9110: `If-None-Match`, `If-Modified-Since`, `Range` with one range, and `If-Range`. A request for
//! several ranges gets the whole file, as the RFC permits.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::stream;
use headers::{ETag, HeaderMapExt as _, IfModifiedSince, IfNoneMatch, IfRange, LastModified};
use http_range_header::{EndPosition, StartPosition};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    IF_RANGE, LOCATION, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use rustix::io::{Errno, ReadWriteFlags};

use crate::negotiation::{self, PageFormat};
use crate::page::{Page, Representation};
use crate::sendfile::FileRange;
use crate::served_file::ServedFile;

const PLAIN: &str = "text/plain; charset=utf-8";

/// The size of the pieces of a file that are sent, in bytes. One is in memory for each client that reads slowly.
const PIECE: u64 = 64 << 10;

/// Returns a response with a plain text of one line.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns the metadata file of a distribution that is not kept.
pub(crate) fn metadata(bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found")
}

/// Returns a permanent redirect to `location`.
pub(crate) fn redirect(location: &str) -> Response<Body> {
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "moved");
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Returns the response to a request that failed with `error`. The status 404, which installers treat as an answer, is only
/// used for files that certainly do not exist.
pub(crate) fn failed(error: &io::Error) -> Response<Body> {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => try_again(),
        Some(Errno::ACCESS | Errno::PERM) => text(StatusCode::FORBIDDEN, "forbidden"),
        // A link in the place of a directory or a file.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => not_found(),
        None if error.kind() == io::ErrorKind::NotFound => not_found(),
        None if error.kind() == io::ErrorKind::ResourceBusy => try_again(),
        _ => {
            tracing::warn!(%error, "failed to read a wheelhouse");
            text(StatusCode::INTERNAL_SERVER_ERROR, "failed to read")
        }
    }
}

fn try_again() -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "try again later");
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Returns `page` in the format and compression that the client accepts, or 304 if the client has it.
pub(crate) fn page(page: &Page, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    let Some(json) = &page.json else {
        return representation(&page.html, headers);
    };
    match PageFormat::negotiate(query, headers) {
        Some(PageFormat::Json) => representation(json, headers),
        Some(PageFormat::Html) => representation(&page.html, headers),
        Some(PageFormat::VersionedHtml) => {
            let mut response = representation(&page.html, headers);
            let versioned = HeaderValue::from_static(negotiation::VERSIONED_HTML);
            response.headers_mut().insert(CONTENT_TYPE, versioned);
            response
        }
        None => text(
            StatusCode::NOT_ACCEPTABLE,
            "the page exists as text/html, application/vnd.pypi.simple.v1+html and application/vnd.pypi.simple.v1+json",
        ),
    }
}

/// Returns the response with `chosen`, compressed if the client accepts it.
pub(crate) fn representation(chosen: &Representation, headers: &HeaderMap) -> Response<Body> {
    let compressed = negotiation::accepts_gzip(headers)
        .then(|| chosen.compressed())
        .flatten();
    let encoded = compressed.unwrap_or_else(|| chosen.plain());
    let mut response = if is_unmodified(headers, Some(&encoded.entity_tag), chosen.modified) {
        not_modified()
    } else {
        Response::new(Body::from(encoded.bytes.clone()))
    };
    response.headers_mut().clone_from(&encoded.headers);
    response
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// Returns whether the client has the current content, by its conditions.
fn is_unmodified(
    headers: &HeaderMap,
    entity_tag: Option<&HeaderValue>,
    modified: Option<SystemTime>,
) -> bool {
    if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        let tag = entity_tag.and_then(parse_tag);
        return tag.is_some_and(|tag| !condition.precondition_passes(&tag));
    }
    let condition = headers.typed_get::<IfModifiedSince>();
    match (condition, modified) {
        (Some(condition), Some(modified)) => !condition.is_modified(modified),
        _ => false,
    }
}

fn parse_tag(value: &HeaderValue) -> Option<ETag> {
    value.to_str().ok()?.parse().ok()
}

/// Returns the content type of the file `name`.
fn file_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("json") => "application/json",
        Some("metadata" | "toml") => PLAIN,
        Some("html") => negotiation::HTML,
        _ => "application/octet-stream",
    }
}

/// Returns the response with `file`, or the requested range of it. An extension, [`FileRange`], says what its body has, if that is more
/// than is written together with the head.
pub(crate) fn file(file: &ServedFile, headers: &HeaderMap) -> Response<Body> {
    let (opened, size) = match file.handle() {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    let entity_tag = file.entity_tag();
    let modified = file.modified();
    let mut response = if is_unmodified(headers, entity_tag.as_ref(), modified) {
        not_modified()
    } else {
        ranged(opened, size, entity_tag.as_ref(), headers)
    };
    let answer = response.headers_mut();
    if !answer.contains_key(CONTENT_TYPE) {
        answer.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(file_type(file.name())),
        );
    }
    answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(entity_tag) = entity_tag {
        answer.insert(ETAG, entity_tag);
    }
    if let Some(modified) = modified {
        answer.typed_insert(LastModified::from(modified));
    }
    response
}

fn ranged(
    opened: Arc<File>,
    size: u64,
    entity_tag: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Response<Body> {
    let (range, status) = match requested_range(size, entity_tag, headers) {
        RequestedRange::Whole => (0..size, StatusCode::OK),
        RequestedRange::Part(start, end) => (start..end + 1, StatusCode::PARTIAL_CONTENT),
        RequestedRange::Unsatisfiable => {
            let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "not satisfiable");
            let value = HeaderValue::try_from(format!("bytes */{size}"));
            let value = value.expect("digits are a valid header");
            response.headers_mut().insert(CONTENT_RANGE, value);
            return response;
        }
    };
    let body = Body::from_stream(pieces(Arc::clone(&opened), range.clone()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if range.end - range.start > PIECE {
        let (file, bytes) = (opened, range.clone());
        response.extensions_mut().insert(FileRange { file, bytes });
    }
    let answer = response.headers_mut();
    answer.insert(CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let value = HeaderValue::try_from(value).expect("digits are a valid header");
        answer.insert(CONTENT_RANGE, value);
    }
    response
}

enum RequestedRange {
    Whole,
    /// The first and the last byte.
    Part(u64, u64),
    Unsatisfiable,
}

fn requested_range(
    size: u64,
    entity_tag: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> RequestedRange {
    let Some(value) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return RequestedRange::Whole;
    };
    if headers.contains_key(IF_RANGE) {
        let condition = headers.typed_get::<IfRange>();
        let tag = entity_tag.and_then(parse_tag);
        // Dates never match: a file can change twice within a second.
        if condition.is_none_or(|condition| condition.is_modified(tag.as_ref(), None)) {
            return RequestedRange::Whole;
        }
    }
    // A header that cannot be parsed is ignored, as is one in another unit.
    let Ok(ranges) = http_range_header::parse_range_header(value) else {
        return RequestedRange::Whole;
    };
    let [range] = &ranges.ranges[..] else {
        return RequestedRange::Whole;
    };
    let first = match range.start {
        StartPosition::Index(first) => first,
        StartPosition::FromLast(length) => size.saturating_sub(length),
    };
    let last = match range.end {
        EndPosition::Index(last) => last.min(size.saturating_sub(1)),
        EndPosition::LastByte => size.saturating_sub(1),
    };
    if first >= size || first > last {
        return RequestedRange::Unsatisfiable;
    }
    RequestedRange::Part(first, last)
}

/// Reads `range` of `file` in pieces. Each is read into the memory of the one before, once that was sent.
fn pieces(
    file: Arc<File>,
    range: std::ops::Range<u64>,
) -> impl futures::Stream<Item = io::Result<Bytes>> {
    let start = (file, range, Bytes::new());
    stream::try_unfold(start, async |(file, range, last)| {
        if range.is_empty() {
            return Ok(None);
        }
        let length =
            usize::try_from(PIECE.min(range.end - range.start)).map_err(io::Error::other)?;
        let mut buffer = last.try_into_mut().unwrap_or_default();
        buffer.resize(length, 0);
        let piece = read_piece(&file, range.start, buffer).await?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let next = range.start + piece.len() as u64;
        Ok(Some((piece.clone(), (file, next..range.end, piece))))
    })
}

/// Fills `buffer`, or less: immediately if the bytes are in memory, else on a thread that may block.
async fn read_piece(file: &Arc<File>, start: u64, mut buffer: BytesMut) -> io::Result<Bytes> {
    let read = rustix::io::preadv2(
        file,
        &mut [IoSliceMut::new(&mut buffer)],
        start,
        ReadWriteFlags::NOWAIT,
    );
    if let Ok(read @ 1..) = read {
        buffer.truncate(read);
        return Ok(buffer.freeze());
    }
    let file = Arc::clone(file);
    tokio::task::spawn_blocking(move || {
        let read = std::os::unix::fs::FileExt::read_at(&*file, &mut buffer, start)?;
        buffer.truncate(read);
        Ok(buffer.freeze())
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_files_are_not_found() {
        for (errno, status) in [
            (Errno::NOENT, 404),
            (Errno::NOTDIR, 404),
            (Errno::LOOP, 404),
            (Errno::ACCESS, 403),
            (Errno::PERM, 403),
            (Errno::MFILE, 503),
            (Errno::NFILE, 503),
            (Errno::NOMEM, 503),
            (Errno::IO, 500),
            (Errno::STALE, 500),
        ] {
            assert_eq!(failed(&errno.into()).status(), status, "{errno:?}");
        }
        assert_eq!(failed(&io::ErrorKind::NotFound.into()).status(), 404);
        assert_eq!(failed(&io::ErrorKind::ResourceBusy.into()).status(), 503);
    }

    #[test]
    fn ranges_follow_the_specification() {
        let requested = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static(value));
            match requested_range(1000, None, &headers) {
                RequestedRange::Whole => "whole".to_owned(),
                RequestedRange::Part(start, end) => format!("{start}-{end}"),
                RequestedRange::Unsatisfiable => "unsatisfiable".to_owned(),
            }
        };
        for (value, expected) in [
            ("bytes=0-0", "0-0"),
            ("bytes=10-", "10-999"),
            ("bytes=-10", "990-999"),
            ("bytes=-5000", "0-999"),
            ("bytes=990-5000", "990-999"),
            ("bytes=1000-", "unsatisfiable"),
            ("bytes=0-1,5-6", "whole"),
            ("lines=0-1", "whole"),
            ("bytes=-0", "whole"),
            ("bytes=5-1", "unsatisfiable"),
        ] {
            assert_eq!(requested(value), expected, "{value}");
        }
    }
}
