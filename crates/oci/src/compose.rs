//! Composing: contents become images, whose layers are written and digested in one go.
//!
//! What the layers turned out to be ([`super::making`]) decides the documents. Never writes any of
//! them itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_spec::image::MediaType;
use serde_json::Value;
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use super::blob::Blob;
use super::contents::{Contents, Drafted};
use super::document::{self, DescribedLayer, Description, Document};
use super::layer::{LAYER_TIME, Layer};
use super::making::{Destination, Made, Maker};
use super::sbom;
use super::source::{self, Source, SourceImage};
use super::supply::Supply;

/// What the labels of an image that tell of its wheelhouse begin with.
pub const LABEL_PREFIX: &str = "io.github.wheelhouse-rs.";
/// What the standard annotations (OCI image specification) begin with.
pub const ANNOTATION_PREFIX: &str = "org.opencontainers.image.";

/// How images are made.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Where the wheelhouse is in the image, without the first `/`.
    pub path: String,
    pub single_layer: bool,
    /// When the image counts as made, in seconds since 1970-01-01 UTC, if that is said.
    pub created: Option<i64>,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// An image of one wheelhouse to be composed.
pub struct Draft {
    /// As Go names it, `amd64`.
    pub architecture: String,
    pub contents: Contents,
    pub base: Option<Base>,
}

/// The image that another is put upon.
#[derive(Clone)]
pub struct Base {
    image: SourceImage,
}

impl Base {
    /// Finds the image for `architecture` in `source`.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn find(source: Arc<dyn Source>, architecture: &str) -> Result<Self> {
        let mut image = source::find(source, Some(architecture))?;
        // The manifest will be one of OCI's, whose layers are called otherwise than docker's.
        for layer in &mut image.layers {
            if layer.media_type().to_string() == DOCKER_LAYER {
                layer.set_media_type(MediaType::ImageLayerGzip);
            }
        }
        Ok(Self { image })
    }

    /// The layers with their digests uncompressed.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&str, Supply)> {
        let diff_ids = self.image.config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.into_iter().flatten().filter_map(Value::as_str);
        diff_ids.zip(self.supplies().map(|(_, supply)| supply))
    }

    fn supplies(&self) -> impl Iterator<Item = (Blob, Supply)> {
        self.image.layers.iter().filter_map(|layer| {
            let blob = Blob {
                sha256: layer.as_digest_sha256()?.parse().ok()?,
                size: layer.size(),
            };
            let source = Arc::clone(&self.image.source);
            Some((blob, Supply::Foreign(source, Box::new(layer.clone()))))
        })
    }
}

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Images with everything that is known of them.
pub struct Composed {
    /// The layers that are made here, each once.
    pub layers: Vec<Made>,
    pub images: Vec<Image>,
    /// Of several images.
    pub index: Option<Document>,
}

/// One image.
pub struct Image {
    pub architecture: String,
    pub config: Document,
    pub manifest: Document,
    /// The indices of its own layers.
    pub layers: Vec<usize>,
    /// What is below them.
    pub base: Option<Base>,
    /// What the wheelhouse inside says of itself.
    pub wheelhouse: Manifest,
    /// Its bill of materials, and the manifest that attaches it to that of the image.
    pub sbom: Document,
    pub referrer: Document,
}

impl Composed {
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
    pub fn foreign(&self) -> impl Iterator<Item = (Blob, Supply)> {
        let bases = self.images.iter().filter_map(|image| image.base.as_ref());
        let all = bases.flat_map(Base::supplies);
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

/// Composes `drafts`, and writes them to `destinations`.
///
/// # Errors
/// Files that cannot be read or are not what they should be, and destinations that cannot be
/// written.
pub fn compose(
    drafts: Vec<Draft>,
    manner: &Manner,
    mut destinations: Vec<Box<dyn Destination>>,
    maker: &Maker,
) -> Result<Composed> {
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
    let images: Vec<Image> = planned
        .into_iter()
        .map(|(draft, drafted, indices)| image(draft, &drafted, indices, &layers, manner))
        .collect::<Result<_>>()?;
    let composed = Composed {
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
fn index_of(layers: &mut Vec<Layer>, drafted: &Drafted) -> usize {
    let known = layers.iter().position(|layer| *layer == drafted.layer);
    known.unwrap_or_else(|| {
        layers.push(drafted.layer.clone());
        layers.len() - 1
    })
}

fn image(
    draft: Draft,
    drafted: &[Drafted],
    indices: Vec<usize>,
    made: &[Made],
    manner: &Manner,
) -> Result<Image> {
    let own = indices.iter().map(|index| &made[*index]);
    let described: Vec<DescribedLayer> = own
        .clone()
        .zip(drafted)
        .map(|(made, drafted)| DescribedLayer {
            diff_id: made.diff.digest(),
            created_by: created_by(&drafted.packages),
        })
        .collect();
    let description = Description {
        architecture: draft.architecture.clone(),
        created: created(manner),
        labels: labels(&draft.contents.manifest, manner),
    };
    let base = draft.base.as_ref().map(|base| &base.image);
    let config = document::configuration(base.map(|base| &base.config), &description, &described);
    let own = own.map(|made| made.blob.descriptor(MediaType::ImageLayerGzip));
    let below = base.map(|base| base.layers.clone()).unwrap_or_default();
    let all = below.into_iter().chain(own).collect();
    let manifest = document::manifest(&config, all, &annotations(manner));
    let sbom = sbom::sbom(&draft.contents)?;
    Ok(Image {
        architecture: draft.architecture,
        referrer: document::referrer(&sbom, &manifest),
        sbom,
        manifest,
        config,
        layers: indices,
        base: draft.base,
        wheelhouse: draft.contents.manifest,
    })
}

fn index(images: &[Image], manner: &Manner) -> Option<Document> {
    let manifests: Vec<_> = images
        .iter()
        .map(|image| (image.architecture.clone(), &image.manifest))
        .collect();
    (images.len() > 1).then(|| document::index(&manifests, &annotations(manner)))
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

fn created(manner: &Manner) -> String {
    let seconds = manner.created.unwrap_or(LAYER_TIME.cast_signed());
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string()
}

/// The annotations of a manifest: what the user says, and when it counts as made if that is said.
fn annotations(manner: &Manner) -> BTreeMap<String, String> {
    let mut annotations = manner.annotations.clone();
    if manner.created.is_some() {
        let key = format!("{ANNOTATION_PREFIX}created");
        annotations.entry(key).or_insert_with(|| created(manner));
    }
    annotations
}

/// The labels of a configuration. Docker shows these, and no annotations; so they have both.
fn labels(manifest: &Manifest, manner: &Manner) -> BTreeMap<String, String> {
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
    let parts = wheelhouse_archive::entry::components(path.trim_start_matches('/'));
    match parts {
        Ok(parts) if path.starts_with('/') && !parts.is_empty() => Ok(parts.join("/")),
        _ => {
            let message = format!("`{path}` is no path of a directory in an image");
            let hint = "Name an absolute path, such as /opt/app-root/wheelhouse.";
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
    }
}
