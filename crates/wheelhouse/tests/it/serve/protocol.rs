//! The index over HTTP: content negotiation, the bytes of the static index, `HEAD`, compression, redirects and probes.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use super::{JSON, Server, build};
use crate::support::services::{program_path, run};
use crate::support::{Sandbox, Wheel, tree};

fn alpha_and_beta() -> [Wheel; 2] {
    [
        Wheel::new("alpha", "1.0").requires("beta-lib"),
        Wheel::new("beta_lib", "2.0").padded(20_000),
    ]
}

#[test]
fn serves_bytes_of_static_index() {
    let sandbox = Sandbox::new();
    let files = tree::read(&build(&sandbox, "out", &alpha_and_beta()));
    let server = Server::start(&sandbox, &["out"]);
    let mut connection = server.connect();
    let mut pages = 0;
    for (name, bytes) in &files {
        let path = Path::new(name);
        let is_file = !name.contains('/') && name.contains(".whl");
        let (path, accept) = match path.file_name().and_then(|name| name.to_str()) {
            Some("index.html") => (name.trim_end_matches("index.html"), "text/html"),
            Some("index.json") => (name.trim_end_matches("index.json"), JSON),
            _ if is_file => (name.as_str(), "*/*"),
            _ => continue,
        };
        for prefix in ["/", "/out/"] {
            let path = format!("{prefix}{path}");
            let response = connection.request("GET", &path, &[("Accept", accept)]);
            assert_eq!(response.status, 200, "{path}");
            assert!(response.body == *bytes, "{path}: {}", response.text());
        }
        pages += 1;
    }
    // Three pages in two formats, and two wheels with their metadata.
    assert_eq!(pages, 10, "{:?}", files.keys());
    let manifest = server.get("/out/wheelhouse.json");
    assert_eq!(manifest.body, files["wheelhouse.json"]);
}

#[test]
fn serves_directory_without_manifest_like_the_same_wheelhouse() {
    let sandbox = Sandbox::new();
    let out = build(&sandbox, "out", &alpha_and_beta());
    let plain = sandbox.path("plain");
    std::fs::create_dir(&plain).unwrap();
    for wheel in tree::wheels(&out) {
        std::fs::copy(out.join(&wheel), plain.join(&wheel)).unwrap();
    }
    let server = Server::start(&sandbox, &["plain"]);
    let page = server.json("/simple/beta-lib/");
    let file = &page["files"][0];
    assert_eq!(file["filename"], "beta_lib-2.0-py3-none-any.whl");
    let wheel = server.get("/beta_lib-2.0-py3-none-any.whl");
    assert_eq!(
        file["hashes"]["sha256"],
        crate::support::sha256(&wheel.body)
    );
    // Clients read the metadata in the wheel.
    assert!(file["core-metadata"].is_null(), "{page}");
    let metadata = server.get("/beta_lib-2.0-py3-none-any.whl.metadata");
    assert_eq!(metadata.status, 404);
}

#[test]
fn negotiates_format_of_pages() {
    const HTML: &str = "text/html";
    const VERSIONED: &str = "application/vnd.pypi.simple.v1+html";
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    let pip = format!("{JSON}, {VERSIONED}; q=0.1, text/html; q=0.01");
    let uv = format!("{JSON}, {VERSIONED};q=0.2, text/html;q=0.01");
    let latest = "application/vnd.pypi.simple.latest+json";
    let rejecting = format!("{JSON};q=0, text/html");
    let preferring = format!("{JSON};q=0.5, text/html;q=0.9");
    let uppercase = JSON.to_uppercase();
    for (accept, expected) in [
        (None, HTML),
        (Some("*/*"), HTML),
        (Some("text/*"), HTML),
        (Some(HTML), HTML),
        (Some(VERSIONED), VERSIONED),
        (Some("application/vnd.pypi.simple.latest+html"), VERSIONED),
        (Some(JSON), JSON),
        (Some(latest), JSON),
        (Some(&pip), JSON),
        (Some(&uv), JSON),
        (Some(&rejecting), HTML),
        (Some(&preferring), HTML),
        (Some(&uppercase), JSON),
    ] {
        let headers: Vec<_> = accept
            .map(|accept| ("Accept", accept))
            .into_iter()
            .collect();
        for path in ["/simple/", "/simple/alpha/"] {
            let response = server.request("GET", path, &headers);
            assert_eq!(response.status, 200, "{accept:?}");
            let kind = response.required_header("content-type");
            assert!(kind.starts_with(expected), "{accept:?}: {kind}");
            assert_eq!(response.body[0] == b'{', expected == JSON, "{accept:?}");
            let vary = response.required_header("vary").to_lowercase();
            assert!(vary.contains("accept"), "{vary}");
        }
    }
    // The parameter takes precedence over the header.
    for (format, expected) in [
        ("application/vnd.pypi.simple.v1%2Bjson", JSON),
        ("application/vnd.pypi.simple.v1+json", JSON),
        (VERSIONED, VERSIONED),
        (HTML, HTML),
    ] {
        for accept in [HTML, JSON] {
            let path = format!("/simple/alpha/?format={format}");
            let response = server.request("GET", &path, &[("Accept", accept)]);
            let kind = response.required_header("content-type");
            assert!(kind.starts_with(expected), "{path}, {accept}: {kind}");
        }
    }
    for (path, accept) in [
        ("/simple/alpha/?format=image/png", "*/*"),
        ("/simple/alpha/", "image/png"),
        ("/simple/alpha/", "application/vnd.pypi.simple.v9+json"),
    ] {
        let response = server.request("GET", path, &[("Accept", accept)]);
        assert_eq!(response.status, 406, "{path}, {accept}");
    }
}

