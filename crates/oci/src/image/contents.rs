//! The files of a wheelhouse that belong into an image: those that its manifest lists, and its signatures. Wheels are not read here, but
//! once, when their layer is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, SIGNATURES_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result};

use crate::image::layer::{EntryContent, Layer, LayerEntry};
use crate::image::layer_plan::{self, PlannedFile};
use wheelhouse_archive::safe_path::{components, escape_for_display};

/// The maximum size of a manifest, in bytes; enough for about 60,000 wheels.
pub(crate) const MAX_MANIFEST_SIZE: u64 = 32 << 20;

/// The maximum size of a file, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 60;

/// The wheelhouse of an image.
#[derive(Clone, Debug)]
pub struct ImageContents {
    /// The directory of the wheels and sdists.
    pub directory: PathBuf,
    /// The manifest of the wheelhouse.
    pub manifest: Manifest,
    /// The other files: their names in the wheelhouse and their contents.
    pub others: Vec<(String, EntryContent)>,
}

/// A layer to write, and its packages for the history of the image.
#[derive(Clone, Debug)]
pub struct LayerDraft {
    /// The entries of the layer.
    pub layer: Layer,
    /// The names and versions of the packages in the layer.
    pub packages: Vec<String>,
}

impl ImageContents {
    /// Reads the manifest of the wheelhouse in `directory`.
    ///
    /// # Errors
    /// [`Kind::Input`] if there is no manifest or a listed file is missing.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST_NAME);
        let bytes = match fs::metadata(&path) {
            Ok(found) if found.len() <= MAX_MANIFEST_SIZE => fs::read(&path)
                .context(Kind::Input, || format!("failed to read {}", path.display()))?,
            _ => return Err(not_a_wheelhouse(directory)),
        };
        let manifest = parse_manifest(&bytes, &path.display().to_string())?;
        let names = manifest.files.iter().cloned();
        let crates = manifest.crates.iter().map(|entry| entry.path.clone());
        let has_signatures = directory.join(SIGNATURES_NAME).is_file();
        let others = names
            .chain(crates)
            .chain([MANIFEST_NAME.to_owned()])
            .chain(has_signatures.then(|| SIGNATURES_NAME.to_owned()))
            .map(|name| Ok((name.clone(), file_content(directory, &name)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest,
            others,
        })
    }

    /// Plans the layers of an image with the wheelhouse at `path`: wheels first, and last the files that change with any
    /// wheel.
    #[must_use]
    pub fn layers(&self, path: &str, single: bool) -> Vec<LayerDraft> {
        let distributions = self.distributions(path);
        let others = self.other_entries(path);
        if single {
            let (packages, entries): (Vec<_>, Vec<_>) = distributions.into_iter().unzip();
            let entries = entries.into_iter().chain(others);
            return vec![layer_draft(entries.collect(), packages, path)];
        }
        let mut layers: Vec<LayerDraft> = self
            .groups()
            .into_iter()
            .map(|group| {
                let members = group.iter().map(|index| distributions[*index].clone());
                let (packages, entries) = members.unzip();
                layer_draft(entries, packages, path)
            })
            .collect();
        layers.push(layer_draft(others, Vec::new(), path));
        layers
    }

    fn groups(&self) -> Vec<Vec<usize>> {
        let items: Vec<PlannedFile<'_>> = self
            .manifest
            .distributions()
            .zip(self.packages())
            .map(|(file, (package, _))| PlannedFile {
                package,
                filename: file.filename,
                size: file.size,
            })
            .collect();
        layer_plan::assign_layers(&items)
    }

