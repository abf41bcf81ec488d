use std::path::Path;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing;
use tower::ServiceExt as _;
use wheelhouse_archive::testing::{Member, WHEEL_NAME, WheelSample, gzip, tar};
use wheelhouse_types::{ProjectStatus, Sha256};

use super::*;

const LIMIT: u64 = 100 << 10;

struct Upload {
    fields: Vec<(String, String)>,
    filename: String,
    content: Vec<u8>,
}

impl Upload {
    /// Creates an upload as twine sends it.
    fn new(filename: &str, filetype: &str, content: &[u8]) -> Self {
        let sha256 = Sha256::of(content).to_string();
        let blake2 = hex::encode(
            <blake2::Blake2b<blake2::digest::consts::U32> as blake2::Digest>::digest(content),
        );
        let fields = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", "Example"),
            ("version", "1.0"),
            ("filetype", filetype),
            ("classifiers", "one"),
            ("classifiers", "two"),
            ("sha256_digest", &sha256),
            ("blake2_256_digest", &blake2),
        ];
        Self {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            filename: filename.to_owned(),
            content: content.to_owned(),
        }
    }

    fn wheel() -> Self {
        Self::new(WHEEL_NAME, "bdist_wheel", &WheelSample::new().bytes())
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn named(mut self, filename: &str) -> Self {
        self.filename = filename.to_owned();
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            body.extend_from_slice(
                format!(
                    "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
        let head = format!(
            "--XX\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.filename
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&self.content);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        body
    }
}

struct Server {
    directory: tempfile::TempDir,
    router: Router,
}

impl Server {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let target = Arc::new(UploadTarget::new(directory.path().join("out"), LIMIT));
        let limit = target.body_limit();
        let router = Router::new().route("/", routing::post(post)).layer(limit);
        Self {
            directory,
            router: router.with_state(target),
        }
    }

    fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("out")
    }

    async fn send(&self, body: Vec<u8>) -> (u16, String) {
        send(self.router.clone(), body).await
    }

    /// Returns the names of all files at the top of the wheelhouse.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root()).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

async fn send(router: Router, body: Vec<u8>) -> (u16, String) {
    let request = Request::post("/")
        .header(CONTENT_TYPE, "multipart/form-data; boundary=XX")
        .body(Body::from(body))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn manifest(root: &Path) -> Manifest {
    Manifest::parse(&fs_err::read(root.join(MANIFEST_NAME)).unwrap()).unwrap()
}

fn sdist(pkg_info: &str) -> Vec<u8> {
    gzip(&tar(&[
        Member::file("example-1.0/PKG-INFO", pkg_info),
        Member::file("example-1.0/setup.py", "setup()"),
    ]))
}

#[tokio::test]
async fn adds_wheel_once() {
    let server = Server::new();
    let (status, text) = server.send(Upload::wheel().body()).await;
    assert_eq!(
        (status, text.as_str()),
        (200, "added example-1.0-py3-none-any.whl\n")
    );
    let (status, text) = server.send(Upload::wheel().body()).await;
    assert_eq!(status, 200);
    assert!(text.contains("is there already"), "{text}");
    let mut sample = WheelSample::new();
    sample.set("example.py", "print(2)\n");
    let other = Upload::new(WHEEL_NAME, "bdist_wheel", &sample.bytes());
    let (status, text) = server.send(other.body()).await;
    assert_eq!(status, 409);
    assert!(text.contains("already exists with other content"), "{text}");
    let manifest = manifest(&server.root());
    let [wheel] = &manifest.wheels[..] else {
        panic!()
    };
    assert_eq!(wheel.sha256, Sha256::of(&WheelSample::new().bytes()));
    assert_eq!(wheel.origin, Origin::Upload);
    assert_eq!(wheel.requires_python.as_deref(), Some(">=3.8"));
    assert!(
        wheel.added
            && wheel
                .listing
                .uploaded
                .is_some_and(|time| time > 1_700_000_000_000)
    );
    let files = [
        "example-1.0-py3-none-any.whl",
        "example-1.0-py3-none-any.whl.metadata",
        "simple",
        MANIFEST_NAME,
    ];
    assert_eq!(server.files(), files);
}

#[tokio::test]
async fn adds_sdist() {
    let server = Server::new();
    let info = "Metadata-Version: 2.1\nName: example\nVersion: 1.0\nRequires-Python: >=3.9\n";
    let upload = Upload::new("example-1.0.tar.gz", "sdist", &sdist(info));
    let (status, text) = server.send(upload.body()).await;
    assert_eq!((status, text.as_str()), (200, "added example-1.0.tar.gz\n"));
    let manifest = manifest(&server.root());
    assert_eq!(manifest.sdists[0].requires_python.as_deref(), Some(">=3.9"));
    assert_eq!(
        server.files(),
        ["example-1.0.tar.gz", "simple", MANIFEST_NAME]
    );
    for (info, reason) in [
        (
            "Name: other\nVersion: 1.0\n",
            "PKG-INFO is that of other 1.0",
        ),
        (
            "Name: example\nVersion: 2.0\n",
            "PKG-INFO is that of example 2.0",
        ),
    ] {
        let upload = Upload::new("example-1.0.tar.gz", "sdist", &sdist(info));
        let (status, text) = Server::new().send(upload.body()).await;
        assert_eq!(status, 400);
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn gives_reason_of_each_refusal() {
    let bytes = WheelSample::new().bytes();
    let mut corrupt = bytes.clone();
    let position = bytes.windows(7).position(|window| window == b"print()");
    let mut mismatch = WheelSample::new();
    mismatch.set("example-1.0.dist-info/RECORD", "example.py,sha256=AAAA,8\n");
    let mismatch = wheelhouse_archive::testing::zip(&mismatch.files);
    if let Some(position) = position {
        corrupt[position] = b'P';
    } else {
        let middle = corrupt.len() / 4;
        corrupt[middle] ^= 0xff;
    }
    let wheel = |bytes: &[u8]| Upload::new(WHEEL_NAME, "bdist_wheel", bytes);
    let zeros = "0".repeat(64);
    let large = vec![0; usize::try_from(LIMIT).unwrap() + 1];
    let cases: Vec<(Upload, u16, &str)> = vec![
        (Upload::wheel().with(":action", "submit"), 400, ":action"),
        (Upload::wheel().with(":action", ""), 400, ":action"),
        (
            Upload::wheel().with("protocol_version", "2"),
            400,
            "protocol_version",
        ),
        (Upload::wheel().with("name", ""), 400, "`name`"),
        (
            Upload::wheel().with("name", "-"),
            400,
            "`-` is not a valid name",
        ),
        (
            Upload::wheel().with("name", "other"),
            400,
            "a wheel or an sdist of other",
        ),
        (Upload::wheel().with("version", ""), 400, "`version`"),
        (
            Upload::wheel().with("version", "x"),
            400,
            "`x` is not a valid version",
        ),
        (
            Upload::wheel().with("version", "2"),
            400,
            "is not of version 2",
        ),
        (
            Upload::wheel().with("filetype", "sdist"),
            400,
            "is not bdist_wheel",
        ),
        (
            Upload::wheel().with("sha256_digest", &zeros),
            400,
            "`sha256_digest`",
        ),
        (
            Upload::wheel().with("blake2_256_digest", &zeros),
            400,
            "`blake2_256_digest`",
        ),
        (
            Upload::wheel().with("md5_digest", "00"),
            400,
            "`md5_digest`",
        ),
        (
            Upload::wheel().with("name", &"n".repeat(5000)),
            400,
            "is too long",
        ),
        (
            Upload::wheel().named("../example-1.0-py3-none-any.whl"),
            400,
            "is not the name",
        ),
        (
            Upload::wheel().named("example-1.0.exe"),
            400,
            "is not the name",
        ),
        (
            Upload::wheel().named(".wheelhouse-pending.json"),
            400,
            "is not the name",
        ),
        (Upload::wheel().named(""), 400, "is not the name"),
        (wheel(b"PK"), 400, "is not a valid wheel"),
        (wheel(&corrupt), 400, "example-1.0-py3-none-any.whl"),
        (wheel(&mismatch), 400, "RECORD"),
        (
            Upload::new("example-1.0.tar.gz", "sdist", b"text"),
            400,
            "failed to unpack",
        ),
        (wheel(&large), 413, "larger than 102400 bytes"),
    ];
    let server = Server::new();
    for (upload, expected, reason) in cases {
        let (status, text) = server.send(upload.body()).await;
        assert_eq!(status, expected, "{text}");
        assert!(text.contains(reason), "{reason}: {text}");
        assert_eq!(server.files(), [] as [&str; 0], "{text}");
    }
}

#[tokio::test]
async fn rejects_invalid_requests() {
    let server = Server::new();
    let body = Upload::wheel().body();
    // Cut in the middle, at every part of the form.
    for length in [0, 10, 200, body.len() / 2, body.len() - 10] {
        let (status, text) = server.send(body[..length].to_vec()).await;
        assert_eq!(status, 400, "{length}: {text}");
    }
    let twice = [&body[..body.len() - 8], &body[..]].concat();
    let (status, text) = server.send(twice).await;
    assert_eq!(status, 400, "{text}");
    let fields = usize::try_from(LIMIT + MAX_FIELDS).unwrap();
    let (status, _) = server.send(vec![b'x'; fields + 1]).await;
    assert_eq!(status, 413);
    let request = Request::post("/").body(Body::from(body)).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(server.files(), [] as [&str; 0]);
}

#[tokio::test]
async fn rejects_forms_of_browsers() {
    let server = Server::new();
    let request = Request::post("/")
        .header(CONTENT_TYPE, "multipart/form-data; boundary=XX")
        .header(ORIGIN, "https://foreign.example")
        .body(Body::from(Upload::wheel().body()))
        .unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(server.files(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_concurrent_uploads_add_file_once() {
    let server = Server::new();
    let tasks: Vec<_> = (0..1000)
        .map(|_| tokio::spawn(send(server.router.clone(), Upload::wheel().body())))
        .collect();
    let mut added = 0;
    for task in tasks {
        let (status, text) = task.await.unwrap();
        assert_eq!(status, 200, "{text}");
        added += usize::from(text.starts_with("added"));
    }
    assert_eq!(added, 1);
    assert_eq!(server.files().len(), 4);
}

#[tokio::test]
async fn archived_project_accepts_no_files() {
    let server = Server::new();
    server.send(Upload::wheel().body()).await;
    let mut manifest = manifest(&server.root());
    let archived = ProjectStatus {
        status: StatusMarker::Archived,
        reason: None,
    };
    let name = "example".parse().unwrap();
    manifest.project_status.insert(name, archived);
    let bytes = wheelhouse_publish::manifest_bytes(&manifest);
    fs_err::write(server.root().join(MANIFEST_NAME), bytes).unwrap();
    let (status, text) = server.send(Upload::wheel().body()).await;
    assert_eq!(
        (status, text.as_str()),
        (403, "the project example is archived\n")
    );
}

#[tokio::test]
async fn failure_of_server_names_no_path() {
    let server = Server::new();
    fs_err::create_dir_all(server.root()).unwrap();
    fs_err::write(server.root().join("x-1-py3-none-any.whl"), "").unwrap();
    let (status, text) = server.send(Upload::wheel().body()).await;
    assert_eq!(status, 503);
    assert!(
        !text.contains(server.directory.path().to_str().unwrap()),
        "{text}"
    );
}
