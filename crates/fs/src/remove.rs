//! Removal of what other programs have written, such as the hooks of builds.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tempfile::TempDir;

/// The rights that the owner of a directory needs to remove what is in it.
const OWNER: u32 = 0o700;

/// Removes the file, link or directory at `path`, if it exists. Does not follow links. Directories that their owner
/// may not change, such as those of Go's module cache, are removed as well.
///
/// # Errors
/// The error of the filesystem.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_directory(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_removable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// Gives the owner all rights for `root` and the directories below it.
fn make_removable(root: &Path) -> io::Result<()> {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut permissions = fs::symlink_metadata(&directory)?.permissions();
        let mode = permissions.mode();
        if mode & OWNER != OWNER {
            permissions.set_mode(mode | OWNER);
            fs::set_permissions(&directory, permissions)?;
        }
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A temporary directory that is removed by [`remove_all`] when it is dropped.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    is_kept: bool,
}

impl TemporaryDirectory {
    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the directory without removing it.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        std::mem::take(&mut self.path)
    }
}

impl From<TempDir> for TemporaryDirectory {
    fn from(directory: TempDir) -> Self {
        Self {
            path: directory.keep(),
            is_kept: false,
        }
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is left, as by `TempDir`.
            let _ = remove_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    /// Makes the modes of files apply to this thread even if the user is root.
    fn be_ordinary() {
        let mut sets = capabilities(None).unwrap();
        sets.effective = CapabilitySet::empty();
        set_capabilities(None, sets).unwrap();
    }

    /// Writes a file at `path` and takes all rights to its directory, and then to the directories above.
    fn write_locked(root: &Path, path: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        for directory in file.ancestors().skip(1).take_while(|path| *path != root) {
            fs::set_permissions(directory, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
    }

    #[test]
    fn removes_directories_without_rights() {
        be_ordinary();
        let directory = TemporaryDirectory::from(tempfile::tempdir().unwrap());
        let root = directory.path().to_owned();
        write_locked(&root, "a/b/c");
        assert!(fs::remove_dir_all(root.join("a")).is_err());
        remove_all(&root.join("a")).unwrap();
        assert!(!root.join("a").exists());
        write_locked(&root, "d/e");
        drop(directory);
        assert!(!root.exists());
    }

    #[test]
    fn does_not_follow_links() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("kept")).unwrap();
        std::os::unix::fs::symlink(path("kept"), path("link")).unwrap();
        remove_all(&path("link")).unwrap();
        remove_all(&path("missing")).unwrap();
        assert!(path("kept").is_dir() && !path("link").exists());
    }

    #[test]
    fn kept_directory_stays() {
        let directory = TemporaryDirectory::from(tempfile::tempdir().unwrap());
        let path = directory.keep();
        assert!(path.is_dir());
        remove_all(&path).unwrap();
    }
}
