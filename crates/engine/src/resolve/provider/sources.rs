//! The sources of the metadata of a candidate: the artifact provider, the file itself, or uv.

use std::sync::Arc;

use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{
    BuiltDist, Dist, Identifier as _, Name as _, PathSourceDist, RequestedDist, SourceDist,
};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ResolutionMetadata;
use uv_resolver::{MetadataResponse, ResolverProvider as _, WheelMetadataResult};
use uv_types::BuildContext;
use wheelhouse_types::{Error, Kind, limits};

use super::dist::file_name;
use super::{Provider, failed};
use crate::error;
use crate::index::lenient_metadata;
use crate::index::wheel_ranges::{PartialMetadata, needs_range_requests};
use crate::requirements::legacy_sdists::is_legacy_sdist;

/// A response without metadata that attempts could share.
enum Unanswered {
    Otherwise(MetadataResponse),
    Failed(uv_distribution::Error),
}

impl From<uv_distribution::Error> for Unanswered {
    fn from(error: uv_distribution::Error) -> Self {
        Self::Failed(error)
    }
}

impl<C: BuildContext> Provider<'_, C> {
    /// Returns the metadata that the artifact provider has, if it matches the name of the file.
    pub(super) async fn known_metadata(
        &self,
        dist: &Dist,
    ) -> Result<Option<ArchiveMetadata>, uv_distribution::Error> {
        let Ok(distribution) = self.distribution(dist) else {
            return Ok(None);
        };
        let known = self.context.artifacts.metadata(&distribution).await;
        let known = known.map_err(|error| failed(self.with_requirer(dist, error)))?;
        if let Some(bytes) = &known {
            limits::metadata(bytes).map_err(|excess| {
                let message = format!("the metadata of {dist} is refused");
                failed(Error::new(Kind::Fetch, message).caused_by(excess))
            })?;
        }
        let metadata = known.and_then(|bytes| self.parsed(&bytes));
        let agrees = |metadata: &ResolutionMetadata| {
            let same_version = dist
                .version()
                .is_none_or(|version| *version == metadata.version);
            metadata.name == *dist.name() && same_version
        };
        Ok(metadata
            .filter(agrees)
            .map(ArchiveMetadata::from_metadata23))
    }

    /// Returns the metadata inside the wheel, for an index that does not serve the metadata file that it announces, or if uv
    /// cannot read it.
    pub(super) async fn metadata_of_wheel(&self, dist: &Dist) -> Option<ArchiveMetadata> {
        if !matches!(dist, Dist::Built(BuiltDist::Registry(_))) {
            return None;
        }
        let distribution = self.distribution(dist).ok()?;
        let wanted = std::slice::from_ref(&distribution);
        self.context.artifacts.wheels(wanted).await.ok()?;
        self.known_metadata(dist).await.ok()?
    }

    /// Returns the metadata of the wheel `dist` of an index without a metadata file for it: by range requests, or else from
    /// the whole wheel. Returns `None` if the network is disabled.
    async fn metadata_in_wheel(
        &self,
        dist: &Dist,
    ) -> Result<Option<ArchiveMetadata>, uv_distribution::Error> {
        let state = self.context.state;
        let read = state.index.wheel_ranges().metadata(dist).await;
        let read = read.map_err(failed)?;
        let metadata = match read {
            PartialMetadata::Found(metadata) => match self.parsed(&metadata) {
                Some(metadata) if metadata.name != *dist.name() => {
                    let (file, found) = (file_name(dist), &metadata.name);
                    let message =
                        format!("{file} is not a valid wheel: its metadata is that of {found}");
                    return Err(failed(Error::new(Kind::Fetch, message)));
                }
                Some(metadata) => Some(metadata),
                None => self.unusable(dist, "its metadata is not valid"),
            },
            PartialMetadata::Missing(reason) => self.unusable(dist, &reason),
            PartialMetadata::Unknown => None,
        };
        if let Some(metadata) = metadata {
            return Ok(Some(ArchiveMetadata::from_metadata23(metadata)));
        }
        if state.clients.is_offline() {
            return Ok(None);
        }
        let Ok(distribution) = self.distribution(dist) else {
            return Ok(None);
        };
        let wheels = self.context.artifacts.wheels(&[distribution]).await;
        wheels.map_err(failed)?;
        self.known_metadata(dist).await
    }

    /// Returns the metadata by way of uv. That of a wheel is requested once for all targets.
    pub(super) async fn engine_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        if matches!(dist, Dist::Source(_)) {
            return self.source_metadata(dist).await;
        }
        let response = {
            let wheels = &self.context.state.wheel_metadata;
            let mut wheels = wheels.lock().expect("no panic while locked");
            Arc::clone(wheels.entry(dist.distribution_id()).or_default())
        };
        let requested = response.get_or_try_init(async || {
            if needs_range_requests(dist)
                && let Some(metadata) = self.metadata_in_wheel(dist).await?
            {
                return Ok(metadata);
            }
            let file = self.context.file_to_read(dist, self.hasher).await;
            let response = match file.map_err(failed)? {
                Some(file) => self.local.get_or_build_wheel_metadata(&file).await?,
                None => self.inner.get_or_build_wheel_metadata(dist).await?,
            };
            match response {
                MetadataResponse::Found(metadata) => Ok(metadata),
                other => Err(Unanswered::Otherwise(other)),
            }
        });
        match requested.await {
            Ok(metadata) => Ok(MetadataResponse::Found(metadata.clone())),
            Err(Unanswered::Otherwise(response)) => Ok(response),
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }

    /// Returns the static metadata of a source, or that of its build backend.
    async fn source_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        if is_legacy_sdist(dist) {
            return Ok(self.metadata_of_build(dist).await);
        }
        let Some(file) = self.file_of(dist).await? else {
            return self.inner.get_or_build_wheel_metadata(dist).await;
        };
        if let Some(error) = self.context.build_cycle(&file) {
            return Err(failed(self.with_requirer(dist, error)));
        }
        let response = self.local.get_or_build_wheel_metadata(&file).await?;
        let MetadataResponse::Error(_, error) = response else {
            return Ok(response);
        };
        if matches!(*error, uv_distribution::Error::Build(_)) {
            return Ok(no_metadata(dist, error));
        }
        // uv requires a directory around the files of an sdist.
        Ok(self.metadata_of_build(dist).await)
    }

    async fn metadata_of_build(&self, dist: &Dist) -> MetadataResponse {
        let metadata = self.context.metadata_of_build(dist, self.hasher).await;
        metadata.map_or_else(
            |error| no_metadata(dist, Arc::new(failed(error))),
            MetadataResponse::Found,
        )
    }

    /// Returns `dist`, an sdist of an index or at a URL, as the file that the artifact provider fetched. uv would fetch it
    /// again.
    async fn file_of(&self, dist: &Dist) -> Result<Option<Dist>, uv_distribution::Error> {
        let Dist::Source(SourceDist::Registry(published)) = dist else {
            let file = self.context.file_to_read(dist, self.hasher).await;
            return file.map_err(failed);
        };
        let Ok(distribution) = self.distribution(dist) else {
            return Ok(None);
        };
        let path = self.context.artifacts.archive(&distribution).await;
        let path = path.map_err(failed)?;
        let url = path.and_then(|path| Some((VerbatimUrl::from_absolute_path(&path).ok()?, path)));
        Ok(url.map(|(url, path)| {
            Dist::Source(SourceDist::Path(PathSourceDist {
                name: published.name.clone(),
                version: Some(published.version.clone()),
                install_path: path.into(),
                ext: published.ext,
                url,
            }))
        }))
    }

    /// Returns the metadata with which the artifact provider replaces that of `dist`, which failed for this `reason`.
    pub(super) fn fallback_metadata(
        &self,
        dist: &Dist,
        reason: &Arc<uv_distribution::Error>,
    ) -> Option<ArchiveMetadata> {
        let distribution = self.distribution(dist).ok()?;
        let reason = error::find(reason).unwrap_or_else(|| {
            error::explain(reason, &format!("failed to read the metadata of {dist}"))
        });
        let artifacts = self.context.artifacts;
        let bytes = artifacts.fallback_metadata(&distribution, &reason)?;
        ResolutionMetadata::parse_metadata(&bytes)
            .ok()
            .map(ArchiveMetadata::from_metadata23)
    }

    fn parsed(&self, metadata: &[u8]) -> Option<ResolutionMetadata> {
        if self.lenient_metadata {
            lenient_metadata::parse(metadata)
        } else {
            ResolutionMetadata::parse_metadata(metadata).ok()
        }
    }
}

fn no_metadata(dist: &Dist, error: Arc<uv_distribution::Error>) -> MetadataResponse {
    let requested = RequestedDist::Installable(dist.clone());
    MetadataResponse::Error(Box::new(requested), error)
}
