//! The packages of a `uv.lock`: names, versions, sources and files.

use std::path::Path;

use toml::Value;
use url::Url;
use wheelhouse_types::request::LockedFile;
use wheelhouse_types::toml_reader::TomlReader;
use wheelhouse_types::{ExtraName, GroupName, PackageName, Result, Version};

use super::super::filename_of;
use super::super::pin::PinKind;

/// An entry of `package`.
pub(super) struct UvPackage<'a> {
    pub(super) entry: TomlReader<'a>,
    pub(super) name: PackageName,
    /// The version; `None` for a source tree with a dynamic version.
    pub(super) version: Option<Version>,
    pub(super) source: UvSource<'a>,
}

/// The source of a package. Paths are relative to the lock.
pub(super) enum UvSource<'a> {
    /// The URL or path of an index, or of a `--find-links` location.
    Registry(&'a str),
    /// A repository: `URL?rev=REQUESTED&subdirectory=PATH#COMMIT`.
    Git(&'a str),
    Archive {
        url: &'a str,
        subdirectory: Option<&'a str>,
    },
    /// An archive.
    Path {
        path: &'a str,
        subdirectory: Option<&'a str>,
    },
    /// A source tree that is built.
    Tree(&'a str),
    /// A source tree that is not installed, only its dependencies are.
    Virtual,
}

pub(super) fn read_all<'a>(root: &TomlReader<'a>) -> Result<Vec<UvPackage<'a>>> {
    let entries = root.entries("package")?.into_iter().enumerate();
    entries
        .map(|(index, entry)| read(entry.of_package("package", index)))
        .collect()
}

fn read(entry: TomlReader<'_>) -> Result<UvPackage<'_>> {
    let name = entry.required("name", entry.parsed("name")?)?;
    let version = entry.parsed("version")?;
    let source = read_source(&entry)?;
    if matches!(source, UvSource::Registry(_)) {
        entry.required("version", version.as_ref())?;
    }
    Ok(UvPackage {
        entry,
        name,
        version,
        source,
    })
}

fn read_source<'a>(package: &TomlReader<'a>) -> Result<UvSource<'a>> {
    let source = package.required("source", package.entry("source")?)?;
    let subdirectory = source.string("subdirectory")?;
    for key in source.keys() {
        let text = source.string(key)?.unwrap_or_default();
        return Ok(match key {
            "registry" => UvSource::Registry(text),
            "git" => UvSource::Git(text),
            "url" => UvSource::Archive {
                url: text,
                subdirectory,
            },
            "path" => UvSource::Path {
                path: text,
                subdirectory,
            },
            "directory" | "editable" => UvSource::Tree(text),
            "virtual" => UvSource::Virtual,
            _ => continue,
        });
    }
    let keys = source.keys().join(", ");
    Err(package.error("source", &format!("is of an unknown kind: {keys}")))
}

