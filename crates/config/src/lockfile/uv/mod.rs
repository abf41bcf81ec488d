//! Reads `uv.lock`: a graph of packages for all extras, groups and platforms of a project or workspace.
//!
//! 1. The packages and their sources are read (`package`).
//! 2. The graph is traversed from the packages that `uv sync` would install (`graph`): the marker of each package is the
//!    disjunction over all paths to it of the conjunction of their markers.
//! 3. The current `pyproject.toml` is compared with its contents when the lock was created (`freshness`).
//!
//! Dependency groups are only included on request, unlike uv's default group `dev`.

mod freshness;
mod graph;
mod package;
#[cfg(test)]
mod tests;

use std::path::Path;

use wheelhouse_types::toml_reader::{TomlReader, parse};
use wheelhouse_types::{ExtraName, GroupName, PackageName, Result};

use super::pin::PinnedPackage;
use super::requirements::{LockRequirements, add};
use super::{LockFile, Selection, unknown};
use graph::Graph;
use package::{UvPackage, UvSource};

pub(super) fn read(file: &LockFile<'_>, selection: &Selection) -> Result<LockRequirements> {
    let table = parse(file.text)?;
    let root = TomlReader::root(&table);
    check_version(&root)?;
    let packages = package::read_all(&root)?;
    let roots = roots(&root, &packages)?;
    if let Some(project) = file.project {
        freshness::check(&root, &packages, &roots, project)?;
    }
    check_selection(&root, &packages, &roots, selection)?;
    check_conflicts(&root, &packages, &roots, selection)?;
    let graph = Graph::build(&root, &packages, &roots, selection)?;
    let mut contents = LockRequirements::default();
    if let Some(python) = root.string("requires-python")? {
        contents.scope.require_python(python)?;
    }
    let supported = root.strings("supported-markers")?;
    contents
        .scope
        .require_any("supported-markers", &supported)?;
    for (package, marker) in packages.iter().zip(graph.markers(packages.len())) {
        if marker.is_false() || matches!(package.source, UvSource::Virtual) {
            continue;
        }
        let files = package.locked_files()?;
        contents.pins.push(PinnedPackage {
            name: package.name.clone(),
            what: package.what(file.base)?,
            marker,
            hashes: files.iter().flat_map(|file| file.hashes.clone()).collect(),
        });
        contents.named_files.extend(files);
        take_place(package, file, &mut contents)?;
    }
    Ok(contents)
}

fn check_version(root: &TomlReader<'_>) -> Result<()> {
    let version = root.required("version", root.integer("version")?)?;
    if version == 1 {
        return Ok(());
    }
    let error = root.error("version", &format!("{version} is not supported"));
    Err(error.with_hint("Only version 1 of uv.lock is supported."))
}

/// Returns the packages that `uv sync` starts from: the project next to the lock, or all members of
/// the workspace. A script has none, because its requirements are in the manifest.
fn roots(root: &TomlReader<'_>, packages: &[UvPackage<'_>]) -> Result<Vec<usize>> {
    if let Some(project) = packages.iter().position(|package| package.is_at(".")) {
        return Ok(vec![project]);
    }
    let Some(manifest) = root.entry("manifest")? else {
        return Ok(Vec::new());
    };
    let members = manifest.strings("members")?;
    let members = members.into_iter().map(|name| {
        packages
            .iter()
            .position(|package| package.is_local() && package.name.as_ref() == name)
            .ok_or_else(|| {
                manifest.error(
                    "members",
                    &format!("names `{name}`, which has no package entry"),
                )
            })
    });
    members.collect()
}

fn check_selection(
    root: &TomlReader<'_>,
    packages: &[UvPackage<'_>],
    roots: &[usize],
    selection: &Selection,
) -> Result<()> {
    let (mut extras, mut groups): (Vec<ExtraName>, Vec<GroupName>) = Default::default();
    for package in roots.iter().map(|index| &packages[*index]) {
        extras.extend(package.extras()?);
        groups.extend(package.groups()?);
    }
    groups.extend(graph::manifest_groups(root)?);
    if let Some(extra) = selection.extras.iter().find(|name| !extras.contains(name)) {
        return Err(unknown("extra", extra.as_ref(), extras));
    }
    if let Some(group) = selection.groups.iter().find(|name| !groups.contains(name)) {
        return Err(unknown("group", group.as_ref(), groups));
    }
    Ok(())
}

/// Rejects a selection that the lock declares as conflicting.
fn check_conflicts(
    root: &TomlReader<'_>,
    packages: &[UvPackage<'_>],
    roots: &[usize],
    selection: &Selection,
) -> Result<()> {
    let names: Vec<&PackageName> = roots.iter().map(|index| &packages[*index].name).collect();
    let Some(sets) = root.value("conflicts").and_then(toml::Value::as_array) else {
        return Ok(());
    };
    for set in sets {
        let items = set.as_array().map(Vec::as_slice).unwrap_or_default();
        let chosen = items.iter().filter_map(|item| {
            let text = |key: &str| item.get(key).and_then(toml::Value::as_str);
            let package = text("package")?;
            let is_root = names.iter().any(|name| name.as_ref() == package);
            let extra =
                text("extra").filter(|it| selection.extras.iter().any(|name| name.as_ref() == *it));
            let group =
                text("group").filter(|it| selection.groups.iter().any(|name| name.as_ref() == *it));
            let described = extra.map(|it| format!("extra `{it}`"));
            described
                .or(group.map(|it| format!("group `{it}`")))
                .filter(|_| is_root)
        });
        let chosen: Vec<String> = chosen.collect();
        if chosen.len() > 1 {
            let said = format!("says that {} cannot be combined", chosen.join(" and "));
            return Err(root
                .error("conflicts", &said)
                .with_hint("Leave one of them out."));
        }
    }
    Ok(())
}

/// Adds the index of a package.
fn take_place(
    package: &UvPackage<'_>,
    file: &LockFile<'_>,
    contents: &mut LockRequirements,
) -> Result<()> {
    let UvSource::Registry(place) = &package.source else {
        return Ok(());
    };
    let is_url = place.contains("://");
    // uv does not record the type of a URL.
    let is_page = Path::new(place)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
    if is_url && !is_page && !place.starts_with("file:") {
        add(&mut contents.indexes, place);
    } else if is_url {
        add(&mut contents.find_links, place);
    } else {
        // The files of a flat directory are siblings, those of an index are not.
        let path = file.base.join(place);
        let path = path.to_string_lossy();
        let is_flat = package.file_paths()?.iter().all(|path| !path.contains('/'));
        add(
            if is_flat {
                &mut contents.find_links
            } else {
                &mut contents.indexes
            },
            &path,
        );
    }
    Ok(())
}
