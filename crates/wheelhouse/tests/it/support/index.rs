//! A package index on loopback, written by hand so that it can misbehave at any byte.
//!
//! `/simple/NAME/` lists the files of a project as JSON or HTML, `/files/FILENAME` has them, with
//! ranges, and `/files/FILENAME.metadata` the metadata of wheels (PEP 658). What the n-th request
//! for a path meets can be scripted, and every request is logged.

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

/// What a request meets.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    Normal,
    /// A status line with headers, and no body.
    Status(u16, Vec<(&'static str, String)>),
    /// Sends so many bytes of the body, then resets the connection.
    ResetAfter(usize),
    /// Sends so many bytes of the body, then nothing more.
    StallAfter(usize),
    /// Promises all of the body and closes the connection after so many bytes.
    TruncateAt(usize),
    /// Says nothing of the length, and closes the connection after so many bytes.
    CloseAt(usize),
    /// Sends the body a little at a time: bytes, and milliseconds between them.
    Drip(usize, u64),
    /// Sends this body instead, with this content type.
    Body(&'static str, Vec<u8>),
    /// The same, compressed with gzip as the header says.
    Gzipped(&'static str, Vec<u8>),
    /// Sends the whole body, whatever range was asked for.
    WithoutRanges,
    /// As normal, with another header.
    Header(&'static str, &'static str),
    /// As normal, but says nothing of the length.
    WithoutLength,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) at: Instant,
}

impl Logged {
    pub(crate) fn range(&self) -> Option<&str> {
        self.headers.get("range").map(String::as_str)
    }
}

/// A file that the index offers.
#[derive(Clone)]
struct Offered {
    bytes: Vec<u8>,
    /// What the page says, where that is to be something else.
    sha256: Option<String>,
    size: Option<u64>,
    requires_python: Option<String>,
    is_yanked: bool,
    metadata: Option<String>,
    /// What the page says of the metadata, where that is to be something else.
    metadata_sha256: Option<String>,
}

impl Offered {
    /// What the page says of the digest of `metadata`.
    fn metadata_digest(&self, metadata: &str) -> String {
        let claimed = self.metadata_sha256.clone();
        claimed.unwrap_or_else(|| sha256(metadata.as_bytes()))
    }
}

#[derive(Default)]
struct State {
    /// Files by project and name.
    projects: BTreeMap<String, BTreeMap<String, Offered>>,
    scripts: HashMap<String, VecDeque<Behaviour>>,
    always: HashMap<String, Behaviour>,
    log: Vec<Logged>,
    credentials: Option<String>,
    html: bool,
    without_metadata: bool,
}

/// The index; it ends when dropped.
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

    /// The URL for `--index-url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/simple/", self.address)
    }

    /// The same with a user and a password in it.
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
        let offered = Offered {
            bytes,
            metadata,
            metadata_sha256: None,
            sha256: None,
            size: None,
            requires_python: None,
            is_yanked: false,
        };
        let mut state = self.state.lock().unwrap();
        state
            .projects
            .entry(project)
            .or_default()
            .insert(filename.to_owned(), offered);
    }

    /// Lets the page say another digest than that of the file; an empty one leaves it out.
    pub(crate) fn claim_digest(&self, filename: &str, sha256: &str) {
        self.with_file(filename, |offered| offered.sha256 = Some(sha256.to_owned()));
    }

    /// Lets the page say another digest than that of the metadata beside the file.
    pub(crate) fn claim_metadata_digest(&self, filename: &str, sha256: &str) {
        self.with_file(filename, |offered| {
            offered.metadata_sha256 = Some(sha256.to_owned());
        });
    }

    /// Lets the page say another size than that of the file.
    pub(crate) fn claim_size(&self, filename: &str, size: u64) {
        self.with_file(filename, |offered| offered.size = Some(size));
    }

    /// Lets the page say for which Pythons a file is.
    pub(crate) fn claim_requires_python(&self, filename: &str, specifiers: &str) {
        self.with_file(filename, |offered| {
            offered.requires_python = Some(specifiers.to_owned());
        });
    }

    /// Lets the page say that a file was yanked.
    pub(crate) fn yank(&self, filename: &str) {
        self.with_file(filename, |offered| offered.is_yanked = true);
    }

    fn with_file(&self, filename: &str, change: impl Fn(&mut Offered)) {
        let mut state = self.state.lock().unwrap();
        let files = state
            .projects
            .values_mut()
            .find_map(|files| files.get_mut(filename));
        change(files.expect("the file was added"));
    }

    /// Scripts what the next requests for `path` meet, one after the other; then it is `Normal`.
    pub(crate) fn script(&self, path: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        let mut state = self.state.lock().unwrap();
        state
            .scripts
            .entry(path.to_owned())
            .or_default()
            .extend(behaviours);
    }

    pub(crate) fn always(&self, path: &str, behaviour: Behaviour) {
        self.state
            .lock()
            .unwrap()
            .always
            .insert(path.to_owned(), behaviour);
    }

    /// Answers only those who give these credentials.
    pub(crate) fn require_credentials(&self, user: &str, password: &str) {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.state.lock().unwrap().credentials = Some(format!("Basic {text}"));
    }

    /// Lists files in HTML alone, as old indexes do.
    pub(crate) fn only_html(&self) {
        self.state.lock().unwrap().html = true;
    }

    /// Offers no metadata beside wheels.
    pub(crate) fn without_metadata(&self) {
        self.state.lock().unwrap().without_metadata = true;
    }

    /// The requests so far for paths that end with `end`.
    pub(crate) fn requests(&self, end: &str) -> Vec<Logged> {
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
        // Wakes the listener up, so that it ends.
        drop(TcpStream::connect(self.address));
    }
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>, ended: &AtomicBool) {
    let Some(request) = read(&mut stream) else {
        return;
    };
    let (behaviour, response) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        let scripted = state
            .scripts
            .get_mut(&request.path)
            .and_then(VecDeque::pop_front);
        let behaviour = scripted.or_else(|| state.always.get(&request.path).cloned());
        (
            behaviour.unwrap_or(Behaviour::Normal),
            answer(&state, &request),
        )
    };
    // A client that goes away in the middle is nothing to worry about.
    let _ = http_response::send(stream, &request, &behaviour, response, ended);
}

