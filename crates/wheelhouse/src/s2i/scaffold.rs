//! The scripts that build an application from a wheelhouse, and the variable with which other scripts find the wheelhouse.
//!
//! Existing contents of `.s2i/environment` are kept.

use std::io;
use std::path::Path;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use super::environment;
use wheelhouse_fs::input;
use wheelhouse_publish::write_file;

/// The paths in the application's directory, and their contents.
const SCRIPTS: [(&str, &str); 2] = [
    (".s2i/bin/assemble", include_str!("scaffold/assemble")),
    (".s2i/bin/run", include_str!("scaffold/run")),
];

/// The file with the variables of the application's builds and image.
const ENVIRONMENT: &str = ".s2i/environment";

/// The variable that names the wheelhouse; pip ignores a directory that does not exist.
const VARIABLE: (&str, &str) = ("PIP_FIND_LINKS", ".s2i/wheelhouse");

/// Writes the scripts below `directory`, adds the variable to its `.s2i/environment` unless that sets it,
/// and returns the changed paths. With `force`, existing scripts are replaced.
///
/// # Errors
/// `Input` if the directory does not exist, or if the application has other scripts, in which case nothing is
/// written; `Publish` if a file cannot be written.
pub fn write(directory: &Path, force: bool) -> Result<Vec<&'static str>> {
    if !directory.is_dir() {
        let message = format!("`{}` is not a directory", directory.display());
        return Err(
            Error::new(Kind::Input, message).with_hint("Pass the directory of the application.")
        );
    }
    let mut missing = Vec::new();
    let mut own = Vec::new();
    for script in &SCRIPTS {
        let (path, text) = script;
        match input::read(&directory.join(path)) {
            Ok(bytes) if bytes == text.as_bytes() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(script),
            _ if force => missing.push(script),
            _ => own.push(*path),
        }
    }
    if let Some(first) = own.first() {
        let message = format!(
            "`{}` already has `{}`",
            directory.display(),
            own.join("`, `")
        );
        let role = first.rsplit('/').next().unwrap_or_default();
        return Err(Error::new(Kind::Input, message).with_hint(format!(
            "Replace it with --force, or keep it and add `if [ -d /opt/app-root/wheelhouse ]; then exec \
             /opt/app-root/s2i/{role}; fi` at its start; see docs/how-to/s2i.md for what else the scripts do."
        )));
    }
    let environment = with_variable(&directory.join(ENVIRONMENT))?;
    for (path, text) in &missing {
        write_file(&directory.join(path), text.as_bytes(), 0o755)?;
    }
    let mut written: Vec<_> = missing.into_iter().map(|(path, _)| *path).collect();
    if let Some(text) = environment {
        write_file(&directory.join(ENVIRONMENT), &text, 0o644)?;
        written.push(ENVIRONMENT);
    }
    Ok(written)
}

/// Returns the contents of `path` with the variable added; `None` if they set it already.
fn with_variable(path: &Path) -> Result<Option<Vec<u8>>> {
    let (name, value) = VARIABLE;
    let mut text = match input::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        text => text.context(Kind::Input, || {
            "the variables of the application cannot be read".to_owned()
        })?,
    };
    let is_set = environment::parse(&String::from_utf8_lossy(&text))
        .iter()
        .any(|(known, _)| known == name);
    if is_set {
        return Ok(None);
    }
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text.extend(format!("{name}={value}\n").bytes());
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_of_the_user_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let all = SCRIPTS.map(|(path, _)| path);
        fs::create_dir(root.join(".s2i")).unwrap();
        fs::write(root.join(ENVIRONMENT), "APP_HOME=project").unwrap();
        assert_eq!(write(root, false).unwrap(), [all[0], all[1], ENVIRONMENT]);
        assert_eq!(write(root, false).unwrap(), [""; 0]);
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(all[0]), mode(all[1])), (0o755, 0o755));
        fs::write(root.join(all[1]), "mine").unwrap();
        fs::remove_file(root.join(all[0])).unwrap();
        let error = write(root, false).unwrap_err();
        assert!(
            error.display_chain().contains("`.s2i/bin/run`"),
            "{}",
            error.display_chain()
        );
        assert!(!root.join(all[0]).exists());
        assert_eq!(write(root, true).unwrap(), all);
        assert_eq!(
            fs::read_to_string(root.join(ENVIRONMENT)).unwrap(),
            "APP_HOME=project\nPIP_FIND_LINKS=.s2i/wheelhouse\n"
        );
        assert_eq!(
            write(&root.join("none"), true).unwrap_err().kind(),
            Kind::Input
        );
    }

    #[test]
    fn a_variable_of_the_application_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("environment");
        let added = || {
            with_variable(&path)
                .unwrap()
                .map(|text| String::from_utf8(text).unwrap())
        };
        assert_eq!(added().unwrap(), "PIP_FIND_LINKS=.s2i/wheelhouse\n");
        fs::write(&path, "PIP_FIND_LINKS = packages\nA=1").unwrap();
        assert_eq!(added(), None);
        fs::write(&path, "#PIP_FIND_LINKS=packages\n").unwrap();
        assert!(
            added()
                .unwrap()
                .starts_with("#PIP_FIND_LINKS=packages\nPIP_FIND")
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
