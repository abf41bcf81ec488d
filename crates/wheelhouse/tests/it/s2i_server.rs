//! The role `run` of a builder image: clients that ask for what is there, and for what is not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::image::Image;
use crate::support::process::eventually;
use crate::support::{Sandbox, Wheel, test_python, tree};

/// Asks `port` for `path` as one who accepts `accept`: the head and the body.
fn ask(port: u16, method: &str, path: &str, accept: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    (
        String::from_utf8_lossy(&answer[..end]).to_lowercase(),
        answer[end + 4..].to_vec(),
    )
}

#[test]
fn a_wheelhouse_is_served_until_a_signal_comes() {
    let image = Image::new();
    let wheel = Wheel::new("alpha", "1.0").padded(300_000);
    image.index.add(&wheel);
    image.upload("requirements.txt", "alpha\n");
    image.assemble().assert_success();
    let mut running = image
        .sandbox
        .spawn(image.command(&["run", "--bind", "127.0.0.1:0"]));
    let port = port_of(&image.sandbox);
    for (path, kind) in [
        ("/", "text/html"),
        ("/simple/", "text/html"),
        ("/simple/alpha/", "text/html"),
        ("/health", "text/plain"),
    ] {
        let (head, body) = ask(port, "GET", path, "*/*");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(kind) && !body.is_empty(), "{path}: {head}");
    }
    let json = "application/vnd.pypi.simple.v1+json";
    let (head, body) = ask(port, "GET", "/simple/alpha/", json);
    assert!(head.contains(json) && body.starts_with(b"{"), "{head}");
    let (_, body) = ask(port, "GET", "/alpha-1.0-py3-none-any.whl", "*/*");
    assert_eq!(body, wheel.bytes());
    let (head, body) = ask(port, "HEAD", "/alpha-1.0-py3-none-any.whl", "*/*");
    assert!(
        head.contains(&format!("content-length: {}", wheel.bytes().len())) && body.is_empty(),
        "{head}"
    );
    assert!(ask(port, "POST", "/", "*/*").0.starts_with("http/1.1 405"));
    for path in [
        "/nothing.whl",
        "/../src/requirements.txt",
        "/..%2fsrc/requirements.txt",
        "/simple/beta/",
    ] {
        assert!(
            ask(port, "GET", path, "*/*").0.starts_with("http/1.1 404"),
            "{path}"
        );
    }
    // One connection is open and idle, which delays nothing.
    let _idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(!running.is_over());
    running.signal(Signal::TERM);
    let begun = std::time::Instant::now();
    running.finish().assert_success();
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

/// Waits for the address that the server tells.
fn port_of(sandbox: &Sandbox) -> u16 {
    let address = || {
        let files = std::fs::read_dir(sandbox.path("")).unwrap();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
        let port = |text: String| {
            let address = text.split_once("127.0.0.1:")?.1;
            address.split('/').next()?.parse().ok()
        };
        texts
            .filter(|text| text.starts_with("Serving"))
            .find_map(port)
    };
    eventually("the server's address", || address().is_some());
    address().unwrap()
}

#[test]
fn pip_installs_from_the_server() {
    let Some(python) = test_python() else { return };
    let image = Image::new();
    image
        .index
        .add(&Wheel::new("alpha", "1.0").requires("beta"));
    image.index.add(&Wheel::new("beta", "1.0"));
    image.upload("requirements.txt", "alpha\n");
    image.assemble().assert_success();
    let mut running = image
        .sandbox
        .spawn(image.command(&["run", "--bind", "127.0.0.1:0"]));
    let server = format!("http://127.0.0.1:{}/", port_of(&image.sandbox));
    let index = ["--index-url".to_owned(), format!("{server}simple/")];
    let links = ["--no-index".to_owned(), format!("--find-links={server}")];
    for (place, arguments) in [("by-index", index), ("by-links", links)] {
        let mut pip = image.sandbox.command(python.to_str().unwrap());
        pip.env_remove("PIP_INDEX_URL")
            .args(["-m", "pip", "download", "-q", "--dest", place, "alpha"]);
        let finished = image
            .sandbox
            .spawn({
                pip.args(arguments);
                pip
            })
            .finish();
        finished.assert_success();
        assert_eq!(tree::wheels(&image.sandbox.path(place)).len(), 2);
    }
    running.kill();
}
