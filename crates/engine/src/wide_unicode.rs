//! Choosing files for a Python 2 with wide Unicode, in uv's stead: uv can read the tag `cp27mu` but not make a set of
//! tags with it.
//!
//! Responsible for what of an index page and of `--find-links` such a target takes, by the rules that uv has for all
//! others. Never fetches a page that is not asked for, and never chooses a version.

use std::collections::{BTreeMap, HashSet};

use uv_client::{ErrorKind, MetadataFormat, VersionFiles};
use uv_configuration::BuildOptions;
use uv_distribution_filename::{DistFilename, WheelFilename};
use uv_distribution_types::{
    File, HashComparison, IncompatibleSource, IncompatibleWheel, IndexUrl, PrioritizedDist,
    RegistryBuiltWheel, RegistrySourceDist, RequirementSource, SourceDistCompatibility,
    WheelCompatibility,
};
use uv_normalize::PackageName;
use uv_pep440::{Operator, Version};
use uv_platform_tags::{AbiTag, CPythonAbiVariants, TagCompatibility, Tags};
use uv_pypi_types::Yanked;
use uv_resolver::{FlatDistributions, PackageVersionsResult, VersionMap, VersionsResponse};
use uv_types::HashStrategy;

use crate::requirements;
use crate::workshop::Workshop;

/// How well `wheel` fits `tags`, which are those of a Python 2 with narrow Unicode, if the Python has wide Unicode.
pub(crate) fn compatibility(wheel: &WheelFilename, tags: &Tags) -> TagCompatibility {
    let abi_tags: Vec<AbiTag> = wheel.abi_tags().iter().copied().map(exchanged).collect();
    tags.compatibility(
        wheel.python_tags().iter(),
        abi_tags.iter(),
        wheel.platform_tags().iter(),
    )
}

/// `cp27m` for `cp27mu`, and the other way round.
fn exchanged(tag: AbiTag) -> AbiTag {
    let AbiTag::CPython {
        python_version,
        mut variant,
    } = tag
    else {
        return tag;
    };
    variant.toggle(CPythonAbiVariants::WideUnicode);
    AbiTag::CPython {
        python_version,
        variant,
    }
}

type Versions = BTreeMap<Version, PrioritizedDist>;

