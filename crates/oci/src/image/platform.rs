//! Architectures: splits a wheelhouse for several architectures into one for each.
//!
//! The names of wheels determine their architectures. Compatibility with a Python version is not considered: a part contains
//! all wheels for its architecture.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, SIGNATURES_NAME};
use wheelhouse_types::{Kind, Manifest, Result, Target};

use crate::image::contents::ImageContents;
use crate::image::layer::EntryContent;
use wheelhouse_publish::simple_index;

/// The machines of platform tags, and their names in Go and in images.
const MACHINES: [(&str, &str); 9] = [
    ("x86_64", "amd64"),
    ("amd64", "amd64"),
    ("aarch64", "arm64"),
    ("arm64", "arm64"),
    ("i686", "386"),
    ("ppc64le", "ppc64le"),
    ("s390x", "s390x"),
    ("riscv64", "riscv64"),
    ("armv7l", "arm"),
];

/// Returns the architecture of a platform tag such as `manylinux_2_28_x86_64`, or `None` for `any`.
fn platform_architecture(platform: &str) -> Option<&'static str> {
    let found = MACHINES.iter().find(|(machine, _)| {
        platform
            .strip_suffix(machine)
            .is_some_and(|rest| rest.ends_with('_'))
    });
    found
        .map(|(_, architecture)| *architecture)
        .or(match platform {
            "win32" => Some("386"),
            _ => None,
        })
}

/// Returns the sorted architectures of the targets. The default is that of this machine.
fn target_architectures(targets: &[Target]) -> BTreeSet<&'static str> {
    let found: BTreeSet<_> = targets
        .iter()
        .filter_map(|target| platform_architecture(&target.platform))
        .collect();
    if !found.is_empty() {
        return found;
    }
    BTreeSet::from([native_architecture()])
}

/// Returns the architecture of this machine as Go names it.
#[must_use]
pub fn native_architecture() -> &'static str {
    let native = MACHINES
        .iter()
        .find(|(machine, _)| *machine == std::env::consts::ARCH);
    native.map_or("amd64", |(_, architecture)| architecture)
}

/// Returns whether a wheel is compatible with `architecture` according to its file name.
fn is_compatible(filename: &str, architecture: &str) -> bool {
    let stem = filename.trim_end_matches(".whl");
    let platforms = stem.rsplit('-').next().unwrap_or_default();
    platforms.split('.').any(|platform| {
        // Tags without a machine (`any`, `macosx_11_0_universal2`) fit all architectures.
        platform_architecture(platform).is_none_or(|found| found == architecture)
    })
}

/// Splits `contents` by architecture. It is returned unchanged if it has a single architecture or `all_in_one` is set.
///
/// # Errors
/// Fails if a name or version in the manifest is invalid, or if a file cannot be read.
pub fn split_by_architecture(
    contents: ImageContents,
    all_in_one: bool,
) -> Result<Vec<(String, ImageContents)>> {
    let found = target_architectures(&contents.manifest.targets);
    if all_in_one || found.len() == 1 {
        let one = found.get(native_architecture()).or(found.first()).copied();
        return Ok(vec![(
            one.unwrap_or(native_architecture()).to_owned(),
            contents,
        )]);
    }
    let parts = found.into_iter();
    parts
        .map(|architecture| Ok((architecture.to_owned(), subset(&contents, architecture)?)))
        .collect()
}

/// Creates the wheelhouse of the files of `contents` for `architecture`. It has no signatures, since its manifest is another one.
fn subset(contents: &ImageContents, architecture: &str) -> Result<ImageContents> {
    let mut manifest = contents.manifest.clone();
    manifest
        .targets
        .retain(|target| platform_architecture(&target.platform) == Some(architecture));
    manifest
        .wheels
        .retain(|wheel| is_compatible(&wheel.filename, architecture));
    let mut others: BTreeMap<String, EntryContent> = contents.others.iter().cloned().collect();
    others.retain(|name, _| is_kept(name, &contents.manifest, &manifest));
    if contents
        .manifest
        .files
        .iter()
        .any(|name| simple_index::is_page(name))
    {
        let metadata = metadata_files(&others)?;
        let indexed = simple_index::indexed_files(&manifest, |name| metadata.get(name).cloned());
        let pages = simple_index::pages(&indexed, &manifest.project_status);
        others.extend(
            pages
                .into_iter()
                .map(|(name, bytes)| (name, EntryContent::Bytes(bytes))),
        );
    }
    manifest.files = others
        .keys()
        .filter(|name| *name != MANIFEST_NAME)
        .cloned()
        .collect();
    others.insert(
        MANIFEST_NAME.to_owned(),
        EntryContent::Bytes(wheelhouse_publish::manifest_bytes(&manifest)),
    );
    Ok(ImageContents {
        directory: contents.directory.clone(),
        manifest,
        others: others.into_iter().collect(),
    })
}

/// Returns whether the file `name` belongs to the remaining wheels and targets.
fn is_kept(name: &str, all: &Manifest, subset: &Manifest) -> bool {
    let suffixes = [".metadata", ".provenance.json", ".provenance"];
    let beside = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    let has = |manifest: &Manifest, name: &str| {
        let mut wheels = manifest.wheels.iter();
        wheels.any(|wheel| wheel.filename == name)
    };
    if let Some(wheel) = beside.filter(|wheel| has(all, wheel)) {
        return has(subset, wheel);
    }
    let of_target = |target: &Target| name == format!("pylock.{}.toml", target.name());
    let is_lock = all.targets.iter().any(of_target);
    name != SIGNATURES_NAME
        && !simple_index::is_page(name)
        && (!is_lock || subset.targets.iter().any(of_target))
}

/// Reads the metadata files beside the wheels.
fn metadata_files(others: &BTreeMap<String, EntryContent>) -> Result<BTreeMap<String, Vec<u8>>> {
    let files = others.iter().filter_map(|(name, content)| match content {
        EntryContent::File { path, .. } if name.ends_with(".metadata") => Some((name, path)),
        _ => None,
    });
    files
        .map(|(name, path)| {
            let failed = || format!("failed to read {}", path.display());
            Ok((
                name.clone(),
                fs_err::read(path).context(Kind::Input, failed)?,
            ))
        })
        .collect()
}
