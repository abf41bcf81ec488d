//! The source `docker://`, a registry.

use std::io::Read;

use oci_spec::image::Descriptor;
use tokio::runtime::Handle;
use wheelhouse_types::{Error, Kind, Result};

use super::ImageReader;
use crate::image::blob::Blob;
use crate::registry::Registry;

/// An image of a registry.
pub struct RegistryReader {
    pub registry: Registry,
    /// Where requests are made.
    pub handle: Handle,
}

impl ImageReader for RegistryReader {
    fn name(&self) -> String {
        format!("docker://{}", self.registry.reference())
    }

    fn root(&self) -> Result<Vec<u8>> {
        let reference = self.registry.reference();
        let wanted = reference.digest().or(reference.tag()).unwrap_or("latest");
        let bytes = self.handle.block_on(self.registry.document(wanted))?;
        let digest = Blob::of(&bytes).digest();
        match reference.digest() {
            Some(wanted) if wanted != digest => {
                let message = format!("{} has the digest {digest}", self.name());
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
