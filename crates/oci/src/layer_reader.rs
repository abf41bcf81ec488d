//! Reads the files of one directory of an image from its layers.
//!
//! 1. Every layer is read once, in order. Its names are added to a `RootFs`, and files that are in the directory according
//!    to the layers so far are passed to a `ContentSink` immediately.
//! 2. The `RootFs` determines the final files of the directory, with links resolved.
//! 3. Files that are in the directory only by way of a link are read in a second pass over their layers. Images without such
//!    links are read once.

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
use crate::transport::image_reader::SourceImage;
use wheelhouse_archive::Limits;
use wheelhouse_archive::safe_path::{components, invalid_entry};
use wheelhouse_archive::tarball::{self, TarEntry};
use wheelhouse_fs::digest::Digester;

/// The path of a wheelhouse in images without a label.
pub const DEFAULT_PATH: &str = "opt/app-root/wheelhouse";

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Receives the contents of files.
pub(super) trait ContentSink {
    /// The result for a file. It is dropped if no name of the image refers to the file any more.
    type Output;

    /// The maximum number of bytes to read before the final files are known.
    const EAGER_BYTES: u64;

    /// Returns whether the content of the file `name` is needed.
    fn wants(&self, name: &str) -> bool;

    /// Reads the content of the file `name`.
    ///
    /// # Errors
    /// An error stops reading the image.
    fn read(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<Self::Output>;
}

/// A file of the directory.
pub(super) struct FoundFile<T> {
    /// In bytes.
    pub(super) size: u64,
    /// The output of the sink, if it wanted the file; shared by all names of one file.
    pub(super) output: Option<Arc<T>>,
}

/// The contents of a directory of an image.
pub(super) struct DirectoryContents<T> {
    /// The files by their names relative to the directory.
    pub(super) files: BTreeMap<String, FoundFile<T>>,
    /// The directories of the image that contain wheels, if this one has no files.
    pub(super) other_directories: BTreeSet<String>,
}

/// Returns the path of the wheelhouse in the label of the image, without the first slash.
#[must_use]
pub fn path_from_label(config: &Value) -> Option<&str> {
    let label = config["config"]["Labels"][format!("{LABEL_PREFIX}path")].as_str()?;
    Some(label.trim_matches('/'))
}

/// Reads the files of the directory `path` of `image` from the layers from `first` on.
///
/// # Errors
/// [`Kind::Fetch`] if a layer cannot be read or has another digest, if a link is broken, or if the directory contains
/// anything but files, links and directories.
pub(super) fn read_directory<T: ContentSink>(
    image: &SourceImage,
    path: &str,
    first: usize,
    sink: &mut T,
) -> Result<DirectoryContents<T::Output>> {
    let mut scan = DirectoryScan {
        path,
        layer: first,
        root: RootFs::new(),
        eager_bytes_left: T::EAGER_BYTES,
        sink,
    };
    let mut budget = ReadBudget::new(image);
    for layer in first..image.layers.len() {
        scan.layer = layer;
        scan.root.begin_layer();
        read_layer(image, layer, &mut budget, &mut |index, entry| {
            scan.entry(index, entry)
        })?;
    }
    let files = scan.root.files(path)?;
    let other_directories = if files.is_empty() {
        scan.root.directories_with(is_wheel)
    } else {
        BTreeSet::new()
    };
    // Drops the outputs of files that are not in the directory.
    drop(scan);
    read_linked(image, &files, sink)?;
    let mut bytes_left = ReadBudget::new(image).bytes;
    let files = files.into_iter().map(|(name, content)| {
        // Each name may be extracted as a separate file.
        let left = bytes_left.checked_sub(content.size);
        bytes_left = left.ok_or_else(|| limit_error(&name))?;
        let (size, output) = (content.size, content.output.get().cloned());
        Ok((name, FoundFile { size, output }))
    });
    Ok(DirectoryContents {
        files: files.collect::<Result<_>>()?,
        other_directories,
    })
}

/// Reads those of `files` that the sink wants and that were not read yet.
fn read_linked<T: ContentSink>(
    image: &SourceImage,
    files: &BTreeMap<String, Arc<LayerFile<T::Output>>>,
    sink: &mut T,
) -> Result<()> {
    // By layer and index of the entry.
    let mut missing: BTreeMap<usize, BTreeMap<u64, &str>> = BTreeMap::new();
    for (name, content) in files {
        if content.output.get().is_none() && sink.wants(name) {
            let layer = missing.entry(content.layer).or_default();
            layer.insert(content.index, name);
        }
    }
    let mut budget = ReadBudget::new(image);
    for (layer, names) in missing {
        read_layer(image, layer, &mut budget, &mut |index, entry| {
            if let Some(name) = names.get(&index) {
                let output = sink.read(name, entry)?;
                files[*name].output.get_or_init(|| Arc::new(output));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A file of a layer.
struct LayerFile<T> {
    layer: usize,
    /// The index of its entry in the layer.
    index: u64,
    size: u64,
    output: OnceLock<Arc<T>>,
}

struct DirectoryScan<'a, T: ContentSink> {
    path: &'a str,
    layer: usize,
    root: RootFs<Arc<LayerFile<T::Output>>>,
    eager_bytes_left: u64,
    sink: &'a mut T,
}

impl<T: ContentSink> DirectoryScan<'_, T> {
    fn entry(&mut self, index: u64, entry: &mut TarEntry<'_>) -> Result<()> {
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let parts = components(raw.trim_start_matches('/'))?;
        let Some((last, _)) = parts.split_last() else {
            return Ok(());
        };
        let path = self.root.resolve_entry(&parts.join("/"))?;
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
                    output: OnceLock::new(),
                };
                if let Some(name) = self.name_inside(&path)
                    && self.sink.wants(name)
                    && let Some(left) = self.eager_bytes_left.checked_sub(content.size)
                {
                    self.eager_bytes_left = left;
                    let output = self.sink.read(name, entry)?;
                    content.output.get_or_init(|| Arc::new(output));
                }
                self.root.put(path, FsNode::File(Arc::new(content)))?;
            }
            _ => self.root.put(path, FsNode::Other)?,
        }
        Ok(())
    }

    /// Returns the name of `path` relative to the directory, according to the layers read so far.
    fn name_inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        let directory = self.root.resolve(self.path)?;
        if directory.is_empty() {
            return Some(path);
        }
        path.strip_prefix(&directory)?.strip_prefix('/')
    }
}

