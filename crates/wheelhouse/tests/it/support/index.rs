//! A package index on loopback, written by hand so that it can fail at any byte.
//!
//! `/simple/NAME/` lists the files of a project as JSON or HTML, `/files/FILENAME` serves them, with ranges, and
//! `/files/FILENAME.metadata` the metadata of wheels (PEP 658). The behavior of the n-th request for a path can be
//! scripted, and every request is recorded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;

use super::http_response::{self, Response};
use super::{Sdist, Wheel, sha256};

/// The response to a request.
#[derive(Clone, Debug)]
pub(crate) enum Behavior {
    Normal,
    /// A status with headers and no body.
    Status(u16, Vec<(&'static str, String)>),
    /// Sends this many bytes of the body, then resets the connection.
    ResetAfter(usize),
    /// Sends this many bytes of the body, then stalls.
    StallAfter(usize),
    /// States the full length and closes the connection after this many bytes.
    TruncateAt(usize),
    /// States no length and closes the connection after this many bytes.
    CloseAt(usize),
    /// Sends the body in chunks: their size, and the milliseconds between them.
    Drip(usize, u64),
    /// Sends another body with this content type.
    Body(&'static str, Vec<u8>),
    /// Sends another body with this content type, compressed with gzip.
    Gzipped(&'static str, Vec<u8>),
    /// Ignores range requests.
    WithoutRanges,
    /// Adds a header.
    Header(&'static str, &'static str),
    /// States no length.
    WithoutLength,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct IndexRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) at: Instant,
}

impl IndexRequest {
    pub(crate) fn range(&self) -> Option<&str> {
        self.headers.get("range").map(String::as_str)
    }
}

/// A file of the index.
#[derive(Clone)]
struct IndexFile {
    bytes: Vec<u8>,
    /// The digest that the page states, if it differs.
    sha256: Option<String>,
    size: Option<u64>,
    requires_python: Option<String>,
    upload_time: Option<String>,
    is_yanked: bool,
    metadata: Option<String>,
    /// The digest of the metadata that the page states, if it differs.
    metadata_sha256: Option<String>,
}

impl IndexFile {
    /// Returns the digest of `metadata` that the page states.
    fn metadata_digest(&self, metadata: &str) -> String {
        let claimed = self.metadata_sha256.clone();
        claimed.unwrap_or_else(|| sha256(metadata.as_bytes()))
    }
}

#[derive(Default)]
struct State {
    /// Files by project and filename.
    projects: BTreeMap<String, BTreeMap<String, IndexFile>>,
    scripts: HashMap<String, VecDeque<Behavior>>,
    always: HashMap<String, Behavior>,
    log: Vec<IndexRequest>,
    credentials: Option<String>,
    html: bool,
    without_metadata: bool,
}

/// A running index, stopped on drop.
pub(crate) struct Index {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
}

impl Index {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, ended) = (
            Arc::new(Mutex::new(State::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let (shared, over) = (Arc::clone(&state), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
                std::thread::spawn(move || {
                    drop(stream.map(|stream| serve(stream, &shared, &over)));
                });
            }
        });
        Self {
            address,
            state,
            ended,
        }
    }

    /// Returns the URL for `--index-url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/simple/", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the URL with a user and a password.
    pub(crate) fn url_for(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}/simple/", self.address)
    }

    pub(crate) fn file_url(&self, filename: &str) -> String {
        format!("http://{}/files/{filename}", self.address)
    }

    pub(crate) fn add(&self, wheel: &Wheel) {
        self.add_bytes(
            &wheel.filename(),
            wheel.bytes(),
            Some(wheel.metadata_text()),
        );
    }

    pub(crate) fn add_sdist(&self, sdist: &Sdist) {
        self.add_bytes(&sdist.filename(), sdist.bytes(), None);
    }

    pub(crate) fn add_bytes(&self, filename: &str, bytes: Vec<u8>, metadata: Option<String>) {
        let project = filename.split('-').next().unwrap().replace('_', "-");
        let file = IndexFile {
            bytes,
            metadata,
            metadata_sha256: None,
            sha256: None,
            size: None,
            requires_python: None,
            upload_time: None,
            is_yanked: false,
        };
        let mut state = self.state.lock().unwrap();
        state
            .projects
            .entry(project)
            .or_default()
            .insert(filename.to_owned(), file);
    }

    /// Sets the digest that the page states for a file; an empty one omits it.
    pub(crate) fn claim_digest(&self, filename: &str, sha256: &str) {
        self.with_file(filename, |file| file.sha256 = Some(sha256.to_owned()));
    }

    /// Sets the digest that the page states for the metadata of a file.
    pub(crate) fn claim_metadata_digest(&self, filename: &str, sha256: &str) {
        self.with_file(filename, |file| {
            file.metadata_sha256 = Some(sha256.to_owned());
        });
    }

    /// Sets the size that the page states for a file.
    pub(crate) fn claim_size(&self, filename: &str, size: u64) {
        self.with_file(filename, |file| file.size = Some(size));
    }

    /// Sets the `requires-python` that the page states for a file.
    pub(crate) fn claim_requires_python(&self, filename: &str, specifiers: &str) {
        self.with_file(filename, |file| {
            file.requires_python = Some(specifiers.to_owned());
        });
    }

    /// Sets the upload time that the page states for a file.
    pub(crate) fn claim_upload_time(&self, filename: &str, time: &str) {
        self.with_file(filename, |file| file.upload_time = Some(time.to_owned()));
    }

    /// Marks a file as yanked.
    pub(crate) fn yank(&self, filename: &str) {
        self.with_file(filename, |file| file.is_yanked = true);
    }

    fn with_file(&self, filename: &str, change: impl Fn(&mut IndexFile)) {
        let mut state = self.state.lock().unwrap();
        let files = state
            .projects
            .values_mut()
            .find_map(|files| files.get_mut(filename));
        change(files.expect("the file was added"));
    }

    /// Sets the behavior of the next requests for `path`, one each; later ones are `Normal`.
    pub(crate) fn script(&self, path: &str, behaviors: impl IntoIterator<Item = Behavior>) {
        let mut state = self.state.lock().unwrap();
        state
            .scripts
            .entry(path.to_owned())
            .or_default()
            .extend(behaviors);
    }

    pub(crate) fn always(&self, path: &str, behavior: Behavior) {
        self.state
            .lock()
            .unwrap()
            .always
            .insert(path.to_owned(), behavior);
    }

    /// Requires these credentials for every request.
    pub(crate) fn require_credentials(&self, user: &str, password: &str) {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.state.lock().unwrap().credentials = Some(format!("Basic {text}"));
    }

    /// Serves pages in HTML only, like old indexes.
    pub(crate) fn only_html(&self) {
        self.state.lock().unwrap().html = true;
    }

    /// Serves no metadata files.
    pub(crate) fn without_metadata(&self) {
        self.state.lock().unwrap().without_metadata = true;
    }

    /// Returns the requests so far for paths that end with `end`.
    pub(crate) fn requests(&self, end: &str) -> Vec<IndexRequest> {
        let state = self.state.lock().unwrap();
        state
            .log
            .iter()
            .filter(|logged| logged.path.ends_with(end))
            .cloned()
            .collect()
    }

    pub(crate) fn forget_requests(&self) {
        self.state.lock().unwrap().log.clear();
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Unblocks the listener.
        drop(TcpStream::connect(self.address));
    }
}

/// Responds to one request and closes the connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>, ended: &AtomicBool) {
    let Some(request) = read(&mut stream) else {
        return;
    };
    let (behavior, response) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        let scripted = state
            .scripts
            .get_mut(&request.path)
            .and_then(VecDeque::pop_front);
        let behavior = scripted.or_else(|| state.always.get(&request.path).cloned());
        (
            behavior.unwrap_or(Behavior::Normal),
            answer(&state, &request),
        )
    };
    // A client may disconnect at any time.
    let _ = http_response::send(stream, &request, &behavior, response, ended);
}

