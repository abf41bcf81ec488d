//! Links files of the store into other directories, completely or not at all, and without copying bytes if the filesystem
//! can.
//!
//! An entry that this process has not digested in its current state is digested first. A hard link is a second name of the
//! file in the store, so writing to one of them changes both.
//!
//! A linked file has the modification time [`crate::STORE_MTIME`]. It is not flushed to the disk: after a power failure it may
//! be shorter, which its size shows.

use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use tempfile::NamedTempFile;
use wheelhouse_types::Result;

use crate::entry::{StoredFile, has_store_mtime, store_mtime};
use crate::error;
use crate::store::{LinkMethod, Store};
use crate::temporary::{create_new, create_temporary, permissions};

/// The method by which a file of the store is linked to its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkMode {
    /// A clone, a hard link or a copy, whichever works first.
    #[default]
    Auto,
    /// A copy that shares its blocks with the original until one of them is written to.
    Clone,
    /// A second name of the same file. It is a copy if the file cannot have more names, or if its permissions are narrower
    /// than those of a new file.
    Hardlink,
    /// A copy.
    Copy,
}

/// Options of [`Store::link`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkOptions {
    /// The method.
    pub mode: LinkMode,
    /// True if an earlier run is known to have linked this very file to the destination. It then stays if its size and times
    /// show no write since.
    pub linked_before: bool,
}

/// The outcome of [`Store::link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The destination already was the file.
    Unchanged,
    /// The destination is a clone.
    Cloned,
    /// The destination is a hard link.
    Linked,
    /// The destination is a copy.
    Copied,
}

impl Store {
    /// Links `stored` to `destination`, whose directory exists, and replaces an existing file.
    ///
    /// # Errors
    /// Fails if the entry was changed since it was found, if the destination cannot be written, or if the filesystem does
    /// not support the mode.
    pub fn link(
        &self,
        stored: &StoredFile,
        destination: &Path,
        options: LinkOptions,
    ) -> Result<LinkOutcome> {
        let failed = |error| error::linking(destination, error);
        let outcome = if is_linked(stored, destination, options).map_err(failed)? {
            LinkOutcome::Unchanged
        } else {
            self.check(stored)?;
            match options.mode {
                LinkMode::Auto => self.link_best_effort(stored, destination),
                LinkMode::Clone => self.link_with(LinkMethod::Clone, stored, destination),
                LinkMode::Hardlink => self
                    .link_with(LinkMethod::Hardlink, stored, destination)
                    .or_else(|error| match error.kind() {
                        io::ErrorKind::TooManyLinks => copy(stored, destination),
                        _ => Err(error),
                    }),
                LinkMode::Copy => copy(stored, destination),
            }
            .map_err(failed)?
        };
        tracing::debug!(
            sha256 = %stored.sha256,
            destination = %destination.display(),
            ?outcome,
            "linked file from cache"
        );
        Ok(outcome)
    }

    /// Tries one method after the other, and remembers the first that works for the device.
    fn link_best_effort(&self, stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
        let device = fs::metadata(directory_of(destination))?.dev();
        let best = self.link_method(device).unwrap_or(LinkMethod::Clone);
        for method in [LinkMethod::Clone, LinkMethod::Hardlink] {
            if method < best {
                continue;
            }
            match self.link_with(method, stored, destination) {
                Ok(outcome) => {
                    self.remember_link_method(device, method);
                    return Ok(outcome);
                }
                // Other files can still be linked.
                Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
                    return copy(stored, destination);
                }
                Err(error) => tracing::trace!(?method, %error, "link method failed"),
            }
        }
        let outcome = copy(stored, destination)?;
        self.remember_link_method(device, LinkMethod::Copy);
        Ok(outcome)
    }

    fn link_with(
        &self,
        method: LinkMethod,
        stored: &StoredFile,
        destination: &Path,
    ) -> io::Result<LinkOutcome> {
        match method {
            LinkMethod::Clone => self.clone_file(stored, destination),
            // A link to an entry that was written under a stricter umask would be less readable than a new file.
            LinkMethod::Hardlink
                if self
                    .new_file_mode()
                    .is_none_or(|mode| stored.mode & mode == mode) =>
            {
                hard_link(stored, destination)
            }
            LinkMethod::Hardlink | LinkMethod::Copy => copy(stored, destination),
        }
    }

    fn clone_file(&self, stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
        let clone = create_temporary(directory_of(destination), |path| {
            reflink_copy::reflink(&stored.path, path)
        })?;
        if let Some(mode) = self.new_file_mode().filter(|mode| *mode != stored.mode) {
            fs::set_permissions(clone.path(), permissions(mode))?;
        }
        let file = fs::File::open(clone.path())?;
        file.set_times(FileTimes::new().set_modified(store_mtime()))?;
        rename(clone, destination)?;
        Ok(LinkOutcome::Cloned)
    }
}

/// Returns whether the file at `path` has `size` bytes, and its times show no write since it was linked.
#[must_use]
pub fn is_unmodified(path: &Path, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| is_unmodified_file(&metadata, size))
}

fn is_unmodified_file(metadata: &Metadata, size: u64) -> bool {
    metadata.is_file() && metadata.len() == size && has_store_mtime(metadata)
}

pub(crate) fn hard_link(stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
    match fs::hard_link(&stored.path, destination) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let link = create_temporary(directory_of(destination), |path| {
                fs::hard_link(&stored.path, path)
            })?;
            rename(link, destination)?;
        }
        result => result?,
    }
    Ok(LinkOutcome::Linked)
}

fn copy(stored: &StoredFile, destination: &Path) -> io::Result<LinkOutcome> {
    // Wrapped, because the hints for errors of this kind are about the destination.
    let mut source = fs::File::open(&stored.path).map_err(io::Error::other)?;
    let mut copy = create_temporary(directory_of(destination), create_new)?;
    // `io::copy` lets the kernel copy only between files of the standard library.
    let target = copy.as_file_mut();
    let copied = io::copy(source.file_mut(), target.file_mut())?;
    if copied != stored.size {
        return Err(io::Error::other(format!(
            "`{}` changed while it was copied",
            stored.path.display()
        )));
    }
    target.set_times(FileTimes::new().set_modified(store_mtime()))?;
    rename(copy, destination)?;
    Ok(LinkOutcome::Copied)
}

/// Renames `file` to `destination`.
fn rename<T>(file: NamedTempFile<T>, destination: &Path) -> io::Result<()> {
    let temporary = file.path().to_owned();
    file.persist(destination)?;
    // If both names belong to one file, rename(2) succeeds without removing the old name.
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether `destination` already is `stored`.
fn is_linked(stored: &StoredFile, destination: &Path, options: LinkOptions) -> io::Result<bool> {
    let existing = match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?,
    };
    if !is_unmodified_file(&existing, stored.size) {
        return Ok(false);
    }
    let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    Ok(options.linked_before
        || identity(&existing) == identity(&fs::symlink_metadata(&stored.path)?))
}

fn directory_of(destination: &Path) -> &Path {
    match destination.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
