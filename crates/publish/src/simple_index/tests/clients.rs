//! Tests of the index with pip and uv, from `file:` URLs and from a plain web server.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use wheelhouse_types::manifest::{SCHEMA, Wheel};
use wheelhouse_types::{Manifest, Result};

use super::super::*;
use crate::directory::tests::support::wheel;
use crate::{DirectoryPublisher, FilePlacer, WheelhouseContents};
use wheelhouse_archive::testing::{METADATA, WHEEL_NAME, WheelSample};

struct SingleFilePlacer(Vec<u8>);

impl FilePlacer for SingleFilePlacer {
    fn place(&self, _sha256: &Sha256, destination: &Path) -> Result<()> {
        fs::write(destination, &self.0).unwrap();
        Ok(())
    }
}

/// Publishes one wheel with its index to a new directory, whose name requires encoding in a URL.
fn published() -> tempfile::TempDir {
    let bytes = WheelSample::new().bytes();
    let indexed = IndexedWheel {
        sha256: Sha256::of(&bytes),
        size: bytes.len() as u64,
        requires_python: Some(">=3.8".to_owned()),
        metadata: Some(Sha256::of(METADATA.as_bytes())),
        ..super::wheel(WHEEL_NAME, "example", "1.0")
    };
    let files = BTreeMap::from([(format!("{WHEEL_NAME}.metadata"), METADATA.into())]);
    let wheelhouse = WheelhouseContents {
        manifest: manifest(&indexed),
        files,
        has_index: true,
        placer: &SingleFilePlacer(bytes),
    };
    let directory = tempfile::Builder::new()
        .prefix("a wheel house")
        .tempdir()
        .unwrap();
    let publisher = DirectoryPublisher {
        directory: directory.path().to_owned(),
        overwrite: true,
    };
    publisher.publish(&wheelhouse).unwrap();
    directory
}

fn manifest(indexed: &IndexedWheel) -> Manifest {
    Manifest {
        schema: SCHEMA.to_owned(),
        generator: "test".to_owned(),
        wheels: vec![Wheel {
            name: indexed.name.to_string(),
            version: indexed.version.to_string(),
            sha256: indexed.sha256,
            size: indexed.size,
            requires_python: indexed.requires_python.clone(),
            ..wheel(&indexed.filename, "")
        }],
        ..Manifest::default()
    }
}

/// A static web server, stopped on drop.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn new(directory: &Path) -> Self {
        let mut process = Command::new("python3")
            .args([
                "-u",
                "-m",
                "http.server",
                "0",
                "--bind",
                "127.0.0.1",
                "--directory",
            ])
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let port = line
            .split_whitespace()
            .skip_while(|word| *word != "port")
            .nth(1)
            .unwrap();
        let url = format!("http://127.0.0.1:{port}/simple/");
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn file_url(directory: &Path) -> String {
    format!(
        "file://{}/simple",
        directory.display().to_string().replace(' ', "%20")
    )
}

/// Runs a client without the configuration of the current user, and asserts that it succeeds.
fn run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PIP_") || name.starts_with("UV_") || name.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    let output = command
        .env("PIP_CONFIG_FILE", "/dev/null")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
}

#[test]
fn pip_downloads_from_the_index() {
    let wheelhouse = published();
    let server = Server::new(wheelhouse.path());
    for url in [file_url(wheelhouse.path()), server.url.clone()] {
        let into = tempfile::tempdir().unwrap();
        run(Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--no-cache-dir",
                "--index-url",
                &url,
                "--dest",
            ])
            .arg(into.path())
            .arg("example==1.0"));
        assert!(into.path().join(WHEEL_NAME).exists());
    }
}

/// Returns the Python of the test environment, which has uv; `./test` creates it.
fn test_python() -> String {
    std::env::var("WHEELHOUSE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[test]
fn uv_installs_from_the_index() {
    let wheelhouse = published();
    let server = Server::new(wheelhouse.path());
    for url in [file_url(wheelhouse.path()), server.url.clone()] {
        let into = tempfile::tempdir().unwrap();
        run(Command::new(test_python())
            .args([
                "-m",
                "uv",
                "pip",
                "install",
                "--no-cache",
                "--no-config",
                "--index-url",
                &url,
                "--target",
            ])
            .arg(into.path())
            .arg("example==1.0"));
        assert!(into.path().join("example.py").exists());
    }
}