    /// Returns name and version of each distribution, in the order of [`Manifest::distributions`].
    fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        let wheels = self.manifest.wheels.iter();
        let sdists = self.manifest.sdists.iter();
        wheels
            .map(|wheel| (wheel.name.as_str(), wheel.version.as_str()))
            .chain(sdists.map(|sdist| (sdist.name.as_str(), sdist.version.as_str())))
    }

    fn distributions(&self, path: &str) -> Vec<(String, LayerEntry)> {
        self.manifest
            .distributions()
            .zip(self.packages())
            .map(|(file, (name, version))| {
                let content = EntryContent::File {
                    path: self.directory.join(file.filename),
                    size: file.size,
                    sha256: Some(file.sha256),
                };
                let name_in_image = format!("{path}/{}", file.filename);
                (
                    format!("{name} {version}"),
                    LayerEntry {
                        name: name_in_image,
                        content,
                    },
                )
            })
            .collect()
    }

    fn other_entries(&self, path: &str) -> Vec<LayerEntry> {
        let mut directories = BTreeSet::new();
        for (name, _) in &self.others {
            let ancestors = Path::new(name).ancestors().skip(1);
            directories.extend(
                ancestors
                    .filter_map(Path::to_str)
                    .filter(|name| !name.is_empty()),
            );
        }
        let directories = directories.into_iter().map(|name| LayerEntry {
            name: format!("{path}/{name}"),
            content: EntryContent::Directory,
        });
        let files = self.others.iter().map(|(name, content)| LayerEntry {
            name: format!("{path}/{name}"),
            content: content.clone(),
        });
        directories.chain(files).collect()
    }
}

/// Drafts a layer of `entries` and the directory of the wheelhouse, which any layer may be the first to create.
fn layer_draft(mut entries: Vec<LayerEntry>, packages: Vec<String>, path: &str) -> LayerDraft {
    entries.push(LayerEntry {
        name: path.to_owned(),
        content: EntryContent::Directory,
    });
    LayerDraft {
        layer: Layer::new(entries),
        packages,
    }
}

/// Parses an untrusted manifest, and fails if a listed file is outside of the wheelhouse. `place` names the manifest in
/// errors.
pub(crate) fn parse_manifest(bytes: &[u8], place: &str) -> Result<Manifest> {
    let manifest = Manifest::parse(bytes).map_err(|unusable| {
        let error = Error::new(Kind::Input, format!("{place} {unusable}"));
        match unusable {
            Unusable::Unknown(_) => {
                error.with_hint("Use the version of wheelhouse that wrote it, or a newer one.")
            }
            Unusable::Foreign | Unusable::Damaged(_) => error,
        }
    })?;
    if let Some(file) = manifest
        .stored_files()
        .find(|file| file.size > MAX_FILE_SIZE)
    {
        let name = escape_for_display(file.filename);
        let message = format!("{place} lists `{name}` with an impossible size");
        return Err(Error::new(Kind::Input, message));
    }
    let distributions = manifest.distributions().map(|file| (file.filename, false));
    let files = manifest.files.iter().map(|name| (name.as_str(), true));
    let crates = manifest.crates.iter();
    let crates = crates.map(|entry| (entry.path.as_str(), true));
    for (name, may_be_nested) in distributions.chain(files).chain(crates) {
        let is_own = [MANIFEST_NAME, SIGNATURES_NAME].contains(&name);
        let safe = components(name)?.join("/") == name && !is_own;
        if !safe || (name.contains('/') && !may_be_nested) {
            let name = escape_for_display(name);
            let message = format!(
                "{place} lists `{name}`, which is not a valid name of a file in a wheelhouse"
            );
            return Err(Error::new(Kind::Input, message));
        }
    }
    Ok(manifest)
}

fn file_content(directory: &Path, name: &str) -> Result<EntryContent> {
    let path = directory.join(name);
    let unreadable = || format!("failed to read {}", path.display());
    let found = fs::symlink_metadata(&path).context(Kind::Input, unreadable)?;
    if !found.is_file() {
        return Err(Error::new(
            Kind::Input,
            format!("{} is not a regular file", path.display()),
        ));
    }
    Ok(EntryContent::File {
        size: found.len(),
        path,
        sha256: None,
    })
}

fn not_a_wheelhouse(directory: &Path) -> Error {
    let message = format!("`{}` is not a wheelhouse", directory.display());
    Error::new(Kind::Input, message).with_hint(
        "Pass a directory that `wheelhouse build` or `wheelhouse download` created; it contains wheelhouse.json.",
    )
}
