//! An HTTP server for one wheelhouse: its simple index, its files and a health page.
//!
//! [`route`] maps paths to files. Only files in the manifest are served, and links are not followed, so requests cannot leave
//! the directory. The status 404, which installers treat as an answer, is only used for files that certainly do not exist.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::io::ReaderStream;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Manifest, PackageName};

use wheelhouse_publish::simple_index;

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The content type of the index as JSON (PEP 691).
const JSON: &str = "application/vnd.pypi.simple.v1+json";

type Body = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// The timeouts of the server.
#[derive(Clone, Copy, Debug)]
pub struct ServerTimeouts {
    /// The time after which a client that does not read is dropped.
    pub stalled: Duration,
    /// The time for transfers to finish after the server is stopped.
    pub stopping: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            stalled: Duration::from_secs(30),
            // Kubernetes kills a process 30 s after stopping it.
            stopping: Duration::from_secs(25),
        }
    }
}

/// The resource of a path.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// A page with status 200 while the server runs.
    Health,
    /// The page with links to all distributions, for `--find-links`.
    Links,
    /// A page of the index; the name has no extension.
    Page(PathBuf),
    /// A file in the wheelhouse.
    File(String),
    Redirect(String),
    NotFound,
}

/// Determines the resource of the request path `path`.
fn route(path: &str) -> Route {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return Route::NotFound;
    };
    let segments: Vec<&str> = decoded.trim_start_matches('/').split('/').collect();
    match segments[..] {
        [""] => Route::Links,
        ["health"] => Route::Health,
        ["simple"] => Route::Redirect("/simple/".to_owned()),
        ["simple", ""] => Route::Page("simple/index".into()),
        ["simple", name] | ["simple", name, ""] => match name.parse::<PackageName>() {
            Ok(known) if known.as_ref() == name && segments.len() == 3 => {
                Route::Page(format!("simple/{known}/index").into())
            }
            Ok(known) => Route::Redirect(format!("/simple/{known}/")),
            Err(_) => Route::NotFound,
        },
        [name] if !name.starts_with('.') && !name.contains('\0') => Route::File(name.to_owned()),
        _ => Route::NotFound,
    }
}

/// Returns whether the `Accept` header prefers JSON to HTML.
fn prefers_json(accept: &str) -> bool {
    let quality = |wanted: &[&str]| {
        let offers = accept.split(',').filter_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let kind = parts.next().filter(|kind| wanted.contains(kind))?;
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality: f32 = quality.unwrap_or("1").parse().ok()?;
            Some((kind, quality).1)
        });
        offers.fold(0.0, f32::max)
    };
    let json = quality(&[JSON, "application/vnd.pypi.simple.latest+json"]);
    json > 0.0 && json >= quality(&["text/html", "application/vnd.pypi.simple.v1+html"])
}

