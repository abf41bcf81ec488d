//! The state that earlier runs left in a directory: the manifest, and the journal of an interrupted run.
//!
//! If a digest was recorded for a file, its name alone does not make the file one of ours.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use wheelhouse_fs::input;
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::fs_ops::write_error;

/// The prefix of all temporary files of this program, including those of the store.
pub(crate) const TEMPORARY_PREFIX: &str = ".wheelhouse-";

const JOURNAL_SCHEMA: &str = "wheelhouse-pending/1";

/// The files that a run may have written, with the digests that identify each. A file without a digest is ours whatever
/// its content.
pub(crate) type OwnedFiles = BTreeMap<String, Vec<Sha256>>;

/// The content of `.wheelhouse-pending.json`: every file that may be ours while a run modifies the directory.
#[derive(Serialize, Deserialize)]
struct Journal {
    schema: String,
    names: OwnedFiles,
    /// Set while a single file is added: the manifest beside the journal is complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adding: bool,
}

/// The state of a directory before a run.
#[derive(Default)]
pub(crate) struct DirectoryState {
    pub(crate) manifest: Option<Manifest>,
    /// The bytes of `wheelhouse.json`, if the file exists.
    pub(crate) manifest_bytes: Option<Vec<u8>>,
    /// Set if an earlier run was interrupted.
    pub(crate) interrupted: bool,
    /// Set if an interrupted run was only [adding a file](crate::addition).
    pub(crate) adding: bool,
    /// Set if the manifest exists, but cannot be parsed.
    pub(crate) damaged: bool,
    pub(crate) owned: OwnedFiles,
    pub(crate) warnings: Vec<String>,
}

impl DirectoryState {
    /// Reads the manifest and the journal in `root`.
    ///
    /// # Errors
    /// Fails if a newer version or another program wrote the manifest: overwriting it could lose data.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut state = Self {
            manifest_bytes: read_optional(&root.join(MANIFEST_NAME))?,
            ..Self::default()
        };
        if let Some(bytes) = &state.manifest_bytes {
            let path = root.join(MANIFEST_NAME);
            match Manifest::parse(bytes) {
                Ok(manifest) => {
                    for file in manifest.stored_files() {
                        state
                            .owned
                            .insert(file.filename.to_owned(), vec![file.sha256]);
                    }
                    for file in &manifest.files {
                        state.owned.insert(file.clone(), Vec::new());
                    }
                    for file in &manifest.found {
                        state.owned.remove(file);
                    }
                    state.manifest = Some(manifest);
                }
                Err(Unusable::Damaged(_)) => {
                    state.damaged = true;
                    state.warnings.push(damage_warning(&path));
                }
                Err(unusable) => return Err(unusable_manifest(&path, &unusable)),
            }
        }
        if let Some(bytes) = read_optional(&root.join(PENDING_NAME))? {
            state.interrupted = true;
            match serde_json::from_slice::<Journal>(&bytes) {
                Ok(journal) => {
                    state.adding = journal.adding;
                    merge(&mut state.owned, journal.names);
                }
                Err(_) => state
                    .warnings
                    .push(damage_warning(&root.join(PENDING_NAME))),
            }
        }
        let (owned, unsafe_names): (OwnedFiles, OwnedFiles) = std::mem::take(&mut state.owned)
            .into_iter()
            .partition(|(name, _)| is_safe_name(name));
        state.owned = owned;
        state.warnings.extend(unsafe_names.keys().map(|name| {
            format!(
                "{MANIFEST_NAME} lists `{}`, which wheelhouse did not write",
                name.escape_debug()
            )
        }));
        Ok(state)
    }

    /// Returns the digest that the manifest records for the wheel, sdist or crate `filename`.
    pub(crate) fn recorded_digest(&self, filename: &str) -> Option<Sha256> {
        self.manifest
            .iter()
            .flat_map(Manifest::stored_files)
            .find(|file| file.filename == filename)
            .map(|file| file.sha256)
    }
}

/// Serializes a journal; `adding` is set for that of a single added file.
pub(crate) fn journal_bytes(names: OwnedFiles, adding: bool) -> Vec<u8> {
    to_json(&Journal {
        schema: JOURNAL_SCHEMA.to_owned(),
        names,
        adding,
    })
}

/// Serializes `manifest` as the content of `wheelhouse.json`.
#[must_use]
pub fn manifest_bytes(manifest: &Manifest) -> Vec<u8> {
    to_json(manifest)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("the value has only string keys");
    bytes.push(b'\n');
    bytes
}

/// Adds `more` to `owned`. A file that either of them owns whatever its content stays so.
pub(crate) fn merge(owned: &mut OwnedFiles, more: OwnedFiles) {
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

/// Returns whether a run could have written a file called `name` into its directory.
pub(crate) fn is_safe_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    !name.is_empty()
        && !name.ends_with('/')
        && !name.contains(['\\', '\0'])
        && name != MANIFEST_NAME
        && !name.starts_with(TEMPORARY_PREFIX)
        && components.all(|component| matches!(component, Component::Normal(_)))
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match input::read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(write_error(path, error)),
    }
}

fn damage_warning(path: &Path) -> String {
    format!(
        "{} is damaged: files of earlier runs that are no longer part of the set are kept",
        path.display()
    )
}

fn unusable_manifest(path: &Path, unusable: &Unusable) -> Error {
    let hint = match unusable {
        Unusable::Unknown(_) => {
            "Use the newer wheelhouse that wrote it, or another output directory."
        }
        _ => "Move the file away, or choose another output directory.",
    };
    Error::new(Kind::Publish, format!("{} {unusable}", path.display())).with_hint(hint)
}
