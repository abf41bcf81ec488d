//! The destinations `oci-archive:` and `docker-archive:`, tar archives of whole images.
//!
//! The sizes of layers are known beforehand, so each has its place in the archive, and all are
//! written there at the same time; their names, which are digests, come when they are known. The
//! archive gets its own name when it is whole.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tar::EntryType;
use tempfile::NamedTempFile;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::ArchiveFormat;
use crate::image::blob::Blob;
use crate::image::blob_source::BlobSource;
use crate::image::image_set::{BaseImage, BuiltImage, ImageSet};
use crate::image::layer::{BLOCK, END, header, padding};
use crate::transport::layout;
use crate::transport::{BlobOutput, ImageWriter};
use wheelhouse_fs::scratch;

/// An archive being written.
pub struct ArchiveWriter {
    path: PathBuf,
    form: ArchiveFormat,
    file: NamedTempFile,
    /// Where the header of each layer is.
    places: Vec<u64>,
    end: u64,
}

impl ArchiveWriter {
    /// Begins an archive that will be at `path`.
    ///
    /// # Errors
    /// [`Kind::Publish`], when the directory cannot be written.
    pub fn new(path: PathBuf, form: ArchiveFormat) -> Result<Self> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let file = scratch::file(directory.unwrap_or(Path::new(".")), &layout::mode())
            .context(Kind::Publish, || failed(&path))?;
        Ok(Self {
            path,
            form,
            file,
            places: Vec::new(),
            end: 0,
        })
    }

    fn name(&self, blob: &Blob) -> String {
        match self.form {
            ArchiveFormat::Layout(_) => format!("blobs/sha256/{}", blob.sha256),
            ArchiveFormat::Docker(_) => docker_name(&blob.digest()),
        }
    }

    /// The files behind the layers.
    fn tail(&self, composed: &ImageSet) -> Result<Vec<(String, Vec<u8>)>> {
        match &self.form {
            ArchiveFormat::Layout(tag) => {
                let documents = composed
                    .documents()
                    .map(|document| (self.name(&document.blob), document.bytes.clone()));
                let index = layout::index(None, composed.root(), tag.as_deref());
                let own = [
                    (layout::LAYOUT_NAME.to_owned(), layout::LAYOUT.to_vec()),
                    (layout::INDEX_NAME.to_owned(), index),
                ];
                Ok(documents.chain(own).collect())
            }
            ArchiveFormat::Docker(name) => docker_tail(composed, name.as_deref()),
        }
    }
}

impl ImageWriter for ArchiveWriter {
    fn wants_plain(&self) -> bool {
        matches!(self.form, ArchiveFormat::Docker(_))
    }

    fn begin(&mut self, sizes: &[u64]) -> Result<()> {
        for size in sizes {
            self.places.push(self.end);
            self.end += BLOCK + size + padding(*size);
        }
        self.file
            .as_file()
            .set_len(self.end)
            .context(Kind::Publish, || failed(&self.path))
    }

    fn open(&self, index: usize) -> Result<Box<dyn BlobOutput + '_>> {
        let place = self.places[index];
        Ok(Box::new(ArchiveOutput {
            archive: self,
            place,
            position: place + BLOCK,
        }))
    }

    fn finish(mut self: Box<Self>, composed: &ImageSet) -> Result<()> {
        let tail = self.tail(composed)?;
        self.add_foreign(composed)?;
        let end = self.end;
        append(self.file.as_file_mut(), end, &tail)
            .context(Kind::Publish, || failed(&self.path))?;
        self.file
            .persist(&self.path)
            .map(drop)
            .context(Kind::Publish, || failed(&self.path))
    }
}

impl ArchiveWriter {
    /// Adds the layers of base images: to an archive for docker as they are uncompressed.
    fn add_foreign(&mut self, composed: &ImageSet) -> Result<()> {
        let supplies: Vec<(String, BlobSource)> = match self.form {
            ArchiveFormat::Layout(_) => composed
                .foreign()
                .map(|(blob, supply)| (self.name(&blob), supply))
                .collect(),
            ArchiveFormat::Docker(_) => base_layers(composed)
                .map(|(diff_id, supply)| (docker_name(diff_id), supply.inflated()))
                .collect(),
        };
        for (name, supply) in supplies {
            self.add(&name, &supply)?;
        }
        Ok(())
    }

    /// Writes one more file, whose size is known when it is there.
    fn add(&mut self, name: &str, supply: &BlobSource) -> Result<()> {
        let mut output = ArchiveOutput {
            archive: self,
            place: self.end,
            position: self.end + BLOCK,
        };
        supply.write(&mut output)?;
        let size = output.position - output.place - BLOCK;
        let header = header(name, size, EntryType::Regular);
        let file = self.file.as_file();
        file.write_all_at(&header, self.end)
            .context(Kind::Publish, || failed(&self.path))?;
        self.end += BLOCK + size + padding(size);
        Ok(())
    }
}

fn base_layers(composed: &ImageSet) -> impl Iterator<Item = (&str, BlobSource)> {
    let bases = composed
        .images
        .iter()
        .filter_map(|image| image.base.as_ref());
    bases.flat_map(BaseImage::layers)
}

fn docker_name(diff_id: &str) -> String {
    format!("{}.tar", diff_id.trim_start_matches("sha256:"))
}

fn append(file: &mut File, end: u64, entries: &[(String, Vec<u8>)]) -> io::Result<()> {
    file.seek(SeekFrom::Start(end))?;
    write_entries(file, entries)
}

/// Writes the last entries of an archive, and its end.
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

/// The configuration of the image, and the list of what is in the archive.
fn docker_tail(composed: &ImageSet, name: Option<&str>) -> Result<Vec<(String, Vec<u8>)>> {
    let [image] = &composed.images[..] else {
        let message = "an archive for docker has one image, and these targets need several";
        return Err(Error::new(Kind::Input, message)
            .with_hint("Use --all-in-one, or oci-archive: which has one for each architecture."));
    };
    let config = format!("{}.json", image.config.blob.sha256);
    let list = json!([{
        "Config": config,
        "RepoTags": name.into_iter().collect::<Vec<_>>(),
        "Layers": docker_layers(composed, image),
    }]);
    let list = serde_json::to_vec(&list).expect("a value is JSON");
    Ok(vec![
        (config, image.config.bytes.clone()),
        ("manifest.json".to_owned(), list),
    ])
}

fn docker_layers(composed: &ImageSet, image: &BuiltImage) -> Vec<String> {
    let base = base_layers(composed).map(|(diff_id, _)| docker_name(diff_id));
    let own = image
        .layers
        .iter()
        .map(|index| composed.layers[*index].diff);
    base.chain(own.map(|blob| docker_name(&blob.digest())))
        .collect()
}

struct ArchiveOutput<'a> {
    archive: &'a ArchiveWriter,
    place: u64,
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
        let header = header(&self.archive.name(blob), blob.size, EntryType::Regular);
        let file = self.archive.file.as_file();
        file.write_all_at(&header, self.place)
            .context(Kind::Publish, || failed(&self.archive.path))
    }
}

fn failed(path: &Path) -> String {
    format!("failed to write the image to {}", path.display())
}
