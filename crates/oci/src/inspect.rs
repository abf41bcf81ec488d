//! Lists the content of a wheelhouse in a directory or an image.
//!
//! Of an image that this program built, only the last layer is read, because it contains the manifest.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;
use serde_json::Value;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Kind, Manifest, Result};

use crate::extract;
use crate::image::contents::{self, MAX_MANIFEST_SIZE};
use crate::layer_reader::{self, ContentSink, DEFAULT_PATH, DirectoryContents};
use crate::transport::image_reader::SourceImage;
use wheelhouse_archive::tarball::TarEntry;

/// The content of a wheelhouse.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The digest of the manifest, for an image.
    pub digest: Option<String>,
    /// The architecture as Go names it, for an image.
    pub architecture: Option<String>,
    /// The labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The number of layers of the image.
    pub layers: usize,
    /// The manifest of the wheelhouse. Without it, only file names are known.
    pub manifest: Option<Manifest>,
    /// The files and their sizes in bytes, if there is no manifest.
    pub files: BTreeMap<String, u64>,
}

/// Inspects a directory.
///
/// # Errors
/// [`Kind::Input`] if the directory or its manifest cannot be read.
pub fn inspect_directory(directory: &Path) -> Result<Inspection> {
    if directory.join(MANIFEST_NAME).exists() {
        let manifest = contents::ImageContents::open(directory)?.manifest;
        return Ok(Inspection {
            manifest: Some(manifest),
            ..Inspection::default()
        });
    }
    let failed = || format!("failed to read {}", directory.display());
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).context(Kind::Input, failed)? {
        let entry = entry.context(Kind::Input, failed)?;
        let metadata = entry.metadata().context(Kind::Input, failed)?;
        if metadata.is_file() {
            files.insert(
                entry.file_name().to_string_lossy().into_owned(),
                metadata.len(),
            );
        }
    }
    Ok(Inspection {
        files,
        ..Inspection::default()
    })
}

/// Inspects the wheelhouse of an image. The default of `path` is the path in the label of the image.
///
/// # Errors
/// [`Kind::Fetch`] if the image cannot be read or has no wheelhouse.
pub fn inspect_image(image: &SourceImage, path: Option<&str>) -> Result<Inspection> {
    let label = layer_reader::path_from_label(&image.config);
    let read = |path, first| layer_reader::read_directory(image, path, first, &mut ManifestSink);
    let mut found = None;
    if let Some(label) = label
        && path.is_none_or(|path| path == label)
    {
        // If the last layer is not sufficient, all layers are read, which also reports any error.
        let last = image.layers.len().saturating_sub(1);
        found = read(label, last).ok();
    }
    let found = match found.filter(|found| manifest_of(found).is_some()) {
        Some(found) => found,
        None => read(path.or(label).unwrap_or(DEFAULT_PATH), 0)?,
    };
    if found.files.is_empty() {
        let path = path.or(label).unwrap_or(DEFAULT_PATH);
        return Err(extract::missing_wheelhouse(
            image,
            path,
            &found.other_directories,
        ));
    }
    let place = format!("the {MANIFEST_NAME} of {}", image.source.name());
    let manifest = manifest_of(&found).map(|bytes| contents::parse_manifest(bytes, &place));
    Ok(Inspection {
        digest: Some(image.digest.clone()),
        architecture: image.config["architecture"].as_str().map(ToOwned::to_owned),
        labels: labels(&image.config),
        layers: image.layers.len(),
        manifest: manifest.transpose()?,
        files: found
            .files
            .into_iter()
            .map(|(name, file)| (name, file.size))
            .collect(),
    })
}

fn manifest_of(found: &DirectoryContents<Vec<u8>>) -> Option<&[u8]> {
    found
        .files
        .get(MANIFEST_NAME)?
        .output
        .as_deref()
        .map(Vec::as_slice)
}

fn labels(config: &Value) -> BTreeMap<String, String> {
    let labels = config["config"]["Labels"].as_object();
    let labels = labels.into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Reads only the manifest.
struct ManifestSink;

impl ContentSink for ManifestSink {
    type Output = Vec<u8>;

    const EAGER_BYTES: u64 = 2 * MAX_MANIFEST_SIZE;

    fn wants(&self, name: &str) -> bool {
        name == MANIFEST_NAME
    }

    fn read(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        content
            .take(MAX_MANIFEST_SIZE)
            .read_to_end(&mut bytes)
            .context(Kind::Fetch, || format!("failed to read `{name}`"))?;
        Ok(bytes)
    }
}
