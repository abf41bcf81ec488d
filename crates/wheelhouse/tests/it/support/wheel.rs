//! Wheels as bytes: right ones, and those with every mistake that the tests need.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pure wheel in the making.
#[derive(Clone)]
pub(crate) struct Wheel {
    name: String,
    version: String,
    /// What METADATA says, where that is to be something else.
    metadata: Option<String>,
    requires: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    record: Option<String>,
}

impl Wheel {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            metadata: None,
            requires: Vec::new(),
            files: vec![(
                format!("{name}.py"),
                format!("VERSION = '{version}'\n").into_bytes(),
            )],
            record: None,
        }
    }

    pub(crate) fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.to_owned());
        self
    }

    pub(crate) fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Adds so many bytes that cannot be compressed.
    pub(crate) fn padded(self, length: usize) -> Self {
        let name = format!("{}.bin", self.name);
        let noise = super::noise(length, 7 + length as u64);
        self.file(&name, noise)
    }

    pub(crate) fn metadata(mut self, metadata: &str) -> Self {
        self.metadata = Some(metadata.to_owned());
        self
    }

    pub(crate) fn record(mut self, record: &str) -> Self {
        self.record = Some(record.to_owned());
        self
    }

    pub(crate) fn filename(&self) -> String {
        format!("{}-{}-py3-none-any.whl", self.name, self.version)
    }

    pub(crate) fn metadata_text(&self) -> String {
        self.metadata.clone().unwrap_or_else(|| {
            let mut text = format!(
                "Metadata-Version: 2.1\nName: {}\nVersion: {}\n",
                self.name, self.version
            );
            for requirement in &self.requires {
                let _ = writeln!(text, "Requires-Dist: {requirement}");
            }
            text
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let dist_info = format!("{}-{}.dist-info", self.name, self.version);
        let mut files = self.files.clone();
        let description =
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        files.push((
            format!("{dist_info}/METADATA"),
            self.metadata_text().into_bytes(),
        ));
        files.push((format!("{dist_info}/WHEEL"), description.into()));
        let mut record = String::new();
        for (name, content) in &files {
            let digest = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(content));
            let _ = writeln!(record, "{name},sha256={digest},{}", content.len());
        }
        let _ = writeln!(record, "{dist_info}/RECORD,,");
        let record = self.record.clone().unwrap_or(record);
        files.push((format!("{dist_info}/RECORD"), record.into_bytes()));
        zip(&files)
    }
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .unix_permissions(0o644)
        .compression_method(CompressionMethod::Deflated);
    for (name, content) in files {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Replaces every `from` in `bytes` by `to` of the same length: names that no writer would take.
pub(crate) fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
    bytes
}
