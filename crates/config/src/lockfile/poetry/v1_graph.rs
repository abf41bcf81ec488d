//! Determines the packages of a `poetry.lock` before version 2.1, which does not record groups and markers, by
//! traversing its graph from `pyproject.toml`.
//!
//! A node is a package, or an extra of a package. Poetry omits packages that no Python of
//! the project needs, so an edge to a package without an entry is only an error if it is used.

use std::collections::HashMap;

use toml::{Table, Value};
use wheelhouse_types::marker::{self, Edge};
use wheelhouse_types::toml_reader::TomlReader;
use wheelhouse_types::{Error, ExtraName, GroupName, Kind, MarkerTree, PackageName, Result};

use super::super::{Selection, unknown};
use super::constraint::Constraint;
use super::package::PoetryPackage;

type Node = (usize, Option<ExtraName>);

/// A dependency in Poetry's format: `">=1"`, a table, or one of a list of these.
struct Dependency {
    name: PackageName,
    constraint: Option<Constraint>,
    marker: MarkerTree,
    extras: Vec<ExtraName>,
    is_optional: bool,
}

struct GraphWalk<'a> {
    packages: &'a [PoetryPackage<'a>],
    by_name: HashMap<&'a PackageName, Vec<usize>>,
    /// The project, on which its own plugins may depend.
    project: Option<PackageName>,
    indexes: HashMap<Node, usize>,
    nodes: Vec<Node>,
    edges: Vec<Vec<Edge>>,
    /// Dependencies without an entry, with the nodes that have them.
    missing: Vec<(usize, MarkerTree, PackageName)>,
}

/// Returns the marker that selects each of `packages`.
///
/// # Errors
/// A selected dependency has no entry, or a dependency has an invalid format.
pub(super) fn markers(
    root: &TomlReader<'_>,
    packages: &[PoetryPackage<'_>],
    document: &Table,
    selection: &Selection,
) -> Result<Vec<MarkerTree>> {
    let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, package) in packages.iter().enumerate() {
        by_name.entry(&package.name).or_default().push(index);
    }
    let project = PoetryProject { document };
    let mut walk = GraphWalk {
        packages,
        by_name,
        project: project.name(),
        indexes: HashMap::new(),
        nodes: Vec::new(),
        edges: Vec::new(),
        missing: Vec::new(),
    };
    let pythons = project.pythons()?;
    let mut roots = Vec::new();
    for dependency in project.dependencies(root, selection)? {
        let edges = walk.edges_to(&dependency, None);
        let missing = edges.is_empty() && !dependency.marker.and(pythons).is_false();
        if missing {
            return Err(no_entry(&dependency.name, "pyproject.toml"));
        }
        roots.extend(edges);
    }
    let mut next = 0;
    while next < walk.nodes.len() {
        walk.follow(next)?;
        next += 1;
    }
    walk.finish(&roots, pythons)
}

