//! Writes a lock as `pylock.toml`, in the order of keys of the specification.
//!
//! Packages are tables and sorted, so that a changed pin is a small difference. Never writes
//! credentials: they are cut out of every URL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifiers};

use super::toml_writer::{TomlWriter, inline, quoted};
use super::{LOCK_VERSION, artifact, path, time};
use crate::lock::{Build, Lock, Package};
use crate::redact::without_credentials;
use crate::{Artifact, ArtifactLocation, Origin, Sha256, Source};

const TOOL_OF_PACKAGE: &str = "[packages.tool.wheelhouse]";
const TOOL: &str = "[tool.wheelhouse]";
/// The table that an entry's source stands in.
const PACKAGE: &str = "packages";
/// The same for what a file of the lock's directory came from.
const SOURCE_OF_PACKAGE: &str = "packages.tool.wheelhouse.source";

/// Writes `lock` as the text of a `pylock.toml` in the directory `base`, which is absolute.
///
/// The text is valid by the specification if every artifact has a hash; [`super::reader`] takes
/// anything back that this wrote. What TOML cannot say is left out: sizes beyond 63 bits and times
/// outside the years 1 to 9999. So is the fragment of a file's URL.
#[must_use]
pub fn write(lock: &Lock, base: &Path) -> String {
    write_with_files(lock, &BTreeMap::new(), base)
}

/// Writes `lock` as [`write()`] does, for the directory `base` that holds `files`: the distribution of
/// each package. Installers find these by their relative paths and need no index; [`super::reader`]
/// still returns where each package came from, which stands under `tool.wheelhouse.source`.
#[must_use]
pub fn write_with_files(
    lock: &Lock,
    files: &BTreeMap<PackageName, Artifact>,
    base: &Path,
) -> String {
    let mut packages: Vec<&Package> = lock.packages.iter().collect();
    packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    let environments = Some(&lock.environment).filter(|text| !text.is_empty());
    LockOutput {
        request: &lock.request,
        files: &lock.files,
        environments: environments.into_iter().map(String::as_str).collect(),
        requires_python: lock.requires_python.as_deref(),
        entries: packages
            .into_iter()
            .map(|package| EntryWriter::of_package(package, files.get(&package.name)))
            .collect(),
        builds: &lock.builds,
    }
    .write(base)
}

/// The contents of a lock file, for one target or several.
pub(super) struct LockOutput<'a> {
    pub(super) request: &'a str,
    pub(super) files: &'a BTreeMap<PathBuf, Sha256>,
    pub(super) environments: Vec<&'a str>,
    pub(super) requires_python: Option<&'a str>,
    pub(super) entries: Vec<EntryWriter<'a>>,
    pub(super) builds: &'a [Build],
}

/// One entry among the packages.
pub(super) struct EntryWriter<'a> {
    pub(super) package: &'a Package,
    /// The marker of the entry; empty if it always applies.
    pub(super) marker: String,
    /// The names that it depends on, with the version where a name has several.
    pub(super) dependencies: Vec<(&'a PackageName, Option<&'a Version>)>,
    /// Its files, of which a target takes the first that fits.
    pub(super) sources: Vec<&'a Source>,
    /// The file that the lock's directory holds of it.
    pub(super) file: Option<&'a Artifact>,
}

impl<'a> EntryWriter<'a> {
    fn of_package(package: &'a Package, file: Option<&'a Artifact>) -> Self {
        let mut dependencies: Vec<_> = package
            .dependencies
            .iter()
            .map(|name| (name, None))
            .collect();
        dependencies.sort_unstable();
        Self {
            package,
            marker: String::new(),
            dependencies,
            sources: vec![&package.source],
            file,
        }
    }
}

impl LockOutput<'_> {
    /// Formats the lock for the directory `base`.
    pub(super) fn write(&self, base: &Path) -> String {
        let mut text = TomlWriter::default();
        let mut tool = TomlWriter::default();
        text.string("lock-version", LOCK_VERSION);
        text.array("environments", &quoted_all(&self.environments));
        requires_python(self.requires_python, &mut text, &mut tool);
        text.string("created-by", "wheelhouse");
        if self.entries.is_empty() {
            text.plain("packages", "[]");
        }
        for entry in &self.entries {
            write_entry(&mut text, entry, base);
        }
        if !self.request.is_empty() {
            tool.string("request", self.request);
        }
        if !self.files.is_empty() {
            let files = self.files.iter();
            let files = files.map(|(file, digest)| (path::written(file, base), digest.to_string()));
            let files: Vec<_> = files.collect();
            let entries = files.iter().map(|(file, digest)| (&**file, &**digest));
            tool.plain("files", inline(entries));
        }
        text.table_of(TOOL, &tool);
        for build in self.builds {
            write_build(&mut text, build);
        }
        text.finish()
    }
}

