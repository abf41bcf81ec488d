//! Choosing the files of a package where uv cannot:
//!
//! - wheels for a Python 2 [with wide Unicode](crate::target);
//! - [legacy sdists](crate::requirements::legacy_sdists);
//! - [files that a lock names](super::locked_files) and no index page lists;
//! - the files of [local pages](super::local_pages) that uv rejects.
//!
//! Applies uv's rules to the pages and the `--find-links` files, and leaves the choice of a version to the resolver.

use std::collections::{BTreeMap, HashSet};

use uv_client::{Error, ErrorKind, FlatIndexEntry, MetadataFormat, RegistryClient, VersionFiles};
use uv_configuration::BuildOptions;
use uv_distribution_filename::{DistFilename, SourceDistFilename, WheelFilename};
use uv_distribution_types::{
    File, HashComparison, IncompatibleSource, IncompatibleWheel, IndexUrl, PrioritizedDist,
    RegistryBuiltWheel, RegistrySourceDist, Requirement, SourceDistCompatibility,
    WheelCompatibility,
};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_platform_tags::TagCompatibility;
use uv_pypi_types::Yanked;
use uv_resolver::{FlatDistributions, PackageVersionsResult, VersionMap, VersionsResponse};
use uv_types::HashStrategy;

use wheelhouse_types::request::IndexStrategy;

use super::IndexState;
use super::foreign_files;
use super::lenient_pages::is_malformed_page;
use super::local_pages;
use crate::requirements::legacy_sdists::is_legacy;
use crate::requirements::pinned_version;
use crate::target::TargetEnvironment;

type Versions = BTreeMap<Version, PrioritizedDist>;

/// The files of one package for one resolution.
pub(crate) struct LegacyCandidates<'a> {
    pub(crate) index: &'a IndexState,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) build_options: &'a BuildOptions,
    pub(crate) name: &'a PackageName,
    /// Requirements of the package that allow one version only.
    pub(crate) pins: Vec<Requirement>,
    /// True if uv rejects a page of the package that is on this machine.
    pub(crate) has_malformed_page: bool,
}

/// The page of one index.
enum Page {
    Read(MetadataFormat),
    Lenient(local_pages::Files),
}