#[test]
fn pages_state_newest_published_api_version() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    for path in ["/simple/", "/simple/alpha/"] {
        let page = server.json(path);
        assert_eq!(page["meta"]["api-version"], "1.4", "{page}");
        let html = server.request("GET", path, &[("Accept", "text/html")]);
        assert!(
            html.text()
                .contains(r#"name="pypi:repository-version" content="1.4""#),
            "{}",
            html.text()
        );
    }
    let page = server.json("/simple/alpha/");
    assert_eq!(page["versions"], serde_json::json!(["1.0"]));
    let file = &page["files"][0];
    for key in ["size", "hashes", "core-metadata", "url", "filename"] {
        assert!(!file[key].is_null(), "{key}: {page}");
    }
}

#[test]
fn head_equals_get_without_body() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    for path in [
        "/",
        "/simple/",
        "/simple/alpha/",
        "/simple/Alpha/",
        "/simple",
        "/simple/gamma/",
        "/alpha-1.0-py3-none-any.whl",
        "/alpha-1.0-py3-none-any.whl.metadata",
        "/nothing.whl",
        "/out/",
        "/out/simple/",
        "/out/wheelhouse.json",
        "/package/alpha/",
        "/healthz",
        "/readyz",
    ] {
        for headers in [
            &[][..],
            &[("Accept", JSON)],
            &[("Accept-Encoding", "gzip")],
            &[("Range", "bytes=3-5")],
            &[("If-None-Match", "*")],
        ] {
            let mut connection = server.connect();
            let get = connection.request("GET", path, headers);
            let head = connection.request("HEAD", path, headers);
            // The connection is still usable: nothing follows the head.
            assert_eq!(connection.request("GET", "/healthz", &[]).status, 200);
            assert_eq!(head.status, get.status, "{path} {headers:?}");
            let without_date = |response: &super::Response| {
                let mut headers = response.headers.clone();
                headers.retain(|(name, _)| name != "date" && name != "x-request-id");
                headers.sort();
                headers
            };
            assert_eq!(
                without_date(&head),
                without_date(&get),
                "{path} {headers:?}"
            );
        }
    }
}

#[test]
fn compresses_pages_but_not_wheels() {
    let sandbox = Sandbox::new();
    let many = (0..200).map(|number| Wheel::new(&format!("package_{number}"), "1.0"));
    let wheels: Vec<Wheel> = alpha_and_beta().into_iter().chain(many).collect();
    build(&sandbox, "out", &wheels);
    let server = Server::start(&sandbox, &["out"]);
    for (path, accept) in [
        ("/simple/", "text/html"),
        ("/simple/", JSON),
        ("/", "text/html"),
    ] {
        let plain = server.request("GET", path, &[("Accept", accept)]);
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let vary = plain.required_header("vary").to_lowercase();
        assert!(vary.contains("accept-encoding"), "{path}: {vary}");
        for encoding in ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "*"] {
            let headers = [("Accept", accept), ("Accept-Encoding", encoding)];
            let response = server.request("GET", path, &headers);
            assert_eq!(
                response.required_header("content-encoding"),
                "gzip",
                "{path}"
            );
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&*response.body)
                .read_to_end(&mut body)
                .unwrap();
            assert!(body == plain.body, "{path}");
            // A strong validator names the bytes, so that it differs between encodings.
            if let Some(tag) = plain.header("etag") {
                assert_ne!(response.required_header("etag"), tag, "{path}");
            }
        }
        for encoding in ["identity", "gzip;q=0", "br", ""] {
            let headers = [("Accept", accept), ("Accept-Encoding", encoding)];
            let response = server.request("GET", path, &headers);
            assert_eq!(response.header("content-encoding"), None, "{encoding}");
            assert!(response.body == plain.body, "{encoding}");
        }
    }
    for path in [
        "/beta_lib-2.0-py3-none-any.whl",
        "/beta_lib-2.0-py3-none-any.whl.metadata",
    ] {
        let response = server.request("GET", path, &[("Accept-Encoding", "gzip")]);
        assert_eq!(response.header("content-encoding"), None, "{path}");
    }
}

