//! The source `oci:`, a directory.

use std::io::Read;
use std::path::PathBuf;

use oci_spec::image::{Descriptor, ImageIndex};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::{INDEX_NAME, REF_NAME};
use crate::transport::image_reader::{ImageReader, LARGEST_DOCUMENT, parse};
use wheelhouse_fs::input;

/// An image of a layout.
pub struct LayoutReader {
    pub directory: PathBuf,
    pub tag: Option<String>,
}

impl ImageReader for LayoutReader {
    fn name(&self) -> String {
        format!("oci:{}", self.directory.display())
    }

    fn root(&self) -> Result<Vec<u8>> {
        root(self, self.file(INDEX_NAME)?, self.tag.as_deref())
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        self.file(&blob_path(descriptor)?)
    }
}

impl LayoutReader {
    fn file(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let path = self.directory.join(name);
        let file = input::open(&path)
            .context(Kind::Fetch, || format!("{} cannot be read", self.name()))?;
        Ok(Box::new(file))
    }
}

/// Where a layout has the blob of a descriptor.
pub(crate) fn blob_path(descriptor: &Descriptor) -> Result<String> {
    let sha256 = descriptor.as_digest_sha256().ok_or_else(|| {
        let message = format!("the digest {} is no SHA-256", descriptor.digest());
        Error::new(Kind::Fetch, message)
    })?;
    Ok(format!("blobs/sha256/{sha256}"))
}

/// The manifest that `index.json` has for `tag`, or the only one.
pub(crate) fn root(
    source: &dyn ImageReader,
    index: Box<dyn Read + Send>,
    tag: Option<&str>,
) -> Result<Vec<u8>> {
    let failed = || format!("the index of {} cannot be read", source.name());
    let mut bytes = Vec::new();
    index
        .take(LARGEST_DOCUMENT)
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
    let descriptor = found.ok_or_else(|| no_tag(source, &index, tag))?;
    source.read_document(descriptor, "manifest", source.open(descriptor)?)
}

fn no_tag(source: &dyn ImageReader, index: &ImageIndex, tag: Option<&str>) -> Error {
    let known: Vec<&str> = index
        .manifests()
        .iter()
        .filter_map(|descriptor| descriptor.annotations().as_ref()?.get(REF_NAME))
        .map(String::as_str)
        .collect();
    let what = tag.map_or("several images".to_owned(), |tag| {
        format!("no image `{tag}`")
    });
    let error = Error::new(Kind::Fetch, format!("{} has {what}", source.name()));
    if known.is_empty() {
        return error;
    }
    error.with_hint(format!("Name one of its tags: {}.", known.join(", ")))
}
