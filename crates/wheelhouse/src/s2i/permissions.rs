//! Permissions for clusters such as `OpenShift`, which run an image as an arbitrary user in group 0.
//!
//! Gives the group the permissions of the owner. It removes no permissions, skips files of other
//! users, and does not follow links.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use fs_err as fs;
use walkdir::WalkDir;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

/// Gives the group of `directory`, and of everything below it, the permissions of the owner.
///
/// # Errors
/// `Publish` if permissions cannot be read or changed.
pub fn share(directory: &Path) -> Result<()> {
    let owner = rustix::process::geteuid().as_raw();
    for entry in WalkDir::new(directory) {
        let shared = entry
            .map_err(io::Error::from)
            .and_then(|entry| share_one(entry.path(), owner));
        shared.context(Kind::Publish, || {
            format!("failed to share `{}` with the group", directory.display())
        })?;
    }
    Ok(())
}

fn share_one(path: &Path, owner: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = metadata.mode() & 0o7777;
    let shared = mode | (mode & 0o700) >> 3;
    if metadata.is_symlink() || metadata.uid() != owner || shared == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(shared))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_group_gets_what_the_owner_has() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("inner")).unwrap();
        for (name, mode) in [
            ("inner", 0o700),
            ("inner/script", 0o755),
            ("inner/text", 0o604),
        ] {
            if name != "inner" {
                fs::write(path(name), "").unwrap();
            }
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink("/nowhere", path("inner/link")).unwrap();
        share(directory.path()).unwrap();
        let mode = |name: &str| fs::metadata(path(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("inner"), mode("inner/script")), (0o770, 0o775));
        assert_eq!(mode("inner/text"), 0o664);
    }
}