/// Reads a request up to the last byte of its head, which stays unread for now: closing a
/// connection with something unread resets it.
fn read(stream: &mut TcpStream) -> Option<Logged> {
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
    Some(Logged {
        method,
        path,
        headers,
        at: Instant::now(),
    })
}

fn answer(state: &State, request: &Logged) -> Response {
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
    if let Some(offered) = find(filename) {
        return Some(Response::body(
            "application/octet-stream",
            offered.bytes.clone(),
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

fn json_page(state: &State, project: &str, files: &BTreeMap<String, Offered>) -> Response {
    let listed: Vec<_> = files
        .iter()
        .map(|(filename, offered)| {
            let digest = offered
                .sha256
                .clone()
                .unwrap_or_else(|| sha256(&offered.bytes));
            let mut entry = serde_json::json!({
                "filename": filename,
                "url": format!("/files/{filename}"),
                "size": offered.size.unwrap_or(offered.bytes.len() as u64),
                "hashes": {"sha256": digest},
            });
            if digest.is_empty() {
                entry["hashes"] = serde_json::json!({});
            }
            if offered.is_yanked {
                entry["yanked"] = serde_json::json!("broken");
            }
            if let Some(specifiers) = &offered.requires_python {
                entry["requires-python"] = serde_json::json!(specifiers);
            }
            if let Some(metadata) = offered
                .metadata
                .as_ref()
                .filter(|_| !state.without_metadata)
            {
                entry["core-metadata"] =
                    serde_json::json!({"sha256": offered.metadata_digest(metadata)});
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

fn html_page(state: &State, files: &BTreeMap<String, Offered>) -> Response {
    let mut page = "<!DOCTYPE html><html><body>\n".to_owned();
    for (filename, offered) in files {
        let digest = offered
            .sha256
            .clone()
            .unwrap_or_else(|| sha256(&offered.bytes));
        let fragment = if digest.is_empty() {
            String::new()
        } else {
            format!("#sha256={digest}")
        };
        let metadata = offered
            .metadata
            .as_ref()
            .filter(|_| !state.without_metadata);
        let attribute = metadata.map(|text| {
            format!(
                " data-core-metadata=\"sha256={}\"",
                offered.metadata_digest(text)
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
