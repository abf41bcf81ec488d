//! Publication of images: layers are written to all local destinations at once, then the missing blobs are pushed to
//! registries.

use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::distribution::Reference;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::blob_source::BlobSource;
use crate::image::builder::{self, ImageDraft, ImageOptions};
use crate::image::contents::ImageContents;
use crate::image::image_set::{BaseImage, BuiltImage, ImageSet};
use crate::image::layer_writer::LayerWriter;
use crate::image::platform;
use crate::progress::TransferProgress;
use crate::registry::client::Purpose;
use crate::registry::push::{PushSummary, Upload};
use crate::registry::{Access, Registry};
use crate::transport::{self, ImageLocation, ImageReader, ImageWriter};

/// The images to build and their destinations.
pub struct PublishRequest {
    /// The absolute paths of the wheelhouses, one for each architecture.
    pub wheelhouses: Vec<PathBuf>,
    /// The destinations, with absolute paths. If there are none, the images are built without being written.
    pub destinations: Vec<ImageLocation>,
    /// The options of the images.
    pub options: ImageOptions,
    /// Builds a single image for all architectures.
    pub all_in_one: bool,
    /// The base image.
    pub base: Option<ImageLocation>,
    /// The access to registries.
    pub access: Access,
    /// The socket of docker or podman.
    pub socket: PathBuf,
    /// Writes the layers.
    pub layer_writer: LayerWriter,
}

/// The outcome of a publication.
pub struct PublishedImages {
    /// The built images.
    pub images: Arc<ImageSet>,
    /// The transfers to each registry.
    pub pushed: Vec<(ImageLocation, PushSummary)>,
}

/// Builds the images and publishes them to all destinations.
///
/// # Errors
/// Fails if a wheelhouse cannot be read or a destination cannot be written.
pub async fn publish(
    request: PublishRequest,
    progress: Arc<dyn TransferProgress>,
) -> Result<PublishedImages> {
    let (options, layer_writer) = (request.options.clone(), request.layer_writer.clone());
    let base = match &request.base {
        Some(location) => Some(transport::open(location, &request.access, &request.socket).await?),
        None => None,
    };
    let (wheelhouses, all_in_one) = (request.wheelhouses, request.all_in_one);
    let mut writers: Vec<Box<dyn ImageWriter>> = Vec::new();
    for location in &request.destinations {
        writers.extend(transport::create_writer(location, &request.socket)?);
    }
    let build = move || {
        let drafts = drafts(&wheelhouses, all_in_one, base.as_ref())?;
        builder::build_images(drafts, &options, writers, &layer_writer)
    };
    let images = Arc::new(blocking(build).await?);
    let mut pushed = Vec::new();
    for location in request.destinations {
        if let ImageLocation::Registry(reference) = &location {
            let base = request.base.as_ref();
            let summary = push(reference, base, &request.access, &images, &progress).await?;
            pushed.push((location, summary));
        }
    }
    Ok(PublishedImages { images, pushed })
}

/// Drafts an image for each architecture, with its base image.
fn drafts(
    wheelhouses: &[PathBuf],
    all_in_one: bool,
    base: Option<&Arc<dyn ImageReader>>,
) -> Result<Vec<ImageDraft>> {
    let mut drafts: Vec<ImageDraft> = Vec::new();
    for directory in wheelhouses {
        let contents = ImageContents::open(directory)?;
        for (architecture, contents) in platform::split_by_architecture(contents, all_in_one)? {
            if drafts
                .iter()
                .any(|draft| draft.architecture == architecture)
            {
                let message = format!(
                    "`{}` is the second wheelhouse for {architecture}",
                    directory.display()
                );
                return Err(Error::new(Kind::Input, message).with_hint(
                    "Pass one wheelhouse for each architecture; `wheelhouse download` creates one for several targets.",
                ));
            }
            let base = base.map(|source| BaseImage::find(Arc::clone(source), &architecture));
            drafts.push(ImageDraft {
                base: base.transpose()?,
                architecture,
                contents,
            });
        }
    }
    drafts.sort_by(|one, other| one.architecture.cmp(&other.architecture));
    Ok(drafts)
}

async fn push(
    reference: &Reference,
    base: Option<&ImageLocation>,
    access: &Access,
    images: &ImageSet,
    progress: &Arc<dyn TransferProgress>,
) -> Result<PushSummary> {
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    let tag = tag.ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!("`docker://{reference}` names a digest instead of a tag"),
        )
        .with_hint("Pass a tag, such as docker://HOST/NAME:TAG.")
    })?;
    let from = base.and_then(|base| match base {
        ImageLocation::Registry(base) if base.registry() == reference.registry() => {
            Some(base.repository().to_owned())
        }
        _ => None,
    });
    let purpose = Purpose::Push {
        from: from.iter().cloned().collect(),
    };
    let registry = Registry::open(reference, access, purpose).await?;
    let uploads = uploads(images, from.as_deref());
    if registry.has_document(images.root(), tag).await? {
        return Ok(PushSummary {
            present: uploads.len(),
            ..PushSummary::default()
        });
    }
    let pushed = registry.push_blobs(uploads, progress).await?;
    for BuiltImage {
        sbom,
        referrer,
        manifest,
        ..
    } in &images.images
    {
        registry.attach(sbom, referrer, manifest).await?;
    }
    if images.index.is_some() {
        for image in &images.images {
            let digest = image.manifest.blob.digest();
            registry.push_document(&image.manifest, &digest).await?;
        }
    }
    registry.push_document(images.root(), tag).await?;
    Ok(pushed)
}

/// Lists the blobs of the images, the largest first.
fn uploads(images: &ImageSet, from: Option<&str>) -> Vec<Upload> {
    let layers = images.layers.iter().map(|layer| Upload {
        blob: layer.blob,
        source: BlobSource::Layer(layer.layer.clone()),
        mount_from: None,
    });
    let configs = images.images.iter().map(|image| Upload {
        blob: image.config.blob,
        source: BlobSource::Bytes(image.config.bytes.clone()),
        mount_from: None,
    });
    let base_layers = images.base_layers().map(|(blob, source)| Upload {
        blob,
        source,
        mount_from: from.map(ToOwned::to_owned),
    });
    let mut uploads: Vec<Upload> = layers.chain(configs).chain(base_layers).collect();
    uploads.sort_by_key(|upload| std::cmp::Reverse(upload.blob.size));
    uploads
}
