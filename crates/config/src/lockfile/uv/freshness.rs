//! Checks whether a `uv.lock` matches the `pyproject.toml` next to it.
//!
//! uv records the requirements of the project in the lock; these are compared with the current ones. Versions of packages in
//! `[tool.uv.sources]`, and requirements that only a build backend knows, are not compared.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use toml::{Table, Value};
use wheelhouse_types::requirement::{self, RequirementParts};
use wheelhouse_types::toml_reader::{self, TomlReader};
use wheelhouse_types::{
    Error, ExtraName, Kind, MarkerTree, PackageName, Result, VersionSpecifiers, marker,
};

use super::super::outdated;
use super::super::supported_targets::python_marker;
use super::package::UvPackage;
use crate::pyproject::{Dependencies, PyProject};

const COMMAND: &str = "uv lock";

/// The relevant parts of a requirement.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ComparedRequirement {
    name: PackageName,
    extras: BTreeSet<ExtraName>,
    /// `None` if the source determines the version.
    specifiers: Option<BTreeSet<String>>,
    marker: MarkerTree,
}

impl fmt::Display for ComparedRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if !self.extras.is_empty() {
            let extras: Vec<_> = self.extras.iter().map(ExtraName::as_ref).collect();
            write!(formatter, "[{}]", extras.join(","))?;
        }
        let specifiers: Vec<_> = self
            .specifiers
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        write!(formatter, "{}", specifiers.join(","))?;
        match self.marker.try_to_string() {
            Some(marker) => write!(formatter, " ; {marker}"),
            None => Ok(()),
        }
    }
}

/// The context of a comparison.
struct RequirementComparison {
    /// The packages with another source.
    sourced: HashSet<PackageName>,
    /// The Pythons of the lock: uv omits conditions on Python that they imply from markers.
    pythons: MarkerTree,
    project: PackageName,
}

/// Compares the project next to the lock with its entry.
///
/// # Errors
/// They differ; the message names the first requirement.
pub(super) fn check(
    root: &TomlReader<'_>,
    packages: &[UvPackage<'_>],
    roots: &[usize],
    text: &str,
) -> Result<()> {
    let beside = roots
        .iter()
        .map(|index| &packages[*index])
        .find(|package| package.is_at("."));
    let Some(package) = beside else {
        return Ok(());
    };
    let document = toml_reader::parse(text).map_err(|error| unreadable().caused_by(error))?;
    let project = PyProject::parse(Path::new("pyproject.toml"), text);
    let project = project.map_err(|error| unreadable().caused_by(error))?;
    check_python(root, &project)?;
    let comparison = RequirementComparison {
        sourced: sourced(&document),
        pythons: pythons(root)?,
        project: package.name.clone(),
    };
    let metadata = package.entry.entry("metadata")?;
    if let Some(required) = comparison.required(&document, &project)? {
        let locked = match &metadata {
            Some(metadata) => comparison.locked(metadata, "requires-dist", &required)?,
            None => Vec::new(),
        };
        let compare = |required: &[ComparedRequirement]| {
            differ(required, &locked, "requires-dist", &package.name)
        };
        compare(&required).or_else(|error| {
            // Some versions of uv expand requirements of the project on its own extras.
            let expanded = comparison.expanded(&required, &document, &project);
            expanded
                .and_then(|lines| compare(&lines))
                .map_err(|_| error)
        })?;
    }
    let groups = match &metadata {
        Some(metadata) => metadata.entry("requires-dev")?,
        None => None,
    };
    comparison.check_groups(&document, &project, groups.as_ref())
}

fn unreadable() -> Error {
    Error::new(Kind::Input, "the `pyproject.toml` beside it cannot be read")
}

/// Compares `requires-python` if both are a lower bound: uv rewrites others.
fn check_python(root: &TomlReader<'_>, project: &PyProject) -> Result<()> {
    let (Some(locked), Ok(Some(now))) =
        (root.string("requires-python")?, project.requires_python())
    else {
        return Ok(());
    };
    let bound = |text: &str| {
        let specifiers: VersionSpecifiers = text.parse().ok()?;
        let is_bound = specifiers.len() == 1 && text.trim_start().starts_with(">=");
        is_bound.then(|| specifiers.to_string())
    };
    match (bound(locked), bound(now)) {
        (Some(locked), Some(now)) if locked != now => {
            let said = format!("requires-python is `{locked}`, and `{now}` in pyproject.toml");
            Err(outdated(said, COMMAND))
        }
        _ => Ok(()),
    }
}

/// Returns `requires-python` of the lock as a marker.
fn pythons(root: &TomlReader<'_>) -> Result<MarkerTree> {
    match root.string("requires-python")? {
        Some(text) => python_marker(text),
        None => Ok(MarkerTree::TRUE),
    }
}

fn table<'a>(document: &'a Table, keys: &[&str]) -> Option<&'a Table> {
    let (first, rest) = keys.split_first()?;
    let start = document.get(*first)?.as_table()?;
    rest.iter()
        .try_fold(start, |table, key| table.get(*key)?.as_table())
}

