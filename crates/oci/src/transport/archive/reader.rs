//! Reads images from `oci-archive:` and `docker-archive:`, tar archives, without unpacking them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;
use serde_json::Value;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::format::ArchiveFormat;
use crate::image::blob::Blob;
use crate::image::manifest::{self, Document};
use crate::transport::image_reader::{ImageReader, MAX_DOCUMENT_SIZE, parse};
use crate::transport::layout::{self, INDEX_NAME};
use wheelhouse_fs::input;

/// The maximum number of files in an archive.
const MAX_ENTRIES: usize = 100_000;

/// An image in an archive.
pub struct ArchiveReader {
    /// The name of the image in messages, with its transport.
    name: String,
    format: ArchiveFormat,
    file: Arc<File>,
    entries: BTreeMap<String, EntryLocation>,
    /// The file names in a Docker archive by digest.
    digests: BTreeMap<String, String>,
    /// The generated manifest of a Docker archive, which contains none.
    manifest: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum EntryLocation {
    Offset { offset: u64, size: u64 },
    Link(String),
}

/// An image in the `manifest.json` of a Docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ArchiveReader {
    /// Opens the archive at `path` and lists its files.
    ///
    /// # Errors
    /// [`Kind::Fetch`] if the archive cannot be read or does not contain the image.
    pub fn open(path: &Path, format: ArchiveFormat) -> Result<Self> {
        let transport = match format {
            ArchiveFormat::Layout(_) => "oci-archive",
            ArchiveFormat::Docker(_) => "docker-archive",
        };
        let name = format!("{transport}:{}", path.display());
        let failed = || format!("failed to read {}", path.display());
        let file = input::open(path).context(Kind::Fetch, failed)?;
        Self::read(file.into_parts().0, name, format)
    }

    /// Lists the files of the archive `file`, whose name in messages is `name`.
    ///
    /// # Errors
    /// As [`ArchiveReader::open`].
    pub fn read(file: File, name: String, format: ArchiveFormat) -> Result<Self> {
        let entries = entries(&file).context(Kind::Fetch, || format!("failed to read {name}"))?;
        let mut source = Self {
            name,
            format,
            file: Arc::new(file),
            entries,
            digests: BTreeMap::new(),
            manifest: None,
        };
        if let ArchiveFormat::Docker(name) = source.format.clone() {
            source.read_docker(name.as_deref())?;
        }
        Ok(source)
    }

    /// Generates a manifest from the `manifest.json` of a Docker archive.
    fn read_docker(&mut self, name: Option<&str>) -> Result<()> {
        let images: Vec<DockerImage> =
            parse(&self.bytes("manifest.json")?, self, "list of images")?;
        let image = self.select(images, name)?;
        let bytes = self.bytes(&image.config)?;
        let config: Value = parse(&bytes, self, "configuration")?;
        let blob = Blob::of(&bytes);
        self.digests.insert(blob.digest(), image.config);
        let diff_ids = config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.map(Vec::as_slice).unwrap_or_default();
        let mut layers = Vec::new();
        for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
            let digest = diff_id.as_str().unwrap_or_default().to_owned();
            layers.push(self.layer(layer, &digest)?);
            self.digests.insert(digest, layer.clone());
        }
        if layers.len() != image.layers.len().max(diff_ids.len()) {
            return Err(self.error("has another number of layers than its configuration lists"));
        }
        let config = Document {
            bytes,
            blob,
            media_type: MediaType::ImageConfig,
        };
        let manifest = manifest::manifest(&config, layers, &BTreeMap::new());
        self.manifest = Some(manifest.bytes);
        Ok(())
    }

    fn layer(&self, name: &str, digest: &str) -> Result<Descriptor> {
        let sha256 = digest
            .strip_prefix("sha256:")
            .and_then(|hex| hex.parse().ok());
        let sha256 = sha256.ok_or_else(|| self.error("has a layer without a digest"))?;
        let (_, size) = self.locate(name)?;
        Ok(Blob { sha256, size }.descriptor(MediaType::ImageLayer))
    }

    fn select(&self, images: Vec<DockerImage>, name: Option<&str>) -> Result<DockerImage> {
        let is_only = images.len() == 1;
        let mut names = Vec::new();
        for image in images {
            let tags = image.repo_tags.clone().unwrap_or_default();
            if name.map_or(is_only, |name| tags.iter().any(|tag| tag == name)) {
                return Ok(image);
            }
            names.extend(tags);
        }
        let what = name.map_or("several images".to_owned(), |name| {
            format!("no image `{name}`")
        });
        let hint = format!("Name one of its images: {}.", names.join(", "));
        Err(self.error(&format!("has {what}")).with_hint(hint))
    }

    fn error(&self, what: &str) -> Error {
        Error::new(Kind::Fetch, format!("{} {what}", self.name()))
    }

    /// Returns the offset and the size of a file. Links are followed.
    fn locate(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = name;
        for _ in 0..4 {
            match self.entries.get(name) {
                Some(EntryLocation::Offset { offset, size }) => return Ok((*offset, *size)),
                Some(EntryLocation::Link(target)) => name = target,
                None => break,
            }
        }
        Err(self.error(&format!("has no `{name}`")))
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let (offset, size) = self.locate(name)?;
        let range = FileRange {
            file: Arc::clone(&self.file),
            offset,
            end: offset + size,
        };
        Ok(Box::new(BufReader::with_capacity(64 << 10, range)))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let failed = || format!("failed to read `{name}` of {}", self.name());
        self.reader(name)?
            .take(MAX_DOCUMENT_SIZE)
            .read_to_end(&mut bytes)
            .context(Kind::Fetch, failed)?;
        Ok(bytes)
    }
}

impl ImageReader for ArchiveReader {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<Vec<u8>> {
        match (&self.format, &self.manifest) {
            (ArchiveFormat::Layout(tag), _) => {
                layout::read_root(self, self.reader(INDEX_NAME)?, tag.as_deref())
            }
            (ArchiveFormat::Docker(_), manifest) => Ok(manifest.clone().unwrap_or_default()),
        }
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self.digests.get(&descriptor.digest().to_string()) {
            Some(name) => self.reader(name),
            None => self.reader(&layout::blob_path(descriptor)?),
        }
    }
}

/// Lists the files of the archive with their locations.
fn entries(file: &File) -> io::Result<BTreeMap<String, EntryLocation>> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut locations = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let name = name.trim_start_matches("./").to_owned();
        let location = match entry.link_name()? {
            // The target of a hard link is relative to the root of the archive.
            Some(target) if entry.header().entry_type().is_hard_link() => {
                EntryLocation::Link(resolve_target("", &target))
            }
            Some(target) => EntryLocation::Link(resolve_target(&name, &target)),
            None => EntryLocation::Offset {
                offset: entry.raw_file_position(),
                size: entry.size(),
            },
        };
        locations.insert(name, location);
        if locations.len() > MAX_ENTRIES {
            return Err(io::Error::other("the archive has too many files"));
        }
    }
    Ok(locations)
}

/// Resolves the target of the link `name` to a name in the archive, which need not exist.
fn resolve_target(name: &str, target: &Path) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    let target = target.to_string_lossy();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A range of a file, read without changing the position of the shared file handle.
struct FileRange {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
