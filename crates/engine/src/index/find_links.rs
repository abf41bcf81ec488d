//! `--find-links` locations: the files that uv reads there, and those on local pages that it rejects.

use std::collections::{BTreeSet, HashSet};

use uv_cache::Cache;
use uv_client::{FlatIndexClient, FlatIndexEntries, RegistryClient};
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{File, Index, IndexLocations, IndexUrl};
use wheelhouse_types::{PackageName, Result, Version};

use super::lenient_pages::LenientPages;
use super::local_pages;
use crate::error::explain;
use crate::network::clients::Clients;
use crate::requirements::legacy_sdists::is_legacy;

/// The files of the `--find-links` locations.
pub(crate) struct FindLinks {
    entries: FlatIndexEntries,
    lenient: Vec<LenientLink>,
    /// The packages with a legacy sdist among the entries.
    legacy_packages: HashSet<PackageName>,
}

/// A file on a local page that uv rejects.
pub(super) struct LenientLink {
    pub(super) filename: DistFilename,
    pub(super) file: File,
    pub(super) location: IndexUrl,
}

impl FindLinks {
    /// Reads the flat indexes of `locations`. A local page that uv rejects is read file by file.
    pub(super) async fn read(
        locations: &IndexLocations,
        clients: &Clients,
        pages: &LenientPages,
        cache: &Cache,
    ) -> Result<Self> {
        let all: Vec<Index> = locations.flat_indexes().cloned().collect();
        let error = match entries(clients.registry(), cache, &all).await {
            Ok(entries) => return Ok(Self::new(entries, Vec::new())),
            Err(error) => error,
        };
        tracing::debug!(
            error = error.display_chain(),
            "reading --find-links locations leniently"
        );
        let (mut others, mut lenient) = (Vec::new(), Vec::new());
        for index in all {
            let is_rejected = entries(clients.registry(), cache, std::slice::from_ref(&index))
                .await
                .is_err();
            match local_pages::of_links(pages, &index).filter(|_| is_rejected) {
                Some(files) => {
                    lenient.extend(files.into_iter().map(|(filename, file)| LenientLink {
                        filename,
                        file,
                        location: index.url().clone(),
                    }));
                }
                None => others.push(index),
            }
        }
        match entries(clients.lenient_pages(), cache, &others).await {
            Ok(entries) => Ok(Self::new(entries, lenient)),
            Err(_) => Err(error),
        }
    }

    fn new(entries: FlatIndexEntries, lenient: Vec<LenientLink>) -> Self {
        let filenames = filenames(&entries);
        let legacy = filenames.filter_map(|filename| match filename {
            DistFilename::SourceDistFilename(sdist) if is_legacy(sdist.extension) => {
                Some(sdist.name)
            }
            _ => None,
        });
        Self {
            legacy_packages: legacy.collect(),
            entries,
            lenient,
        }
    }

    pub(super) fn entries(&self) -> &FlatIndexEntries {
        &self.entries
    }

    /// Returns the files on local pages that uv rejects.
    pub(super) fn lenient(&self) -> &[LenientLink] {
        &self.lenient
    }

    /// Returns whether uv cannot choose among the files of `name`.
    pub(crate) fn needs_own_choice(&self, name: &PackageName) -> bool {
        self.legacy_packages.contains(name)
            || self.lenient.iter().any(|link| link.filename.name() == name)
    }

    pub(super) fn versions_of(&self, name: &PackageName) -> BTreeSet<Version> {
        filenames(&self.entries)
            .filter(|filename| filename.name() == name)
            .map(|filename| filename.version().clone())
            .collect()
    }
}

fn filenames(entries: &FlatIndexEntries) -> impl Iterator<Item = DistFilename> {
    let (entries, _) = entries.clone().into_parts();
    entries.into_iter().map(|entry| entry.into_parts().0)
}

async fn entries(
    client: &RegistryClient,
    cache: &Cache,
    indexes: &[Index],
) -> Result<FlatIndexEntries> {
    FlatIndexClient::new(client.cached_client(), client.connectivity(), cache)
        .fetch_all(indexes.iter().map(Index::url))
        .await
        .map_err(|error| explain(&error, "failed to read a --find-links place"))
}
