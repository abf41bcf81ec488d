//! An index of distribution files: its pages, rendered when they are first requested, and its files by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use wheelhouse_publish::IndexedWheel;
use wheelhouse_publish::simple_index::{self, IndexedProject};
use wheelhouse_types::{PackageName, ProjectStatus};

use crate::page::Page;
use crate::served_file::ServedFile;

/// A distribution with its file.
#[derive(Clone, Debug)]
pub(crate) struct ServedDistribution {
    pub(crate) indexed: Arc<IndexedWheel>,
    pub(crate) file: Arc<ServedFile>,
}

/// An immutable index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    projects: BTreeMap<PackageName, Project>,
    /// Distributions, their metadata files, and further files.
    files: HashMap<String, Arc<ServedFile>>,
    statuses: BTreeMap<PackageName, ProjectStatus>,
    modified: Option<SystemTime>,
    root: OnceLock<Arc<Page>>,
    links: OnceLock<Arc<Page>>,
}

#[derive(Debug, Default)]
struct Project {
    distributions: Vec<ServedDistribution>,
    page: OnceLock<Arc<Page>>,
}

impl Index {
    /// Builds the index of `distributions`. Of distributions with the same file name, the first one counts.
    /// `others` are the further files; `modified` is the time of the newest change.
    pub(crate) fn new(
        distributions: impl IntoIterator<Item = ServedDistribution>,
        others: impl IntoIterator<Item = Arc<ServedFile>>,
        statuses: BTreeMap<PackageName, ProjectStatus>,
        modified: Option<SystemTime>,
    ) -> Self {
        let mut index = Self {
            statuses,
            modified,
            ..Self::default()
        };
        for distribution in distributions {
            let name = distribution.file.name();
            if index.files.contains_key(name) {
                continue;
            }
            index
                .files
                .insert(name.to_owned(), Arc::clone(&distribution.file));
            let project = distribution.indexed.name.clone();
            index
                .projects
                .entry(project)
                .or_default()
                .distributions
                .push(distribution);
        }
        for file in others {
            index
                .files
                .entry(file.name().to_owned())
                .or_insert_with(|| file);
        }
        index
    }

    /// Returns the page with all projects.
    pub(crate) fn root_page(&self) -> Arc<Page> {
        let page = self.root.get_or_init(|| {
            let names: Vec<&PackageName> = self.projects.keys().collect();
            Arc::new(Page::of_index(
                simple_index::index_page(&names),
                self.modified,
            ))
        });
        Arc::clone(page)
    }

    /// Returns the page of the project `name`.
    pub(crate) fn project_page(&self, name: &PackageName) -> Option<Arc<Page>> {
        let project = self.projects.get(name)?;
        let page = project.page.get_or_init(|| {
            let files: Vec<&IndexedWheel> = project
                .distributions
                .iter()
                .map(|distribution| &*distribution.indexed)
                .collect();
            let status = self.statuses.get(name);
            let project = IndexedProject { name, status };
            let rendered = simple_index::project_page(&project, &files);
            Arc::new(Page::of_index(rendered, self.modified))
        });
        Some(Arc::clone(page))
    }

    /// Returns the page with a link to each distribution, for `--find-links`.
    pub(crate) fn links_page(&self) -> Arc<Page> {
        let page = self.links.get_or_init(|| {
            let mut names: Vec<&str> = self
                .distributions()
                .map(|distribution| distribution.file.name())
                .collect();
            names.sort_unstable();
            Arc::new(Page::of_html(links(&names).into_bytes(), self.modified))
        });
        Arc::clone(page)
    }

    pub(crate) fn file(&self, name: &str) -> Option<&Arc<ServedFile>> {
        self.files.get(name)
    }

    /// Returns the distributions of the project `name`.
    pub(crate) fn project(&self, name: &PackageName) -> &[ServedDistribution] {
        let project = self.projects.get(name);
        project.map_or(&[], |project| &project.distributions)
    }

    pub(crate) fn distributions(&self) -> impl Iterator<Item = &ServedDistribution> {
        self.projects
            .values()
            .flat_map(|project| &project.distributions)
    }

    pub(crate) fn statuses(&self) -> &BTreeMap<PackageName, ProjectStatus> {
        &self.statuses
    }

    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    pub(crate) fn projects(&self) -> impl ExactSizeIterator<Item = &PackageName> {
        self.projects.keys()
    }
}

/// Renders the page with a link to each of `names`.
fn links(names: &[&str]) -> String {
    use std::fmt::Write as _;

    let mut page =
        "<!DOCTYPE html>\n<title>Wheelhouse</title>\n<p><a href=\"simple/\">Simple index</a></p>\n"
            .to_owned();
    for name in names {
        let url = simple_index::encode_segment(name);
        let _ = writeln!(page, "<a href=\"{url}\">{url}</a><br>");
    }
    page
}
