//! What of a wheelhouse goes into an image: exactly the files that its manifest lists.
//!
//! Never reads a wheel: that is done once, when its layer is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, Unusable};
use wheelhouse_types::{Error, Kind, Manifest, Result};

use crate::image::layer::{EntryContent, Layer, LayerEntry};
use crate::image::layer_plan::{self, PlannedFile};
use wheelhouse_archive::safe_path::{components, escape_for_display};

/// The most that a manifest may have, in bytes; some 60,000 wheels.
pub(crate) const LARGEST_MANIFEST: u64 = 32 << 20;

/// No file system has larger files, in bytes.
const LARGEST_FILE: u64 = 1 << 60;

/// A wheelhouse in a directory.
#[derive(Clone, Debug)]
pub struct ImageContents {
    pub directory: PathBuf,
    pub manifest: Manifest,
    /// The files beside wheels and sdists: their names in the wheelhouse and what they hold.
    pub others: Vec<(String, EntryContent)>,
}

/// A layer, and the packages it holds, for the history of the image.
#[derive(Clone, Debug)]
pub struct LayerDraft {
    pub layer: Layer,
    pub packages: Vec<String>,
}

impl ImageContents {
    /// Reads the manifest of the wheelhouse in `directory`.
    ///
    /// # Errors
    /// [`Kind::Input`] when there is none, or a file that it lists is missing.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST_NAME);
        let bytes = match fs::metadata(&path) {
            Ok(found) if found.len() <= LARGEST_MANIFEST => fs::read(&path)
                .context(Kind::Input, || format!("failed to read {}", path.display()))?,
            _ => return Err(no_wheelhouse(directory)),
        };
        let manifest = parse(&bytes, &path.display().to_string())?;
        let names = manifest.files.iter().cloned();
        let others = names
            .chain([MANIFEST_NAME.to_owned()])
            .map(|name| Ok((name.clone(), file(directory, &name)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest,
            others,
        })
    }

    /// The layers of an image that has the wheelhouse at `path`: wheels first, and last what
    /// changes with each of them.
    #[must_use]
    pub fn layers(&self, path: &str, single: bool) -> Vec<LayerDraft> {
        let distributions = self.distributions(path);
        let others = self.other_entries(path);
        if single {
            let (packages, entries): (Vec<_>, Vec<_>) = distributions.into_iter().unzip();
            let entries = entries.into_iter().chain(others);
            return vec![drafted(entries.collect(), packages, path)];
        }
        let mut layers: Vec<LayerDraft> = self
            .groups()
            .into_iter()
            .map(|group| {
                let members = group.iter().map(|index| distributions[*index].clone());
                let (packages, entries) = members.unzip();
                drafted(entries, packages, path)
            })
            .collect();
        layers.push(drafted(others, Vec::new(), path));
        layers
    }

    /// The text of a file beside the wheels, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        let found = self.others.iter().find(|(other, _)| other == name);
        let bytes = match found.map(|(_, content)| content) {
            None | Some(EntryContent::Directory) => return Ok(None),
            Some(EntryContent::Bytes(bytes)) => bytes.clone(),
            Some(EntryContent::File { path, .. }) => fs::read(path)
                .context(Kind::Input, || format!("failed to read {}", path.display()))?,
        };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
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
        layer_plan::group(&items)
    }

    /// Name and version of each distribution, in the order of [`Manifest::distributions`].
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

/// A layer of `entries` and the directory of the wheelhouse, which each layer may be first to make.
fn drafted(mut entries: Vec<LayerEntry>, packages: Vec<String>, path: &str) -> LayerDraft {
    entries.push(LayerEntry {
        name: path.to_owned(),
        content: EntryContent::Directory,
    });
    LayerDraft {
        layer: Layer::new(entries),
        packages,
    }
}

/// Reads a manifest that may come from anywhere: what it names lies in the wheelhouse.
pub(crate) fn parse(bytes: &[u8], place: &str) -> Result<Manifest> {
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
        .distributions()
        .find(|file| file.size > LARGEST_FILE)
    {
        let name = escape_for_display(file.filename);
        let message = format!("{place} lists `{name}` with a size that no file has");
        return Err(Error::new(Kind::Input, message));
    }
    let distributions = manifest.distributions().map(|file| (file.filename, false));
    let files = manifest.files.iter().map(|name| (name.as_str(), true));
    for (name, may_be_below) in distributions.chain(files) {
        let safe = components(name)?.join("/") == name && name != MANIFEST_NAME;
        if !safe || (name.contains('/') && !may_be_below) {
            let name = escape_for_display(name);
            let message = format!("{place} lists `{name}`, which is no name of such a file");
            return Err(Error::new(Kind::Input, message));
        }
    }
    Ok(manifest)
}

fn file(directory: &Path, name: &str) -> Result<EntryContent> {
    let path = directory.join(name);
    let unreadable = || format!("failed to read {}", path.display());
    let found = fs::symlink_metadata(&path).context(Kind::Input, unreadable)?;
    if !found.is_file() {
        return Err(Error::new(
            Kind::Input,
            format!("{} is no file", path.display()),
        ));
    }
    Ok(EntryContent::File {
        size: found.len(),
        path,
        sha256: None,
    })
}

fn no_wheelhouse(directory: &Path) -> Error {
    let message = format!("`{}` is no wheelhouse", directory.display());
    Error::new(Kind::Input, message).with_hint(
        "Name a directory that `wheelhouse build` or `wheelhouse download` has made; it has a wheelhouse.json.",
    )
}
