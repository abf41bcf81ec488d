//! The interface of local destinations of images: a directory, an archive, a daemon.

use std::io::Write;

use wheelhouse_types::Result;

use crate::image::blob::Blob;
use crate::image::image_set::ImageSet;

/// Writes an image to a destination. The layers are written while their digests are computed.
pub trait ImageWriter: Send + Sync {
    /// Returns whether the destination stores layers as plain tar archives, as docker does, instead of gzip.
    fn wants_plain(&self) -> bool;

    /// Prepares for layers of these sizes, in bytes.
    ///
    /// # Errors
    /// [`Kind::Publish`](wheelhouse_types::Kind::Publish) if the destination cannot be written.
    fn begin(&mut self, sizes: &[u64]) -> Result<()>;

    /// Opens the output of the layer with this index.
    ///
    /// # Errors
    /// As [`ImageWriter::begin`].
    fn open(&self, index: usize) -> Result<Box<dyn BlobOutput + '_>>;

    /// Writes the documents, and last the one that refers to all others.
    ///
    /// # Errors
    /// As [`ImageWriter::begin`].
    fn finish(self: Box<Self>, images: &ImageSet) -> Result<()>;
}

/// The output of a layer at one destination.
pub trait BlobOutput: Write {
    /// Stores the written bytes under the name of `blob`.
    ///
    /// # Errors
    /// [`Kind::Publish`](wheelhouse_types::Kind::Publish) if the destination cannot be written.
    fn commit(self: Box<Self>, blob: &Blob) -> Result<()>;
}
