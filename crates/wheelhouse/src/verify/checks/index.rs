//! Checks that the static index and the metadata files agree with the wheels.
//!
//! Pages are parsed, not compared byte by byte, because other versions of the program may write them differently.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Manifest, Sha256};

use super::super::index_page::{self, PageFile, PageLink};
use super::super::inventory::DirectoryInventory;
use super::super::report::{Check, CheckBuilder, CheckName, Finding, RERUN_HINT};
use super::super::wheel_contents::WheelContents;
use wheelhouse_publish::simple_index;

/// Compares pages and metadata files with the manifest and the wheels.
pub(crate) fn check(
    inventory: &DirectoryInventory,
    wheels: &BTreeMap<String, WheelContents>,
) -> Option<Check> {
    let manifest = inventory.manifest.as_ref()?;
    let mut check = CheckBuilder::new(CheckName::Index);
    let metadata = metadata_files(inventory, manifest, wheels, &mut check);
    let pages: Vec<&String> = manifest
        .files
        .iter()
        .filter(|file| simple_index::is_page(file))
        .collect();
    check.count(pages.len(), "page");
    check.count(metadata.len(), "metadata file");
    let expected = expected(manifest, &metadata);
    for page in pages {
        // A missing page fails the check of files.
        if let Some(bytes) = inventory.read_file(page) {
            for message in differences(page, &bytes, &expected) {
                check.fail(Finding::new(page, message).hint(RERUN_HINT));
            }
        }
    }
    Some(check.finish())
}

/// Returns the digests of the metadata files, by the names of their wheels.
fn metadata_files<'a>(
    inventory: &DirectoryInventory,
    manifest: &'a Manifest,
    wheels: &BTreeMap<String, WheelContents>,
    check: &mut CheckBuilder,
) -> BTreeMap<&'a str, Sha256> {
    let mut digests = BTreeMap::new();
    for file in &manifest.files {
        let Some(wheel) = file.strip_suffix(".metadata") else {
            continue;
        };
        let Some(bytes) = inventory.read_file(file) else {
            continue;
        };
        let inside = wheels.get(wheel).and_then(|wheel| wheel.metadata.as_ref());
        if inside.is_some_and(|inside| *inside != bytes) {
            let message = format!("differs from the METADATA in {wheel}");
            check.fail(Finding::new(file, message).hint(RERUN_HINT));
        }
        digests.insert(wheel, Sha256::of(&bytes));
    }
    digests
}

type Projects<'a> = BTreeMap<&'a str, BTreeMap<String, PageFile>>;

/// Returns the files that the pages must list.
fn expected<'a>(manifest: &'a Manifest, metadata: &BTreeMap<&str, Sha256>) -> Projects<'a> {
    let mut projects: Projects<'a> = BTreeMap::new();
    for wheel in &manifest.wheels {
        let listed = PageFile {
            filename: wheel.filename.clone(),
            sha256: Some(wheel.sha256.to_string()),
            requires_python: wheel.requires_python.clone(),
            metadata: metadata.get(wheel.filename.as_str()).map(Sha256::to_string),
        };
        let project = projects.entry(&wheel.name).or_default();
        project.insert(wheel.filename.clone(), listed);
    }
    for sdist in &manifest.sdists {
        let listed = PageFile {
            filename: sdist.filename.clone(),
            sha256: Some(sdist.sha256.to_string()),
            requires_python: sdist.requires_python.clone(),
            ..PageFile::default()
        };
        let project = projects.entry(&sdist.name).or_default();
        project.insert(sdist.filename.clone(), listed);
    }
    projects
}

/// Returns the differences between the page `name` and the expected projects.
fn differences(name: &str, bytes: &[u8], projects: &Projects<'_>) -> Vec<String> {
    let parts: Vec<&str> = name.split('/').collect();
    let text = String::from_utf8_lossy(bytes);
    let root = |names: Option<_>| names.map(|names| root(&names, projects));
    let of_project = |links: Option<Vec<_>>, project: &str| {
        links.map(|links| compare(&links, projects.get(project)))
    };
    let differences = match parts.as_slice() {
        ["simple", "index.html"] => root(index_page::links(&text)),
        ["simple", "index.json"] => root(index_page::json_projects(bytes)),
        ["simple", project, "index.html"] => of_project(index_page::html(&text), project),
        ["simple", project, "index.json"] => of_project(index_page::json(bytes), project),
        [simple_index::LEGACY_PAGE] => index_page::html_beside(&text).map(|links| {
            let files = projects.values().flatten();
            let legacy = files.filter(|(name, _)| simple_index::is_legacy(name));
            let legacy = legacy.map(|(name, listed)| (name.clone(), listed.clone()));
            compare(&links, Some(&legacy.collect()))
        }),
        _ => Some(Vec::new()),
    };
    differences.unwrap_or_else(|| vec!["is not a valid index page".to_owned()])
}

fn root(names: &BTreeSet<String>, projects: &Projects<'_>) -> Vec<String> {
    let expected: BTreeSet<String> = projects.keys().map(ToString::to_string).collect();
    let absent = expected.difference(names);
    let absent = absent.map(|name| format!("does not list the project {name}"));
    let extra = names.difference(&expected);
    let extra = extra.map(|name| format!("lists the project {name}, which has no wheel"));
    absent.chain(extra).collect()
}

