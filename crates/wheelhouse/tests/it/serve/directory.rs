//! A directory that changes under the server: new builds, and files that do not belong to the wheelhouse.

use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::http::head;
use super::{JSON, Server, build, build_from};
use crate::support::process::eventually;
use crate::support::{Index, Sandbox, Wheel, foreign_files, sha256};

/// Returns the versions of a page as text.
fn versions(server: &Server) -> String {
    server.json("/simple/alpha/")["versions"].to_string()
}

#[test]
fn new_build_is_visible_at_once() {
    let sandbox = Sandbox::new();
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    build_from(&sandbox, &index, &sandbox.out(), &["alpha"]);
    let server = Server::start(&sandbox, &["out"]);
    let tag = server.get("/simple/alpha/").required_header("etag");
    for version in 2..8 {
        index.add(&Wheel::new("alpha", &format!("{version}.0")));
        build_from(&sandbox, &index, &sandbox.out(), &["-U", "alpha"]);
        assert_eq!(versions(&server), format!("[\"{version}.0\"]"));
        let unchanged = server.request("GET", "/simple/alpha/", &[("If-None-Match", &tag)]);
        assert_eq!(unchanged.status, 200, "the tag of another page matched");
        // A client may hold the page of the build before.
        let previous = format!("/alpha-{}.0-py3-none-any.whl", version - 1);
        assert_eq!(server.get(&previous).status, 200, "{previous}");
    }
}

#[test]
fn requests_never_see_half_of_a_build() {
    let sandbox = Sandbox::new();
    let index = Index::start();
    for version in ["1.0", "2.0"] {
        // The wheels of one version require each other exactly.
        for name in ["alpha", "beta", "gamma"] {
            let wheel = Wheel::new(name, version).padded(30_000);
            let other = format!("beta=={version}");
            index.add(&if name == "alpha" {
                wheel.requires(&other)
            } else {
                wheel
            });
        }
    }
    let set = |version: &str| -> Vec<String> {
        let names = ["alpha", "beta", "gamma"];
        names.map(|name| format!("{name}=={version}")).to_vec()
    };
    let build = |version: &str| {
        let requirements = set(version);
        let requirements: Vec<&str> = requirements.iter().map(String::as_str).collect();
        build_from(&sandbox, &index, &sandbox.out(), &requirements);
    };
    build("1.0");
    let server = Server::start(&sandbox, &["out"]);
    let (done, pages) = (AtomicBool::new(false), AtomicU64::new(0));
    let port = server.port;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = super::Connection::open(port);
                    let mut seen = std::collections::BTreeSet::new();
                    while !done.load(Ordering::Relaxed) {
                        for name in ["alpha", "beta", "gamma"] {
                            let path = format!("/simple/{name}/");
                            let page = connection.request("GET", &path, &[("Accept", JSON)]);
                            assert_eq!(page.status, 200, "{path}");
                            let page: serde_json::Value =
                                serde_json::from_slice(&page.body).unwrap();
                            let files = page["files"].as_array().unwrap();
                            assert_eq!(files.len(), 1, "{page}");
                            let url = files[0]["url"].as_str().unwrap();
                            let url = url.strip_prefix("../..").unwrap();
                            let file = connection.request("GET", url, &[]);
                            assert_eq!(file.status, 200, "{url}");
                            assert_eq!(files[0]["hashes"]["sha256"], sha256(&file.body), "{url}");
                            let url = format!("{url}.metadata");
                            let metadata = connection.request("GET", &url, &[]);
                            assert_eq!(metadata.status, 200, "{url}");
                            let stated = &files[0]["core-metadata"]["sha256"];
                            assert_eq!(*stated, sha256(&metadata.body), "{url}");
                            seen.insert(page["versions"].to_string());
                            pages.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    seen
                })
            })
            .collect();
        for round in 0..16 {
            build(if round % 2 == 0 { "2.0" } else { "1.0" });
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(
                client.join().unwrap().len(),
                2,
                "a client saw only one build"
            );
        }
    });
    assert!(pages.into_inner() > 100);
}

