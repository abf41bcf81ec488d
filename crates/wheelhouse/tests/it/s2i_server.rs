//! The role `run` of a builder image, which serves the wheelhouse.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::builder_image::BuilderImage;
use crate::support::process::eventually;
use crate::support::{Sandbox, Wheel, foreign_files, test_python, tree};

/// Sends a request with an `Accept` header to `port` and returns the head and the body of the response.
fn request(port: u16, method: &str, path: &str, accept: &str) -> (String, Vec<u8>) {
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
fn serves_wheelhouse_until_signal() {
    let image = BuilderImage::new();
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
        let (head, body) = request(port, "GET", path, "*/*");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(kind) && !body.is_empty(), "{path}: {head}");
    }
    let json = "application/vnd.pypi.simple.v1+json";
    let (head, body) = request(port, "GET", "/simple/alpha/", json);
    assert!(head.contains(json) && body.starts_with(b"{"), "{head}");
    let (_, body) = request(port, "GET", "/alpha-1.0-py3-none-any.whl", "*/*");
    assert_eq!(body, wheel.bytes());
    let (head, body) = request(port, "HEAD", "/alpha-1.0-py3-none-any.whl", "*/*");
    assert!(
        head.contains(&format!("content-length: {}", wheel.bytes().len())) && body.is_empty(),
        "{head}"
    );
    assert!(
        request(port, "POST", "/", "*/*")
            .0
            .starts_with("http/1.1 405")
    );
    for path in [
        "/nothing.whl",
        "/../src/requirements.txt",
        "/..%2fsrc/requirements.txt",
        "/simple/beta/",
    ] {
        assert!(
            request(port, "GET", path, "*/*")
                .0
                .starts_with("http/1.1 404"),
            "{path}"
        );
    }
    // An idle connection does not delay the shutdown.
    let _idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(!running.is_over());
    running.signal(Signal::TERM);
    let begun = std::time::Instant::now();
    running.finish().assert_success();
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

#[test]
fn serves_only_files_of_wheelhouse() {
    let image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.index.add(&Wheel::new("beta", "1.0"));
    image.upload("requirements.txt", "alpha\nbeta\n");
    image.assemble().assert_success();
    foreign_files::add_to(&image.wheelhouse(), &image.sandbox);
    let mut running = image
        .sandbox
        .spawn(image.command(&["run", "--bind", "127.0.0.1:0"]));
    let port = port_of(&image.sandbox);
    for path in foreign_files::PATHS {
        let (head, body) = request(port, "GET", path, "*/*");
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
        assert_eq!(body, b"not found\n", "{path}");
    }
    for path in [
        "/wheelhouse.json",
        "/simple/beta/",
        "/beta-1.0-py3-none-any.whl",
        "/beta-1.0-py3-none-any.whl.metadata",
    ] {
        let (head, _) = request(port, "GET", path, "*/*");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
    }
    // Pages are rendered from the manifest, whatever is in `simple`.
    let (_, page) = request(port, "GET", "/simple/alpha/", "*/*");
    assert!(String::from_utf8(page).unwrap().contains("alpha-1.0"));
    let (_, links) = request(port, "GET", "/", "*/*");
    let links = String::from_utf8(links).unwrap();
    assert!(
        links.contains("beta-1.0") && !links.contains("other-1.0"),
        "{links}"
    );
    running.kill();
}

#[test]
fn serves_clients_in_turn_when_descriptors_are_scarce() {
    let image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    image.upload("requirements.txt", "alpha\n");
    image.assemble().assert_success();
    let serve = image.command(&["run", "--bind", "127.0.0.1:0"]);
    let mut command = image.sandbox.command("sh");
    command.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.envs(
        serve
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    if let Some(directory) = serve.get_current_dir() {
        command.current_dir(directory);
    }
    let mut running = image.sandbox.spawn(command);
    let port = port_of(&image.sandbox);
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut clients: Vec<TcpStream> = (0..60).map(|_| connect()).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut first = clients.remove(0);
    let wheel = b"GET /alpha-1.0-py3-none-any.whl HTTP/1.1\r\nHost: a\r\n\r\n";
    first.write_all(wheel).unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut last = clients.pop().unwrap();
    last.write_all(wheel).unwrap();
    drop((first, clients));
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    running.kill();
}

/// Waits for the address that the server prints and returns its port.
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
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn pip_installs_from_the_server() {
    let python = test_python();
    let image = BuilderImage::new();
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
