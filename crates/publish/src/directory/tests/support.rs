//! Sets of plain texts, file systems that fail, and what must hold of a directory at every moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelhouse_types::manifest::{SCHEMA, Wheel};
use wheelhouse_types::{Error, Kind, Origin, Sha256};

use super::super::super::Place;
use super::super::*;

/// A wheel is any text here: its file holds its own file name and a mark.
pub(super) struct Texts(BTreeMap<Sha256, String>);

impl Place for Texts {
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        fs::write(destination, &self.0[sha256])
            .map_err(|error| Error::new(Kind::Fetch, "the store has no room").caused_by(error))
    }
}

/// A set: the contents of wheels and of other files by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    pub(super) wheels: BTreeMap<String, String>,
    pub(super) files: BTreeMap<String, String>,
}

impl Set {
    pub(super) fn new(wheels: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        };
        Self {
            wheels: owned(wheels),
            files: owned(files),
        }
    }

    pub(super) fn manifest(&self) -> Manifest {
        Manifest {
            schema: SCHEMA.to_owned(),
            generator: "test".to_owned(),
            targets: Vec::new(),
            requirements: Vec::new(),
            request: "request".to_owned(),
            wheels: self
                .wheels
                .iter()
                .map(|(name, text)| wheel(name, text))
                .collect(),
            sets: Vec::new(),
            sdists: Vec::new(),
            files: Vec::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn publish(&self, operations: &dyn Operations, root: &Path) -> Result<Published> {
        let texts = self.wheels.values();
        let texts = Texts(
            texts
                .map(|text| (Sha256::of(text.as_bytes()), text.clone()))
                .collect(),
        );
        let files = self.files.iter();
        let wheelhouse = Wheelhouse {
            manifest: self.manifest(),
            files: files
                .map(|(name, text)| (name.clone(), text.clone().into_bytes()))
                .collect(),
            store: &texts,
        };
        let publisher = DirectoryPublisher {
            directory: root.to_owned(),
            overwrite: true,
        };
        publish(operations, &publisher, &wheelhouse)
    }
}

pub(super) fn wheel(name: &str, text: &str) -> Wheel {
    Wheel {
        filename: name.to_owned(),
        name: name.to_owned(),
        version: "1".to_owned(),
        sha256: Sha256::of(text.as_bytes()),
        size: text.len() as u64,
        requires_python: None,
        dependencies: Vec::new(),
        origin: Origin::Direct,
        source: String::new(),
        yanked: None,
        build_only: false,
        built: None,
    }
}

/// The filesystem until a step; from there on nothing happens any more, as after `kill -9`. A write
/// that is stopped leaves half of its bytes.
pub(super) struct Stopping {
    steps: AtomicUsize,
}

impl Stopping {
    pub(super) fn after(steps: usize) -> Self {
        Self {
            steps: AtomicUsize::new(steps),
        }
    }

    /// Never stops, and waits for no disk.
    pub(super) fn never() -> Self {
        Self::after(usize::MAX)
    }

    pub(super) fn step(&self) -> io::Result<()> {
        let spent = |steps: usize| steps.checked_sub(1);
        let order = Ordering::SeqCst;
        let left = self.steps.fetch_update(order, order, spent);
        left.map(drop).map_err(|_| io::Error::other("stopped"))
    }
}

impl Operations for Stopping {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        Disk.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        Disk.write(path, &bytes[..bytes.len() / 2])?;
        self.step()?;
        Disk.write(path, bytes)
    }

    fn place(&self, store: &dyn Place, sha256: &Sha256, path: &Path) -> Result<()> {
        self.write(path, b"half a wheel")
            .map_err(|error| failure(path, error))?;
        fs::remove_file(path).unwrap();
        Disk.place(store, sha256, path)
    }

    fn flush(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        Disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        Disk.remove_directory(path)
    }
}

/// Everything in a directory: names with contents, directories with none.
pub(super) fn state(root: &Path) -> BTreeMap<String, Option<String>> {
    let mut state = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let name = entry
            .path()
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let content = entry
            .file_type()
            .is_file()
            .then(|| fs::read_to_string(entry.path()).unwrap());
        state.insert(name, content);
    }
    state
}

/// What must hold at every moment.
pub(super) fn check_invariants(root: &Path, sets: &[&Set]) {
    let state = state(root);
    for (name, content) in &state {
        if name.contains(".whl") {
            let whole = sets
                .iter()
                .any(|set| set.wheels.get(name) == content.as_ref());
            assert!(whole || name.starts_with("foreign"), "{name} is not whole");
        }
    }
    let Some(Some(manifest)) = state.get(MANIFEST_NAME) else {
        return;
    };
    let manifest: Manifest = serde_json::from_str(manifest).expect("the manifest is whole");
    for wheel in &manifest.wheels {
        let content = state.get(&wheel.filename).and_then(Option::as_ref);
        let digest = content.map(|content| Sha256::of(content.as_bytes()));
        assert_eq!(digest, Some(wheel.sha256), "{} is listed", wheel.filename);
    }
    for file in &manifest.files {
        assert!(state.contains_key(file), "{file} is listed and missing");
    }
}

/// A disk that takes so many files and no more.
pub(super) struct Full(pub(super) AtomicUsize);

impl Operations for Full {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        Disk.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.store(1, Ordering::SeqCst);
            Disk.write(path, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Disk.write(path, bytes)
    }

    fn place(&self, store: &dyn Place, sha256: &Sha256, path: &Path) -> Result<()> {
        Disk.place(store, sha256, path)
    }

    fn flush(&self, path: &Path) -> io::Result<()> {
        Disk.flush(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        Disk.remove_directory(path)
    }
}
