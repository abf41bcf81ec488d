//! Sets of plain texts, failing file systems, and the invariants of a directory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelhouse_types::manifest::{SCHEMA, Wheel};
use wheelhouse_types::{Error, Kind, Listing, Origin, Sha256};

use super::super::*;
use crate::wheelhouse::FilePlacer;

/// Places wheels whose content is any text.
pub(crate) struct TextPlacer(BTreeMap<Sha256, String>);

impl FilePlacer for TextPlacer {
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        fs::write(destination, &self.0[sha256])
            .map_err(|error| Error::new(Kind::Fetch, "the store is full").caused_by(error))
    }
}

/// A set: the contents of wheels and of other files by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SampleSet {
    pub(crate) wheels: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, String>,
}

impl SampleSet {
    pub(crate) fn new(wheels: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        };
        Self {
            wheels: owned(wheels),
            files: owned(files),
        }
    }

    pub(crate) fn manifest(&self) -> Manifest {
        Manifest {
            schema: SCHEMA.to_owned(),
            generator: "test".to_owned(),
            request: "request".to_owned(),
            wheels: self
                .wheels
                .iter()
                .map(|(name, text)| wheel(name, text))
                .collect(),
            ..Manifest::default()
        }
    }

    pub(crate) fn publish(&self, fs_ops: &dyn FsOps, root: &Path) -> Result<Published> {
        let placer = TextPlacer(
            self.wheels
                .values()
                .map(|text| (Sha256::of(text.as_bytes()), text.clone()))
                .collect(),
        );
        let wheelhouse = WheelhouseContents {
            manifest: self.manifest(),
            files: self
                .files
                .iter()
                .map(|(name, text)| (name.clone(), text.clone().into_bytes()))
                .collect(),
            has_index: false,
            placer: &placer,
        };
        let publisher = DirectoryPublisher {
            directory: root.to_owned(),
            overwrite: true,
        };
        publish(fs_ops, &publisher, &wheelhouse)
    }
}

pub(crate) fn wheel(name: &str, text: &str) -> Wheel {
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
        listing: Listing::default(),
        added: false,
        build_only: false,
        built: None,
    }
}

/// A file system on which every operation after a number of steps fails, as if the process had been killed. An
/// interrupted write leaves half of the bytes.
pub(crate) struct InterruptedFs {
    steps: AtomicUsize,
}

impl InterruptedFs {
    pub(crate) fn after(steps: usize) -> Self {
        Self {
            steps: AtomicUsize::new(steps),
        }
    }

    /// Returns a file system that never fails and does not flush.
    pub(crate) fn never() -> Self {
        Self::after(usize::MAX)
    }

    pub(crate) fn step(&self) -> io::Result<()> {
        let decrement = |steps: usize| steps.checked_sub(1);
        let order = Ordering::SeqCst;
        self.steps
            .fetch_update(order, order, decrement)
            .map(drop)
            .map_err(|_| io::Error::other("interrupted"))
    }
}

impl FsOps for InterruptedFs {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        RealFs.write(path, &bytes[..bytes.len() / 2])?;
        self.step()?;
        RealFs.write(path, bytes)
    }

    fn place(&self, placer: &dyn FilePlacer, sha256: &Sha256, path: &Path) -> Result<()> {
        self.write(path, b"half a wheel")
            .map_err(|error| write_error(path, error))?;
        fs::remove_file(path).unwrap();
        RealFs.place(placer, sha256, path)
    }

    fn flush(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.remove_directory(path)
    }
}

/// Returns the content of every file in a directory by name, and `None` for subdirectories. The previous manifest, which
/// depends on the runs before, is left out.
pub(crate) fn state(root: &Path) -> BTreeMap<String, Option<String>> {
    let mut state = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        if entry.file_name() == PREVIOUS_NAME {
            continue;
        }
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

/// Asserts the invariants that hold after every step.
pub(crate) fn check_invariants(root: &Path, sets: &[&SampleSet]) {
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

/// A file system on which only a number of files can be written.
pub(crate) struct FullDisk(pub(crate) AtomicUsize);

impl FsOps for FullDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        RealFs.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.store(1, Ordering::SeqCst);
            RealFs.write(path, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealFs.write(path, bytes)
    }

    fn place(&self, placer: &dyn FilePlacer, sha256: &Sha256, path: &Path) -> Result<()> {
        RealFs.place(placer, sha256, path)
    }

    fn flush(&self, path: &Path) -> io::Result<()> {
        RealFs.flush(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_directory(path)
    }
}
