//! TLS certificates: private authorities, client certificates, self-signed servers and unreachable servers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::services::{certificates, program_path, run};
use crate::support::{RunResult, Sandbox, Wheel, test_python, tree};

/// Serves the directory `argv[1]` to clients with a certificate of the authority, or to all without one, and prints
/// its port. Without a certificate of its own it uses plain HTTP, also as a proxy, with the files of other hosts in
/// `http:/HOST/PATH`. It redirects `/moved/PATH` to `http://files.example/PATH`.
const SERVER: &str = r"
import functools, http.server, ssl, sys

directory, authority, certificate, key = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith('/moved/'):
            return super().do_GET()
        self.send_response(302)
        self.send_header('Location', 'http://files.example' + self.path[len('/moved'):])
        self.send_header('Content-Length', '0')
        self.end_headers()

handler = functools.partial(Handler, directory=directory)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if authority:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A running server, stopped on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(python: &Path, paths: [&Path; 4]) -> Self {
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
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-tools")),
    ignore = "requires the test Python, curl, openssl, strace"
)]
fn uses_client_certificate_for_index() {
    let sandbox = Sandbox::new();
    let python = test_python();
    let [authority, certificate, key] = certificates(&sandbox.path(""));
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
    // A certificate without its key, and a missing file.
    for file in ["server.pem", "missing.pem"] {
        build(&[&trusting[..], &["--client-cert", file]].concat())
            .assert_exit(2)
            .assert_error_names(&[file, "--client-cert"]);
    }
    build(&[&trusting[..], &["--client-cert", "mine.pem"]].concat()).assert_success();
    assert_eq!(tree::wheels(&sandbox.out()), [wheel.filename()]);
}

/// Serves the directory `index` of the sandbox, with a page and `alpha`, with a self-signed certificate for `name`.
pub(crate) fn self_signed(sandbox: &Sandbox, python: &Path, file: &str, name: &str) -> Server {
    let openssl = program_path("openssl");
    let (key, certificate) = (sandbox.path("self.key"), sandbox.path(file));
    let mut command = Command::new(openssl);
    command.args([
        "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2",
    ]);
    command.args(["-subj", "/CN=self", "-addext"]);
    command.arg(format!("subjectAltName=DNS:{name}"));
    command
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run(&mut command);
    let wheel = Wheel::new("alpha", "1.0");
    let page = format!("<!DOCTYPE html><a href='{0}'>{0}</a>", wheel.filename());
    sandbox.write("index/alpha/index.html", &page);
    let path = sandbox.path("index/alpha").join(wheel.filename());
    std::fs::write(path, wheel.bytes()).unwrap();
    sandbox.write("index/requirements.txt", "alpha\n");
    let (index, none) = (sandbox.path("index"), Path::new(""));
    Server::start(python, [&index, none, &certificate, &key])
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-tools")),
    ignore = "requires the test Python, curl, openssl, strace"
)]
fn certificates_of_the_system_are_needed_for_tls_only() {
    let mut sandbox = Sandbox::new();
    let server = self_signed(&sandbox, &test_python(), "self.pem", "localhost");
    sandbox.set("SSL_CERT_FILE", "/dev/null");
    sandbox.set("SSL_CERT_DIR", "/nonexistent");
    let build = |from: &[&str]| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args([
            "build",
            "alpha",
            "-o",
            "out",
            "--retries",
            "0",
            "--no-cache",
        ]);
        command.args(from);
        sandbox.spawn(command).finish()
    };
    build(&["--no-index", "--find-links", "index/alpha"]).assert_success();
    let url = format!("https://localhost:{}/", server.port);
    build(&["--index-url", &url])
        .assert_exit(4)
        .assert_error_names(&[
            &url,
            "no certificates of authorities",
            "ca-certificates",
            "--cert",
        ]);
    build(&["--index-url", &url, "--cert", "self.pem"]).assert_success();
}

/// Returns the arguments of builds that request a page of an index, a page of links, a file, a requirements file and
/// a repository from `base`.
fn requests_to(base: &str) -> [Vec<String>; 5] {
    let index = format!("{base}/");
    let links = format!("{base}/alpha/");
    let file = format!("{base}/alpha/alpha-1.0-py3-none-any.whl");
    let requirements = format!("{base}/requirements.txt");
    let repository = format!("alpha @ git+{base}/alpha.git");
    [
        vec!["alpha", "--index-url", &index],
        vec!["alpha", "--no-index", "--find-links", &links],
        vec![&file, "--no-index"],
        vec![
            "-r",
            &requirements,
            "--no-index",
            "--find-links",
            "index/alpha",
        ],
        vec![&repository, "--no-index"],
    ]
    .map(|way| way.into_iter().map(str::to_owned).collect())
}

pub(crate) fn build(sandbox: &Sandbox, way: &[String], more: &[&str]) -> RunResult {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["build", "-o", "out", "--no-cache", "--retries", "0"]);
    sandbox
        .spawn({
            command.args(way).args(more);
            command
        })
        .finish()
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-tools")),
    ignore = "requires the test Python, curl, openssl, strace"
)]
fn trusts_given_self_signed_certificate() {
    let sandbox = Sandbox::new();
    let python = test_python();
    let server = self_signed(&sandbox, &python, "self.pem", "localhost");
    let base = format!("https://localhost:{}", server.port);
    for way in &requests_to(&base)[..4] {
        let run = build(&sandbox, way, &[]);
        run.assert_exit(4).assert_error_names(&[
            &base,
            "self-signed",
            "`--cert FILE`",
            "--trusted-host",
        ]);
        build(&sandbox, way, &["--cert", "self.pem"]).assert_success();
        let host = format!("localhost:{}", server.port);
        build(&sandbox, way, &["--trusted-host", &host]).assert_success();
    }
    let git = &requests_to(&base)[4];
    build(&sandbox, git, &[])
        .assert_exit(4)
        .assert_error_names(&["alpha.git", "certificate", "--cert FILE"]);
    // The certificate is trusted, but the repository does not exist.
    let run = build(&sandbox, git, &["--cert", "self.pem"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha.git", "not found"]);
    // The host name and the certificate itself are still checked.
    let other = self_signed(&sandbox, &python, "other.pem", "other.example");
    let base = format!("https://localhost:{}", other.port);
    for (certificate, cause) in [
        (
            "other.pem",
            "its certificate is for `other.example`, not for `localhost`",
        ),
        ("self.pem", "self-signed"),
    ] {
        let run = build(&sandbox, &requests_to(&base)[0], &["--cert", certificate]);
        run.assert_exit(4).assert_error_names(&[cause]);
    }
}

#[test]
fn unreachable_server_is_an_error_in_one_sentence() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Closing a connection with unread data resets it.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let servers = [
        (plain.as_str(), "it does not use TLS at this port", "http:"),
        (
            "https://nowhere.invalid",
            "its host cannot be looked up (DNS)",
            "--proxy",
        ),
        ("http://127.0.0.1:9", "the connection was refused", "is up"),
    ];
    for (base, cause, hint) in servers {
        for way in &requests_to(base)[..4] {
            let run = build(&sandbox, way, &[]);
            run.assert_exit(4).assert_error_names(&[base, cause, hint]);
            let lines = run.stderr.lines().filter(|line| line.contains(base));
            assert_eq!(lines.count(), 1, "{}", run.stderr);
        }
        let run = build(&sandbox, &requests_to(base)[4], &[]);
        run.assert_exit(4).assert_error_names(&[base, "Git says"]);
        assert!(!run.stderr.contains("git-v0"), "{}", run.stderr);
    }
}
