//! Blobs: their digests and sizes, and a writer that computes both.

use std::io::{self, Write};

use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use serde::{Deserialize, Serialize};
use wheelhouse_types::Sha256;

use wheelhouse_fs::digest::Digester;
use wheelhouse_fs::interruption;

/// The digest and size of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The digest.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

impl Blob {
    /// Computes the digest and size of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Sha256::of(bytes),
            size: bytes.len() as u64,
        }
    }

    /// Returns the digest in the notation of OCI, `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    /// Creates the descriptor (OCI image specification) of the blob with `media_type`.
    ///
    /// # Panics
    /// Does not panic: all required fields are set.
    #[must_use]
    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        let digest: oci_spec::image::Digest =
            self.digest().parse().expect("a SHA-256 digest is valid");
        DescriptorBuilder::default()
            .media_type(media_type)
            .size(self.size)
            .digest(digest)
            .build()
            .expect("all required fields are set")
    }
}

/// Forwards bytes to another writer, and computes their digest and size.
pub struct BlobWriter<W> {
    inner: W,
    digester: Digester,
}

impl<W: Write> BlobWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            digester: Digester::default(),
        }
    }

    /// Returns the inner writer, and the digest and size of the written bytes.
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
