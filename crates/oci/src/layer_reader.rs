//! The files of one directory of an image, read from its layers.
//!
//! 1. Every layer is read once, in order. Its names go to a [`RootFs`], and the contents of the files that
//!    are in the directory as far as is known by then are taken at once.
//! 2. The root tells which files the directory has in the end, links followed.
//! 3. What was not taken, because a link leads to it from elsewhere, is taken from its layer, which is
//!    read once more. Images without such links are never read twice.
//!
//! Never writes anything: a [`ContentSink`] does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tar::EntryType;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use crate::image::builder::LABEL_PREFIX;
use crate::root_fs::{FsNode, RootFs};
use crate::transport::SourceImage;
use wheelhouse_archive::Limits;
use wheelhouse_archive::safe_path::{components, invalid_entry};
use wheelhouse_archive::tarball::{self, TarEntry};
use wheelhouse_fs::digest::Digester;

/// Where a wheelhouse is unless the image says where.
pub const DEFAULT_PATH: &str = "opt/app-root/wheelhouse";

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Takes the contents of files.
pub(super) trait ContentSink {
    /// The result of taking a content. It is dropped once no name of the image stands for the content.
    type Output;

    /// The most bytes to take before it is known what is needed in the end.
    const EAGER_BYTES: u64;

    /// Returns whether the content of the file `name` is needed.
    fn wants(&self, name: &str) -> bool;

