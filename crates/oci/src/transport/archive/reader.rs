//! The sources `oci-archive:` and `docker-archive:`, tar archives that are read where they are.

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

use super::ArchiveFormat;
use crate::image::blob::Blob;
use crate::image::manifest::{self, Document};
use crate::transport::image_reader::{ImageReader, LARGEST_DOCUMENT, parse};
use crate::transport::layout::{self, INDEX_NAME};
use wheelhouse_fs::input;

/// The most files that an archive of an image may have.
const MOST_ENTRIES: usize = 100_000;

/// An image of an archive.
pub struct ArchiveReader {
    /// The image as messages call it, with its transport.
    name: String,
    form: ArchiveFormat,
    file: Arc<File>,
    entries: BTreeMap<String, EntryLocation>,
    /// What a Docker archive has under which digest.
    digests: BTreeMap<String, String>,
    /// The manifest that a Docker archive has not.
    manifest: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum EntryLocation {
    At { offset: u64, size: u64 },
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
    /// Reads what is where in the archive at `path`.
    ///
    /// # Errors
    /// [`Kind::Fetch`], when it cannot be read or has no such image.
    pub fn open(path: &Path, form: ArchiveFormat) -> Result<Self> {
        let transport = match form {
            ArchiveFormat::Layout(_) => "oci-archive",
            ArchiveFormat::Docker(_) => "docker-archive",
        };
        let name = format!("{transport}:{}", path.display());
        let failed = || format!("failed to read {}", path.display());
        let file = input::open(path).context(Kind::Fetch, failed)?;
        Self::read(file.into_parts().0, name, form)
    }

    /// Reads what is where in the archive `file`, which messages call `name`.
    ///
    /// # Errors
    /// As [`ArchiveReader::open`].
    pub fn read(file: File, name: String, form: ArchiveFormat) -> Result<Self> {
        let entries = entries(&file).context(Kind::Fetch, || format!("failed to read {name}"))?;
        let mut source = Self {
            name,
            form,
            file: Arc::new(file),
            entries,
            digests: BTreeMap::new(),
            manifest: None,
        };
        if let ArchiveFormat::Docker(name) = source.form.clone() {
            source.read_docker(name.as_deref())?;
        }
        Ok(source)
    }

    /// Makes a manifest of what the archive lists.
    fn read_docker(&mut self, name: Option<&str>) -> Result<()> {
        let listed: Vec<DockerImage> =
            parse(&self.bytes("manifest.json")?, self, "list of images")?;
        let listed = self.choose(listed, name)?;
        let bytes = self.bytes(&listed.config)?;
        let config: Value = parse(&bytes, self, "configuration")?;
        let blob = Blob::of(&bytes);
        self.digests.insert(blob.digest(), listed.config);
        let diff_ids = config["rootfs"]["diff_ids"].as_array();
        let diff_ids = diff_ids.map(Vec::as_slice).unwrap_or_default();
        let mut layers = Vec::new();
        for (layer, diff_id) in listed.layers.iter().zip(diff_ids) {
            let digest = diff_id.as_str().unwrap_or_default().to_owned();
            layers.push(self.layer(layer, &digest)?);
            self.digests.insert(digest, layer.clone());
        }
        if layers.len() != listed.layers.len().max(diff_ids.len()) {
            return Err(self.error("has another number of layers than it says"));
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
        let (_, size) = self.place(name)?;
        Ok(Blob { sha256, size }.descriptor(MediaType::ImageLayer))
    }

    fn choose(&self, listed: Vec<DockerImage>, name: Option<&str>) -> Result<DockerImage> {
        let only = listed.len() == 1;
        let mut names = Vec::new();
        for image in listed {
            let tags = image.repo_tags.clone().unwrap_or_default();
            if name.map_or(only, |name| tags.iter().any(|tag| tag == name)) {
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

    /// Offset and size of a file, links followed.
    fn place(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = name;
        for _ in 0..4 {
            match self.entries.get(name) {
                Some(EntryLocation::At { offset, size }) => return Ok((*offset, *size)),
                Some(EntryLocation::Link(target)) => name = target,
                None => break,
            }
        }
        Err(self.error(&format!("has no `{name}`")))
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let (offset, size) = self.place(name)?;
        let part = FileRange {
            file: Arc::clone(&self.file),
            offset,
            end: offset + size,
        };
        Ok(Box::new(BufReader::with_capacity(64 << 10, part)))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let failed = || format!("`{name}` of {} cannot be read", self.name());
        self.reader(name)?
            .take(LARGEST_DOCUMENT)
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
        match (&self.form, &self.manifest) {
            (ArchiveFormat::Layout(tag), _) => {
                layout::root(self, self.reader(INDEX_NAME)?, tag.as_deref())
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

/// Where every file of the archive is, by its name.
fn entries(file: &File) -> io::Result<BTreeMap<String, EntryLocation>> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut places = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let name = name.trim_start_matches("./").to_owned();
        let place = match entry.link_name()? {
            // The target of a hard link starts from the root of the archive.
            Some(target) if entry.header().entry_type().is_hard_link() => {
                EntryLocation::Link(beside("", &target))
            }
            Some(target) => EntryLocation::Link(beside(&name, &target)),
            None => EntryLocation::At {
                offset: entry.raw_file_position(),
                size: entry.size(),
            },
        };
        places.insert(name, place);
        if places.len() > MOST_ENTRIES {
            return Err(io::Error::other("it has too many files"));
        }
    }
    Ok(places)
}

/// What `target` means for the link `name`; a name in the archive or none at all.
fn beside(name: &str, target: &Path) -> String {
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

/// A part of a file, read without moving anybody else's place in it.
struct FileRange {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
