//! Records of built wheels: which wheel a build produced from given inputs, so that the build need not run again.
//!
//! The caller decides which inputs identify a build.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Component, Path};
use std::str::FromStr;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelhouse_fs::digest::Digester;
use wheelhouse_types::digest::InvalidDigest;
use wheelhouse_types::provenance::{BuildInputs, BuildRun};
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Result, Sha256};

use crate::entry::{Lookup, StoredFile};
use crate::error;
use crate::store::Store;
use crate::temporary::create_new;

const SCHEMA: &str = "wheelhouse-built/1";

/// Identifies the inputs of a build. Builds with the same key produce equivalent wheels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildKey(Sha256);

impl BuildKey {
    /// Computes the key of `fields`, each a label and a value, in their order. Different lists have different keys, since
    /// the length of each text precedes it.
    pub fn new<L, V>(fields: impl IntoIterator<Item = (L, V)>) -> Self
    where
        L: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut digester = Digester::default();
        let mut add = |text: &[u8]| {
            digester.update(&(text.len() as u64).to_le_bytes());
            digester.update(text);
        };
        add(SCHEMA.as_bytes());
        for (label, value) in fields {
            add(label.as_ref());
            add(value.as_ref());
        }
        Self(digester.finish().sha256)
    }
}

impl FromStr for BuildKey {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidDigest> {
        text.parse().map(Self)
    }
}

impl fmt::Display for BuildKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The record of a build: the wheel that it produced, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildRecord {
    /// The key of the build in the store that it was recorded in. Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BuildKey>,
    /// The file name.
    pub filename: String,
    /// The digest of the file.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
    /// The packages of the build environment, as sorted lines `name==version`.
    pub requirements: Vec<String>,
    /// The interpreter of the build, such as `cpython 3.11.7`.
    pub python: String,
    /// The duration of the build in seconds.
    pub seconds: f64,
    /// The newest version of glibc that the binaries need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<(u16, u16)>,
    /// The inputs of the build. Earlier versions did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BuildInputs>,
    /// The circumstances of the build. Earlier versions did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<BuildRun>,
}

impl BuildRecord {
    /// Returns what the sandbox of the build enforced, sorted.
    #[must_use]
    pub fn protections(&self) -> &[Protection] {
        self.run
            .as_ref()
            .map(|run| &run.sandbox[..])
            .unwrap_or_default()
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRecord<W> {
    schema: String,
    #[serde(flatten)]
    wheel: W,
}

impl Store {
    /// Finds the wheel that was built from the inputs `key`. A record without its file is a miss, and a record that cannot
    /// be parsed is removed.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub fn find_built(&self, key: &BuildKey) -> Result<Lookup<(BuildRecord, StoredFile)>> {
        let lookup = self.look_up_built(key)?;
        let result = match lookup {
            Lookup::Hit(_) => "hit",
            Lookup::Miss => "miss",
            Lookup::Corrupt(_) => "corrupt",
        };
        tracing::debug!(%key, result, "looked up built wheel");
        Ok(lookup)
    }

    fn look_up_built(&self, key: &BuildKey) -> Result<Lookup<(BuildRecord, StoredFile)>> {
        let path = self.layout().record(key);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Miss),
            text => text.map_err(|error| error::reading(&path, error))?,
        };
        let Some(wheel) = parse(&text) else {
            tracing::debug!(%key, "discarding build record that cannot be parsed");
            self.remove_build_record(key);
            return Ok(Lookup::Miss);
        };
        Ok(match self.find(&wheel.sha256)? {
            Lookup::Hit(stored) if stored.size == wheel.size => Lookup::Hit((wheel, stored)),
            Lookup::Hit(_) | Lookup::Miss => Lookup::Miss,
            Lookup::Corrupt(path) => Lookup::Corrupt(path),
        })
    }

    /// Removes the record of `key`, which is wrong. A record that cannot be removed is replaced after the next build.
    pub fn remove_build_record(&self, key: &BuildKey) {
        if self.is_writable() {
            let _ = fs::remove_file(self.layout().record(key));
        }
    }

    /// Records that `wheel`, which is in the store, was built from the inputs `key`.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn save_build_record(&self, key: &BuildKey, wheel: &BuildRecord) -> Result<()> {
        let failed = |error| error::writing(self.root(), error);
        let record = StoredRecord {
            schema: SCHEMA.to_owned(),
            wheel,
        };
        let mut text = serde_json::to_vec_pretty(&record).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let mut file = self.temporary(create_new)?;
        file.as_file_mut()
            .write_all(&text)
            .and_then(|()| file.as_file().sync_data())
            .map_err(failed)?;
        self.persist(file, &self.layout().record(key)).map(drop)
    }
}

/// Parses a record. Returns `None` if it is damaged or has another schema.
pub(crate) fn parse(text: &[u8]) -> Option<BuildRecord> {
    let record: StoredRecord<BuildRecord> = serde_json::from_slice(text).ok()?;
    let is_valid = record.schema == SCHEMA && is_wheel_name(&record.wheel.filename);
    is_valid.then_some(record.wheel)
}

/// Returns whether `name` is a single path component with the extension of a wheel.
fn is_wheel_name(name: &str) -> bool {
    let path = Path::new(name);
    let mut components = path.components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    ) && path.extension().is_some_and(|extension| extension == "whl")
}
