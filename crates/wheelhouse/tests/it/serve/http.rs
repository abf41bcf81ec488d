//! A client for HTTP/1.1 that sends any bytes and reads responses strictly.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The time after which a server that does not respond has failed the test.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A response. The names of headers are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Returns the values of the header `name`, separated by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(known, _)| known == name);
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    #[track_caller]
    pub(crate) fn required_header(&self, name: &str) -> String {
        let value = self.header(name);
        value.unwrap_or_else(|| panic!("{name} is missing: {} {:?}", self.status, self.headers))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends `bytes`. The server may have closed the connection.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream().write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends a request without a body and reads the response.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        self.send(&head(method, path, headers));
        self.read(method)
            .unwrap_or_else(|| panic!("no response to {method} {path}"))
    }

    /// Sends a request with a body and reads the response.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let length = body.len().to_string();
        let headers = [headers, &[("Content-Length", length.as_str())]].concat();
        self.send(&[&head("POST", path, &headers), body].concat());
        self.read("POST")
            .unwrap_or_else(|| panic!("no response to POST {path}"))
    }

    /// Reads the response to a request with `method`, or returns `None` if the server closes the connection instead.
    #[track_caller]
    pub(crate) fn read(&mut self, method: &str) -> Option<Response> {
        let first = self.line()?;
        let (version, rest) = first.split_once(' ').unwrap();
        assert!(version.starts_with("HTTP/1."), "{first}");
        let status = rest[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("the head is complete");
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if method == "HEAD" || status == 304 || status == 204 || status < 200 {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some() {
            response.body = self.chunks();
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body).unwrap();
        } else {
            self.stream.read_to_end(&mut response.body).unwrap();
        }
        Some(response)
    }

    /// Returns whether the server has closed the connection, or closes it without sending anything.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A reset is reported as an error.
        !matches!(self.stream.fill_buf(), Ok(bytes) if !bytes.is_empty())
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A server that does not read everything resets the connection when it closes it.
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => {
                let line = line.strip_suffix("\r\n");
                Some(line.expect("lines end with CRLF").to_owned())
            }
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line().expect("another chunk");
            let length = usize::from_str_radix(&line, 16).unwrap();
            let mut chunk = vec![0; length];
            self.stream.read_exact(&mut chunk).unwrap();
            body.extend(chunk);
            assert_eq!(self.line().as_deref(), Some(""));
            if length == 0 {
                return body;
            }
        }
    }
}

/// Returns the head of a request.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}
