//! What earlier runs left in a directory: the manifest, and the journal of a run that was stopped.
//!
//! Never changes the directory, and never counts a file as ours on its name alone when a digest was
//! recorded for it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use super::fs_ops::failure;
use wheelhouse_fs::input;

/// How the names of all temporary files of this program begin, the store's too.
pub(super) const TEMPORARY_START: &str = ".wheelhouse-";

const PENDING_SCHEMA: &str = "wheelhouse-pending/1";

/// The files that a run may have put there: the digests by which each is known, or none for a file
/// that is ours whatever it holds.
pub(super) type Owned = BTreeMap<String, Vec<Sha256>>;

/// The journal, `.wheelhouse-pending.json`: every file that may be ours while a run is under way.
#[derive(Serialize, Deserialize)]
struct Pending {
    schema: String,
    names: Owned,
}

/// What a directory was found to hold.
#[derive(Default)]
pub(super) struct Previous {
    pub(super) manifest: Option<Manifest>,
    /// The bytes of `wheelhouse.json`, if it is there.
    pub(super) manifest_bytes: Option<Vec<u8>>,
    /// Whether a run was stopped half-way.
    pub(super) interrupted: bool,
    /// Whether there is a manifest that cannot be read.
    pub(super) damaged: bool,
    pub(super) owned: Owned,
    pub(super) warnings: Vec<String>,
}

impl Previous {
    /// Reads what is in `root`.
    ///
    /// # Errors
    /// A manifest that a newer version or somebody else wrote: nothing may be lost then.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut previous = Self {
            manifest_bytes: read(&root.join(MANIFEST_NAME))?,
            ..Self::default()
        };
        previous.read_manifest(root)?;
        previous.read_pending(root)?;
        let (owned, unsafe_names): (Owned, Owned) = std::mem::take(&mut previous.owned)
            .into_iter()
            .partition(|(name, _)| is_safe(name));
        previous.owned = owned;
        for name in unsafe_names.keys() {
            let warning = format!(
                "{MANIFEST_NAME} lists `{}`, which no run put there",
                name.escape_debug()
            );
            previous.warnings.push(warning);
        }
        Ok(previous)
    }

    fn read_manifest(&mut self, root: &Path) -> Result<()> {
        let Some(bytes) = &self.manifest_bytes else {
            return Ok(());
        };
        let path = root.join(MANIFEST_NAME);
        match Manifest::parse(bytes) {
            Ok(manifest) => {
                own(&mut self.owned, &manifest);
                self.manifest = Some(manifest);
            }
            Err(Unusable::Damaged(_)) => {
                self.damaged = true;
                self.warnings.push(damaged(&path));
            }
            Err(unusable) => return Err(not_ours(&path, &unusable)),
        }
        Ok(())
    }

    fn read_pending(&mut self, root: &Path) -> Result<()> {
        let Some(bytes) = read(&root.join(PENDING_NAME))? else {
            return Ok(());
        };
        self.interrupted = true;
        match serde_json::from_slice::<Pending>(&bytes) {
            Ok(pending) => merge(&mut self.owned, pending.names),
            Err(_) => self.warnings.push(damaged(&root.join(PENDING_NAME))),
        }
        Ok(())
    }

    /// The digest that the manifest has for the wheel or sdist `filename`.
    pub(super) fn recorded(&self, filename: &str) -> Option<Sha256> {
        self.manifest
            .iter()
            .flat_map(Manifest::distributions)
            .find(|file| file.filename == filename)
            .map(|file| file.sha256)
    }
}

/// Makes the bytes of a journal.
pub(super) fn pending_bytes(names: Owned) -> Vec<u8> {
    let schema = PENDING_SCHEMA.to_owned();
    json(&Pending { schema, names })
}

/// Makes the bytes of a manifest.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a plain value has a JSON form");
    bytes.push(b'\n');
    bytes
}

/// Adds `more` to `owned`. Who owns a file whatever it holds goes on to do so.
pub(super) fn merge(owned: &mut Owned, more: Owned) {
    for (name, digests) in more {
        match owned.get_mut(&name) {
            None => {
                owned.insert(name, digests);
            }
            Some(known) if known.is_empty() || digests.is_empty() => known.clear(),
            Some(known) => {
                known.extend(digests);
                known.sort_unstable();
                known.dedup();
            }
        }
    }
}

fn own(owned: &mut Owned, manifest: &Manifest) {
    for file in manifest.distributions() {
        owned.insert(file.filename.to_owned(), vec![file.sha256]);
    }
    for file in &manifest.files {
        owned.insert(file.clone(), Vec::new());
    }
    for file in &manifest.found {
        owned.remove(file);
    }
}

/// Whether `name` is one that a run could have put into its directory.
pub(super) fn is_safe(name: &str) -> bool {
    let mut components = Path::new(name).components();
    !name.is_empty()
        && !name.ends_with('/')
        && !name.contains(['\\', '\0'])
        && name != MANIFEST_NAME
        && !name.starts_with(TEMPORARY_START)
        && components.all(|component| matches!(component, Component::Normal(_)))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match input::read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(path, error)),
    }
}

fn damaged(path: &Path) -> String {
    format!(
        "{} is damaged: files of earlier runs that no longer belong to the set stay",
        path.display()
    )
}

fn not_ours(path: &Path, unusable: &Unusable) -> Error {
    let hint = match unusable {
        Unusable::Unknown(_) => {
            "A newer wheelhouse wrote it: use that one, or another output directory."
        }
        _ => "Move the file away, or choose another output directory.",
    };
    Error::new(Kind::Publish, format!("{} {unusable}", path.display())).with_hint(hint)
}
