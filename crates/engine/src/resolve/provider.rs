//! What the resolver asks: uv's own answers, remembered between attempts, with an artifact provider that
//! hears what is in sight and may know the metadata.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;
use uv_configuration::BuildOptions;
use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{
    BuiltDist, Dist, DistributionId, HashPolicy, Identifier as _, IndexMetadata, IndexUrl,
    InstalledDist, Name as _, PathSourceDist, RequestedDist, Requirement, SourceDist,
};
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ResolutionMetadata;
use uv_resolver::{
    DefaultResolverProvider, MetadataResponse, PackageVersionsResult, ResolverProvider,
    WheelMetadataResult,
};
use uv_types::HashStrategy;
use wheelhouse_types::{Error, Kind, limits};

use crate::dispatch::BuildDispatch;
use crate::index::legacy_candidates::LegacyCandidates;
use crate::index::legacy_formats::is_legacy_sdist;
use crate::index::lenient_metadata;
use crate::index::wheel_ranges::{PartialMetadata, comes_in_parts};
use crate::resolve::metadata_cache::{BacktrackLimit, MetadataCache};
use crate::resolve::requires_python;
use crate::target::TargetEnvironment;

/// Why there is no metadata to share.
enum Unanswered {
    Otherwise(MetadataResponse),
    Failed(uv_distribution::Error),
}

impl From<uv_distribution::Error> for Unanswered {
    fn from(error: uv_distribution::Error) -> Self {
        Self::Failed(error)
    }
}

/// Metadata of wheels that several searches may want, asked for once.
pub(crate) type WheelMetadata = Mutex<HashMap<DistributionId, Arc<OnceCell<ArchiveMetadata>>>>;

type Inner<'a> = DefaultResolverProvider<'a, BuildDispatch<'a>>;

pub(crate) struct Provider<'a> {
    pub(crate) dispatch: &'a BuildDispatch<'a>,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) build_options: &'a BuildOptions,
    /// Whether metadata with versions from before PEP 440 is read.
    pub(crate) reads_old_metadata: bool,
    pub(crate) inner: Inner<'a>,
    /// The same, to be told once more why there is no page.
    pub(crate) brief: Inner<'a>,
    /// The same, from the cache alone.
    pub(crate) cached: Inner<'a>,
    /// The same, for files whose digests the artifact provider has checked.
    pub(crate) at_hand: Inner<'a>,
    /// One that takes these versions even if they were yanked, from the cache alone or not.
    pub(crate) with_yanked: Box<dyn Fn(Vec<Requirement>, bool) -> Inner<'a> + 'a>,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) metadata_cache: &'a MetadataCache,
    pub(crate) backtracking: &'a BacktrackLimit,
    /// Whether versions are taken to require nothing.
    pub(crate) without_dependencies: bool,
}

