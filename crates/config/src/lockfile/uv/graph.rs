//! The dependency graph of a `uv.lock`, with extras and markers.
//!
//! A node is a package, or an extra of a package. For conflicting extras or groups of the project, uv adds extras with
//! generated names to markers, which are evaluated here.

use std::collections::{BTreeSet, HashMap};

use toml::Value;
use wheelhouse_types::marker::{self, Edge};
use wheelhouse_types::toml_reader::TomlReader;
use wheelhouse_types::{ExtraName, GroupName, MarkerTree, PackageName, Result, Version};

use super::super::Selection;
use super::package::UvPackage;

type Node = (usize, Option<ExtraName>);

pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Vec<Edge>>,
    roots: Vec<Edge>,
    /// The generated extras that are active.
    active: BTreeSet<String>,
}

/// Builds a graph.
struct GraphBuilder<'a> {
    packages: &'a [UvPackage<'a>],
    by_name: HashMap<&'a PackageName, Vec<usize>>,
    indexes: HashMap<Node, usize>,
    graph: Graph,
}

impl Graph {
    pub(super) fn build(
        root: &TomlReader<'_>,
        packages: &[UvPackage<'_>],
        roots: &[usize],
        selection: &Selection,
    ) -> Result<Self> {
        let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, package) in packages.iter().enumerate() {
            by_name.entry(&package.name).or_default().push(index);
        }
        let mut builder = GraphBuilder {
            packages,
            by_name,
            indexes: HashMap::new(),
            graph: Self {
                nodes: vec![],
                edges: vec![],
                roots: vec![],
                active: BTreeSet::new(),
            },
        };
        builder.add_roots(root, roots, selection)?;
        let mut next = 0;
        while next < builder.graph.nodes.len() {
            builder.follow(next)?;
            next += 1;
        }
        Ok(builder.graph)
    }

    /// Returns the marker that selects each of `count` packages.
    pub(super) fn markers(&self, count: usize) -> Vec<MarkerTree> {
        let is_active = |name: &ExtraName| self.active.contains(name.as_ref());
        let decide =
            |(node, marker): &Edge| (*node, marker::decide(*marker, &is_active, &|_| false));
        let roots: Vec<Edge> = self.roots.iter().map(decide).collect();
        let edges: Vec<Vec<Edge>> = self
            .edges
            .iter()
            .map(|edges| edges.iter().map(decide).collect())
            .collect();
        let mut markers = vec![MarkerTree::FALSE; count];
        for ((package, _), marker) in self.nodes.iter().zip(marker::reach(&roots, &edges)) {
            markers[*package] = markers[*package].or(marker);
        }
        markers
    }
}

impl<'a> GraphBuilder<'a> {
    fn add_roots(
        &mut self,
        root: &TomlReader<'_>,
        roots: &[usize],
        selection: &Selection,
    ) -> Result<()> {
        let packages = self.packages;
        for index in roots {
            let package = &packages[*index];
            self.activate("project", &package.name, None);
            let node = self.node(*index, None);
            self.graph.roots.push((node, MarkerTree::TRUE));
            let extras = package.extras()?;
            for extra in selection.extras.iter().filter(|name| extras.contains(name)) {
                let node = self.node(*index, Some(extra.clone()));
                self.graph.roots.push((node, MarkerTree::TRUE));
            }
            let groups = package.entry.entry("dev-dependencies")?;
            for group in &selection.groups {
                self.activate("group", &package.name, Some(group.as_ref()));
                if let Some(groups) = &groups {
                    let edges = self.edges(groups, group.as_ref())?;
                    self.graph.roots.extend(edges);
                }
            }
        }
        self.add_manifest(root, selection)
    }

    /// Adds the requirements of a script, and the groups of a workspace whose root is not a project.
    fn add_manifest(&mut self, root: &TomlReader<'_>, selection: &Selection) -> Result<()> {
        let Some(manifest) = root.entry("manifest")? else {
            return Ok(());
        };
        let mut required = manifest.entries("requirements")?;
        if let Some(groups) = manifest.entry("dependency-groups")? {
            for group in &selection.groups {
                required.extend(groups.entries(group.as_ref())?);
            }
        }
        for requirement in required {
            let name: PackageName = requirement.required("name", requirement.parsed("name")?)?;
            let marker = requirement
                .parsed::<MarkerTree>("marker")?
                .unwrap_or_default();
            let extras = names(&requirement, "extras")?;
            for package in self.by_name.get(&name).cloned().unwrap_or_default() {
                let fork = self.fork(package)?;
                let edges = self.edges_to(package, extras.clone(), marker.and(fork));
                self.graph.roots.extend(edges);
            }
        }
        Ok(())
    }

