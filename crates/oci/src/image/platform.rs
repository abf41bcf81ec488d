//! Architectures: a wheelhouse of several is split, each part with what fits it.
//!
//! Responsible for which files fit which processor, by their names alone. Never asks whether a
//! wheel fits a Python: everything that fits the processor is in.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Kind, Manifest, PackageName, Result, Sha256, Target, Version};

use crate::image::contents::ImageContents;
use crate::image::layer::EntryContent;
use wheelhouse_publish::{IndexedWheel, simple_index};

/// The machines of platform tags with the names that Go, and so images, have for them.
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

/// The architecture of a platform tag, `manylinux_2_28_x86_64`; none of `any`.
fn of_platform(platform: &str) -> Option<&'static str> {
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

/// The architectures of the targets, sorted; that of this program when there is none.
fn of_targets(targets: &[Target]) -> BTreeSet<&'static str> {
    let found: BTreeSet<_> = targets
        .iter()
        .filter_map(|target| of_platform(&target.platform))
        .collect();
    if !found.is_empty() {
        return found;
    }
    BTreeSet::from([native_architecture()])
}

/// The architecture of this machine.
#[must_use]
pub fn native_architecture() -> &'static str {
    let own = MACHINES
        .iter()
        .find(|(machine, _)| *machine == std::env::consts::ARCH);
    own.map_or("amd64", |(_, architecture)| architecture)
}

/// Whether a wheel can be of use on `architecture`, by the last part of its name.
fn fits(filename: &str, architecture: &str) -> bool {
    let stem = filename.trim_end_matches(".whl");
    let platforms = stem.rsplit('-').next().unwrap_or_default();
    platforms.split('.').any(|platform| {
        // What names no machine (`any`, `macosx_11_0_universal2`) fits all of them.
        of_platform(platform).is_none_or(|found| found == architecture)
    })
}

/// The wheelhouses of the architectures of `contents`: itself, unless there are several and each is
/// to have its own.
///
/// # Errors
/// A manifest whose names are no names, or a file that cannot be read.
pub fn split(contents: ImageContents, all_in_one: bool) -> Result<Vec<(String, ImageContents)>> {
    let found = of_targets(&contents.manifest.targets);
    if all_in_one || found.len() == 1 {
        let one = found.get(native_architecture()).or(found.first()).copied();
        return Ok(vec![(
            one.unwrap_or(native_architecture()).to_owned(),
            contents,
        )]);
    }
    let parts = found.into_iter();
    parts
        .map(|architecture| Ok((architecture.to_owned(), part(&contents, architecture)?)))
        .collect()
}

/// The part of `contents` for `architecture`: a wheelhouse of its own.
fn part(contents: &ImageContents, architecture: &str) -> Result<ImageContents> {
    let mut manifest = contents.manifest.clone();
    manifest
        .targets
        .retain(|target| of_platform(&target.platform) == Some(architecture));
    manifest
        .wheels
        .retain(|wheel| fits(&wheel.filename, architecture));
    let mut others: BTreeMap<String, EntryContent> = contents.others.iter().cloned().collect();
    others.retain(|name, _| stays(name, &contents.manifest, &manifest));
    if contents
        .manifest
        .files
        .iter()
        .any(|name| simple_index::is_page(name))
    {
        let pages = simple_index::pages(&indexed(&manifest, &others)?).into_iter();
        others.extend(pages.map(|(name, bytes)| (name, EntryContent::Bytes(bytes))));
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

/// Whether the file `name` is of use for what is left of the wheels and targets.
fn stays(name: &str, all: &Manifest, left: &Manifest) -> bool {
    if let Some(wheel) = name.strip_suffix(".metadata") {
        return left.wheels.iter().any(|left| left.filename == wheel);
    }
    let of_target = |target: &Target| name == format!("pylock.{}.toml", target.name());
    let is_lock = all.targets.iter().any(of_target);
    !simple_index::is_page(name) && (!is_lock || left.targets.iter().any(of_target))
}

/// The wheels and sdists as an index shows them.
fn indexed(
    manifest: &Manifest,
    others: &BTreeMap<String, EntryContent>,
) -> Result<Vec<IndexedWheel>> {
    let wheels = manifest.wheels.iter();
    let wheels = wheels.map(|wheel| {
        let python = wheel.requires_python.clone();
        (&wheel.name, &wheel.version, &wheel.yanked, python)
    });
    let sdists = manifest.sdists.iter();
    let sdists = sdists.map(|sdist| (&sdist.name, &sdist.version, &sdist.yanked, None));
    let named = wheels.chain(sdists).zip(manifest.distributions());
    named
        .map(|((name, version, yanked, requires_python), file)| {
            let filename = file.filename.to_owned();
            let invalid = || format!("the manifest has a wrong name or version for {filename}");
            Ok(IndexedWheel {
                name: PackageName::from_str(name).context(Kind::Input, invalid)?,
                version: Version::from_str(version).context(Kind::Input, invalid)?,
                sha256: file.sha256,
                size: file.size,
                requires_python,
                metadata: metadata(others.get(&format!("{filename}.metadata")))?,
                yanked: yanked.clone(),
                uploaded: None,
                filename,
            })
        })
        .collect()
}

fn metadata(content: Option<&EntryContent>) -> Result<Option<Sha256>> {
    let Some(EntryContent::File { path, .. }) = content else {
        return Ok(None);
    };
    let bytes =
        fs_err::read(path).context(Kind::Input, || format!("failed to read {}", path.display()))?;
    Ok(Some(Sha256::of(&bytes)))
}