fn compare(links: &[PageLink], expected: Option<&BTreeMap<String, PageFile>>) -> Vec<String> {
    let nothing = BTreeMap::new();
    let expected = expected.unwrap_or(&nothing);
    let listed: BTreeSet<&String> = links.iter().filter_map(|link| link.file.as_ref()).collect();
    let absent = expected.keys().filter(|name| !listed.contains(name));
    let absent = absent.map(|name| format!("does not list {name}"));
    let others = links
        .iter()
        .flat_map(|link| link_differences(link, expected));
    absent.chain(others).collect()
}

/// Returns the differences between one link and the expected file.
fn link_differences(link: &PageLink, expected: &BTreeMap<String, PageFile>) -> Vec<String> {
    let known = link.file.as_ref().and_then(|file| expected.get(file));
    let Some(known) = known else {
        let url = redacted(&link.url);
        return vec![format!(
            "links to `{}`, which is not a file of the project in {MANIFEST_NAME}",
            url.escape_debug()
        )];
    };
    let name = &known.filename;
    if link.attributes.sha256.is_none() {
        return vec![format!("has no SHA-256 for {name}")];
    }
    let differences = link.attributes.difference(known);
    differences
        .map(|what| format!("has a different {what} for {name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_publish::IndexedWheel;
    use wheelhouse_types::Listing;

    fn indexed(name: &str) -> IndexedWheel {
        IndexedWheel {
            filename: format!("{name}-1.0+local-py3-none-any.whl"),
            name: name.parse().unwrap(),
            version: "1.0+local".parse().unwrap(),
            sha256: Sha256::of(name.as_bytes()),
            size: 7,
            requires_python: Some(">=3.8,<4 & \"more\"".to_owned()),
            metadata: Some(Sha256::of(b"metadata")),
            listing: Listing::default(),
        }
    }

    fn projects(wheels: &[IndexedWheel]) -> BTreeMap<String, BTreeMap<String, PageFile>> {
        let listed = |wheel: &IndexedWheel| PageFile {
            filename: wheel.filename.clone(),
            sha256: Some(wheel.sha256.to_string()),
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
        let pages = simple_index::pages(pages, &BTreeMap::new());
        let found = pages.iter().flat_map(|(name, bytes)| {
            let differences = differences(name, bytes, &projects);
            differences
                .into_iter()
                .map(move |what| format!("{name} {what}"))
        });
        found.collect()
    }

    #[test]
    fn accepts_pages_of_this_program() {
        let wheels = [indexed("alpha"), indexed("beta")];
        assert_eq!(all_differences(&wheels, &wheels), Vec::<String>::new());
    }

    #[test]
    fn finds_differences_in_both_formats() {
        let mut changed = indexed("alpha");
        changed.sha256 = Sha256::of(b"other");
        changed.requires_python = None;
        changed.metadata = None;
        let found = all_differences(&[changed, indexed("extra")], &[indexed("alpha")]);
        for what in ["SHA-256", "Requires-Python", "digest of its metadata"] {
            for form in ["html", "json"] {
                let start = format!("simple/alpha/index.{form} has a different {what}");
                assert!(found.iter().any(|one| one.starts_with(&start)), "{found:?}");
            }
        }
        for form in ["html", "json"] {
            let root = format!("simple/index.{form} lists the project extra");
            assert!(found.iter().any(|one| one.starts_with(&root)), "{found:?}");
        }
    }

    #[test]
    fn finds_links_to_other_places() {
        let wheels = [indexed("alpha")];
        let projects = projects(&wheels);
        let links = |text: &str| {
            let links = index_page::html(text).unwrap();
            compare(&links, projects.get("alpha"))
        };
        let good = simple_index::pages(&wheels, &BTreeMap::new()).into_iter();
        let mut good = good.filter(|(name, _)| name == "simple/alpha/index.html");
        let good = String::from_utf8(good.next().unwrap().1).unwrap();
        assert_eq!(links(&good), Vec::<String>::new());
        let found = links(&good.replace("../../", "https://me:secret@host/"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("does not list alpha-1.0"));
        assert!(found[1].starts_with("links to `https://"));
        assert!(!found[1].contains("secret"));
        let more = good.replace("</body>", "<a href=\"../../beta.whl\">beta</a></body>");
        assert!(links(&more)[0].starts_with("links to `../../beta.whl`"));
        let bare = good.replace("#sha256=", "#");
        assert!(links(&bare)[0].starts_with("has no SHA-256 for alpha-1.0"));
    }

    #[test]
    fn rejects_invalid_pages() {
        let projects = Projects::new();
        for name in ["simple/index", "simple/alpha/index"] {
            for (form, bytes) in [("json", &b"{"[..]), ("html", b"<a href='x'>")] {
                let found = differences(&format!("{name}.{form}"), bytes, &projects);
                assert_eq!(found, ["is not a valid index page"], "{name}.{form}");
            }
        }
    }
}
