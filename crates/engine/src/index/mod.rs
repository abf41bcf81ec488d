//! Package indexes and `--find-links` locations: fetching their pages, reading what uv rejects, and choosing files where
//! uv cannot.

pub(crate) mod find_links;
pub(crate) mod foreign_files;
pub(crate) mod legacy_candidates;
pub(crate) mod lenient_metadata;
pub(crate) mod lenient_pages;
pub(crate) mod local_pages;
pub(crate) mod locked_files;
pub(crate) mod metadata_digests;
mod page_html;
pub(crate) mod page_links;
pub(crate) mod page_records;
mod page_statements;
pub(crate) mod prefetch;
pub(crate) mod skipped_files;
mod usable_file;
pub(crate) mod wheel_ranges;

use std::collections::BTreeSet;
use std::sync::Arc;

use uv_client::MetadataFormat;
use uv_configuration::BuildOptions;
use uv_distribution_types::{IndexCapabilities, IndexLocations};
use uv_resolver::{ExcludeNewer, FlatIndex};
use uv_types::HashStrategy;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::{Error, Kind, PackageName, Result, StatusMarker, Version};

use crate::network::client;
use crate::network::clients::Clients;
use crate::target::TargetEnvironment;
use find_links::FindLinks;
use lenient_pages::LenientPages;
use locked_files::LockedFiles;
use page_records::PageRecords;
use prefetch::{IndexPages, IndexPrefetcher, PageReader};
use skipped_files::SkippedFiles;
use wheel_ranges::WheelRanges;

/// The indexes and `--find-links` locations of a run.
pub(crate) struct IndexState {
    clients: Arc<Clients>,
    locations: IndexLocations,
    strategy: IndexStrategy,
    exclude_newer: ExcludeNewer,
    capabilities: IndexCapabilities,
    prefetcher: IndexPrefetcher,
    reader: PageReader,
    pages: LenientPages,
    find_links: FindLinks,
    locked_files: Arc<LockedFiles>,
    records: Arc<PageRecords>,
    wheel_ranges: WheelRanges,
}

/// The settings of an [`IndexState`].
pub(crate) struct IndexOptions {
    pub(crate) locations: IndexLocations,
    pub(crate) strategy: IndexStrategy,
    pub(crate) exclude_newer: ExcludeNewer,
    pub(crate) locked_files: Arc<LockedFiles>,
    pub(crate) records: Arc<PageRecords>,
}

impl IndexState {
    /// Reads the `--find-links` locations, and starts the threads that read index pages.
    ///
    /// # Errors
    /// `Fetch` if a location cannot be read.
    pub(crate) async fn open(
        options: IndexOptions,
        clients: Arc<Clients>,
        pages: LenientPages,
        cache: &uv_cache::Cache,
    ) -> Result<Self> {
        let find_links = FindLinks::read(&options.locations, &clients, &pages, cache).await?;
        let reader = PageReader::new(&options, &clients, pages.clone());
        Ok(Self {
            prefetcher: IndexPrefetcher::new(&reader),
            reader,
            wheel_ranges: WheelRanges::new(Arc::clone(&clients), cache.clone()),
            clients,
            locations: options.locations,
            strategy: options.strategy,
            exclude_newer: options.exclude_newer,
            capabilities: IndexCapabilities::default(),
            pages,
            find_links,
            locked_files: options.locked_files,
            records: options.records,
        })
    }

    /// Starts to fetch the pages of `name` into the cache, unless that has begun.
    pub(crate) fn prefetch(&self, name: &PackageName) {
        drop(self.prefetcher.request(name));
    }

    /// Returns what is known of the pages of `name` once they are fetched.
    pub(crate) async fn pages_of(&self, name: &PackageName) -> IndexPages {
        self.prefetcher.request(name).await
    }

    pub(crate) fn locations(&self) -> &IndexLocations {
        &self.locations
    }

    pub(crate) fn capabilities(&self) -> &IndexCapabilities {
        &self.capabilities
    }

    pub(crate) fn exclude_newer(&self) -> &ExcludeNewer {
        &self.exclude_newer
    }

    /// Returns the index strategy as uv names it.
    pub(crate) fn strategy(&self) -> uv_configuration::IndexStrategy {
        client::strategy(self.strategy)
    }

    pub(crate) fn find_links(&self) -> &FindLinks {
        &self.find_links
    }

    pub(crate) fn locked_files(&self) -> &LockedFiles {
        &self.locked_files
    }

    pub(crate) fn wheel_ranges(&self) -> &WheelRanges {
        &self.wheel_ranges
    }

    /// Returns an error if an index has quarantined one of the packages `names` (PEP 792).
    pub(crate) fn check_quarantine(&self, names: &[&str]) -> Option<Error> {
        let packages = names.iter().filter_map(|name| name.parse().ok());
        let packages: Vec<PackageName> = packages.collect();
        self.locations.indexes().find_map(|index| {
            let url = index.url().url();
            let status = |name| Some((name, self.records.status(url, name)?));
            let mut statuses = packages.iter().filter_map(status);
            let (name, status) =
                statuses.find(|(_, status)| status.status == StatusMarker::Quarantined)?;
            let reason = status
                .reason
                .map_or_else(String::new, |reason| format!(": {reason}"));
            let index = redacted(url.as_str());
            let message = format!("`{name}` is quarantined by {index}{reason}");
            Some(Error::new(Kind::Resolution, message).with_hint(
                "The index considers the project unsafe. Require another one, or use an index with files that you trust.",
            ))
        })
    }

    /// Returns the record of files and pages that were skipped.
    pub(crate) fn skipped(&self) -> &SkippedFiles {
        self.pages.skipped()
    }

    /// Asks the indexes again for the pages of `name`, to record what uv skips silently.
    pub(crate) async fn find_skipped(&self, name: &PackageName) {
        self.reader.find_skipped(name).await;
    }

    /// Returns the files of the `--find-links` locations that are for the target under `build_options`. Those with the
    /// digests of `hasher` come first.
    pub(crate) fn flat_index(
        &self,
        target_env: &TargetEnvironment,
        hasher: &HashStrategy,
        build_options: &BuildOptions,
    ) -> FlatIndex {
        let entries = self.find_links.entries().clone();
        FlatIndex::from_entries(entries, Some(&target_env.tags), hasher, build_options)
    }

    /// Returns the versions of `name` on the indexes, as far as they are cached, and in the `--find-links` locations.
    pub(crate) async fn versions_of(&self, name: &PackageName) -> BTreeSet<Version> {
        let pages = self.clients.cache_only().simple_detail(
            name,
            None,
            &self.capabilities,
            self.clients.downloads(),
        );
        let pages = pages.await.unwrap_or_default();
        let mut versions = self.find_links.versions_of(name);
        for (_, page) in &pages {
            if let MetadataFormat::Simple(page) = page {
                let of_page = page.iter().map(|datum| &datum.version);
                let of_page = of_page.map(rkyv::deserialize::<Version, rkyv::rancor::Error>);
                versions.extend(of_page.filter_map(std::result::Result::ok));
            }
        }
        versions
    }

    /// Returns the URLs of the indexes, without credentials.
    pub(crate) fn urls(&self) -> Vec<String> {
        let indexes = self.locations.indexes();
        indexes
            .map(|index| redacted(index.url().url().as_str()))
            .collect()
    }
}
