//! Moves a directory tree into an existing one.
//!
//! Unlike `mv`, it merges directories that exist, and copies across layers of an image and devices. It does not follow
//! links.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

/// The moved files and directories, at their destination.
#[derive(Debug, Default)]
pub struct MovedFiles(Vec<PathBuf>);

impl MovedFiles {
    /// Returns whether nothing was moved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes everything that was moved, and keeps everything else.
    ///
    /// # Errors
    /// `Publish` if a file cannot be removed.
    pub fn remove(self) -> Result<()> {
        for path in self.0 {
            let removed = if is_directory(&path) {
                fs::remove_dir_all(&path)
            } else {
                remove_if_there(&path)
            };
            removed.context(Kind::Publish, || {
                format!("failed to remove `{}` from the image", path.display())
            })?;
        }
        Ok(())
    }
}

/// Moves the contents of `source`, including hidden files, into `destination`. Existing files are
/// replaced, and existing directories are merged.
///
/// # Errors
/// `Publish` if a file cannot be moved.
pub fn move_contents(source: &Path, destination: &Path) -> Result<MovedFiles> {
    let mut moved = MovedFiles::default();
    let filled = fill(destination, source, &mut moved);
    filled.context(Kind::Publish, || {
        format!("failed to move `{}` into place", source.display())
    })?;
    Ok(moved)
}

/// Moves the contents of `source` into `destination`, which is created if necessary.
fn fill(destination: &Path, source: &Path, moved: &mut MovedFiles) -> io::Result<()> {
    let entries = match fs::read_dir(source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(destination)?;
    for entry in entries {
        let entry = entry?;
        move_entry(&entry.path(), &destination.join(entry.file_name()), moved)?;
    }
    Ok(())
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn move_entry(source: &Path, destination: &Path, moved: &mut MovedFiles) -> io::Result<()> {
    match (is_directory(source), is_directory(destination)) {
        (true, true) => return merge(source, destination, moved),
        (true, false) => remove_if_there(destination)?,
        (false, true) => fs::remove_dir_all(destination)?,
        // Renaming replaces the destination.
        (false, false) => {}
    }
    moved.0.push(destination.to_owned());
    match fs::rename(source, destination) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices && is_directory(source) => {
            fs::create_dir(destination)?;
            fs::set_permissions(destination, fs::symlink_metadata(source)?.permissions())?;
            merge(source, destination, &mut MovedFiles::default())
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(source, destination),
        renamed => renamed,
    }
}

fn merge(source: &Path, destination: &Path, moved: &mut MovedFiles) -> io::Result<()> {
    fill(destination, source, moved)?;
    fs::remove_dir(source)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Copies a file or a link. Permissions and the modification time are preserved, because the store
/// detects changes by the time.
fn copy(source: &Path, destination: &Path) -> io::Result<()> {
    remove_if_there(destination)?;
    let metadata = fs::symlink_metadata(source)?;
    if metadata.is_symlink() {
        fs::os::unix::fs::symlink(fs::read_link(source)?, destination)?;
    } else {
        fs::copy(source, destination)?;
        let time = filetime::FileTime::from_last_modification_time(&metadata);
        filetime::set_file_mtime(destination, time)?;
    }
    fs::remove_file(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    /// Creates two trees with conflicting files, links and directories.
    fn trees(source: &Path, destination: &Path) {
        write(&source.join("a.txt"), "new");
        write(&source.join(".s2i/wheelhouse/x.whl"), "wheel");
        write(&source.join("deep/er/b.txt"), "b");
        write(&source.join("file-now"), "file");
        symlink("a.txt", source.join("link")).unwrap();
        std::fs::set_permissions(source.join("a.txt"), std::fs::Permissions::from_mode(0o750))
            .unwrap();
        write(&destination.join("a.txt"), "old");
        write(&destination.join(".s2i/environment"), "KEPT=1");
        write(&destination.join("deep/c.txt"), "c");
        write(&destination.join("file-now/was/directory"), "");
    }

    fn assert_moved(source: &Path, destination: &Path) {
        assert_eq!(std::fs::read_dir(source).unwrap().count(), 0);
        let text = |name: &str| read(&destination.join(name));
        assert_eq!(
            (text("a.txt"), text("link")),
            ("new".to_owned(), "new".to_owned())
        );
        assert_eq!(
            (text("deep/er/b.txt"), text("deep/c.txt")),
            ("b".to_owned(), "c".to_owned())
        );
        assert_eq!(text(".s2i/wheelhouse/x.whl"), "wheel");
        assert_eq!(text(".s2i/environment"), "KEPT=1");
        assert_eq!(text("file-now"), "file");
        assert!(destination.join("link").is_symlink());
        let mode = std::fs::metadata(destination.join("a.txt"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o750);
    }

    #[test]
    fn trees_are_joined() {
        let directory = tempfile::tempdir().unwrap();
        let (source, destination) = (directory.path().join("src"), directory.path().join("here"));
        trees(&source, &destination);
        let moved = move_contents(&source, &destination).unwrap();
        assert_moved(&source, &destination);
        let none = |source: &Path| move_contents(source, &destination).unwrap().is_empty();
        assert!(none(&source) && none(&directory.path().join("none")));
        moved.remove().unwrap();
        let mut left: Vec<_> = walkdir::WalkDir::new(&destination)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| entry.path().strip_prefix(&destination).unwrap().to_owned())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [Path::new(".s2i/environment"), Path::new("deep/c.txt")]
        );
    }

    #[test]
    fn trees_are_joined_across_devices() {
        let there = tempfile::tempdir_in("/dev/shm").unwrap();
        let here = tempfile::tempdir().unwrap();
        let (source, destination) = (there.path().join("src"), here.path().join("here"));
        trees(&source, &destination);
        filetime::set_file_mtime(
            source.join("a.txt"),
            filetime::FileTime::from_unix_time(7, 0),
        )
        .unwrap();
        move_contents(&source, &destination).unwrap();
        assert_moved(&source, &destination);
        let metadata = std::fs::metadata(destination.join("a.txt")).unwrap();
        assert_eq!(
            filetime::FileTime::from_last_modification_time(&metadata).unix_seconds(),
            7
        );
    }

    #[test]
    fn what_cannot_be_moved_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("src");
        write(&source.join("a"), "");
        let error = move_contents(&source, &directory.path().join("src/a/b")).unwrap_err();
        assert_eq!(error.kind(), Kind::Publish);
        assert!(
            error.display_chain().contains("src` into place"),
            "{}",
            error.display_chain()
        );
    }
}