fn quoted_all(values: &[impl AsRef<str>]) -> Vec<String> {
    values.iter().map(|value| quoted(value.as_ref())).collect()
}

fn write_build(text: &mut TomlWriter, build: &Build) {
    text.table("[[tool.wheelhouse.builds]]");
    text.string("name", build.name.as_ref());
    text.string("version", &build.version.to_string());
    text.array("requires", &quoted_all(&build.requires));
    for pin in &build.closure {
        text.table("[[tool.wheelhouse.builds.closure]]");
        text.string("requirement", &pin.requirement);
        text.array("hashes", &quoted_all(&pin.hashes));
    }
    for locked in &build.crates {
        text.table("[[tool.wheelhouse.builds.crates]]");
        text.string("name", &locked.name);
        text.string("version", &locked.version);
        text.string("source", &locked.source);
        if let Some(sha256) = locked.sha256 {
            text.string("sha256", &sha256.to_string());
        }
    }
}

/// Writes the key, unless it is not a version specifier, for which other tools reject the file.
fn requires_python(value: Option<&str>, text: &mut TomlWriter, tool: &mut TomlWriter) {
    if let Some(value) = value {
        let place = match VersionSpecifiers::from_str(value) {
            Ok(_) => text,
            Err(_) => tool,
        };
        place.string("requires-python", value);
    }
}

fn write_entry(text: &mut TomlWriter, entry: &EntryWriter<'_>, base: &Path) {
    let package = entry.package;
    let mut tool = TomlWriter::default();
    text.table("[[packages]]");
    text.string("name", package.name.as_ref());
    // The version of a tree can change without the lock, so the specification forbids it there.
    let place = match package.source {
        Source::Tree { .. } | Source::Git { .. } if entry.file.is_none() => &mut tool,
        _ => &mut *text,
    };
    place.string("version", &package.version.to_string());
    if !entry.marker.is_empty() {
        text.string("marker", &entry.marker);
    }
    requires_python(package.requires_python.as_deref(), text, &mut tool);
    write_dependencies(text, &entry.dependencies);
    let mut came_from = TomlWriter::default();
    if let Some(file) = entry.file {
        write_file(text, &mut tool, package, file, base);
        write_origin(&mut came_from, &mut tool, &package.origin, base);
    } else {
        write_origin(text, &mut tool, &package.origin, base);
        for source in &entry.sources {
            write_source(text, &mut tool, package, source, PACKAGE, base);
        }
    }
    let mut artifacts = entry.sources.iter().filter_map(|source| source.artifact());
    if let Some(reason) = artifacts.find_map(|artifact| artifact.listing.yanked.as_deref()) {
        tool.string("yanked", reason);
    }
    // The table is that of the package, so that it can only describe one file.
    if let [source] = &entry.sources[..]
        && let Some(artifact) = source.artifact()
    {
        if let Some(url) = &artifact.listing.provenance {
            tool.string("provenance", url);
        }
        if let Some(status) = &artifact.project_status {
            tool.string("project-status", status.status.as_str());
            if let Some(reason) = &status.reason {
                tool.string("project-status-reason", reason);
            }
        }
    }
    tool.array("required-hashes", &quoted_all(&package.required_hashes));
    let mut places = TomlWriter::default();
    if entry.file.is_some() {
        write_source(
            &mut places,
            &mut tool,
            package,
            &package.source,
            SOURCE_OF_PACKAGE,
            base,
        );
    }
    text.table_of(TOOL_OF_PACKAGE, &tool);
    text.table_of(&format!("[{SOURCE_OF_PACKAGE}]"), &came_from);
    text.append(&places);
}

/// Writes the file of the lock's directory, as a wheel or an sdist where its name allows that.
fn write_file(
    text: &mut TomlWriter,
    tool: &mut TomlWriter,
    package: &Package,
    file: &Artifact,
    base: &Path,
) {
    let listed = Package {
        origin: Origin::FindLinks {
            location: String::new(),
        },
        ..package.clone()
    };
    let source = if artifact::is_wheel(&file.filename) {
        Source::Wheel(file.clone())
    } else {
        Source::Sdist(file.clone())
    };
    write_source(text, tool, &listed, &source, PACKAGE, base);
}

