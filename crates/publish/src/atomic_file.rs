//! A single file, written whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use wheelhouse_fs::scratch;

/// Makes `path` a file of these `bytes`, by way of a temporary one beside it. Its directory is made
/// if need be. The umask takes from the permissions in `mode`.
///
/// # Errors
/// When it cannot be written; what was there before stays then.
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
    fn a_file_is_replaced_and_directories_are_made() {
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
    fn what_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("taken")).unwrap();
        let error = write_file(&directory.path().join("taken"), b"", 0o666).unwrap_err();
        assert!(error.sentence().contains("taken"));
    }
}
