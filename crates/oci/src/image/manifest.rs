//! The documents of an image: configuration, manifest and index. They are reproducible, because their keys are sorted.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{
    Arch, Descriptor, ImageIndexBuilder, ImageManifestBuilder, MediaType, Os, PlatformBuilder,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wheelhouse_types::{Error, Kind, Result};

use crate::image::blob::Blob;

/// A serialized document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The bytes of the document.
    pub bytes: Vec<u8>,
    /// The digest and size of the bytes.
    pub blob: Blob,
    /// The media type.
    pub media_type: MediaType,
}

impl Document {
    /// Serializes `value` with sorted keys, so that the digest does not depend on the order of a map.
    ///
    /// # Panics
    /// Panics if a map has keys that are not strings.
    #[must_use]
    pub fn new(value: &impl Serialize, media_type: MediaType) -> Self {
        let value = serde_json::to_value(value).expect("the keys of documents are strings");
        let bytes = serde_json::to_vec(&sorted(value)).expect("a JSON value is serializable");
        Self {
            blob: Blob::of(&bytes),
            bytes,
            media_type,
        }
    }

    /// Creates the descriptor of the document.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        self.blob.descriptor(self.media_type.clone())
    }
}

/// Sorts all keys. `serde_json` does so itself unless another crate enables its feature `preserve_order`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<String, Value> = object
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            Value::Object(Map::from_iter(ordered))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The properties of an image in its configuration.
#[derive(Clone, Debug)]
pub struct ImageDescription {
    /// The architecture as Go names it, such as `amd64`.
    pub architecture: String,
    /// The creation time (RFC 3339).
    pub created: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// A layer in the configuration.
#[derive(Clone, Debug)]
pub struct LayerDescription {
    /// The digest of the uncompressed archive.
    pub diff_id: String,
    /// The description in the history.
    pub created_by: String,
}

/// The configuration of a base image, with a structure that [`configuration`] can extend.
#[derive(Clone, Debug)]
pub struct BaseConfiguration(Value);

impl BaseConfiguration {
    /// Verifies the structure of the configuration of an image with so many `layers`.
    ///
    /// # Errors
    /// [`Kind::Fetch`] with the part that has another structure than in the OCI image specification.
    pub fn new(config: &Value, layers: usize) -> Result<Self> {
        let is_object = |value: &Value| value.is_null() || value.is_object();
        let is_list = |value: &Value| value.is_null() || value.is_array();
        let diff_ids = &config["rootfs"]["diff_ids"];
        let fault = if !config.is_object() {
            "the document is not an object"
        } else if !is_object(&config["config"]) || !is_object(&config["config"]["Labels"]) {
            "`config.Labels` is not an object"
        } else if !is_list(&config["history"]) {
            "`history` is not a list"
        } else if !is_object(&config["rootfs"])
            || !is_list(diff_ids)
            || diff_ids.as_array().map_or(0, Vec::len) != layers
        {
            "`rootfs.diff_ids` does not have one entry for each layer"
        } else {
            return Ok(Self(config.clone()));
        };
        Err(Error::new(Kind::Fetch, fault))
    }
}

/// Creates the configuration (OCI image specification) of `layers` on top of that of a base image.
#[must_use]
pub fn configuration(
    base: Option<&BaseConfiguration>,
    description: &ImageDescription,
    layers: &[LayerDescription],
) -> Document {
    let mut config = base.map_or_else(|| json!({"os": "linux"}), |base| base.0.clone());
    config["created"] = json!(description.created);
    if base.is_none() {
        config["architecture"] = json!(description.architecture);
    }
    let labels = entry(&mut config, &["config", "Labels"], json!({}));
    for (key, value) in &description.labels {
        labels[key] = json!(value);
    }
    entry(&mut config, &["rootfs"], json!({}))["type"] = json!("layers");
    let diff_ids = layers.iter().map(|layer| json!(layer.diff_id));
    append(
        entry(&mut config, &["rootfs", "diff_ids"], json!([])),
        diff_ids,
    );
    let history = layers
        .iter()
        .map(|layer| json!({"created": description.created, "created_by": layer.created_by}));
    append(entry(&mut config, &["history"], json!([])), history);
    Document::new(&config, MediaType::ImageConfig)
}

/// Returns the value at `path`, which is set to `default` if it is missing.
fn entry<'a>(value: &'a mut Value, path: &[&str], default: Value) -> &'a mut Value {
    let Some((first, rest)) = path.split_first() else {
        if value.is_null() {
            *value = default;
        }
        return value;
    };
    if !value.is_object() {
        *value = json!({});
    }
    entry(&mut value[*first], rest, default)
}

fn append(array: &mut Value, items: impl Iterator<Item = Value>) {
    if let Some(array) = array.as_array_mut() {
        array.extend(items);
    }
}

/// Creates the manifest (OCI image specification) of a configuration and its layers.
///
/// # Panics
/// Does not panic: all required fields are set.
#[must_use]
pub fn manifest(
    config: &Document,
    layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Document {
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor())
        .layers(layers)
        .build()
        .expect("all required fields are set");
    manifest.set_annotations(optional(annotations));
    Document::new(&manifest, MediaType::ImageManifest)
}

/// The empty configuration of artifacts (OCI image specification).
pub const EMPTY: &[u8] = b"{}";

/// Creates the manifest of `content` as an artifact that is attached to `subject`.
///
/// # Panics
/// Does not panic: all required fields are set.
#[must_use]
pub fn referrer(content: &Document, subject: &Document) -> Document {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .artifact_type(content.media_type.clone())
        .config(Blob::of(EMPTY).descriptor(MediaType::EmptyJSON))
        .layers(vec![content.descriptor()])
        .subject(subject.descriptor())
        .build()
        .expect("all required fields are set");
    Document::new(&manifest, MediaType::ImageManifest)
}

