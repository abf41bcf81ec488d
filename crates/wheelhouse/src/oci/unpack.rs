//! The layers of an image, looked through for the files of one directory.
//!
//! Responsible for what layers do to one another (OCI image specification: whiteouts, opaque
//! directories) and for refusing what no wheelhouse has: links, devices, names that lead elsewhere.
//! Never writes anything: a [`Visitor`] does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use oci_spec::image::Descriptor;
use serde_json::Value;
use sha2::Digest as _;
use tar::EntryType;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Error, Kind, Result, Sha256};

use super::compose::LABEL_PREFIX;
use super::source::SourceImage;
use crate::archive::Limits;
use crate::archive::entry::{components, refusal};
use crate::archive::tarball::{self, TarEntry};

/// Where a wheelhouse is unless the image says where.
pub const USUAL_PATH: &str = "opt/app-root/wheelhouse";

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Hears of the files of the directory. Names are relative to it.
pub(super) trait Visitor {
    /// A file, which replaces what a lower layer has under its name.
    ///
    /// # Errors
    /// Whatever ends the visit.
    fn file(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<()>;

    /// A file that a higher layer removes.
    ///
    /// # Errors
    /// Whatever ends the visit.
    fn remove(&mut self, name: &str) -> Result<()>;
}

/// Where the image says that its wheelhouse is, as layers name it.
#[must_use]
pub fn labelled_path(config: &Value) -> Option<&str> {
    let label = config["config"]["Labels"][format!("{LABEL_PREFIX}path")].as_str()?;
    Some(label.trim_matches('/'))
}

/// Visits the directory `path` of `image` in the layers from `first` on, and returns the other
/// directories that hold wheels.
///
/// # Errors
/// [`Kind::Fetch`]: layers that cannot be read, are not what their digests say, or hold what must
/// not be there.
pub(super) fn visit(
    image: &SourceImage,
    path: &str,
    first: usize,
    visitor: &mut dyn Visitor,
) -> Result<BTreeSet<String>> {
    let size: i128 = image
        .layers
        .iter()
        .map(|layer| i128::from(layer.size()))
        .sum();
    let limits = Limits::default();
    let mut walk = Walk {
        path,
        layer: 0,
        files: BTreeMap::new(),
        elsewhere: BTreeSet::new(),
        entries_left: limits.entries,
        bytes_left: limits.ceiling(u64::try_from(size).unwrap_or(u64::MAX)),
        visitor,
    };
    for (index, layer) in image.layers.iter().enumerate().skip(first) {
        walk.layer = index;
        walk.read(image, layer).context(Kind::Fetch, || {
            format!(
                "layer {} of {} cannot be read",
                index + 1,
                image.source.name()
            )
        })?;
    }
    Ok(walk.elsewhere)
}

struct Walk<'a> {
    path: &'a str,
    layer: usize,
    /// The files that are there, with the layer that has them.
    files: BTreeMap<String, usize>,
    elsewhere: BTreeSet<String>,
    entries_left: u64,
    bytes_left: u64,
    visitor: &'a mut dyn Visitor,
}

impl Walk<'_> {
    fn read(&mut self, image: &SourceImage, layer: &Descriptor) -> Result<()> {
        let damaged = || "it is damaged".to_owned();
        let blob = Shared(Rc::new(RefCell::new(image.source.blob(layer)?)));
        let inflated =
            tarball::inflate(BufReader::new(blob.clone())).context(Kind::Fetch, damaged)?;
        let digest = Rc::new(RefCell::new(sha2::Sha256::new()));
        let digested = Digested {
            inner: inflated,
            digest: Rc::clone(&digest),
        };
        let mut whole = Shared(Rc::new(RefCell::new(digested)));
        tarball::each_entry(BufReader::new(whole.clone()), &mut |entry| {
            self.entry(entry)
        })?;
        for rest in [&mut whole as &mut dyn Read, &mut blob.clone()] {
            io::copy(&mut rest.take(PADDING), &mut io::sink()).context(Kind::Fetch, damaged)?;
        }
        let digest = format!("sha256:{}", Sha256::finish(digest.take()));
        match image.config["rootfs"]["diff_ids"][self.layer].as_str() {
            Some(expected) if expected == digest => Ok(()),
            _ => Err(Error::new(
                Kind::Fetch,
                "its content has another digest than the configuration says",
            )),
        }
    }

    fn entry(&mut self, entry: &mut TarEntry<'_>) -> Result<()> {
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        self.count(&raw, entry.size())?;
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let parts = components(raw.trim_start_matches('/'))?;
        let name = parts.join("/");
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", &name));
        if last == OPAQUE {
            return self.remove_below(parent);
        }
        if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            let hidden = format!("{parent}/{hidden}");
            return self.remove_below(hidden.trim_start_matches('/'));
        }
        let leads_there = self.path == name || is_below(self.path, &name);
        if leads_there && !kind.is_dir() {
            return Err(refusal(
                &raw,
                "leads to the wheelhouse, and is no directory",
            ));
        }
        match name
            .strip_prefix(self.path)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(_) if kind.is_dir() => Ok(()),
            Some(inner) if kind == EntryType::Regular => {
                self.files.insert(inner.to_owned(), self.layer);
                self.visitor.file(inner, entry)
            }
            Some(_) => Err(refusal(&raw, "is neither a file nor a directory")),
            None => {
                if is_wheel(last) {
                    self.elsewhere.insert(parent.to_owned());
                }
                Ok(())
            }
        }
    }

    fn count(&mut self, name: &str, size: u64) -> Result<()> {
        let entries = self.entries_left.checked_sub(1);
        let bytes = self.bytes_left.checked_sub(size);
        let (Some(entries), Some(bytes)) = (entries, bytes) else {
            let fault = "takes the image beyond what may be unpacked";
            return Err(refusal(name, fault).with_hint("It looks like a decompression bomb."));
        };
        (self.entries_left, self.bytes_left) = (entries, bytes);
        Ok(())
    }

    /// Removes what lower layers have as `name` or below it; the same layer's files stay.
    fn remove_below(&mut self, name: &str) -> Result<()> {
        let all = self.path == name || is_below(self.path, name);
        let inner = name
            .strip_prefix(self.path)
            .and_then(|rest| rest.strip_prefix('/'));
        let gone: Vec<String> = self
            .files
            .iter()
            .filter(|(_, layer)| **layer < self.layer)
            .map(|(file, _)| file)
            .filter(|file| {
                all || inner.is_some_and(|inner| *file == inner || is_below(file, inner))
            })
            .cloned()
            .collect();
        for file in gone {
            self.files.remove(&file);
            self.visitor.remove(&file)?;
        }
        Ok(())
    }
}

pub(super) fn is_wheel(name: &str) -> bool {
    let extension = std::path::Path::new(name).extension();
    extension.is_some_and(|extension| extension == "whl")
}

/// What may follow the end of an archive in a layer, in bytes.
const PADDING: u64 = 64 << 20;

/// Whether `path` is below `directory`; everything is below the root, which has no name.
fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// A reader of which one end is kept, to read the rest when somebody else has had enough.
struct Shared<R>(Rc<RefCell<R>>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

struct Digested {
    inner: Box<dyn Read>,
    digest: Rc<RefCell<sha2::Sha256>>,
}

impl Read for Digested {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_its_ancestors_alone() {
        assert!(is_below("opt/app", "opt"));
        assert!(is_below("opt/app", ""));
        assert!(!is_below("opt/app", "opt/app"));
        assert!(!is_below("optional", "opt"));
    }
}
