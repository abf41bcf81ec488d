//! The directory that an archive is unpacked into: creates files, directories and links.
//!
//! Does not write through links: they are created last, after each was found to stay inside. Names are checked by
//! [`crate::safe_path`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use fs_err::OpenOptions;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result};

use crate::limits::{Limits, RemainingLimits};
use crate::safe_path::invalid_entry;
use wheelhouse_fs::interruption;

/// The largest number of links in a path, as in Linux.
const MAX_LINKS: u32 = 40;

/// A directory that an archive is unpacked into.
pub(crate) struct UnpackDir {
    root: PathBuf,
    nodes: BTreeMap<PathBuf, UnpackNode>,
    remaining: RemainingLimits,
    /// The latest time of a file.
    newest: Option<SystemTime>,
}

/// An entry that was unpacked.
enum UnpackNode {
    Directory(Option<SystemTime>),
    File,
    Link(PathBuf),
}

/// The attributes of a file in an archive.
#[derive(Clone, Copy)]
pub(crate) struct FileAttributes {
    pub(crate) executable: bool,
    pub(crate) modified: Option<SystemTime>,
    /// The stated size in bytes, which the content must have.
    pub(crate) size: u64,
}

impl UnpackDir {
    /// Prepares `root`, which must be empty or missing, for an archive of `archive_size` bytes.
    pub(crate) fn new(root: &Path, limits: &Limits, archive_size: u64) -> Result<Self> {
        let unusable = || format!("failed to unpack into {}", root.display());
        fs::create_dir_all(root).context(Kind::Fetch, unusable)?;
        if fs::read_dir(root)
            .context(Kind::Fetch, unusable)?
            .next()
            .is_some()
        {
            let message = format!("{} is not empty", root.display());
            return Err(Error::new(Kind::Fetch, message));
        }
        Ok(Self {
            root: root.to_owned(),
            nodes: BTreeMap::new(),
            remaining: limits.remaining(archive_size),
            newest: None,
        })
    }

    /// Counts the entry `name` of `size` bytes against the limits.
    pub(crate) fn count(&mut self, name: &str, size: u64) -> Result<()> {
        interruption::check()?;
        self.remaining.count(name, size)
    }

    /// Creates a directory unless it exists.
    pub(crate) fn directory(&mut self, name: &[&str], modified: Option<SystemTime>) -> Result<()> {
        let path: PathBuf = name.iter().collect();
        self.parents(&path)?;
        match self.nodes.get_mut(&path) {
            Some(UnpackNode::Directory(known)) => {
                *known = modified.or(*known);
                Ok(())
            }
            Some(UnpackNode::File | UnpackNode::Link(_)) => Err(conflict(&path)),
            None if path.as_os_str().is_empty() => Ok(()),
            None => self.create_directory(path, modified),
        }
    }

    fn create_directory(&mut self, path: PathBuf, modified: Option<SystemTime>) -> Result<()> {
        fs::create_dir(self.root.join(&path)).context(Kind::Fetch, || unwritable(&path))?;
        self.nodes.insert(path, UnpackNode::Directory(modified));
        Ok(())
    }

    /// Writes a file with `content`. Replaces an earlier file of the same name.
    pub(crate) fn file(
        &mut self,
        name: &[&str],
        attributes: FileAttributes,
        content: &mut dyn Read,
    ) -> Result<()> {
        let path = self.make_way(name)?;
        let target = self.root.join(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)
            .context(Kind::Fetch, || unwritable(&path))?;
        let damaged = || format!("entry `{}` is damaged", path.display());
        let size = io::copy(&mut content.take(attributes.size), &mut file)
            .context(Kind::Fetch, damaged)?;
        if size != attributes.size {
            return Err(invalid_entry(&path.to_string_lossy(), "is truncated"));
        }
        file.flush().context(Kind::Fetch, damaged)?;
        set_attributes(file.file(), attributes).context(Kind::Fetch, damaged)?;
        self.newest = self.newest.max(attributes.modified);
        self.nodes.insert(path, UnpackNode::File);
        Ok(())
    }

    /// Records a symbolic link, which [`finish`](Self::finish) creates.
    pub(crate) fn link(&mut self, name: &[&str], target: PathBuf) -> Result<()> {
        let path = self.make_way(name)?;
        self.nodes.insert(path, UnpackNode::Link(target));
        Ok(())
    }