fn sourced(document: &Table) -> HashSet<PackageName> {
    let sources = table(document, &["tool", "uv", "sources"]);
    let names = sources.into_iter().flat_map(Table::keys);
    names.filter_map(|name| name.parse().ok()).collect()
}

impl RequirementComparison {
    /// Returns the current requirements of the project and its extras; `None` if only the build backend knows them.
    fn required(
        &self,
        document: &Table,
        project: &PyProject,
    ) -> Result<Option<Vec<ComparedRequirement>>> {
        let Ok(Dependencies::Static(texts)) = project.dependencies() else {
            return Ok(None);
        };
        let mut lines = Vec::new();
        for text in &texts {
            lines.push(self.line(text, MarkerTree::TRUE)?);
        }
        let dynamic =
            table(document, &["project"]).and_then(|project| project.get("dynamic")?.as_array());
        let is_dynamic =
            |key: &str| dynamic.is_some_and(|keys| keys.iter().any(|it| it.as_str() == Some(key)));
        if is_dynamic("optional-dependencies") {
            return Ok(None);
        }
        let extras = table(document, &["project", "optional-dependencies"]);
        for (extra, texts) in extras.into_iter().flatten() {
            let marker = marker::parse(&format!("extra == '{extra}'"))?;
            for text in texts
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                lines.push(self.line(text, marker)?);
            }
        }
        Ok(Some(lines))
    }

    /// Expands the project's requirements on its own extras.
    fn expanded(
        &self,
        required: &[ComparedRequirement],
        document: &Table,
        project: &PyProject,
    ) -> Result<Vec<ComparedRequirement>> {
        let is_of_extra = |line: &&ComparedRequirement| !line.marker.only_extras().is_true();
        let plain = required.iter().filter(|line| !is_of_extra(line)).cloned();
        let mut lines: Vec<ComparedRequirement> = plain.collect();
        let extras = table(document, &["project", "optional-dependencies"]);
        for extra in extras.into_iter().flat_map(Table::keys) {
            let marker = marker::parse(&format!("extra == '{extra}'"))?;
            if let Ok(Dependencies::Static(texts)) = project.extra(extra) {
                for text in &texts {
                    lines.push(self.line(text, marker)?);
                }
            }
        }
        lines.retain(|line| line.name != self.project);
        Ok(lines)
    }

    fn line(&self, text: &str, marker: MarkerTree) -> Result<ComparedRequirement> {
        let parts = requirement::parse(text).map_err(|error| unreadable().caused_by(error))?;
        let is_free = parts.is_direct || self.is_sourced(&parts.name);
        Ok(self.make(&parts, is_free, marker))
    }

    fn is_sourced(&self, name: &PackageName) -> bool {
        self.sourced.contains(name) || *name == self.project
    }

    fn make(
        &self,
        parts: &RequirementParts,
        is_free: bool,
        marker: MarkerTree,
    ) -> ComparedRequirement {
        ComparedRequirement {
            name: parts.name.clone(),
            extras: parts.extras.clone(),
            specifiers: (!is_free).then(|| parts.sorted_specifiers()),
            marker: parts.marker.and(marker).restrict(self.pythons),
        }
    }

    /// Returns the requirements in the lock: `key` of `table`. For a package with a source, the version is only compared
    /// if one of `required` has one.
    fn locked(
        &self,
        table: &TomlReader<'_>,
        key: &str,
        required: &[ComparedRequirement],
    ) -> Result<Vec<ComparedRequirement>> {
        let mut lines = Vec::new();
        for entry in table.entries(key)? {
            let name: PackageName = entry.required("name", entry.parsed("name")?)?;
            let specifiers: VersionSpecifiers = entry
                .parsed("specifier")?
                .unwrap_or_else(VersionSpecifiers::empty);
            let extras = entry.strings("extras")?.into_iter().map(str::parse);
            let extras = extras.collect::<Result<_, _>>();
            let parts = RequirementParts {
                extras: extras
                    .map_err(|error| entry.error("extras", "is invalid").caused_by(error))?,
                marker: entry.parsed("marker")?.unwrap_or_default(),
                is_direct: false,
                specifiers,
                name,
            };
            let is_free = required
                .iter()
                .any(|line| line.name == parts.name && line.specifiers.is_none());
            lines.push(self.make(
                &parts,
                is_free || self.is_sourced(&parts.name),
                MarkerTree::TRUE,
            ));
        }
        Ok(lines)
    }

    fn check_groups(
        &self,
        document: &Table,
        project: &PyProject,
        locked: Option<&TomlReader<'_>>,
    ) -> Result<()> {
        let legacy =
            table(document, &["tool", "uv"]).is_some_and(|uv| uv.contains_key("dev-dependencies"));
        for group in project.group_names().unwrap_or_default() {
            // uv adds `dev-dependencies` to this group.
            if legacy && group == "dev" {
                continue;
            }
            let texts = project
                .group(&group)
                .map_err(|error| unreadable().caused_by(error))?;
            let lines = texts.iter().map(|text| self.line(text, MarkerTree::TRUE));
            let required: Vec<ComparedRequirement> = lines.collect::<Result<_>>()?;
            let locked = match locked {
                Some(table) => self.locked(table, &group, &required)?,
                None => Vec::new(),
            };
            differ(
                &required,
                &locked,
                &format!("requires-dev.{group}"),
                &self.project,
            )?;
        }
        Ok(())
    }
}

