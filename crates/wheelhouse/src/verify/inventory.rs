//! Lists the files of a directory by the way in which pip would use them, and reads its manifest.
//!
//! The contents of other files are not read.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result};

use super::report::{Finding, RERUN_HINT};
use wheelhouse_fs::input;

/// The files of a directory.
pub(super) struct DirectoryInventory {
    /// The absolute path of the directory.
    pub(super) directory: PathBuf,
    pub(super) manifest: Option<Manifest>,
    /// Why the manifest cannot be used.
    pub(super) damage: Option<Finding>,
    /// The names of the wheels at the top level.
    pub(super) wheels: BTreeSet<String>,
    /// The names of the source distributions at the top level.
    pub(super) sdists: BTreeSet<String>,
    /// All other files, as relative paths; a directory that the manifest does not name is one entry with a
    /// slash at its end.
    pub(super) others: BTreeSet<String>,
}

impl DirectoryInventory {
    /// Reads `directory`, an absolute path.
    ///
    /// # Errors
    /// [`Kind::Input`] when it cannot be read, or its manifest has an unknown schema.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let (manifest, damage) = read_manifest(directory)?;
        let mut inventory = Self {
            directory: directory.to_owned(),
            manifest,
            damage,
            wheels: BTreeSet::new(),
            sdists: BTreeSet::new(),
            others: BTreeSet::new(),
        };
        inventory.walk()?;
        Ok(inventory)
    }

    /// Returns the wheels and source distributions that are not regular files. Opening a pipe, for example, may
    /// block forever.
    pub(super) fn irregular_files(&self) -> impl Iterator<Item = &String> {
        let names = self.wheels.iter().chain(&self.sdists);
        names.filter(|name| !self.directory.join(name).is_file())
    }

    /// Reads the file `name` if it is a regular file inside the directory.
    pub(super) fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.directory.join(name);
        let is_file = is_inside(name) && path.is_file();
        is_file.then(|| input::read(&path).ok()).flatten()
    }

    fn walk(&mut self) -> Result<()> {
        let known = self.known_directories();
        let mut entries = WalkDir::new(&self.directory)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = entries.next() {
            let entry = entry.context(Kind::Input, || {
                format!("failed to read the directory {}", self.directory.display())
            })?;
            let name = relative(entry.path(), &self.directory);
            if entry.depth() == 0 || known.contains(&name) {
                continue;
            }
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
                self.others.insert(format!("{name}/"));
            } else {
                self.add(name);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String) {
        let is_top = !name.contains('/');
        if is_top && ends_with(&name, ".whl") {
            self.wheels.insert(name);
        } else if is_top && sdist(&name).is_some() {
            self.sdists.insert(name);
        } else {
            self.others.insert(name);
        }
    }

    /// Returns the directories that contain files of the manifest.
    fn known_directories(&self) -> BTreeSet<String> {
        let manifest = self.manifest.iter();
        let files = manifest.flat_map(|manifest| {
            let crates = manifest.crates.iter().map(|entry| &entry.path);
            manifest.files.iter().chain(crates)
        });
        files
            .flat_map(|file| Path::new(file).ancestors().skip(1))
            .map(|path| path.to_string_lossy().into_owned())
            .filter(|path| !path.is_empty())
            .collect()
    }
}

/// Returns whether the relative path `name` stays inside the directory.
pub(super) fn is_inside(name: &str) -> bool {
    let mut components = Path::new(name).components();
    !name.is_empty() && components.all(|part| matches!(part, Component::Normal(_)))
}

fn relative(path: &Path, directory: &Path) -> String {
    let path = path.strip_prefix(directory).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

fn ends_with(name: &str, ending: &str) -> bool {
    name.to_ascii_lowercase().ends_with(ending)
}

/// Returns the name and the version in `filename`, separated by a hyphen, if pip would accept it as a source
/// distribution.
pub(super) fn sdist(filename: &str) -> Option<(&str, &str)> {
    let stem = wheelhouse_archive::strip_sdist_suffix(filename)?;
    let is_version = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    stem.rsplit_once('-')
        .filter(|(_, version)| is_version(version))
}

/// Reads the manifest of `directory`. Returns the manifest, a finding if it is not valid, or neither if it is
/// missing.
fn read_manifest(directory: &Path) -> Result<(Option<Manifest>, Option<Finding>)> {
    let path = directory.join(MANIFEST_NAME);
    let bytes = match input::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
            return Ok((None, None));
        }
        Err(_) if !directory.is_dir() => {
            let message = format!("{} is not a directory", directory.display());
            let hint = "Name a directory that `wheelhouse build` or `pip wheel` has made.";
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
        Err(error) => {
            let message = format!("failed to read the wheelhouse {}", directory.display());
            let hint = "Make it readable for this user.";
            return Err(Error::new(Kind::Input, message)
                .with_hint(hint)
                .caused_by(error));
        }
    };
    match Manifest::parse(&bytes) {
        Ok(manifest) => Ok((Some(manifest), None)),
        Err(unknown @ Unusable::Unknown(_)) => {
            let message = format!("{} {unknown}", path.display());
            let hint = "Use a newer version of wheelhouse: this manifest was written by one.";
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
        Err(unusable) => {
            let damage = Finding::new(MANIFEST_NAME, unusable.to_string()).hint(RERUN_HINT);
            Ok((None, Some(damage)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_of_sdists() {
        for name in ["alpha-1.0.tar.gz", "Alpha-beta-2.ZIP", "a-1.tgz"] {
            assert!(sdist(name).is_some(), "{name}");
        }
        for name in [
            "notes.zip",
            "alpha-latest.tar.gz",
            "alpha-1.0.whl",
            "a-1.txt",
        ] {
            assert!(sdist(name).is_none(), "{name}");
        }
    }

    #[test]
    fn sorts_files_by_kind() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a-1-py3-none-any.whl", "b-1.tar.gz", "notes.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::fs::create_dir_all(directory.path().join("more/deep")).unwrap();
        let inventory = DirectoryInventory::read(directory.path()).unwrap();
        assert_eq!(Vec::from_iter(inventory.wheels), ["a-1-py3-none-any.whl"]);
        assert_eq!(Vec::from_iter(inventory.sdists), ["b-1.tar.gz"]);
        assert_eq!(Vec::from_iter(inventory.others), ["more/", "notes.txt"]);
        assert!(inventory.manifest.is_none() && inventory.damage.is_none());
    }

    #[test]
    fn rejects_missing_directory() {
        let error = DirectoryInventory::read(Path::new("/nowhere/at/all"))
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.display_chain().contains("/nowhere/at/all"));
    }
}
