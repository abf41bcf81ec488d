//! The packages of all wheelhouses, merged: files by release, what each requires, and what requires it.

mod file_origin;
mod package;
mod wheelhouse;

use std::collections::{BTreeMap, HashMap};

use wheelhouse_types::{PackageName, ProjectStatus, Version};

use crate::facts::WheelhouseFacts;
pub(crate) use file_origin::FileOriginKind;
use file_origin::Origins;
use package::Draft;
pub(crate) use package::{File, ListedPackage};
pub(crate) use wheelhouse::Wheelhouse;

/// The maximum length of a version, a file name and a place, in characters.
const VERSION: usize = 60;
const PLACE: usize = 200;

/// The pages of one or several wheelhouses.
#[derive(Debug)]
pub struct Site {
    pub(crate) wheelhouses: Vec<Wheelhouse>,
    /// Sorted by name.
    pub(crate) packages: Vec<ListedPackage>,
    pub(crate) by_name: HashMap<PackageName, usize>,
    pub(crate) size: u64,
    pub(crate) files: usize,
}

impl Site {
    /// Merges `wheelhouses`. If two have different files of the same name, the first one is shown, as the merged index does.
    #[must_use]
    pub fn new(wheelhouses: Vec<WheelhouseFacts>) -> Self {
        let mut drafts: HashMap<String, Draft> = HashMap::new();
        let mut newest: HashMap<PackageName, Version> = HashMap::new();
        let mut statuses: HashMap<PackageName, ProjectStatus> = HashMap::new();
        for (index, facts) in wheelhouses.iter().enumerate() {
            let origins = facts.manifest.as_ref().map(Origins::of);
            for file in &facts.files {
                let draft = drafts
                    .entry(file.indexed.filename.clone())
                    .or_insert_with(|| Draft::new(file, origins.as_ref()));
                if draft.file.wheelhouses.last() != Some(&index) {
                    draft.file.wheelhouses.push(index);
                }
            }
            let status = facts.manifest.iter().flat_map(|each| &each.project_status);
            for (name, status) in status.filter(|(_, status)| !status.is_default()) {
                statuses
                    .entry(name.clone())
                    .or_insert_with(|| status.clone());
            }
            for (name, version) in &facts.newest {
                let known = newest
                    .entry(name.clone())
                    .or_insert_with(|| version.clone());
                if version > known {
                    known.clone_from(version);
                }
            }
        }
        let mut by_package: BTreeMap<PackageName, BTreeMap<Version, Vec<Draft>>> = BTreeMap::new();
        for draft in drafts.into_values() {
            let releases = by_package.entry(draft.name.clone()).or_default();
            releases
                .entry(draft.version.clone())
                .or_default()
                .push(draft);
        }
        let mut packages: Vec<ListedPackage> = by_package
            .into_iter()
            .map(|(name, releases)| {
                let (newest, status) = (newest.get(&name), statuses.get(&name));
                ListedPackage::new(name, releases, newest, status)
            })
            .collect();
        let by_name: HashMap<PackageName, usize> = packages
            .iter()
            .enumerate()
            .map(|(index, package)| (package.name.clone(), index))
            .collect();
        link(&mut packages, &by_name);
        let wheelhouses = wheelhouses
            .into_iter()
            .enumerate()
            .map(|(index, facts)| Wheelhouse::new(index, facts, &packages))
            .collect();
        Self {
            size: packages.iter().map(|package| package.size).sum(),
            files: packages.iter().map(|package| package.files).sum(),
            wheelhouses,
            packages,
            by_name,
        }
    }

    /// Returns the number of packages that installing the package `index` brings along, and their bytes, as far as they are
    /// here. Extras are not followed.
    pub(crate) fn closure(&self, index: usize) -> (usize, u64) {
        let mut is_found = vec![false; self.packages.len()];
        is_found[index] = true;
        let mut found = vec![index];
        let mut next = 0;
        while next < found.len() {
            for &target in &self.packages[found[next]].installs {
                if !is_found[target] {
                    is_found[target] = true;
                    found.push(target);
                }
            }
            next += 1;
        }
        let size = found.iter().map(|found| self.packages[*found].size).sum();
        (found.len() - 1, size)
    }
}

/// Connects the requirements of `packages` with the packages.
fn link(packages: &mut [ListedPackage], by_name: &HashMap<PackageName, usize>) {
    for index in 0..packages.len() {
        let requirements = packages[index].metadata.requirements.iter();
        let edges: Vec<(Option<usize>, bool)> = requirements
            .map(|requirement| {
                let target = by_name.get(&requirement.name).copied();
                (target, requirement.is_extra)
            })
            .collect();
        for (target, is_extra) in &edges {
            if let Some(target) = target {
                packages[*target].required_by.push((index, *is_extra));
            }
        }
        let always = edges.iter().filter(|(_, is_extra)| !is_extra);
        packages[index].installs = always.filter_map(|(target, _)| *target).collect();
        packages[index].requires = edges.into_iter().map(|(target, _)| target).collect();
    }
}
