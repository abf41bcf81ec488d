use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::Response as HttpResponse;
use axum::routing::get;
use hyper::header::IF_NONE_MATCH;
use wheelhouse_archive::testing::{METADATA as TEXT, WHEEL_NAME, WheelSample};
use wheelhouse_types::Listing;
use wheelhouse_types::manifest::MANIFEST_NAME;

use super::*;

/// An index on this machine with one project.
struct Upstream {
    page: Mutex<String>,
    status: Mutex<StatusCode>,
    wheel: Vec<u8>,
    requests: Mutex<Vec<String>>,
    files: AtomicUsize,
}

impl Upstream {
    fn page(&self) -> HttpResponse<Body> {
        let status = *locked(&self.status);
        HttpResponse::builder()
            .status(status)
            .header(CONTENT_TYPE, JSON)
            .header(ETAG, "\"tag\"")
            .body(Body::from(locked(&self.page).clone()))
            .unwrap()
    }
}

struct Sample {
    upstream: Arc<Upstream>,
    fallback: Arc<Fallback>,
    directory: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Sample {
    async fn new() -> Self {
        let wheel = WheelSample::new().bytes();
        let page = serde_json::json!({
            "meta": {"api-version": "1.4"},
            "name": "example",
            "versions": ["1.0"],
            "files": [{
                "filename": WHEEL_NAME,
                "url": format!("../../files/{WHEEL_NAME}"),
                "hashes": {"sha256": Sha256::of(&wheel).to_string()},
                "size": wheel.len(),
                "requires-python": ">=3.8",
                "upload-time": "2024-05-01T12:00:00.000000Z",
                "core-metadata": {"sha256": Sha256::of(TEXT.as_bytes()).to_string()},
                "provenance": "https://index.example/provenance",
            }],
        });
        let upstream = Arc::new(Upstream {
            page: Mutex::new(page.to_string()),
            status: Mutex::new(StatusCode::OK),
            wheel,
            requests: Mutex::default(),
            files: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/simple/{name}/", get(project))
            .route("/files/{name}", get(file))
            .with_state(Arc::clone(&upstream));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let directory = tempfile::tempdir().unwrap();
        let fallback = Fallback::new(
            FallbackOptions {
                index: format!("http://me:secret@{address}/simple")
                    .parse()
                    .unwrap(),
                certificates: None,
                proxy: None,
                timeout: Duration::from_secs(10),
            },
            directory.path().to_owned(),
        );
        Self {
            upstream,
            fallback: Arc::new(fallback.unwrap()),
            directory,
            server,
        }
    }

    async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        // Connections that are kept alive would still be answered.
        *locked(&self.upstream.status) = StatusCode::BAD_GATEWAY;
        self.forget_age();
    }

    /// Makes the known pages old.
    fn forget_age(&self) {
        for page in locked(&self.fallback.pages).values_mut() {
            page.checked = page.checked.checked_sub(FRESH).unwrap();
        }
    }

    async fn project(&self, local: &[&IndexedWheel]) -> ProjectLookup {
        self.fallback.project(&name(), local, None).await
    }

    async fn json(&self, local: &[&IndexedWheel]) -> serde_json::Value {
        match self.project(local).await {
            ProjectLookup::Found(page) => serde_json::from_slice(&page.json).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn file(&self, filename: &str) -> FileLookup {
        self.fallback.file(filename, |_| true).await
    }

    fn manifest(&self) -> Option<Manifest> {
        let bytes = fs_err::read(self.directory.path().join(MANIFEST_NAME)).ok()?;
        Some(Manifest::parse(&bytes).unwrap())
    }

    fn change_page(&self, from: &str, to: &str) {
        let mut page = locked(&self.upstream.page);
        assert!(page.contains(from));
        *page = page.replace(from, to);
    }
}

async fn project(
    State(upstream): State<Arc<Upstream>>,
    UrlPath(name): UrlPath<String>,
    headers: axum::http::HeaderMap,
) -> HttpResponse<Body> {
    let tag = headers
        .get(IF_NONE_MATCH)
        .map_or("", |tag| tag.to_str().unwrap());
    let credentials = headers.contains_key(hyper::header::AUTHORIZATION);
    locked(&upstream.requests).push(format!("{name} {tag} {credentials}"));
    if name != "example" {
        return HttpResponse::builder()
            .status(404)
            .body(Body::empty())
            .unwrap();
    }
    if !tag.is_empty() && *locked(&upstream.status) == StatusCode::OK {
        return HttpResponse::builder()
            .status(304)
            .body(Body::empty())
            .unwrap();
    }
    upstream.page()
}

async fn file(
    State(upstream): State<Arc<Upstream>>,
    UrlPath(name): UrlPath<String>,
) -> HttpResponse<Body> {
    upstream.files.fetch_add(1, Ordering::SeqCst);
    let body = if name.ends_with(".metadata") {
        Body::from(TEXT)
    } else {
        Body::from(upstream.wheel.clone())
    };
    HttpResponse::new(body)
}

fn name() -> PackageName {
    "example".parse().unwrap()
}

fn assert_failed(lookup: &FileLookup, words: &str) {
    let FileLookup::Failed(StatusCode::BAD_GATEWAY, reason) = lookup else {
        panic!("{lookup:?}")
    };
    assert!(reason.contains(words), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_each_file_once() {
    let sample = Sample::new().await;
    let page = sample.json(&[]).await;
    assert_eq!(page["files"][0]["url"], format!("../../{WHEEL_NAME}"));
    let lookups = (0..50).map(|_| sample.file(WHEEL_NAME));
    for lookup in futures::future::join_all(lookups).await {
        assert!(matches!(lookup, FileLookup::Kept), "{lookup:?}");
    }
    assert_eq!(sample.upstream.files.load(Ordering::SeqCst), 1);
    assert_eq!(*locked(&sample.upstream.requests), ["example  true"]);
    let manifest = sample.manifest().unwrap();
    let [wheel] = &manifest.wheels[..] else {
        panic!()
    };
    assert_eq!(wheel.listing.uploaded, Some(1_714_564_800_000));
    let provenance = wheel.listing.provenance.as_deref();
    assert_eq!(provenance, Some("https://index.example/provenance"));
    assert!(wheel.added);
    assert!(!serde_json::to_string(&manifest).unwrap().contains("secret"));
    // The kept file does not make the project a private one.
    assert!(sample.fallback.may_look_up(&name(), [&manifest]));
    let indexed = simple_index::indexed_files(&manifest, |_| Some(TEXT.into()));
    assert_eq!(sample.json(&[&indexed[0]]).await, page);
}

#[tokio::test]
async fn fetches_metadata_without_wheel() {
    let sample = Sample::new().await;
    let filename = format!("{WHEEL_NAME}.metadata");
    for _ in 0..2 {
        let lookup = sample.file(&filename).await;
        let FileLookup::Metadata(bytes) = lookup else {
            panic!("{lookup:?}")
        };
        assert_eq!(bytes, TEXT.as_bytes());
    }
    assert_eq!(sample.upstream.files.load(Ordering::SeqCst), 1);
    assert!(sample.manifest().is_none());
}

#[tokio::test]
async fn rejects_file_that_differs_from_page() {
    for (from, to, words) in [
        ("\"sha256\":\"", "\"sha256\":\"0", "another digest"),
        ("\"size\":", "\"size\":1", "another size"),
    ] {
        let sample = Sample::new().await;
        let size = sample.upstream.wheel.len();
        let digest = Sha256::of(&sample.upstream.wheel).to_string();
        match from {
            "\"size\":" => sample.change_page(&format!("{from}{size}"), &format!("{to}{size}")),
            _ => sample.change_page(&digest, &"0".repeat(64)),
        }
        assert_failed(&sample.file(WHEEL_NAME).await, words);
        assert!(sample.manifest().is_none());
        assert_eq!(
            fs_err::read_dir(sample.directory.path()).unwrap().count(),
            0
        );
    }
    let sample = Sample::new().await;
    let size = format!("\"size\":{}", sample.upstream.wheel.len());
    sample.change_page(&size, "\"size\":10");
    assert_failed(&sample.file(WHEEL_NAME).await, "larger than 10 bytes");
    let sample = Sample::new().await;
    sample.change_page(&Sha256::of(TEXT.as_bytes()).to_string(), &"0".repeat(64));
    let lookup = sample.file(&format!("{WHEEL_NAME}.metadata")).await;
    assert_failed(&lookup, "another digest");
}

#[tokio::test]
async fn never_looks_up_private_project() {
    let sample = Sample::new().await;
    sample.file(WHEEL_NAME).await;
    let public = sample.manifest().unwrap();
    for origin in [
        Origin::Upload,
        Origin::Direct,
        Origin::Index {
            url: "https://private.example/simple".to_owned(),
        },
        Origin::FindLinks {
            location: "/wheels".to_owned(),
        },
    ] {
        let mut private = public.clone();
        private.wheels[0].origin = origin;
        assert!(!sample.fallback.may_look_up(&name(), [&public, &private]));
        let other = "other".parse().unwrap();
        assert!(sample.fallback.may_look_up(&other, [&public, &private]));
    }
    locked(&sample.upstream.requests).clear();
    let lookup = sample
        .fallback
        .file("example-2-py3-none-any.whl", |_| false)
        .await;
    assert!(matches!(lookup, FileLookup::Absent));
    assert_eq!(*locked(&sample.upstream.requests), [] as [&str; 0]);
}

#[tokio::test]
async fn absent_project_and_file_are_absent() {
    let sample = Sample::new().await;
    let other = "other".parse().unwrap();
    for _ in 0..2 {
        let lookup = sample.fallback.project(&other, &[], None).await;
        assert!(matches!(lookup, ProjectLookup::Absent), "{lookup:?}");
    }
    for name in [
        "other-1.tar.gz",
        "example-9-py3-none-any.whl",
        "example",
        "x.metadata",
    ] {
        let lookup = sample.file(name).await;
        assert!(matches!(lookup, FileLookup::Absent), "{name}: {lookup:?}");
    }
    let requests = locked(&sample.upstream.requests).clone();
    assert_eq!(requests, ["other  true", "example  true"]);
}

#[tokio::test]
async fn asks_again_with_entity_tag() {
    let sample = Sample::new().await;
    let page = sample.json(&[]).await;
    sample.forget_age();
    assert_eq!(sample.json(&[]).await, page);
    assert_eq!(sample.json(&[]).await, page);
    let requests = locked(&sample.upstream.requests).clone();
    assert_eq!(requests, ["example  true", "example \"tag\" true"]);
}

#[tokio::test]
async fn keeps_serving_while_index_is_down() {
    let mut sample = Sample::new().await;
    let page = sample.json(&[]).await;
    sample.stop().await;
    // The last known page is used.
    assert_eq!(sample.json(&[]).await, page);
    locked(&sample.fallback.pages).clear();
    let lookup = sample.project(&[]).await;
    assert!(matches!(lookup, ProjectLookup::Unavailable), "{lookup:?}");
    assert_failed(&sample.file(WHEEL_NAME).await, "cannot be reached");
    let kept = IndexedWheel {
        filename: WHEEL_NAME.to_owned(),
        name: name(),
        version: "1.0".parse().unwrap(),
        sha256: Sha256::of(b"kept"),
        size: 4,
        requires_python: None,
        metadata: None,
        listing: Listing::default(),
    };
    let page = sample.json(&[&kept]).await;
    assert_eq!(page["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn quarantined_project_has_no_files() {
    let sample = Sample::new().await;
    let status = r#""project-status":{"status":"quarantined"},"name":"#;
    sample.change_page("\"name\":", status);
    let page = sample.json(&[]).await;
    assert_eq!(page["project-status"]["status"], "quarantined");
    assert_eq!(page["files"], serde_json::json!([]));
    let lookup = sample.file(WHEEL_NAME).await;
    assert!(matches!(lookup, FileLookup::Absent), "{lookup:?}");
}

#[test]
fn rejects_urls_that_are_not_of_indexes() {
    for url in [
        "file:///wheels",
        "mailto:me@example.org",
        "ftp://host/simple",
    ] {
        let options = FallbackOptions {
            index: url.parse().unwrap(),
            certificates: None,
            proxy: None,
            timeout: Duration::from_secs(1),
        };
        let error = Fallback::new(options, PathBuf::new()).unwrap_err();
        assert!(
            error.to_string().contains("is not the URL of an index"),
            "{error}"
        );
    }
}