/// Serves the wheelhouse in `directory` until `stop` completes, and then finishes transfers in progress. A
/// failed connection does not affect others.
pub async fn serve(
    listener: TcpListener,
    directory: PathBuf,
    retry: ServerTimeouts,
    stop: impl Future<Output = ()>,
) {
    let wheelhouse = Arc::new(ServedDirectory {
        directory,
        served: Mutex::default(),
    });
    // Each connection holds a sender while a request is processed.
    let (busy, mut all_over) = mpsc::channel::<Infallible>(1);
    let (stopping, is_stopping) = watch::channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((connection, _)) = accepted else {
            // File descriptors are probably exhausted, and may be available again soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without these options responses are delayed, and clients that do not read are not detected.
        let _ = connection.set_nodelay(true);
        let _ = drop_if_stalled(&connection, retry.stalled);
        let (wheelhouse, busy) = (Arc::clone(&wheelhouse), busy.downgrade());
        let mut is_stopping = is_stopping.clone();
        tokio::spawn(async move {
            let is_busy = OnceLock::new();
            let service = service_fn(|request| {
                let wheelhouse = Arc::clone(&wheelhouse);
                is_busy.get_or_init(|| busy.upgrade());
                async move { Ok::<_, Infallible>(answer(&request, wheelhouse).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // Errors of a client that disconnects, or does not use HTTP, cannot be reported to it.
                _ = connection.as_mut() => {}
                _ = is_stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    drop((listener, busy, stopping));
    let _ = tokio::time::timeout(retry.stopping, all_over.recv()).await;
}

/// Makes the kernel close `connection` if the peer acknowledges nothing within `limit`.
fn drop_if_stalled(connection: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(connection, limit)?;
    }
    Ok(())
}

/// The directory, and the files that are served.
struct ServedDirectory {
    directory: PathBuf,
    /// The files in the manifest, and the version of the manifest.
    served: Mutex<Option<(FileVersion, Arc<ServedFiles>)>>,
}

/// The values that identify a version of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion(Option<SystemTime>, u64, u64);

/// The names of files, relative to the wheelhouse.
struct ServedFiles {
    distributions: BTreeSet<String>,
    /// The other files; `None` without a manifest, when any page is served.
    others: Option<BTreeSet<String>>,
}

impl ServedFiles {
    fn has(&self, name: &str) -> bool {
        self.distributions.contains(name)
            || match &self.others {
                Some(others) => others.contains(name),
                None => simple_index::is_page(name),
            }
    }
}

impl ServedDirectory {
    /// Returns the files that are served.
    fn served(&self) -> io::Result<Arc<ServedFiles>> {
        use std::os::unix::fs::MetadataExt as _;
        let path = self.directory.join(MANIFEST_NAME);
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.found(),
            Err(error) => return Err(error),
        };
        let state = FileVersion(metadata.modified().ok(), metadata.len(), metadata.ino());
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, served)) = &*served
            && *known == state
        {
            return Ok(Arc::clone(served));
        }
        let Ok(manifest) = Manifest::parse(&std::fs::read(&path)?) else {
            return self.found();
        };
        let wheels = manifest.wheels.into_iter().map(|wheel| wheel.filename);
        let sdists = manifest.sdists.into_iter().map(|sdist| sdist.filename);
        let mut others: BTreeSet<String> = manifest.files.into_iter().collect();
        others.insert(MANIFEST_NAME.to_owned());
        let now = Arc::new(ServedFiles {
            distributions: wheels.chain(sdists).collect(),
            others: Some(others),
        });
        *served = Some((state, Arc::clone(&now)));
        Ok(now)
    }

    /// Returns the files that are served of a directory without a manifest.
    fn found(&self) -> io::Result<Arc<ServedFiles>> {
        let mut distributions = BTreeSet::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            if !name.starts_with('.') && wheelhouse_archive::is_find_links_name(&name) {
                distributions.insert(name);
            }
        }
        Ok(Arc::new(ServedFiles {
            distributions,
            others: None,
        }))
    }

    /// Opens the regular file `name`, if it is served. No component of its path may be a link.
    fn open(&self, name: &Path) -> io::Result<File> {
        let is_served = match name.to_str() {
            Some(name) => self.served()?.has(name),
            None => false,
        };
        if !is_served {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = OFlags::CLOEXEC | OFlags::PATH | OFlags::DIRECTORY;
        let mut directory = rustix::fs::openat(CWD, &self.directory, flags, Mode::empty())?;
        let mut parts = name.components().peekable();
        while let Some(Component::Normal(part)) = parts.next() {
            if parts.peek().is_some() {
                let flags = flags | OFlags::NOFOLLOW;
                directory = rustix::fs::openat(&directory, part, flags, Mode::empty())?;
                continue;
            }
            // Opening another kind of file could block, or affect the process at the other end.
            let state = rustix::fs::statat(&directory, part, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(state.st_mode) != FileType::RegularFile {
                break;
            }
            let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = rustix::fs::openat(&directory, part, flags, Mode::empty())?;
            let file = File::from(file);
            if file.metadata()?.is_file() {
                return Ok(file);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

async fn answer(request: &Request<Incoming>, wheelhouse: Arc<ServedDirectory>) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, "GET, HEAD".parse().expect("a value"));
        return response;
    }
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    match route(request.uri().path()) {
        Route::Health => text(StatusCode::OK, PLAIN, "ok\n"),
        Route::Links => match blocking(move || wheelhouse.served()).await {
            Ok(served) => text(StatusCode::OK, HTML, links(&served.distributions)),
            Err(error) => failed(&error),
        },
        Route::Page(page) => {
            let json = accept.is_some_and(prefers_json);
            let (ending, kind) = if json { ("json", JSON) } else { ("html", HTML) };
            let mut response = file(wheelhouse, page.with_extension(ending), kind).await;
            response
                .headers_mut()
                .insert(VARY, "Accept".parse().expect("a value"));
            response
        }
        Route::File(name) => {
            let path = PathBuf::from(name);
            let is_json = path.extension().is_some_and(|ending| ending == "json");
            file(
                wheelhouse,
                path,
                if is_json { "application/json" } else { BYTES },
            )
            .await
        }
        Route::Redirect(path) => {
            let mut response = text(StatusCode::MOVED_PERMANENTLY, PLAIN, "moved\n");
            if let Ok(location) = path.parse() {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Route::NotFound => nowhere(),
    }
}

fn nowhere() -> Response<Body> {
    text(StatusCode::NOT_FOUND, PLAIN, "not found\n")
}

fn text(status: StatusCode, kind: &str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(
        Full::new(text.into())
            .map_err(|never| match never {})
            .boxed(),
    );
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, kind.parse().expect("a valid content type"));
    response
}

/// Returns the response to a request that failed with `error`.
fn failed(error: &io::Error) -> Response<Body> {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "try again later\n");
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, "1".parse().expect("a value"));
            response
        }
        Some(Errno::ACCESS | Errno::PERM) => text(StatusCode::FORBIDDEN, PLAIN, "forbidden\n"),
        // A link in the place of a directory or a file.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => nowhere(),
        None if error.kind() == io::ErrorKind::NotFound => nowhere(),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "failed to read\n"),
    }
}

/// Streams the file `name` of `wheelhouse`.
async fn file(wheelhouse: Arc<ServedDirectory>, name: PathBuf, kind: &str) -> Response<Body> {
    let opened = blocking(move || {
        let file = wheelhouse.open(&name)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    let (opened, length) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    let opened = tokio::fs::File::from_std(opened);
    let stream = ReaderStream::with_capacity(opened, 64 * 1024).map_ok(Frame::data);
    let mut response = text(StatusCode::OK, kind, "");
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    *response.body_mut() = StreamBody::new(stream).boxed();
    response
}

async fn blocking<Output: Send + 'static>(
    work: impl FnOnce() -> io::Result<Output> + Send + 'static,
) -> io::Result<Output> {
    tokio::task::spawn_blocking(work).await?
}

/// Returns the page with a link to each of `distributions`.
fn links(distributions: &BTreeSet<String>) -> String {
    let mut page =
        "<!DOCTYPE html>\n<title>Wheelhouse</title>\n<p><a href=\"simple/\">Simple index</a></p>\n"
            .to_owned();
    for name in distributions {
        let url = simple_index::encode_segment(name);
        let _ = writeln!(page, "<a href=\"{url}\">{url}</a><br>");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    #[test]
    fn paths_have_their_meanings() {
        let page = |path: &str| Route::Page(path.into());
        let elsewhere = |path: &str| Route::Redirect(path.to_owned());
        for (path, expected) in [
            ("/", Route::Links),
            ("/health", Route::Health),
            ("/simple", elsewhere("/simple/")),
            ("/simple/", page("simple/index")),
            ("/simple/django/", page("simple/django/index")),
            ("/simple/django", elsewhere("/simple/django/")),
            ("/simple/Foo.Bar/", elsewhere("/simple/foo-bar/")),
            (
                "/a-1%2Blocal-py3-none-any.whl",
                Route::File("a-1+local-py3-none-any.whl".to_owned()),
            ),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
        for path in [
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/..%2fetc",
            "/.wheelhouse-pending.json",
            "/simple/../x",
            "/simple/%2e%2e/",
            "/simple/a/b/",
            "/a/b.whl",
            "/%ff",
            "/a%00b",
        ] {
            assert_eq!(route(path), Route::NotFound, "{path}");
        }
    }

    #[test]
    fn installers_get_json_and_browsers_html() {
        let pip = format!("{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01");
        assert!(prefers_json(&pip));
        assert!(!prefers_json("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!prefers_json(&format!("{JSON};q=0, text/html")));
        assert!(!prefers_json(&format!("{JSON}; q=0.2, text/html")));
        assert!(!prefers_json("*/*"));
    }

    /// Starts a server for a file of 16 MiB in a directory without a manifest.
    async fn start(
        retry: ServerTimeouts,
    ) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a-1.whl"), vec![0; 16 << 20]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let path = directory.path().to_owned();
        let server = tokio::spawn(serve(listener, path, retry, stopped));
        (address, stop, server, directory)
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET /a-1.whl HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        client
    }

    #[tokio::test]
    async fn a_transfer_finishes_before_the_server_stops() {
        let (address, stop, server, _directory) = start(ServerTimeouts::default()).await;
        let _fresh = TcpStream::connect(address).await.unwrap();
        let mut client = ask(address).await;
        let mut beginning = [0; 100];
        client.read_exact(&mut beginning).await.unwrap();
        stop.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!server.is_finished());
        assert!(
            TcpStream::connect(address).await.is_err(),
            "it still listens"
        );
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > (16 << 20) - 100, "{}", rest.len());
        let limit = Duration::from_secs(5);
        tokio::time::timeout(limit, server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_transfer_does_not_delay_the_end_for_ever() {
        let retry = ServerTimeouts {
            stopping: Duration::from_millis(300),
            ..ServerTimeouts::default()
        };
        let (address, stop, server, _directory) = start(retry).await;
        let mut client = ask(address).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
        stop.send(()).unwrap();
        let limit = Duration::from_secs(5);
        tokio::time::timeout(limit, server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_dropped() {
        let retry = ServerTimeouts {
            stalled: Duration::from_secs(1),
            ..ServerTimeouts::default()
        };
        let (address, stop, server, _directory) = start(retry).await;
        let mut client = ask(address).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.send(()).unwrap();
        let limit = Duration::from_secs(2);
        let ended = tokio::time::timeout(limit, server).await;
        assert!(ended.is_ok(), "the connection is still open");
    }

    #[test]
    fn only_what_is_not_there_is_not_found() {
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
    }
}
