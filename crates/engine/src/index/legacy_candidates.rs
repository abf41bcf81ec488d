//! Choosing files in uv's stead, where pip takes some that uv passes over:
//!
//! - wheels for a Python 2 with wide Unicode: uv can read the tag `cp27mu` but not make a set of tags with it;
//! - [legacy sdists](crate::index::legacy_formats);
//! - [files that a lock names](crate::index::locked_files) and no index page lists;
//! - what is on [odd pages](crate::index::local_pages) of this machine.
//!
//! Responsible for what of an index page and of `--find-links` is taken then, by the rules that uv has for all
//! others. Never fetches a page that is not asked for, and never chooses a version.

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
use uv_platform_tags::{AbiTag, CPythonAbiVariants, TagCompatibility, Tags};
use uv_pypi_types::Yanked;
use uv_resolver::{FlatDistributions, PackageVersionsResult, VersionMap, VersionsResponse};
use uv_types::HashStrategy;

use wheelhouse_types::request::IndexStrategy;

use crate::index::foreign_files;
use crate::index::legacy_formats::is_legacy;
use crate::index::lenient_pages::is_odd_page;
use crate::index::local_pages;
use crate::requirements;
use crate::state::EngineState;
use crate::target::TargetEnvironment;

/// How well `wheel` fits `tags`, which are those of a Python 2 with narrow Unicode, if the Python has wide Unicode.
pub(crate) fn wide_compatibility(wheel: &WheelFilename, tags: &Tags) -> TagCompatibility {
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

/// What there is of one package for one search.
pub(crate) struct LegacyCandidates<'a> {
    pub(crate) state: &'a EngineState,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) build_options: &'a BuildOptions,
    pub(crate) name: &'a PackageName,
    /// What others require in just one version.
    pub(crate) pins: Vec<Requirement>,
    /// Whether an index on this machine has an odd page of it.
    pub(crate) has_odd_page: bool,
}

/// The page of one index.
enum Page {
    Read(MetadataFormat),
    Odd(local_pages::Files),
}

impl LegacyCandidates<'_> {
    /// The versions on each index, with those of `--find-links`.
    pub(crate) async fn versions(mut self, is_cached: bool) -> PackageVersionsResult {
        let state = self.state;
        self.pins.extend(required(state, self.name));
        let client = if is_cached {
            &state.cached_client
        } else {
            &state.brief_client
        };
        let flat = self.flat();
        match self.pages(client).await {
            Ok(pages) => {
                let listed = pages.iter().filter_map(|(_, page)| match page {
                    Page::Read(page) => Some(page),
                    Page::Odd(_) => None,
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
                let otherwise = match error.kind() {
                    ErrorKind::RemotePackageNotFound(_) => VersionsResponse::NotFound,
                    ErrorKind::NoIndex(_) => VersionsResponse::NoIndex,
                    ErrorKind::Offline(_) => VersionsResponse::Offline,
                    _ if state.locked_files.has_places(self.name) => {
                        tracing::debug!("using the places of the lock: {error}");
                        VersionsResponse::NotFound
                    }
                    _ => return Err(error),
                };
                let versions = self.with_locked(flat, &HashSet::new());
                if versions.is_empty() {
                    return Ok(otherwise);
                }
                Ok(VersionsResponse::Found(vec![version_map(versions)]))
            }
        }
    }

    /// The page of each index that has one.
    async fn pages(&self, client: &RegistryClient) -> Result<Vec<(IndexUrl, Page)>, Error> {
        let state = self.state;
        let slots = &state.concurrency.downloads_semaphore;
        let ask = |index| client.simple_detail(self.name, index, &state.capabilities, slots);
        let read = |pages: Vec<(&IndexUrl, MetadataFormat)>| {
            let pages = pages.into_iter();
            pages
                .map(|(index, page)| (index.clone(), Page::Read(page)))
                .collect()
        };
        if !self.has_odd_page {
            return ask(None).await.map(read);
        }
        // Those of servers have none, or their index was refused.
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
                Err(error) if !is_odd_page(&error) => return Err(error),
                _ => {
                    let files = local_pages::of_index(&state.pages, index.url(), self.name);
                    vec![(index.url().clone(), Page::Odd(files))]
                }
            };
            all.extend(pages);
            if state.request.indexes.strategy == IndexStrategy::FirstIndex {
                break;
            }
        }
        Ok(all)
    }

    /// `versions` with the files of a lock that are not `listed`, at the places that it gives.
    fn with_locked(&self, mut versions: Versions, listed: &HashSet<String>) -> Versions {
        let main = self.state.locations.fetch_indexes().next();
        let main = main.map(|index| index.url().clone());
        for (filename, file, index) in self.state.locked_files.at_places(self.name, listed) {
            if let Some(index) = index.as_ref().or(main.as_ref()) {
                self.add(&mut versions, filename, file, index);
            }
        }
        versions
    }

    fn flat(&self) -> Versions {
        let mut versions = Versions::new();
        let (entries, _) = self.state.flat_entries.clone().into_parts();
        for (filename, file, index) in entries.into_iter().map(FlatIndexEntry::into_parts) {
            if filename.name() == self.name {
                self.add(&mut versions, filename, file, &index);
            }
        }
        for link in &self.state.odd_links {
            if link.filename.name() == self.name {
                let (filename, file) = (link.filename.clone(), link.file.clone());
                self.add(&mut versions, filename, file, &link.place);
            }
        }
        versions
    }

    fn of_page(&self, index: &IndexUrl, page: Page, mut versions: Versions) -> Versions {
        match page {
            Page::Odd(files) => {
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
        let missing = self.state.locked_files.missing_hashes(self.name, &file);
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
        // As for uv: `--find-links` places and indexes on a disk do not say when a file was uploaded.
        let mut flat = self.state.locations.flat_indexes();
        if index.url().scheme() == "file" || flat.any(|flat| flat.url() == index) {
            return false;
        }
        let limit = &self.state.exclude_newer;
        let limit = limit.exclude_newer_package_for_index(self.name, None);
        let is_before = |limit: jiff::Timestamp| {
            file.upload_time_utc_ms
                .is_some_and(|uploaded| uploaded < limit.as_millisecond())
        };
        limit.is_some_and(|limit| !is_before(limit))
    }

    /// Why the file is yanked (PEP 592), unless its version is required all the same.
    fn yanked(&self, version: &Version, file: &File) -> Option<Yanked> {
        let yanked = file.yanked.as_deref().filter(|yanked| yanked.is_yanked())?;
        let mut pinned = self.pins.iter().filter_map(requirements::pinned_version);
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

/// What the request itself requires of `name`.
fn required(state: &EngineState, name: &PackageName) -> Vec<Requirement> {
    let request = &state.request;
    let lines = request.requirements.iter().chain(&request.constraints);
    // What cannot be read was refused before.
    let named = lines.filter_map(|line| requirements::parse_with_name(line).ok()?);
    named.filter(|named| named.name == *name).collect()
}