/// Reads a request except for the last byte of its head: closing a connection with unread data resets it.
fn read(stream: &mut TcpStream) -> Option<IndexRequest> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(IndexRequest {
        method,
        path,
        headers,
        at: Instant::now(),
    })
}

fn answer(state: &State, request: &IndexRequest) -> Response {
    if let Some(credentials) = &state.credentials
        && request.headers.get("authorization") != Some(credentials)
    {
        let challenge = ("WWW-Authenticate", "Basic realm=\"index\"".to_owned());
        return Response::status(401, vec![challenge]);
    }
    if let Some(filename) = request.path.strip_prefix("/files/") {
        return file(state, filename).unwrap_or_else(|| Response::status(404, Vec::new()));
    }
    let project = request
        .path
        .strip_prefix("/simple/")
        .map(|path| path.trim_end_matches('/'));
    let files =
        project.and_then(|project| state.projects.get(project).map(|files| (project, files)));
    let Some((project, files)) = files else {
        return Response::status(404, Vec::new());
    };
    let accepts_json = request
        .headers
        .get("accept")
        .is_some_and(|accept| accept.contains("simple.v1+json"));
    if accepts_json && !state.html {
        json_page(state, project, files)
    } else {
        html_page(state, files)
    }
}

fn file(state: &State, filename: &str) -> Option<Response> {
    let find = |name: &str| state.projects.values().find_map(|files| files.get(name));
    if let Some(file) = find(filename) {
        return Some(Response::body(
            "application/octet-stream",
            file.bytes.clone(),
        ));
    }
    let wheel = filename.strip_suffix(".metadata")?;
    let metadata = find(wheel)?
        .metadata
        .clone()
        .filter(|_| !state.without_metadata)?;
    Some(Response::body(
        "application/octet-stream",
        metadata.into_bytes(),
    ))
}

