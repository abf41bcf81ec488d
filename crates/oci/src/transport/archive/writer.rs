//! Writes images to `oci-archive:` and `docker-archive:`, tar archives.
//!
//! The sizes of the layers are known in advance, so each layer has a fixed offset in the archive and all are written
//! concurrently. The header of a layer contains its digest and is written afterwards. The archive is renamed to its final
//! name when it is complete.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::EntryType;
use tempfile::NamedTempFile;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::format::ArchiveFormat;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::image_set::{BaseImage, BuiltImage, ImageSet};
use crate::image::layer::{BLOCK, END, header, padding};
use crate::transport::image_writer::{BlobOutput, ImageWriter};
use crate::transport::layout;
use wheelhouse_fs::scratch;

/// Writes an image into an archive.
pub struct ArchiveWriter {
    path: PathBuf,
    format: ArchiveFormat,
    file: NamedTempFile,
    /// The offset of the header of each layer.
    offsets: Vec<u64>,
    end: u64,
}

impl ArchiveWriter {
    /// Creates an archive that will be renamed to `path`.
    ///
    /// # Errors
    /// [`Kind::Publish`] if the directory cannot be written.
    pub fn new(path: PathBuf, format: ArchiveFormat) -> Result<Self> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let file = scratch::file(
            directory.unwrap_or(Path::new(".")),
            &layout::file_permissions(),
        )
        .context(Kind::Publish, || failure_message(&path))?;
        Ok(Self {
            path,
            format,
            file,
            offsets: Vec::new(),
            end: 0,
        })
    }

    fn blob_name(&self, blob: &Blob) -> String {
        match self.format {
            ArchiveFormat::Layout(_) => format!("blobs/sha256/{}", blob.sha256),
            ArchiveFormat::Docker(_) => docker_name(&blob.digest()),
        }
    }

    /// Returns the files that follow the layers.
    fn trailing_files(&self, images: &ImageSet) -> Result<Vec<(String, Vec<u8>)>> {
        match &self.format {
            ArchiveFormat::Layout(tag) => {
                let documents = images
                    .documents()
                    .map(|document| (self.blob_name(&document.blob), document.bytes.clone()));
                let index = layout::updated_index(None, images.root(), tag.as_deref());
                let layout_files = [
                    (layout::LAYOUT_NAME.to_owned(), layout::LAYOUT.to_vec()),
                    (layout::INDEX_NAME.to_owned(), index),
                ];
                Ok(documents.chain(layout_files).collect())
            }
            ArchiveFormat::Docker(name) => docker_files(images, name.as_deref()),
        }
    }
}

impl ImageWriter for ArchiveWriter {
    fn wants_plain(&self) -> bool {
        matches!(self.format, ArchiveFormat::Docker(_))
    }

    fn begin(&mut self, sizes: &[u64]) -> Result<()> {
        for size in sizes {
            self.offsets.push(self.end);
            self.end += BLOCK + size + padding(*size);
        }
        self.file
            .as_file()
            .set_len(self.end)
            .context(Kind::Publish, || failure_message(&self.path))
    }

    fn open(&self, index: usize) -> Result<Box<dyn BlobOutput + '_>> {
        let offset = self.offsets[index];
        Ok(Box::new(ArchiveOutput {
            archive: self,
            offset,
            position: offset + BLOCK,
        }))
    }

    fn finish(mut self: Box<Self>, images: &ImageSet) -> Result<()> {
        let files = self.trailing_files(images)?;
        self.add_base_layers(images)?;
        let end = self.end;
        append(self.file.as_file_mut(), end, &files)
            .context(Kind::Publish, || failure_message(&self.path))?;
        self.file
            .persist(&self.path)
            .map(drop)
            .context(Kind::Publish, || failure_message(&self.path))
    }
}