#[test]
fn redirects_to_normalized_names_on_the_same_host() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    for (arguments, base) in [
        (&["out"][..], ""),
        (&["out", "--base-path", "/pypi"], "/pypi"),
    ] {
        let server = Server::start(&sandbox, arguments);
        for (path, target) in [
            ("/simple", "/simple/"),
            ("/simple/alpha", "/simple/alpha/"),
            ("/simple/Beta.LIB/", "/simple/beta-lib/"),
            ("/simple/beta_lib", "/simple/beta-lib/"),
            ("/simple/beta--lib/", "/simple/beta-lib/"),
            ("/out", "/out/"),
            ("/out/simple/Beta_Lib/", "/out/simple/beta-lib/"),
        ] {
            let response = server.get(&format!("{base}{path}"));
            assert!(
                [301, 308].contains(&response.status),
                "{path}: {response:?}"
            );
            assert_eq!(
                response.required_header("location"),
                format!("{base}{target}")
            );
            let response = server.get(&format!("{base}{target}"));
            assert_eq!(response.status, 200, "{target}");
        }
        // A location that begins with two slashes would lead to another host.
        for path in [
            "//evil.example",
            "//evil.example/simple",
            "/simple//evil.example",
            "/simple/%2f%2fevil.example",
            "/%2fevil.example/simple",
            "/\\evil.example/simple",
            "//simple",
        ] {
            let response = server.get(path);
            let location = response.header("location").unwrap_or_default();
            assert!(
                !location.starts_with("//") && !location.contains("evil.example"),
                "{path}: {location}"
            );
        }
    }
}

#[test]
fn keeps_all_paths_below_base_path() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out", "--base-path", "/pypi"]);
    for path in [
        "/pypi/",
        "/pypi/simple/",
        "/pypi/simple/alpha/",
        "/pypi/alpha-1.0-py3-none-any.whl",
        "/pypi/out/simple/alpha/",
        "/pypi/healthz",
        "/pypi/readyz",
        "/healthz",
        "/readyz",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in [
        "/simple/",
        "/alpha-1.0-py3-none-any.whl",
        "/pypix/simple/",
        "/pypisimple/",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let response = server.get("/pypi");
    assert_eq!(response.required_header("location"), "/pypi/");
}

#[test]
fn rejects_other_methods() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "X"] {
        for path in [
            "/",
            "/simple/alpha/",
            "/alpha-1.0-py3-none-any.whl",
            "/healthz",
        ] {
            let response = server.request(method, path, &[]);
            assert_eq!(response.status, 405, "{method} {path}");
            let allowed = response.required_header("allow");
            assert!(
                allowed.contains("GET") && allowed.contains("HEAD"),
                "{allowed}"
            );
        }
    }
    // CONNECT has an authority as its target.
    let response = server.request("CONNECT", "example.org:443", &[]);
    assert!([400, 404, 405].contains(&response.status), "{response:?}");
}

