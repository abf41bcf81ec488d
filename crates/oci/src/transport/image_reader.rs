//! The interface of the sources of images, and the selection of an image. Sizes are limited and digests are verified
//! here.

use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;
use wheelhouse_fs::digest::Digester;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use crate::image::blob::Blob;

/// The maximum size of a manifest, an index or a configuration, in bytes. Registries have the same limit.
pub const MAX_DOCUMENT_SIZE: u64 = 4 << 20;

/// Reads an image from a source. Methods may block on the network and must not be called on threads of the runtime.
pub trait ImageReader: Send + Sync {
    /// Returns the name of the image for messages.
    fn name(&self) -> String;

    /// Reads the manifest or index of the image, and verifies its digest.
    ///
    /// # Errors
    /// [`Kind::Fetch`] if it does not exist or cannot be read.
    fn root(&self) -> Result<Vec<u8>>;

    /// Opens the blob of a descriptor without verifying its digest.
    ///
    /// # Errors
    /// As [`ImageReader::root`].
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// Opens the manifest of a descriptor without verifying its digest.
    ///
    /// # Errors
    /// As [`ImageReader::root`].
    fn open_manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.open(descriptor)
    }
}

impl dyn ImageReader + '_ {
    /// Opens the blob of a descriptor. The reader fails at the end if size or digest differ from the descriptor.
    ///
    /// # Errors
    /// As [`ImageReader::root`].
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(verify_blob(self.open(descriptor)?, descriptor))
    }

    pub(crate) fn read_document(
        &self,
        descriptor: &Descriptor,
        what: &str,
        opened: Box<dyn Read + Send>,
    ) -> Result<Vec<u8>> {
        let failed = || format!("failed to read the {what} of {}", self.name());
        if descriptor.size() > MAX_DOCUMENT_SIZE {
            let message = format!(
                "{}: it is too large ({} bytes)",
                failed(),
                descriptor.size()
            );
            return Err(Error::new(Kind::Fetch, message));
        }
        let mut bytes = Vec::new();
        verify_blob(opened, descriptor)
            .read_to_end(&mut bytes)
            .context(Kind::Fetch, failed)?;
        Ok(bytes)
    }
}

/// An image for one platform.
#[derive(Clone)]
pub struct SourceImage {
    /// The source of the image.
    pub source: Arc<dyn ImageReader>,
    /// The digest of its manifest.
    pub digest: String,
    /// The configuration.
    pub config: Value,
    /// The descriptors of the layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// Finds the image for `architecture` (as Go names it) in `source`. The default is the architecture of this machine.
///
/// # Errors
/// [`Kind::Fetch`] if the image cannot be read; [`Kind::Input`] if there is none for the architecture.
pub fn find_image(source: Arc<dyn ImageReader>, architecture: Option<&str>) -> Result<SourceImage> {
    let bytes = source.root()?;
    match index(&bytes, &*source)? {
        Some(index) => {
            let descriptor = select_platform(&index, architecture, &source.name())?;
            image_from_descriptor(source, &descriptor)
        }
        None => image_from_manifest(source, &bytes),
    }
}

/// Reads the image of a descriptor of an index.
///
/// # Errors
/// [`Kind::Fetch`] if it cannot be read.
pub(crate) fn image_from_descriptor(
    source: Arc<dyn ImageReader>,
    descriptor: &Descriptor,
) -> Result<SourceImage> {
    let opened = source.open_manifest(descriptor)?;
    let bytes = source.read_document(descriptor, "manifest", opened)?;
    image_from_manifest(source, &bytes)
}

/// Reads the image of the manifest in `bytes`.
///
/// # Errors
/// [`Kind::Fetch`] if it cannot be read.
pub(crate) fn image_from_manifest(
    source: Arc<dyn ImageReader>,
    bytes: &[u8],
) -> Result<SourceImage> {
    let manifest: ImageManifest = parse(bytes, &*source, "manifest")?;
    let count = manifest.layers().len();
    if count > limits::LAYERS {
        let (name, most) = (source.name(), limits::LAYERS);
        let message = format!("{name} has {count} layers; the limit is {most}");
        return Err(Error::new(Kind::Fetch, message));
    }
    let opened = source.open(manifest.config())?;
    let config = source.read_document(manifest.config(), "configuration", opened)?;
    Ok(SourceImage {
        config: parse(&config, &*source, "configuration")?,
        digest: Blob::of(bytes).digest(),
        layers: manifest.layers().clone(),
        source,
    })
}

/// Parses the index in `bytes`, or returns `None` if they are a manifest.
pub(crate) fn index(bytes: &[u8], source: &dyn ImageReader) -> Result<Option<ImageIndex>> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let is_index = value["manifests"].is_array();
    is_index.then(|| parse(bytes, source, "index")).transpose()
}

