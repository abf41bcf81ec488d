//! Built wheels: what was built from a source under given circumstances, so that it need not be
//! built again.
//!
//! Never decides what the circumstances are: the caller lists them.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Component, Path};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelhouse_fs::digest::Digester;
use wheelhouse_types::{Result, Sha256};

use super::writer::create_new;
use super::{Lookup, Store, StoredFile, error};

const SCHEMA: &str = "wheelhouse-built/1";

/// Names the circumstances of a build: two builds with the same key give equivalent wheels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildKey(Sha256);

impl BuildKey {
    /// Makes the key of `fields`, each a label and a value. The order counts; no two different
    /// lists have the same key, since each text is preceded by its length.
    pub fn new<L, V>(fields: impl IntoIterator<Item = (L, V)>) -> Self
    where
        L: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut digester = Digester::default();
        let mut text = |text: &[u8]| {
            digester.update(&(text.len() as u64).to_le_bytes());
            digester.update(text);
        };
        text(SCHEMA.as_bytes());
        for (label, value) in fields {
            text(label.as_ref());
            text(value.as_ref());
        }
        Self(digester.finish().sha256)
    }
}

impl fmt::Display for BuildKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A wheel that was built here once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuiltWheel {
    pub filename: String,
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    /// The build closure, `name==version`, sorted.
    pub requirements: Vec<String>,
    /// The Python that built it, `cpython 3.11.7`.
    pub python: String,
    /// How long the build took.
    pub seconds: f64,
    /// The newest version of glibc that its binaries need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<(u16, u16)>,
}

#[derive(Serialize, Deserialize)]
struct BuildRecord<W> {
    schema: String,
    #[serde(flatten)]
    wheel: W,
}

impl Store {
    /// Looks for the wheel that was built under `key`. One whose file is gone is absent; a record
    /// that cannot be understood is removed.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub fn find_built(&self, key: &BuildKey) -> Result<Lookup<(BuiltWheel, StoredFile)>> {
        let path = self.layout().record(key);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Miss),
            text => text.map_err(|error| error::reading(&path, error))?,
        };
        let Some(wheel) = parse(&text) else {
            self.remove_build_record(key);
            return Ok(Lookup::Miss);
        };
        Ok(match self.find(&wheel.sha256)? {
            Lookup::Hit(stored) if stored.size == wheel.size => Lookup::Hit((wheel, stored)),
            Lookup::Hit(_) | Lookup::Miss => Lookup::Miss,
            Lookup::Corrupt(path) => Lookup::Corrupt(path),
        })
    }

    /// Removes the record of `key`, which cannot be right. Where that fails, it is replaced when the wheel was built again.
    pub fn remove_build_record(&self, key: &BuildKey) {
        if self.is_writable() {
            let _ = fs::remove_file(self.layout().record(key));
        }
    }

    /// Notes that `wheel`, which is in the store, was built under `key`.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn save_build_record(&self, key: &BuildKey, wheel: &BuiltWheel) -> Result<()> {
        let failed = |error| error::writing(self.root(), error);
        let record = BuildRecord {
            schema: SCHEMA.to_owned(),
            wheel,
        };
        let mut text = serde_json::to_vec_pretty(&record).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let mut file = self.temporary(create_new)?;
        let written = file.as_file_mut().write_all(&text);
        written.map_err(failed)?;
        file.as_file().sync_data().map_err(failed)?;
        self.persist(file, &self.layout().record(key)).map(drop)
    }
}

/// Reads a record of this version.
pub(super) fn parse(text: &[u8]) -> Option<BuiltWheel> {
    let record: BuildRecord<BuiltWheel> = serde_json::from_slice(text).ok()?;
    let usable = record.schema == SCHEMA && is_wheel_name(&record.wheel.filename);
    usable.then_some(record.wheel)
}

/// Whether `name` can only be a wheel's name in a directory, and never lead out of it.
fn is_wheel_name(name: &str) -> bool {
    let path = Path::new(name);
    let mut components = path.components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    ) && path.extension().is_some_and(|extension| extension == "whl")
}
