//! A proxy before an HTTP server on loopback that fails as scripted.

use std::collections::BTreeMap;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The failure of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyFault {
    /// Sends no response until the client disconnects.
    Stall,
    /// Sends the head of the response and the first bytes of the body, one each 100 ms.
    Drip,
    /// Closes the connection after half of the body.
    Cut,
    /// Changes a byte in the middle of the body.
    Corrupt,
    /// Sends only this status. The request does not reach the server.
    Status(u16),
}

/// Selects the failure of a request by its method and path.
type Script = dyn Fn(&str, &str) -> Option<ProxyFault> + Send + Sync;

/// A running proxy.
#[derive(Clone)]
pub(crate) struct FaultProxy {
    pub(crate) port: u16,
    server: u16,
    script: Arc<Mutex<Arc<Script>>>,
    /// The method and the path of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl FaultProxy {
    /// Starts a proxy of the server at the port `server`, without failures.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            server,
            script: Arc::new(Mutex::new(Arc::new(|_: &str, _: &str| None))),
            requests: Arc::default(),
        };
        let accepting = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let proxy = accepting.clone();
                // A client may disconnect at any time.
                std::thread::spawn(move || proxy.serve(stream).ok());
            }
        });
        proxy
    }

    /// Makes requests fail from now on.
    pub(crate) fn fail(
        &self,
        script: impl Fn(&str, &str) -> Option<ProxyFault> + Send + Sync + 'static,
    ) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// Returns the method and the path of each request.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let Some((head, headers)) = read_head(&mut reader)? else {
            return Ok(());
        };
        let mut words = head[0].split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let request = (method.to_owned(), path.to_owned());
        self.requests.lock().unwrap().push(request);
        let script = Arc::clone(&self.script.lock().unwrap());
        let fault = script(method, path);
        if let Some(ProxyFault::Status(status)) = fault {
            let head = format!(
                "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            client.write_all(head.as_bytes())?;
            client.shutdown(Shutdown::Write)?;
            // Closing a connection with unread bytes would reset it, and the client might miss the response.
            std::io::copy(&mut reader, &mut std::io::sink())?;
            return Ok(());
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.server))?;
        let mut forwarded = head.join("\r\n");
        forwarded.push_str("\r\nConnection: close\r\n\r\n");
        server.write_all(forwarded.as_bytes())?;
        let length = headers.get("content-length");
        let length: u64 = length.map_or(0, |length| length.parse().unwrap());
        assert!(!headers.contains_key("transfer-encoding"), "{head:?}");
        std::io::copy(&mut (&mut reader).take(length), &mut server)?;
        let mut response = BufReader::new(server);
        let Some((mut head, headers)) = read_head(&mut response)? else {
            return Ok(());
        };
        head.push("Connection: close".to_owned());
        let mut body = Vec::new();
        response.read_to_end(&mut body)?;
        assert!(
            headers.contains_key("content-length")
                || body.is_empty()
                || headers.contains_key("transfer-encoding"),
            "{head:?}"
        );
        let head = format!("{}\r\n\r\n", head.join("\r\n"));
        match fault {
            Some(ProxyFault::Stall) => {
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            Some(ProxyFault::Drip) => {
                client.write_all(head.as_bytes())?;
                for byte in body {
                    client.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                return Ok(());
            }
            Some(ProxyFault::Cut) => body.truncate(body.len() / 2),
            Some(ProxyFault::Corrupt) if !body.is_empty() => {
                let middle = body.len() / 2;
                body[middle] ^= 1;
            }
            _ => {}
        }
        client.write_all(head.as_bytes())?;
        client.write_all(&body)
    }
}

/// The lines of the head of a message, and its headers by lower-case name.
type Head = (Vec<String>, BTreeMap<String, String>);

/// Reads the head of a request or a response: its lines without those about the connection, and its headers.
fn read_head(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Head>> {
    let (mut lines, mut headers) = (Vec::new(), BTreeMap::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((!lines.is_empty()).then_some((lines, headers)));
        }
        match line.split_once(':') {
            Some((name, value)) if !lines.is_empty() => {
                let name = name.to_lowercase();
                if name == "connection" || name == "keep-alive" {
                    continue;
                }
                headers.insert(name, value.trim().to_owned());
            }
            _ => {}
        }
        lines.push(line.to_owned());
    }
}
