//! Hostile requests and clients: traversal, malformed and huge heads, and clients that stall.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::http::head;
use super::{Connection, Server, build};
use crate::support::{Sandbox, Wheel};

const MARK: &str = "this file is outside of every wheelhouse";

/// Builds a wheelhouse with a secret file beside it and one above.
fn start(sandbox: &Sandbox) -> Server {
    sandbox.write("served/secret.txt", MARK);
    sandbox.write("secret.txt", MARK);
    build(sandbox, "served/out", &[Wheel::new("alpha", "1.0")]);
    sandbox.write("served/out/secret.txt", MARK);
    sandbox.write("approved.txt", "alpha\n");
    let views = ["--exclude-newer", "2026-01-01", "--allow", "approved.txt"];
    Server::start(sandbox, &[&["served/out"], &views[..]].concat())
}

#[test]
fn traversal_in_every_encoding_leads_nowhere() {
    const SEPARATORS: [&str; 12] = [
        "/",
        "%2f",
        "%2F",
        "\\",
        "%5c",
        "%255c",
        "%252f",
        "%c0%af",
        "%e0%80%af",
        "%ef%bc%8f",
        "/./",
        "//",
    ];
    const PARENTS: [&str; 10] = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "%252e%252e",
        "..;",
        "..%00",
        "%c0%ae%c0%ae",
        "%ef%bc%8e%ef%bc%8e",
        "....",
    ];
    const PREFIXES: [&str; 11] = [
        "/",
        "//",
        "/simple/",
        "/simple/alpha/",
        "/out/",
        "/out/simple/",
        "/static/",
        "/package/",
        "/before/2026-01-01/",
        "/only/approved/",
        "/alpha-1.0-py3-none-any.whl/",
    ];
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let sandbox_path = sandbox.path("secret.txt").display().to_string();
    let mut connection = server.connect();
    let mut paths = Vec::new();
    for prefix in PREFIXES {
        for parent in PARENTS {
            for separator in SEPARATORS {
                for depth in 0..4 {
                    let up = [parent, separator].concat().repeat(depth);
                    paths.push(format!("{prefix}{up}secret.txt"));
                    paths.push(format!(
                        "{prefix}{}{up}secret.txt",
                        &separator[..separator.len().min(3)]
                    ));
                }
            }
        }
        paths.push(format!("{prefix}{sandbox_path}"));
        paths.push(format!("{prefix}{}", sandbox_path.replace('/', "%2f")));
        paths.push(format!("{prefix}alpha-1.0-py3-none-any.whl%00.txt"));
        paths.push(format!(
            "{prefix}alpha-1.0-py3-none-any.whl/../../secret.txt"
        ));
    }
    assert!(paths.len() > 5000);
    for path in &paths {
        let mut response = connection.request("GET", path, &[]);
        assert!(!response.text().contains(MARK), "{path}");
        // `secret.txt` may be the name of a package.
        while response.status == 301 {
            let location = response.required_header("location");
            assert!(!location.starts_with("//"), "{path}: {location}");
            assert_ne!(location, *path);
            response = connection.request("GET", &location, &[]);
        }
        assert!(
            [400, 404].contains(&response.status),
            "{path}: {response:?}"
        );
    }
    // Other forms of the target.
    for target in [
        format!("http://127.0.0.1{sandbox_path}"),
        format!("file://{sandbox_path}"),
        "http://127.0.0.1/../secret.txt".to_owned(),
        "*".to_owned(),
        "../secret.txt".to_owned(),
        "secret.txt".to_owned(),
    ] {
        let mut connection = server.connect();
        connection.send(&head("GET", &target, &[]));
        let response = connection.read("GET").expect("a response");
        assert!(
            [400, 404].contains(&response.status),
            "{target}: {response:?}"
        );
    }
}

/// Returns a request of a page with further lines in its head.
fn get(rest: &str) -> Vec<u8> {
    format!("GET /simple/ HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n").into_bytes()
}

#[test]
fn malformed_heads_have_their_status() {
    respond_with_statuses(&[
        (
            "garbage",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(),
            &[400],
        ),
        ("no version", b"GET /simple/\r\n\r\n".to_vec(), &[400]),
        (
            "unknown version",
            b"GET /simple/ HTTP/3.7\r\nHost: a\r\n\r\n".to_vec(),
            &[400, 505],
        ),
        (
            "blank in target",
            b"GET /simple/ x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "control in target",
            b"GET /simple/\x01 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "non-token method",
            b"G(T /simple/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            &[400],
        ),
        ("control in value", get("X: a\x01b"), &[400]),
        (
            "bytes beyond ASCII in value",
            get("X: \u{fc}\u{20ac}"),
            &[200],
        ),
        (
            "invalid percent",
            head("GET", "/simple/%zz/", &[]),
            &[400, 404],
        ),
        (
            "invalid UTF-8",
            head("GET", "/simple/%ff%fe/", &[]),
            &[400, 404],
        ),
    ]);
}

