//! Validators and ranges: `ETag`, `If-None-Match`, `If-Modified-Since`, `Range` and `If-Range`.

use super::http::head;
use super::{JSON, Server, build};
use crate::support::{Sandbox, Wheel};

const WHEEL: &str = "/alpha-1.0-py3-none-any.whl";

fn start(sandbox: &Sandbox) -> (Server, Vec<u8>) {
    let wheel = Wheel::new("alpha", "1.0").padded(300_000);
    build(sandbox, "out", std::slice::from_ref(&wheel));
    (Server::start(sandbox, &["out"]), wheel.bytes())
}

#[test]
fn responds_to_conditions() {
    let sandbox = Sandbox::new();
    let (server, _) = start(&sandbox);
    let mut tags = Vec::new();
    for (path, accept) in [
        ("/simple/", "text/html"),
        ("/simple/", JSON),
        ("/simple/alpha/", "text/html"),
        ("/simple/alpha/", JSON),
        (WHEEL, "*/*"),
        ("/alpha-1.0-py3-none-any.whl.metadata", "*/*"),
        ("/out/wheelhouse.json", "*/*"),
    ] {
        let get = |headers: &[(&str, &str)]| {
            let accept = [("Accept", accept)];
            server.request("GET", path, &[&accept, headers].concat())
        };
        let full = get(&[]);
        assert_eq!(full.status, 200, "{path}");
        let tag = full.required_header("etag");
        assert!(
            tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2,
            "{tag}"
        );
        let modified = full.required_header("last-modified");
        let cache = full.required_header("cache-control");
        assert!(cache.contains("no-cache"), "{path}: {cache}");
        let list = format!("\"other\", {tag}, W/\"x\"");
        let weak = format!("W/{tag}");
        let old = "Tue, 01 Jan 1980 00:00:00 GMT";
        for (headers, status) in [
            (&[("If-None-Match", tag.as_str())][..], 304),
            (&[("If-None-Match", &list)], 304),
            (&[("If-None-Match", &weak)], 304),
            (&[("If-None-Match", "*")], 304),
            (&[("If-None-Match", "\"other\"")], 200),
            (&[("If-None-Match", tag.trim_matches('"'))], 200),
            (&[("If-Modified-Since", &modified)], 304),
            (&[("If-Modified-Since", old)], 200),
            (&[("If-Modified-Since", "yesterday")], 200),
            // The tag takes precedence over the date.
            (
                &[
                    ("If-None-Match", "\"other\""),
                    ("If-Modified-Since", &modified),
                ],
                200,
            ),
            (&[("If-None-Match", &tag), ("If-Modified-Since", old)], 304),
        ] {
            let response = get(headers);
            assert_eq!(response.status, status, "{path} {headers:?}");
            assert_eq!(response.required_header("etag"), tag, "{path}");
            if status == 304 {
                assert_eq!(response.required_header("cache-control"), cache);
                assert_eq!(response.header("vary"), full.header("vary"));
            } else {
                assert!(response.body == full.body);
            }
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 7, "{tags:?}");
}

#[test]
fn serves_ranges_of_wheels() {
    let sandbox = Sandbox::new();
    let (server, bytes) = start(&sandbox);
    let length = bytes.len();
    let last = length - 1;
    let full = server.get(WHEEL);
    assert_eq!(full.required_header("accept-ranges"), "bytes");
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=0-99".to_owned(), 0, 100),
        ("bytes=100-1099".to_owned(), 100, 1100),
        (format!("bytes={}-", length - 10), length - 10, length),
        ("bytes=-22".to_owned(), length - 22, length),
        (format!("bytes=5-{}", length + 1000), 5, length),
        (format!("bytes=-{}", length + 1000), 0, length),
        (format!("bytes={last}-{last}"), last, length),
        ("bytes=7-18446744073709551615".to_owned(), 7, length),
    ] {
        let response = server.request("GET", WHEEL, &[("Range", &range)]);
        assert_eq!(response.status, 206, "{range}");
        assert!(response.body == bytes[from..to], "{range}");
        assert_eq!(
            response.required_header("content-range"),
            format!("bytes {from}-{}/{length}", to - 1),
            "{range}"
        );
        assert_eq!(response.header("etag"), full.header("etag"), "{range}");
    }
    for range in [
        format!("bytes={length}-"),
        format!("bytes={}-{}", length + 5, length + 9),
    ] {
        let response = server.request("GET", WHEEL, &[("Range", &range)]);
        assert_eq!(response.status, 416, "{range}");
        assert_eq!(
            response.required_header("content-range"),
            format!("bytes */{length}")
        );
    }
    // Invalid ranges and other units are ignored.
    for range in [
        "bytes=-0",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=",
        "bytes=-",
        "lines=0-5",
        "bytes 0-5",
        "bytes=--5",
        "bytes=0x0-5",
        "bytes=+1-5",
        "bytes=99999999999999999999999-",
    ] {
        let response = server.request("GET", WHEEL, &[("Range", range)]);
        assert!(
            [200, 416].contains(&response.status),
            "{range}: {}",
            response.status
        );
        assert!(response.status == 416 || response.body == bytes, "{range}");
    }
}

