//! `oci-archive:` and `docker-archive:`: tar archives of whole images.

mod reader;
mod writer;

pub use reader::ArchiveReader;
pub use writer::ArchiveWriter;

/// Which archive it is.
#[derive(Clone, Debug)]
pub enum ArchiveFormat {
    /// An image layout, with this tag.
    Layout(Option<String>),
    /// What `docker save` writes, with this name.
    Docker(Option<String>),
}
