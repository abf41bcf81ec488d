//! A small HTTP server for one wheelhouse: its simple index, its files and a health page.
//!
//! Responsible for what is at which path ([`route`], a pure function), and for streaming it. It serves
//! what is there as it is; it never lists anything but distributions, and never leaves the directory.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, VARY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;
use wheelhouse_model::PackageName;

use crate::publish::simple;

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The index as JSON (PEP 691).
const JSON: &str = "application/vnd.pypi.simple.v1+json";

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// Answers 200 as long as the server runs.
    Health,
    /// The page that links to every distribution, which `--find-links` takes.
    Links,
    /// This page of the index; the name is without its ending.
    Page(PathBuf),
    /// This file at the top.
    File(String),
    Elsewhere(String),
    Nowhere,
}

/// Finds out what `path`, as it stands in a request, means.
fn route(path: &str) -> Route {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return Route::Nowhere;
    };
    let segments: Vec<&str> = decoded.trim_start_matches('/').split('/').collect();
    match segments[..] {
        [""] => Route::Links,
        ["health"] => Route::Health,
        ["simple"] => Route::Elsewhere("/simple/".to_owned()),
        ["simple", ""] => Route::Page("simple/index".into()),
        ["simple", name] | ["simple", name, ""] => match name.parse::<PackageName>() {
            Ok(known) if known.as_ref() == name && segments.len() == 3 => {
                Route::Page(format!("simple/{known}/index").into())
            }
            Ok(known) => Route::Elsewhere(format!("/simple/{known}/")),
            Err(_) => Route::Nowhere,
        },
        [name] if !name.starts_with('.') && !name.contains('\0') => Route::File(name.to_owned()),
        _ => Route::Nowhere,
    }
}

/// Whether who accepts `accept` would rather have JSON than HTML.
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

/// Serves the wheelhouse in `directory` to whoever connects, and never returns. A connection that
/// fails harms no other.
pub async fn serve(listener: TcpListener, directory: PathBuf) -> Infallible {
    let directory: Arc<Path> = directory.into();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some are free again in a moment.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let directory = Arc::clone(&directory);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let directory = Arc::clone(&directory);
                async move { Ok::<_, Infallible>(answer(&request, &directory).await) }
            });
            // A client that goes away, or speaks no HTTP, has nobody to be told.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

async fn answer(request: &Request<Incoming>, directory: &Path) -> Response<Body> {
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
        Route::Links => match links(directory) {
            Ok(page) => text(StatusCode::OK, HTML, page),
            Err(_) => nowhere(),
        },
        Route::Page(page) => {
            let json = accept.is_some_and(prefers_json);
            let (ending, kind) = if json { ("json", JSON) } else { ("html", HTML) };
            let mut response = file(&directory.join(page.with_extension(ending)), kind).await;
            response
                .headers_mut()
                .insert(VARY, "Accept".parse().expect("a value"));
            response
        }
        Route::File(name) => {
            let path = directory.join(name);
            let is_json = path.extension().is_some_and(|ending| ending == "json");
            file(&path, if is_json { "application/json" } else { BYTES }).await
        }
        Route::Elsewhere(path) => {
            let mut response = text(StatusCode::MOVED_PERMANENTLY, PLAIN, "moved\n");
            if let Ok(location) = path.parse() {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Route::Nowhere => nowhere(),
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
        .insert(CONTENT_TYPE, kind.parse().expect("a kind of content"));
    response
}

/// Streams the regular file at `path`.
async fn file(path: &Path, kind: &str) -> Response<Body> {
    let Ok(metadata) = fs_err::tokio::symlink_metadata(path).await else {
        return nowhere();
    };
    let opened = fs_err::tokio::File::open(path).await;
    let (true, Ok(opened)) = (metadata.is_file(), opened) else {
        return nowhere();
    };
    let stream = ReaderStream::with_capacity(opened, 64 * 1024).map_ok(Frame::data);
    let mut response = text(StatusCode::OK, kind, "");
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, metadata.len().into());
    *response.body_mut() = StreamBody::new(stream).boxed();
    response
}

/// The page with a link to each distribution in `directory`.
fn links(directory: &Path) -> std::io::Result<String> {
    let names =
        fs_err::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_distribution = |name: &String| {
        let endings = [".whl", ".tar.gz", ".zip"];
        !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending))
    };
    let mut names: Vec<_> = names.filter(is_distribution).collect();
    names.sort();
    let mut page =
        "<!DOCTYPE html>\n<title>Wheelhouse</title>\n<p><a href=\"simple/\">Simple index</a></p>\n"
            .to_owned();
    for name in names {
        let url = simple::segment(&name);
        let _ = writeln!(page, "<a href=\"{url}\">{url}</a><br>");
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_meanings() {
        let page = |path: &str| Route::Page(path.into());
        let elsewhere = |path: &str| Route::Elsewhere(path.to_owned());
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
            assert_eq!(route(path), Route::Nowhere, "{path}");
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
}