/// Returns an error for the first requirement that only one side has.
fn differ(
    required: &[ComparedRequirement],
    locked: &[ComparedRequirement],
    key: &str,
    project: &PackageName,
) -> Result<()> {
    let place = format!("package \"{project}\": metadata.{key}");
    let (required, locked) = (merged(required), merged(locked));
    if let Some(line) = required.iter().find(|line| !locked.contains(line)) {
        let said = format!("{place} lacks `{line}`, which pyproject.toml has");
        return Err(outdated(said, COMMAND));
    }
    if let Some(line) = locked.iter().find(|line| !required.contains(line)) {
        let said = format!("{place} has `{line}`, which pyproject.toml has not");
        return Err(outdated(said, COMMAND));
    }
    Ok(())
}

/// Merges requirements that only differ in their markers, like uv.
fn merged(lines: &[ComparedRequirement]) -> Vec<ComparedRequirement> {
    let mut merged: Vec<ComparedRequirement> = Vec::new();
    for line in lines {
        let same = |known: &&mut ComparedRequirement| {
            known.name == line.name
                && known.extras == line.extras
                && known.specifiers == line.specifiers
        };
        match merged.iter_mut().find(same) {
            Some(known) => known.marker = known.marker.or(line.marker),
            None => merged.push(line.clone()),
        }
    }
    merged
}
