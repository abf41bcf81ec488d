//! The routes: the indexes with their files, the pages for people, the probes and the metrics.

use std::fmt::Write as _;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use wheelhouse_types::PackageName;

use crate::auth::{AuthenticatedUser, Users};
use crate::fallback::{FileLookup, ProjectLookup, PullThrough};
use crate::metrics::Metrics;
use crate::negotiation;
use crate::page::Page;
use crate::respond;
use crate::scope::Scope;
use crate::upload::{self, UploadTarget};
use crate::web::{self, Web, WebPage};
use crate::wheelhouse::Wheelhouse;

/// The content type of the metrics.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An index below a path.
pub(crate) struct Mount {
    /// Begins with `/` and does not end with one; empty for the root.
    pub(crate) path: String,
    pub(crate) scope: Arc<Scope>,
    /// The page that browsers get at the path.
    pub(crate) page: Option<WebPage>,
    /// The receiver of uploads to the path.
    pub(crate) upload: Option<Arc<UploadTarget>>,
    /// The source of what the wheelhouses lack.
    pub(crate) pull_through: Option<Arc<PullThrough>>,
}

/// The permissions of clients.
#[derive(Clone, Debug)]
pub(crate) struct ClientPermissions {
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) anonymous_read: bool,
}

/// Builds the router of the indexes in `mounts`. The probes are also below `base`.
pub(crate) fn router(
    base: &str,
    mounts: Vec<Mount>,
    wheelhouses: Vec<Arc<Wheelhouse>>,
    web: &Arc<Web>,
    access: ClientPermissions,
    metrics: &Arc<Metrics>,
) -> Router {
    let mut router = Router::new();
    for mount in mounts {
        let index = Arc::new(MountedIndex {
            prefix: format!("{base}{}", mount.path),
            scope: mount.scope,
            page: mount.page,
            pull_through: mount.pull_through,
            web: Arc::clone(web),
        });
        router = router.merge(index_routes(&index, mount.upload));
    }
    let probes = Probes {
        wheelhouses: wheelhouses.into(),
        metrics: Arc::clone(metrics),
    };
    router = router.route(
        &format!("{base}/metrics"),
        get(render_metrics).with_state(probes.clone()),
    );
    router = router.merge(
        Router::new()
            .route(&format!("{base}/package/{{name}}"), get(add_slash))
            .route(&format!("{base}/package/{{name}}/"), get(package))
            .with_state(Arc::clone(web)),
    );
    router = router.route(
        &format!("{base}/static/{{name}}"),
        get(async |Path(name): Path<String>, headers: HeaderMap| web::asset(&name, &headers)),
    );
    router = router.fallback(async || respond::not_found());
    if access.users.is_some() {
        router = router.layer(middleware::from_fn_with_state(access, authorize));
    }
    let mut open = Router::new();
    for base in if base.is_empty() {
        vec![""]
    } else {
        vec!["", base]
    } {
        for name in ["healthz", "health"] {
            open = open.route(&format!("{base}/{name}"), get(health));
        }
        open = open.route(
            &format!("{base}/readyz"),
            get(ready).with_state(probes.clone()),
        );
    }
    router.merge(open)
}

/// An index with the path under which it is mounted, including the base path.
struct MountedIndex {
    prefix: String,
    scope: Arc<Scope>,
    page: Option<WebPage>,
    pull_through: Option<Arc<PullThrough>>,
    web: Arc<Web>,
}

fn index_routes(index: &Arc<MountedIndex>, upload: Option<Arc<UploadTarget>>) -> Router {
    let prefix = &index.prefix;
    let upload = match upload {
        Some(target) => {
            let limit = target.body_limit();
            post(upload::post).layer(limit).with_state(target)
        }
        None => post(reject_upload),
    };
    let mut router = Router::new().route(&format!("{prefix}/"), upload.get(home));
    if !prefix.is_empty() {
        router = router.route(prefix, get(add_slash));
    }
    router
        .route(&format!("{prefix}/simple"), get(add_slash))
        .route(&format!("{prefix}/simple/"), get(root_page))
        .route(
            &format!("{prefix}/simple/{{project}}"),
            get(project_redirect),
        )
        .route(&format!("{prefix}/simple/{{project}}/"), get(project_page))
        .route(&format!("{prefix}/{{file}}"), get(file))
        .with_state(Arc::clone(index))
}

