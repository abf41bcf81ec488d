//! A registry that keeps blobs in memory, and misbehaves as it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What goes wrong with a request, once.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This status, with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends when so many bytes of the body have come; a smaller one is let through.
    CutAfter(usize),
    /// The connection ends when so many bytes of the answer were sent.
    CutAnswerAfter(usize),
}

impl Fault {
    fn can_happen(&self, came: &Came) -> bool {
        let length = came.headers.get("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        match self {
            Self::CutAfter(bytes) => length.is_some_and(|length| length > *bytes),
            Self::Status(..) | Self::CutAnswerAfter(_) => true,
        }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: usize,
}

#[derive(Default)]
struct State {
    /// By their paths below the repository, `blobs/sha256:...`.
    stored: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<usize, Vec<u8>>,
    faults: Vec<(&'static str, &'static str, Fault)>,
    came: Vec<Came>,
}

#[derive(Clone)]
pub(crate) struct FakeRegistry {
    state: Arc<Mutex<State>>,
    pub(crate) port: u16,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn answer(status: u16, headers: Vec<(&'static str, String)>) -> Answer {
    let body = Vec::new();
    Answer {
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
                // A client that goes away is no failure of the test.
                std::thread::spawn(move || server.serve(stream).ok());
            }
        });
        registry
    }

    /// Has the next request with this method and this in its path go wrong.
    pub(crate) fn fail(&self, method: &'static str, path: &'static str, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .push((method, path, fault));
    }

    /// Puts a document or a blob there, whatever it is.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .stored
            .insert(name.to_owned(), bytes);
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.state.lock().unwrap().came.clone()
    }

    pub(crate) fn image(&self) -> String {
        format!("docker://127.0.0.1:{}/acme/wheels:1", self.port)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some((mut came, length)) = head(&mut reader)? {
            let fault = self.fault(&came);
            let limit = match fault {
                Some(Fault::CutAfter(bytes)) => bytes.min(length),
                _ => length,
            };
            let mut body = vec![0; limit];
            reader.read_exact(&mut body)?;
            came.body = limit;
            self.state.lock().unwrap().came.push(came.clone());
            let (answer, end) = match fault {
                Some(Fault::CutAfter(_)) => {
                    self.keep_upload(&came, &body);
                    return stream.shutdown(std::net::Shutdown::Both);
                }
                Some(Fault::Status(status, headers)) => (answer(status, headers), None),
                Some(Fault::CutAnswerAfter(end)) => (self.answer(&came, body), Some(end)),
                None => (self.answer(&came, body), None),
            };
            let bytes = wire(&came, &answer);
            let end = end.unwrap_or(bytes.len()).min(bytes.len());
            stream.write_all(&bytes[..end])?;
            if end < bytes.len() {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
        Ok(())
    }

    fn fault(&self, came: &Came) -> Option<Fault> {
        let faults = &mut self.state.lock().unwrap().faults;
        let found = faults.iter().position(|(method, path, fault)| {
            *method == came.method && came.path.contains(path) && fault.can_happen(came)
        })?;
        Some(faults.remove(found).2)
    }

    fn keep_upload(&self, came: &Came, body: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let upload = state.uploads.entry(upload(&came.path)).or_default();
        upload.extend_from_slice(body);
    }

    fn answer(&self, came: &Came, body: Vec<u8>) -> Answer {
        let name = came
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
        match came.method.as_str() {
            "POST" => {
                let number = state.came.len();
                state.uploads.insert(number, Vec::new());
                answer(202, vec![location(number)])
            }
            "GET" if name.starts_with("blobs/uploads/") => {
                let number = upload(name);
                let reached = state.uploads.get(&number).map_or(0, Vec::len);
                let range = format!("0-{}", reached.saturating_sub(1));
                answer(204, vec![location(number), ("Range", range)])
            }
            "PUT" if name.starts_with("blobs/uploads/") => {
                let mut whole = state.uploads.remove(&upload(name)).unwrap_or_default();
                whole.extend(body);
                let (_, digest) = name.split_once("digest=").unwrap();
                let digest = digest.replace("%3A", ":");
                if digest != format!("sha256:{}", super::sha256(&whole)) {
                    return answer(400, Vec::new());
                }
                state.stored.insert(format!("blobs/{digest}"), whole);
                answer(201, Vec::new())
            }
            "PUT" => {
                let by_digest = format!("manifests/sha256:{}", super::sha256(&body));
                state.stored.insert(by_digest, body.clone());
                state.stored.insert(name.to_owned(), body);
                answer(201, Vec::new())
            }
            _ if came.path == "/v2/" => answer(200, Vec::new()),
            _ => stored(came, state.stored.get(name)),
        }
    }
}

fn stored(came: &Came, found: Option<&Vec<u8>>) -> Answer {
    let Some(bytes) = found else {
        return answer(404, Vec::new());
    };
    let digest = format!("sha256:{}", super::sha256(bytes));
    let range = came.headers.get("range").map(|range| {
        let start = range.trim_start_matches("bytes=").trim_end_matches('-');
        start.parse::<usize>().unwrap()
    });
    Answer {
        status: if range.is_some() { 206 } else { 200 },
        headers: vec![("Docker-Content-Digest", digest)],
        body: bytes[range.unwrap_or(0)..].to_vec(),
    }
}

fn upload(path: &str) -> usize {
    let (_, rest) = path.split_once("uploads/").unwrap();
    rest.split('?').next().unwrap().parse().unwrap()
}

/// The head of the next request, and the length of its body.
fn head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(Came, usize)>> {
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
    let came = Came {
        method,
        path,
        headers,
        body: 0,
    };
    Ok(Some((came, length)))
}

fn wire(came: &Came, answer: &Answer) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Some\r\n", answer.status);
    if answer.status != 204 {
        let _ = write!(head, "Content-Length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let body: &[u8] = if came.method == "HEAD" {
        &[]
    } else {
        &answer.body
    };
    [head.as_bytes(), b"\r\n", body].concat()
}
