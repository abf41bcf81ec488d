//! An index that wants certificates: one that it has of a private authority, one that clients show.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::parts::certificates;
use crate::support::{Sandbox, Wheel, test_python, tree};

/// Serves the directory `argv[1]` to whoever shows a certificate of the authority, and tells its port.
const SERVER: &str = r"
import functools, http.server, ssl, sys

directory, authority, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.load_verify_locations(authority)
context.verify_mode = ssl.CERT_REQUIRED
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// The server, which ends when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(python: &Path, paths: [&Path; 4]) -> Self {
        let mut child = Command::new(python)
            .args(["-c", SERVER])
            .args(paths)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_index_that_knows_its_clients() {
    let sandbox = Sandbox::new();
    let (Some(python), Some([authority, certificate, key])) =
        (test_python(), certificates(&sandbox.path("")))
    else {
        return;
    };
    let wheel = Wheel::new("alpha", "1.0");
    let page = format!("<!DOCTYPE html><a href='{0}'>{0}</a>", wheel.filename());
    sandbox.write("index/alpha/index.html", &page);
    let file = sandbox.path("index/alpha").join(wheel.filename());
    std::fs::write(file, wheel.bytes()).unwrap();
    let index = sandbox.path("index");
    let server = Server::start(&python, [&index, &authority, &certificate, &key]);
    let read = |path| std::fs::read_to_string(path).unwrap();
    sandbox.write("mine.pem", &[read(&certificate), read(&key)].concat());
    let url = format!("https://localhost:{}/", server.port);
    let build = |more: &[&str]| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(["build", "alpha", "-o", "out", "--cache-dir", "cache"]);
        command
            .args(["--retries", "0", "--index-url", &url])
            .args(more);
        sandbox.spawn(command).finish()
    };
    build(&[])
        .assert_exit(4)
        .assert_error_names(&[&url, "--cert"]);
    let trusting = ["--cert", "authority.pem"];
    build(&trusting)
        .assert_exit(4)
        .assert_error_names(&[&url, "--client-cert"]);
    // A certificate without its key, and none at all.
    for file in ["server.pem", "missing.pem"] {
        build(&[&trusting[..], &["--client-cert", file]].concat())
            .assert_exit(2)
            .assert_error_names(&[file, "--client-cert"]);
    }
    build(&[&trusting[..], &["--client-cert", "mine.pem"]].concat()).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [wheel.filename()]);
}
