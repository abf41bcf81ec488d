//! What a directory holds: its manifest, and its files sorted by what pip would make of them.
//!
//! Never judges a file by its contents.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result};

use super::report::Finding;
use wheelhouse_fs::input;

/// What pip takes for source distributions in a `--find-links` directory.
const SDIST_ENDINGS: [&str; 7] = [
    ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar",
];

/// A directory, looked through once.
pub(super) struct Survey {
    /// Absolute.
    pub(super) directory: PathBuf,
    pub(super) manifest: Option<Manifest>,
    /// What is wrong with the manifest that is there.
    pub(super) damage: Option<Finding>,
    /// The wheels at the top, by name.
    pub(super) wheels: BTreeSet<String>,
    /// The source distributions at the top, by name.
    pub(super) sdists: BTreeSet<String>,
    /// Every other file, relative to the directory; a directory that is none of the manifest's is
    /// one name with a slash at its end.
    pub(super) others: BTreeSet<String>,
}

impl Survey {
    /// Looks through `directory`, which is absolute.
    ///
    /// # Errors
    /// `Input` when it cannot be read, and when its manifest has a schema that is not known.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let (manifest, damage) = read_manifest(directory)?;
        let mut survey = Self {
            directory: directory.to_owned(),
            manifest,
            damage,
            wheels: BTreeSet::new(),
            sdists: BTreeSet::new(),
            others: BTreeSet::new(),
        };
        survey.walk()?;
        Ok(survey)
    }

    /// The wheels and source distributions that are no files, such as pipes: whoever opens these
    /// may wait for ever.
    pub(super) fn no_files(&self) -> impl Iterator<Item = &String> {
        let names = self.wheels.iter().chain(&self.sdists);
        names.filter(|name| !self.directory.join(name).is_file())
    }

    /// The bytes of the file `name`, unless it is none, or none of the directory.
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
                self.take(name);
            }
        }
        Ok(())
    }

    fn take(&mut self, name: String) {
        let is_top = !name.contains('/');
        if is_top && ends_with(&name, ".whl") {
            self.wheels.insert(name);
        } else if is_top && sdist(&name).is_some() {
            self.sdists.insert(name);
        } else {
            self.others.insert(name);
        }
    }

    /// The directories that hold files of the manifest.
    fn known_directories(&self) -> BTreeSet<String> {
        let files = self.manifest.iter().flat_map(|manifest| &manifest.files);
        files
            .flat_map(|file| Path::new(file).ancestors().skip(1))
            .map(|path| path.to_string_lossy().into_owned())
            .filter(|path| !path.is_empty())
            .collect()
    }
}

/// Whether `name` is a path that stays inside the directory.
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

/// The name and the version of `filename`, if pip would take that for a source distribution: a
/// hyphen parts the two.
pub(super) fn sdist(filename: &str) -> Option<(&str, &str)> {
    let ending = SDIST_ENDINGS
        .iter()
        .find(|ending| ends_with(filename, ending))?;
    let stem = &filename[..filename.len() - ending.len()];
    let is_version = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    stem.rsplit_once('-')
        .filter(|(_, version)| is_version(version))
}

/// Reads the manifest of `directory`: it, or what is wrong with it, or neither.
fn read_manifest(directory: &Path) -> Result<(Option<Manifest>, Option<Finding>)> {
    let path = directory.join(MANIFEST_NAME);
    let bytes = match input::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
            return Ok((None, None));
        }
        Err(_) if !directory.is_dir() => {
            let message = format!("there is no directory {}", directory.display());
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
            let hint = "A newer wheelhouse wrote it: verify with that one.";
            Err(Error::new(Kind::Input, message).with_hint(hint))
        }
        Err(unusable) => {
            let damage = Finding::new(MANIFEST_NAME, unusable.to_string()).hint(super::AGAIN);
            Ok((None, Some(damage)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdists_have_a_name_and_a_version() {
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
    fn files_are_sorted_by_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a-1-py3-none-any.whl", "b-1.tar.gz", "notes.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::fs::create_dir_all(directory.path().join("more/deep")).unwrap();
        let survey = Survey::read(directory.path()).unwrap();
        assert_eq!(Vec::from_iter(survey.wheels), ["a-1-py3-none-any.whl"]);
        assert_eq!(Vec::from_iter(survey.sdists), ["b-1.tar.gz"]);
        assert_eq!(Vec::from_iter(survey.others), ["more/", "notes.txt"]);
        assert!(survey.manifest.is_none() && survey.damage.is_none());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let error = Survey::read(Path::new("/nowhere/at/all")).err().unwrap();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.sentence().contains("/nowhere/at/all"));
    }
}
