//! The provider of uv's resolver: versions and metadata, from the caches of the run, the [`ArtifactProvider`], or uv.
//!
//! [`ArtifactProvider`]: crate::ArtifactProvider

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;
use uv_configuration::BuildOptions;
use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{
    BuiltDist, Dist, DistributionId, Identifier as _, IndexMetadata, IndexUrl, InstalledDist,
    Name as _, PathSourceDist, RequestedDist, Requirement, SourceDist,
};
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ResolutionMetadata;
use uv_resolver::{
    DefaultResolverProvider, MetadataResponse, PackageVersionsResult, ResolverProvider,
    WheelMetadataResult,
};
use uv_types::{BuildContext, HashStrategy};
use wheelhouse_types::{Error, Kind, Request, limits};

use super::metadata_cache::{BacktrackLimit, MetadataCache};
use super::{ResolverContext, requires_python};
use crate::convert::{published_python, required_hashes};
use crate::error::{self, EngineError};
use crate::index::legacy_candidates::LegacyCandidates;
use crate::index::lenient_metadata;
use crate::index::wheel_ranges::{PartialMetadata, needs_range_requests};
use crate::requirements;
use crate::requirements::legacy_sdists::is_legacy_sdist;
use crate::target::TargetEnvironment;

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
        let required = self.required(dist);
        if let Ok(distribution) = self
            .context
            .state
            .distributions
            .distribution(dist, None, required)
        {
            self.context.artifacts.prefetch(&distribution);
        }
    }

    fn required(&self, dist: &Dist) -> Vec<String> {
        required_hashes(self.hasher, dist)
    }

    /// Returns the metadata that the artifact provider has, if it matches the name of the file.
    async fn known_metadata(
        &self,
        dist: &Dist,
    ) -> Result<Option<ArchiveMetadata>, uv_distribution::Error> {
        let Ok(distribution) =
            self.context
                .state
                .distributions
                .distribution(dist, None, self.required(dist))
        else {
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

    /// Returns the metadata inside the wheel, for an index that does not serve the metadata file that it announces, or if uv
    /// cannot read it.
    async fn metadata_of_wheel(&self, dist: &Dist) -> Option<ArchiveMetadata> {
        if !matches!(dist, Dist::Built(BuiltDist::Registry(_))) {
            return None;
        }
        let state = self.context.state;
        let distribution = state
            .distributions
            .distribution(dist, None, self.required(dist))
            .ok()?;
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
        let required = self.required(dist);
        let Ok(distribution) = state.distributions.distribution(dist, None, required) else {
            return Ok(None);
        };
        let wheels = self.context.artifacts.wheels(&[distribution]).await;
        wheels.map_err(failed)?;
        self.known_metadata(dist).await
    }

    /// Returns metadata that no Python satisfies, so that uv chooses another version instead of the wheel `dist`, whose own
    /// metadata is unusable for this `reason`. uv would request it again.
    fn unusable(&self, dist: &Dist, reason: &str) -> Option<ResolutionMetadata> {
        let skipped = self.context.state.index.skipped();
        skipped.unusable(dist.name(), &file_name(dist), reason);
        Some(ResolutionMetadata {
            name: dist.name().clone(),
            version: dist.version()?.clone(),
            requires_dist: Box::default(),
            requires_python: Some(requires_python::inconsistent()),
            provides_extra: Box::default(),
            dynamic: false,
        })
    }

    fn parsed(&self, metadata: &[u8]) -> Option<ResolutionMetadata> {
        if self.lenient_metadata {
            lenient_metadata::parse(metadata)
        } else {
            ResolutionMetadata::parse_metadata(metadata).ok()
        }
    }

    /// Returns whether the Python of the target does not satisfy `requires`.
    fn excludes_target(&self, requires: &VersionSpecifiers) -> bool {
        !requires.contains(&self.target_env.python_version())
    }

    /// Returns metadata that excludes `dist`, if the index states that it is not for the Python of the target.
    fn published_incompatibility(&self, dist: &Dist) -> Option<MetadataResponse> {
        let requires = published_python(dist).filter(|requires| self.excludes_target(requires))?;
        let metadata = ResolutionMetadata {
            name: dist.name().clone(),
            version: dist.version()?.clone(),
            requires_dist: Box::default(),
            requires_python: Some(
                self.context
                    .state
                    .requires_python
                    .placeholder_specifier(requires),
            ),
            provides_extra: Box::default(),
            dynamic: false,
        };
        let metadata = ArchiveMetadata::from_metadata23(metadata);
        Some(MetadataResponse::Found(metadata))
    }

    /// Returns metadata that excludes a wheel with the metadata of another distribution, so that uv chooses another version.
    fn inconsistent(&self, dist: &Dist, mut metadata: ArchiveMetadata) -> MetadataResponse {
        let found = &mut metadata.metadata;
        let other = format!("{}=={}", found.name, found.version);
        let skipped = self.context.state.index.skipped();
        skipped.inconsistent(dist.name(), &file_name(dist), &other);
        found.name = dist.name().clone();
        if let Some(version) = dist.version() {
            found.version = version.clone();
        }
        found.requires_dist = Box::default();
        found.requires_python = Some(requires_python::inconsistent());
        MetadataResponse::Found(metadata)
    }

    /// Excludes a version whose `Requires-Python` the target does not satisfy.
    fn mark_incompatible(&self, mut metadata: ArchiveMetadata) -> MetadataResponse {
        let requires = &mut metadata.metadata.requires_python;
        if let Some(requires) = requires
            .as_mut()
            .filter(|requires| self.excludes_target(requires))
        {
            *requires = self
                .context
                .state
                .requires_python
                .placeholder_specifier(requires);
        }
        MetadataResponse::Found(metadata)
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

    /// Returns the metadata by way of uv. That of a wheel is requested once for all targets.
    async fn engine_metadata(&self, dist: &Dist) -> WheelMetadataResult {
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
        let state = self.context.state;
        let Ok(distribution) = state
            .distributions
            .distribution(dist, None, self.required(dist))
        else {
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
    fn fallback_metadata(
        &self,
        dist: &Dist,
        reason: &Arc<uv_distribution::Error>,
    ) -> Option<ArchiveMetadata> {
        let ResolverContext {
            state, artifacts, ..
        } = self.context;
        let distribution = state
            .distributions
            .distribution(dist, None, self.required(dist));
        let distribution = distribution.ok()?;
        let reason = error::find(reason).unwrap_or_else(|| {
            error::explain(reason, &format!("failed to read the metadata of {dist}"))
        });
        let bytes = artifacts.fallback_metadata(&distribution, &reason)?;
        ResolutionMetadata::parse_metadata(&bytes)
            .ok()
            .map(ArchiveMetadata::from_metadata23)
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

fn no_metadata(dist: &Dist, error: Arc<uv_distribution::Error>) -> MetadataResponse {
    let requested = RequestedDist::Installable(dist.clone());
    MetadataResponse::Error(Box::new(requested), error)
}

/// Returns whether `dist` is a wheel of an index whose name contradicts its `metadata`.
fn is_inconsistent(dist: &Dist, metadata: &ArchiveMetadata) -> bool {
    let Dist::Built(BuiltDist::Registry(wheel)) = dist else {
        return false;
    };
    let (found, version) = (&metadata.metadata, &wheel.best_wheel().filename.version);
    let same_version =
        found.version == *version || found.version.clone().without_local() == *version;
    found.name != *dist.name() || !same_version
}

fn file_name(dist: &Dist) -> String {
    match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => wheel.best_wheel().filename.to_string(),
        other => other.to_string(),
    }
}

/// Returns whether `dist` is on this machine. A distribution from a server may not require local files: it could run the
/// code of any source distribution on this machine.
fn is_local(dist: &Dist) -> bool {
    match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => is_local_index(&wheel.best_wheel().index),
        Dist::Source(SourceDist::Registry(sdist)) => is_local_index(&sdist.index),
        Dist::Built(BuiltDist::Path(_))
        | Dist::Source(SourceDist::Path(_) | SourceDist::Directory(_)) => true,
        Dist::Source(SourceDist::GitDirectory(tree)) => tree.git.url().scheme() == "file",
        _ => false,
    }
}

fn is_local_index(index: &IndexUrl) -> bool {
    index.url().scheme() == "file"
}

/// Returns whether the file of `dist` is on `PyPI` or its test instance. As for pip, it may not require URLs.
fn is_on_pypi(dist: &Dist) -> bool {
    let file = match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => &wheel.best_wheel().file,
        Dist::Source(SourceDist::Registry(sdist)) => &sdist.file,
        _ => return false,
    };
    let host = file.url.to_url();
    host.is_ok_and(|url| {
        matches!(
            url.host_str(),
            Some("files.pythonhosted.org" | "test-files.pythonhosted.org")
        )
    })
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
