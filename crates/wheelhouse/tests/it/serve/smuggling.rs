//! Requests whose end is ambiguous: each must have exactly one meaning, or end its connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{Server, build};
use crate::support::{Sandbox, Wheel};

/// The time after which a server sends no further response.
const SILENCE: Duration = Duration::from_secs(3);

/// A request after which the connection is closed.
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The request that must not be answered. Its path would be answered with 405, unlike every path of the attacks.
const SMUGGLED: &str = "DELETE /simple/ HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `bytes` and returns the status codes of all responses until the server closes the connection, or is silent.
fn statuses(port: u16, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    // The server may have rejected the first bytes before the last are sent.
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8_lossy(&received);
    let lines = text.split("HTTP/1.");
    lines
        .skip(1)
        .map(|line| line[2..5].parse().unwrap())
        .collect()
}

#[test]
fn ambiguous_requests_are_rejected() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let server = Server::start(&sandbox, &["out"]);
    let port = server.port;
    assert_eq!(
        statuses(port, SMUGGLED.as_bytes()),
        [405],
        "the request itself"
    );
    let length = SMUGGLED.len();
    for (what, headers, body) in [
        (
            "two lengths",
            format!("Content-Length: 0\r\nContent-Length: {length}"),
            "",
        ),
        (
            "two lengths, reversed",
            format!("Content-Length: {length}\r\nContent-Length: 0"),
            "",
        ),
        (
            "list of lengths",
            format!("Content-Length: 0, {length}"),
            "",
        ),
        ("signed length", "Content-Length: +0".to_owned(), ""),
        ("negative length", "Content-Length: -1".to_owned(), ""),
        ("hexadecimal length", "Content-Length: 0x0".to_owned(), ""),
        ("empty length", "Content-Length: ".to_owned(), ""),
        ("length with blank", "Content-Length: 0 0".to_owned(), ""),
        (
            "overflowing length",
            "Content-Length: 18446744073709551616".to_owned(),
            "",
        ),
        (
            "space before colon",
            format!("Content-Length : {length}"),
            "",
        ),
        (
            "folded header",
            format!("X: a\r\n Content-Length: {length}"),
            "",
        ),
        (
            "folded first header",
            format!(" Content-Length: {length}"),
            "",
        ),
        ("bare CR", format!("X: a\rContent-Length: {length}"), ""),
        (
            "NUL in value",
            format!("X: a\0b\r\nContent-Length: {length}"),
            "",
        ),
        ("NUL in name", "X\0: a".to_owned(), ""),
        (
            "unknown coding",
            "Transfer-Encoding: xchunked".to_owned(),
            "0\r\n\r\n",
        ),
        (
            "chunked not last",
            "Transfer-Encoding: chunked, identity".to_owned(),
            "0\r\n\r\n",
        ),
        (
            "coding in quotes",
            "Transfer-Encoding: \"chunked\"".to_owned(),
            "0\r\n\r\n",
        ),
        (
            "vertical tab",
            "Transfer-Encoding:\x0bchunked".to_owned(),
            "0\r\n\r\n",
        ),
        ("no name", ": chunked".to_owned(), ""),
        ("no colon", "Transfer-Encoding chunked".to_owned(), ""),
        (
            "name with blanks",
            "Transfer Encoding: chunked".to_owned(),
            "",
        ),
    ] {
        let attack =
            format!("GET /simple/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}{SMUGGLED}");
        assert_eq!(statuses(port, attack.as_bytes()), [400], "{what}");
    }
}

#[test]
fn request_with_length_and_chunks_ends_its_connection() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let server = Server::start(&sandbox, &["out"]);
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 500",
    ] {
        let attack =
            format!("GET /simple/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let received = statuses(server.port, attack.as_bytes());
        assert!(
            received == [200] || received == [400],
            "{headers}: {received:?}"
        );
    }
}

#[test]
fn bodies_are_not_requests() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let server = Server::start(&sandbox, &["out"]);
    let length = SMUGGLED.len();
    for path in [
        "/simple/",
        "/nothing",
        "/alpha-1.0-py3-none-any.whl",
        "/simple",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            for request in [
                format!("Content-Length: {length}\r\n\r\n{SMUGGLED}"),
                format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
                format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            ] {
                let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{request}{LAST}");
                let mut received = statuses(server.port, request.as_bytes());
                received.retain(|status| *status != 100);
                // The connection is closed, or usable for the next request.
                let is_expected = received.len() == 1 || received[1..] == [200];
                assert!(is_expected, "{request}: {received:?}");
            }
        }
    }
}

#[test]
fn malformed_chunks_end_connection() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let users = super::write_users(&sandbox);
    let server = Server::start(&sandbox, &["out", "--auth-file", &users, "--allow-upload"]);
    let authorization = super::basic("me:secret");
    for chunks in [
        "g\r\n\r\n",
        "-1\r\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        " 0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "ffffffffffffffff\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\rabc",
        "0\r\nContent-Length: 500",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\
             Transfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let received = statuses(server.port, request.as_bytes());
        assert!(
            received.is_empty() || received == [400],
            "{chunks:?}: {received:?}"
        );
    }
}