impl ArchiveWriter {
    /// Adds the layers of base images; in a Docker archive they are uncompressed.
    fn add_base_layers(&mut self, images: &ImageSet) -> Result<()> {
        let sources: Vec<(String, BlobSource)> = match self.format {
            ArchiveFormat::Layout(_) => images
                .base_layers()
                .map(|(blob, source)| (self.blob_name(&blob), source))
                .collect(),
            ArchiveFormat::Docker(_) => base_layers(images)
                .map(|(diff_id, source)| (docker_name(diff_id), source.decompressed()))
                .collect(),
        };
        for (name, source) in sources {
            self.append_blob(&name, &source)?;
        }
        Ok(())
    }

    /// Appends a file whose size is unknown until it is written.
    fn append_blob(&mut self, name: &str, source: &BlobSource) -> Result<()> {
        let mut output = ArchiveOutput {
            archive: self,
            offset: self.end,
            position: self.end + BLOCK,
        };
        source.write(&mut output)?;
        let size = output.position - output.offset - BLOCK;
        let header = header(name, size, EntryType::Regular);
        let file = self.file.as_file();
        file.write_all_at(&header, self.end)
            .context(Kind::Publish, || failure_message(&self.path))?;
        self.end += BLOCK + size + padding(size);
        Ok(())
    }
}

fn base_layers(images: &ImageSet) -> impl Iterator<Item = (&str, BlobSource)> {
    let bases = images.images.iter().filter_map(|image| image.base.as_ref());
    bases.flat_map(BaseImage::layers)
}

fn docker_name(diff_id: &str) -> String {
    format!("{}.tar", diff_id.trim_start_matches("sha256:"))
}

fn append(file: &mut File, end: u64, entries: &[(String, Vec<u8>)]) -> io::Result<()> {
    file.seek(SeekFrom::Start(end))?;
    write_entries(file, entries)
}

/// Writes the last entries and the end of an archive.
fn write_entries(out: &mut dyn Write, entries: &[(String, Vec<u8>)]) -> io::Result<()> {
    for (name, bytes) in entries {
        let size = bytes.len() as u64;
        out.write_all(&header(name, size, EntryType::Regular))?;
        out.write_all(bytes)?;
        out.write_all(&vec![0; usize::try_from(padding(size)).unwrap_or(0)])?;
    }
    out.write_all(&END)?;
    out.flush()
}

/// Returns the configuration of the image and the `manifest.json` of a Docker archive.
fn docker_files(images: &ImageSet, name: Option<&str>) -> Result<Vec<(String, Vec<u8>)>> {
    let [image] = &images.images[..] else {
        let message = "a docker archive holds a single image, but these targets need several";
        return Err(Error::new(Kind::Input, message).with_hint(
            "Use --all-in-one, or oci-archive:, which holds an image for each architecture.",
        ));
    };
    let config = format!("{}.json", image.config.blob.sha256);
    let list = json!([{
        "Config": config,
        "RepoTags": name.into_iter().collect::<Vec<_>>(),
        "Layers": docker_layers(images, image),
    }]);
    let list = serde_json::to_vec(&list).expect("a JSON value is serializable");
    Ok(vec![
        (config, image.config.bytes.clone()),
        ("manifest.json".to_owned(), list),
    ])
}

fn docker_layers(images: &ImageSet, image: &BuiltImage) -> Vec<String> {
    let base = base_layers(images).map(|(diff_id, _)| docker_name(diff_id));
    let own = image.layers.iter().map(|index| images.layers[*index].diff);
    base.chain(own.map(|blob| docker_name(&blob.digest())))
        .collect()
}

struct ArchiveOutput<'a> {
    archive: &'a ArchiveWriter,
    offset: u64,
    position: u64,
}

impl Write for ArchiveOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.archive.file.as_file();
        let written = file.write_at(bytes, self.position)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobOutput for ArchiveOutput<'_> {
    fn commit(self: Box<Self>, blob: &Blob) -> Result<()> {
        let header = header(&self.archive.blob_name(blob), blob.size, EntryType::Regular);
        let file = self.archive.file.as_file();
        file.write_all_at(&header, self.offset)
            .context(Kind::Publish, || failure_message(&self.archive.path))
    }
}

fn failure_message(path: &Path) -> String {
    format!("failed to write the image to {}", path.display())
}
