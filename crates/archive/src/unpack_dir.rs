//! The directory that an archive is unpacked into: makes its files, directories and links.
//!
//! Nothing is ever written through a link: links are made last, once each of them was found to
//! stay inside. Never judges names ([`super::safe_path`] does) and never reads an archive.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use fs_err::OpenOptions;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result};

use super::limits::{Limits, RemainingLimits};
use super::safe_path::invalid_entry;
use wheelhouse_fs::interruption;

/// How many links a path may lead through, as in Linux.
const LINKS_IN_A_PATH: u32 = 40;

/// A directory being filled.
pub(super) struct UnpackDir {
    root: PathBuf,
    nodes: BTreeMap<PathBuf, UnpackNode>,
    allowance: RemainingLimits,
}

enum UnpackNode {
    Directory(Option<SystemTime>),
    File,
    Link(PathBuf),
}

/// What a file has beside its bytes.
#[derive(Clone, Copy)]
pub(super) struct FileAttributes {
    pub(super) executable: bool,
    pub(super) modified: Option<SystemTime>,
    /// In bytes, as the archive says; what it holds must agree.
    pub(super) size: u64,
}

impl UnpackDir {
    /// Begins to fill `root`, which is made if it is missing and must be empty, with an archive of
    /// `archive_size` bytes.
    pub(super) fn new(root: &Path, limits: &Limits, archive_size: u64) -> Result<Self> {
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
            allowance: limits.remaining(archive_size),
        })
    }

    /// Counts one more entry of `size` bytes.
    pub(super) fn count(&mut self, name: &str, size: u64) -> Result<()> {
        interruption::check()?;
        self.allowance.count(name, size)
    }

    /// Makes a directory, unless it is there.
    pub(super) fn directory(&mut self, name: &[&str], modified: Option<SystemTime>) -> Result<()> {
        let path: PathBuf = name.iter().collect();
        self.parents(&path)?;
        match self.nodes.get_mut(&path) {
            Some(UnpackNode::Directory(known)) => {
                *known = modified.or(*known);
                Ok(())
            }
            Some(UnpackNode::File | UnpackNode::Link(_)) => Err(conflict(&path)),
            None if path.as_os_str().is_empty() => Ok(()),
            None => self.make_directory(path, modified),
        }
    }

    fn make_directory(&mut self, path: PathBuf, modified: Option<SystemTime>) -> Result<()> {
        fs::create_dir(self.root.join(&path)).context(Kind::Fetch, || unwritable(&path))?;
        self.nodes.insert(path, UnpackNode::Directory(modified));
        Ok(())
    }

    /// Writes a file from `content`, in place of an earlier one of the same name.
    pub(super) fn file(
        &mut self,
        name: &[&str],
        attributes: FileAttributes,
        content: &mut dyn Read,
    ) -> Result<()> {
        let path = self.place(name)?;
        let target = self.root.join(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)
            .context(Kind::Fetch, || unwritable(&path))?;
        let damaged = || format!("entry `{}` cannot be unpacked", path.display());
        let size = io::copy(&mut content.take(attributes.size), &mut file)
            .context(Kind::Fetch, damaged)?;
        if size != attributes.size {
            return Err(invalid_entry(&path.to_string_lossy(), "is cut short"));
        }
        file.flush().context(Kind::Fetch, damaged)?;
        set_attributes(file.file(), attributes).context(Kind::Fetch, damaged)?;
        self.nodes.insert(path, UnpackNode::File);
        Ok(())
    }

    /// Notes a symbolic link, to be made when all else is there.
    pub(super) fn link(&mut self, name: &[&str], target: PathBuf) -> Result<()> {
        let path = self.place(name)?;
        self.nodes.insert(path, UnpackNode::Link(target));
        Ok(())
    }

    /// Makes a copy of the earlier entry `target`, which stands for a hard link to it.
    pub(super) fn hard_link(
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
            Some(UnpackNode::File) => self.duplicate(name, &target, attributes),
            Some(UnpackNode::Link(linked)) => {
                let linked = linked.clone();
                self.link(name, linked)
            }
            _ => {
                let fault = "is a hard link to no earlier file of the archive";
                Err(invalid_entry(&name.join("/"), fault))
            }
        }
    }

    fn duplicate(
        &mut self,
        name: &[&str],
        target: &Path,
        attributes: FileAttributes,
    ) -> Result<()> {
        let unreadable = || unwritable(target);
        let mut content =
            fs::File::open(self.root.join(target)).context(Kind::Fetch, unreadable)?;
        let size = content.metadata().context(Kind::Fetch, unreadable)?.len();
        self.count(&name.join("/"), size)?;
        self.file(name, FileAttributes { size, ..attributes }, &mut content)
    }

    /// Makes room for a file or a link.
    fn place(&mut self, name: &[&str]) -> Result<PathBuf> {
        let path: PathBuf = name.iter().collect();
        self.parents(&path)?;
        match self.nodes.get(&path) {
            Some(UnpackNode::Directory(_)) => return Err(conflict(&path)),
            // As tar does, the last of several entries with the same name counts.
            Some(UnpackNode::File) => {
                fs::remove_file(self.root.join(&path))
                    .context(Kind::Fetch, || unwritable(&path))?;
            }
            Some(UnpackNode::Link(_)) | None => {}
        }
        Ok(path)
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
        // The last ancestor is the root itself.
        ancestors.pop();
        for ancestor in ancestors.into_iter().rev() {
            match self.nodes.get(ancestor) {
                Some(UnpackNode::Directory(_)) => {}
                Some(UnpackNode::File | UnpackNode::Link(_)) => return Err(conflict(ancestor)),
                None => self.make_directory(ancestor.to_owned(), None)?,
            }
        }
        Ok(())
    }

    /// Makes the links, and sets the times of directories.
    ///
    /// # Errors
    /// A link that leads outside.
    pub(super) fn finish(self) -> Result<()> {
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
        // In reverse, so that a directory's time is set after those below it.
        for (path, node) in self.nodes.iter().rev() {
            if let UnpackNode::Directory(Some(modified)) = node {
                fs::File::open(self.root.join(path))
                    .and_then(|directory| directory.file().set_modified(*modified))
                    .context(Kind::Fetch, || unwritable(path))?;
            }
        }
        Ok(())
    }

    /// Follows the link at `path` through all links of the archive.
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
                if links > LINKS_IN_A_PATH {
                    return Err(refused("is a link in a circle"));
                }
                reached.pop();
                follow(next, &mut ahead).ok_or_else(outside)?;
            }
        }
        Ok(())
    }
}

/// Puts the components of a link's target on the way ahead; `None` for an absolute one.
fn follow(target: &Path, ahead: &mut Vec<OsString>) -> Option<()> {
    if target.has_root() {
        return None;
    }
    ahead.extend(parts(target).into_iter().rev());
    Some(())
}

/// Splits a path into its components, `..` among them.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .map(|component| component.as_os_str().to_owned())
        .filter(|part| part != ".")
        .collect()
}

fn conflict(path: &Path) -> Error {
    invalid_entry(
        &path.to_string_lossy(),
        "is both a directory and something else",
    )
}

fn unwritable(path: &Path) -> String {
    format!("entry `{}` cannot be written", path.display())
}

/// Sets mode and time. Modes do not depend on the user's mask, so that what is built from the
/// files does not either; set-user-ID and its like are never set.
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
