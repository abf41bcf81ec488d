//! The static index and the metadata files of a wheelhouse: whether they say what the wheels are.
//!
//! Never compares bytes of pages: another version of the program may word them otherwise.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_model::{Manifest, Sha256};

use super::examine::Examined;
use super::page::{self, Listed};
use super::report::{Check, Examination, Finding, Name};
use super::survey::Survey;

/// Compares pages and metadata files with the manifest and the wheels.
pub(super) fn check(survey: &Survey, wheels: &BTreeMap<String, Examined>) -> Option<Check> {
    let manifest = survey.manifest.as_ref()?;
    let mut check = Examination::of(Name::Index);
    let metadata = metadata_files(survey, manifest, wheels, &mut check);
    let pages: Vec<&String> = manifest
        .files
        .iter()
        .filter(|file| file.starts_with("simple/"))
        .collect();
    check.count(pages.len(), "page");
    check.count(metadata.len(), "metadata file");
    let expected = expected(manifest, &metadata);
    for page in pages {
        // One that is missing is told with the other files.
        if let Some(bytes) = survey.read_file(page) {
            for message in differences(page, &bytes, &expected) {
                check.fail(Finding::new(page, message).hint(super::AGAIN));
            }
        }
    }
    Some(check.finish())
}

/// The digests of the metadata files, by the names of their wheels.
fn metadata_files<'a>(
    survey: &Survey,
    manifest: &'a Manifest,
    wheels: &BTreeMap<String, Examined>,
    check: &mut Examination,
) -> BTreeMap<&'a str, Sha256> {
    let mut digests = BTreeMap::new();
    for file in &manifest.files {
        let Some(wheel) = file.strip_suffix(".metadata") else {
            continue;
        };
        let Some(bytes) = survey.read_file(file) else {
            continue;
        };
        let inside = wheels.get(wheel).and_then(|wheel| wheel.metadata.as_ref());
        if inside.is_some_and(|inside| *inside != bytes) {
            let message = format!("is not the METADATA that {wheel} has");
            check.fail(Finding::new(file, message).hint(super::AGAIN));
        }
        digests.insert(wheel, Sha256::of(&bytes));
    }
    digests
}

type Projects<'a> = BTreeMap<&'a str, BTreeMap<String, Listed>>;

/// What the pages should list.
fn expected<'a>(manifest: &'a Manifest, metadata: &BTreeMap<&str, Sha256>) -> Projects<'a> {
    let mut projects: Projects<'a> = BTreeMap::new();
    for wheel in &manifest.wheels {
        let listed = Listed {
            sha256: wheel.sha256.to_string(),
            requires_python: wheel.requires_python.clone(),
            metadata: metadata.get(wheel.filename.as_str()).map(Sha256::to_string),
        };
        let project = projects.entry(&wheel.name).or_default();
        project.insert(wheel.filename.clone(), listed);
    }
    for sdist in &manifest.sdists {
        let listed = Listed {
            sha256: sdist.sha256.to_string(),
            requires_python: None,
            metadata: None,
        };
        let project = projects.entry(&sdist.name).or_default();
        project.insert(sdist.filename.clone(), listed);
    }
    projects
}

/// What the page `name` says otherwise.
fn differences(name: &str, bytes: &[u8], projects: &Projects<'_>) -> Vec<String> {
    let parts: Vec<&str> = name.split('/').collect();
    let text = String::from_utf8_lossy(bytes);
    match parts.as_slice() {
        ["simple", "index.html"] => root(&page::links(&text), projects),
        ["simple", "index.json"] => {
            page::json_projects(bytes).map_or_else(unreadable, |names| root(&names, projects))
        }
        ["simple", project, "index.html"] => compare(&page::html(&text), projects.get(project)),
        ["simple", project, "index.json"] => page::json(bytes)
            .map_or_else(unreadable, |listed| compare(&listed, projects.get(project))),
        _ => Vec::new(),
    }
}

fn unreadable() -> Vec<String> {
    vec!["is no page of an index".to_owned()]
}

