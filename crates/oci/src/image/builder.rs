//! Builds images from drafts: writes the layers ([`crate::image::layer_writer`]), and creates the documents from their
//! digests.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use wheelhouse_sbom::{Bill, CYCLONEDX_MEDIA_TYPE, WHEELHOUSE_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::image::contents::{ImageContents, LayerDraft};
use crate::image::image_set::{BaseImage, BuiltImage, ImageSet, WrittenLayer};
use crate::image::layer::{LAYER_TIME, Layer};
use crate::image::layer_writer::LayerWriter;
use crate::image::manifest::{self, Document, ImageDescription, LayerDescription};
use crate::transport::image_writer::ImageWriter;

/// The prefix of the labels that describe the wheelhouse of an image.
pub const LABEL_PREFIX: &str = "io.github.wheelhouse-rs.";
/// The prefix of the standard annotations (OCI image specification).
pub const ANNOTATION_PREFIX: &str = "org.opencontainers.image.";

/// The options of the images to build.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// The path of the wheelhouse in the image, without the first `/`.
    pub path: String,
    /// Puts all files into one layer.
    pub single_layer: bool,
    /// The creation time of the image in seconds since 1970-01-01 UTC, if the user sets it.
    pub created: Option<i64>,
    /// The annotations of manifests and of the index.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the configuration.
    pub labels: BTreeMap<String, String>,
}

/// An image to build.
pub struct ImageDraft {
    /// The architecture as Go names it, such as `amd64`.
    pub architecture: String,
    /// The wheelhouse.
    pub contents: ImageContents,
    /// The base image.
    pub base: Option<BaseImage>,
}

/// Builds the images of `drafts`, and writes them to `destinations`.
///
/// # Errors
/// Fails if a file cannot be read or differs from its manifest, or if a destination cannot be written.
pub fn build_images(
    drafts: Vec<ImageDraft>,
    options: &ImageOptions,
    mut destinations: Vec<Box<dyn ImageWriter>>,
    layer_writer: &LayerWriter,
) -> Result<ImageSet> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut planned = Vec::new();
    for draft in drafts {
        let layer_drafts = draft.contents.layers(&options.path, options.single_layer);
        let indices = layer_drafts
            .iter()
            .map(|draft| index_of(&mut layers, draft));
        let indices: Vec<usize> = indices.collect();
        planned.push((draft, layer_drafts, indices));
    }
    for destination in &mut destinations {
        let plain = destination.wants_plain();
        let size = if plain {
            Layer::size
        } else {
            Layer::stored_size
        };
        destination.begin(&layers.iter().map(size).collect::<Vec<_>>())?;
    }
    let layers = layer_writer.write_all(&layers, &destinations)?;
    let images: Vec<BuiltImage> = planned
        .into_iter()
        .map(|(draft, layer_drafts, indices)| {
            build_image(draft, &layer_drafts, indices, &layers, options)
        })
        .collect::<Result<_>>()?;
    let image_set = ImageSet {
        index: index(&images, options),
        layers,
        images,
    };
    for destination in destinations {
        destination.finish(&image_set)?;
    }
    Ok(image_set)
}

/// Returns the index of the layer in `layers`, where it is added if it is missing: images share equal layers.
fn index_of(layers: &mut Vec<Layer>, draft: &LayerDraft) -> usize {
    let existing = layers.iter().position(|layer| *layer == draft.layer);
    existing.unwrap_or_else(|| {
        layers.push(draft.layer.clone());
        layers.len() - 1
    })
}