#[test]
fn serves_only_regular_files_of_the_wheelhouse() {
    let sandbox = Sandbox::new();
    let out = build(
        &sandbox,
        "out",
        &[
            Wheel::new("alpha", "1.0"),
            Wheel::new("beta", "1.0"),
            Wheel::new("gamma", "1.0"),
        ],
    );
    let outside = foreign_files::add_to(&out, &sandbox);
    std::fs::write(outside.join("gamma.whl"), "foreign").unwrap();
    let gamma = out.join("gamma-1.0-py3-none-any.whl");
    std::fs::remove_file(&gamma).unwrap();
    symlink(outside.join("gamma.whl"), &gamma).unwrap();
    let server = Server::start(&sandbox, &["out"]);
    for path in foreign_files::PATHS
        .into_iter()
        .chain(["/gamma-1.0-py3-none-any.whl"])
    {
        for path in [path.to_owned(), format!("/out{path}")] {
            let response = server.get(&path);
            assert_eq!(response.status, 404, "{path}: {response:?}");
            assert!(!response.text().contains("foreign"), "{path}");
        }
    }
    for path in [
        "/simple/beta/",
        "/beta-1.0-py3-none-any.whl",
        "/beta-1.0-py3-none-any.whl.metadata",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn serves_what_it_has_opened_while_files_disappear() {
    let sandbox = Sandbox::new();
    let wheel = Wheel::new("alpha", "1.0").padded(100_000);
    let out = build(&sandbox, "out", std::slice::from_ref(&wheel));
    let server = Server::start(&sandbox, &["out"]);
    let path = format!("/{}", wheel.filename());
    assert_eq!(server.get(&path).body, wheel.bytes());
    std::fs::remove_file(out.join(wheel.filename())).unwrap();
    let response = server.get(&path);
    // Either the file of the snapshot or, once the change is known, none; never a part.
    assert!(
        response.status == 404 || response.body == wheel.bytes(),
        "{}",
        response.status
    );
    std::fs::remove_dir_all(&out).unwrap();
    for path in ["/simple/", "/", "/simple/alpha/", "/healthz"] {
        let status = server.get(path).status;
        assert!([200, 404, 503].contains(&status), "{path}: {status}");
    }
    // A wheelhouse at the same path is found again.
    build(&sandbox, "out", &[Wheel::new("alpha", "2.0")]);
    eventually("the new wheelhouse", || versions(&server) == "[\"2.0\"]");
}

#[test]
fn truncated_file_ends_its_connection_only() {
    let sandbox = Sandbox::new();
    let wheel = Wheel::new("alpha", "1.0").padded(30_000_000);
    let out = build(&sandbox, "out", std::slice::from_ref(&wheel));
    let server = Server::start(&sandbox, &["out"]);
    let transfer = server.connect();
    transfer.send(&head("GET", &format!("/{}", wheel.filename()), &[]));
    let mut received = vec![0; 100];
    transfer.stream().read_exact(&mut received).unwrap();
    // The buffers of the sockets are full before the file is read to its end.
    std::thread::sleep(Duration::from_millis(200));
    let path = out.join(wheel.filename());
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.unwrap().set_len(20 << 20).unwrap();
    transfer.stream().read_to_end(&mut received).unwrap();
    let head = received.windows(4).position(|window| window == b"\r\n\r\n");
    let body = &received[head.unwrap() + 4..];
    assert!(body.len() <= 20 << 20, "{} bytes", body.len());
    assert!(wheel.bytes().starts_with(body));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn responds_when_out_of_file_descriptors() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let mut command = sandbox.command("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["serve", "--bind", "127.0.0.1:0", "out"]);
    let server = Server::start_command(&sandbox, command);
    let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let mut first = clients.into_iter().next().unwrap();
    let response = first.request("GET", "/alpha-1.0-py3-none-any.whl", &[]);
    assert!([200, 503].contains(&response.status), "{response:?}");
    drop(first);
    eventually("descriptors", || {
        server.get("/alpha-1.0-py3-none-any.whl").status == 200
    });
}
