//! Writes a lock as `pylock.toml`, in the order of keys of the specification.
//!
//! Packages are tables and sorted, so that a changed pin is a small difference. Never writes
//! credentials: they are cut out of every URL.

use std::path::Path;
use std::str::FromStr as _;

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;

use super::toml_text::{Text, inline, quoted};
use super::{LOCK_VERSION, path, source, time};
use crate::lock::{Lock, Package};
use crate::redact::without_credentials;
use crate::{Artifact, Location, Origin, Source};

const TOOL_OF_PACKAGE: &str = "[packages.tool.wheelhouse]";
const TOOL: &str = "[tool.wheelhouse]";

/// Writes `lock` as the text of a `pylock.toml` in the directory `base`, which is absolute.
///
/// The text is valid by the specification if every artifact has a hash; [`super::read`] takes
/// anything back that this wrote. What TOML cannot say is left out: sizes beyond 63 bits and times
/// outside the years 1 to 9999. So is the fragment of a file's URL.
#[must_use]
pub fn write(lock: &Lock, base: &Path) -> String {
    let mut text = Text::default();
    let mut tool = Text::default();
    text.string("lock-version", LOCK_VERSION);
    if !lock.environment.is_empty() {
        text.array("environments", &[quoted(&lock.environment)]);
    }
    requires_python(lock.requires_python.as_deref(), &mut text, &mut tool);
    text.string("created-by", "wheelhouse");
    if lock.packages.is_empty() {
        text.plain("packages", "[]");
    }
    let mut packages: Vec<&Package> = lock.packages.iter().collect();
    packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    for package in packages {
        write_package(&mut text, package, base);
    }
    if !lock.request.is_empty() {
        tool.string("request", &lock.request);
    }
    text.table_of(TOOL, &tool);
    text.finish()
}

/// Writes the key, unless it is no version specifier: that would make other tools refuse the file.
fn requires_python(value: Option<&str>, text: &mut Text, tool: &mut Text) {
    if let Some(value) = value {
        let place = match VersionSpecifiers::from_str(value) {
            Ok(_) => text,
            Err(_) => tool,
        };
        place.string("requires-python", value);
    }
}

fn write_package(text: &mut Text, package: &Package, base: &Path) {
    let mut tool = Text::default();
    text.table("[[packages]]");
    text.string("name", package.name.as_ref());
    // The version of a tree can change without the lock, so the specification forbids it there.
    let place = match package.source {
        Source::Tree { .. } | Source::Git { .. } => &mut tool,
        Source::Wheel(_) | Source::Sdist(_) => &mut *text,
    };
    place.string("version", &package.version.to_string());
    requires_python(package.requires_python.as_deref(), text, &mut tool);
    write_dependencies(text, &package.dependencies);
    write_origin(text, &mut tool, &package.origin, base);
    write_source(text, &mut tool, package, base);
    let hashes: Vec<String> = package
        .required_hashes
        .iter()
        .map(|hash| quoted(hash))
        .collect();
    tool.array("required-hashes", &hashes);
    text.table_of(TOOL_OF_PACKAGE, &tool);
}

fn write_dependencies(text: &mut Text, dependencies: &[PackageName]) {
    let mut names: Vec<&str> = dependencies.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    let tables: Vec<String> = names.iter().map(|name| inline([("name", *name)])).collect();
    text.array("dependencies", &tables);
}

fn write_origin(text: &mut Text, tool: &mut Text, origin: &Origin, base: &Path) {
    match origin {
        Origin::Index { url } => text.string("index", &clean(url)),
        Origin::FindLinks { location } if Path::new(location).is_absolute() => {
            tool.string("find-links", &path::written(Path::new(location), base));
        }
        Origin::FindLinks { location } => tool.string("find-links", &clean(location)),
        Origin::Direct => {}
    }
}

fn write_source(text: &mut Text, tool: &mut Text, package: &Package, base: &Path) {
    match &package.source {
        Source::Wheel(artifact) if source::is_listed_wheel(package, artifact) => {
            text.table("[[packages.wheels]]");
            text.string("name", &artifact.filename);
            write_artifact(text, artifact, base);
        }
        Source::Sdist(artifact) if source::is_listed_sdist(package, artifact) => {
            text.table("[packages.sdist]");
            text.string("name", &artifact.filename);
            write_artifact(text, artifact, base);
        }
        Source::Wheel(artifact) | Source::Sdist(artifact) => {
            write_archive(text, tool, artifact, base);
        }
        Source::Tree { path } => {
            text.table("[packages.directory]");
            text.string("path", &path::written(path, base));
            text.plain("editable", false);
        }
        Source::Git { .. } => write_git(text, &package.source),
    }
}

fn write_archive(text: &mut Text, tool: &mut Text, artifact: &Artifact, base: &Path) {
    text.table("[packages.archive]");
    write_artifact(text, artifact, base);
    // An archive has no key for its name.
    if source::filename(&artifact.location).as_ref() != Some(&artifact.filename) {
        tool.string("filename", &artifact.filename);
    }
}

fn write_git(text: &mut Text, source: &Source) {
    let Source::Git {
        repository,
        requested,
        commit,
        subdirectory,
    } = source
    else {
        return;
    };
    text.table("[packages.vcs]");
    text.string("type", "git");
    text.string("url", without_credentials(repository).as_str());
    if let Some(requested) = requested {
        text.string("requested-revision", requested);
    }
    text.string("commit-id", commit);
    write_subdirectory(text, subdirectory.as_deref());
}

fn write_artifact(text: &mut Text, artifact: &Artifact, base: &Path) {
    if let Some(time) = artifact.uploaded.and_then(time::to_datetime) {
        text.plain("upload-time", time);
    }
    match &artifact.location {
        Location::Url(url) => {
            let mut url = without_credentials(url);
            url.set_fragment(None);
            text.string("url", url.as_str());
        }
        Location::Path(path) => text.string("path", &path::written(path, base)),
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

fn write_subdirectory(text: &mut Text, subdirectory: Option<&Path>) {
    if let Some(subdirectory) = subdirectory {
        text.string("subdirectory", &path::portable(subdirectory));
    }
}

/// `location` without credentials, and otherwise exactly as it is.
pub(super) fn clean(location: &str) -> String {
    match Url::parse(location) {
        Ok(url) if without_credentials(&url) != url => without_credentials(&url).into(),
        _ => location.to_owned(),
    }
}
