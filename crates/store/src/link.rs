//! LinkOptions: files of the store become files somewhere else, whole under their names or not at
//! all, and where the filesystem can without copying a byte.
//!
//! A file that was not digested by this process in the state that it has is digested before it is placed. Where it is
//! linked, it is a second name of the cache's file, and what writes to one of them writes to both.
//!
//! A placed file has the modification time [`super::STORE_MTIME`]. It is not flushed to the disk: after a power failure
//! it may be short, which its size shows.

use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use tempfile::NamedTempFile;
use wheelhouse_types::Result;

use super::entry::{has_store_mtime, store_mtime};
use super::writer::{create_new, make_temporary, permissions};
use super::{Store, StoredFile, error};

/// How files get from the store to their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkMode {
    /// The first that works of cloning, linking and copying.
    #[default]
    Auto,
    /// A copy that shares its blocks with the original until one of them is written to.
    Clone,
    /// A second name for the same file. It is copied if it cannot have more names, or if its
    /// permissions are narrower than those of a new file.
    Hardlink,
    /// A copy.
    Copy,
}

/// How to place a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkOptions {
    pub mode: LinkMode,
    /// Whether the caller knows that it was this file that an earlier run placed there: then a
    /// file that nobody has written to since may stay.
    pub linked_before: bool,
}

/// How a file came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It was there already.
    Unchanged,
    Cloned,
    Linked,
    Copied,
}

/// A way to place a file, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkMethod {
    Clone,
    Link,
    Copy,
}

impl Store {
    /// Puts `stored` at `destination`, whose directory exists; replaces what is there.
    ///
    /// # Errors
    /// Fails if the file was changed since it was found, or if the destination cannot be written, or not in the way that
    /// was asked for.
    pub fn link(
        &self,
        stored: &StoredFile,
        destination: &Path,
        options: LinkOptions,
    ) -> Result<LinkOutcome> {
        let failed = |error| error::linking(destination, error);
        if is_linked(stored, destination, options).map_err(failed)? {
            return Ok(LinkOutcome::Unchanged);
        }
        self.check(stored)?;
        match options.mode {
            LinkMode::Auto => self.link_best_effort(stored, destination),
            LinkMode::Clone => self.link_with(LinkMethod::Clone, stored, destination),
            LinkMode::Hardlink => match self.link_with(LinkMethod::Link, stored, destination) {
                Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
                    self.link_with(LinkMethod::Copy, stored, destination)
                }
                other => other,
            },
            LinkMode::Copy => self.link_with(LinkMethod::Copy, stored, destination),
        }
        .map_err(failed)
    }

    /// Tries one way after the other, and remembers which works for the device.
    fn link_best_effort(&self, stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
        let device = fs::metadata(directory_of(destination))?.dev();
        let best = self.link_method(device).unwrap_or(LinkMethod::Clone);
        for method in [LinkMethod::Clone, LinkMethod::Link] {
            if method < best {
                continue;
            }
            match self.link_with(method, stored, destination) {
                Ok(placed) => {
                    self.remember_link_method(device, method);
                    return Ok(placed);
                }
                // This file alone cannot be linked once more.
                Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
                    return self.link_with(LinkMethod::Copy, stored, destination);
                }
                Err(_) => {}
            }
        }
        let placed = self.link_with(LinkMethod::Copy, stored, destination)?;
        self.remember_link_method(device, LinkMethod::Copy);
        Ok(placed)
    }

    fn link_with(
        &self,
        method: LinkMethod,
        stored: &StoredFile,
        destination: &Path,
    ) -> io::Result<LinkOutcome> {
        match method {
            LinkMethod::Clone => self.clone_file(stored, destination),
            LinkMethod::Link if self.is_open_enough(stored) => hard_link(stored, destination),
            LinkMethod::Link | LinkMethod::Copy => copy(stored, destination),
        }
    }

    fn clone_file(&self, stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
        let clone = make_temporary(directory_of(destination), |path| {
            reflink_copy::reflink(&stored.path, path)
        })?;
        if let Some(mode) = self.mode_of_new_files().filter(|mode| *mode != stored.mode) {
            fs::set_permissions(clone.path(), permissions(mode))?;
        }
        let file = fs::File::open(clone.path())?;
        file.set_times(FileTimes::new().set_modified(store_mtime()))?;
        rename(clone, destination)?;
        Ok(LinkOutcome::Cloned)
    }

    /// Whether a link to the entry is as readable as a new file would be. It is not if the entry
    /// was written under a stricter umask.
    fn is_open_enough(&self, stored: &StoredFile) -> bool {
        let wanted = self.mode_of_new_files().unwrap_or(0);
        stored.mode & wanted == wanted
    }
}

/// Whether the file at `path` has this size (bytes), and nobody has written to it since it was
/// placed.
#[must_use]
pub fn is_unmodified(path: &Path, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| has_not_changed(&there, size))
}

fn has_not_changed(there: &Metadata, size: u64) -> bool {
    there.is_file() && there.len() == size && has_store_mtime(there)
}

pub(super) fn hard_link(stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
    match fs::hard_link(&stored.path, destination) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let link = make_temporary(directory_of(destination), |path| {
                fs::hard_link(&stored.path, path)
            })?;
            rename(link, destination)?;
        }
        linked => linked?,
    }
    Ok(LinkOutcome::Linked)
}

fn copy(stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
    // That the entry cannot be read has nothing to do with the destination.
    let mut source = fs::File::open(&stored.path).map_err(io::Error::other)?;
    let mut copy = make_temporary(directory_of(destination), create_new)?;
    // The plain files let the kernel do the copying.
    let target = copy.as_file_mut();
    let copied = io::copy(source.file_mut(), target.file_mut())?;
    if copied != stored.size {
        return Err(io::Error::other(format!(
            "`{}` was changed while it was copied",
            stored.path.display()
        )));
    }
    target.set_times(FileTimes::new().set_modified(store_mtime()))?;
    rename(copy, destination)?;
    Ok(LinkOutcome::Copied)
}

/// Gives `file` the name `destination`.
fn rename<T>(file: NamedTempFile<T>, destination: &Path) -> io::Result<()> {
    let temporary = file.path().to_owned();
    file.persist(destination)?;
    // If both are names of one file, rename(2) does nothing, and says that all went well.
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether `destination` is `stored` already.
fn is_linked(stored: &StoredFile, destination: &Path, options: LinkOptions) -> io::Result<bool> {
    let there = match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?,
    };
    if !has_not_changed(&there, stored.size) {
        return Ok(false);
    }
    Ok(options.linked_before || is_same_file(&there, &fs::symlink_metadata(&stored.path)?))
}

fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn directory_of(destination: &Path) -> &Path {
    match destination.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
