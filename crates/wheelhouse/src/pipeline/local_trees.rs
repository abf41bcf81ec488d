//! Local source trees: what state they are in, and copies to build from.
//!
//! The state of a tree is that of its files and of what earlier builds of it looked at beside it: a
//! build that reads `../VERSION` gives another wheel when that changes. What it looked at is noted in
//! the store, as are the digests of files that did not change since.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::lock::lock_name;
use super::previous_lock::LOCK_NAME;
use wheelhouse_archive::known_files::KnownFiles;
use wheelhouse_archive::source_tree::{self, LargeFiles};
use wheelhouse_archive::surroundings::{self, View};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::Store;

/// The state of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeState {
    /// Names its contents.
    pub(super) contents: Sha256,
    /// Names its contents and those of what its builds look at beside it.
    pub(super) whole: Sha256,
}

/// Reads the local trees of a run.
#[derive(Clone)]
pub(super) struct TreeReader {
    store: Store,
    /// The output of the run, which is no part of a tree that it lies in.
    output: PathBuf,
}

impl TreeReader {
    pub(super) fn new(store: &Store, output: &Path) -> Self {
        Self {
            store: store.clone(),
            output: output.to_owned(),
        }
    }

    /// Reads the state of the tree at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn state(&self, path: &Path) -> Result<TreeState> {
        let (reader, path) = (self.clone(), path.to_owned());
        blocking(move || {
            reader.with_known(&path, |known| {
                let contents = source_tree::digest(&path, &reader.apart_from(), known)?;
                let whole = reader.with_surroundings(&path, contents, known);
                Ok(TreeState { contents, whole })
            })
        })
        .await
    }

    /// Names the whole state of the tree at `path`.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub(super) async fn digest(&self, path: &Path) -> Result<Sha256> {
        Ok(self.state(path).await?.whole)
    }

    /// Copies the tree at `path`, whose whole state is `digest`, into the empty `directory`, with what it can see beside
    /// it. Returns that, and whether large files are links.
    ///
    /// # Errors
    /// When the tree cannot be read or has changed, or the disk is full.
    pub(super) fn copy(
        &self,
        path: &Path,
        digest: Sha256,
        large: LargeFiles,
        directory: &Path,
    ) -> Result<(View, bool)> {
        let apart_from = self.apart_from();
        let view = View::make(path, directory, &apart_from)?;
        let copied = self.with_known(path, |known| {
            let copied = source_tree::copy(path, &view.root, &apart_from, large, known)?;
            if self.with_surroundings(path, copied.digest, known) == digest {
                return Ok(copied);
            }
            let message = format!("the tree {} changed during the run", path.display());
            Err(Error::new(Kind::Build, message).with_hint("Run it again."))
        })?;
        Ok((view, copied.has_links))
    }

    /// Notes what was looked at beside the tree at `path`. Returns whether anything is new.
    pub(super) fn note_seen(&self, path: &Path, seen: Vec<PathBuf>) -> bool {
        let mut noted = self.noted(path);
        let before = noted.len();
        noted.extend(seen);
        noted.sort();
        noted.dedup();
        if noted.len() > before {
            let text = serde_json::to_vec(&noted).unwrap_or_default();
            self.store.keep_surroundings(&about(path), &text);
        }
        noted.len() > before
    }

    fn noted(&self, path: &Path) -> Vec<PathBuf> {
        let text = self.store.surroundings(&about(path)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn with_surroundings(&self, path: &Path, contents: Sha256, known: &mut KnownFiles) -> Sha256 {
        let seen = self.noted(path);
        if seen.is_empty() {
            return contents;
        }
        let apart_from = self.apart_from();
        let mut states = vec![contents];
        let digest = |thing: &PathBuf| surroundings::digest(thing, &apart_from, known);
        states.extend(seen.iter().map(digest));
        Sha256::of(format!("{states:?}").as_bytes())
    }

    fn with_known<T>(
        &self,
        path: &Path,
        action: impl FnOnce(&mut KnownFiles) -> Result<T>,
    ) -> Result<T> {
        let about = about(path);
        let mut known = KnownFiles::from_bytes(&self.store.tree_files(&about).unwrap_or_default());
        let outcome = action(&mut known)?;
        if let Some(bytes) = known.to_bytes() {
            self.store.keep_tree_files(&about, &bytes);
        }
        Ok(outcome)
    }

    /// What the run writes at its output: a wheelhouse, a lock, or a lock for each target (`pylock.*.toml`).
    fn apart_from(&self) -> Vec<PathBuf> {
        let output = &self.output;
        if output.file_name() != Some(OsStr::new(&lock_name(Some("*")))) {
            return vec![output.clone()];
        }
        let is_lock = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pylock.") && name.ends_with(".toml") && name != LOCK_NAME
        };
        let directory = output.parent().unwrap_or(Path::new("/"));
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(is_lock).collect()
    }
}

/// The name under which notes of the tree at `path` are kept.
fn about(path: &Path) -> Sha256 {
    Sha256::of(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        reader: TreeReader,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let reader = TreeReader {
                store: Store::open(directory.path().join("store")).unwrap(),
                output: directory.path().join("out"),
            };
            let place = Self { directory, reader };
            place.write("repo/tree/a.py", "ONE = 1");
            place.write("repo/VERSION", "1.0");
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn copy(&self, digest: Sha256) -> Result<View> {
            let (tree, copy) = (self.path("repo/tree"), self.path("copy"));
            let _ = fs::remove_dir_all(&copy);
            fs::create_dir(&copy).unwrap();
            let copied = self.reader.copy(&tree, digest, LargeFiles::Linked, &copy);
            Ok(copied?.0)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[tokio::test]
    async fn a_tree_that_has_changed_is_not_taken_for_what_it_was() {
        let place = Place::new();
        let tree = place.path("repo/tree");
        let digest = place.reader.digest(&tree).await.unwrap();
        assert!(place.copy(digest).is_ok());
        place.write("repo/tree/a.py", "TWO = 2");
        let error = place.copy(digest).err().unwrap();
        assert!(error.sentence().contains("/tree changed"), "{error}");
    }

    #[tokio::test]
    async fn what_was_looked_at_beside_a_tree_decides_its_state() {
        let place = Place::new();
        let tree = place.path("repo/tree");
        let first = place.reader.digest(&tree).await.unwrap();
        place.write("repo/VERSION", "2.0");
        assert_eq!(place.reader.digest(&tree).await.unwrap(), first);

        let copy = place.copy(first).unwrap();
        assert!(!place.reader.note_seen(&tree, copy.seen()));
        let version = fs::read_to_string(copy.root.join("../VERSION")).unwrap();
        assert_eq!(version, "2.0");
        assert_eq!(copy.seen(), [place.path("repo/VERSION")]);
        assert!(place.reader.note_seen(&tree, copy.seen()));

        let second = place.reader.digest(&tree).await.unwrap();
        assert_ne!(second, first);
        assert!(place.copy(second).is_ok());
        place.write("repo/VERSION", "3.0");
        assert_ne!(place.reader.digest(&tree).await.unwrap(), second);
        fs::remove_file(place.path("repo/VERSION")).unwrap();
        assert_ne!(place.reader.digest(&tree).await.unwrap(), second);
    }
}
