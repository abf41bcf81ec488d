//! Wheels and archives for tests, honest and hostile, made by hand. Never used outside tests.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) const WHEEL_NAME: &str = "example-1.0-py3-none-any.whl";
pub(crate) const METADATA: &str =
    "Metadata-Version: 2.1\nName: Example\nVersion: 1.0\nRequires-Python: >=3.8\n\nText\n";
pub(crate) const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n";

/// A wheel in the making: file names and contents in order.
#[derive(Clone)]
pub(crate) struct WheelSample {
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl WheelSample {
    /// One module and a `dist-info` without `RECORD`.
    pub(crate) fn new() -> Self {
        let mut sample = Self { files: Vec::new() };
        sample.set("example.py", "print()\n");
        sample.set("example-1.0.dist-info/METADATA", METADATA);
        sample.set("example-1.0.dist-info/WHEEL", WHEEL);
        sample
    }

    pub(crate) fn set(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), content.into()));
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn record(&self) -> String {
        let mut record = String::new();
        for (name, content) in &self.files {
            let digest = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(content));
            let _ = writeln!(record, "{name},sha256={digest},{}", content.len());
        }
        record + "example-1.0.dist-info/RECORD,,\n"
    }

    /// The wheel with a right `RECORD`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut sample = self.clone();
        sample.set("example-1.0.dist-info/RECORD", self.record());
        zip(&sample.files)
    }
}

pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        if let Some(directory) = name.strip_suffix('/') {
            writer.add_directory(directory, options).unwrap();
            continue;
        }
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Replaces every `from` in `bytes` by `to`, which has the same length: names no writer would take.
pub(crate) fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// One member of a tar archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: tar::EntryType,
    pub(crate) target: String,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

impl Member {
    pub(crate) fn file(name: &str, content: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: tar::EntryType::Regular,
            target: String::new(),
            content: content.as_bytes().to_vec(),
            mode: 0o644,
        }
    }

    pub(crate) fn directory(name: &str) -> Self {
        Self {
            kind: tar::EntryType::Directory,
            ..Self::file(name, "")
        }
    }

    pub(crate) fn link(name: &str, target: &str) -> Self {
        Self {
            kind: tar::EntryType::Symlink,
            target: target.to_owned(),
            ..Self::file(name, "")
        }
    }

    pub(crate) fn hard_link(name: &str, target: &str) -> Self {
        Self {
            kind: tar::EntryType::Link,
            ..Self::link(name, target)
        }
    }

    pub(crate) fn special(name: &str, kind: tar::EntryType) -> Self {
        Self {
            kind,
            ..Self::file(name, "")
        }
    }
}

/// Writes headers as they are, with names and targets of at most 100 bytes.
pub(crate) fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let mut header = tar::Header::new_ustar();
        let raw = header.as_mut_bytes();
        raw[..member.name.len()].copy_from_slice(member.name.as_bytes());
        raw[157..157 + member.target.len()].copy_from_slice(member.target.as_bytes());
        header.set_entry_type(member.kind);
        header.set_size(member.content.len() as u64);
        header.set_mode(member.mode);
        header.set_mtime(1_500_000_000);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&member.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
