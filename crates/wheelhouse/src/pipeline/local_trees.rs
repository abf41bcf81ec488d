//! Digests of local source trees, and copies to build from.
//!
//! The digest of a tree covers its files, and the files beside it that earlier builds of it have read: a
//! build that reads `../VERSION` makes another wheel when that file changes. The store records which files
//! were read, and the digests of files that have not changed since.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::lock_file::{LOCK_NAME, lock_name};
use wheelhouse_archive::known_files::KnownFiles;
use wheelhouse_archive::source_tree::{self, LargeFiles};
use wheelhouse_archive::surroundings::{self, SurroundingsView};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::Store;

/// The digests of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeState {
    /// The digest of its files.
    pub(super) contents: Sha256,
    /// The digest of its files and of the files beside it that its builds read.
    pub(super) whole: Sha256,
}

/// Reads the local trees of a run.
#[derive(Clone)]
pub(super) struct TreeReader {
    store: Store,
    /// The output of the run, which is ignored if it lies in a tree.
    output: PathBuf,
}

impl TreeReader {
    pub(super) fn new(store: &Store, output: &Path) -> Self {
        Self {
            store: store.clone(),
            output: output.to_owned(),
        }
    }

    /// Computes the digests of the tree at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn state(&self, path: &Path) -> Result<TreeState> {
        let (reader, path) = (self.clone(), path.to_owned());
        blocking(move || {
            reader.with_known(&path, |known| {
                let contents = source_tree::digest(&path, &reader.ignored_paths(), known)?;
                let whole = reader.with_surroundings(&path, contents, known);
                Ok(TreeState { contents, whole })
            })
        })
        .await
    }

    /// Computes the digest of the tree at `path` and of the files beside it that its builds read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn digest(&self, path: &Path) -> Result<Sha256> {
        Ok(self.state(path).await?.whole)
    }

    /// Copies the tree at `path`, which must have this `digest`, into the empty `directory`. Returns a view of the files beside
    /// it that builds can read, and whether large files are links.
    ///
    /// # Errors
    /// When the tree cannot be read or has changed, or the disk is full.
    pub(super) fn copy(
        &self,
        path: &Path,
        digest: Sha256,
        large: LargeFiles,
        directory: &Path,
    ) -> Result<(SurroundingsView, bool)> {
        let ignored = self.ignored_paths();
        let view = SurroundingsView::create(path, directory, &ignored)?;
        let copied = self.with_known(path, |known| {
            let copied = source_tree::copy(path, &view.root, &ignored, large, known)?;
            if self.with_surroundings(path, copied.digest, known) == digest {
                return Ok(copied);
            }
            let message = format!("the tree {} changed during the run", path.display());
            Err(Error::new(Kind::Build, message).with_hint("Run it again."))
        })?;
        Ok((view, copied.has_links))
    }

    /// Records files beside the tree at `path` that a build has read. Returns whether any of them is new.
    pub(super) fn note_seen(&self, path: &Path, seen: Vec<PathBuf>) -> bool {
        let mut noted = self.noted(path);
        let before = noted.len();
        noted.extend(seen);
        noted.sort();
        noted.dedup();
        if noted.len() > before {
            let text = serde_json::to_vec(&noted).unwrap_or_default();
            self.store.save_surroundings(&record_key(path), &text);
        }
        noted.len() > before
    }

    fn noted(&self, path: &Path) -> Vec<PathBuf> {
        let text = self
            .store
            .surroundings(&record_key(path))
            .unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn with_surroundings(&self, path: &Path, contents: Sha256, known: &mut KnownFiles) -> Sha256 {
        let seen = self.noted(path);
        if seen.is_empty() {
            return contents;
        }
        let ignored = self.ignored_paths();
        let mut states = vec![contents];
        let digest = |thing: &PathBuf| surroundings::digest(thing, &ignored, known);
        states.extend(seen.iter().map(digest));
        Sha256::of(format!("{states:?}").as_bytes())
    }

    fn with_known<T>(
        &self,
        path: &Path,
        action: impl FnOnce(&mut KnownFiles) -> Result<T>,
    ) -> Result<T> {
        let key = record_key(path);
        let mut known = KnownFiles::from_bytes(&self.store.tree_files(&key).unwrap_or_default());
        let outcome = action(&mut known)?;
        if let Some(bytes) = known.to_bytes() {
            self.store.save_tree_files(&key, &bytes);
        }
        Ok(outcome)
    }

    /// Returns the paths that the run writes: a wheelhouse, a lock, or a lock for each target (`pylock.*.toml`).
    fn ignored_paths(&self) -> Vec<PathBuf> {
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

/// Returns the key of the records about the tree at `path`.
fn record_key(path: &Path) -> Sha256 {
    Sha256::of(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    struct Fixture {
        directory: tempfile::TempDir,
        reader: TreeReader,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let reader = TreeReader {
                store: Store::open(directory.path().join("store")).unwrap(),
                output: directory.path().join("out"),
            };
            let fixture = Self { directory, reader };
            fixture.write("repo/tree/a.py", "ONE = 1");
            fixture.write("repo/VERSION", "1.0");
            fixture
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn copy(&self, digest: Sha256) -> Result<SurroundingsView> {
            let (tree, copy) = (self.path("repo/tree"), self.path("copy"));
            let _ = fs::remove_dir_all(&copy);
            fs::create_dir(&copy).unwrap();
            let copied = self.reader.copy(&tree, digest, LargeFiles::Link, &copy);
            Ok(copied?.0)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[tokio::test]
    async fn rejects_tree_that_changed_since_its_digest() {
        let fixture = Fixture::new();
        let tree = fixture.path("repo/tree");
        let digest = fixture.reader.digest(&tree).await.unwrap();
        assert!(fixture.copy(digest).is_ok());
        fixture.write("repo/tree/a.py", "TWO = 2");
        let error = fixture.copy(digest).err().unwrap();
        assert!(error.display_chain().contains("/tree changed"), "{error}");
    }

    #[tokio::test]
    async fn digest_covers_files_that_builds_read_beside_the_tree() {
        let fixture = Fixture::new();
        let tree = fixture.path("repo/tree");
        let first = fixture.reader.digest(&tree).await.unwrap();
        fixture.write("repo/VERSION", "2.0");
        assert_eq!(fixture.reader.digest(&tree).await.unwrap(), first);

        let copy = fixture.copy(first).unwrap();
        assert!(!fixture.reader.note_seen(&tree, copy.accessed()));
        let version = fs::read_to_string(copy.root.join("../VERSION")).unwrap();
        assert_eq!(version, "2.0");
        assert_eq!(copy.accessed(), [fixture.path("repo/VERSION")]);
        assert!(fixture.reader.note_seen(&tree, copy.accessed()));

        let second = fixture.reader.digest(&tree).await.unwrap();
        assert_ne!(second, first);
        assert!(fixture.copy(second).is_ok());
        fixture.write("repo/VERSION", "3.0");
        assert_ne!(fixture.reader.digest(&tree).await.unwrap(), second);
        fs::remove_file(fixture.path("repo/VERSION")).unwrap();
        assert_ne!(fixture.reader.digest(&tree).await.unwrap(), second);
    }
}