    /// Copies the earlier entry `target`, instead of creating a hard link to it.
    pub(crate) fn hard_link(
        &mut self,
        name: &[&str],
        target: &[&str],
        attributes: FileAttributes,
    ) -> Result<()> {
        let target: PathBuf = target.iter().collect();
        if name.iter().collect::<PathBuf>() == target {
            return Ok(());
        }
        match self.nodes.get(&target) {
            Some(UnpackNode::File) => {
                let unreadable = || unwritable(&target);
                let mut content =
                    fs::File::open(self.root.join(&target)).context(Kind::Fetch, unreadable)?;
                let size = content.metadata().context(Kind::Fetch, unreadable)?.len();
                self.count(&name.join("/"), size)?;
                self.file(name, FileAttributes { size, ..attributes }, &mut content)
            }
            Some(UnpackNode::Link(linked)) => {
                let linked = linked.clone();
                self.link(name, linked)
            }
            _ => {
                let fault = "is a hard link whose target is not an earlier file of the archive";
                Err(invalid_entry(&name.join("/"), fault))
            }
        }
    }

    /// Creates the directories above a new file or link, and removes an earlier file of the same name.
    fn make_way(&mut self, name: &[&str]) -> Result<PathBuf> {
        let path: PathBuf = name.iter().collect();
        self.parents(&path)?;
        match self.nodes.get(&path) {
            Some(UnpackNode::Directory(_)) => return Err(conflict(&path)),
            // As in tar, the last of several entries with the same name counts.
            Some(UnpackNode::File) => {
                fs::remove_file(self.root.join(&path))
                    .context(Kind::Fetch, || unwritable(&path))?;
            }
            Some(UnpackNode::Link(_)) | None => {}
        }
        Ok(path)
    }

    /// Creates the directories above `path`.
    fn parents(&mut self, path: &Path) -> Result<()> {
        let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
        // The last ancestor is the root.
        ancestors.pop();
        for ancestor in ancestors.into_iter().rev() {
            match self.nodes.get(ancestor) {
                Some(UnpackNode::Directory(_)) => {}
                Some(UnpackNode::File | UnpackNode::Link(_)) => return Err(conflict(ancestor)),
                None => self.create_directory(ancestor.to_owned(), None)?,
            }
        }
        Ok(())
    }

    /// Creates the links, and sets the times of directories. Returns the latest time of a file, if the archive has times.
    ///
    /// # Errors
    /// Fails if a link leads outside.
    pub(crate) fn finish(self) -> Result<Option<SystemTime>> {
        for (path, node) in &self.nodes {
            if let UnpackNode::Link(target) = node {
                self.check_link(path, target)?;
            }
        }
        for (path, node) in &self.nodes {
            if let UnpackNode::Link(target) = node {
                symlink(target, &self.root.join(path)).context(Kind::Fetch, || unwritable(path))?;
            }
        }
        // In reverse, because creating an entry changes the time of its directory.
        for (path, node) in self.nodes.iter().rev() {
            if let UnpackNode::Directory(Some(modified)) = node {
                fs::File::open(self.root.join(path))
                    .and_then(|directory| directory.file().set_modified(*modified))
                    .context(Kind::Fetch, || unwritable(path))?;
            }
        }
        Ok(self.newest)
    }

    /// Fails if the link at `path` leads outside, through any links of the archive.
    fn check_link(&self, path: &Path, target: &Path) -> Result<()> {
        let refused = |fault: &str| invalid_entry(&path.to_string_lossy(), fault);
        let outside = || refused("is a link that leads out of the archive");
        let mut reached = parts(path.parent().unwrap_or(Path::new("")));
        let mut ahead = Vec::new();
        follow(target, &mut ahead).ok_or_else(outside)?;
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                reached.pop().ok_or_else(outside)?;
                continue;
            }
            reached.push(part);
            if let Some(UnpackNode::Link(next)) =
                self.nodes.get(&reached.iter().collect::<PathBuf>())
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(refused("is a link that leads through too many links"));
                }
                reached.pop();
                follow(next, &mut ahead).ok_or_else(outside)?;
            }
        }
        Ok(())
    }
}

/// Pushes the components of the target of a link to the components ahead. Returns `None` if the target is absolute.
fn follow(target: &Path, ahead: &mut Vec<OsString>) -> Option<()> {
    if target.has_root() {
        return None;
    }
    ahead.extend(parts(target).into_iter().rev());
    Some(())
}

/// Splits a path into its components, including `..`.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .map(|component| component.as_os_str().to_owned())
        .filter(|part| part != ".")
        .collect()
}

fn conflict(path: &Path) -> Error {
    invalid_entry(
        &path.to_string_lossy(),
        "is both a directory and not a directory",
    )
}

fn unwritable(path: &Path) -> String {
    format!("entry `{}` cannot be written", path.display())
}

/// Sets the mode and the time. Modes do not depend on the umask, so that wheels built from the files do not depend on it, and
/// special bits such as set-user-ID are never set.
fn set_attributes(file: &std::fs::File, attributes: FileAttributes) -> io::Result<()> {
    set_mode(file, attributes.executable)?;
    if let Some(modified) = attributes.modified {
        file.set_modified(modified)?;
    }
    Ok(())
}

#[cfg(unix)]
fn set_mode(file: &std::fs::File, executable: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &std::fs::File, _executable: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    fs_err::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
