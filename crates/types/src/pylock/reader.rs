//! Reads a `pylock.toml`: our own without loss, those of other tools as far as one target needs.
//!
//! Never installs, and so never checks `requires-python` or `environments` against a target: both
//! are in the lock for the caller to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::{GroupName, PackageName};
use uv_pep440::Version;
use uv_pep508::{MarkerEnvironment, MarkerTree};

use super::{LOCK_VERSION, artifact, path, writer};
use crate::lock::{Build, Lock, Package, Pin};
use crate::toml_reader::{TomlReader, parse};
use crate::{
    ArtifactLocation, LockedCrate, Origin, ProjectStatus, Result, Sha256, Source, StatusMarker,
};

/// The condition of a package of a lock.
#[derive(Clone, Debug)]
pub struct Marker<'a> {
    /// The text in the lock; it may name `extras` and `dependency_groups` (PEP 751).
    pub text: &'a str,
    tree: MarkerTree,
    groups: &'a [GroupName],
}

impl Marker<'_> {
    /// Returns whether the package is needed in `environment`, with the lock's default groups and without
    /// extras.
    #[must_use]
    pub fn holds(&self, environment: &MarkerEnvironment) -> bool {
        self.tree.evaluate_pep751(environment, &[], self.groups)
    }
}

/// The context of [`read`] that is not in the file.
struct Reader<'a> {
    base: &'a Path,
    choose: &'a mut artifact::ChooseWheel<'a>,
    applies: &'a mut dyn FnMut(&Marker<'_>) -> bool,
    groups: Vec<GroupName>,
}

