//! The facts of one wheelhouse, with its part of the packages.

use std::collections::BTreeMap;

use wheelhouse_publish::simple_index::encode_segment;
use wheelhouse_types::{PackageName, Version, redact};

use super::package::ListedPackage;
use super::{PLACE, VERSION};
use crate::difference::{self, Change};
use crate::facts::{Verification, WheelhouseFacts};
use crate::text;

/// One wheelhouse.
#[derive(Debug)]
pub(crate) struct Wheelhouse {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) generator: Option<String>,
    pub(crate) made: Option<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) requirements: Vec<String>,
    pub(crate) sets: Vec<(String, Vec<String>)>,
    pub(crate) has_manifest: bool,
    pub(crate) verification: Option<Verification>,
    /// `None` if there is no previous manifest.
    pub(crate) changes: Option<Vec<Change>>,
    /// Packages with the version here and the newest version.
    pub(crate) newer: Vec<(String, String, String)>,
    /// The newest versions of how many packages are known.
    pub(crate) compared: usize,
    /// Indexes into the packages, sorted by name.
    pub(crate) packages: Vec<usize>,
    /// The bytes of each of these packages in this wheelhouse.
    pub(crate) sizes: Vec<u64>,
    pub(crate) size: u64,
    pub(crate) files: usize,
}

impl Wheelhouse {
    pub(super) fn new(index: usize, facts: WheelhouseFacts, packages: &[ListedPackage]) -> Self {
        let mut own = Vec::new();
        let (mut sizes, mut count) = (Vec::new(), 0);
        for (position, package) in packages.iter().enumerate() {
            if !package.wheelhouses.contains(&index) {
                continue;
            }
            let files = package.releases.iter().flat_map(|release| &release.files);
            let mut size = 0;
            for file in files.filter(|file| file.wheelhouses.contains(&index)) {
                size += file.size;
                count += 1;
            }
            own.push(position);
            sizes.push(size);
        }
        let versions = facts.files.iter().fold(
            BTreeMap::<&PackageName, &Version>::new(),
            |mut versions, file| {
                let version = versions
                    .entry(&file.indexed.name)
                    .or_insert(&file.indexed.version);
                *version = (*version).max(&file.indexed.version);
                versions
            },
        );
        let newer = versions.iter().filter_map(|(name, version)| {
            let newest = facts.newest.get(name).filter(|newest| newest > version)?;
            let short = |version: &Version| text::line(&version.to_string(), VERSION);
            Some((name.to_string(), short(version), short(newest)))
        });
        let newer = newer.collect();
        let compared = versions
            .keys()
            .filter(|name| facts.newest.contains_key(name))
            .count();
        let manifest = facts.manifest.as_ref();
        let lines = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter().take(1_000);
            lines
                .map(|line| text::line(&redact::redacted(line), PLACE))
                .collect()
        };
        Self {
            href: encode_segment(&facts.name),
            generator: manifest.map(|manifest| text::line(&manifest.generator, VERSION)),
            made: facts.made.map(text::time),
            targets: manifest.map_or_else(Vec::new, |manifest| {
                let targets = manifest.targets.iter().take(100);
                targets
                    .map(|target| text::line(&target.label(), PLACE))
                    .collect()
            }),
            requirements: manifest.map_or_else(Vec::new, |manifest| lines(&manifest.requirements)),
            sets: manifest.map_or_else(Vec::new, |manifest| {
                let sets = manifest.sets.iter().take(100);
                sets.map(|set| (text::line(&set.name, VERSION), lines(&set.requirements)))
                    .collect()
            }),
            has_manifest: manifest.is_some(),
            changes: facts
                .previous
                .as_ref()
                .zip(manifest)
                .map(|(previous, manifest)| difference::between(previous, manifest)),
            verification: facts.verification,
            newer,
            compared,
            packages: own,
            size: sizes.iter().sum(),
            sizes,
            files: count,
            name: text::line(&facts.name, 255),
        }
    }
}
