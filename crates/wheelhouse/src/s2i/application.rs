//! The files by which an application is built from a wheelhouse, and with which it can itself be the
//! source of one.
//!
//! Responsible for their contents and for writing them. Never replaces what somebody has written
//! unless told to.

use std::io;
use std::path::Path;

use fs_err as fs;
use wheelhouse_model::{Error, Kind, Result};

use crate::publish::write_file;

struct File {
    path: &'static str,
    text: &'static str,
    mode: u32,
}

const FILES: [File; 3] = [
    File {
        path: ".s2i/bin/assemble",
        text: include_str!("application/assemble"),
        mode: 0o755,
    },
    File {
        path: ".s2i/bin/run",
        text: include_str!("application/run"),
        mode: 0o755,
    },
    File {
        path: ".s2i/environment",
        text: include_str!("application/environment"),
        mode: 0o644,
    },
];

/// Writes the files below `directory` and returns the paths of those that were not there yet, as they
/// are below it. With `force` others under their names are replaced.
///
/// # Errors
/// `Input` when there is no such directory, or something else has one of the names, and nothing is
/// written then; `Publish` when a file cannot be written.
pub fn write(directory: &Path, force: bool) -> Result<Vec<&'static str>> {
    if !directory.is_dir() {
        let message = format!("`{}` is not a directory", directory.display());
        return Err(Error::new(Kind::Input, message).with_hint("Name the application's directory."));
    }
    let mut wanted = Vec::new();
    let mut others = Vec::new();
    for file in &FILES {
        match fs::read(directory.join(file.path)) {
            Ok(bytes) if bytes == file.text.as_bytes() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => wanted.push(file),
            _ if force => wanted.push(file),
            _ => others.push(format!("`{}`", file.path)),
        }
    }
    if !others.is_empty() {
        let message = format!(
            "`{}` has {} already",
            directory.display(),
            others.join(", ")
        );
        return Err(Error::new(Kind::Input, message)
            .with_hint("Compare them with docs/s2i.md, or replace them with --force."));
    }
    for file in &wanted {
        write_file(&directory.join(file.path), file.text.as_bytes(), file.mode)?;
    }
    Ok(wanted.into_iter().map(|file| file.path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_of_the_user_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let all: Vec<_> = FILES.iter().map(|file| file.path).collect();
        assert_eq!(write(root, false).unwrap(), all);
        assert_eq!(write(root, false).unwrap(), [""; 0]);
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(all[0]), mode(all[2])), (0o755, 0o644));
        fs::write(root.join(all[1]), "mine").unwrap();
        fs::remove_file(root.join(all[0])).unwrap();
        let error = write(root, false).unwrap_err();
        assert!(
            error.sentence().contains("`.s2i/bin/run`"),
            "{}",
            error.sentence()
        );
        assert!(!root.join(all[0]).exists());
        assert_eq!(write(root, true).unwrap(), all[..2]);
        assert_eq!(
            write(&root.join("none"), true).unwrap_err().kind(),
            Kind::Input
        );
    }

    #[test]
    fn the_example_has_these_files() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blog");
        for file in &FILES {
            assert_eq!(
                fs::read_to_string(example.join(file.path)).unwrap(),
                file.text,
                "{}",
                file.path
            );
        }
    }
}
