//! Blobs: the one writer through which every blob of an image goes.
//!
//! Responsible for digest and length. Never knows where the bytes go.

use std::io::{self, Write};

use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use serde::{Deserialize, Serialize};
use wheelhouse_types::Sha256;

use wheelhouse_fs::digest::Digester;
use wheelhouse_fs::interruption;

/// What identifies a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

impl Blob {
    /// Digests `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Sha256::of(bytes),
            size: bytes.len() as u64,
        }
    }

    /// The digest as OCI writes it, `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    /// The descriptor (OCI image specification) of the blob as content of `media_type`.
    ///
    /// # Panics
    /// Never: what is required is given.
    #[must_use]
    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        let digest: oci_spec::image::Digest = self.digest().parse().expect("a SHA-256 is a digest");
        DescriptorBuilder::default()
            .media_type(media_type)
            .size(self.size)
            .digest(digest)
            .build()
            .expect("a descriptor needs no more")
    }
}

/// Passes bytes on, and digests and counts them.
pub struct BlobWriter<W> {
    inner: W,
    digester: Digester,
}

impl<W: Write> BlobWriter<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            digester: Digester::default(),
        }
    }

    /// Ends the blob: what the bytes went to, and what they are.
    pub fn finish(self) -> (W, Blob) {
        let digests = self.digester.finish();
        let blob = Blob {
            sha256: digests.sha256,
            size: digests.length,
        };
        (self.inner, blob)
    }
}

impl<W: Write> Write for BlobWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        interruption::check_io()?;
        let written = self.inner.write(bytes)?;
        self.digester.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_written_bytes() {
        let mut writer = BlobWriter::new(Vec::new());
        writer.write_all(b"whe").unwrap();
        writer.write_all(b"el").unwrap();
        let (bytes, blob) = writer.finish();
        assert_eq!(bytes, b"wheel");
        assert_eq!(blob, Blob::of(b"wheel"));
        assert!(blob.digest().starts_with("sha256:"));
    }
}