/// Checks that all dependencies of the packages selected by `markers`, and of the project, have an entry.
///
/// # Errors
/// A dependency has no entry, or an invalid format.
pub(super) fn check_entries(
    root: &TomlReader<'_>,
    packages: &[PoetryPackage<'_>],
    markers: &[MarkerTree],
    document: Option<&Table>,
    selection: &Selection,
) -> Result<()> {
    let project = document.map(|document| PoetryProject { document });
    let metadata = root.entry("metadata")?;
    let said = metadata
        .map(|metadata| metadata.string("python-versions"))
        .transpose()?;
    let pythons = match (said.flatten(), &project) {
        (Some(text), _) => Constraint::parse(text)?.python_marker()?,
        (None, Some(project)) => project.pythons()?,
        (None, None) => MarkerTree::TRUE,
    };
    let itself = project.as_ref().and_then(PoetryProject::name);
    let check = |dependency: &Dependency, wanted: MarkerTree, who: &str| {
        let name = &dependency.name;
        let is_there =
            itself.as_ref() == Some(name) || packages.iter().any(|package| package.name == *name);
        let marker = decided(dependency.marker, None);
        if is_there || marker.and(wanted).and(pythons).is_false() {
            return Ok(());
        }
        Err(no_entry(name, who))
    };
    if let Some(project) = &project {
        for dependency in project.dependencies(root, selection)? {
            check(&dependency, MarkerTree::TRUE, "pyproject.toml")?;
        }
    }
    for (package, wanted) in packages.iter().zip(markers) {
        if let Some(table) = package.entry.entry("dependencies")? {
            for dependency in read_table(&table)?.iter().filter(|one| !one.is_optional) {
                check(dependency, *wanted, &format!("package `{}`", package.name))?;
            }
        }
    }
    Ok(())
}

/// Reads the dependencies in a table of a package.
fn read_table(table: &TomlReader<'_>) -> Result<Vec<Dependency>> {
    let mut all = Vec::new();
    for name in table.keys() {
        let value = table.required(name, table.value(name))?;
        let dependencies = read_dependencies(name, value).map_err(|error| {
            table
                .error(name, "is not a valid dependency")
                .caused_by(error)
        })?;
        all.extend(dependencies);
    }
    Ok(all)
}

fn no_entry(name: &PackageName, who: &str) -> Error {
    Error::new(
        Kind::Input,
        format!("{who} depends on `{name}`, which has no package entry"),
    )
    .with_hint("Update the lock with `poetry lock`.")
}

impl GraphWalk<'_> {
    fn finish(&self, roots: &[Edge], pythons: MarkerTree) -> Result<Vec<MarkerTree>> {
        let reached = marker::reach(roots, &self.edges);
        for (node, marker, name) in &self.missing {
            if !reached[*node].and(*marker).and(pythons).is_false() {
                let package = &self.packages[self.nodes[*node].0].name;
                return Err(no_entry(name, &format!("package `{package}`")));
            }
        }
        let mut markers = vec![MarkerTree::FALSE; self.packages.len()];
        for ((package, _), marker) in self.nodes.iter().zip(reached) {
            markers[*package] = markers[*package].or(marker);
        }
        Ok(markers)
    }

    fn node(&mut self, package: usize, extra: Option<ExtraName>) -> usize {
        let (nodes, edges) = (&mut self.nodes, &mut self.edges);
        *self
            .indexes
            .entry((package, extra))
            .or_insert_with_key(|node| {
                nodes.push(node.clone());
                edges.push(Vec::new());
                nodes.len() - 1
            })
    }

    fn follow(&mut self, node: usize) -> Result<()> {
        let packages = self.packages;
        let (index, extra) = self.nodes[node].clone();
        let package = &packages[index];
        let Some(table) = package.entry.entry("dependencies")? else {
            return Ok(());
        };
        let members = match &extra {
            Some(extra) => members(package, extra)?,
            None => Vec::new(),
        };
        for dependency in read_table(&table)? {
            let is_taken = match &extra {
                Some(_) => members.contains(&dependency.name),
                None => !dependency.is_optional,
            };
            if is_taken {
                self.add_edges(node, &dependency, extra.as_ref());
            }
        }
        Ok(())
    }

    fn add_edges(&mut self, node: usize, dependency: &Dependency, extra: Option<&ExtraName>) {
        let edges = self.edges_to(dependency, extra);
        if edges.is_empty() && self.project.as_ref() != Some(&dependency.name) {
            let marker = decided(dependency.marker, extra);
            self.missing.push((node, marker, dependency.name.clone()));
        }
        self.edges[node].extend(edges);
    }

    /// Returns the edges to all versions that a dependency of a package or of its `extra` allows.
    fn edges_to(&mut self, dependency: &Dependency, extra: Option<&ExtraName>) -> Vec<Edge> {
        let packages = self.packages;
        let known = self
            .by_name
            .get(&dependency.name)
            .cloned()
            .unwrap_or_default();
        let fits = |index: &usize| match &dependency.constraint {
            Some(constraint) if known.len() > 1 => constraint.allows(&packages[*index].version),
            _ => true,
        };
        let marker = decided(dependency.marker, extra);
        let mut edges = Vec::new();
        for package in known.iter().copied().filter(fits) {
            let extras = dependency.extras.iter().cloned().map(Some);
            for extra in std::iter::once(None).chain(extras) {
                edges.push((self.node(package, extra), marker));
            }
        }
        edges
    }
}

