//! Layers: reproducible tar archives.
//!
//! A layer is a list of entries. Its size is known before it is written, and its bytes can be generated repeatedly, so that
//! they need neither memory nor a temporary file. Layers are not compressed, because wheels are: see
//! `stored_gzip`. The files of each layer are chosen in [`crate::image::layer_plan`].

use std::fmt::Write as _;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use fs_err::File;
use tar::{EntryType, Header};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::image::blob::BlobWriter;
use crate::image::stored_gzip::{self, StoredGzip};

/// The user of S2I builder images, and the group to which the arbitrary users of `OpenShift` belong.
const OWNER: (u64, u64) = (1001, 0);
const DIRECTORY_MODE: u32 = 0o775;
const FILE_MODE: u32 = 0o664;

/// The modification time of every file, 1980-01-01, the first that zip archives can represent. It is constant so that a
/// layer with unchanged files has the same digest.
pub const LAYER_TIME: u64 = 315_532_800;

pub(crate) const BLOCK: u64 = 512;
/// The end of an archive: two blocks of zeros.
pub(crate) const END: [u8; 1024] = [0; 1024];
pub(crate) const CHUNK: usize = 256 * 1024;

/// A layer as a list of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Sorted by name.
    entries: Vec<LayerEntry>,
}

/// A file or directory of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerEntry {
    /// The path relative to the root of the image, with `/`.
    pub name: String,
    /// The content.
    pub content: EntryContent,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent {
    /// A directory.
    Directory,
    /// A file in memory.
    Bytes(Vec<u8>),
    /// A file of a wheelhouse, which is read whenever the layer is written.
    File {
        /// The path of the file on this machine.
        path: PathBuf,
        /// The size in bytes.
        size: u64,
        /// The expected digest, if it is recorded.
        sha256: Option<Sha256>,
    },
}

impl EntryContent {
    fn size(&self) -> u64 {
        match self {
            Self::Directory => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Directory => Ok(()),
            Self::Bytes(bytes) => out.write_all(bytes).map_err(write_error),
            Self::File { path, size, .. } => copy(path, *size, out),
        }
    }

    /// Writes the content, and fails if it differs from the recorded digest.
    fn write_checked(&self, out: &mut dyn Write) -> Result<()> {
        let Self::File {
            path,
            sha256: Some(sha256),
            ..
        } = self
        else {
            return self.write(out);
        };
        let mut writer = BlobWriter::new(out);
        self.write(&mut writer)?;
        let (_, blob) = writer.finish();
        if blob.sha256 == *sha256 {
            Ok(())
        } else {
            Err(changed_file(path))
        }
    }
}

impl Layer {
    /// Creates a layer. The order of `entries` is irrelevant.
    #[must_use]
    pub fn new(mut entries: Vec<LayerEntry>) -> Self {
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Self { entries }
    }

    /// Returns the size of the tar archive in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| {
            let size = entry.content.size();
            entry.header().len() as u64 + size + padding(size)
        });
        entries.sum::<u64>() + END.len() as u64
    }

    /// Returns the size of the gzip file in bytes.
    #[must_use]
    pub fn stored_size(&self) -> u64 {
        stored_gzip::size(self.size())
    }

    /// Returns a key that identifies the bytes of the layer without generating them, if the digests of all files are
    /// recorded.
    #[must_use]
    pub fn cache_key(&self) -> Option<Sha256> {
        let mut key = String::new();
        for LayerEntry { name, content } in &self.entries {
            let what = match content {
                EntryContent::Directory => "directory".to_owned(),
                EntryContent::Bytes(bytes) => Sha256::of(bytes).to_string(),
                EntryContent::File { sha256, .. } => sha256.as_ref()?.to_string(),
            };
            let _ = writeln!(key, "{what} {} {} {name}", content.size(), name.len());
        }
        Some(Sha256::of(key.as_bytes()))
    }

    /// Returns whether none of the files was modified since it was placed.
    #[must_use]
    pub fn is_unmodified(&self) -> bool {
        self.entries.iter().all(|entry| match &entry.content {
            EntryContent::File { path, size, .. } => wheelhouse_store::is_unmodified(path, *size),
            EntryContent::Directory | EntryContent::Bytes(_) => true,
        })
    }

    /// Writes the layer as a gzip file without compression. The digests of files are not verified, because the caller
    /// verifies that of the whole layer.
    ///
    /// # Errors
    /// [`Kind::Input`] if a file cannot be read, [`Kind::Verification`] if it has another size, and [`Kind::Publish`] if
    /// `out` cannot be written.
    pub fn write_stored(&self, out: &mut dyn Write) -> Result<()> {
        let mut stored = StoredGzip::new(out).map_err(write_error)?;
        self.write_entries(&mut stored, EntryContent::write)?;
        stored.finish().map(drop).map_err(write_error)
    }

    /// Writes the layer as a plain tar archive, and verifies each file.
    ///
    /// # Errors
    /// [`Kind::Input`] if a file cannot be read, [`Kind::Verification`] if it has changed, and [`Kind::Publish`] if `out`
    /// cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        self.write_entries(out, EntryContent::write_checked)
    }

    fn write_entries(
        &self,
        out: &mut dyn Write,
        write: fn(&EntryContent, &mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        for entry in &self.entries {
            out.write_all(&entry.header()).map_err(write_error)?;
            write(&entry.content, out)?;
            let padding = usize::try_from(padding(entry.content.size())).unwrap_or(0);
            out.write_all(&END[..padding]).map_err(write_error)?;
        }
        out.write_all(&END).map_err(write_error)
    }
}