impl Provider<'_> {
    /// Tells the artifact provider of the first candidate of each package: the one that most often stays.
    fn announce(&self, dist: &Dist) {
        if !self.metadata_cache.first_seen(dist.name()) {
            return;
        }
        let sdist = self.sdist_in_place_of(dist);
        let dist = sdist.as_ref().unwrap_or(dist);
        let required = self.required(dist);
        if let Ok(distribution) = self.dispatch.state.distribution(dist, None, required) {
            self.dispatch.artifacts.prefetch(&distribution);
        }
    }

    fn required(&self, dist: &Dist) -> Vec<String> {
        required_hashes(self.hasher, dist)
    }

    /// What the artifact provider knows, if it agrees with the file's name.
    async fn known_metadata(
        &self,
        dist: &Dist,
    ) -> Result<Option<ArchiveMetadata>, uv_distribution::Error> {
        let Ok(distribution) = self
            .dispatch
            .state
            .distribution(dist, None, self.required(dist))
        else {
            return Ok(None);
        };
        let known = self.dispatch.artifacts.metadata(&distribution).await;
        let known = known.map_err(|error| self.failed(self.with_requirer(dist, error)))?;
        if let Some(bytes) = &known {
            limits::metadata(bytes).map_err(|excess| {
                let message = format!("the metadata of {dist} is refused");
                self.failed(Error::new(Kind::Fetch, message).caused_by(excess))
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

    /// The sdist that is built where the wheel `dist` cannot be used; uv asks the wheel what it requires.
    fn sdist_in_place_of(&self, dist: &Dist) -> Option<Dist> {
        let Dist::Built(BuiltDist::Registry(wheel)) = dist else {
            return None;
        };
        let filename = &wheel.best_wheel().filename;
        let is_useless =
            self.is_unwanted(dist) || !self.target_env.compatibility(filename).is_compatible();
        let sdist = wheel.sdist.clone().filter(|_| is_useless)?;
        Some(Dist::Source(SourceDist::Registry(sdist)))
    }

    /// Whether `dist` is a wheel that the request excludes: its sdist may require other things.
    fn is_unwanted(&self, dist: &Dist) -> bool {
        matches!(dist, Dist::Built(_)) && self.build_options.no_binary_package(dist.name())
    }

    /// What the wheel itself has, where an index does not give the metadata that it promises, or uv
    /// cannot read it.
    async fn metadata_of_wheel(&self, dist: &Dist) -> Option<ArchiveMetadata> {
        if !matches!(dist, Dist::Built(BuiltDist::Registry(_))) {
            return None;
        }
        let state = self.dispatch.state;
        let distribution = state.distribution(dist, None, self.required(dist)).ok()?;
        let wanted = std::slice::from_ref(&distribution);
        self.dispatch.artifacts.wheels(wanted).await.ok()?;
        self.known_metadata(dist).await.ok()?
    }

    /// Returns the metadata of the wheel `dist` of an index that gives none beside it: a part of the wheel has it, else all of it
    /// is fetched. `None` without network.
    async fn metadata_in_wheel(
        &self,
        dist: &Dist,
    ) -> Result<Option<ArchiveMetadata>, uv_distribution::Error> {
        let state = self.dispatch.state;
        let read = state.metadata_in_parts(dist).await;
        let read = read.map_err(|error| self.failed(error))?;
        let metadata = match read {
            PartialMetadata::Found(metadata) => match self.parsed(&metadata) {
                Some(metadata) if metadata.name != *dist.name() => {
                    let (file, found) = (file_name(dist), &metadata.name);
                    let message =
                        format!("{file} is not a valid wheel: its metadata is that of {found}");
                    return Err(self.failed(Error::new(Kind::Fetch, message)));
                }
                Some(metadata) => Some(metadata),
                None => self.unusable(dist, "its metadata is not valid"),
            },
            PartialMetadata::Lacking(reason) => self.unusable(dist, &reason),
            PartialMetadata::Unknown => None,
        };
        if let Some(metadata) = metadata {
            return Ok(Some(ArchiveMetadata::from_metadata23(metadata)));
        }
        if state.request.network.offline {
            return Ok(None);
        }
        let required = self.required(dist);
        let Ok(distribution) = state.distribution(dist, None, required) else {
            return Ok(None);
        };
        let wheels = self.dispatch.artifacts.wheels(&[distribution]).await;
        wheels.map_err(|error| self.failed(error))?;
        self.known_metadata(dist).await
    }

    /// Metadata that makes uv take another version instead of the wheel `dist`, whose own is of no use for this `reason`.
    /// uv would ask for it once more.
    fn unusable(&self, dist: &Dist, reason: &str) -> Option<ResolutionMetadata> {
        let oddities = &self.dispatch.state.pages.oddities;
        oddities.unusable(dist.name(), &file_name(dist), reason);
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
        if self.reads_old_metadata {
            lenient_metadata::parse(metadata)
        } else {
            ResolutionMetadata::parse_metadata(metadata).ok()
        }
    }

    /// Whether what `requires` such a Python is not for the target.
    fn excludes_target(&self, requires: &VersionSpecifiers) -> bool {
        !requires.contains(&self.target_env.python_version())
    }

    /// What to tell uv of a file that the index says is not for the target.
    fn published_incompatibility(&self, dist: &Dist) -> Option<MetadataResponse> {
        let requires = published_python(dist).filter(|requires| self.excludes_target(requires))?;
        let metadata = ResolutionMetadata {
            name: dist.name().clone(),
            version: dist.version()?.clone(),
            requires_dist: Box::default(),
            requires_python: Some(
                self.dispatch
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

    /// What to tell uv of a wheel with the metadata of something else, so that it takes another version.
    fn inconsistent(&self, dist: &Dist, mut metadata: ArchiveMetadata) -> MetadataResponse {
        let found = &mut metadata.metadata;
        let other = format!("{}=={}", found.name, found.version);
        let oddities = &self.dispatch.state.pages.oddities;
        oddities.inconsistent(dist.name(), &file_name(dist), &other);
        found.name = dist.name().clone();
        if let Some(version) = dist.version() {
            found.version = version.clone();
        }
        found.requires_dist = Box::default();
        found.requires_python = Some(requires_python::inconsistent());
        MetadataResponse::Found(metadata)
    }

    /// What to tell uv of a version with this metadata.
    fn mark_incompatible(&self, mut metadata: ArchiveMetadata) -> MetadataResponse {
        let requires = &mut metadata.metadata.requires_python;
        if let Some(requires) = requires
            .as_mut()
            .filter(|requires| self.excludes_target(requires))
        {
            *requires = self
                .dispatch
                .state
                .requires_python
                .placeholder_specifier(requires);
        }
        MetadataResponse::Found(metadata)
    }

    /// Names what requires `dist` in the error of a build cycle; other errors stay as they are.
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

    /// The metadata of `dist`, or of the sdist in its place.
    async fn wheel_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        let sdist = if self.is_unwanted(dist) {
            self.sdist_in_place_of(dist)
        } else {
            None
        };
        let dist = sdist.as_ref().unwrap_or(dist);
        if let Some(unfit) = self.published_incompatibility(dist) {
            return Ok(unfit);
        }
        self.backtracking.consider(dist);
        let id = dist.distribution_id();
        if let Some(metadata) = self.metadata_cache.metadata(&id) {
            return Ok(self.mark_incompatible(metadata));
        }
        // uv would wait for a lock of its own.
        if let Some(error) = self.dispatch.circle(dist) {
            return Err(self.failed(self.with_requirer(dist, error)));
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
                Ok(response @ MetadataResponse::Unavailable(_)) if self.reads_old_metadata => {
                    match self.metadata_of_wheel(dist).await {
                        Some(metadata) => MetadataResponse::Found(metadata),
                        None => response,
                    }
                }
                Ok(response) => response,
                // A refused metadata file is not replaced by what the wheel has.
                Err(error) if self.dispatch.state.failures.knows(&error) => return Err(error),
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
                    let copied = self.dispatch.copy_trees(requires).await;
                    copied.map_err(|error| self.failed(error))?;
                }
                self.metadata_cache.remember(id, &metadata);
                if !is_on_pypi(dist) {
                    self.metadata_cache.allow_urls(&metadata, is_local);
                }
                self.mark_incompatible(metadata)
            }
            other => other,
        })
    }

    fn failed(&self, error: Error) -> uv_distribution::Error {
        uv_distribution::Error::Build(self.dispatch.state.failures.keep(error).into())
    }

    /// What the engine itself finds out. Several targets may want the metadata of one wheel; it is
    /// asked for once.
    async fn engine_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        if matches!(dist, Dist::Source(_)) {
            return self.source_metadata(dist).await;
        }
        let answer = {
            let wheels = &self.dispatch.state.wheel_metadata;
            let mut wheels = wheels.lock().expect("no panic while locked");
            Arc::clone(wheels.entry(dist.distribution_id()).or_default())
        };
        let asked = answer.get_or_try_init(async || {
            if comes_in_parts(dist)
                && let Some(metadata) = self.metadata_in_wheel(dist).await?
            {
                return Ok(metadata);
            }
            let file = self.dispatch.file_to_read(dist, self.hasher).await;
            let response = match file.map_err(|error| self.failed(error))? {
                Some(file) => self.at_hand.get_or_build_wheel_metadata(&file).await?,
                None => self.inner.get_or_build_wheel_metadata(dist).await?,
            };
            match response {
                MetadataResponse::Found(metadata) => Ok(metadata),
                other => Err(Unanswered::Otherwise(other)),
            }
        });
        match asked.await {
            Ok(metadata) => Ok(MetadataResponse::Found(metadata.clone())),
            Err(Unanswered::Otherwise(response)) => Ok(response),
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }

    /// What the source itself says, or its back end.
    async fn source_metadata(&self, dist: &Dist) -> WheelMetadataResult {
        if is_legacy_sdist(dist) {
            return Ok(self.metadata_of_build(dist).await);
        }
        let Some(file) = self.file_of(dist).await? else {
            return self.inner.get_or_build_wheel_metadata(dist).await;
        };
        if let Some(error) = self.dispatch.circle(&file) {
            return Err(self.failed(self.with_requirer(dist, error)));
        }
        let response = self.at_hand.get_or_build_wheel_metadata(&file).await?;
        let MetadataResponse::Error(_, error) = response else {
            return Ok(response);
        };
        if matches!(*error, uv_distribution::Error::Build(_)) {
            return Ok(no_metadata(dist, error));
        }
        // uv wants a directory around the files of an sdist.
        Ok(self.metadata_of_build(dist).await)
    }

    async fn metadata_of_build(&self, dist: &Dist) -> MetadataResponse {
        let metadata = self.dispatch.metadata_of_build(dist, self.hasher).await;
        metadata.map_or_else(
            |error| no_metadata(dist, Arc::new(self.failed(error))),
            MetadataResponse::Found,
        )
    }

    /// `dist`, an sdist of an index or at a URL, as the file that the artifact provider has of it: uv would fetch it for
    /// itself.
    async fn file_of(&self, dist: &Dist) -> Result<Option<Dist>, uv_distribution::Error> {
        let Dist::Source(SourceDist::Registry(published)) = dist else {
            let file = self.dispatch.file_to_read(dist, self.hasher).await;
            return file.map_err(|error| self.failed(error));
        };
        let state = self.dispatch.state;
        let Ok(distribution) = state.distribution(dist, None, self.required(dist)) else {
            return Ok(None);
        };
        let path = self.dispatch.artifacts.archive(&distribution).await;
        let path = path.map_err(|error| self.failed(error))?;
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

    /// What the artifact provider goes on with when `dist` has no metadata.
    fn fallback_metadata(
        &self,
        dist: &Dist,
        reason: &Arc<uv_distribution::Error>,
    ) -> Option<ArchiveMetadata> {
        let BuildDispatch {
            state, artifacts, ..
        } = self.dispatch;
        let distribution = state.distribution(dist, None, self.required(dist));
        let distribution = distribution.ok()?;
        let reason = state.failures.explanation(reason);
        let bytes = artifacts.fallback_metadata(&distribution, &reason)?;
        ResolutionMetadata::parse_metadata(&bytes)
            .ok()
            .map(ArchiveMetadata::from_metadata23)
    }
}

fn no_metadata(dist: &Dist, error: Arc<uv_distribution::Error>) -> MetadataResponse {
    let requested = RequestedDist::Installable(dist.clone());
    MetadataResponse::Error(Box::new(requested), error)
}

/// The Pythons that an index says a file is for.
pub(crate) fn published_python(dist: &Dist) -> Option<&VersionSpecifiers> {
    let file = match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => &wheel.best_wheel().file,
        Dist::Source(SourceDist::Registry(sdist)) => &sdist.file,
        _ => return None,
    };
    file.requires_python.as_deref()
}

/// Returns whether `dist` is a wheel of an index whose name says something else than its `metadata`.
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

/// Returns whether `dist` is on this machine. What comes from an index may not require files of this machine: it could have
/// the code of any source distribution run that is here.
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

/// Whether `PyPI` or its test instance has the file of `dist`: for pip, as there, such files cannot require URLs.
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

/// The digests that the request demands for `dist`.
pub(crate) fn required_hashes(hasher: &HashStrategy, dist: &Dist) -> Vec<String> {
    match hasher.get(dist) {
        HashPolicy::Any(hashes) | HashPolicy::All(hashes) => {
            hashes.iter().map(ToString::to_string).collect()
        }
        HashPolicy::None | HashPolicy::Generate(_) => Vec::new(),
    }
}

impl ResolverProvider for Provider<'_> {
    async fn get_package_versions<'io>(
        &'io self,
        package_name: &'io PackageName,
        index: Option<&'io IndexMetadata>,
    ) -> PackageVersionsResult {
        if index.is_some() {
            return self.inner.get_package_versions(package_name, index).await;
        }
        let state = self.dispatch.state;
        let pages = state.prefetcher.ask(package_name).await;
        let locked_files = &state.locked_files;
        if let Some(refusal) = pages.refusal
            && !locked_files.has_places(package_name)
        {
            let error = state.failures.keep(refusal.error(package_name));
            return Err(uv_client::ErrorKind::Io(std::io::Error::other(error)).into());
        }
        let (pins, is_cached) = (self.metadata_cache.pins(package_name), pages.are_cached);
        let has_legacy_versions =
            pages.have_legacy_versions || state.legacy_packages.contains(package_name);
        if has_legacy_versions
            || self.target_env.target.wide_unicode
            || locked_files.has_others(package_name, &pages.locked)
            || pages.are_odd
            || (state.odd_links.iter()).any(|link| link.filename.name() == package_name)
        {
            let shelf = LegacyCandidates {
                state,
                target_env: self.target_env,
                hasher: self.hasher,
                build_options: self.build_options,
                name: package_name,
                pins: pins.unwrap_or_default(),
                has_odd_page: pages.are_odd,
            };
            return shelf.versions(is_cached).await;
        }
        if let Some(pins) = pins {
            let provider = (self.with_yanked)(pins, is_cached);
            return provider.get_package_versions(package_name, index).await;
        }
        let provider = if is_cached { &self.cached } else { &self.brief };
        provider.get_package_versions(package_name, index).await
    }

    async fn get_or_build_wheel_metadata<'io>(&'io self, dist: &'io Dist) -> WheelMetadataResult {
        let answer = self.wheel_metadata(dist).await;
        if matches!(answer, Err(_) | Ok(MetadataResponse::Error(..))) {
            self.backtracking.fail(dist.name());
        }
        answer
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
