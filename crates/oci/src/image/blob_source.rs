//! Where the bytes of a blob come from, as often as they are wanted.

use std::io::{self, BufReader, Write};
use std::sync::Arc;

use oci_spec::image::Descriptor;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::blob::{Blob, BlobWriter};
use crate::image::layer::Layer;
use crate::transport::ImageReader;
use wheelhouse_archive::tarball;

/// What makes the bytes of a blob.
#[derive(Clone)]
pub enum BlobSource {
    Layer(Layer),
    Bytes(Vec<u8>),
    /// A blob of another image.
    Foreign(Arc<dyn ImageReader>, Box<Descriptor>),
    /// The same, uncompressed.
    Inflated(Arc<dyn ImageReader>, Box<Descriptor>),
}

impl BlobSource {
    /// The same without its compression, if it is a blob of another image.
    #[must_use]
    pub fn inflated(self) -> Self {
        match self {
            Self::Foreign(source, descriptor) => Self::Inflated(source, descriptor),
            other => other,
        }
    }

    /// Writes all bytes, and fails at the end if they are not `blob`.
    ///
    /// # Errors
    /// As [`BlobSource::write`], and [`Kind::Verification`] that names what has changed.
    pub fn write_as(&self, blob: &Blob, out: &mut dyn Write) -> Result<()> {
        let mut writer = BlobWriter::new(out);
        self.write(&mut writer)?;
        if writer.finish().1 == *blob {
            return Ok(());
        }
        if let Self::Layer(layer) = self {
            layer.write(&mut io::sink())?;
        }
        let message = format!("the blob {} is not what it was", blob.digest());
        Err(Error::new(Kind::Verification, message).with_hint("Run the same command again."))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// A file or an image that cannot be read or is not what it was, and what `out` fails with.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let failed = || "a blob cannot be written".to_owned();
        match self {
            Self::Layer(layer) => layer.write_stored(out),
            Self::Bytes(bytes) => out.write_all(bytes).context(Kind::Publish, failed),
            Self::Foreign(source, descriptor) => {
                let mut blob = source.blob(descriptor)?;
                io::copy(&mut blob, out)
                    .map(drop)
                    .context(Kind::Publish, failed)
            }
            Self::Inflated(source, descriptor) => {
                let blob = BufReader::new(source.blob(descriptor)?);
                tarball::decompress(blob)
                    .and_then(|mut inflated| io::copy(&mut inflated, out))
                    .map(drop)
                    .context(Kind::Publish, failed)
            }
        }
    }
}
