//! Reads `poetry.lock`.
//!
//! Since lock version 2.1 each package has groups and markers. Before that version, the graph is traversed from the
//! `pyproject.toml` next to the lock (`v1_graph`). Groups other than `main` are selected by `--group`. The project itself
//! is not included.

mod constraint;
mod content_hash;
mod package;
#[cfg(test)]
mod tests;
mod v1_graph;

use toml::Table;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::toml_reader::{self, TomlReader, parse};
use wheelhouse_types::{Error, ExtraName, GroupName, Kind, MarkerTree, Result, Version, marker};

use super::pin::{PinKind, PinnedPackage};
use super::requirements::{LockRequirements, add};
use super::{LockFile, Selection, unknown};
use constraint::Constraint;
use package::PoetryPackage;

pub(super) fn read(file: &LockFile<'_>, selection: &Selection) -> Result<LockRequirements> {
    let table = parse(file.text)?;
    let root = TomlReader::root(&table);
    let metadata = root.required("metadata", root.entry("metadata")?)?;
    check_version(&metadata)?;
    let project = file.project.map(toml_reader::parse).transpose();
    let project = project.context(Kind::Input, || {
        "the `pyproject.toml` beside it cannot be read".to_owned()
    })?;
    if let Some(project) = &project {
        content_hash::check(&metadata, project)?;
    }
    check_extras(&root, selection)?;
    let packages = package::read_all(&root)?;
    let markers = markers(&root, &packages, project.as_ref(), selection)?;
    let mut contents = contents(&root, &packages, markers, file)?;
    if let Some(text) = metadata.string("python-versions")? {
        let marker = Constraint::parse(text)?.python_marker()?;
        let said = format!("metadata.python-versions is `{text}`");
        contents.scope.require(said, marker);
    }
    Ok(contents)
}

/// Returns the marker that selects each package.
fn markers(
    root: &TomlReader<'_>,
    packages: &[PoetryPackage<'_>],
    project: Option<&Table>,
    selection: &Selection,
) -> Result<Vec<MarkerTree>> {
    let says_groups = packages.iter().any(|package| package.entry.has("groups"));
    if says_groups || packages.is_empty() {
        check_groups(packages, project, selection)?;
        let markers = packages
            .iter()
            .map(|package| own_marker(package, selection));
        let markers: Vec<_> = markers.collect::<Result<_>>()?;
        v1_graph::check_entries(root, packages, &markers, project, selection)?;
        return Ok(markers);
    }
    let project = project.ok_or_else(needs_project)?;
    v1_graph::markers(root, packages, project, selection)
}

fn check_version(metadata: &TomlReader<'_>) -> Result<()> {
    let Some(version) = metadata.parsed::<Version>("lock-version")? else {
        // Poetry 1.0 and older did not write it.
        if metadata.has("content-hash") {
            return Ok(());
        }
        let error = metadata.error("lock-version", "is missing");
        return Err(error.with_hint("Update the lock with `poetry lock`."));
    };
    if matches!(version.release().first(), Some(1 | 2)) {
        return Ok(());
    }
    let error = metadata.error("lock-version", &format!("\"{version}\" is not supported"));
    Err(error.with_hint("Only versions 1 and 2 of poetry.lock are supported."))
}

fn needs_project() -> Error {
    let message =
        "a lock before lock-version 2.1 needs the pyproject.toml beside it, which does not exist";
    Error::new(Kind::Input, message)
        .with_hint("Put the pyproject.toml beside the lock, or run `poetry lock` with Poetry 2.")
}

fn check_extras(root: &TomlReader<'_>, selection: &Selection) -> Result<()> {
    let extras = root.entry("extras")?;
    let known = extras.map(|extras| extras.keys()).unwrap_or_default();
    let is_known = |extra: &ExtraName| known.iter().any(|name| name.parse().as_ref() == Ok(extra));
    match selection.extras.iter().find(|extra| !is_known(extra)) {
        Some(extra) => Err(unknown("extra", extra.as_ref(), known)),
        None => Ok(()),
    }
}

/// Checks that the selected groups exist. A group without packages is only in the `pyproject.toml`.
fn check_groups(
    packages: &[PoetryPackage<'_>],
    project: Option<&Table>,
    selection: &Selection,
) -> Result<()> {
    let mut known: Vec<GroupName> = project.map(v1_graph::group_names).unwrap_or_default();
    for package in packages {
        known.extend(package.groups()?);
    }
    match selection.groups.iter().find(|group| !known.contains(group)) {
        Some(group) => Err(unknown("group", group.as_ref(), known)),
        None => Ok(()),
    }
}

/// Returns the marker of a package with groups.
fn own_marker(package: &PoetryPackage<'_>, selection: &Selection) -> Result<MarkerTree> {
    let is_extra = |name: &ExtraName| selection.extras.contains(name);
    let mut wanted = MarkerTree::FALSE;
    for group in package.groups()? {
        if group.as_ref() == "main" || selection.groups.contains(&group) {
            let marker = package.marker(&group)?;
            wanted = wanted.or(marker::decide(marker, &is_extra, &|_| false));
        }
    }
    Ok(wanted)
}

fn contents(
    root: &TomlReader<'_>,
    packages: &[PoetryPackage<'_>],
    markers: Vec<MarkerTree>,
    file: &LockFile<'_>,
) -> Result<LockRequirements> {
    let mut contents = LockRequirements::default();
    for (package, marker) in packages.iter().zip(markers) {
        if marker.is_false() {
            continue;
        }
        let (what, files) = (package.what(file.base)?, package.files(root)?);
        if files.is_empty() && matches!(what, PinKind::Version(_)) {
            return Err(package.entry.error("files", "has no file with a digest"));
        }
        contents.pins.push(PinnedPackage {
            name: package.name.clone(),
            what,
            marker,
            hashes: files.iter().flat_map(|file| file.hashes.clone()).collect(),
        });
        contents.named_files.extend(files);
        if let Some(index) = package.index()? {
            add(&mut contents.indexes, index);
        }
    }
    Ok(contents)
}
