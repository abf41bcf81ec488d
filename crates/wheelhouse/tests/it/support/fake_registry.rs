//! A registry that stores blobs in memory and fails as scripted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A failure of one request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Responds with this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Rejects the request with this code (OCI distribution specification, error codes).
    Code(&'static str),
    /// Closes the connection after this many bytes of a larger request body.
    CutAfter(usize),
    /// Closes the connection after this many bytes of the response.
    CutResponseAfter(usize),
}

impl Fault {
    fn applies_to(&self, request: &RegistryRequest) -> bool {
        let length = request.headers.get("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        match self {
            Self::CutAfter(bytes) => length.is_some_and(|length| length > *bytes),
            Self::Status(..) | Self::Code(_) | Self::CutResponseAfter(_) => true,
        }
    }
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct RegistryRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: usize,
}

#[derive(Default)]
struct State {
    /// Blobs and manifests by path below the repository, `blobs/sha256:...`.
    stored: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<usize, Vec<u8>>,
    faults: Vec<(&'static str, &'static str, Fault)>,
    requests: Vec<RegistryRequest>,
}

#[derive(Clone)]
pub(crate) struct FakeRegistry {
    state: Arc<Mutex<State>>,
    pub(crate) port: u16,
}

struct RegistryResponse {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn respond(status: u16, headers: Vec<(&'static str, String)>) -> RegistryResponse {
    let body = Vec::new();
    RegistryResponse {
        status,
        headers,
        body,
    }
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            state: Arc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let server = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client may disconnect at any time.
                std::thread::spawn(move || server.serve(stream).ok());
            }
        });
        registry
    }

    /// Makes the next request with this method and this part of its path fail.
    pub(crate) fn fail(&self, method: &'static str, path: &'static str, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .push((method, path, fault));
    }

    /// Stores a document or a blob without checks.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .stored
            .insert(name.to_owned(), bytes);
    }

    pub(crate) fn requests(&self) -> Vec<RegistryRequest> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The repository as the location of a shared cache.
    pub(crate) fn location(&self) -> String {
        format!("docker://127.0.0.1:{}/acme/wheels", self.port)
    }

    pub(crate) fn image(&self) -> String {
        format!("docker://127.0.0.1:{}/acme/wheels:1", self.port)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some((mut request, length)) = head(&mut reader)? {
            let fault = self.fault(&request);
            let limit = match fault {
                Some(Fault::CutAfter(bytes)) => bytes.min(length),
                _ => length,
            };
            let mut body = vec![0; limit];
            reader.read_exact(&mut body)?;
            request.body = limit;
            self.state.lock().unwrap().requests.push(request.clone());
            let (response, end) = match fault {
                Some(Fault::CutAfter(_)) => {
                    self.keep_upload(&request, &body);
                    return stream.shutdown(std::net::Shutdown::Both);
                }
                Some(Fault::Status(status, headers)) => (respond(status, headers), None),
                Some(Fault::CutResponseAfter(end)) => (self.respond(&request, body), Some(end)),
                Some(Fault::Code(code)) => (rejection(code), None),
                None => (self.respond(&request, body), None),
            };
            let bytes = serialize(&request, &response);
            let end = end.unwrap_or(bytes.len()).min(bytes.len());
            stream.write_all(&bytes[..end])?;
            if end < bytes.len() {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
        Ok(())
    }

    fn fault(&self, request: &RegistryRequest) -> Option<Fault> {
        let faults = &mut self.state.lock().unwrap().faults;
        let found = faults.iter().position(|(method, path, fault)| {
            *method == request.method && request.path.contains(path) && fault.applies_to(request)
        })?;
        Some(faults.remove(found).2)
    }

    fn keep_upload(&self, request: &RegistryRequest, body: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let upload = state.uploads.entry(upload_number(&request.path));
        upload.or_default().extend_from_slice(body);
    }

    fn respond(&self, request: &RegistryRequest, body: Vec<u8>) -> RegistryResponse {
        let name = request
            .path
            .strip_prefix("/v2/acme/wheels/")
            .unwrap_or_default();
        let location = |number: usize| {
            (
                "Location",
                format!("/v2/acme/wheels/blobs/uploads/{number}"),
            )
        };
        let mut state = self.state.lock().unwrap();
        match request.method.as_str() {
            "POST" => {
                let number = state.requests.len();
                state.uploads.insert(number, Vec::new());
                respond(202, vec![location(number)])
            }
            "GET" if name.starts_with("blobs/uploads/") => {
                let number = upload_number(name);
                let reached = state.uploads.get(&number).map_or(0, Vec::len);
                let range = format!("0-{}", reached.saturating_sub(1));
                respond(204, vec![location(number), ("Range", range)])
            }
            "PUT" if name.starts_with("blobs/uploads/") => {
                let mut whole = state
                    .uploads
                    .remove(&upload_number(name))
                    .unwrap_or_default();
                whole.extend(body);
                let (_, digest) = name.split_once("digest=").unwrap();
                let digest = digest.replace("%3A", ":");
                if digest != format!("sha256:{}", super::sha256(&whole)) {
                    return respond(400, Vec::new());
                }
                state.stored.insert(format!("blobs/{digest}"), whole);
                respond(201, Vec::new())
            }
            "PUT" => {
                let by_digest = format!("manifests/sha256:{}", super::sha256(&body));
                state.stored.insert(by_digest, body.clone());
                state.stored.insert(name.to_owned(), body);
                respond(201, Vec::new())
            }
            _ if request.path == "/v2/" => respond(200, Vec::new()),
            _ => stored(request, state.stored.get(name)),
        }
    }
}

fn rejection(code: &str) -> RegistryResponse {
    RegistryResponse {
        status: 400,
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: format!(r#"{{"errors": [{{"code": "{code}"}}]}}"#).into_bytes(),
    }
}

fn stored(request: &RegistryRequest, found: Option<&Vec<u8>>) -> RegistryResponse {
    let Some(bytes) = found else {
        return respond(404, Vec::new());
    };
    let digest = format!("sha256:{}", super::sha256(bytes));
    let range = request.headers.get("range").map(|range| {
        let start = range.trim_start_matches("bytes=").trim_end_matches('-');
        start.parse::<usize>().unwrap()
    });
    RegistryResponse {
        status: if range.is_some() { 206 } else { 200 },
        headers: vec![("Docker-Content-Digest", digest)],
        body: bytes[range.unwrap_or(0)..].to_vec(),
    }
}

fn upload_number(path: &str) -> usize {
    let (_, rest) = path.split_once("uploads/").unwrap();
    rest.split('?').next().unwrap().parse().unwrap()
}

/// Reads the head of the next request and returns it with the length of its body.
fn head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(RegistryRequest, usize)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(ToOwned::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    if !path.starts_with('/') {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let request = RegistryRequest {
        method,
        path,
        headers,
        body: 0,
    };
    Ok(Some((request, length)))
}

fn serialize(request: &RegistryRequest, response: &RegistryResponse) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Some\r\n", response.status);
    if response.status != 204 {
        let _ = write!(head, "Content-Length: {}\r\n", response.body.len());
    }
    for (name, value) in &response.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let body: &[u8] = if request.method == "HEAD" {
        &[]
    } else {
        &response.body
    };
    [head.as_bytes(), b"\r\n", body].concat()
}
