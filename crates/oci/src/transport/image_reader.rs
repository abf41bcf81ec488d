//! Images as they are found: documents and blobs by their digests, wherever they are.
//!
//! Responsible for reading no more than can be right, and for checking every digest. Never looks
//! into a layer.

use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde_json::Value;
use wheelhouse_fs::digest::Digester;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use crate::image::blob::Blob;

/// The most that a manifest, an index or a configuration may have, in bytes: what registries take.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// Where an image is read from. May wait for a network: not for threads that run tasks.
pub trait ImageReader: Send + Sync {
    /// The name of the image, for messages.
    fn name(&self) -> String;

    /// The manifest or index that the name of the image stands for, checked.
    ///
    /// # Errors
    /// [`Kind::Fetch`], when there is none or it cannot be read.
    fn root(&self) -> Result<Vec<u8>>;

    /// The blob of a descriptor, unchecked: see [`verify_blob`].
    ///
    /// # Errors
    /// As [`ImageReader::root`].
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// The manifest of a descriptor, unchecked.
    ///
    /// # Errors
    /// As [`ImageReader::root`].
    fn open_manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.open(descriptor)
    }
}

impl dyn ImageReader + '_ {
    /// The blob of a descriptor, which fails at its end unless it is what the descriptor says.
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
        let failed = || format!("the {what} of {} cannot be read", self.name());
        if descriptor.size() > LARGEST_DOCUMENT {
            let message = format!("{}: it has {} bytes", failed(), descriptor.size());
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
    pub source: Arc<dyn ImageReader>,
    /// The digest of its manifest.
    pub digest: String,
    pub config: Value,
    pub layers: Vec<Descriptor>,
}

/// Finds the image for `architecture` (as Go names it) in `source`: that of this machine unless it
/// is named.
///
/// # Errors
/// [`Kind::Fetch`], when it cannot be read; [`Kind::Input`], when there is none for the
/// architecture.
pub fn find_image(source: Arc<dyn ImageReader>, architecture: Option<&str>) -> Result<SourceImage> {
    let bytes = source.root()?;
    match index(&bytes, &*source)? {
        Some(index) => {
            let chosen = select_platform(&index, architecture, &source.name())?;
            image_from_descriptor(source, &chosen)
        }
        None => image_from_manifest(source, &bytes),
    }
}

/// The image of a descriptor of an index.
///
/// # Errors
/// [`Kind::Fetch`], when it cannot be read.
pub(crate) fn image_from_descriptor(
    source: Arc<dyn ImageReader>,
    descriptor: &Descriptor,
) -> Result<SourceImage> {
    let opened = source.open_manifest(descriptor)?;
    let bytes = source.read_document(descriptor, "manifest", opened)?;
    image_from_manifest(source, &bytes)
}

/// The image of the manifest in `bytes`.
///
/// # Errors
/// [`Kind::Fetch`], when it cannot be read.
pub(crate) fn image_from_manifest(
    source: Arc<dyn ImageReader>,
    bytes: &[u8],
) -> Result<SourceImage> {
    let manifest: ImageManifest = parse(bytes, &*source, "manifest")?;
    let count = manifest.layers().len();
    if count > limits::LAYERS {
        let (name, most) = (source.name(), limits::LAYERS);
        let message = format!("{name} has {count} layers, and no image has more than {most}");
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

/// The index in `bytes`, unless they are a manifest.
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
        format!("the {what} of {} cannot be read", source.name())
    })
}

/// The image of `index` for one architecture.
pub(crate) fn select_platform(
    index: &ImageIndex,
    wanted: Option<&str>,
    name: &str,
) -> Result<Descriptor> {
    let named = |descriptor: &Descriptor| {
        descriptor
            .platform()
            .as_ref()
            .map(|platform| platform.architecture().to_string())
    };
    let manifests = index.manifests();
    let own = crate::image::platform::native_architecture();
    let found = manifests
        .iter()
        .find(|descriptor| named(descriptor).as_deref() == Some(wanted.unwrap_or(own)));
    match (found, &manifests[..]) {
        (Some(descriptor), _) => Ok(descriptor.clone()),
        (None, [only]) if wanted.is_none() => Ok(only.clone()),
        _ => {
            let known: Vec<_> = manifests.iter().filter_map(named).collect();
            let message = format!("{name} has no image for {}", wanted.unwrap_or(own));
            let hint = format!(
                "It has {}; `extract` and `inspect` take one with --arch.",
                known.join(", ")
            );
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
    }
}

/// Reads what `reader` reads, and fails unless it is what `descriptor` says.
pub(crate) fn verify_blob(
    reader: Box<dyn Read + Send>,
    descriptor: &Descriptor,
) -> Box<dyn Read + Send> {
    Box::new(CheckedReader {
        // One more byte, so that what is longer is found out.
        inner: reader.take(descriptor.size().saturating_add(1)),
        digester: Some(Digester::default()),
        size: 0,
        expected_size: descriptor.size(),
        digest: descriptor.digest().to_string(),
    })
}

struct CheckedReader {
    inner: io::Take<Box<dyn Read + Send>>,
    /// Until the end was seen.
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
            return Err(self.fault("is longer than its manifest says"));
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