fn root(names: &BTreeSet<String>, projects: &Projects<'_>) -> Vec<String> {
    let expected: BTreeSet<String> = projects.keys().map(ToString::to_string).collect();
    let absent = expected.difference(names);
    let absent = absent.map(|name| format!("does not list the project {name}"));
    let extra = names.difference(&expected);
    let extra = extra.map(|name| format!("lists the project {name}, of which there is no wheel"));
    absent.chain(extra).collect()
}

fn compare(
    listed: &BTreeMap<String, Listed>,
    expected: Option<&BTreeMap<String, Listed>>,
) -> Vec<String> {
    let nothing = BTreeMap::new();
    let expected = expected.unwrap_or(&nothing);
    let mut differences = Vec::new();
    for (filename, expected) in expected {
        match listed.get(filename) {
            None => differences.push(format!("does not list {filename}")),
            Some(listed) => differences.extend(
                listed
                    .difference(expected)
                    .map(|what| format!("has another {what} for {filename}")),
            ),
        }
    }
    let extra = listed.keys().filter(|name| !expected.contains_key(*name));
    let extra = extra.map(|name| format!("lists {name}, which is not in the manifest"));
    differences.extend(extra);
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{IndexedWheel, simple};

    fn indexed(name: &str) -> IndexedWheel {
        IndexedWheel {
            filename: format!("{name}-1.0+local-py3-none-any.whl"),
            name: name.parse().unwrap(),
            version: "1.0+local".parse().unwrap(),
            sha256: Sha256::of(name.as_bytes()),
            size: 7,
            requires_python: Some(">=3.8,<4 & \"more\"".to_owned()),
            metadata: Some(Sha256::of(b"metadata")),
            yanked: None,
            uploaded: None,
        }
    }

    fn projects(wheels: &[IndexedWheel]) -> BTreeMap<String, BTreeMap<String, Listed>> {
        let listed = |wheel: &IndexedWheel| Listed {
            sha256: wheel.sha256.to_string(),
            requires_python: wheel.requires_python.clone(),
            metadata: wheel.metadata.map(|digest| digest.to_string()),
        };
        let project = |wheel: &IndexedWheel| {
            let files = BTreeMap::from([(wheel.filename.clone(), listed(wheel))]);
            (wheel.name.to_string(), files)
        };
        wheels.iter().map(project).collect()
    }

    fn all_differences(pages: &[IndexedWheel], truth: &[IndexedWheel]) -> Vec<String> {
        let projects = projects(truth);
        let projects: Projects<'_> = projects
            .iter()
            .map(|(name, files)| (name.as_str(), files.clone()))
            .collect();
        let pages = simple::pages(pages);
        let found = pages.iter().flat_map(|(name, bytes)| {
            let differences = differences(name, bytes, &projects);
            differences
                .into_iter()
                .map(move |what| format!("{name} {what}"))
        });
        found.collect()
    }

    #[test]
    fn our_own_pages_agree() {
        let wheels = [indexed("alpha"), indexed("beta")];
        assert_eq!(all_differences(&wheels, &wheels), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_found_in_both_forms() {
        let mut changed = indexed("alpha");
        changed.sha256 = Sha256::of(b"other");
        changed.requires_python = None;
        changed.metadata = None;
        let found = all_differences(&[changed, indexed("extra")], &[indexed("alpha")]);
        for what in ["SHA-256", "Requires-Python", "digest of its metadata"] {
            for form in ["html", "json"] {
                let start = format!("simple/alpha/index.{form} has another {what}");
                assert!(found.iter().any(|one| one.starts_with(&start)), "{found:?}");
            }
        }
        for form in ["html", "json"] {
            let root = format!("simple/index.{form} lists the project extra");
            assert!(found.iter().any(|one| one.starts_with(&root)), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_page_is_said() {
        let projects = Projects::new();
        for name in ["simple/index.json", "simple/alpha/index.json"] {
            assert_eq!(differences(name, b"{", &projects).len(), 1, "{name}");
        }
    }
}
