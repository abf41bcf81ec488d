//! A server that keeps what is put and counts it, as the generic repositories of artifact servers do.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A file, and how often it was put.
type Files = Mutex<HashMap<String, (Vec<u8>, usize)>>;

/// A running server. Its thread ends with the test.
pub(crate) struct PutServer {
    address: SocketAddr,
    files: Arc<Files>,
}

impl PutServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = Arc::<Files>::default();
        let shared = Arc::clone(&files);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client may close its connection at any time.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, files }
    }

    /// Returns the URL of a directory.
    pub(crate) fn url(&self, directory: &str) -> String {
        format!("http://{}/{directory}", self.address)
    }

    /// Returns how often each file below `directory` was put, by its path.
    pub(crate) fn puts(&self, directory: &str) -> Vec<(String, usize)> {
        let files = self.files.lock().unwrap();
        let below = files.iter().filter(|(path, _)| path.starts_with(directory));
        below
            .map(|(path, (_, count))| (path.clone(), *count))
            .collect()
    }
}

/// Answers the requests of a connection, until it is closed.
fn serve(stream: TcpStream, files: &Files) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap_or(0);
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked";
            if name.eq_ignore_ascii_case("expect") {
                writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if chunked {
            body = read_chunks(&mut reader)?;
        }
        let (status, content) = answer(&method, &path, body, files);
        let length = content.len();
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        if method != "HEAD" {
            writer.write_all(&content)?;
        }
    }
}

fn answer(method: &str, path: &str, body: Vec<u8>, files: &Files) -> (&'static str, Vec<u8>) {
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    match method {
        "PUT" => {
            let (content, count) = files.entry(path.to_owned()).or_default();
            (*content, *count) = (body, *count + 1);
            ("201 Created", Vec::new())
        }
        "GET" | "HEAD" => match files.get(path) {
            Some((content, _)) => ("200 OK", content.clone()),
            None => ("404 Not Found", Vec::new()),
        },
        _ => ("405 Method Not Allowed", Vec::new()),
    }
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}