fn build_image(
    draft: ImageDraft,
    layer_drafts: &[LayerDraft],
    indices: Vec<usize>,
    written: &[WrittenLayer],
    options: &ImageOptions,
) -> Result<BuiltImage> {
    let own = indices.iter().map(|index| &written[*index]);
    let described: Vec<LayerDescription> = own
        .clone()
        .zip(layer_drafts)
        .map(|(layer, draft)| LayerDescription {
            diff_id: layer.diff.digest(),
            created_by: created_by(&draft.packages),
        })
        .collect();
    let description = ImageDescription {
        architecture: draft.architecture.clone(),
        created: created(options),
        labels: labels(&draft.contents.manifest, options),
    };
    let base_config = draft.base.as_ref().map(|base| &base.config);
    let config = manifest::configuration(base_config, &description, &described);
    let own = own.map(|layer| layer.blob.descriptor(MediaType::ImageLayerGzip));
    let base_layers = draft.base.iter().flat_map(|base| &base.image.layers);
    let all = base_layers.cloned().chain(own).collect();
    let manifest = manifest::manifest(&config, all, &annotations(options));
    let bill = Bill::read(&draft.contents.directory, &draft.contents.manifest, None)?;
    let media_type = MediaType::Other(CYCLONEDX_MEDIA_TYPE.to_owned());
    let sbom = Document::new(&bill.cyclonedx(WHEELHOUSE_NAME), media_type);
    Ok(BuiltImage {
        architecture: draft.architecture,
        referrer: manifest::referrer(&sbom, &manifest),
        sbom,
        manifest,
        config,
        layers: indices,
        base: draft.base,
        wheelhouse: draft.contents.manifest,
    })
}

fn index(images: &[BuiltImage], options: &ImageOptions) -> Option<Document> {
    let manifests: Vec<_> = images
        .iter()
        .map(|image| (image.architecture.clone(), &image.manifest))
        .collect();
    (images.len() > 1).then(|| manifest::index(&manifests, &annotations(options)))
}

fn created_by(packages: &[String]) -> String {
    match packages {
        [] => "wheelhouse image: manifest, lock and index".to_owned(),
        [first, .., last] if packages.len() > 3 => {
            let number = packages.len();
            format!("wheelhouse image: {number} packages from {first} to {last}")
        }
        some => format!("wheelhouse image: {}", some.join(", ")),
    }
}

fn created(options: &ImageOptions) -> String {
    let seconds = options.created.unwrap_or(LAYER_TIME.cast_signed());
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string()
}

/// Returns the annotations of a manifest: those of the user, and the creation time if the user sets it.
fn annotations(options: &ImageOptions) -> BTreeMap<String, String> {
    let mut annotations = options.annotations.clone();
    if options.created.is_some() {
        let key = format!("{ANNOTATION_PREFIX}created");
        annotations.entry(key).or_insert_with(|| created(options));
    }
    annotations
}

/// Returns the labels of a configuration. They include the annotations, because docker shows only labels.
fn labels(manifest: &Manifest, options: &ImageOptions) -> BTreeMap<String, String> {
    let targets: Vec<_> = manifest
        .targets
        .iter()
        .map(wheelhouse_types::Target::name)
        .collect();
    let requirements = manifest.requirements.join("\n");
    let own = [
        ("path", format!("/{}", options.path)),
        ("targets", targets.join(",")),
        ("packages", manifest.distributions().count().to_string()),
        (
            "requirements",
            format!("sha256:{}", Sha256::of(requirements.as_bytes())),
        ),
    ];
    let own = own.map(|(key, value)| (format!("{LABEL_PREFIX}{key}"), value));
    let mut labels: BTreeMap<_, _> = own.into();
    labels.extend(annotations(options));
    labels.extend(options.labels.clone());
    labels
}

/// Normalizes the path of a wheelhouse in an image: absolute, but without the first slash, as in layers.
///
/// # Errors
/// [`Kind::Input`] if the path is not absolute or contains `..`.
pub fn path_in_image(path: &str) -> Result<String> {
    let parts = wheelhouse_archive::safe_path::components(path.trim_start_matches('/'));
    match parts {
        Ok(parts) if path.starts_with('/') && !parts.is_empty() => Ok(parts.join("/")),
        _ => {
            let message = format!("`{path}` is not a valid path of a directory in an image");
            let hint = "Pass an absolute path, such as /opt/app-root/wheelhouse.";
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
    }
}