#[test]
fn pipelined_requests_get_their_bytes_in_order() {
    let sandbox = Sandbox::new();
    let wheel = Wheel::new("alpha", "1.0").padded(3_000_000);
    build(&sandbox, "out", std::slice::from_ref(&wheel));
    let (server, bytes) = (Server::start(&sandbox, &["out"]), wheel.bytes());
    let requests = [
        ("GET", WHEEL, ""),
        ("GET", WHEEL, "bytes=262143-262144"),
        ("HEAD", WHEEL, ""),
        ("GET", "/healthz", ""),
        ("GET", WHEEL, "bytes=-524289"),
        ("GET", WHEEL, "bytes=7-7"),
        ("GET", WHEEL, ""),
    ];
    let heads = requests.map(|(method, path, range)| {
        let range = [("Range", range)];
        let headers = if range[0].1.is_empty() {
            &[][..]
        } else {
            &range
        };
        head(method, path, headers)
    });
    let mut connection = server.connect();
    connection.send(&heads.concat());
    let bodies = requests.map(|(method, ..)| connection.read(method).unwrap().body);
    let expected: [&[u8]; 7] = [
        &bytes,
        &bytes[262_143..262_145],
        b"",
        b"ok\n",
        &bytes[bytes.len() - 524_289..],
        &bytes[7..8],
        &bytes,
    ];
    for (number, (body, expected)) in bodies.iter().zip(expected).enumerate() {
        assert!(
            body == expected,
            "{:?}: {} bytes",
            requests[number],
            body.len()
        );
    }
}

#[test]
fn several_ranges_never_multiply_the_file() {
    let sandbox = Sandbox::new();
    let (server, bytes) = start(&sandbox);
    let many: Vec<String> = (0..400).map(|start| format!("{start}-")).collect();
    for range in [
        "bytes=0-1,5-6".to_owned(),
        "bytes=0-,0-,0-,0-".to_owned(),
        format!("bytes={}", many.join(",")),
    ] {
        let response = server.request("GET", WHEEL, &[("Range", &range)]);
        match response.status {
            200 => assert!(response.body == bytes),
            206 => {
                let kind = response.required_header("content-type");
                assert!(kind.starts_with("multipart/byteranges"), "{kind}");
                assert!(response.body.len() < bytes.len() + 4096);
            }
            status => assert_eq!(status, 416, "{range}"),
        }
    }
}

#[test]
fn range_depends_on_validator() {
    let sandbox = Sandbox::new();
    let (server, bytes) = start(&sandbox);
    let full = server.get(WHEEL);
    let (tag, modified) = (
        full.required_header("etag"),
        full.required_header("last-modified"),
    );
    let weak = format!("W/{tag}");
    for (validator, status) in [
        (tag.as_str(), 206),
        ("\"other\"", 200),
        // Weak validators do not match: the bytes could differ.
        (&weak, 200),
        ("Tue, 01 Jan 1980 00:00:00 GMT", 200),
        // Neither do dates: a file can change twice within a second.
        (&modified, 200),
        ("nonsense", 200),
    ] {
        let headers = [("Range", "bytes=10-19"), ("If-Range", validator)];
        let response = server.request("GET", WHEEL, &headers);
        assert_eq!(response.status, status, "{validator}");
        let expected = if status == 206 {
            &bytes[10..20]
        } else {
            &bytes[..]
        };
        assert!(response.body == expected, "{validator}");
    }
    // Conditions come before ranges.
    let headers = [("Range", "bytes=10-19"), ("If-None-Match", tag.as_str())];
    assert_eq!(server.request("GET", WHEEL, &headers).status, 304);
    let response = server.request("HEAD", WHEEL, &[("Range", "bytes=10-19")]);
    assert_eq!(
        response.status,
        server
            .request("GET", WHEEL, &[("Range", "bytes=10-19")])
            .status
    );
}