fn decided(marker: MarkerTree, extra: Option<&ExtraName>) -> MarkerTree {
    marker::decide(marker, &|name| Some(name) == extra, &|_| false)
}

/// Returns the packages of an extra: `socks = ["PySocks (>=1.5.6)"]`.
fn members(package: &PoetryPackage<'_>, extra: &ExtraName) -> Result<Vec<PackageName>> {
    let Some(extras) = package.entry.entry("extras")? else {
        return Ok(Vec::new());
    };
    let written = extras
        .keys()
        .into_iter()
        .find(|name| name.parse().as_ref() == Ok(extra));
    let texts = written.map(|name| extras.strings(name)).transpose()?;
    let name = |text: &str| {
        let is_part = |character: char| character.is_alphanumeric() || "-_.".contains(character);
        let end = text
            .find(|character| !is_part(character))
            .unwrap_or(text.len());
        text[..end].parse().ok()
    };
    Ok(texts.into_iter().flatten().filter_map(name).collect())
}

/// Reads a dependency, which may be a list of alternatives for different environments.
fn read_dependencies(name: &str, value: &Value) -> Result<Vec<Dependency>> {
    let name: PackageName = name.parse().map_err(|error| {
        Error::new(Kind::Input, format!("`{name}` is not a valid package name")).caused_by(error)
    })?;
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| read_dependency(&name, item))
            .collect(),
        value => Ok(vec![read_dependency(&name, value)?]),
    }
}

fn read_dependency(name: &PackageName, value: &Value) -> Result<Dependency> {
    let table = match value {
        Value::String(text) => {
            let version = Value::String(text.clone());
            &Table::from_iter([("version".to_owned(), version)])
        }
        Value::Table(table) => table,
        _ => {
            let message = format!("`{name}` is neither a string nor a table");
            return Err(Error::new(Kind::Input, message));
        }
    };
    let table = TomlReader::root(table);
    let mut marker = MarkerTree::TRUE;
    if let Some(text) = table.string("markers")? {
        marker = marker::parse(text)?;
    }
    if let Some(python) = table.string("python")? {
        marker = marker.and(Constraint::parse(python)?.python_marker()?);
    }
    if let Some(platform) = table.string("platform")? {
        marker = marker.and(platform_marker(platform)?);
    }
    let constraint = table.string("version")?.map(Constraint::parse);
    let extras = table.strings("extras")?.into_iter().map(str::parse);
    let extras = extras.collect::<Result<_, _>>();
    Ok(Dependency {
        name: name.clone(),
        constraint: constraint.transpose()?,
        marker,
        extras: extras.map_err(|error| table.error("extras", "is invalid").caused_by(error))?,
        is_optional: table.boolean("optional")?.unwrap_or(false),
    })
}

/// Parses Poetry's short form of `sys_platform`: names, possibly after `!=`, of which all (`,`) or one (`||`) must
/// match.
fn platform_marker(text: &str) -> Result<MarkerTree> {
    let mut any = MarkerTree::FALSE;
    for alternative in text.split('|').filter(|part| !part.trim().is_empty()) {
        let mut all = MarkerTree::TRUE;
        let names = alternative
            .split([',', ' '])
            .filter(|name| !name.is_empty());
        for name in names.filter(|name| *name != "*") {
            let (operator, name) = match name.strip_prefix("!=") {
                Some(name) => ("!=", name),
                None => ("==", name.trim_start_matches('=')),
            };
            if name.is_empty() || name.contains(['\'', '"', '\\']) {
                let message = format!("`{text}` is not a platform as Poetry writes it");
                return Err(Error::new(Kind::Input, message));
            }
            all = all.and(marker::parse(&format!("sys_platform {operator} '{name}'"))?);
        }
        any = any.or(all);
    }
    Ok(any)
}

/// The `pyproject.toml` next to a lock.
struct PoetryProject<'a> {
    document: &'a Table,
}