#[test]
fn huge_heads_have_their_status() {
    let long = |length: usize| "a".repeat(length);
    let many: Vec<String> = (0..20_000).map(|number| format!("X-{number}: 1")).collect();
    respond_with_statuses(&[
        (
            "long target",
            head("GET", &format!("/{}", long(200_000)), &[]),
            &[414, 431, 400],
        ),
        (
            "long segment",
            head("GET", &format!("/{}", long(5_000)), &[]),
            &[404],
        ),
        (
            "long name of package",
            head("GET", &format!("/simple/{}/", long(5_000)), &[]),
            &[404],
        ),
        (
            "many segments",
            head("GET", &"/a".repeat(5_000), &[]),
            &[404],
        ),
        (
            "long value",
            get(&format!("X: {}", long(2_000_000))),
            &[431, 400],
        ),
        (
            "long name",
            get(&format!("{}: 1", long(2_000_000))),
            &[431, 400],
        ),
        ("many headers", get(&many.join("\r\n")), &[431, 400]),
        (
            "long query",
            head("GET", &format!("/simple/?{}", long(5_000)), &[]),
            &[200],
        ),
        (
            "many accepted types",
            get(&format!("Accept: {}", "a/b;q=0.1,".repeat(1_500))),
            &[200, 406],
        ),
        (
            "many tags",
            get(&format!("If-None-Match: {}", "\"a\",".repeat(1_500))),
            &[200],
        ),
    ]);
}

/// Sends each request, and checks that its status is one of those expected and that the server stays available.
fn respond_with_statuses(requests: &[(&str, Vec<u8>, &[u16])]) {
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    for (what, bytes, expected) in requests {
        let mut connection = server.connect();
        // The server may respond before it has read everything.
        let _ = connection.try_send(bytes);
        let begun = Instant::now();
        let status = connection.read("GET").map(|response| response.status);
        // A connection that is reset loses its response.
        let is_lost = status.is_none() && bytes.len() > 100_000;
        assert!(
            is_lost || status.is_some_and(|status| expected.contains(&status)),
            "{what}: {status:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
        assert_eq!(server.get("/healthz").status, 200, "{what}");
    }
    assert!(
        server.resident_bytes() < 200_000_000,
        "{}",
        server.resident_bytes()
    );
}

/// Returns the longest of 50 requests.
fn longest_request(server: &Server) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0..50 {
        let begun = Instant::now();
        let path = if number % 2 == 0 {
            "/simple/alpha/"
        } else {
            "/alpha-1.0-py3-none-any.whl"
        };
        assert_eq!(server.get(path).status, 200);
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[test]
fn slow_clients_starve_no_other() {
    let sandbox = Sandbox::new();
    let large = Wheel::new("large", "1.0").padded(10_000_000);
    build(
        &sandbox,
        "out",
        &[Wheel::new("alpha", "1.0"), large.clone()],
    );
    let server = Server::start(&sandbox, &["out"]);
    longest_request(&server);
    let before = server.resident_bytes();
    let request = head("GET", &format!("/{}", large.filename()), &[]);
    let silent: Vec<TcpStream> = (0..60)
        .map(|_| {
            // Does not read.
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    let mut slow: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap())
        .collect();
    for byte in &request[..20] {
        // Sends its head byte by byte.
        for stream in &mut slow {
            stream.write_all(&[*byte]).unwrap();
        }
    }
    let longest = longest_request(&server);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let growth = server.resident_bytes().saturating_sub(before);
    assert!(growth < 150_000_000, "{growth} bytes");
    drop((silent, slow));
    assert_eq!(
        server.get(&format!("/{}", large.filename())).body.len(),
        large.bytes().len()
    );
}

#[test]
fn incomplete_heads_are_timed_out() {
    let limit = Duration::from_secs(95);
    let sandbox = Sandbox::new();
    let server = start(&sandbox);
    let begun = Instant::now();
    let mut halves: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for half in &halves {
        half.stream().set_read_timeout(Some(limit)).unwrap();
        half.send(b"GET /simple/ HTTP/1.1\r\nHost: a\r\n");
    }
    let dripping = server.connect();
    // Further bytes do not extend the time. The connection is closed when they cannot be sent.
    while dripping.try_send(b"G").is_ok() {
        assert!(begun.elapsed() < limit, "bytes extend the time");
        std::thread::sleep(Duration::from_secs(1));
    }
    for half in &mut halves {
        let response = half.read("GET");
        assert!(response.is_none_or(|response| response.status == 408));
    }
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
}
