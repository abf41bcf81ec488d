//! The packages of a `poetry.lock`: versions, sources and files.
//!
//! Depending on the version of the lock, files are in the package, in `metadata.files`, or only as hashes in
//! `metadata.hashes`.

use std::path::Path;

use wheelhouse_types::request::LockedFile;
use wheelhouse_types::toml_reader::TomlReader;
use wheelhouse_types::{GroupName, MarkerTree, PackageName, Result, Version, marker};

use super::super::pin::PinKind;
use crate::pypi::PYPI;

/// An entry of `package`.
pub(super) struct PoetryPackage<'a> {
    pub(super) entry: TomlReader<'a>,
    pub(super) name: PackageName,
    pub(super) version: Version,
}

pub(super) fn read_all<'a>(root: &TomlReader<'a>) -> Result<Vec<PoetryPackage<'a>>> {
    let mut packages = Vec::new();
    for (index, entry) in root.entries("package")?.into_iter().enumerate() {
        let entry = entry.of_package("package", index);
        packages.push(PoetryPackage {
            name: entry.required("name", entry.parsed("name")?)?,
            version: entry.required("version", entry.parsed("version")?)?,
            entry,
        });
    }
    Ok(packages)
}

impl PoetryPackage<'_> {
    pub(super) fn groups(&self) -> Result<Vec<GroupName>> {
        let groups = self.entry.strings("groups")?.into_iter().map(str::parse);
        let groups = groups.collect::<Result<_, _>>();
        groups.map_err(|error| {
            self.entry
                .error("groups", "has an invalid name")
                .caused_by(error)
        })
    }

    /// Returns the marker of the package in `group`: one for all groups, or a table by group.
    pub(super) fn marker(&self, group: &GroupName) -> Result<MarkerTree> {
        let wrong = |error| self.entry.error("markers", "is invalid").caused_by(error);
        let text = match self.entry.value("markers") {
            Some(toml::Value::Table(_)) => {
                let markers = self
                    .entry
                    .required("markers", self.entry.entry("markers")?)?;
                let written = markers
                    .keys()
                    .into_iter()
                    .find(|name| name.parse().as_ref() == Ok(group));
                written
                    .map(|name| markers.required_string(name))
                    .transpose()?
            }
            _ => self.entry.string("markers")?,
        };
        match text {
            None | Some("*" | "") => Ok(MarkerTree::TRUE),
            Some(text) => marker::parse(text).map_err(wrong),
        }
    }

    fn source_type(&self) -> Result<Option<&str>> {
        match self.entry.entry("source")? {
            Some(source) => source.string("type"),
            None => Ok(None),
        }
    }

    /// Returns the URL of the index of the package, if it is from one.
    pub(super) fn index(&self) -> Result<Option<&str>> {
        let Some(source) = self.entry.entry("source")? else {
            return Ok(Some(PYPI));
        };
        match source.string("type")? {
            None => Ok(Some(source.string("url")?.unwrap_or(PYPI))),
            Some("legacy") => Ok(Some(source.required_string("url")?)),
            Some(_) => Ok(None),
        }
    }

    /// Returns the pinned version or source; paths are relative to `base`.
    pub(super) fn what(&self, base: &Path) -> Result<PinKind> {
        let Some(source) = self.entry.entry("source")? else {
            return Ok(PinKind::Version(self.version.clone()));
        };
        let subdirectory = source.string("subdirectory")?.map(str::to_owned);
        let url = || source.required_string("url").map(str::to_owned);
        Ok(match source.string("type")? {
            None | Some("legacy") => PinKind::Version(self.version.clone()),
            Some("git") => PinKind::commit(
                &url()?,
                match source.string("resolved_reference")? {
                    Some(commit) => commit,
                    // Poetry 1.0 only wrote the commit.
                    None => source.required_string("reference")?,
                },
                subdirectory.as_deref(),
            ),
            Some("url") => PinKind::Archive {
                url: url()?,
                subdirectory,
            },
            Some("file" | "directory") => PinKind::Path {
                path: base.join(url()?),
                subdirectory,
            },
            Some(other) => {
                let said = format!("\"{other}\" is not supported");
                return Err(source.error("type", &said));
            }
        })
    }

    /// Returns the files of the package; those of old locks have no names.
    pub(super) fn files(&self, root: &TomlReader<'_>) -> Result<Vec<LockedFile>> {
        if matches!(self.source_type()?, Some("git" | "directory")) {
            return Ok(Vec::new());
        }
        if self.entry.has("files") {
            return self.files_of(&self.entry, "files");
        }
        let metadata = root.required("metadata", root.entry("metadata")?)?;
        let name = self.entry.required_string("name")?;
        if let Some(files) = metadata.entry("files")? {
            // These are the files of all versions, so they may be too many.
            return self.files_of(&files, name);
        }
        match metadata.entry("hashes")? {
            Some(hashes) => {
                let digests = hashes.strings(name)?;
                let files = digests.iter();
                Ok(files
                    .map(|digest| self.file(String::new(), format!("sha256:{digest}")))
                    .collect())
            }
            None => Err(self.entry.error("files", "is missing")),
        }
    }

    fn files_of(&self, table: &TomlReader<'_>, key: &str) -> Result<Vec<LockedFile>> {
        let files = table.entries(key)?;
        let files = files.iter().map(|file| {
            let filename = file.string("file")?.unwrap_or_default();
            let hash = file.required_string("hash")?;
            Ok(self.file(filename.to_owned(), hash.to_owned()))
        });
        files.collect()
    }

    fn file(&self, filename: String, hash: String) -> LockedFile {
        LockedFile {
            package: self.name.clone(),
            filename,
            url: None,
            index: None,
            hashes: vec![hash],
            size: None,
        }
    }
}
