//! Uploads by the legacy API of `PyPI`: each has its status, and none leaves a part behind.

use std::io::Write as _;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::http::{Connection, Response, head};
use super::{Server, basic, build, write_users};
use crate::support::process::eventually;
use crate::support::{Sandbox, Sdist, Wheel, sha256, tree};

const BOUNDARY: &str = "----boundary";

/// The form of an upload, changed by a test before it is sent.
struct Form {
    fields: Vec<(String, String)>,
    filename: String,
    content: Vec<u8>,
}

impl Form {
    fn of(wheel: &Wheel) -> Self {
        let mut parts = wheel
            .filename()
            .split('-')
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let (name, version) = (parts.remove(0), parts.remove(0));
        let content = wheel.bytes();
        let fields = [
            (":action", "file_upload".to_owned()),
            ("protocol_version", "1".to_owned()),
            ("metadata_version", "2.1".to_owned()),
            ("filetype", "bdist_wheel".to_owned()),
            ("pyversion", "py3".to_owned()),
            ("name", name),
            ("version", version),
            ("sha256_digest", sha256(&content)),
        ];
        Self {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            filename: wheel.filename(),
            content,
        }
    }

    /// Sets a field, or removes it if `value` is empty.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn named(mut self, filename: &str) -> Self {
        filename.clone_into(&mut self.filename);
        self
    }

    fn containing(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.content = content.into();
        let digest = sha256(&self.content);
        self.with("sha256_digest", &digest)
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            write!(
                body,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .unwrap();
        }
        write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.filename
        )
        .unwrap();
        body.extend(&self.content);
        write!(body, "\r\n--{BOUNDARY}--\r\n").unwrap();
        body
    }
}

fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

fn headers<'a>(authorization: &'a str, kind: &'a str) -> [(&'a str, &'a str); 2] {
    [("Authorization", authorization), ("Content-Type", kind)]
}

/// A server that allows uploads into a wheelhouse with alpha 1.0.
struct Uploads {
    sandbox: Sandbox,
    server: Server,
    out: PathBuf,
}

impl Uploads {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let out = build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
        let users = write_users(&sandbox);
        let server = Server::start(
            &sandbox,
            &[
                "out",
                "--auth-file",
                &users,
                "--allow-upload",
                "--anonymous-read",
            ],
        );
        Self {
            sandbox,
            server,
            out,
        }
    }

    #[track_caller]
    fn send(&self, path: &str, form: &Form) -> Response {
        let authorization = basic("me:secret");
        self.server.connect().post(
            path,
            &headers(&authorization, &content_type()),
            &form.body(),
        )
    }

    /// Returns the files of the wheelhouse that may belong to uploads, including hidden ones.
    fn files(&self) -> Vec<String> {
        files(&self.out)
    }
}

fn files(out: &Path) -> Vec<String> {
    let names = tree::read(out).into_keys();
    names.filter(|name| !name.starts_with("simple/")).collect()
}

#[test]
fn uploaded_wheel_is_served_and_belongs_to_the_wheelhouse() {
    let uploads = Uploads::start();
    let beta = Wheel::new("beta_lib", "1.0")
        .requires("alpha")
        .padded(100_000);
    let response = uploads.send("/", &Form::of(&beta));
    assert_eq!(response.status, 200, "{response:?}");
    let page = uploads.server.json("/simple/beta-lib/");
    let file = &page["files"][0];
    assert_eq!(file["hashes"]["sha256"], sha256(&beta.bytes()));
    assert_eq!(
        file["core-metadata"]["sha256"],
        sha256(beta.metadata_text().as_bytes())
    );
    assert!(file["upload-time"].is_string(), "{page}");
    let path = format!("/{}", beta.filename());
    assert_eq!(uploads.server.get(&path).body, beta.bytes());
    // The static index has the same bytes, and the directory is a valid wheelhouse.
    let html = uploads.server.get("/simple/beta-lib/").body;
    assert!(html == std::fs::read(uploads.out.join("simple/beta-lib/index.html")).unwrap());
    uploads
        .sandbox
        .wheelhouse(&["verify", "out"])
        .assert_success();
    // Once more into the wheelhouse by its name.
    let response = uploads.send("/out/", &Form::of(&Wheel::new("gamma", "1.0")));
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        uploads.server.json("/simple/gamma/")["versions"],
        serde_json::json!(["1.0"])
    );
}

