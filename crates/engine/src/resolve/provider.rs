//! The provider of uv's resolver: versions and metadata, from the caches of the run, the [`ArtifactProvider`], or uv.
//!
//! [`ArtifactProvider`]: crate::ArtifactProvider

mod dist;
mod exclusions;
mod sources;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;
use uv_configuration::BuildOptions;
use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{
    BuiltDist, Dist, DistributionId, Identifier as _, IndexMetadata, InstalledDist, Name as _,
    Requirement, SourceDist,
};
use uv_normalize::PackageName;
use uv_resolver::{
    DefaultResolverProvider, MetadataResponse, PackageVersionsResult, ResolverProvider,
    WheelMetadataResult,
};
use uv_types::{BuildContext, HashStrategy};
use wheelhouse_types::{Distribution, Error, Kind, Request, Result};

use super::ResolverContext;
use super::metadata_cache::{BacktrackLimit, MetadataCache};
use crate::convert::required_hashes;
use crate::error::{self, EngineError};
use crate::index::legacy_candidates::LegacyCandidates;
use crate::requirements;
use crate::target::TargetEnvironment;
use dist::{is_inconsistent, is_local, is_on_pypi};

/// Metadata of wheels, requested once for all targets and attempts.
pub(crate) type WheelMetadata = Mutex<HashMap<DistributionId, Arc<OnceCell<ArchiveMetadata>>>>;

type Inner<'a, C> = DefaultResolverProvider<'a, C>;

pub(crate) struct Provider<'a, C: BuildContext> {
    pub(crate) context: &'a ResolverContext<'a, C>,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) build_options: &'a BuildOptions,
    /// True if metadata with versions from before PEP 440 is accepted.
    pub(crate) lenient_metadata: bool,
    pub(crate) inner: Inner<'a, C>,
    /// Requests a page once, to get the error of one that is not cached.
    pub(crate) single_attempt: Inner<'a, C>,
    /// Reads from the cache only.
    pub(crate) cache_only: Inner<'a, C>,
    /// Reads files whose digests the artifact provider has verified.
    pub(crate) local: Inner<'a, C>,
    /// Creates a provider that accepts the pinned versions even if they are yanked, from the cache only or not.
    pub(crate) with_yanked: Box<dyn Fn(Vec<Requirement>, bool) -> Inner<'a, C> + 'a>,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) metadata_cache: &'a MetadataCache,
    pub(crate) backtracking: &'a BacktrackLimit,
    /// True if dependencies are ignored.
    pub(crate) without_dependencies: bool,
}

impl<C: BuildContext> Provider<'_, C> {
    /// Announces the first candidate of each package to the artifact provider; it is usually chosen.
    fn announce(&self, dist: &Dist) {
        if !self.metadata_cache.first_seen(dist.name()) {
            return;
        }
        let sdist = self.sdist_in_place_of(dist);
        let dist = sdist.as_ref().unwrap_or(dist);
        tracing::debug!(%dist, "prefetching the first candidate");
        if let Ok(distribution) = self.distribution(dist) {
            self.context.artifacts.prefetch(&distribution);
        }
    }

    /// Converts `dist`, with the digests that are required of it.
    fn distribution(&self, dist: &Dist) -> Result<Distribution> {
        let required = required_hashes(self.hasher, dist);
        let distributions = &self.context.state.distributions;
        distributions.distribution(dist, None, required)
    }

    /// Returns the sdist that is built instead of the wheel `dist`, whose metadata uv would use.
    fn sdist_in_place_of(&self, dist: &Dist) -> Option<Dist> {
        let Dist::Built(BuiltDist::Registry(wheel)) = dist else {
            return None;
        };
        let filename = &wheel.best_wheel().filename;
        let is_useless = self.is_excluded_wheel(dist)
            || !self.target_env.compatibility(filename).is_compatible();
        let sdist = wheel.sdist.clone().filter(|_| is_useless)?;
        Some(Dist::Source(SourceDist::Registry(sdist)))
    }

    /// Returns whether `dist` is a wheel that `--no-binary` excludes. Its sdist may have other dependencies.
    fn is_excluded_wheel(&self, dist: &Dist) -> bool {
        matches!(dist, Dist::Built(_)) && self.build_options.no_binary_package(dist.name())
    }

    /// Adds the package that requires `dist` to a build error.
    fn with_requirer(&self, dist: &Dist, error: Error) -> Error {
        match self.metadata_cache.who_requires(dist.name()) {
            Some(requirer) if error.kind() == Kind::Build => {
                let message = format!("{} (by {requirer})", error.display_chain());
                let hint = error.hint().unwrap_or_default().to_owned();
                Error::new(Kind::Build, message).with_hint(hint)
            }
            _ => error,
        }
    }

    /// Returns the metadata of `dist`, or of the sdist that replaces it.
    async fn wheel_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        let sdist = if self.is_excluded_wheel(dist) {
            self.sdist_in_place_of(dist)
        } else {
            None
        };
        let dist = sdist.as_ref().unwrap_or(dist);
        if let Some(unfit) = self.published_incompatibility(dist) {
            return Ok(unfit);
        }
        self.backtracking.count(dist);
        let id = dist.distribution_id();
        if let Some(metadata) = self.metadata_cache.metadata(&id) {
            tracing::trace!(%dist, "metadata is cached");
            return Ok(self.mark_incompatible(metadata));
        }
        // uv would wait for its own lock.
        if let Some(error) = self.context.build_cycle(dist) {
            return Err(failed(self.with_requirer(dist, error)));
        }
        self.announce(dist);
        let response = match self.known_metadata(dist).await? {
            Some(metadata) => MetadataResponse::Found(metadata),
            None => match self.engine_metadata(dist).await {
                Ok(MetadataResponse::Error(requested, error)) => {
                    match self.fallback_metadata(dist, &error) {
                        Some(metadata) => MetadataResponse::Found(metadata),
                        None => MetadataResponse::Error(requested, error),
                    }
                }
                Ok(response @ MetadataResponse::Unavailable(_)) if self.lenient_metadata => {
                    match self.metadata_of_wheel(dist).await {
                        Some(metadata) => MetadataResponse::Found(metadata),
                        None => response,
                    }
                }
                Ok(response) => response,
                // The metadata inside the wheel does not replace a rejected metadata file.
                Err(error) if error::find(&error).is_some() => return Err(error),
                Err(error) => match self.metadata_of_wheel(dist).await {
                    Some(metadata) => MetadataResponse::Found(metadata),
                    None => return Err(error),
                },
            },
        };
        Ok(match response {
            MetadataResponse::Found(metadata) if is_inconsistent(dist, &metadata) => {
                self.inconsistent(dist, metadata)
            }
            MetadataResponse::Found(mut metadata) => {
                let requires = &mut metadata.metadata.requires_dist;
                if self.without_dependencies {
                    *requires = Box::default();
                }
                let is_local = is_local(dist);
                if is_local {
                    let copied = self
                        .context
                        .state
                        .trees
                        .copy_all(requires, self.context.artifacts)
                        .await;
                    copied.map_err(failed)?;
                }
                self.metadata_cache.insert(id, &metadata);
                if !is_on_pypi(dist) {
                    self.metadata_cache.allow_urls(&metadata, is_local);
                }
                self.mark_incompatible(metadata)
            }
            other => other,
        })
    }
}