/// Adds a referrer of `artifact_type` to the `existing` list of referrers.
#[must_use]
pub fn with_referrer(
    existing: Option<&[u8]>,
    referrer: &Document,
    artifact_type: &str,
) -> Document {
    let existing: Value = existing
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    let mut manifests = existing["manifests"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    manifests.retain(|manifest| manifest["digest"] != json!(referrer.blob.digest()));
    let mut descriptor = json!(referrer.descriptor());
    descriptor["artifactType"] = json!(artifact_type);
    manifests.push(descriptor);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageIndex.to_string(),
        "manifests": manifests,
    });
    Document::new(&index, MediaType::ImageIndex)
}

/// Creates the index (OCI image specification) of manifests with their architectures.
///
/// # Panics
/// Does not panic: all required fields are set.
#[must_use]
pub fn index(
    manifests: &[(String, &Document)],
    annotations: &BTreeMap<String, String>,
) -> Document {
    let described = manifests.iter().map(|(architecture, manifest)| {
        let platform = PlatformBuilder::default()
            .architecture(Arch::from(architecture.as_str()))
            .os(Os::Linux)
            .build()
            .expect("all required fields are set");
        let mut descriptor = manifest.descriptor();
        descriptor.set_platform(Some(platform));
        descriptor
    });
    let mut index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(described.collect::<Vec<_>>())
        .build()
        .expect("all required fields are set");
    index.set_annotations(optional(annotations));
    Document::new(&index, MediaType::ImageIndex)
}

/// Returns the field with `annotations`, which is left out if there are none.
fn optional(annotations: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!annotations.is_empty()).then(|| annotations.clone().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_map_does_not_matter() {
        let annotations: BTreeMap<_, _> = (0..20)
            .map(|number| (format!("key-{number}"), number.to_string()))
            .collect();
        let description = ImageDescription {
            architecture: "amd64".to_owned(),
            created: "1980-01-01T00:00:00Z".to_owned(),
            labels: BTreeMap::new(),
        };
        let config = configuration(None, &description, &[]);
        let first = manifest(&config, Vec::new(), &annotations);
        for _ in 0..20 {
            assert_eq!(manifest(&config, Vec::new(), &annotations), first);
        }
    }

    #[test]
    fn keeps_configuration_of_base_image() {
        let base = json!({
            "architecture": "arm64",
            "os": "linux",
            "config": {"User": "1001", "Cmd": ["usage"], "Labels": {"a": "1", "b": "2"}, "Healthcheck": {"Test": ["NONE"]}},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:base"]},
            "history": [{"created_by": "base"}],
        });
        let description = ImageDescription {
            architecture: "amd64".to_owned(),
            created: "1980-01-01T00:00:00Z".to_owned(),
            labels: BTreeMap::from([("b".to_owned(), "3".to_owned())]),
        };
        let layer = LayerDescription {
            diff_id: "sha256:own".to_owned(),
            created_by: "wheelhouse".to_owned(),
        };
        let base_config = BaseConfiguration::new(&base, 1).unwrap();
        let document = configuration(Some(&base_config), &description, &[layer]);
        let config: Value = serde_json::from_slice(&document.bytes).unwrap();
        assert_eq!(config["architecture"], "arm64");
        assert_eq!(config["config"]["User"], "1001");
        assert_eq!(
            config["config"]["Healthcheck"],
            base["config"]["Healthcheck"]
        );
        assert_eq!(config["config"]["Labels"], json!({"a": "1", "b": "3"}));
        assert_eq!(
            config["rootfs"]["diff_ids"],
            json!(["sha256:base", "sha256:own"])
        );
        assert_eq!(config["history"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn extends_sparse_configuration_of_base_image() {
        let description = ImageDescription {
            architecture: "amd64".to_owned(),
            created: "1980-01-01T00:00:00Z".to_owned(),
            labels: BTreeMap::from([("b".to_owned(), "3".to_owned())]),
        };
        let null =
            json!({"config": {"Labels": null}, "rootfs": {"diff_ids": null}, "history": null});
        for base in [json!({}), null] {
            let base = BaseConfiguration::new(&base, 0).unwrap();
            let document = configuration(Some(&base), &description, &[]);
            let config: Value = serde_json::from_slice(&document.bytes).unwrap();
            assert_eq!(config["config"]["Labels"], json!({"b": "3"}));
            assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": []}));
        }
    }

    #[test]
    fn rejects_malformed_configuration_of_base_image() {
        let rejected = |config: Value| {
            let error = BaseConfiguration::new(&config, 1).unwrap_err();
            error.to_string()
        };
        let rootfs = json!({"diff_ids": ["sha256:base"]});
        for config in [json!([]), json!("text"), json!(null)] {
            assert_eq!(rejected(config), "the document is not an object");
        }
        for part in [json!([]), json!({"Labels": []}), json!({"Labels": "a=b"})] {
            let config = json!({"config": part, "rootfs": rootfs});
            assert_eq!(rejected(config), "`config.Labels` is not an object");
        }
        let config = json!({"history": {}, "rootfs": rootfs});
        assert_eq!(rejected(config), "`history` is not a list");
        for rootfs in [
            json!(null),
            json!([]),
            json!({"diff_ids": "sha256:base"}),
            json!({"diff_ids": ["sha256:base", "sha256:other"]}),
        ] {
            let message = rejected(json!({"rootfs": rootfs}));
            assert_eq!(
                message,
                "`rootfs.diff_ids` does not have one entry for each layer"
            );
        }
    }
}