impl LayerEntry {
    fn header(&self) -> Vec<u8> {
        let kind = match self.content {
            EntryContent::Directory => EntryType::Directory,
            EntryContent::Bytes(_) | EntryContent::File { .. } => EntryType::Regular,
        };
        header(&self.name, self.content.size(), kind)
    }
}

/// Creates the header of a file or directory, including an extension header if the name is long.
pub(crate) fn header(name: &str, size: u64, kind: EntryType) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_uid(OWNER.0);
    header.set_gid(OWNER.1);
    header.set_mtime(LAYER_TIME);
    header.set_mode(if kind.is_dir() {
        DIRECTORY_MODE
    } else {
        FILE_MODE
    });
    header.set_entry_type(kind);
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_data(&mut header, name, io::empty())
        .expect("the name is relative, and writing to memory succeeds");
    builder.get_ref().clone()
}

/// Returns the number of bytes that complete the last block after `size` bytes.
pub(crate) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}

fn copy(path: &std::path::Path, size: u64, out: &mut dyn Write) -> Result<()> {
    let unreadable = || format!("failed to read {}", path.display());
    let mut file = File::open(path).context(Kind::Input, unreadable)?;
    let mut buffer = vec![0; CHUNK];
    let mut left = size;
    loop {
        let count = file.read(&mut buffer).context(Kind::Input, unreadable)?;
        if count == 0 {
            break;
        }
        left = left
            .checked_sub(count as u64)
            .ok_or_else(|| changed_file(path))?;
        out.write_all(&buffer[..count]).map_err(write_error)?;
    }
    if left == 0 {
        Ok(())
    } else {
        Err(changed_file(path))
    }
}

fn changed_file(path: &std::path::Path) -> Error {
    let message = format!(
        "`{}` differs from the manifest of the wheelhouse",
        path.display()
    );
    Error::new(Kind::Verification, message)
        .with_hint("Build the wheelhouse again. `wheelhouse verify` lists all differences.")
}

fn write_error(error: io::Error) -> Error {
    Error::new(Kind::Publish, "failed to write a layer").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn layer(files: &BTreeMap<String, Vec<u8>>) -> Vec<LayerEntry> {
        files
            .iter()
            .map(|(name, bytes)| LayerEntry {
                name: name.clone(),
                content: EntryContent::Bytes(bytes.clone()),
            })
            .collect()
    }

    fn written(layer: &Layer) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer.write(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn files_round_trip_in_any_order(
            files in proptest::collection::btree_map("[a-z]{1,9}/[a-z._-]{3,140}", proptest::collection::vec(any::<u8>(), 0..1100), 0..8),
            turn in 0usize..8,
        ) {
            let entries = layer(&files);
            let mut turned = entries.clone();
            let half = turn.min(turned.len());
            turned.rotate_left(half);
            let (one, other) = (Layer::new(entries), Layer::new(turned));
            let bytes = written(&one);
            prop_assert_eq!(&bytes, &written(&other));
            prop_assert_eq!(bytes.len() as u64, one.size());
            let mut read = BTreeMap::new();
            for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
                let mut entry = entry.unwrap();
                let header = entry.header();
                prop_assert_eq!((header.uid().unwrap(), header.gid().unwrap()), OWNER);
                prop_assert_eq!(header.mtime().unwrap(), LAYER_TIME);
                prop_assert_eq!(header.mode().unwrap(), FILE_MODE);
                let name = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                read.insert(name, content);
            }
            prop_assert_eq!(read, files);
        }
    }

    #[test]
    fn rejects_changed_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.whl");
        fs_err::write(&path, b"wheel").unwrap();
        let of = |size, sha256| {
            let content = EntryContent::File {
                path: path.clone(),
                size,
                sha256: Some(Sha256::of(sha256)),
            };
            let name = "a.whl".to_owned();
            Layer::new(vec![LayerEntry { name, content }]).write(&mut Vec::new())
        };
        of(5, b"wheel").unwrap();
        for (size, sha256) in [(4, b"wheel"), (6, b"wheel"), (5, b"other")] {
            let error = of(size, sha256).unwrap_err();
            assert_eq!(error.kind(), Kind::Verification);
            assert!(error.to_string().contains("a.whl"), "{error}");
        }
    }
}