#[test]
fn keeps_connections_alive() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    let mut connection = server.connect();
    for _ in 0..200 {
        for (path, status) in [
            ("/simple/alpha/", 200),
            ("/alpha-1.0-py3-none-any.whl", 200),
            ("/simple/gamma/", 404),
            ("/simple/alpha", 301),
        ] {
            let response = connection.request("GET", path, &[]);
            assert!(
                response.status == status || (status == 301 && response.status == 308),
                "{path}: {response:?}"
            );
        }
    }
    // Pipelined requests are answered in order.
    let requests = [
        super::http::head("GET", "/alpha-1.0-py3-none-any.whl", &[]),
        super::http::head("HEAD", "/simple/", &[]),
        super::http::head("GET", "/healthz", &[("Connection", "close")]),
    ];
    connection.send(&requests.concat());
    let wheel = connection.read("GET").unwrap();
    assert_eq!(wheel.body, alpha_and_beta()[0].bytes());
    assert_eq!(connection.read("HEAD").unwrap().status, 200);
    assert_eq!(connection.read("GET").unwrap().status, 200);
    assert!(connection.is_closed());

    let mut old = server.connect();
    old.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.read("GET").unwrap().status, 200);
    assert!(old.is_closed());
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn serves_http2_and_unix_socket() {
    let sandbox = Sandbox::new();
    let out = build(&sandbox, "out", &alpha_and_beta());
    let socket = sandbox.path("socket");
    let unix = format!("unix:{}", socket.display());
    let server = Server::start(&sandbox, &["out", "--bind", &unix]);
    let wheel = "alpha-1.0-py3-none-any.whl";
    let curl = |arguments: &[&str]| {
        let mut command = Command::new(program_path("curl"));
        command.args(["-q", "--silent", "--show-error", "--fail", "--output"]);
        command
            .arg(sandbox.path("fetched"))
            .args(["--write-out", "%{http_version} %{response_code}"]);
        let result = run(command.args(arguments));
        let fetched = std::fs::read(sandbox.path("fetched")).unwrap();
        assert!(fetched == std::fs::read(out.join(wheel)).unwrap());
        result
    };
    let url = server.url(&format!("/{wheel}"));
    assert_eq!(curl(&["--http2-prior-knowledge", &url]), "2 200");
    assert_eq!(curl(&["--http1.1", &url]), "1.1 200");
    let url = format!("http://anything/{wheel}");
    let socket_path = socket.to_str().unwrap();
    assert_eq!(curl(&["--unix-socket", socket_path, &url]), "1.1 200");
    assert_eq!(
        curl(&[
            "--http2-prior-knowledge",
            "--unix-socket",
            socket_path,
            &url
        ]),
        "2 200"
    );
    server.stop().assert_success();
    assert!(!socket.exists(), "the socket is left behind");
}

#[test]
fn replaces_socket_of_ended_server_but_not_other_files() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let socket = format!("unix:{}", sandbox.path("socket").display());
    // A killed server leaves its socket.
    drop(Server::start(&sandbox, &["out", "--bind", &socket]));
    assert!(sandbox.path("socket").exists());
    let server = Server::start(&sandbox, &["out", "--bind", &socket]);
    // A running server keeps its socket.
    let other = sandbox.wheelhouse(&["serve", "out", "--bind", &socket]);
    assert!(!other.status.success(), "{other:?}");
    std::os::unix::net::UnixStream::connect(sandbox.path("socket")).unwrap();
    drop(server);
    let file = sandbox.write("precious", "content");
    let result = sandbox.wheelhouse(&[
        "serve",
        "out",
        "--bind",
        &format!("unix:{}", file.display()),
    ]);
    assert!(!result.status.success(), "{result:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "content");
}

#[test]
fn reports_health_and_metrics() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let server = Server::start(&sandbox, &["out"]);
    for path in ["/healthz", "/readyz", "/health"] {
        let response = server.get(path);
        assert_eq!(response.status, 200, "{path}");
        let kind = response.required_header("content-type");
        assert!(kind.starts_with("text/plain"), "{kind}");
    }
    server.get("/simple/alpha/");
    server.get("/simple/gamma/");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    let kind = metrics.required_header("content-type");
    assert!(
        kind.starts_with("text/plain") || kind.contains("openmetrics-text"),
        "{kind}"
    );
    let text = metrics.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut with_404 = 0;
    for line in samples {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let is_count = name.contains("requests_total") && name.contains("404");
        with_404 += u32::from(is_count && value == "1");
    }
    assert_eq!(with_404, 1, "{text}");
    assert!(text.contains("# TYPE "), "{text}");
    // The names of packages are not labels: their number is unlimited.
    assert!(!text.contains("gamma"), "{text}");
}

#[test]
fn logs_requests_without_secrets_or_foreign_lines() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let users = super::write_users(&sandbox);
    for format in ["plain", "json", "off"] {
        let server = Server::start(
            &sandbox,
            &["out", "--access-log", format, "--auth-file", &users],
        );
        let authorization = super::basic("me:secret");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("User-Agent", "agent\t\"quoted\" \u{9b}31m"),
        ];
        server.request("GET", "/simple/alpha/?token=hush", &headers);
        server.request("GET", "/simple/%0a127.0.0.1%20forged/", &headers);
        server.request("GET", "/simple/gamma/", &[]);
        let output = server.stop().stdout;
        assert!(
            !output.contains("secret") && !output.contains(&authorization[6..]),
            "{output}"
        );
        // JSON only escapes the control characters of ASCII.
        let is_control = |character: char| match format {
            "json" => character.is_ascii_control() && character != '\n',
            _ => character.is_control() && character != '\n',
        };
        assert!(!output.contains(is_control), "{output:?}");
        assert!(
            !output
                .lines()
                .any(|line| line.starts_with("127.0.0.1 forged"))
        );
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| line.contains("/simple/"))
            .collect();
        match format {
            "off" => assert!(lines.is_empty(), "{output}"),
            "json" => {
                let values: Vec<serde_json::Value> = lines
                    .iter()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
                let statuses: Vec<_> = values.iter().map(|value| &value["status"]).collect();
                assert_eq!(statuses, [200, 404, 401], "{output}");
            }
            _ => {
                assert_eq!(lines.len(), 3, "{output}");
                for (line, status) in lines.iter().zip([" 200", " 404", " 401"]) {
                    assert!(line.contains(status), "{line}");
                }
            }
        }
    }
}

