//! Composing: contents become images, whose layers are written and digested in one go.
//!
//! What the layers turned out to be ([`crate::image::layer_writer`]) decides the documents. Never writes any of
//! them itself.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::image::contents::{ImageContents, LayerDraft};
use crate::image::image_set::{BaseImage, BuiltImage, ImageSet, WrittenLayer};
use crate::image::layer::{LAYER_TIME, Layer};
use crate::image::layer_writer::LayerWriter;
use crate::image::manifest::{self, Document, ImageDescription, LayerDescription};
use crate::image::sbom;
use crate::transport::ImageWriter;

/// What the labels of an image that tell of its wheelhouse begin with.
pub const LABEL_PREFIX: &str = "io.github.wheelhouse-rs.";
/// What the standard annotations (OCI image specification) begin with.
pub const ANNOTATION_PREFIX: &str = "org.opencontainers.image.";

/// How images are made.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// Where the wheelhouse is in the image, without the first `/`.
    pub path: String,
    pub single_layer: bool,
    /// When the image counts as made, in seconds since 1970-01-01 UTC, if that is said.
    pub created: Option<i64>,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// An image of one wheelhouse to be composed.
pub struct ImageDraft {
    /// As Go names it, `amd64`.
    pub architecture: String,
    pub contents: ImageContents,
    pub base: Option<BaseImage>,
}

/// Composes `drafts`, and writes them to `destinations`.
///
/// # Errors
/// Files that cannot be read or are not what they should be, and destinations that cannot be
/// written.
pub fn compose(
    drafts: Vec<ImageDraft>,
    manner: &ImageOptions,
    mut destinations: Vec<Box<dyn ImageWriter>>,
    maker: &LayerWriter,
) -> Result<ImageSet> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut planned = Vec::new();
    for draft in drafts {
        let drafted = draft.contents.layers(&manner.path, manner.single_layer);
        let indices = drafted.iter().map(|drafted| index_of(&mut layers, drafted));
        let indices: Vec<usize> = indices.collect();
        planned.push((draft, drafted, indices));
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
    let layers = maker.make_all(&layers, &destinations)?;
    let images: Vec<BuiltImage> = planned
        .into_iter()
        .map(|(draft, drafted, indices)| image(draft, &drafted, indices, &layers, manner))
        .collect::<Result<_>>()?;
    let composed = ImageSet {
        index: index(&images, manner),
        layers,
        images,
    };
    for destination in destinations {
        destination.finish(&composed)?;
    }
    Ok(composed)
}

/// The index of the layer among all: images share what is the same.
fn index_of(layers: &mut Vec<Layer>, drafted: &LayerDraft) -> usize {
    let known = layers.iter().position(|layer| *layer == drafted.layer);
    known.unwrap_or_else(|| {
        layers.push(drafted.layer.clone());
        layers.len() - 1
    })
}

fn image(
    draft: ImageDraft,
    drafted: &[LayerDraft],
    indices: Vec<usize>,
    made: &[WrittenLayer],
    manner: &ImageOptions,
) -> Result<BuiltImage> {
    let own = indices.iter().map(|index| &made[*index]);
    let described: Vec<LayerDescription> = own
        .clone()
        .zip(drafted)
        .map(|(made, drafted)| LayerDescription {
            diff_id: made.diff.digest(),
            created_by: created_by(&drafted.packages),
        })
        .collect();
    let description = ImageDescription {
        architecture: draft.architecture.clone(),
        created: created(manner),
        labels: labels(&draft.contents.manifest, manner),
    };
    let base = draft.base.as_ref().map(|base| &base.image);
    let config = manifest::configuration(base.map(|base| &base.config), &description, &described);
    let own = own.map(|made| made.blob.descriptor(MediaType::ImageLayerGzip));
    let below = base.map(|base| base.layers.clone()).unwrap_or_default();
    let all = below.into_iter().chain(own).collect();
    let manifest = manifest::manifest(&config, all, &annotations(manner));
    let sbom = sbom::sbom(&draft.contents)?;
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

fn index(images: &[BuiltImage], manner: &ImageOptions) -> Option<Document> {
    let manifests: Vec<_> = images
        .iter()
        .map(|image| (image.architecture.clone(), &image.manifest))
        .collect();
    (images.len() > 1).then(|| manifest::index(&manifests, &annotations(manner)))
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

fn created(manner: &ImageOptions) -> String {
    let seconds = manner.created.unwrap_or(LAYER_TIME.cast_signed());
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string()
}

/// The annotations of a manifest: what the user says, and when it counts as made if that is said.
fn annotations(manner: &ImageOptions) -> BTreeMap<String, String> {
    let mut annotations = manner.annotations.clone();
    if manner.created.is_some() {
        let key = format!("{ANNOTATION_PREFIX}created");
        annotations.entry(key).or_insert_with(|| created(manner));
    }
    annotations
}

/// The labels of a configuration. Docker shows these, and no annotations; so they have both.
fn labels(manifest: &Manifest, manner: &ImageOptions) -> BTreeMap<String, String> {
    let targets: Vec<_> = manifest
        .targets
        .iter()
        .map(wheelhouse_types::Target::name)
        .collect();
    let requirements = manifest.requirements.join("\n");
    let own = [
        ("path", format!("/{}", manner.path)),
        ("targets", targets.join(",")),
        ("packages", manifest.distributions().count().to_string()),
        (
            "requirements",
            format!("sha256:{}", Sha256::of(requirements.as_bytes())),
        ),
    ];
    let own = own.map(|(key, value)| (format!("{LABEL_PREFIX}{key}"), value));
    let mut labels: BTreeMap<_, _> = own.into();
    labels.extend(annotations(manner));
    labels.extend(manner.labels.clone());
    labels
}

/// The path of a wheelhouse in an image as layers have it: absolute, without the first slash.
///
/// # Errors
/// [`Kind::Input`], for a path that is not absolute, or leads anywhere else.
pub fn path_in_image(path: &str) -> Result<String> {
    let parts = wheelhouse_archive::safe_path::components(path.trim_start_matches('/'));
    match parts {
        Ok(parts) if path.starts_with('/') && !parts.is_empty() => Ok(parts.join("/")),
        _ => {
            let message = format!("`{path}` is no path of a directory in an image");
            let hint = "Name an absolute path, such as /opt/app-root/wheelhouse.";
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
    }
}