fn write_dependencies(text: &mut TomlWriter, dependencies: &[(&PackageName, Option<&Version>)]) {
    let tables = dependencies.iter().map(|(name, version)| {
        let version = version.map(ToString::to_string);
        let version = version.as_deref().map(|version| ("version", version));
        inline([("name", name.as_ref())].into_iter().chain(version))
    });
    text.array("dependencies", &tables.collect::<Vec<_>>());
}

fn write_origin(text: &mut TomlWriter, tool: &mut TomlWriter, origin: &Origin, base: &Path) {
    match origin {
        Origin::Index { url } => text.string("index", &clean(url)),
        Origin::FindLinks { location } if Path::new(location).is_absolute() => {
            tool.string("find-links", &path::written(Path::new(location), base));
        }
        Origin::FindLinks { location } => tool.string("find-links", &clean(location)),
        Origin::Direct | Origin::Upload => {}
    }
}

fn write_source(
    text: &mut TomlWriter,
    tool: &mut TomlWriter,
    package: &Package,
    source: &Source,
    table: &str,
    base: &Path,
) {
    match source {
        Source::Wheel(artifact) if artifact::is_listed_wheel(package, artifact) => {
            text.table(&format!("[[{table}.wheels]]"));
            text.string("name", &artifact.filename);
            write_artifact(text, artifact, base);
        }
        Source::Sdist(artifact) if artifact::is_listed_sdist(package, artifact) => {
            text.table(&format!("[{table}.sdist]"));
            text.string("name", &artifact.filename);
            write_artifact(text, artifact, base);
        }
        Source::Wheel(artifact) | Source::Sdist(artifact) => {
            write_archive(text, tool, artifact, table, base);
        }
        Source::Tree { path } => {
            text.table(&format!("[{table}.directory]"));
            text.string("path", &path::written(path, base));
            text.plain("editable", false);
        }
        Source::Git { .. } => write_git(text, source, table),
    }
}

fn write_archive(
    text: &mut TomlWriter,
    tool: &mut TomlWriter,
    artifact: &Artifact,
    table: &str,
    base: &Path,
) {
    text.table(&format!("[{table}.archive]"));
    write_artifact(text, artifact, base);
    // An archive has no key for its name.
    if artifact::filename(&artifact.location).as_ref() != Some(&artifact.filename) {
        tool.string("filename", &artifact.filename);
    }
}

fn write_git(text: &mut TomlWriter, source: &Source, table: &str) {
    let Source::Git {
        repository,
        requested,
        commit,
        subdirectory,
    } = source
    else {
        return;
    };
    text.table(&format!("[{table}.vcs]"));
    text.string("type", "git");
    text.string("url", without_credentials(repository).as_str());
    if let Some(requested) = requested {
        text.string("requested-revision", requested);
    }
    text.string("commit-id", commit);
    write_subdirectory(text, subdirectory.as_deref());
}

fn write_artifact(text: &mut TomlWriter, artifact: &Artifact, base: &Path) {
    if let Some(time) = artifact.listing.uploaded.and_then(time::to_datetime) {
        text.plain("upload-time", time);
    }
    match &artifact.location {
        ArtifactLocation::Url(url) => {
            let mut url = without_credentials(url);
            url.set_fragment(None);
            text.string("url", url.as_str());
        }
        ArtifactLocation::Path(path) => text.string("path", &path::written(path, base)),
        image @ ArtifactLocation::Image { .. } => text.string("url", &image.to_string()),
    }
    if let Some(size) = artifact.size.and_then(|size| i64::try_from(size).ok()) {
        text.plain("size", size);
    }
    let hashes = artifact.hashes.0.iter();
    text.plain(
        "hashes",
        inline(hashes.map(|(name, value)| (name.as_str(), value.as_str()))),
    );
    write_subdirectory(text, artifact.subdirectory.as_deref());
}

fn write_subdirectory(text: &mut TomlWriter, subdirectory: Option<&Path>) {
    if let Some(subdirectory) = subdirectory {
        text.string("subdirectory", &path::portable(subdirectory));
    }
}

/// Removes credentials from `location`, and changes nothing else.
pub(super) fn clean(location: &str) -> String {
    match Url::parse(location) {
        Ok(url) if without_credentials(&url) != url => without_credentials(&url).into(),
        _ => location.to_owned(),
    }
}
