//! The end of a server: it drains after SIGTERM and ends within a limit.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::http::head;
use super::{Server, build};
use crate::support::process::eventually;
use crate::support::{Sandbox, Wheel};

/// A wheel that is larger than the buffers of sockets.
fn large() -> Wheel {
    Wheel::new("alpha", "1.0").padded(30_000_000)
}

#[test]
fn sigterm_finishes_transfers_and_refuses_connections() {
    let sandbox = Sandbox::new();
    let wheel = large();
    build(&sandbox, "out", std::slice::from_ref(&wheel));
    let server = Server::start(&sandbox, &["out"]);
    let port = server.port;
    let idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut kept = server.connect();
    assert_eq!(kept.request("GET", "/healthz", &[]).status, 200);
    let transfer = server.connect();
    transfer.send(&head("GET", &format!("/{}", wheel.filename()), &[]));
    let mut first = [0; 100];
    transfer.stream().read_exact(&mut first).unwrap();
    server.process().signal(rustix::process::Signal::TERM);
    eventually("the end of the listener", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(kept.is_closed(), "an idle connection is kept");
    drop(idle);
    let mut rest = Vec::new();
    transfer.stream().read_to_end(&mut rest).unwrap();
    let received = [&first[..], &rest].concat();
    assert!(
        received.ends_with(&wheel.bytes()),
        "{} bytes",
        received.len()
    );
    server.stop().assert_success();
}

#[test]
fn sigterm_ends_server_despite_client_that_does_not_read() {
    let sandbox = Sandbox::new();
    let wheel = large();
    build(&sandbox, "out", std::slice::from_ref(&wheel));
    let server = Server::start(&sandbox, &["out", "--shutdown-timeout", "1"]);
    let stuck = server.connect();
    stuck.send(&head("GET", &format!("/{}", wheel.filename()), &[]));
    let mut half = server.connect();
    half.send(b"GET /simple/ HTTP/1.1\r\nHost:");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    server.stop();
    let elapsed = begun.elapsed();
    assert!(
        elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(4),
        "{elapsed:?}"
    );
    assert!(half.is_closed());
}

#[test]
fn idle_server_ends_at_once_on_both_signals() {
    use rustix::process::Signal;
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&sandbox, &["out"]);
        let _idle = server.connect();
        let mut kept = server.connect();
        assert_eq!(kept.request("GET", "/simple/", &[]).status, 200);
        let begun = Instant::now();
        server.process().signal(signal);
        while !server.is_over() {
            assert!(begun.elapsed() < Duration::from_secs(3), "{signal:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn second_server_reports_address_in_use() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let server = Server::start(&sandbox, &["out"]);
    let address = format!("127.0.0.1:{}", server.port);
    let result = sandbox.wheelhouse(&["serve", "out", "--bind", &address]);
    assert!(!result.status.success());
    result.assert_error_names(&[&address]);
    let result = sandbox.wheelhouse(&["serve", "nowhere", "--bind", "127.0.0.1:0"]);
    assert!(!result.status.success());
    result.assert_error_names(&["nowhere"]);
}
