//! TLS: a private authority, HTTP/2 by ALPN, certificates that change, and clients that do not speak it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, build};
use crate::support::process::eventually;
use crate::support::services::{certificates, program_path, run};
use crate::support::{RunResult, Sandbox, Wheel, test_python, tree};

/// A server with the certificate of an authority in the directory `tls` of the sandbox.
struct TlsServer {
    server: Server,
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn start(sandbox: &Sandbox) -> TlsServer {
    build(
        sandbox,
        "out",
        &[
            Wheel::new("alpha", "1.0").requires("beta"),
            Wheel::new("beta", "1.0"),
        ],
    );
    let directory = sandbox.path("tls");
    std::fs::create_dir(&directory).unwrap();
    let [authority, certificate, key] = certificates(&directory);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "out",
        "--tls-cert",
        &path(&certificate),
        "--tls-key",
        &path(&key),
    ];
    TlsServer {
        server: Server::start(sandbox, &arguments),
        authority,
        certificate,
        key,
    }
}

impl TlsServer {
    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.server.port)
    }

    /// Returns whether a client that trusts `authority` alone gets a page.
    fn is_trusted_by(&self, authority: &Path) -> bool {
        let mut command = curl(authority);
        let output = command.arg(self.url("/simple/")).output().unwrap();
        output.status.success()
    }
}

/// Returns curl with `authority` as the only trusted one.
fn curl(authority: &Path) -> Command {
    let mut command = Command::new(program_path("curl"));
    command.args([
        "-q",
        "--silent",
        "--fail",
        "--output",
        "/dev/null",
        "--cacert",
    ]);
    command.arg(authority);
    command
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-tools")),
    ignore = "requires the test Python, curl, openssl, strace"
)]
fn installers_verify_certificate_of_private_authority() {
    let sandbox = Sandbox::new();
    let tls = start(&sandbox);
    let python = test_python();
    let pip = |cert: &[&str], dest: &str| -> RunResult {
        let mut pip = sandbox.command(python.to_str().unwrap());
        pip.args([
            "-m",
            "pip",
            "download",
            "-q",
            "--no-cache-dir",
            "--retries",
            "0",
            "--dest",
            dest,
        ]);
        pip.args(["--index-url", &tls.url("/simple/"), "alpha"])
            .args(cert);
        sandbox.spawn(pip).finish()
    };
    pip(&["--cert", tls.authority.to_str().unwrap()], "right").assert_success();
    assert_eq!(tree::wheels(&sandbox.path("right")).len(), 2);
    assert!(!pip(&[], "untrusted").status.success());

    let mut uv = sandbox.command(python.with_file_name("uv").to_str().unwrap());
    uv.args([
        "pip",
        "compile",
        "-q",
        "--no-cache",
        "--no-header",
        "-",
        "--index-url",
    ]);
    uv.arg(tls.url("/simple/"))
        .env("SSL_CERT_FILE", &tls.authority);
    let requirements = sandbox.write("requirements.in", "alpha\n");
    uv.arg(requirements);
    let resolved = sandbox.spawn(uv).finish();
    resolved
        .assert_success()
        .assert_stdout_contains(&["alpha==1.0", "beta==1.0"]);
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn negotiates_http2_and_rejects_old_tls() {
    let sandbox = Sandbox::new();
    let tls = start(&sandbox);
    for (options, version) in [
        (&["--http2"][..], "2"),
        (&["--http1.1"], "1.1"),
        (&["--tls-max", "1.2"], "2"),
    ] {
        let mut command = curl(&tls.authority);
        command
            .args(options)
            .args(["--write-out", "%{http_version}"]);
        assert_eq!(run(command.arg(tls.url("/simple/"))), version);
    }
    let mut command = curl(&tls.authority);
    command.args(["--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"]);
    assert!(
        !command
            .arg(tls.url("/simple/"))
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn reloads_certificate_and_keeps_the_last_valid_one() {
    let sandbox = Sandbox::new();
    let tls = start(&sandbox);
    assert!(tls.is_trusted_by(&tls.authority));
    let directory = sandbox.path("new");
    std::fs::create_dir(&directory).unwrap();
    let [authority, certificate, key] = certificates(&directory);
    assert!(!tls.is_trusted_by(&authority));
    // Renewed without a rename, as by `cp`: for a moment the files do not match.
    std::fs::copy(&certificate, &tls.certificate).unwrap();
    assert!(
        tls.is_trusted_by(&tls.authority),
        "the key is still the old one"
    );
    std::fs::copy(&key, &tls.key).unwrap();
    eventually("the new certificate", || tls.is_trusted_by(&authority));
    // The server keeps its certificate when a file becomes invalid; files are checked once a second.
    std::fs::write(&tls.certificate, "not a certificate\n").unwrap();
    assert!(tls.is_trusted_by(&authority));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(tls.is_trusted_by(&authority));
    std::fs::remove_file(&tls.key).unwrap();
    assert!(tls.is_trusted_by(&authority));
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn clients_without_tls_do_not_disturb_others() {
    let sandbox = Sandbox::new();
    let tls = start(&sandbox);
    let connect = || TcpStream::connect(("127.0.0.1", tls.server.port)).unwrap();
    // Connections that never begin a handshake.
    let idle: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    for bytes in [
        &b"GET /simple/ HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        &[0; 10_000],
    ] {
        let mut stream = connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        assert!(!received.starts_with(b"HTTP/1.1 200"));
        assert!(tls.is_trusted_by(&tls.authority));
    }
    drop(idle);
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn refuses_to_start_with_unusable_certificate() {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &[Wheel::new("alpha", "1.0")]);
    let [_, certificate, key] = certificates(&sandbox.path(""));
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap().to_owned());
    sandbox.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let serve = |arguments: &[&str]| {
        let common = ["serve", "out", "--bind", "127.0.0.1:0"];
        sandbox.wheelhouse(&[&common, arguments].concat())
    };
    for (arguments, word) in [
        (
            &["--tls-cert", "missing.pem", "--tls-key", &key][..],
            "missing.pem",
        ),
        (
            &["--tls-cert", "broken.pem", "--tls-key", &key],
            "broken.pem",
        ),
        (
            &["--tls-cert", &key, "--tls-key", &certificate],
            "server.key",
        ),
        (&["--tls-cert", &certificate], "--tls-key"),
        (&["--tls-key", &key], "--tls-cert"),
    ] {
        let result = serve(arguments);
        assert!(!result.status.success(), "{arguments:?}");
        result.assert_error_names(&[word]);
    }
}