impl LegacyCandidates<'_> {
    /// Returns the versions on each index, with those of `--find-links`.
    pub(crate) async fn versions(self, is_cached: bool) -> PackageVersionsResult {
        let state = self.index;
        let client = if is_cached {
            state.clients.cache_only()
        } else {
            state.clients.single_attempt()
        };
        let flat = self.flat();
        match self.pages(client).await {
            Ok(pages) => {
                let listed = pages.iter().filter_map(|(_, page)| match page {
                    Page::Read(page) => Some(page),
                    Page::Lenient(_) => None,
                });
                let listed = listed
                    .flat_map(|page| state.locked_files.listed(self.name, page))
                    .collect();
                let maps = pages
                    .into_iter()
                    .map(|(index, page)| {
                        let versions = self.of_page(&index, page, flat.clone());
                        version_map(self.with_locked(versions, &listed))
                    })
                    .collect();
                Ok(VersionsResponse::Found(maps))
            }
            Err(error) => {
                let fallback = match error.kind() {
                    ErrorKind::RemotePackageNotFound(_) => VersionsResponse::NotFound,
                    ErrorKind::NoIndex(_) => VersionsResponse::NoIndex,
                    ErrorKind::Offline(_) => VersionsResponse::Offline,
                    _ if state.locked_files.has_locations(self.name) => {
                        tracing::debug!(package = %self.name, %error, "using the locations of the lockfile");
                        VersionsResponse::NotFound
                    }
                    _ => return Err(error),
                };
                let versions = self.with_locked(flat, &HashSet::new());
                if versions.is_empty() {
                    return Ok(fallback);
                }
                Ok(VersionsResponse::Found(vec![version_map(versions)]))
            }
        }
    }

    /// Returns the page of each index that has one.
    async fn pages(&self, client: &RegistryClient) -> Result<Vec<(IndexUrl, Page)>, Error> {
        let state = self.index;
        let slots = state.clients.downloads();
        let ask = |index| client.simple_detail(self.name, index, &state.capabilities, slots);
        let read = |pages: Vec<(&IndexUrl, MetadataFormat)>| {
            let pages = pages.into_iter();
            pages
                .map(|(index, page)| (index.clone(), Page::Read(page)))
                .collect()
        };
        if !self.has_malformed_page {
            return ask(None).await.map(read);
        }
        // An index on a server with a foreign file was rejected before.
        let has_foreign = |pages: &[(&IndexUrl, MetadataFormat)]| {
            let mut pages = pages.iter();
            pages.any(|(_, page)| foreign_files::first(page, self.name).is_some())
        };
        let mut all = Vec::new();
        for index in state.locations.fetch_indexes() {
            let pages: Vec<(IndexUrl, Page)> = match ask(Some(index.into())).await {
                Ok(pages) if !has_foreign(&pages) => read(pages),
                Err(error) if matches!(error.kind(), ErrorKind::RemotePackageNotFound(_)) => {
                    continue;
                }
                Err(error) if !is_malformed_page(&error) => return Err(error),
                _ => {
                    let files = local_pages::of_index(&state.pages, index.url(), self.name);
                    vec![(index.url().clone(), Page::Lenient(files))]
                }
            };
            all.extend(pages);
            if state.strategy == IndexStrategy::FirstIndex {
                break;
            }
        }
        Ok(all)
    }

    /// Adds the files of a lockfile that are not `listed`, at the locations that it names.
    fn with_locked(&self, mut versions: Versions, listed: &HashSet<String>) -> Versions {
        let main = self.index.locations.fetch_indexes().next();
        let main = main.map(|index| index.url().clone());
        for (filename, file, index) in self.index.locked_files.with_locations(self.name, listed) {
            if let Some(index) = index.as_ref().or(main.as_ref()) {
                self.add(&mut versions, filename, file, index);
            }
        }
        versions
    }

    fn flat(&self) -> Versions {
        let mut versions = Versions::new();
        let (entries, _) = self.index.find_links.entries().clone().into_parts();
        for (filename, file, index) in entries.into_iter().map(FlatIndexEntry::into_parts) {
            if filename.name() == self.name {
                self.add(&mut versions, filename, file, &index);
            }
        }
        for link in self.index.find_links.lenient() {
            if link.filename.name() == self.name {
                let (filename, file) = (link.filename.clone(), link.file.clone());
                self.add(&mut versions, filename, file, &link.location);
            }
        }
        versions
    }

    fn of_page(&self, index: &IndexUrl, page: Page, mut versions: Versions) -> Versions {
        match page {
            Page::Lenient(files) => {
                for (filename, file) in files {
                    self.add(&mut versions, filename, file, index);
                }
            }
            Page::Read(MetadataFormat::Simple(page)) => {
                for datum in page.iter() {
                    let files =
                        rkyv::deserialize::<VersionFiles, rkyv::rancor::Error>(&datum.files);
                    let files = files.expect("uv wrote it");
                    for (filename, file) in files.all(self.name) {
                        self.add(&mut versions, filename, file, index);
                    }
                }
            }
            Page::Read(MetadataFormat::Flat(entries)) => {
                for entry in entries {
                    let (filename, file, index) = entry.into_parts();
                    self.add(&mut versions, filename, file, &index);
                }
            }
        }
        versions
    }

    fn add(
        &self,
        versions: &mut Versions,
        filename: DistFilename,
        mut file: File,
        index: &IndexUrl,
    ) {
        let of_version = versions.entry(filename.version().clone()).or_default();
        let missing = self.index.locked_files.missing_hashes(self.name, &file);
        if !missing.is_empty() {
            file.hashes = file.hashes.iter().cloned().chain(missing).collect();
        }
        let hashes = file.hashes.to_vec();
        match filename {
            DistFilename::WheelFilename(filename) => {
                let compatibility = self.wheel_compatibility(&filename, &file, index);
                let dist = RegistryBuiltWheel {
                    filename,
                    file: Box::new(file),
                    index: index.clone(),
                    size_is_authoritative: false,
                };
                of_version.insert_built(dist, hashes, compatibility);
            }
            DistFilename::SourceDistFilename(filename) => {
                let compatibility = self.source_compatibility(&filename, &file, index);
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

    fn wheel_compatibility(
        &self,
        wheel: &WheelFilename,
        file: &File,
        index: &IndexUrl,
    ) -> WheelCompatibility {
        if self.build_options.no_binary_package(self.name) {
            return WheelCompatibility::Incompatible(IncompatibleWheel::NoBinary);
        }
        if self.is_too_new(file, index) {
            let uploaded = file.upload_time_utc_ms;
            return WheelCompatibility::Incompatible(IncompatibleWheel::ExcludeNewer(uploaded));
        }
        if let Some(yanked) = self.yanked(&wheel.version, file) {
            return WheelCompatibility::Incompatible(IncompatibleWheel::Yanked(yanked));
        }
        match self.target_env.compatibility(wheel) {
            TagCompatibility::Incompatible(tag) => {
                WheelCompatibility::Incompatible(IncompatibleWheel::Tag(tag))
            }
            TagCompatibility::Compatible(priority) => WheelCompatibility::Compatible(
                self.hash(&wheel.version, file),
                Some(priority),
                wheel.build_tag().cloned(),
            ),
        }
    }

    fn source_compatibility(
        &self,
        sdist: &SourceDistFilename,
        file: &File,
        index: &IndexUrl,
    ) -> SourceDistCompatibility {
        let incompatible = |reason| SourceDistCompatibility::Incompatible(reason);
        if self.build_options.no_build_package(self.name) {
            return incompatible(IncompatibleSource::NoBuild);
        }
        if self.is_too_new(file, index) {
            return incompatible(IncompatibleSource::ExcludeNewer(file.upload_time_utc_ms));
        }
        if let Some(yanked) = self.yanked(&sdist.version, file) {
            return incompatible(IncompatibleSource::Yanked(yanked));
        }
        if !sdist.extension.is_pep625_compliant() && !is_legacy(sdist.extension) {
            return incompatible(IncompatibleSource::NotPep625Filename);
        }
        SourceDistCompatibility::Compatible(self.hash(&sdist.version, file))
    }

    fn is_too_new(&self, file: &File, index: &IndexUrl) -> bool {
        // As for uv: `--find-links` locations and local indexes have no upload times.
        let mut flat = self.index.locations.flat_indexes();
        if index.url().scheme() == "file" || flat.any(|flat| flat.url() == index) {
            return false;
        }
        let limit = &self.index.exclude_newer;
        let limit = limit.exclude_newer_package_for_index(self.name, None);
        let is_before = |limit: jiff::Timestamp| {
            file.upload_time_utc_ms
                .is_some_and(|uploaded| uploaded < limit.as_millisecond())
        };
        limit.is_some_and(|limit| !is_before(limit))
    }

    /// Returns the reason for which the file is yanked (PEP 592), unless its version is pinned.
    fn yanked(&self, version: &Version, file: &File) -> Option<Yanked> {
        let yanked = file.yanked.as_deref().filter(|yanked| yanked.is_yanked())?;
        let mut pinned = self.pins.iter().filter_map(pinned_version);
        (!pinned.any(|pinned| pinned == version)).then(|| yanked.clone())
    }

    fn hash(&self, version: &Version, file: &File) -> HashComparison {
        let policy = self.hasher.get_package(self.name, version);
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