/// Carries `error` through uv.
fn failed(error: Error) -> uv_distribution::Error {
    uv_distribution::Error::Build(EngineError::new(error).into())
}

/// Returns the requirements of the request for `name`.
fn requested(request: &Request, name: &PackageName) -> Vec<Requirement> {
    let lines = request.requirements.iter().chain(&request.constraints);
    // Lines that are not valid were rejected before.
    let named = lines.filter_map(|line| requirements::parse_with_name(line).ok()?);
    named.filter(|named| named.name == *name).collect()
}

impl<C: BuildContext> ResolverProvider for Provider<'_, C> {
    async fn get_package_versions<'io>(
        &'io self,
        package_name: &'io PackageName,
        index: Option<&'io IndexMetadata>,
    ) -> PackageVersionsResult {
        if index.is_some() {
            return self.inner.get_package_versions(package_name, index).await;
        }
        let state = self.context.state;
        let pages = state.index.pages_of(package_name).await;
        let locked_files = state.index.locked_files();
        if let Some(refusal) = pages.refusal
            && !locked_files.has_locations(package_name)
        {
            let error = EngineError::new(refusal.error(package_name));
            return Err(uv_client::ErrorKind::Io(std::io::Error::other(error)).into());
        }
        let (pins, is_cached) = (self.metadata_cache.pins(package_name), pages.are_cached);
        if pages.have_legacy_versions
            || self.target_env.target.wide_unicode
            || locked_files.has_others(package_name, &pages.locked)
            || pages.are_malformed
            || state.index.find_links().needs_own_choice(package_name)
        {
            let mut pins = pins.unwrap_or_default();
            pins.extend(requested(&state.request, package_name));
            let candidates = LegacyCandidates {
                index: &state.index,
                target_env: self.target_env,
                hasher: self.hasher,
                build_options: self.build_options,
                name: package_name,
                pins,
                has_malformed_page: pages.are_malformed,
            };
            tracing::debug!(package = %package_name, "choosing files by own rules");
            return candidates.versions(is_cached).await;
        }
        if let Some(pins) = pins {
            let provider = (self.with_yanked)(pins, is_cached);
            return provider.get_package_versions(package_name, index).await;
        }
        let provider = if is_cached {
            &self.cache_only
        } else {
            &self.single_attempt
        };
        provider.get_package_versions(package_name, index).await
    }

    async fn get_or_build_wheel_metadata<'io>(&'io self, dist: &'io Dist) -> WheelMetadataResult {
        let response = self.wheel_metadata(dist).await;
        if matches!(response, Err(_) | Ok(MetadataResponse::Error(..))) {
            self.backtracking.record_failure(dist.name());
        }
        response
    }

    async fn get_installed_metadata<'io>(
        &'io self,
        dist: &'io InstalledDist,
    ) -> WheelMetadataResult {
        self.inner.get_installed_metadata(dist).await
    }

    fn with_reporter(self, reporter: Arc<dyn uv_distribution::Reporter>) -> Self {
        Self {
            inner: self.inner.with_reporter(reporter),
            ..self
        }
    }
}
