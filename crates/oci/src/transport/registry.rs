//! Reads images from `docker://`, a registry.

use std::io::Read;

use oci_spec::image::Descriptor;
use tokio::runtime::Handle;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::blob::Blob;
use crate::registry::Registry;
use crate::transport::image_reader::ImageReader;

/// An image in a registry.
pub struct RegistryReader {
    /// The client of the repository.
    pub registry: Registry,
    /// The runtime of the requests.
    pub handle: Handle,
}

impl ImageReader for RegistryReader {
    fn name(&self) -> String {
        format!("docker://{}", self.registry.reference())
    }

    fn root(&self) -> Result<Vec<u8>> {
        let reference = self.registry.reference();
        let tag_or_digest = reference.digest().or(reference.tag()).unwrap_or("latest");
        let bytes = self
            .handle
            .block_on(self.registry.document(tag_or_digest))?;
        let digest = Blob::of(&bytes).digest();
        match reference.digest() {
            Some(expected) if expected != digest => {
                let message = format!("{} has another digest, {digest}", self.name());
                Err(Error::new(Kind::Fetch, message))
            }
            _ => Ok(bytes),
        }
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let digest = descriptor.digest().to_string();
        Ok(Box::new(self.registry.blob(&digest, &self.handle)))
    }

    fn open_manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let digest = descriptor.digest().to_string();
        let bytes = self.handle.block_on(self.registry.document(&digest))?;
        Ok(Box::new(std::io::Cursor::new(bytes)))
    }
}
