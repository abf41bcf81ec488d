//! Images of wheelhouses: the files of their layers, the layers, and the documents that describe them.

pub mod blob;
pub mod blob_source;
pub mod builder;
pub mod contents;
pub mod image_set;
pub mod layer;
pub mod layer_plan;
pub mod layer_writer;
pub mod manifest;
pub mod platform;
pub(crate) mod stored_gzip;
