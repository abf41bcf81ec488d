//! The interface of what an image is written to: a directory, an archive, a daemon.

use std::io::Write;

use wheelhouse_types::Result;

use crate::image::blob::Blob;
use crate::image::image_set::ImageSet;

/// Where layers go while they are digested.
pub trait ImageWriter: Send + Sync {
    /// Whether it takes layers as plain archives, as docker does, and not as they are stored.
    fn wants_plain(&self) -> bool;

    /// Prepares for layers of these sizes, in bytes.
    ///
    /// # Errors
    /// [`Kind::Publish`], when the place cannot be written.
    fn begin(&mut self, sizes: &[u64]) -> Result<()>;

    /// A place for the layer of this index.
    ///
    /// # Errors
    /// As [`ImageWriter::begin`].
    fn open(&self, index: usize) -> Result<Box<dyn BlobOutput + '_>>;

    /// Writes the documents, the one that names all others last.
    ///
    /// # Errors
    /// As [`ImageWriter::begin`].
    fn finish(self: Box<Self>, composed: &ImageSet) -> Result<()>;
}

/// A layer on its way to one destination.
pub trait BlobOutput: Write {
    /// Gives what was written its name.
    ///
    /// # Errors
    /// [`Kind::Publish`], when the place cannot be written.
    fn commit(self: Box<Self>, blob: &Blob) -> Result<()>;
}
