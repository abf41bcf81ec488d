//! Looking at what a directory or an image holds.
//!
//! Never writes anything, and reads no more of an image than it must: of one that this program
//! made, the last layer tells everything.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;
use serde_json::Value;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Kind, Manifest, Result};

use crate::extract;
use crate::image::contents::{self, LARGEST_MANIFEST};
use crate::layer_reader::{self, ContentSink, DEFAULT_PATH, DirectoryContents};
use crate::transport::SourceImage;
use wheelhouse_archive::tarball::TarEntry;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The digest of the manifest, for an image.
    pub digest: Option<String>,
    /// As Go names it, for an image.
    pub architecture: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// How many layers the image has.
    pub layers: usize,
    /// What the wheelhouse says of itself; without it, names are all that is known.
    pub manifest: Option<Manifest>,
    /// Files with their sizes in bytes, where no manifest describes them.
    pub files: BTreeMap<String, u64>,
}

/// Looks at a directory.
///
/// # Errors
/// [`Kind::Input`], when it cannot be read or has a manifest that cannot.
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

/// Looks at the wheelhouse at `path` of an image, or where the image says that it is.
///
/// # Errors
/// [`Kind::Fetch`], when the image cannot be read or has no wheelhouse.
pub fn inspect_image(image: &SourceImage, path: Option<&str>) -> Result<Inspection> {
    let labelled = layer_reader::labelled_path(&image.config);
    let visit = |path, first| layer_reader::visit(image, path, first, &mut ManifestSink);
    let mut found = None;
    if let Some(labelled) = labelled
        && path.is_none_or(|path| path == labelled)
    {
        // Where the last layer does not tell everything, reading all of them shows what is wrong.
        let last = image.layers.len().saturating_sub(1);
        found = visit(labelled, last).ok();
    }
    let found = match found.filter(|found| manifest_of(found).is_some()) {
        Some(found) => found,
        None => visit(path.or(labelled).unwrap_or(DEFAULT_PATH), 0)?,
    };
    if found.files.is_empty() {
        let path = path.or(labelled).unwrap_or(DEFAULT_PATH);
        return Err(extract::nothing(image, path, &found.elsewhere));
    }
    let place = format!("the {MANIFEST_NAME} of {}", image.source.name());
    let manifest = manifest_of(&found).map(|bytes| contents::parse(bytes, &place));
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
        .taken
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

/// Takes the manifest alone.
struct ManifestSink;

impl ContentSink for ManifestSink {
    type Output = Vec<u8>;

    const EAGER_BYTES: u64 = 2 * LARGEST_MANIFEST;

    fn wants(&self, name: &str) -> bool {
        name == MANIFEST_NAME
    }

    fn take(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        content
            .take(LARGEST_MANIFEST)
            .read_to_end(&mut bytes)
            .context(Kind::Fetch, || format!("`{name}` cannot be read"))?;
        Ok(bytes)
    }
}
