//! Packages and their files as pages show them, with the neighbors in the graph.

use wheelhouse_types::display;

use super::Links;
use crate::commands::InstallCommand;
use crate::metadata::DeclaredRequirement;
use crate::model::{File, FileOriginKind, ListedPackage, Site, Wheelhouse};
use crate::text;

/// The number of packages that a list of the graph shows before it is opened.
const GRAPH_NODES: usize = 10;

/// The largest number of packages in a list of the graph.
const MOST_GRAPH_NODES: usize = 2_000;

/// A package with its neighbors in the graph.
pub(super) struct PackageView<'a> {
    pub(super) package: &'a ListedPackage,
    pub(super) site: &'a Site,
    pub(super) links: Links,
    /// The level of the heading with the name.
    pub(super) level: u8,
    /// The commands that install it, unless the page has them elsewhere.
    pub(super) commands: Vec<InstallCommand>,
    pub(super) requires: Neighbors<'a>,
    pub(super) required_by: Neighbors<'a>,
    /// `12 packages, 30.1 MB`: the package with all that it requires here.
    pub(super) closure: Option<String>,
}

/// One side of the graph.
pub(super) struct Neighbors<'a> {
    pub(super) shown: Vec<Neighbor<'a>>,
    pub(super) more: Vec<Neighbor<'a>>,
    /// The number of packages that are left out.
    pub(super) omitted: usize,
    pub(super) total: usize,
    /// The number of these that only extras connect.
    pub(super) extras: usize,
}

/// A package in the graph.
pub(super) struct Neighbor<'a> {
    pub(super) name: &'a str,
    /// `None` if it is not here.
    pub(super) href: Option<String>,
    pub(super) is_extra: bool,
    pub(super) conditions: &'a [String],
}

impl<'a> Neighbors<'a> {
    pub(super) fn new(mut all: Vec<Neighbor<'a>>) -> Self {
        let total = all.len();
        let extras = all.iter().filter(|neighbor| neighbor.is_extra).count();
        let omitted = total.saturating_sub(MOST_GRAPH_NODES);
        // What is always installed, and what is here, comes first.
        all.sort_by_key(|neighbor| (neighbor.is_extra, neighbor.href.is_none()));
        all.truncate(MOST_GRAPH_NODES);
        // A list that hides one entry saves no space.
        let shown = if total <= GRAPH_NODES + 1 {
            total
        } else {
            GRAPH_NODES
        };
        let more = all.split_off(shown.min(all.len()));
        Self {
            shown: all,
            more,
            omitted,
            total,
            extras,
        }
    }
}

impl<'a> PackageView<'a> {
    pub(super) fn new(
        site: &'a Site,
        index: usize,
        links: Links,
        level: u8,
        commands: Vec<InstallCommand>,
    ) -> Self {
        let package = &site.packages[index];
        let edges = package.metadata.requirements.iter().zip(&package.requires);
        let requires = edges.map(
            |(requirement, target): (&DeclaredRequirement, _)| Neighbor {
                name: requirement.name.as_ref(),
                href: target.map(|_| links.package(requirement.name.as_ref())),
                is_extra: requirement.is_extra,
                conditions: &requirement.conditions,
            },
        );
        let dependents = package.required_by.iter().map(|(dependent, is_extra)| {
            let name = site.packages[*dependent].name.as_ref();
            Neighbor {
                name,
                href: Some(links.package(name)),
                is_extra: *is_extra,
                conditions: &[],
            }
        });
        let (count, size) = site.closure(index);
        Self {
            package,
            site,
            links,
            level,
            commands,
            requires: Neighbors::new(requires.collect()),
            required_by: Neighbors::new(dependents.collect()),
            closure: (count > 0).then(|| {
                format!(
                    "{}, {}",
                    text::count(count + 1, "package"),
                    display::bytes(size)
                )
            }),
        }
    }

    /// Returns the prefix of the ids in the section of the package.
    pub(super) fn id(&self) -> String {
        if self.links.is_report {
            format!("p-{}-", self.package.name)
        } else {
            String::new()
        }
    }

    pub(super) fn wheelhouses(&self) -> impl Iterator<Item = &'a Wheelhouse> {
        let site = self.site;
        self.package
            .wheelhouses
            .iter()
            .map(|index| &site.wheelhouses[*index])
    }

    /// Returns the wheelhouses that have `file`, if it is not in all that have the package.
    pub(super) fn holders(&self, file: &File) -> Option<String> {
        (file.wheelhouses.len() < self.package.wheelhouses.len())
            .then(|| self.site.wheelhouse_names(&file.wheelhouses))
    }

    pub(super) fn facts(&self) -> bool {
        let metadata = &self.package.metadata;
        !metadata.license.is_empty()
            || !metadata.author.is_empty()
            || metadata.requires_python.is_some()
            || !metadata.links.is_empty()
            || !metadata.keywords.is_empty()
            || !metadata.extras.is_empty()
    }
}

impl File {
    pub(super) fn shown_size(&self) -> String {
        display::bytes(self.size)
    }

    /// Returns what the file can be installed on: `CPython 3.12 · Linux x86_64, glibc 2.17+`.
    pub(super) fn fits(&self) -> String {
        match &self.tags {
            None => "Source distribution".to_owned(),
            Some(tags) => tags.words(),
        }
    }

    pub(super) fn is_built(&self) -> bool {
        self.origin.kind == FileOriginKind::Built
    }

    pub(super) fn is_fetched(&self) -> bool {
        self.origin.kind == FileOriginKind::Fetched
    }
}

impl ListedPackage {
    pub(super) fn shown_size(&self) -> String {
        display::bytes(self.size)
    }
}