#[test]
fn uploaded_sdist_is_served() {
    let uploads = Uploads::start();
    let sdist = Sdist::new("delta", "1.0");
    let form = Form::of(&Wheel::new("delta", "1.0"))
        .with("filetype", "sdist")
        .with("pyversion", "source")
        .named(&sdist.filename())
        .containing(sdist.bytes());
    let response = uploads.send("/", &form);
    if response.status == 200 {
        assert_eq!(
            uploads.server.get(&format!("/{}", sdist.filename())).body,
            sdist.bytes()
        );
        uploads
            .sandbox
            .wheelhouse(&["verify", "out"])
            .assert_success();
    } else {
        // A wheelhouse of wheels alone says so.
        assert_eq!(response.status, 400, "{response:?}");
        assert!(response.text().contains("wheel"), "{response:?}");
    }
}

#[test]
fn files_are_never_overwritten() {
    let uploads = Uploads::start();
    let files = tree::read(&uploads.out);
    let changed = Wheel::new("alpha", "1.0").file("other.py", "1");
    let response = uploads.send("/", &Form::of(&changed));
    assert_eq!(response.status, 409, "{response:?}");
    tree::assert_same(&tree::read(&uploads.out), &files);
    // `twine upload --skip-existing` and `uv publish` recognize this text.
    assert!(
        response.text().to_lowercase().contains("already exist"),
        "{}",
        response.text()
    );
}

#[test]
fn uploads_are_off_by_default_and_need_credentials() {
    let uploads = Uploads::start();
    let form = Form::of(&Wheel::new("beta", "1.0"));
    let before = tree::read(&uploads.out);
    for credentials in [None, Some("me:wrong"), Some("you:secret"), Some("me:")] {
        let authorization = credentials.map(basic).unwrap_or_default();
        let kind = content_type();
        let both = headers(&authorization, &kind);
        let headers = if credentials.is_none() {
            &both[1..]
        } else {
            &both[..]
        };
        let response = uploads.server.connect().post("/", headers, &form.body());
        assert_eq!(response.status, 401, "{credentials:?}");
    }
    for path in [
        "/simple/",
        "/simple/alpha/",
        "/nothing/",
        "/beta-1.0-py3-none-any.whl",
    ] {
        let status = uploads.send(path, &form).status;
        assert!([404, 405].contains(&status), "{path}: {status}");
    }
    tree::assert_same(&tree::read(&uploads.out), &before);
    // Without the option, with and without credentials.
    let users = write_users(&uploads.sandbox);
    for arguments in [&["out"][..], &["out", "--auth-file", &users]] {
        let server = Server::start(&uploads.sandbox, arguments);
        let (authorization, kind) = (basic("me:secret"), content_type());
        let headers = headers(&authorization, &kind);
        let response = server.connect().post("/", &headers, &form.body());
        assert!([403, 405].contains(&response.status), "{response:?}");
    }
    tree::assert_same(&tree::read(&uploads.out), &before);
    // Uploads without authentication are a configuration error.
    let result =
        uploads
            .sandbox
            .wheelhouse(&["serve", "out", "--bind", "127.0.0.1:0", "--allow-upload"]);
    assert!(!result.status.success());
    result.assert_error_names(&["--auth-file"]);
}

