//! The destination `oci:`, a directory (OCI image layout).
//!
//! A blob gets its name when it is whole, and `index.json`, which makes an image of them, is
//! replaced last. Blobs are not forced onto the disk: whoever reads one digests it.
//!
//! Never removes an image that has another tag.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::{INDEX_NAME, LAYOUT, LAYOUT_NAME, REF_NAME};
use crate::image::blob::Blob;
use crate::image::image_set::ImageSet;
use crate::image::manifest::Document;
use crate::transport::{BlobOutput, ImageWriter};
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_fs::scratch;

/// A layout being written.
pub struct LayoutWriter {
    directory: PathBuf,
    tag: Option<String>,
}

impl LayoutWriter {
    /// Writes into `directory`, which is made if it is missing.
    #[must_use]
    pub fn new(directory: PathBuf, tag: Option<String>) -> Self {
        Self { directory, tag }
    }

    fn blobs(&self) -> PathBuf {
        self.directory.join("blobs/sha256")
    }

    fn failed(&self) -> String {
        format!("failed to write the image to {}", self.directory.display())
    }

    fn temporary(&self) -> Result<LayoutOutput> {
        let directory = self.blobs();
        let file = scratch::file(&directory, &mode()).context(Kind::Publish, || self.failed())?;
        Ok(LayoutOutput { file, directory })
    }

    fn put(&self, bytes: &[u8], name: &Path) -> Result<()> {
        let mut output = self.temporary()?;
        output
            .write_all(bytes)
            .and_then(|()| output.file.as_file().sync_all())
            .context(Kind::Publish, || self.failed())?;
        output.rename(name)
    }
}

/// The permissions that new files ask for; the umask takes from them.
pub(crate) fn mode() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

impl ImageWriter for LayoutWriter {
    fn wants_plain(&self) -> bool {
        false
    }

    fn begin(&mut self, _sizes: &[u64]) -> Result<()> {
        let blobs = self.blobs();
        let is_empty =
            fs::read_dir(&self.directory).map_or(true, |mut found| found.next().is_none());
        if !is_empty && !self.directory.join(LAYOUT_NAME).is_file() {
            let message = format!(
                "`{}` is not empty, and no image layout",
                self.directory.display()
            );
            return Err(Error::new(Kind::Publish, message).with_hint("Name another directory."));
        }
        fs::create_dir_all(&blobs).context(Kind::Publish, || self.failed())
    }

    fn open(&self, _index: usize) -> Result<Box<dyn BlobOutput + '_>> {
        Ok(Box::new(self.temporary()?))
    }

    fn finish(self: Box<Self>, composed: &ImageSet) -> Result<()> {
        for (blob, supply) in composed.foreign() {
            let mut output = self.temporary()?;
            supply.write(&mut output)?;
            output.rename(&self.blobs().join(blob.sha256.to_string()))?;
        }
        for document in composed.documents() {
            let name = self.blobs().join(document.blob.sha256.to_string());
            self.put(&document.bytes, &name)?;
        }
        self.put(LAYOUT, &self.directory.join(LAYOUT_NAME))?;
        let lock = fs::File::open(&self.directory).context(Kind::Publish, || self.failed())?;
        // Where a file system cannot lock, no process is held back.
        let what = format!("the image layout `{}`", self.directory.display());
        let _ = locks::acquire(lock.file(), LockMode::Exclusive, &what)?;
        let path = self.directory.join(INDEX_NAME);
        let before = fs::read(&path).ok();
        let before = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let index = index(before, composed.root(), self.tag.as_deref());
        self.put(&index, &path)
    }
}

/// The index of a layout, with `root` in place of what had its tag.
pub(crate) fn index(before: Option<Value>, root: &Document, tag: Option<&str>) -> Vec<u8> {
    let mut descriptor = json!(root.descriptor());
    if let Some(tag) = tag {
        descriptor["annotations"] = json!({ REF_NAME: tag });
    }
    let manifests = before.map(|mut before| before["manifests"].take());
    let mut manifests = match manifests {
        Some(Value::Array(manifests)) => manifests,
        _ => Vec::new(),
    };
    manifests.retain(|known| known["annotations"][REF_NAME].as_str() != tag);
    manifests.push(descriptor);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    serde_json::to_vec(&index).expect("a value is JSON")
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
