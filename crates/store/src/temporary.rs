//! Unfinished files, which are removed when they are dropped.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use tempfile::NamedTempFile;

use crate::layout::TEMPORARY_PREFIX;

/// The permissions that new files request; the umask restricts them. A hard link in a wheelhouse shares them, so other
/// users must be able to read it.
const MODE: u32 = 0o644;

/// Creates a file in `directory` with `create`, under a name that is not in use.
pub(crate) fn create_temporary<T>(
    directory: &Path,
    create: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<NamedTempFile<T>> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .make_in(directory, create)
}

/// Creates a file that does not exist yet, with the permissions that the umask allows.
pub(crate) fn create_new(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
}

/// Returns the permission bits of a file.
pub(crate) fn mode_bits(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

/// Returns permissions with the bits `mode`.
pub(crate) fn permissions(mode: u32) -> Permissions {
    Permissions::from_mode(mode)
}