#[test]
fn requires_credentials_for_everything_but_probes() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &alpha_and_beta());
    let users = super::write_users(&sandbox);
    let server = Server::start(&sandbox, &["out", "--auth-file", &users]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let long = super::basic(&format!("me:secret{}", "x".repeat(2000)));
    let (right, wrong, unknown) = (
        super::basic("me:secret"),
        super::basic("me:Secret"),
        super::basic("you:secret"),
    );
    for path in [
        "/",
        "/simple/",
        "/simple/alpha/",
        "/alpha-1.0-py3-none-any.whl",
        "/out/wheelhouse.json",
        "/metrics",
        "/nothing",
    ] {
        for credentials in [
            None,
            Some(wrong.as_str()),
            Some(&unknown),
            Some(&long),
            Some("Basic"),
            Some("Basic !!!"),
            Some("Basic bWU="),
            Some("Bearer secret"),
        ] {
            let headers: Vec<_> = credentials
                .map(|credentials| ("Authorization", credentials))
                .into_iter()
                .collect();
            let response = server.request("GET", path, &headers);
            assert_eq!(response.status, 401, "{path} {credentials:?}");
            let challenge = response.required_header("www-authenticate");
            assert!(challenge.starts_with("Basic realm="), "{challenge}");
        }
        let response = server.request("GET", path, &[("Authorization", &right)]);
        assert_eq!(
            response.status,
            if path == "/nothing" { 404 } else { 200 },
            "{path}"
        );
    }
}

#[test]
fn views_show_files_before_date_and_allowed_packages() {
    let sandbox = Sandbox::new();
    let index = crate::support::Index::start();
    let (old, new) = (Wheel::new("alpha", "1.0"), Wheel::new("beta", "2.0"));
    for (wheel, time) in [
        (&old, "2025-01-05T10:00:00Z"),
        (&new, "2026-01-31T10:00:00.123456Z"),
    ] {
        index.add(wheel);
        index.claim_upload_time(&wheel.filename(), time);
    }
    super::build_from(&sandbox, &index, &sandbox.out(), &["alpha", "beta"]);
    sandbox.write("approved.txt", "# packages\nbeta<3\n");
    sandbox.write("old.txt", "beta<2\n");
    let server = Server::start(
        &sandbox,
        &[
            "out",
            "--exclude-newer",
            "2026-01-31",
            "--exclude-newer",
            "2025-06-01T00:00:00Z",
            "--allow",
            "approved.txt",
            "--allow",
            "old.txt",
        ],
    );
    let names = |path| server.project_names(path);
    assert_eq!(names("/simple/"), ["alpha", "beta"]);
    assert_eq!(names("/before/2025-06-01T00:00:00Z/simple/"), ["alpha"]);
    assert_eq!(names("/only/approved/simple/"), ["beta"]);
    assert_eq!(names("/only/old/simple/"), Vec::<String>::new());
    for (path, status) in [
        ("/before/2025-06-01T00:00:00Z/simple/beta/", 404),
        (
            "/before/2025-06-01T00:00:00Z/beta-2.0-py3-none-any.whl",
            404,
        ),
        (
            "/before/2025-06-01T00:00:00Z/alpha-1.0-py3-none-any.whl",
            200,
        ),
        ("/only/approved/simple/alpha/", 404),
        ("/only/approved/alpha-1.0-py3-none-any.whl", 404),
        ("/only/approved/beta-2.0-py3-none-any.whl", 200),
        ("/only/approved/beta-2.0-py3-none-any.whl.metadata", 200),
        ("/before/2024-01-01/simple/", 404),
        ("/only/other/simple/", 404),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    // Dates survive the build.
    let file = &server.json("/simple/beta/")["files"][0];
    let time = file["upload-time"].as_str().unwrap();
    assert!(time.starts_with("2026-01-31T10:00:00.123"), "{time}");
}