impl<'a> PoetryProject<'a> {
    fn poetry(&self) -> Option<&'a Table> {
        self.document.get("tool")?.get("poetry")?.as_table()
    }

    fn name(&self) -> Option<PackageName> {
        self.poetry()?.get("name")?.as_str()?.parse().ok()
    }

    fn main(&self) -> Option<&'a Table> {
        self.poetry()?.get("dependencies")?.as_table()
    }

    /// Returns the Pythons that the project supports, as a marker.
    fn pythons(&self) -> Result<MarkerTree> {
        match self.main().and_then(|main| main.get("python")?.as_str()) {
            Some(text) => Constraint::parse(text)?.python_marker(),
            None => Ok(MarkerTree::TRUE),
        }
    }

    /// Returns the selected dependencies of the project.
    fn dependencies(
        &self,
        root: &TomlReader<'_>,
        selection: &Selection,
    ) -> Result<Vec<Dependency>> {
        let chosen = chosen_members(root, selection)?;
        let is_wanted =
            |dependency: &Dependency| !dependency.is_optional || chosen.contains(&dependency.name);
        let mut wanted = Vec::new();
        for (name, value) in self
            .main()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "python")
        {
            wanted.extend(
                read_dependencies(name, value)?
                    .into_iter()
                    .filter(is_wanted),
            );
        }
        for group in &selection.groups {
            let Some(table) = self.group(group) else {
                return Err(unknown("group", group.as_ref(), group_names(self.document)));
            };
            for (name, value) in table {
                wanted.extend(read_dependencies(name, value)?);
            }
        }
        let is_root_extra = |name: &ExtraName| selection.extras.contains(name);
        for dependency in &mut wanted {
            dependency.marker = marker::decide(dependency.marker, &is_root_extra, &|_| false);
        }
        Ok(wanted)
    }

    fn group(&self, group: &GroupName) -> Option<&'a Table> {
        let poetry = self.poetry()?;
        let groups = poetry.get("group").and_then(Value::as_table);
        let same = |name: &str| name.parse().as_ref() == Ok(group);
        let found = groups.and_then(|groups| groups.iter().find(|(name, _)| same(name)));
        match found {
            Some((_, table)) => table.get("dependencies")?.as_table(),
            None if group.as_ref() == "dev" => poetry.get("dev-dependencies")?.as_table(),
            None => None,
        }
    }
}

/// Returns the optional packages of the selected extras, by `[extras]` of the lock.
fn chosen_members(root: &TomlReader<'_>, selection: &Selection) -> Result<Vec<PackageName>> {
    let Some(extras) = root.entry("extras")? else {
        return Ok(Vec::new());
    };
    let mut members = Vec::new();
    for name in extras.keys() {
        let is_chosen = selection
            .extras
            .iter()
            .any(|extra| name.parse().as_ref() == Ok(extra));
        if is_chosen {
            let names = extras.strings(name)?.into_iter();
            members.extend(names.filter_map(|name| name.parse().ok()));
        }
    }
    Ok(members)
}

/// Returns the groups of a project.
pub(super) fn group_names(document: &Table) -> Vec<GroupName> {
    let poetry = document.get("tool").and_then(|tool| tool.get("poetry"));
    let of_poetry = poetry
        .and_then(|poetry| poetry.get("group"))
        .and_then(Value::as_table);
    let of_project = document.get("dependency-groups").and_then(Value::as_table);
    let names = of_poetry
        .into_iter()
        .chain(of_project)
        .flat_map(Table::keys);
    let legacy = poetry
        .and_then(|poetry| poetry.get("dev-dependencies"))
        .map(|_| "dev");
    let names = names.map(String::as_str).chain(legacy);
    names.filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_platforms_to_markers() {
        let marker = |text: &str| platform_marker(text).unwrap().try_to_string();
        assert_eq!(marker("*"), None);
        assert_eq!(marker("win32").unwrap(), "sys_platform == 'win32'");
        assert_eq!(marker("==win32").unwrap(), "sys_platform == 'win32'");
        assert_eq!(marker("!=win32").unwrap(), "sys_platform != 'win32'");
        let both = "sys_platform == 'darwin' or sys_platform == 'linux'";
        assert_eq!(marker("linux || darwin").unwrap(), both);
        let neither = "sys_platform != 'darwin' and sys_platform != 'linux'";
        assert_eq!(marker("!=linux,!=darwin").unwrap(), neither);
        assert!(platform_marker("!=").is_err());
    }
}