    /// Returns the forks of the resolution that have a package.
    fn fork(&self, package: usize) -> Result<MarkerTree> {
        let entry = &self.packages[package].entry;
        let forks = entry.strings("resolution-markers")?;
        if forks.is_empty() {
            return Ok(MarkerTree::TRUE);
        }
        let forks = forks.into_iter().map(|fork| {
            marker::parse(fork).map_err(|error| {
                entry
                    .error("resolution-markers", "is invalid")
                    .caused_by(error)
            })
        });
        forks
            .into_iter()
            .try_fold(MarkerTree::FALSE, |all, fork| Ok(all.or(fork?)))
    }

    fn node(&mut self, package: usize, extra: Option<ExtraName>) -> usize {
        if let Some(extra) = &extra {
            let packages = self.packages;
            let name = &packages[package].name;
            self.activate("extra", name, Some(extra.as_ref()));
        }
        let graph = &mut self.graph;
        *self
            .indexes
            .entry((package, extra))
            .or_insert_with_key(|node| {
                graph.nodes.push(node.clone());
                graph.edges.push(Vec::new());
                graph.nodes.len() - 1
            })
    }

    /// Activates a generated extra: `extra-4-acme-cpu`, where 4 is the length
    /// of `acme`.
    fn activate(&mut self, kind: &str, package: &PackageName, name: Option<&str>) {
        let name = name.map(|name| format!("-{name}")).unwrap_or_default();
        let length = package.as_ref().len();
        self.graph
            .active
            .insert(format!("{kind}-{length}-{package}{name}"));
    }

    fn follow(&mut self, node: usize) -> Result<()> {
        let (package, extra) = self.graph.nodes[node].clone();
        let packages = self.packages;
        let package = &packages[package];
        let edges = match extra {
            None => self.edges(&package.entry, "dependencies")?,
            Some(extra) => match package.entry.entry("optional-dependencies")? {
                Some(table) => self.edges(&table, extra.as_ref())?,
                None => Vec::new(),
            },
        };
        self.graph.edges[node] = edges;
        Ok(())
    }

    fn edges(&mut self, table: &TomlReader<'a>, key: &str) -> Result<Vec<Edge>> {
        let mut edges = Vec::new();
        for dependency in table.entries(key)? {
            let package = self.find(&dependency)?;
            let marker = dependency
                .parsed::<MarkerTree>("marker")?
                .unwrap_or_default();
            edges.extend(self.edges_to(package, names(&dependency, "extra")?, marker));
        }
        Ok(edges)
    }

    fn edges_to(
        &mut self,
        package: usize,
        extras: Vec<ExtraName>,
        marker: MarkerTree,
    ) -> Vec<Edge> {
        let extras = extras.into_iter().map(Some);
        let nodes = std::iter::once(None).chain(extras);
        nodes
            .map(|extra| (self.node(package, extra), marker))
            .collect()
    }

    /// Finds the entry of a dependency. Its version and source are only given if the name is
    /// ambiguous.
    fn find(&self, dependency: &TomlReader<'_>) -> Result<usize> {
        let name: PackageName = dependency.required("name", dependency.parsed("name")?)?;
        let version: Option<Version> = dependency.parsed("version")?;
        let source: Option<&Value> = dependency.value("source");
        let known = self
            .by_name
            .get(&name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fitting: Vec<usize> = known
            .iter()
            .copied()
            .filter(|index| {
                let package = &self.packages[*index];
                (version.is_none() || package.version == version)
                    && (source.is_none() || package.entry.value("source") == source)
            })
            .collect();
        match fitting.as_slice() {
            [only] => Ok(*only),
            [] => {
                Err(dependency.error("name", &format!("is `{name}`, which has no package entry")))
            }
            _ => Err(dependency.error(
                "name",
                &format!("is `{name}`, which several package entries have"),
            )),
        }
    }
}

fn names(entry: &TomlReader<'_>, key: &str) -> Result<Vec<ExtraName>> {
    let names = entry.strings(key)?.into_iter().map(str::parse);
    names.collect::<Result<_, _>>().map_err(|error| {
        entry
            .error(key, "is not a valid extra name")
            .caused_by(error)
    })
}

/// Returns the groups of a workspace whose root is not a project.
pub(super) fn manifest_groups(root: &TomlReader<'_>) -> Result<Vec<GroupName>> {
    let Some(manifest) = root.entry("manifest")? else {
        return Ok(Vec::new());
    };
    let groups = manifest.entry("dependency-groups")?;
    let names = groups.map(|groups| groups.keys()).unwrap_or_default();
    let names = names.into_iter().map(str::parse);
    names.collect::<Result<_, _>>().map_err(|error| {
        manifest
            .error("dependency-groups", "has an invalid name")
            .caused_by(error)
    })
}