fn json_page(state: &State, project: &str, files: &BTreeMap<String, IndexFile>) -> Response {
    let listed: Vec<_> = files
        .iter()
        .map(|(filename, file)| {
            let digest = file.sha256.clone().unwrap_or_else(|| sha256(&file.bytes));
            let mut entry = serde_json::json!({
                "filename": filename,
                "url": format!("/files/{filename}"),
                "size": file.size.unwrap_or(file.bytes.len() as u64),
                "hashes": {"sha256": digest},
            });
            if digest.is_empty() {
                entry["hashes"] = serde_json::json!({});
            }
            if file.is_yanked {
                entry["yanked"] = serde_json::json!("broken");
            }
            if let Some(time) = &file.upload_time {
                entry["upload-time"] = serde_json::json!(time);
            }
            if let Some(specifiers) = &file.requires_python {
                entry["requires-python"] = serde_json::json!(specifiers);
            }
            if let Some(metadata) = file.metadata.as_ref().filter(|_| !state.without_metadata) {
                entry["core-metadata"] =
                    serde_json::json!({"sha256": file.metadata_digest(metadata)});
            }
            entry
        })
        .collect();
    let page =
        serde_json::json!({"meta": {"api-version": "1.1"}, "name": project, "files": listed});
    Response::body(
        "application/vnd.pypi.simple.v1+json",
        page.to_string().into_bytes(),
    )
}

fn html_page(state: &State, files: &BTreeMap<String, IndexFile>) -> Response {
    let mut page = "<!DOCTYPE html><html><body>\n".to_owned();
    for (filename, file) in files {
        let digest = file.sha256.clone().unwrap_or_else(|| sha256(&file.bytes));
        let fragment = if digest.is_empty() {
            String::new()
        } else {
            format!("#sha256={digest}")
        };
        let metadata = file.metadata.as_ref().filter(|_| !state.without_metadata);
        let attribute = metadata.map(|text| {
            format!(
                " data-core-metadata=\"sha256={}\"",
                file.metadata_digest(text)
            )
        });
        let attribute = attribute.unwrap_or_default();
        let _ = writeln!(
            page,
            "<a href=\"/files/{filename}{fragment}\"{attribute}>{filename}</a>"
        );
    }
    Response::body("text/html", page.into_bytes())
}