#[test]
fn each_invalid_upload_is_refused_with_a_reason() {
    let uploads = Uploads::start();
    let before = tree::read(&uploads.out);
    let outside = tree::read(&uploads.sandbox.path(""));
    let wheel = Wheel::new("beta", "1.0");
    let form = || Form::of(&wheel);
    let text = b"not an archive".to_vec();
    let other = Wheel::new("gamma", "1.0").bytes();
    let mut invalid = vec![
        (
            "wrong SHA-256",
            form().with("sha256_digest", &"0".repeat(64)),
        ),
        ("malformed SHA-256", form().with("sha256_digest", "xyz")),
        ("wrong MD5", form().with("md5_digest", &"0".repeat(32))),
        (
            "wrong BLAKE2",
            form().with("blake2_256_digest", &"0".repeat(64)),
        ),
        ("another action", form().with(":action", "doc_upload")),
        ("no action", form().with(":action", "")),
        ("not an archive", form().containing(text)),
        ("empty file", form().containing(Vec::new())),
        ("another package inside", form().containing(other)),
        ("another name in the form", form().with("name", "gamma")),
        ("another version in the form", form().with("version", "2.0")),
        ("not a distribution", form().named("beta.exe")),
        ("not a wheel's name", form().named("beta.whl")),
        ("empty filename", form().named("")),
    ];
    for filename in [
        "../beta-1.0-py3-none-any.whl",
        "../../beta-1.0-py3-none-any.whl",
        "/tmp/beta-1.0-py3-none-any.whl",
        "..\\beta-1.0-py3-none-any.whl",
        "sub/beta-1.0-py3-none-any.whl",
        "%2e%2e%2fbeta-1.0-py3-none-any.whl",
        ".beta-1.0-py3-none-any.whl",
        "beta-1.0-py3-none-any.whl\0.txt",
        "wheelhouse.json",
        "pylock.toml",
        "simple/beta/index.html",
        "beta-1.0-py3-none-any.whl.metadata",
        "..",
        ".",
    ] {
        invalid.push((filename, form().named(filename)));
    }
    let long = format!("beta-1.0-py3-none-{}.whl", "a".repeat(300));
    invalid.push(("long name", form().named(&long)));
    for (what, form) in invalid {
        let response = uploads.send("/", &form);
        assert_eq!(response.status, 400, "{what}: {response:?}");
        assert!(response.body.len() > 10, "{what}: no reason is given");
        assert_eq!(uploads.files(), files_of(&before), "{what}");
    }
    // The form itself.
    let authorization = basic("me:secret");
    let body = form().body();
    for (what, kind, body) in [
        ("no boundary", "multipart/form-data", &body[..]),
        (
            "another boundary",
            "multipart/form-data; boundary=other",
            &body,
        ),
        ("not a form", "application/json", b"{}"),
        ("no content", &content_type(), b""),
        ("cut form", &content_type(), &body[..body.len() - 10]),
        (
            "long boundary",
            &format!("multipart/form-data; boundary={}", "b".repeat(3_000)),
            &body,
        ),
    ] {
        let response = uploads
            .server
            .connect()
            .post("/", &headers(&authorization, kind), body);
        assert!(
            [400, 415].contains(&response.status),
            "{what}: {response:?}"
        );
    }
    tree::assert_same(&tree::read(&uploads.out), &before);
    let now: Vec<String> = tree::read(&uploads.sandbox.path("")).into_keys().collect();
    assert_eq!(now, outside.into_keys().collect::<Vec<_>>());
}

fn files_of(tree: &std::collections::BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = tree.keys().filter(|name| !name.starts_with("simple/"));
    names.cloned().collect()
}

#[test]
fn cut_and_huge_uploads_leave_nothing() {
    let uploads = Uploads::start();
    let before = tree::read(&uploads.out);
    let (authorization, kind) = (basic("me:secret"), content_type());
    let body = Form::of(&Wheel::new("beta", "1.0").padded(3_000_000)).body();
    let length = body.len().to_string();
    for (cut, resets) in [
        (10, false),
        (1_000, true),
        (body.len() / 2, false),
        // In the last delimiter. The line break after it is not part of the form.
        (body.len() - 3, true),
    ] {
        let sizes = [
            headers(&authorization, &kind),
            [("Content-Length", &length), ("X", "y")],
        ]
        .concat();
        let connection = uploads.server.connect();
        connection.send(&head("POST", "/", &sizes));
        let _ = connection.try_send(&body[..cut]);
        if resets {
            drop(connection);
        } else {
            connection.stream().shutdown(Shutdown::Write).unwrap();
            let mut connection = connection;
            let response = connection.read("POST");
            assert!(
                response.is_none_or(|response| response.status == 400),
                "{cut}"
            );
        }
    }
    eventually("the removal of parts", || {
        tree::read(&uploads.out) == before
    });
    // A size that cannot be accepted is refused before the body is read.
    let huge = [
        headers(&authorization, &kind),
        [("Content-Length", "9000000000000"), ("X", "y")],
    ]
    .concat();
    let mut connection = uploads.server.connect();
    connection.send(&head("POST", "/", &huge));
    let begun = Instant::now();
    assert_eq!(connection.read("POST").unwrap().status, 413);
    assert!(begun.elapsed() < Duration::from_secs(5));
    eventually("the removal of parts", || {
        tree::read(&uploads.out) == before
    });
}

