//! Atomic replacement of a single file.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use wheelhouse_fs::scratch;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

/// Writes `bytes` to `path` by renaming a temporary file in the same directory, which is created if it is missing. The
/// permissions are those of `mode` without the bits of the umask.
///
/// # Errors
/// [`Kind::Publish`] if the file cannot be written; an existing file is unchanged then.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(directory)?;
        let mut temporary = scratch::file(directory, &Permissions::from_mode(mode))?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path)?;
        Ok::<_, io::Error>(())
    };
    write().context(Kind::Publish, || {
        format!("failed to write {}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_file_and_creates_directories() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/file");
        for text in ["one", "two"] {
            write_file(&path, text.as_bytes(), 0o666).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn error_names_the_path() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("taken")).unwrap();
        let error = write_file(&directory.path().join("taken"), b"", 0o666).unwrap_err();
        assert!(error.display_chain().contains("taken"));
    }
}
