//! The transport `oci:`, a directory with an OCI image layout.

mod format;
mod reader;
mod writer;

pub(crate) use format::{INDEX_NAME, LAYOUT, LAYOUT_NAME};
pub use reader::LayoutReader;
pub(crate) use reader::{blob_path, read_root};
pub use writer::LayoutWriter;
pub(crate) use writer::{file_permissions, updated_index};
