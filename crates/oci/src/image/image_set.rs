//! The images that one publication consists of, with everything that is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_spec::image::MediaType;
use serde_json::Value;
use wheelhouse_types::{Manifest, Result, Sha256};

use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::layer::Layer;
use crate::image::manifest::Document;
use crate::transport::image_reader::{self, ImageReader, SourceImage};

/// A layer that was made.
#[derive(Clone, Debug)]
pub struct WrittenLayer {
    pub layer: Layer,
    /// The plain archive.
    pub diff: Blob,
    /// The same as it is stored.
    pub blob: Blob,
}

/// The image that another is put upon.
#[derive(Clone)]
pub struct BaseImage {
    pub(crate) image: SourceImage,
}

impl BaseImage {
    /// Finds the image for `architecture` in `source`.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn find(source: Arc<dyn ImageReader>, architecture: &str) -> Result<Self> {
        let mut image = image_reader::find_image(source, Some(architecture))?;
        // The manifest will be one of OCI's, whose layers are called otherwise than docker's.
        for layer in &mut image.layers {
            if layer.media_type().to_string() == DOCKER_LAYER {
                layer.set_media_type(MediaType::ImageLayerGzip);
            }
        }
        Ok(Self { image })
    }

    /// The layers with their digests uncompressed.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&str, BlobSource)> {
        let diff_ids = self.image.config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.into_iter().flatten().filter_map(Value::as_str);
        diff_ids.zip(self.supplies().map(|(_, supply)| supply))
    }

    fn supplies(&self) -> impl Iterator<Item = (Blob, BlobSource)> {
        self.image.layers.iter().filter_map(|layer| {
            let blob = Blob {
                sha256: layer.as_digest_sha256()?.parse().ok()?,
                size: layer.size(),
            };
            let source = Arc::clone(&self.image.source);
            Some((blob, BlobSource::Foreign(source, Box::new(layer.clone()))))
        })
    }
}

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Images with everything that is known of them.
pub struct ImageSet {
    /// The layers that are made here, each once.
    pub layers: Vec<WrittenLayer>,
    pub images: Vec<BuiltImage>,
    /// Of several images.
    pub index: Option<Document>,
}

/// One image.
pub struct BuiltImage {
    pub architecture: String,
    pub config: Document,
    pub manifest: Document,
    /// The indices of its own layers.
    pub layers: Vec<usize>,
    /// What is below them.
    pub base: Option<BaseImage>,
    /// What the wheelhouse inside says of itself.
    pub wheelhouse: Manifest,
    /// Its bill of materials, and the manifest that attaches it to that of the image.
    pub sbom: Document,
    pub referrer: Document,
}

impl ImageSet {
    /// The document whose digest is that of the whole.
    #[must_use]
    pub fn root(&self) -> &Document {
        self.index.as_ref().unwrap_or(&self.images[0].manifest)
    }

    /// The size of all blobs, in bytes, those of base images left out.
    #[must_use]
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|made| made.blob.size);
        let documents = self.documents().map(|document| document.blob.size);
        layers.sum::<u64>() + documents.sum::<u64>()
    }

    /// The layers of base images, each once.
    pub fn foreign(&self) -> impl Iterator<Item = (Blob, BlobSource)> {
        let bases = self.images.iter().filter_map(|image| image.base.as_ref());
        let all = bases.flat_map(BaseImage::supplies);
        let unique: BTreeMap<Sha256, _> = all.map(|found| (found.0.sha256, found)).collect();
        unique.into_values()
    }

    /// Configurations, manifests and the index.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        let images = self.images.iter();
        images
            .flat_map(|image| [&image.config, &image.manifest])
            .chain(&self.index)
    }
}