/// Rejects an upload to a path that takes none.
async fn reject_upload() -> Response<Body> {
    let mut response = respond::text(
        StatusCode::METHOD_NOT_ALLOWED,
        "uploads are not allowed here",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

async fn add_slash(request: Request) -> Response<Body> {
    respond::redirect(&format!("{}/", request.uri().path()))
}

/// Returns a page for people to browsers, and a page with links to all distributions to installers.
async fn home(State(mounted): State<Arc<MountedIndex>>, headers: HeaderMap) -> Response<Body> {
    if let Some(page) = &mounted.page
        && negotiation::is_browser(&headers)
    {
        return mounted.web.respond(page.clone(), &headers).await;
    }
    match mounted.scope.index().await {
        Ok(index) => respond::page(&index.links_page(), None, &headers),
        Err(error) => respond::failed(&error),
    }
}

async fn root_page(State(mounted): State<Arc<MountedIndex>>, request: Request) -> Response<Body> {
    match mounted.scope.index().await {
        Ok(index) => respond::page(&index.root_page(), request.uri().query(), request.headers()),
        Err(error) => respond::failed(&error),
    }
}

async fn project_redirect(
    State(mounted): State<Arc<MountedIndex>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    match PackageName::from_str(&project) {
        Ok(name) => redirect_to_project(&mounted, &name, query.as_deref()),
        Err(_) => respond::not_found(),
    }
}

fn redirect_to_project(
    mounted: &MountedIndex,
    name: &PackageName,
    query: Option<&str>,
) -> Response<Body> {
    let mut location = format!("{}/simple/{name}/", mounted.prefix);
    if let Some(query) = query {
        let _ = write!(location, "?{query}");
    }
    respond::redirect(&location)
}

async fn project_page(
    State(mounted): State<Arc<MountedIndex>>,
    Path(project): Path<String>,
    request: Request,
) -> Response<Body> {
    let Ok(name) = PackageName::from_str(&project) else {
        return respond::not_found();
    };
    let (query, headers) = (request.uri().query(), request.headers());
    if name.as_ref() != project {
        return redirect_to_project(&mounted, &name, query);
    }
    let index = match mounted.scope.index().await {
        Ok(index) => index,
        Err(error) => return respond::failed(&error),
    };
    if let Some(pull_through) = &mounted.pull_through {
        match pull_through.project(&name, &index).await {
            Ok(None) => {}
            Ok(Some(ProjectLookup::Found(page))) => {
                return respond::page(&Page::of_index(page, None), query, headers);
            }
            Ok(Some(ProjectLookup::Absent)) => return respond::not_found(),
            Ok(Some(ProjectLookup::Unavailable)) => {
                let reason = "the fallback index cannot be reached";
                return respond::text(StatusCode::BAD_GATEWAY, reason);
            }
            Err(error) => return respond::failed(&error),
        }
    }
    match index.project_page(&name) {
        Some(page) => respond::page(&page, query, headers),
        None => respond::not_found(),
    }
}

async fn file(
    State(mounted): State<Arc<MountedIndex>>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    match mounted.scope.index().await {
        Ok(index) => match mounted.scope.file(&index, &name) {
            Some(file) => respond::file(&file, request.headers()),
            None => missing_file(&mounted, &name, request.headers()).await,
        },
        Err(error) => respond::failed(&error),
    }
}

/// Fetches the file `name` from the fallback if there is one.
async fn missing_file(mounted: &MountedIndex, name: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(pull_through) = &mounted.pull_through else {
        return respond::not_found();
    };
    match pull_through.file(name).await {
        Ok(FileLookup::Kept) => {}
        Ok(FileLookup::Metadata(bytes)) => return respond::metadata(bytes),
        Ok(FileLookup::Absent) => return respond::not_found(),
        Ok(FileLookup::Failed(status, reason)) => return respond::text(status, &reason),
        Err(error) => return respond::failed(&error),
    }
    // The snapshot of the wheelhouse may be older while other files are added.
    for _ in 0..100 {
        match mounted.scope.index().await {
            Ok(index) => {
                if let Some(file) = mounted.scope.file(&index, name) {
                    return respond::file(&file, headers);
                }
            }
            Err(error) => return respond::failed(&error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reason = "the wheelhouse is being changed; try again";
    respond::text(StatusCode::SERVICE_UNAVAILABLE, reason)
}

async fn package(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    match PackageName::from_str(&name) {
        Ok(known) if known.as_ref() == name => web.respond(WebPage::Package(name), &headers).await,
        Ok(known) => respond::redirect(&web.path_of_package(&known)),
        Err(_) => respond::not_found(),
    }
}

async fn health() -> Response<Body> {
    respond::text(StatusCode::OK, "ok")
}

#[derive(Clone)]
struct Probes {
    wheelhouses: Arc<[Arc<Wheelhouse>]>,
    metrics: Arc<Metrics>,
}

async fn ready(State(probes): State<Probes>) -> Response<Body> {
    let checked = tokio::task::spawn_blocking(move || {
        probes.wheelhouses.iter().find_map(|wheelhouse| {
            let error = std::fs::read_dir(&wheelhouse.directory).err()?;
            Some(format!("{}: {error}", wheelhouse.name))
        })
    });
    match checked.await {
        Ok(None) => respond::text(StatusCode::OK, "ready"),
        Ok(Some(reason)) => respond::text(StatusCode::SERVICE_UNAVAILABLE, &reason),
        Err(_) => respond::text(StatusCode::SERVICE_UNAVAILABLE, "internal error"),
    }
}

async fn render_metrics(State(probes): State<Probes>) -> Response<Body> {
    let rendered = tokio::task::spawn_blocking(move || {
        for wheelhouse in probes.wheelhouses.iter() {
            let Ok(snapshot) = wheelhouse.current() else {
                continue;
            };
            let (mut files, mut bytes) = (0, 0);
            for distribution in snapshot.index.distributions() {
                files += 1;
                bytes += distribution.indexed.size;
            }
            let modified = snapshot.index.modified();
            let modified =
                modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let modified = modified.map(|time| time.as_secs_f64());
            probes
                .metrics
                .describe(&wheelhouse.name, files, bytes, modified);
        }
        probes.metrics.render()
    });
    match rendered.await {
        Ok(rendered) => {
            let mut response = Response::new(Body::from(rendered));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(METRICS));
            response
        }
        Err(_) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    }
}

/// Lets a request pass if its user may send it.
async fn authorize(
    State(access): State<ClientPermissions>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let Some(users) = &access.users else {
        return next.run(request).await;
    };
    let user = users.authenticate(request.headers()).await;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if user.is_none() && !(is_read && access.anonymous_read) {
        let mut response = respond::text(StatusCode::UNAUTHORIZED, "authentication required");
        response.headers_mut().insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"wheelhouse\", charset=\"UTF-8\""),
        );
        return response;
    }
    let mut response = next.run(request).await;
    if let Some(user) = user {
        response.extensions_mut().insert(AuthenticatedUser(user));
    }
    response
}
