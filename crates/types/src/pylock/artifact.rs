//! The files of a package entry in a lock: the key that a file belongs under, and the file of an entry that is used.
//!
//! Never looks at the files themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use percent_encoding::percent_decode_str;
use url::Url;
use uv_distribution_filename::{SourceDistExtension, SourceDistFilename, WheelFilename};
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::{path, time};
use crate::lock::Package;
use crate::redact::without_credentials;
use crate::toml_reader::TomlReader;
use crate::{Artifact, ArtifactLocation, Hashes, Listing, Origin, Result, Source};

/// Returns the index of the wheel to use, or `None` if none fits the target.
pub(super) type ChooseWheel<'a> = dyn FnMut(&[WheelFilename]) -> Option<usize> + 'a;

/// Returns whether a wheel can stand under `packages.wheels`; a direct or misnamed one is an archive.
pub(super) fn is_listed_wheel(package: &Package, artifact: &Artifact) -> bool {
    package.origin != Origin::Direct
        && artifact.subdirectory.is_none()
        && WheelFilename::from_str(&artifact.filename).is_ok_and(|filename| {
            filename.name == package.name && filename.version == package.version
        })
}

/// Returns whether an sdist can stand under `packages.sdist`, which other tools accept only with a name
/// such as the specification of sdists wants; else it is an archive.
pub(super) fn is_listed_sdist(package: &Package, artifact: &Artifact) -> bool {
    let filename = artifact.filename.as_str();
    package.origin != Origin::Direct
        && artifact.subdirectory.is_none()
        && [".tar.gz", ".zip"]
            .iter()
            .any(|suffix| filename.ends_with(suffix))
        && SourceDistFilename::parsed_normalized_filename(filename).is_ok_and(|filename| {
            filename.name == package.name && filename.version == package.version
        })
}

/// Returns the name of the file at `location`.
pub(super) fn filename(location: &ArtifactLocation) -> Option<String> {
    match location {
        ArtifactLocation::Url(url) => {
            let segment = url
                .path_segments()?
                .next_back()
                .filter(|name| !name.is_empty())?;
            Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
        }
        ArtifactLocation::Path(path) => Some(path.file_name()?.to_str()?.to_owned()),
        ArtifactLocation::Image { filename, .. } => Some(filename.clone()),
    }
}

/// Returns the version that the name of a file of the package `name` tells.
#[must_use]
pub fn version_of(filename: &str, name: &PackageName) -> Option<Version> {
    if is_wheel(filename) {
        let filename = WheelFilename::from_str(filename).ok()?;
        return (filename.name == *name).then_some(filename.version);
    }
    let extension = SourceDistExtension::from_path(filename).ok()?;
    let filename = SourceDistFilename::parse(filename, extension, name).ok()?;
    Some(filename.version)
}

/// Reads the one source of `package` that is used; its keys are those of `place`.
///
/// # Errors
/// The entry has no source that fits, or sources that exclude each other, or a broken one.
pub(super) fn read(
    package: &TomlReader<'_>,
    place: &TomlReader<'_>,
    name: &PackageName,
    base: &Path,
    choose: &mut ChooseWheel<'_>,
) -> Result<Source> {
    check_exclusive(place)?;
    if let Some(vcs) = place.entry("vcs")? {
        return read_git(&vcs, base);
    }
    if let Some(directory) = place.entry("directory")? {
        let tree = path::read(directory.required_string("path")?, base);
        let subdirectory = directory.string("subdirectory")?.unwrap_or_default();
        return Ok(Source::Tree {
            path: path::read(subdirectory, &tree),
        });
    }
    if let Some(archive) = place.entry("archive")? {
        return read_archive(package, &archive, base);
    }
    read_listed(package, place, name, base, choose)
}

/// Checks that the sources of a package leave no doubt about which one is meant.
///
/// # Errors
/// They exclude each other.
pub fn check_exclusive(package: &TomlReader<'_>) -> Result<()> {
    let alone = ["vcs", "directory", "archive"];
    let alone = alone.iter().filter(|key| package.has(key)).count();
    let listed = package.has("sdist") || package.has("wheels");
    if alone + usize::from(listed) > 1 {
        let error = package.wrong("its sources exclude each other");
        return Err(error.with_hint(
            "A package has one of vcs, directory and archive, or wheels and an sdist.",
        ));
    }
    Ok(())
}

fn read_listed(
    package: &TomlReader<'_>,
    place: &TomlReader<'_>,
    name: &PackageName,
    base: &Path,
    choose: &mut ChooseWheel<'_>,
) -> Result<Source> {
    let (filenames, mut wheels) = read_wheels(package, place, name, base)?;
    if !wheels.is_empty()
        && let Some(chosen) = choose(&filenames)
        && chosen < wheels.len()
    {
        return Ok(Source::Wheel(wheels.swap_remove(chosen)));
    }
    if let Some(sdist) = place.entry("sdist")? {
        let filename = sdist.string("name")?;
        return Ok(Source::Sdist(read_artifact(&sdist, filename, base)?));
    }
    if wheels.is_empty() {
        return Err(package
            .wrong("it has no source")
            .with_hint("A package needs wheels, or one of sdist, archive, directory and vcs."));
    }
    Err(package.wrong("none of its wheels fits the target, and it has no sdist"))
}

