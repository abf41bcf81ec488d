//! The formats of image archives.

/// The format of an image archive.
#[derive(Clone, Debug)]
pub enum ArchiveFormat {
    /// An OCI image layout, with the tag of the image.
    Layout(Option<String>),
    /// The format of `docker save`, with the name of the image.
    Docker(Option<String>),
}