/// The number of entries and bytes of an image that may still be read.
struct ReadBudget {
    entries: u64,
    bytes: u64,
}

impl ReadBudget {
    fn new(image: &SourceImage) -> Self {
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
            return Err(limit_error(&String::from_utf8_lossy(&entry.path_bytes())));
        };
        (self.entries, self.bytes) = (entries, bytes);
        Ok(())
    }
}

fn limit_error(name: &str) -> Error {
    let fault = "exceeds the size limit of the image";
    invalid_entry(name, fault).with_hint("It looks like a decompression bomb.")
}

/// Calls `visit` with each entry of a layer and its index, and verifies the digests of the layer.
fn read_layer(
    image: &SourceImage,
    layer: usize,
    budget: &mut ReadBudget,
    visit: &mut dyn FnMut(u64, &mut TarEntry<'_>) -> Result<()>,
) -> Result<()> {
    let unreadable = || {
        let name = image.source.name();
        format!("failed to read layer {} of {name}", layer + 1)
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
        io::copy(&mut rest.take(MAX_PADDING), &mut io::sink()).context(Kind::Fetch, damaged)?;
    }
    let digest = format!("sha256:{}", digest.take().finish().sha256);
    match image.config["rootfs"]["diff_ids"][layer].as_str() {
        Some(expected) if expected == digest => Ok(()),
        _ => Err(Error::new(
            Kind::Fetch,
            "its content has another digest than the configuration",
        )),
    }
}

pub(super) fn is_wheel(name: &str) -> bool {
    let extension = std::path::Path::new(name).extension();
    extension.is_some_and(|extension| extension == "whl")
}

/// The maximum number of bytes after the end of an archive in a layer.
const MAX_PADDING: u64 = 64 << 20;

/// A shared reader, so that the rest can be read after another reader has stopped.
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