fn read_wheels(
    package: &TomlReader<'_>,
    place: &TomlReader<'_>,
    name: &PackageName,
    base: &Path,
) -> Result<(Vec<WheelFilename>, Vec<Artifact>)> {
    let version = package.parsed::<Version>("version")?;
    let (mut filenames, mut wheels) = (Vec::new(), Vec::new());
    for entry in place.entries("wheels")? {
        let artifact = read_artifact(&entry, entry.string("name")?, base)?;
        let filename = WheelFilename::from_str(&artifact.filename).map_err(|error| {
            entry
                .error("name", "is not that of a wheel")
                .caused_by(error)
        })?;
        let is_other = |version: &Version| *version != filename.version;
        if filename.name != *name || version.as_ref().is_some_and(is_other) {
            return Err(entry.error("name", "is that of another package or version"));
        }
        filenames.push(filename);
        wheels.push(artifact);
    }
    Ok((filenames, wheels))
}

fn read_archive(package: &TomlReader<'_>, archive: &TomlReader<'_>, base: &Path) -> Result<Source> {
    let tool = package.tool()?;
    let filename = tool
        .as_ref()
        .map(|tool| tool.string("filename"))
        .transpose()?
        .flatten();
    let mut artifact = read_artifact(archive, filename, base)?;
    artifact.subdirectory = archive.string("subdirectory")?.map(PathBuf::from);
    Ok(if is_wheel(&artifact.filename) {
        Source::Wheel(artifact)
    } else {
        Source::Sdist(artifact)
    })
}

fn read_git(vcs: &TomlReader<'_>, base: &Path) -> Result<Source> {
    let kind = vcs.required_string("type")?;
    if kind != "git" {
        return Err(vcs.error(
            "type",
            &format!("\"{kind}\" is not supported, only \"git\""),
        ));
    }
    let repository = match (vcs.string("url")?, vcs.string("path")?) {
        (Some(url), _) => read_url(vcs, url.strip_prefix("git+").unwrap_or(url))?,
        (None, Some(text)) => Url::from_file_path(path::read(text, base))
            .map_err(|()| vcs.error("path", "is not absolute"))?,
        (None, None) => return Err(vcs.error("url", "is missing")),
    };
    Ok(Source::Git {
        repository: without_credentials(&repository),
        requested: vcs.string("requested-revision")?.map(str::to_owned),
        commit: vcs.required_string("commit-id")?.to_owned(),
        subdirectory: vcs.string("subdirectory")?.map(PathBuf::from),
    })
}

/// Reads a file whose name is `filename`, or else the last part of where it is.
fn read_artifact(entry: &TomlReader<'_>, filename: Option<&str>, base: &Path) -> Result<Artifact> {
    let location = read_location(entry, base)?;
    let filename = filename
        .map(str::to_owned)
        .or_else(|| self::filename(&location));
    let size = entry.integer("size")?.map(u64::try_from).transpose();
    Ok(Artifact {
        filename: entry.required("name", filename)?,
        location,
        size: size.map_err(|_| entry.error("size", "is negative"))?,
        hashes: read_hashes(&entry.required("hashes", entry.entry("hashes")?)?)?,
        listing: Listing {
            uploaded: read_uploaded(entry)?,
            ..Listing::default()
        },
        project_status: None,
        subdirectory: None,
    })
}

fn read_hashes(hashes: &TomlReader<'_>) -> Result<Hashes> {
    let hashes: BTreeMap<String, String> = hashes
        .all_strings()?
        .into_iter()
        .map(|(algorithm, value)| (algorithm.to_owned(), value.to_ascii_lowercase()))
        .collect();
    Ok(Hashes(hashes))
}

fn read_uploaded(entry: &TomlReader<'_>) -> Result<Option<i64>> {
    let Some(datetime) = entry.datetime("upload-time")? else {
        return Ok(None);
    };
    let uploaded = time::to_milliseconds(datetime);
    uploaded
        .map(Some)
        .ok_or_else(|| entry.error("upload-time", "has no date"))
}

/// Reads the location of the file: `path` if there is one, as the specification demands, or `url`.
fn read_location(entry: &TomlReader<'_>, base: &Path) -> Result<ArtifactLocation> {
    if let Some(text) = entry.string("path")? {
        return Ok(ArtifactLocation::Path(path::read(text, base)));
    }
    let text = entry.required_string("url")?;
    if let Some(image) = ArtifactLocation::in_image(text) {
        return Ok(image);
    }
    let url = read_url(entry, text)?;
    if url.scheme() == "file" {
        let path = url.to_file_path();
        return path
            .map(ArtifactLocation::Path)
            .map_err(|()| entry.error("url", "is not a local file"));
    }
    let mut url = without_credentials(&url);
    // The digests of the file are in `hashes`, and the fragment is not written either.
    url.set_fragment(None);
    Ok(ArtifactLocation::Url(url))
}

fn read_url(entry: &TomlReader<'_>, text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| entry.error("url", "is invalid").caused_by(error))
}

pub(super) fn is_wheel(filename: &str) -> bool {
    Path::new(filename)
        .extension()
        .is_some_and(|extension| extension == "whl")
}
