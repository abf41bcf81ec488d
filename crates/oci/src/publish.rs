//! Publishing an image: its layers are written to all local destinations at once, then registries get what they lack.

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

/// An image to be made and published.
pub struct PublishRequest {
    /// Absolute.
    pub wheelhouses: Vec<PathBuf>,
    /// Their paths are absolute. None: nothing is written.
    pub destinations: Vec<ImageLocation>,
    pub options: ImageOptions,
    /// Whether one image has what several architectures need.
    pub all_in_one: bool,
    /// The image to put it upon.
    pub base: Option<ImageLocation>,
    pub access: Access,
    /// The socket of docker or podman.
    pub socket: PathBuf,
    pub layer_writer: LayerWriter,
}

/// What was published where.
pub struct PublishedImages {
    pub images: Arc<ImageSet>,
    /// For each registry, what was sent.
    pub pushed: Vec<(ImageLocation, PushSummary)>,
}

/// Makes the image, and publishes it to all destinations.
///
/// # Errors
/// Wheelhouses that cannot be read, and destinations that cannot be written.
pub async fn publish(
    job: PublishRequest,
    watch: Arc<dyn TransferProgress>,
) -> Result<PublishedImages> {
    let (manner, maker) = (job.options.clone(), job.layer_writer.clone());
    let base = match &job.base {
        Some(location) => Some(transport::open(location, &job.access, &job.socket).await?),
        None => None,
    };
    let (wheelhouses, all_in_one) = (job.wheelhouses, job.all_in_one);
    let mut local: Vec<Box<dyn ImageWriter>> = Vec::new();
    for location in &job.destinations {
        local.extend(transport::destination(location, &job.socket)?);
    }
    let composing = move || {
        let drafts = drafts(&wheelhouses, all_in_one, base.as_ref())?;
        builder::compose(drafts, &manner, local, &maker)
    };
    let composed = Arc::new(blocking(composing).await?);
    let mut pushed = Vec::new();
    for location in job.destinations {
        if let ImageLocation::Registry(reference) = &location {
            let base = job.base.as_ref();
            let sent = push(reference, base, &job.access, &composed, &watch).await?;
            pushed.push((location, sent));
        }
    }
    Ok(PublishedImages {
        images: composed,
        pushed,
    })
}

/// One image for each architecture, each on its base.
fn drafts(
    wheelhouses: &[PathBuf],
    all_in_one: bool,
    base: Option<&Arc<dyn ImageReader>>,
) -> Result<Vec<ImageDraft>> {
    let mut drafts: Vec<ImageDraft> = Vec::new();
    for directory in wheelhouses {
        let contents = ImageContents::open(directory)?;
        for (architecture, contents) in platform::split(contents, all_in_one)? {
            if drafts
                .iter()
                .any(|draft| draft.architecture == architecture)
            {
                let message = format!(
                    "`{}` is the second wheelhouse for {architecture}",
                    directory.display()
                );
                return Err(Error::new(Kind::Input, message).with_hint(
                    "An image has one wheelhouse for each architecture; `wheelhouse download` makes one for several targets.",
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
    composed: &ImageSet,
    watch: &Arc<dyn TransferProgress>,
) -> Result<PushSummary> {
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    let tag = tag.ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!("`docker://{reference}` names a digest"),
        )
        .with_hint("Name a tag to push to.")
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
    let uploads = uploads(composed, from.as_deref());
    if registry.has_document(composed.root(), tag).await? {
        return Ok(PushSummary {
            present: uploads.len(),
            ..PushSummary::default()
        });
    }
    let pushed = registry.push_blobs(uploads, watch).await?;
    for BuiltImage {
        sbom,
        referrer,
        manifest,
        ..
    } in &composed.images
    {
        registry.attach(sbom, referrer, manifest).await?;
    }
    if composed.index.is_some() {
        for image in &composed.images {
            let digest = image.manifest.blob.digest();
            registry.push_document(&image.manifest, &digest).await?;
        }
    }
    registry.push_document(composed.root(), tag).await?;
    Ok(pushed)
}

/// Every blob of the images, large ones first.
fn uploads(composed: &ImageSet, from: Option<&str>) -> Vec<Upload> {
    let layers = composed.layers.iter().map(|made| Upload {
        blob: made.blob,
        source: BlobSource::Layer(made.layer.clone()),
        mount_from: None,
    });
    let configs = composed.images.iter().map(|image| Upload {
        blob: image.config.blob,
        source: BlobSource::Bytes(image.config.bytes.clone()),
        mount_from: None,
    });
    let foreign = composed.foreign().map(|(blob, supply)| Upload {
        blob,
        source: supply,
        mount_from: from.map(ToOwned::to_owned),
    });
    let mut uploads: Vec<Upload> = layers.chain(configs).chain(foreign).collect();
    uploads.sort_by_key(|upload| std::cmp::Reverse(upload.blob.size));
    uploads
}
