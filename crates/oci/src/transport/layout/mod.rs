//! `oci:`, a directory (OCI image layout).

mod reader;
mod writer;

pub use reader::LayoutReader;
pub(crate) use reader::{blob_path, root};
pub use writer::LayoutWriter;
pub(crate) use writer::{index, mode};

pub(crate) const LAYOUT_NAME: &str = "oci-layout";
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX_NAME: &str = "index.json";
/// The annotation that holds the tag of an image in an index.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