/// Reads the `text` of a `pylock.toml` in the directory `base`, which is absolute.
///
/// Of the wheels of a package, `choose` returns the index of the one to use, or `None` if none
/// fits the target; then its sdist is used. Packages with a marker are taken if it `applies`.
///
/// # Errors
/// The text is not TOML, its `lock-version` is not supported, or an entry lacks what it needs: the
/// message names the entry and the key, `packages[3] "django": sdist.hashes is missing`.
pub fn read(
    text: &str,
    base: &Path,
    choose: &mut dyn FnMut(&[WheelFilename]) -> Option<usize>,
    applies: &mut dyn FnMut(&Marker<'_>) -> bool,
) -> Result<Lock> {
    let table = parse(text)?;
    let root = TomlReader::root(&table);
    check_version(&root)?;
    let groups = read_groups(&root)?;
    let mut reader = Reader {
        base,
        choose,
        applies,
        groups,
    };
    root.required("packages", root.has("packages").then_some(()))?;
    Ok(Lock {
        request: read_request(&root)?,
        files: read_files(&root, base)?,
        environment: read_environment(&root)?,
        requires_python: requires_python(&root)?,
        packages: read_packages(&root, &mut reader)?,
        builds: read_builds(&root)?,
    })
}

/// The pins of a lock, for all targets.
#[derive(Debug)]
pub struct LockSummary {
    /// The value of [`Lock::request`]; empty for the locks of other tools.
    pub request: String,
    /// The value of [`Lock::files`].
    pub files: BTreeMap<PathBuf, Sha256>,
    /// Each version of each package, as far as the lock tells.
    pub versions: Vec<(PackageName, Version)>,
}

/// Reads what the `text` of a `pylock.toml` in the directory `base` pins, for all targets at once.
///
/// # Errors
/// The text is not TOML, or an entry is not of the kind that it must be.
pub fn summarize(text: &str, base: &Path) -> Result<LockSummary> {
    let table = parse(text)?;
    let root = TomlReader::root(&table);
    check_version(&root)?;
    let mut versions = Vec::new();
    for (index, entry) in root.entries("packages")?.into_iter().enumerate() {
        let entry = entry.of_package("packages", index);
        let name = entry.required("name", entry.parsed("name")?)?;
        versions.extend(entry.parsed("version")?.map(|version| (name, version)));
    }
    Ok(LockSummary {
        request: read_request(&root)?,
        files: read_files(&root, base)?,
        versions,
    })
}

/// Reads how the sources of a lock are built; `root` is the whole file.
///
/// # Errors
/// An entry lacks what it needs, or is not of the kind that it must be.
pub fn read_builds(root: &TomlReader<'_>) -> Result<Vec<Build>> {
    let Some(tool) = root.tool()? else {
        return Ok(Vec::new());
    };
    let builds = tool.entries("builds")?.into_iter().enumerate();
    builds
        .map(|(index, entry)| read_build(&entry.of_package("tool.wheelhouse.builds", index)))
        .collect()
}

fn read_build(entry: &TomlReader<'_>) -> Result<Build> {
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let pins = entry.entries("closure")?.into_iter().map(|pin| {
        Ok(Pin {
            requirement: pin.required_string("requirement")?.to_owned(),
            hashes: owned(pin.strings("hashes")?),
        })
    });
    let crates = entry.entries("crates")?.into_iter().map(|one| {
        Ok(LockedCrate {
            name: one.required_string("name")?.to_owned(),
            version: one.required_string("version")?.to_owned(),
            source: one.required_string("source")?.to_owned(),
            sha256: one.parsed("sha256")?,
        })
    });
    Ok(Build {
        name: entry.required("name", entry.parsed("name")?)?,
        version: entry.required("version", entry.parsed("version")?)?,
        requires: owned(entry.strings("requires")?),
        closure: pins.collect::<Result<_>>()?,
        crates: crates.collect::<Result<_>>()?,
    })
}

fn check_version(root: &TomlReader<'_>) -> Result<()> {
    let text = root.required_string("lock-version")?;
    // A minor version only adds keys, and unknown keys are ignored.
    match Version::from_str(text) {
        Ok(version) if version.release().first() == Some(&1) => Ok(()),
        _ => Err(root
            .error("lock-version", &format!("\"{text}\" is not supported"))
            .with_hint(format!(
                "Only version {LOCK_VERSION} of pylock.toml is known."
            ))),
    }
}

fn read_groups(root: &TomlReader<'_>) -> Result<Vec<GroupName>> {
    let groups = root.strings("default-groups")?;
    let groups = groups
        .into_iter()
        .map(GroupName::from_str)
        .collect::<Result<_, _>>();
    groups.map_err(|error| root.error("default-groups", "is invalid").caused_by(error))
}

fn read_request(root: &TomlReader<'_>) -> Result<String> {
    let tool = root.tool()?;
    let request = tool.map(|tool| tool.string("request")).transpose()?;
    Ok(request.flatten().unwrap_or_default().to_owned())
}

/// Reads which local files a lock was made from, as in [`Lock::files`]; `root` is the whole file.
///
/// # Errors
/// An entry is not a digest.
pub fn read_files(root: &TomlReader<'_>, base: &Path) -> Result<BTreeMap<PathBuf, Sha256>> {
    let tool = root.tool()?;
    let Some(files) = tool.map(|tool| tool.entry("files")).transpose()?.flatten() else {
        return Ok(BTreeMap::new());
    };
    let digest = |(file, text): (&str, &str)| match text.parse() {
        Ok(digest) => Ok((path::read(file, base), digest)),
        Err(_) => Err(files.error(file, "is not a SHA-256 digest")),
    };
    files.all_strings()?.into_iter().map(digest).collect()
}

/// Joins the environments of the lock into one marker.
fn read_environment(root: &TomlReader<'_>) -> Result<String> {
    let environments = root.strings("environments")?;
    if let [environment] = environments.as_slice() {
        return Ok((*environment).to_owned());
    }
    let environments: Vec<String> = environments
        .iter()
        .map(|text| format!("({text})"))
        .collect();
    Ok(environments.join(" or "))
}

/// Reads `requires-python` of `entry`, or the same key under `tool.wheelhouse` for a value that is not a version specifier.
fn requires_python(entry: &TomlReader<'_>) -> Result<Option<String>> {
    let mut value = entry.string("requires-python")?;
    if let (None, Some(tool)) = (value, entry.tool()?) {
        value = tool.string("requires-python")?;
    }
    Ok(value.map(str::to_owned))
}

fn read_packages(root: &TomlReader<'_>, reader: &mut Reader<'_>) -> Result<Vec<Package>> {
    let mut packages: Vec<Package> = Vec::new();
    let mut present = BTreeSet::new();
    let mut skipped = BTreeSet::new();
    for (index, entry) in root.entries("packages")?.into_iter().enumerate() {
        let entry = entry.of_package("packages", index);
        let name: PackageName = entry.required("name", entry.parsed("name")?)?;
        if !is_wanted(&entry, reader)? {
            skipped.insert(name);
        } else if present.insert(name.clone()) {
            packages.push(read_package(&entry, name, reader)?);
        } else {
            return Err(entry.wrong("another entry of this name applies as well"));
        }
    }
    for package in &mut packages {
        let is_there = |name: &PackageName| present.contains(name) || !skipped.contains(name);
        package.dependencies.retain(is_there);
    }
    packages.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(packages)
}

fn is_wanted(entry: &TomlReader<'_>, reader: &mut Reader<'_>) -> Result<bool> {
    let (Some(text), Some(tree)) = (entry.string("marker")?, entry.parsed("marker")?) else {
        return Ok(true);
    };
    let groups = reader.groups.as_slice();
    Ok((reader.applies)(&Marker { text, tree, groups }))
}

fn read_package(
    entry: &TomlReader<'_>,
    name: PackageName,
    reader: &mut Reader<'_>,
) -> Result<Package> {
    let tool = entry.tool()?;
    // A wheelhouse's lock lists the files of the wheelhouse, and beside each what it came from.
    let came_from = tool.as_ref().map(|tool| tool.entry("source")).transpose()?;
    let came_from = came_from.flatten();
    let place = came_from.as_ref().unwrap_or(entry);
    let mut source = artifact::read(entry, place, &name, reader.base, reader.choose)?;
    let mut hashes = Vec::new();
    if let Some(tool) = tool.as_ref() {
        hashes = tool.strings("required-hashes")?;
        if let Source::Wheel(artifact) | Source::Sdist(artifact) = &mut source {
            artifact.listing.yanked = tool.string("yanked")?.map(str::to_owned);
            artifact.listing.provenance = tool.string("provenance")?.map(str::to_owned);
            let marker = tool.string("project-status")?.and_then(StatusMarker::parse);
            let reason = tool.string("project-status-reason")?.map(str::to_owned);
            artifact.project_status = marker.map(|status| ProjectStatus { status, reason });
        }
    }
    Ok(Package {
        version: read_version(entry, &name, &source)?,
        origin: read_origin(entry, place, &source, reader.base)?,
        requires_python: requires_python(entry)?,
        dependencies: read_dependencies(entry)?,
        required_hashes: hashes.into_iter().map(str::to_owned).collect(),
        name,
        source,
    })
}

fn read_version(entry: &TomlReader<'_>, name: &PackageName, source: &Source) -> Result<Version> {
    let mut version = entry.parsed("version")?;
    if let (None, Some(tool)) = (&version, entry.tool()?) {
        version = tool.parsed("version")?;
    }
    let from_filename = || artifact::version_of(&source.artifact()?.filename, name);
    let version = version.or_else(from_filename);
    entry.required("version", version).map_err(|error| {
        error.with_hint("Only locks of wheelhouse tell the version of a source tree.")
    })
}

fn read_origin(
    entry: &TomlReader<'_>,
    place: &TomlReader<'_>,
    source: &Source,
    base: &Path,
) -> Result<Origin> {
    if let Some(url) = place.string("index")? {
        return Ok(Origin::Index {
            url: writer::clean(url),
        });
    }
    if let Some(tool) = entry.tool()?
        && let Some(location) = tool.string("find-links")?
    {
        let location = if Url::parse(location).is_ok() {
            writer::clean(location)
        } else {
            path::read(location, base).to_string_lossy().into_owned()
        };
        return Ok(Origin::FindLinks { location });
    }
    Ok(match source.artifact() {
        Some(artifact) if !place.has("archive") => likely_origin(&artifact.location),
        _ => Origin::Direct,
    })
}

/// Guesses the origin of a file of a lock that does not name it (pip's never do, uv's not always): `PyPI` for
/// its own files, and else whatever lists the place where the file is.
fn likely_origin(location: &ArtifactLocation) -> Origin {
    match location {
        ArtifactLocation::Url(url) if url.host_str() == Some("files.pythonhosted.org") => {
            Origin::Index {
                url: "https://pypi.org/simple".to_owned(),
            }
        }
        ArtifactLocation::Url(url) => Origin::Index {
            url: url.join(".").map_or_else(|_| url.to_string(), String::from),
        },
        ArtifactLocation::Image { image, .. } => Origin::FindLinks {
            location: image.clone(),
        },
        ArtifactLocation::Path(path) => Origin::FindLinks {
            location: path.parent().unwrap_or(path).to_string_lossy().into_owned(),
        },
    }
}

fn read_dependencies(entry: &TomlReader<'_>) -> Result<Vec<PackageName>> {
    let names: BTreeSet<PackageName> = entry
        .entries("dependencies")?
        .iter()
        .map(|dependency| dependency.required("name", dependency.parsed("name")?))
        .collect::<Result<_>>()?;
    Ok(names.into_iter().collect())
}