    /// Takes the content of the file `name`.
    ///
    /// # Errors
    /// Whatever ends the visit.
    fn take(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<Self::Output>;
}

/// A file of the directory.
pub(super) struct FoundFile<T> {
    /// In bytes.
    pub(super) size: u64,
    /// Its content, if the taker wanted it; the same for all names of one file.
    pub(super) taken: Option<Arc<T>>,
}

/// The contents of a directory of an image.
pub(super) struct DirectoryContents<T> {
    /// By their names relative to the directory.
    pub(super) files: BTreeMap<String, FoundFile<T>>,
    /// The directories of the image that hold wheels, if this one has no files.
    pub(super) elsewhere: BTreeSet<String>,
}

/// Where the image says that its wheelhouse is, as layers name it.
#[must_use]
pub fn labelled_path(config: &Value) -> Option<&str> {
    let label = config["config"]["Labels"][format!("{LABEL_PREFIX}path")].as_str()?;
    Some(label.trim_matches('/'))
}

/// Returns the files of the directory `path` of `image`, of which the layers from `first` on are read.
///
/// # Errors
/// [`Kind::Fetch`]: layers that cannot be read or are not what their digests say, links that lead
/// nowhere, and what must not be in such a directory.
pub(super) fn visit<T: ContentSink>(
    image: &SourceImage,
    path: &str,
    first: usize,
    taker: &mut T,
) -> Result<DirectoryContents<T::Output>> {
    let mut walk = DirectoryScan {
        path,
        layer: first,
        root: RootFs::new(),
        at_once_left: T::EAGER_BYTES,
        taker,
    };
    let mut budget = ReadBudget::of(image);
    for layer in first..image.layers.len() {
        walk.layer = layer;
        walk.root.begin_layer();
        read_layer(image, layer, &mut budget, &mut |index, entry| {
            walk.entry(index, entry)
        })?;
    }
    let files = walk.root.files(path)?;
    let elsewhere = if files.is_empty() {
        walk.root.directories_with(is_wheel)
    } else {
        BTreeSet::new()
    };
    // Drops the contents that no file of the directory needs.
    drop(walk);
    take_linked(image, &files, taker)?;
    let mut bytes_left = ReadBudget::of(image).bytes;
    let files = files.into_iter().map(|(name, content)| {
        // Each name may become a file of its own.
        let left = bytes_left.checked_sub(content.size);
        bytes_left = left.ok_or_else(|| bomb(&name))?;
        let (size, taken) = (content.size, content.taken.get().cloned());
        Ok((name, FoundFile { size, taken }))
    });
    Ok(DirectoryContents {
        files: files.collect::<Result<_>>()?,
        elsewhere,
    })
}

/// Takes what is wanted of `files` and was not taken yet.
fn take_linked<T: ContentSink>(
    image: &SourceImage,
    files: &BTreeMap<String, Arc<LayerFile<T::Output>>>,
    taker: &mut T,
) -> Result<()> {
    // By layer and number of the entry.
    let mut missing: BTreeMap<usize, BTreeMap<u64, &str>> = BTreeMap::new();
    for (name, content) in files {
        if content.taken.get().is_none() && taker.wants(name) {
            let layer = missing.entry(content.layer).or_default();
            layer.insert(content.index, name);
        }
    }
    let mut budget = ReadBudget::of(image);
    for (layer, names) in missing {
        read_layer(image, layer, &mut budget, &mut |index, entry| {
            if let Some(name) = names.get(&index) {
                let taken = taker.take(name, entry)?;
                files[*name].taken.get_or_init(|| Arc::new(taken));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The content of a file of a layer.
struct LayerFile<T> {
    layer: usize,
    /// The number of its entry in the layer.
    index: u64,
    size: u64,
    taken: OnceLock<Arc<T>>,
}

struct DirectoryScan<'a, T: ContentSink> {
    path: &'a str,
    layer: usize,
    root: RootFs<Arc<LayerFile<T::Output>>>,
    at_once_left: u64,
    taker: &'a mut T,
}

impl<T: ContentSink> DirectoryScan<'_, T> {
    fn entry(&mut self, index: u64, entry: &mut TarEntry<'_>) -> Result<()> {
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts = components(raw.trim_start_matches('/'))?;
        let Some((last, _)) = parts.split_last() else {
            return Ok(());
        };
        let path = self.root.place_of(&parts.join("/"))?;
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if *last == OPAQUE {
            self.root.make_opaque(parent);
            return Ok(());
        }
        if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            let hidden = format!("{parent}/{hidden}");
            self.root.white_out(hidden.trim_start_matches('/'));
            return Ok(());
        }
        let target = || {
            let target = entry.link_name_bytes().unwrap_or_default();
            String::from_utf8_lossy(&target).into_owned()
        };
        match entry.header().entry_type() {
            EntryType::Directory => self.root.put_directory(&path),
            EntryType::Symlink => self.root.put(path, FsNode::Link(target()))?,
            EntryType::Link => self.root.put_hard_link(path, &target())?,
            EntryType::Regular => {
                let content = LayerFile {
                    layer: self.layer,
                    index,
                    size: entry.size(),
                    taken: OnceLock::new(),
                };
                if let Some(name) = self.name_inside(&path)
                    && self.taker.wants(name)
                    && let Some(left) = self.at_once_left.checked_sub(content.size)
                {
                    self.at_once_left = left;
                    let taken = self.taker.take(name, entry)?;
                    content.taken.get_or_init(|| Arc::new(taken));
                }
                self.root.put(path, FsNode::File(Arc::new(content)))?;
            }
            _ => self.root.put(path, FsNode::Other)?,
        }
        Ok(())
    }

    /// Returns the name of `path` in the directory, which is where the layers read so far say.
    fn name_inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        let directory = self.root.resolve(self.path)?;
        if directory.is_empty() {
            return Some(path);
        }
        path.strip_prefix(&directory)?.strip_prefix('/')
    }
}

/// The entries and bytes that may still be read of an image.
struct ReadBudget {
    entries: u64,
    bytes: u64,
}

impl ReadBudget {
    fn of(image: &SourceImage) -> Self {
        let sizes = image.layers.iter().map(|layer| i128::from(layer.size()));
        let size = u64::try_from(sizes.sum::<i128>()).unwrap_or(u64::MAX);
        Self {
            entries: limits::IMAGE_ENTRIES,
            bytes: Limits::default().byte_limit(size),
        }
    }

    fn count(&mut self, entry: &TarEntry<'_>) -> Result<()> {
        let entries = self.entries.checked_sub(1);
        let bytes = self.bytes.checked_sub(entry.size());
        let (Some(entries), Some(bytes)) = (entries, bytes) else {
            return Err(bomb(&String::from_utf8_lossy(&entry.path_bytes())));
        };
        (self.entries, self.bytes) = (entries, bytes);
        Ok(())
    }
}

fn bomb(name: &str) -> Error {
    let fault = "takes the image beyond what may be unpacked";
    invalid_entry(name, fault).with_hint("It looks like a decompression bomb.")
}

/// Calls `visit` with each entry of a layer and its number, and checks the digests of the layer.
fn read_layer(
    image: &SourceImage,
    layer: usize,
    budget: &mut ReadBudget,
    visit: &mut dyn FnMut(u64, &mut TarEntry<'_>) -> Result<()>,
) -> Result<()> {
    let unreadable = || {
        let name = image.source.name();
        format!("layer {} of {name} cannot be read", layer + 1)
    };
    let mut index = 0;
    let mut visit = |entry: &mut TarEntry<'_>| {
        budget.count(entry)?;
        index += 1;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => Ok(()),
            _ => visit(index, entry),
        }
    };
    each_entry(image, layer, &mut visit).context(Kind::Fetch, unreadable)
}

fn each_entry(
    image: &SourceImage,
    layer: usize,
    visit: &mut dyn FnMut(&mut TarEntry<'_>) -> Result<()>,
) -> Result<()> {
    let damaged = || "it is damaged".to_owned();
    let blob = image.source.blob(&image.layers[layer])?;
    let blob = SharedReader(Rc::new(RefCell::new(blob)));
    let inflated =
        tarball::decompress(BufReader::new(blob.clone())).context(Kind::Fetch, damaged)?;
    let digest = Rc::new(RefCell::new(Digester::default()));
    let digested = DigestReader {
        inner: inflated,
        digest: Rc::clone(&digest),
    };
    let mut whole = SharedReader(Rc::new(RefCell::new(digested)));
    tarball::for_each_entry(BufReader::new(whole.clone()), visit)?;
    for rest in [&mut whole as &mut dyn Read, &mut blob.clone()] {
        io::copy(&mut rest.take(PADDING), &mut io::sink()).context(Kind::Fetch, damaged)?;
    }
    let digest = format!("sha256:{}", digest.take().finish().sha256);
    match image.config["rootfs"]["diff_ids"][layer].as_str() {
        Some(expected) if expected == digest => Ok(()),
        _ => Err(Error::new(
            Kind::Fetch,
            "its content has another digest than the configuration says",
        )),
    }
}

pub(super) fn is_wheel(name: &str) -> bool {
    let extension = std::path::Path::new(name).extension();
    extension.is_some_and(|extension| extension == "whl")
}

/// What may follow the end of an archive in a layer, in bytes.
const PADDING: u64 = 64 << 20;

/// A reader of which one end is kept, to read the rest when somebody else has had enough.
struct SharedReader<R>(Rc<RefCell<R>>);

impl<R> Clone for SharedReader<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> Read for SharedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

struct DigestReader {
    inner: Box<dyn Read>,
    digest: Rc<RefCell<Digester>>,
}

impl Read for DigestReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}
