//! Archives for tests, valid and malicious.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wheelhouse_types::Sha256;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Returns the `RECORD` of a wheel with `files`.
pub fn record(files: &[(String, Vec<u8>)], dist_info: &str) -> String {
    let mut record = String::new();
    for (name, content) in files {
        let digest = URL_SAFE_NO_PAD.encode(hex::decode(Sha256::of(content).to_string()).unwrap());
        let _ = writeln!(record, "{name},sha256={digest},{}", content.len());
    }
    record + dist_info + "/RECORD,,\n"
}

/// Creates a zip file.
pub fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
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

/// Replaces every `from` in `bytes` by `to`, which has the same length, for names that no writer accepts.
pub fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// A member of a tar archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: tar::EntryType,
    /// The target of a link.
    pub target: String,
    /// The content of a file.
    pub content: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
}

impl Member {
    /// Creates a regular file.
    pub fn file(name: &str, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            kind: tar::EntryType::Regular,
            target: String::new(),
            content: content.as_ref().to_vec(),
            mode: 0o644,
        }
    }

    /// Creates a symbolic link.
    pub fn link(name: &str, target: &str) -> Self {
        Self {
            kind: tar::EntryType::Symlink,
            target: target.to_owned(),
            ..Self::file(name, "")
        }
    }

    /// Creates a hard link.
    pub fn hard_link(name: &str, target: &str) -> Self {
        Self {
            kind: tar::EntryType::Link,
            ..Self::link(name, target)
        }
    }

    /// Creates a member of another type.
    pub fn special(name: &str, kind: tar::EntryType) -> Self {
        Self {
            kind,
            ..Self::file(name, "")
        }
    }
}

/// Creates a tar archive. Writes names and targets, of at most 100 bytes, unchanged.
pub fn tar(members: &[Member]) -> Vec<u8> {
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

/// Compresses bytes by gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