impl<'a> UvPackage<'a> {
    /// Returns whether the package is the source tree at `path`.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let source = self.entry.value("source").and_then(Value::as_table);
        ["virtual", "editable", "directory"]
            .iter()
            .filter_map(|key| source?.get(*key)?.as_str())
            .any(|it| it == path)
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self.source, UvSource::Tree(_) | UvSource::Virtual)
    }

    pub(super) fn extras(&self) -> Result<Vec<ExtraName>> {
        let tables = self.entry.entry("optional-dependencies")?;
        let mut names: Vec<&str> = tables.map(|table| table.keys()).unwrap_or_default();
        if let Some(metadata) = self.entry.entry("metadata")? {
            names.extend(metadata.strings("provides-extras")?);
        }
        self.parse_names("optional-dependencies", names)
    }

    pub(super) fn groups(&self) -> Result<Vec<GroupName>> {
        let mut names = Vec::new();
        let metadata = self.entry.entry("metadata")?;
        let declared = match &metadata {
            Some(metadata) => metadata.entry("requires-dev")?,
            None => None,
        };
        for table in [self.entry.entry("dev-dependencies")?, declared]
            .into_iter()
            .flatten()
        {
            names.extend(table.keys());
        }
        self.parse_names("dev-dependencies", names)
    }

    fn parse_names<Name>(&self, key: &str, names: Vec<&str>) -> Result<Vec<Name>>
    where
        Name: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let parsed = names.into_iter().map(str::parse);
        let parsed = parsed.collect::<Result<_, _>>();
        parsed.map_err(|error| {
            self.entry
                .error(key, "has an invalid name")
                .caused_by(error)
        })
    }

    /// Returns the files of the package.
    fn files(&self) -> Result<Vec<TomlReader<'a>>> {
        let mut files = self.entry.entries("wheels")?;
        files.extend(self.entry.entry("sdist")?);
        Ok(files)
    }

    /// Returns the files of the package as values. A package at a URL has none in its entries.
    pub(super) fn locked_files(&self) -> Result<Vec<LockedFile>> {
        let source = match self.source {
            UvSource::Archive { url, .. } => Some(url),
            UvSource::Path { path, .. } => Some(path),
            _ => None,
        };
        let index = match self.source {
            UvSource::Registry(index) => Url::parse(index).ok(),
            _ => None,
        };
        let read = |file: &TomlReader<'_>| {
            let url = file.string("url")?;
            let place = file.string("filename")?.or(url).or(file.string("path")?);
            let url = url.or(source).and_then(|url| Url::parse(url).ok());
            let size = file.integer("size")?.map(u64::try_from).transpose();
            Ok(LockedFile {
                package: self.name.clone(),
                filename: filename_of(place.or(source).unwrap_or_default()),
                url,
                index: index.clone(),
                hashes: file
                    .string("hash")?
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
                size: size.map_err(|_| file.error("size", "is negative"))?,
            })
        };
        self.files()?.iter().map(read).collect()
    }

    pub(super) fn file_paths(&self) -> Result<Vec<&'a str>> {
        let mut paths = Vec::new();
        for file in self.files()? {
            paths.extend(file.string("path")?);
        }
        Ok(paths)
    }

    /// Returns the pinned version or source; paths are relative to `base`.
    pub(super) fn what(&self, base: &Path) -> Result<PinKind> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(match &self.source {
            UvSource::Registry(_) if self.files()?.is_empty() => {
                return Err(self.entry.error("wheels", "is missing, and so is an sdist"));
            }
            UvSource::Registry(_) => {
                PinKind::Version(self.entry.required("version", self.version.clone())?)
            }
            UvSource::Git(text) => self.commit(text)?,
            UvSource::Archive { url, subdirectory } => PinKind::Archive {
                url: (*url).to_owned(),
                subdirectory: owned(*subdirectory),
            },
            UvSource::Path { path, subdirectory } => PinKind::Path {
                path: base.join(path),
                subdirectory: owned(*subdirectory),
            },
            UvSource::Tree(path) => PinKind::Path {
                path: base.join(path),
                subdirectory: None,
            },
            UvSource::Virtual => return Err(self.entry.wrong("it is virtual and cannot be built")),
        })
    }

    fn commit(&self, text: &str) -> Result<PinKind> {
        let wrong = |said: &str| self.entry.error("source.git", said);
        let mut url = Url::parse(text).map_err(|error| wrong("is not a URL").caused_by(error))?;
        let commit = url.fragment().map(str::to_owned);
        let commit = commit.ok_or_else(|| wrong("has no commit"))?;
        let subdirectory = url
            .query_pairs()
            .find(|(key, _)| key == "subdirectory")
            .map(|(_, value)| value.into_owned());
        url.set_fragment(None);
        url.set_query(None);
        Ok(PinKind::commit(
            url.as_str(),
            &commit,
            subdirectory.as_deref(),
        ))
    }
}
