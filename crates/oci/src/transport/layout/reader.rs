//! Reads images from `oci:`, a directory.

use std::io::Read;
use std::path::PathBuf;

use oci_spec::image::{Descriptor, ImageIndex};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::format::{INDEX_NAME, REF_NAME};
use crate::transport::image_reader::{ImageReader, MAX_DOCUMENT_SIZE, parse};
use wheelhouse_fs::input;

/// An image in a layout.
pub struct LayoutReader {
    /// The directory of the layout.
    pub directory: PathBuf,
    /// The tag of the image; required if the layout has several images.
    pub tag: Option<String>,
}

impl ImageReader for LayoutReader {
    fn name(&self) -> String {
        format!("oci:{}", self.directory.display())
    }

    fn root(&self) -> Result<Vec<u8>> {
        read_root(self, self.open_file(INDEX_NAME)?, self.tag.as_deref())
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.open_file(&blob_path(descriptor)?)
    }
}

impl LayoutReader {
    fn open_file(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let path = self.directory.join(name);
        let file = input::open(&path)
            .context(Kind::Fetch, || format!("failed to read {}", self.name()))?;
        Ok(Box::new(file))
    }
}

/// Returns the path of a blob in a layout.
pub(crate) fn blob_path(descriptor: &Descriptor) -> Result<String> {
    let sha256 = descriptor.as_digest_sha256().ok_or_else(|| {
        let message = format!("the digest {} is not a SHA-256 digest", descriptor.digest());
        Error::new(Kind::Fetch, message)
    })?;
    Ok(format!("blobs/sha256/{sha256}"))
}

/// Reads the manifest that `index.json` lists for `tag`, or the only manifest.
pub(crate) fn read_root(
    source: &dyn ImageReader,
    index: Box<dyn Read + Send>,
    tag: Option<&str>,
) -> Result<Vec<u8>> {
    let failed = || format!("failed to read the index of {}", source.name());
    let mut bytes = Vec::new();
    index
        .take(MAX_DOCUMENT_SIZE)
        .read_to_end(&mut bytes)
        .context(Kind::Fetch, failed)?;
    let index: ImageIndex = parse(&bytes, source, "index")?;
    let has_tag = |descriptor: &&Descriptor| {
        let annotations = descriptor.annotations().as_ref();
        annotations
            .and_then(|all| all.get(REF_NAME))
            .map(String::as_str)
            == tag
    };
    let found = match (&index.manifests()[..], tag) {
        ([only], None) => Some(only),
        (manifests, _) => manifests.iter().find(has_tag),
    };
    let descriptor = found.ok_or_else(|| missing_tag(source, &index, tag))?;
    source.read_document(descriptor, "manifest", source.open(descriptor)?)
}

fn missing_tag(source: &dyn ImageReader, index: &ImageIndex, tag: Option<&str>) -> Error {
    let tags: Vec<&str> = index
        .manifests()
        .iter()
        .filter_map(|descriptor| descriptor.annotations().as_ref()?.get(REF_NAME))
        .map(String::as_str)
        .collect();
    let what = tag.map_or("several images".to_owned(), |tag| {
        format!("no image `{tag}`")
    });
    let error = Error::new(Kind::Fetch, format!("{} has {what}", source.name()));
    if tags.is_empty() {
        return error;
    }
    error.with_hint(format!("Name one of its tags: {}.", tags.join(", ")))
}