pub(crate) fn parse<Document: serde::de::DeserializeOwned>(
    bytes: &[u8],
    source: &dyn ImageReader,
    what: &str,
) -> Result<Document> {
    serde_json::from_slice(bytes).context(Kind::Fetch, || {
        format!("failed to read the {what} of {}", source.name())
    })
}

/// Selects the image of `index` for an architecture.
pub(crate) fn select_platform(
    index: &ImageIndex,
    architecture: Option<&str>,
    name: &str,
) -> Result<Descriptor> {
    let named = |descriptor: &Descriptor| {
        descriptor
            .platform()
            .as_ref()
            .map(|platform| platform.architecture().to_string())
    };
    let manifests = index.manifests();
    let native = crate::image::platform::native_architecture();
    let found = manifests
        .iter()
        .find(|descriptor| named(descriptor).as_deref() == Some(architecture.unwrap_or(native)));
    match (found, &manifests[..]) {
        (Some(descriptor), _) => Ok(descriptor.clone()),
        (None, [only]) if architecture.is_none() => Ok(only.clone()),
        _ => {
            let available: Vec<_> = manifests.iter().filter_map(named).collect();
            let message = format!("{name} has no image for {}", architecture.unwrap_or(native));
            let hint = format!(
                "Select an available architecture with --arch of `extract` and `inspect`: {}.",
                available.join(", ")
            );
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
    }
}

/// Wraps `reader` so that it fails at its end if size or digest differ from `descriptor`.
pub(crate) fn verify_blob(
    reader: Box<dyn Read + Send>,
    descriptor: &Descriptor,
) -> Box<dyn Read + Send> {
    Box::new(CheckedReader {
        // One more byte, so that a longer blob is detected.
        inner: reader.take(descriptor.size().saturating_add(1)),
        digester: Some(Digester::default()),
        size: 0,
        expected_size: descriptor.size(),
        digest: descriptor.digest().to_string(),
    })
}

struct CheckedReader {
    inner: io::Take<Box<dyn Read + Send>>,
    /// `None` after the end was reached.
    digester: Option<Digester>,
    size: u64,
    expected_size: u64,
    digest: String,
}

impl Read for CheckedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        self.size += count as u64;
        if self.size > self.expected_size {
            return Err(self.fault("is longer than its descriptor says"));
        }
        if count == 0
            && !buffer.is_empty()
            && let Some(digester) = self.digester.take()
        {
            if self.size < self.expected_size {
                return Err(self.fault("is cut short"));
            }
            if format!("sha256:{}", digester.finish().sha256) != self.digest {
                return Err(self.fault("has another digest"));
            }
        }
        Ok(count)
    }
}

impl CheckedReader {
    fn fault(&self, what: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the blob {} {what}", self.digest),
        )
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::MediaType;

    use super::*;

    fn read(bytes: &'static [u8], descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        let mut read = Vec::new();
        let outcome = verify_blob(Box::new(bytes), descriptor).read_to_end(&mut read);
        outcome.map(|_| read).map_err(|error| error.to_string())
    }

    #[test]
    fn rejects_blob_that_differs_from_descriptor() {
        let descriptor = Blob::of(b"wheel").descriptor(MediaType::ImageLayer);
        assert_eq!(read(b"wheel", &descriptor).unwrap(), b"wheel");
        assert!(
            read(b"whee", &descriptor)
                .unwrap_err()
                .contains("cut short")
        );
        assert!(read(b"wheels", &descriptor).unwrap_err().contains("longer"));
        assert!(
            read(b"wheal", &descriptor)
                .unwrap_err()
                .contains("another digest")
        );
    }
}