#[test]
fn huge_fields_use_little_memory() {
    let uploads = Uploads::start();
    let (authorization, kind) = (basic("me:secret"), content_type());
    let description = "d".repeat(60_000_000);
    let mut many = Form::of(&Wheel::new("gamma", "1.0"));
    let fields = (0..100_000).map(|number| (format!("field{number}"), "x".to_owned()));
    many.fields.extend(fields);
    for form in [
        Form::of(&Wheel::new("beta", "1.0")).with("description", &description),
        Form::of(&Wheel::new("beta", "1.0")).with("name", &description),
        many,
    ] {
        let body = form.body();
        let length = body.len().to_string();
        let sizes = [
            headers(&authorization, &kind),
            [("Content-Length", &length), ("X", "y")],
        ]
        .concat();
        let mut connection = uploads.server.connect();
        connection.send(&head("POST", "/", &sizes));
        // The server may respond before it has read everything.
        let _ = connection.try_send(&body);
        let status = connection.read("POST").map(|response| response.status);
        assert!(
            status.is_none_or(|status| [200, 400, 413].contains(&status)),
            "{status:?}"
        );
        let resident = uploads.server.resident_bytes();
        assert!(resident < 150_000_000, "{resident} bytes");
    }
    uploads
        .sandbox
        .wheelhouse(&["verify", "out"])
        .assert_success();
}

#[test]
fn thousand_concurrent_uploads_of_one_file_store_it_once() {
    let uploads = Uploads::start();
    let wheel = Wheel::new("beta", "1.0").padded(2_000);
    let (authorization, kind) = (basic("me:secret"), content_type());
    let body = Form::of(&wheel).body();
    let length = body.len().to_string();
    let sizes = [
        headers(&authorization, &kind),
        [("Content-Length", &length), ("X", "y")],
    ]
    .concat();
    let request = [head("POST", "/", &sizes), body].concat();
    let mut connections: Vec<Connection> = (0..1_000)
        .map(|_| {
            let connection = uploads.server.connect();
            connection.send(&request[..request.len() - 1]);
            connection
        })
        .collect();
    for connection in &connections {
        connection.send(&request[request.len() - 1..]);
    }
    let mut counts = std::collections::BTreeMap::<u16, usize>::new();
    for connection in &mut connections {
        let response = connection.read("POST").expect("a response to each");
        *counts.entry(response.status).or_default() += 1;
    }
    // The same bytes may also be accepted again.
    assert!(
        counts.keys().all(|status| [200, 409].contains(status)),
        "{counts:?}"
    );
    assert!(counts.contains_key(&200), "{counts:?}");
    let served = uploads.server.get(&format!("/{}", wheel.filename()));
    assert_eq!(served.body, wheel.bytes());
    uploads
        .sandbox
        .wheelhouse(&["verify", "out"])
        .assert_success();
    assert_eq!(tree::temporary(&uploads.out), [""; 0]);
}

#[test]
fn concurrent_uploads_of_different_files_are_all_kept() {
    let uploads = Uploads::start();
    let wheels: Vec<Wheel> = (0..40)
        .map(|number| Wheel::new(&format!("p{number}"), "1.0"))
        .collect();
    std::thread::scope(|scope| {
        for chunk in wheels.chunks(5) {
            let uploads = &uploads.server;
            scope.spawn(move || {
                for wheel in chunk {
                    let (authorization, kind) = (basic("me:secret"), content_type());
                    let headers = headers(&authorization, &kind);
                    let body = Form::of(wheel).body();
                    let response = uploads.connect().post("/", &headers, &body);
                    assert_eq!(response.status, 200, "{response:?}");
                }
            });
        }
    });
    let page = uploads.server.json("/simple/");
    assert_eq!(page["projects"].as_array().unwrap().len(), 41);
    uploads
        .sandbox
        .wheelhouse(&["verify", "out"])
        .assert_success();
}
