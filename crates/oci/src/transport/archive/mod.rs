//! The transports `oci-archive:` and `docker-archive:`: tar archives of whole images.

mod format;
mod reader;
mod writer;

pub use format::ArchiveFormat;
pub use reader::ArchiveReader;
pub use writer::ArchiveWriter;
