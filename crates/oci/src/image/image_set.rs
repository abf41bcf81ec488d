//! The images of one publication.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_spec::image::MediaType;
use serde_json::Value;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Manifest, Result, Sha256};

use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::layer::Layer;
use crate::image::manifest::{BaseConfiguration, Document};
use crate::transport::image_reader::{self, ImageReader, SourceImage};

/// A layer whose digests are known.
#[derive(Clone, Debug)]
pub struct WrittenLayer {
    /// The entries of the layer.
    pub layer: Layer,
    /// The plain tar archive.
    pub diff: Blob,
    /// The gzip file.
    pub blob: Blob,
}

/// A base image.
#[derive(Clone)]
pub struct BaseImage {
    pub(crate) image: SourceImage,
    pub(crate) config: BaseConfiguration,
}

impl BaseImage {
    /// Finds the image for `architecture` in `source`.
    ///
    /// # Errors
    /// Fails if the image cannot be read, or if its configuration cannot be extended.
    pub fn find(source: Arc<dyn ImageReader>, architecture: &str) -> Result<Self> {
        let mut image = image_reader::find_image(source, Some(architecture))?;
        // The new manifest is one of OCI, with other media types than those of docker.
        for layer in &mut image.layers {
            if layer.media_type().to_string() == DOCKER_LAYER {
                layer.set_media_type(MediaType::ImageLayerGzip);
            }
        }
        let config = BaseConfiguration::new(&image.config, image.layers.len());
        let config = config.context(Kind::Fetch, || {
            let name = image.source.name();
            format!("the configuration of the base image {name} is invalid")
        })?;
        Ok(Self { image, config })
    }

    /// Returns the layers with their diff IDs.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&str, BlobSource)> {
        let diff_ids = self.image.config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.into_iter().flatten().filter_map(Value::as_str);
        diff_ids.zip(self.blobs().map(|(_, source)| source))
    }

    fn blobs(&self) -> impl Iterator<Item = (Blob, BlobSource)> {
        self.image.layers.iter().filter_map(|layer| {
            let blob = Blob {
                sha256: layer.as_digest_sha256()?.parse().ok()?,
                size: layer.size(),
            };
            let source = Arc::clone(&self.image.source);
            Some((blob, BlobSource::Image(source, Box::new(layer.clone()))))
        })
    }
}

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Images that are published together.
pub struct ImageSet {
    /// The written layers, each once.
    pub layers: Vec<WrittenLayer>,
    /// The images, one for each architecture.
    pub images: Vec<BuiltImage>,
    /// The index, if there are several images.
    pub index: Option<Document>,
}

/// An image and its documents.
pub struct BuiltImage {
    /// The architecture as Go names it.
    pub architecture: String,
    /// The configuration.
    pub config: Document,
    /// The manifest.
    pub manifest: Document,
    /// The indices of its layers in [`ImageSet::layers`].
    pub layers: Vec<usize>,
    /// The base image.
    pub base: Option<BaseImage>,
    /// The manifest of the wheelhouse.
    pub wheelhouse: Manifest,
    /// The bill of materials.
    pub sbom: Document,
    /// The manifest that attaches the bill of materials to the image.
    pub referrer: Document,
}

impl ImageSet {
    /// Returns the index, or the manifest of the only image.
    #[must_use]
    pub fn root(&self) -> &Document {
        self.index.as_ref().unwrap_or(&self.images[0].manifest)
    }

    /// Returns the total size of all blobs without those of base images, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.blob.size);
        let documents = self.documents().map(|document| document.blob.size);
        layers.sum::<u64>() + documents.sum::<u64>()
    }

    /// Returns the layers of base images, each once.
    pub fn base_layers(&self) -> impl Iterator<Item = (Blob, BlobSource)> {
        let bases = self.images.iter().filter_map(|image| image.base.as_ref());
        let all = bases.flat_map(BaseImage::blobs);
        let unique: BTreeMap<Sha256, _> = all.map(|found| (found.0.sha256, found)).collect();
        unique.into_values()
    }

    /// Returns the configurations, the manifests and the index.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        let images = self.images.iter();
        images
            .flat_map(|image| [&image.config, &image.manifest])
            .chain(&self.index)
    }
}
