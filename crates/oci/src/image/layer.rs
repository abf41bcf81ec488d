//! Layers: tar archives that are the same to the bit whoever makes them, where and when.
//!
//! A layer is a recipe. Its size is known before a byte of it is made, and its bytes can be made
//! as often as they are wanted, so that none is kept in memory or in a temporary file. Nothing is
//! compressed: wheels are already. See [`crate::image::stored_gzip`].
//!
//! Never decides what belongs into which layer: see [`crate::image::layer_plan`].

use std::fmt::Write as _;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use fs_err::File;
use tar::{EntryType, Header};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, Sha256};

use crate::image::blob::BlobWriter;
use crate::image::stored_gzip::{self, StoredGzip};

/// The user that builder images run as (S2I), and the group that owns what arbitrary users of
/// `OpenShift` share.
const OWNER: (u64, u64) = (1001, 0);
const DIRECTORY_MODE: u32 = 0o775;
const FILE_MODE: u32 = 0o664;

/// The time of every file, 1980-01-01: the first that a zip archive knows. It is not that of the
/// build, so that a layer whose files have not changed is the same layer still.
pub const LAYER_TIME: u64 = 315_532_800;

pub(crate) const BLOCK: u64 = 512;
/// Two blocks of zeros: the end of an archive.
pub(crate) const END: [u8; 1024] = [0; 1024];
pub(crate) const CHUNK: usize = 256 * 1024;

/// One layer, as what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Sorted by name.
    entries: Vec<LayerEntry>,
}

/// A file or directory of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerEntry {
    /// Relative to the root of the image, with `/`.
    pub name: String,
    pub content: EntryContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent {
    Directory,
    Bytes(Vec<u8>),
    /// A file of a wheelhouse, read whenever it is needed.
    File {
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// What it must be, if that is recorded.
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
            Self::Bytes(bytes) => out.write_all(bytes).map_err(unwritable),
            Self::File { path, size, .. } => copy(path, *size, out),
        }
    }

    /// Writes it, and fails if it is not what it must be.
    fn write_checked(&self, out: &mut dyn Write) -> Result<()> {
        let Self::File {
            path,
            sha256: Some(sha256),
            ..
        } = self
        else {
            return self.write(out);
        };
        let mut digested = BlobWriter::new(out);
        self.write(&mut digested)?;
        let (_, blob) = digested.finish();
        if blob.sha256 == *sha256 {
            Ok(())
        } else {
            Err(changed(path))
        }
    }
}

impl Layer {
    /// Makes a layer of `entries`, in whatever order they come.
    #[must_use]
    pub fn new(mut entries: Vec<LayerEntry>) -> Self {
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Self { entries }
    }

    /// The size of the archive in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| {
            let size = entry.content.size();
            entry.header().len() as u64 + size + padding(size)
        });
        entries.sum::<u64>() + END.len() as u64
    }

    /// The size of the stored archive in bytes.
    #[must_use]
    pub fn stored_size(&self) -> u64 {
        stored_gzip::size(self.size())
    }

    /// Names the bytes of the archive without making them, if all its files have recorded digests.
    #[must_use]
    pub fn recipe(&self) -> Option<Sha256> {
        let mut recipe = String::new();
        for LayerEntry { name, content } in &self.entries {
            let what = match content {
                EntryContent::Directory => "directory".to_owned(),
                EntryContent::Bytes(bytes) => Sha256::of(bytes).to_string(),
                EntryContent::File { sha256, .. } => sha256.as_ref()?.to_string(),
            };
            let _ = writeln!(recipe, "{what} {} {} {name}", content.size(), name.len());
        }
        Some(Sha256::of(recipe.as_bytes()))
    }

    /// Whether nobody has written to any of its files since they were placed.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.entries.iter().all(|entry| match &entry.content {
            EntryContent::File { path, size, .. } => wheelhouse_store::is_unmodified(path, *size),
            EntryContent::Directory | EntryContent::Bytes(_) => true,
        })
    }

    /// Writes the archive as a blob of a registry: as gzip that compresses nothing. What the files
    /// are is not checked, for the digest of the whole tells.
    ///
    /// # Errors
    /// A file that cannot be read ([`Kind::Input`]) or has another size ([`Kind::Verification`]),
    /// and what `out` fails with ([`Kind::Publish`]).
    pub fn write_stored(&self, out: &mut dyn Write) -> Result<()> {
        let mut stored = StoredGzip::new(out).map_err(unwritable)?;
        self.write_by(&mut stored, EntryContent::write)?;
        stored.finish().map(drop).map_err(unwritable)
    }

    /// Writes the archive, and checks each file.
    ///
    /// # Errors
    /// A file that cannot be read ([`Kind::Input`]) or is not what it was ([`Kind::Verification`]),
    /// and what `out` fails with ([`Kind::Publish`]).
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        self.write_by(out, EntryContent::write_checked)
    }

    fn write_by(
        &self,
        out: &mut dyn Write,
        write: fn(&EntryContent, &mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        for entry in &self.entries {
            out.write_all(&entry.header()).map_err(unwritable)?;
            write(&entry.content, out)?;
            let padding = usize::try_from(padding(entry.content.size())).unwrap_or(0);
            out.write_all(&END[..padding]).map_err(unwritable)?;
        }
        out.write_all(&END).map_err(unwritable)
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

/// The header of a file or directory, with that of its name if it is too long for one.
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
        .expect("names of entries are relative, and memory takes them");
    builder.get_ref().clone()
}

/// What fills the last block behind `size` bytes.
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
            .ok_or_else(|| changed(path))?;
        out.write_all(&buffer[..count]).map_err(unwritable)?;
    }
    if left == 0 {
        Ok(())
    } else {
        Err(changed(path))
    }
}

fn changed(path: &std::path::Path) -> Error {
    let message = format!("`{}` is not what its manifest says", path.display());
    Error::new(Kind::Verification, message)
        .with_hint("Make the wheelhouse anew; `wheelhouse verify` lists all that is wrong with it.")
}

fn unwritable(error: io::Error) -> Error {
    Error::new(Kind::Publish, "a layer cannot be written").caused_by(error)
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
