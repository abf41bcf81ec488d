//! The names of an OCI image layout.

pub(crate) const LAYOUT_NAME: &str = "oci-layout";
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX_NAME: &str = "index.json";

/// The annotation that holds the tag of an image in an index.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
