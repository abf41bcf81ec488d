//! Writes images to `oci:`, a directory (OCI image layout).
//!
//! A blob is renamed to its final name when it is complete, and `index.json`, which names the image, is replaced last. Blobs
//! are not flushed to the disk, because every reader verifies their digests. Images with other tags are kept.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::format::{INDEX_NAME, LAYOUT, LAYOUT_NAME, REF_NAME};
use crate::image::blob::Blob;
use crate::image::image_set::ImageSet;
use crate::image::manifest::Document;
use crate::transport::image_writer::{BlobOutput, ImageWriter};
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::scratch;

/// Writes an image into a layout.
pub struct LayoutWriter {
    directory: PathBuf,
    tag: Option<String>,
}

impl LayoutWriter {
    /// Creates a writer for `directory`, which is created if it is missing.
    #[must_use]
    pub fn new(directory: PathBuf, tag: Option<String>) -> Self {
        Self { directory, tag }
    }

    fn blobs_directory(&self) -> PathBuf {
        self.directory.join("blobs/sha256")
    }

    fn failure_message(&self) -> String {
        format!("failed to write the image to {}", self.directory.display())
    }

    fn temporary_output(&self) -> Result<LayoutOutput> {
        let directory = self.blobs_directory();
        let file = scratch::file(&directory, &file_permissions())
            .context(Kind::Publish, || self.failure_message())?;
        Ok(LayoutOutput { file, directory })
    }

    fn write_file(&self, bytes: &[u8], name: &Path) -> Result<()> {
        let mut output = self.temporary_output()?;
        output
            .write_all(bytes)
            .and_then(|()| output.file.as_file().sync_all())
            .context(Kind::Publish, || self.failure_message())?;
        output.rename(name)
    }
}

/// Returns the permissions of new files, before the umask is applied.
pub(crate) fn file_permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

impl ImageWriter for LayoutWriter {
    fn wants_plain(&self) -> bool {
        false
    }

    fn begin(&mut self, _sizes: &[u64]) -> Result<()> {
        let blobs = self.blobs_directory();
        let is_empty =
            fs::read_dir(&self.directory).map_or(true, |mut found| found.next().is_none());
        if !is_empty && !self.directory.join(LAYOUT_NAME).is_file() {
            let message = format!(
                "`{}` is neither empty nor an image layout",
                self.directory.display()
            );
            return Err(Error::new(Kind::Publish, message).with_hint("Name another directory."));
        }
        fs::create_dir_all(&blobs).context(Kind::Publish, || self.failure_message())
    }

    fn open(&self, _index: usize) -> Result<Box<dyn BlobOutput + '_>> {
        Ok(Box::new(self.temporary_output()?))
    }

    fn finish(self: Box<Self>, images: &ImageSet) -> Result<()> {
        for (blob, source) in images.base_layers() {
            let mut output = self.temporary_output()?;
            source.write(&mut output)?;
            output.rename(&self.blobs_directory().join(blob.sha256.to_string()))?;
        }
        for document in images.documents() {
            let name = self
                .blobs_directory()
                .join(document.blob.sha256.to_string());
            self.write_file(&document.bytes, &name)?;
        }
        self.write_file(LAYOUT, &self.directory.join(LAYOUT_NAME))?;
        let lock =
            fs::File::open(&self.directory).context(Kind::Publish, || self.failure_message())?;
        // Some file systems cannot lock directories. Concurrent writers do not wait for each other there.
        let what = format!("the image layout `{}`", self.directory.display());
        let _ = locks::acquire(lock.file(), LockMode::Exclusive, &what)?;
        let path = self.directory.join(INDEX_NAME);
        let previous = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let index = updated_index(previous, images.root(), self.tag.as_deref());
        self.write_file(&index, &path)
    }
}

/// Creates the index of a layout in which `root` replaces the previous image with the tag.
pub(crate) fn updated_index(
    previous: Option<Value>,
    root: &Document,
    tag: Option<&str>,
) -> Vec<u8> {
    let mut descriptor = json!(root.descriptor());
    if let Some(tag) = tag {
        descriptor["annotations"] = json!({ REF_NAME: tag });
    }
    let mut manifests = match previous.map(|mut index| index["manifests"].take()) {
        Some(Value::Array(manifests)) => manifests,
        _ => Vec::new(),
    };
    manifests.retain(|manifest| manifest["annotations"][REF_NAME].as_str() != tag);
    manifests.push(descriptor);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    serde_json::to_vec(&index).expect("a JSON value is serializable")
}

struct LayoutOutput {
    file: NamedTempFile,
    directory: PathBuf,
}

impl LayoutOutput {
    fn rename(self, name: &Path) -> Result<()> {
        self.file
            .persist(name)
            .map(drop)
            .context(Kind::Publish, || {
                format!("failed to write {}", name.display())
            })
    }
}

impl Write for LayoutOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobOutput for LayoutOutput {
    fn commit(self: Box<Self>, blob: &Blob) -> Result<()> {
        let name = self.directory.join(blob.sha256.to_string());
        self.rename(&name)
    }
}
