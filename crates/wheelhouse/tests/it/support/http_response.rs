//! HTTP responses, correct and faulty.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::index::{Behavior, IndexRequest};

/// A response before `Behavior` is applied.
pub(crate) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    pub(crate) fn status(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            status,
            headers,
            body: Vec::new(),
        }
    }

    pub(crate) fn body(content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Self {
            status: 200,
            headers,
            body,
        }
    }
}

/// Sends `response` to `request`, modified by `behavior`.
pub(crate) fn send(
    mut stream: TcpStream,
    request: &IndexRequest,
    behavior: &Behavior,
    mut response: Response,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    match behavior {
        Behavior::Status(status, headers) => response = Response::status(*status, headers.clone()),
        Behavior::Body(content_type, body) => {
            response = Response::body(content_type, body.clone());
        }
        Behavior::Gzipped(content_type, body) => {
            response = Response::body(
                content_type,
                wheelhouse_archive::testing::archives::gzip(body),
            );
            response
                .headers
                .push(("Content-Encoding", "gzip".to_owned()));
        }
        Behavior::Header(name, value) => response.headers.push((name, (*value).to_owned())),
        _ => {}
    }
    let ranged = !matches!(behavior, Behavior::WithoutRanges | Behavior::CloseAt(_));
    if ranged && response.status == 200 {
        narrow(&mut response, request.range());
    }
    let has_length = !matches!(behavior, Behavior::WithoutLength | Behavior::CloseAt(_));
    stream.write_all(head(&response, has_length).as_bytes())?;
    if request.method == "HEAD" {
        return close(stream);
    }
    let part = |end: &usize| &response.body[..(*end).min(response.body.len())];
    match behavior {
        Behavior::ResetAfter(end) => {
            stream.write_all(part(end))?;
            // Waits until the data has arrived; the last byte of the request is still unread.
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }
        Behavior::StallAfter(end) => {
            stream.write_all(part(end))?;
            stall(stream, ended)
        }
        Behavior::TruncateAt(end) | Behavior::CloseAt(end) => {
            stream.write_all(part(end))?;
            close(stream)
        }
        Behavior::Drip(bytes, milliseconds) => {
            for chunk in response.body.chunks(*bytes) {
                stream.write_all(chunk)?;
                std::thread::sleep(Duration::from_millis(*milliseconds));
            }
            close(stream)
        }
        _ => {
            stream.write_all(&response.body)?;
            close(stream)
        }
    }
}

fn head(response: &Response, has_length: bool) -> String {
    let mut head = format!(
        "HTTP/1.1 {} Status\r\nConnection: close\r\n",
        response.status
    );
    for (name, value) in &response.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if has_length {
        let _ = write!(head, "Content-Length: {}\r\n", response.body.len());
    }
    head + "\r\n"
}

/// Limits a response to the requested range.
fn narrow(response: &mut Response, range: Option<&str>) {
    response.headers.push(("Accept-Ranges", "bytes".to_owned()));
    let Some((start, end)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    else {
        return;
    };
    let length = response.body.len();
    let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(end)) => (start, end.min(length.saturating_sub(1))),
        (Ok(start), Err(_)) => (start, length.saturating_sub(1)),
        (Err(_), Ok(last)) => (length.saturating_sub(last), length.saturating_sub(1)),
        (Err(_), Err(_)) => return,
    };
    if start >= length || end < start {
        *response = Response::status(416, vec![("Content-Range", format!("bytes */{length}"))]);
        return;
    }
    response.status = 206;
    response
        .headers
        .push(("Content-Range", format!("bytes {start}-{end}/{length}")));
    response.body = response.body[start..=end].to_vec();
}

/// Closes a connection gracefully, with nothing left unread.
fn close(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.read_exact(&mut [0])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Waits until the client has read everything.
    let _ = stream.read(&mut [0]);
    Ok(())
}

/// Sends nothing until the client disconnects or the index stops.
fn stall(mut stream: TcpStream, ended: &AtomicBool) -> std::io::Result<()> {
    stream.read_exact(&mut [0])?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    while !ended.load(Ordering::Relaxed) {
        match stream.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}
