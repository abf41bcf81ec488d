//! The scripts by which an application is built from a wheelhouse, and with which it can itself be the
//! source of one.
//!
//! Responsible for their contents and for writing them. They need nothing in `.s2i/environment`, so that
//! file is left to the application: its variables would stay in the image of the application.

use std::io;
use std::path::Path;

use fs_err as fs;
use wheelhouse_model::{Error, Kind, Result};

use crate::publish::write_file;

/// Path below the application's directory, and contents.
const SCRIPTS: [(&str, &str); 2] = [
    (".s2i/bin/assemble", include_str!("application/assemble")),
    (".s2i/bin/run", include_str!("application/run")),
];

/// Writes the scripts below `directory` and returns the paths of those that were not there yet. With
/// `force` the application's own scripts of these names are replaced.
///
/// # Errors
/// `Input` when there is no such directory, or the application has a script of its own, and nothing is
/// written then; `Publish` when a file cannot be written.
pub fn write(directory: &Path, force: bool) -> Result<Vec<&'static str>> {
    if !directory.is_dir() {
        let message = format!("`{}` is not a directory", directory.display());
        return Err(Error::new(Kind::Input, message).with_hint("Name the application's directory."));
    }
    let mut missing = Vec::new();
    let mut own = Vec::new();
    for script in &SCRIPTS {
        let (path, text) = script;
        match fs::read(directory.join(path)) {
            Ok(bytes) if bytes == text.as_bytes() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(script),
            _ if force => missing.push(script),
            _ => own.push(*path),
        }
    }
    if let Some(first) = own.first() {
        let message = format!(
            "`{}` has `{}` already",
            directory.display(),
            own.join("`, `")
        );
        let role = first.rsplit('/').next().unwrap_or_default();
        return Err(Error::new(Kind::Input, message).with_hint(format!(
            "Replace with --force, or keep it and add `if [ -d /opt/app-root/wheelhouse ]; then exec \
             /opt/app-root/s2i/{role}; fi` at its start; docs/s2i.md says what else the scripts do."
        )));
    }
    for (path, text) in &missing {
        write_file(&directory.join(path), text.as_bytes(), 0o755)?;
    }
    Ok(missing.into_iter().map(|(path, _)| *path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_of_the_user_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let all = SCRIPTS.map(|(path, _)| path);
        fs::create_dir(root.join(".s2i")).unwrap();
        fs::write(root.join(".s2i/environment"), "APP_HOME=project").unwrap();
        assert_eq!(write(root, false).unwrap(), all);
        assert_eq!(write(root, false).unwrap(), [""; 0]);
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(all[0]), mode(all[1])), (0o755, 0o755));
        fs::write(root.join(all[1]), "mine").unwrap();
        fs::remove_file(root.join(all[0])).unwrap();
        let error = write(root, false).unwrap_err();
        assert!(
            error.sentence().contains("`.s2i/bin/run`"),
            "{}",
            error.sentence()
        );
        assert!(!root.join(all[0]).exists());
        assert_eq!(write(root, true).unwrap(), all);
        assert_eq!(
            fs::read_to_string(root.join(".s2i/environment")).unwrap(),
            "APP_HOME=project"
        );
        assert_eq!(
            write(&root.join("none"), true).unwrap_err().kind(),
            Kind::Input
        );
    }

    #[test]
    fn the_example_has_these_scripts() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blog");
        for (path, text) in SCRIPTS {
            let own = fs::read_to_string(example.join(path)).unwrap();
            assert_eq!(own, text, "{path}");
        }
    }
}