/// What one search chooses from.
pub(crate) struct Shelf<'a> {
    workshop: &'a Workshop,
    tags: &'a Tags,
    hasher: &'a HashStrategy,
    build_options: &'a BuildOptions,
    /// What is taken although it was yanked (PEP 592).
    pins: HashSet<(PackageName, Version)>,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(
        workshop: &'a Workshop,
        tags: &'a Tags,
        hasher: &'a HashStrategy,
        build_options: &'a BuildOptions,
    ) -> Self {
        Self {
            workshop,
            tags,
            hasher,
            build_options,
            pins: pins(workshop),
        }
    }

    /// The versions of `name` on each index, with those of `--find-links`.
    pub(crate) async fn versions(&self, name: &PackageName) -> PackageVersionsResult {
        let workshop = self.workshop;
        let client = if workshop.listings.ask(name).await {
            &workshop.cached_client
        } else {
            &workshop.client
        };
        let slots = &workshop.concurrency.downloads_semaphore;
        let pages = client.simple_detail(name, None, &workshop.capabilities, slots);
        let flat = self.flat(name);
        match pages.await {
            Ok(pages) => {
                let maps = pages
                    .into_iter()
                    .map(|(index, page)| version_map(self.of_page(name, index, page, flat.clone())))
                    .collect();
                Ok(VersionsResponse::Found(maps))
            }
            Err(error) => {
                let otherwise = match error.kind() {
                    ErrorKind::RemotePackageNotFound(_) => VersionsResponse::NotFound,
                    ErrorKind::NoIndex(_) => VersionsResponse::NoIndex,
                    ErrorKind::Offline(_) => VersionsResponse::Offline,
                    _ => return Err(error),
                };
                if flat.is_empty() {
                    return Ok(otherwise);
                }
                Ok(VersionsResponse::Found(vec![version_map(flat)]))
            }
        }
    }

    fn flat(&self, name: &PackageName) -> Versions {
        let mut versions = Versions::new();
        let (entries, _) = self.workshop.flat_entries.clone().into_parts();
        for (filename, file, index) in entries
            .into_iter()
            .map(uv_client::FlatIndexEntry::into_parts)
        {
            if filename.name() == name {
                self.add(&mut versions, filename, file, &index);
            }
        }
        versions
    }

    fn of_page(
        &self,
        name: &PackageName,
        index: &IndexUrl,
        page: MetadataFormat,
        mut versions: Versions,
    ) -> Versions {
        match page {
            MetadataFormat::Simple(page) => {
                for datum in page.iter() {
                    let files =
                        rkyv::deserialize::<VersionFiles, rkyv::rancor::Error>(&datum.files);
                    let files = files.expect("uv wrote it");
                    for (filename, file) in files.all(name) {
                        self.add(&mut versions, filename, file, index);
                    }
                }
            }
            MetadataFormat::Flat(entries) => {
                for entry in entries {
                    let (filename, file, index) = entry.into_parts();
                    self.add(&mut versions, filename, file, &index);
                }
            }
        }
        versions
    }

    fn add(&self, versions: &mut Versions, filename: DistFilename, file: File, index: &IndexUrl) {
        let of_version = versions.entry(filename.version().clone()).or_default();
        let hashes = file.hashes.to_vec();
        match filename {
            DistFilename::WheelFilename(filename) => {
                let compatibility = self.wheel_compatibility(&filename, &file);
                let dist = RegistryBuiltWheel {
                    filename,
                    file: Box::new(file),
                    index: index.clone(),
                    size_is_authoritative: false,
                };
                of_version.insert_built(dist, hashes, compatibility);
            }
            DistFilename::SourceDistFilename(filename) => {
                let compatibility =
                    self.source_compatibility(&filename.name, &filename.version, &file);
                let dist = RegistrySourceDist {
                    name: filename.name,
                    version: filename.version,
                    ext: filename.extension,
                    file: Box::new(file),
                    index: index.clone(),
                    wheels: Vec::new(),
                    size_is_authoritative: false,
                };
                of_version.insert_source(dist, hashes, compatibility);
            }
        }
    }

    fn wheel_compatibility(&self, wheel: &WheelFilename, file: &File) -> WheelCompatibility {
        if self.build_options.no_binary_package(&wheel.name) {
            return WheelCompatibility::Incompatible(IncompatibleWheel::NoBinary);
        }
        if self.is_too_new(&wheel.name, file) {
            let uploaded = file.upload_time_utc_ms;
            return WheelCompatibility::Incompatible(IncompatibleWheel::ExcludeNewer(uploaded));
        }
        if let Some(yanked) = self.yanked(&wheel.name, &wheel.version, file) {
            return WheelCompatibility::Incompatible(IncompatibleWheel::Yanked(yanked));
        }
        match compatibility(wheel, self.tags) {
            TagCompatibility::Incompatible(tag) => {
                WheelCompatibility::Incompatible(IncompatibleWheel::Tag(tag))
            }
            TagCompatibility::Compatible(priority) => WheelCompatibility::Compatible(
                self.hash(&wheel.name, &wheel.version, file),
                Some(priority),
                wheel.build_tag().cloned(),
            ),
        }
    }

    fn source_compatibility(
        &self,
        name: &PackageName,
        version: &Version,
        file: &File,
    ) -> SourceDistCompatibility {
        if self.build_options.no_build_package(name) {
            return SourceDistCompatibility::Incompatible(IncompatibleSource::NoBuild);
        }
        if self.is_too_new(name, file) {
            let uploaded = file.upload_time_utc_ms;
            return SourceDistCompatibility::Incompatible(IncompatibleSource::ExcludeNewer(
                uploaded,
            ));
        }
        if let Some(yanked) = self.yanked(name, version, file) {
            return SourceDistCompatibility::Incompatible(IncompatibleSource::Yanked(yanked));
        }
        SourceDistCompatibility::Compatible(self.hash(name, version, file))
    }

    fn is_too_new(&self, name: &PackageName, file: &File) -> bool {
        let limit = &self.workshop.exclude_newer;
        let limit = limit.exclude_newer_package_for_index(name, None);
        let is_before = |limit: jiff::Timestamp| {
            file.upload_time_utc_ms
                .is_some_and(|uploaded| uploaded < limit.as_millisecond())
        };
        limit.is_some_and(|limit| !is_before(limit))
    }

    fn yanked(&self, name: &PackageName, version: &Version, file: &File) -> Option<Yanked> {
        let yanked = file.yanked.as_deref().filter(|yanked| yanked.is_yanked())?;
        let is_pinned = self.pins.contains(&(name.clone(), version.clone()));
        (!is_pinned).then(|| yanked.clone())
    }

    fn hash(&self, name: &PackageName, version: &Version, file: &File) -> HashComparison {
        let policy = self.hasher.get_package(name, version);
        if policy.digests().is_empty() || policy.matches(file.hashes.as_slice()) {
            HashComparison::Matched
        } else if file.hashes.is_empty() {
            HashComparison::Missing
        } else {
            HashComparison::Mismatched
        }
    }
}

fn version_map(versions: Versions) -> VersionMap {
    VersionMap::from(FlatDistributions::from(versions))
}

/// What the request asks for in just one version.
fn pins(workshop: &Workshop) -> HashSet<(PackageName, Version)> {
    let request = &workshop.request;
    let lines = request.requirements.iter().chain(&request.constraints);
    // What cannot be read was refused before.
    let named = lines.filter_map(|line| requirements::parse_with_name(line).ok()?);
    let pinned = named.filter_map(|requirement| {
        let RequirementSource::Registry { specifier, .. } = &requirement.source else {
            return None;
        };
        let [specifier] = &**specifier else {
            return None;
        };
        let is_exact = matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual);
        is_exact.then(|| (requirement.name, specifier.version().clone()))
    });
    pinned.collect()
}
