//! Sources of the bytes of blobs, which can be read repeatedly.

use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;
use oci_spec::image::Descriptor;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::blob::{Blob, BlobWriter};
use crate::image::layer::Layer;
use crate::transport::image_reader::ImageReader;
use wheelhouse_archive::tarball;

/// The source of the bytes of a blob.
#[derive(Clone)]
pub enum BlobSource {
    /// A layer, which is generated.
    Layer(Layer),
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A file.
    File(PathBuf),
    /// A blob of another image.
    Image(Arc<dyn ImageReader>, Box<Descriptor>),
    /// The decompressed content of a blob of another image.
    Decompressed(Arc<dyn ImageReader>, Box<Descriptor>),
}

impl BlobSource {
    /// Returns the source of the decompressed content, if this is a blob of another image.
    #[must_use]
    pub fn decompressed(self) -> Self {
        match self {
            Self::Image(source, descriptor) => Self::Decompressed(source, descriptor),
            other => other,
        }
    }

    /// Writes all bytes, and fails at the end if their digest or size differs from `blob`.
    ///
    /// # Errors
    /// As [`BlobSource::write`], and [`Kind::Verification`] that names the file that has changed.
    pub fn write_as(&self, blob: &Blob, out: &mut dyn Write) -> Result<()> {
        let mut writer = BlobWriter::new(out);
        self.write(&mut writer)?;
        if writer.finish().1 == *blob {
            return Ok(());
        }
        if let Self::Layer(layer) = self {
            layer.write(&mut io::sink())?;
        }
        let message = format!(
            "the blob {} has changed since its digest was computed",
            blob.digest()
        );
        Err(Error::new(Kind::Verification, message).with_hint("Run the same command again."))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Fails if a file or an image cannot be read or has changed, or if `out` cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let failed = || "failed to write a blob".to_owned();
        match self {
            Self::Layer(layer) => layer.write_stored(out),
            Self::Bytes(bytes) => out.write_all(bytes).context(Kind::Publish, failed),
            Self::File(path) => {
                let mut file = File::open(path).context(Kind::Publish, failed)?;
                io::copy(&mut file, out)
                    .map(drop)
                    .context(Kind::Publish, failed)
            }
            Self::Image(source, descriptor) => {
                let mut blob = source.blob(descriptor)?;
                io::copy(&mut blob, out)
                    .map(drop)
                    .context(Kind::Publish, failed)
            }
            Self::Decompressed(source, descriptor) => {
                let blob = BufReader::new(source.blob(descriptor)?);
                tarball::decompress(blob)
                    .and_then(|mut inflated| io::copy(&mut inflated, out))
                    .map(drop)
                    .context(Kind::Publish, failed)
            }
        }
    }
}
