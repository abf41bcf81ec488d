//! Direct references: archives at URLs and on disk, and sdists that uv cannot unpack.
//!
//! The [`ArtifactProvider`](crate::ArtifactProvider) fetches each archive once, as it was published, and uv reads the
//! metadata from its file. For a legacy sdist, the metadata is that of the wheel that it builds into.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use uv_distribution::ArchiveMetadata;
use uv_distribution_filename::{
    DistExtension, LegacySourceDistExtension as Legacy, SourceDistExtension,
};
use uv_distribution_types::{
    BuiltDist, Dist, HashPolicy, Identifier as _, Name as _, PathBuiltDist, PathSourceDist,
    Requirement, RequirementSource, SourceDist,
};
use uv_pep508::{MarkerEnvironment, UnnamedRequirement, VerbatimUrl};
use uv_pypi_types::{ParsedPathUrl, ParsedUrl, VerbatimParsedUrl};
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{InMemoryIndex, MetadataResponse};
use uv_types::{BuildContext, HashStrategy};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use super::ResolverContext;
use crate::convert::required_hashes;
use crate::error::explain;
use crate::requirements::legacy_sdists::{has_no_directory, is_legacy, is_legacy_sdist};

/// Returns whether the archive at `url` has no suffix that says what it is.
fn lacks_suffix(url: &DisplaySafeUrl) -> bool {
    DistExtension::from_path(url.path()).is_err()
}

/// Returns the format of the archive at `path`, judged by its contents.
fn format_of(path: &Path) -> std::io::Result<SourceDistExtension> {
    let mut start = Vec::new();
    fs_err::File::open(path)?.take(6).read_to_end(&mut start)?;
    Ok(match &start[..] {
        [b'P', b'K', ..] => SourceDistExtension::Legacy(Legacy::Zip),
        [0x1f, 0x8b, ..] => SourceDistExtension::TarGz,
        [b'B', b'Z', b'h', ..] => SourceDistExtension::Legacy(Legacy::TarBz2),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => SourceDistExtension::Legacy(Legacy::TarXz),
        _ => SourceDistExtension::Legacy(Legacy::Tar),
    })
}

/// Returns the archive that `requirement` names, unless it is in a Git repository.
fn archive_of(requirement: Requirement) -> Option<Dist> {
    let name = requirement.name;
    match requirement.source {
        RequirementSource::Url {
            location,
            subdirectory,
            ext,
            url,
        } => Dist::from_http_url(name, url, location, subdirectory, ext).ok(),
        RequirementSource::Path {
            install_path,
            ext,
            url,
        } => Dist::from_file_url(name, url, &install_path, ext).ok(),
        _ => None,
    }
}

fn is_direct(requirement: &Requirement) -> bool {
    matches!(
        requirement.source,
        RequirementSource::Url { .. } | RequirementSource::Path { .. }
    )
}

/// Returns the path of an archive on this machine.
fn local_path(dist: &Dist) -> Option<&Path> {
    match dist {
        Dist::Built(BuiltDist::Path(wheel)) => Some(&wheel.install_path),
        Dist::Source(SourceDist::Path(sdist)) => Some(&sdist.install_path),
        _ => None,
    }
}

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Adds the metadata of the archives that `requirements` name by URLs, directly or indirectly, to `index`. Local
    /// archives are only checked: uv reads them.
    pub(crate) async fn read_archives(
        &self,
        requirements: impl Iterator<Item = &Requirement>,
        markers: &MarkerEnvironment,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<()> {
        let mut pending: Vec<Requirement> = requirements.cloned().collect();
        let mut count = 0;
        while let Some(requirement) = pending.pop() {
            let extras = requirement.extras.clone();
            let Some(dist) = archive_of(requirement) else {
                continue;
            };
            count += 1;
            if count > limits::DIRECT_REFERENCES {
                let message = format!("{dist} is refused: too many URLs lead to it");
                return Err(Error::new(Kind::Fetch, message)
                    .with_hint("Check the requirements at these URLs; each names further URLs."));
            }
            if index.distributions().get(&dist.distribution_id()).is_some() {
                continue;
            }
            let Some(metadata) = self.metadata_of_archive(&dist, hasher).await? else {
                continue;
            };
            let requires = metadata.metadata.requires_dist.iter().cloned();
            pending.extend(requires.filter(|requirement| {
                is_direct(requirement) && requirement.evaluate_markers(Some(markers), &extras)
            }));
            let found = Arc::new(MetadataResponse::Found(metadata));
            index.distributions().done(dist.distribution_id(), found);
        }
        Ok(())
    }

    /// Returns the metadata of `dist`, an archive at a URL. Returns `None` if uv has to read it.
    async fn metadata_of_archive(
        &self,
        dist: &Dist,
        hasher: &HashStrategy,
    ) -> Result<Option<ArchiveMetadata>> {
        if let Some(path) = local_path(dist) {
            self.artifacts.check_archive(path).await?;
            return Ok(None);
        }
        let Some(file) = self.file_of_archive(dist, hasher).await? else {
            return Ok(None);
        };
        if let Dist::Source(SourceDist::Path(file)) = &file
            && is_legacy(file.ext)
        {
            return self.metadata_of_build(dist, hasher).await.map(Some);
        }
        let read = self
            .database()
            .get_or_build_wheel_metadata(&file, HashPolicy::None)
            .await;
        let read = read.map_err(|error| {
            let message = format!("failed to read the metadata of {dist}");
            explain(&error, &message)
        });
        read.map(Some)
    }

    /// Returns the file of `dist`, an archive at a URL, for uv to read. Returns `None` if uv has to read `dist` itself; a local
    /// archive is checked before.
    pub(crate) async fn file_to_read(
        &self,
        dist: &Dist,
        hasher: &HashStrategy,
    ) -> Result<Option<Dist>> {
        if let Some(path) = local_path(dist) {
            self.artifacts.check_archive(path).await?;
            return Ok(None);
        }
        match dist {
            Dist::Source(SourceDist::DirectUrl(_)) | Dist::Built(BuiltDist::DirectUrl(_)) => {
                self.file_of_archive(dist, hasher).await
            }
            _ => Ok(None),
        }
    }

    /// Returns `dist`, an archive at a URL, as the file that the artifact provider fetched. Returns `None` for an archive with
    /// a subdirectory, which uv does not accept for a file; the provider has checked it.
    async fn file_of_archive(&self, dist: &Dist, hasher: &HashStrategy) -> Result<Option<Dist>> {
        let required = required_hashes(hasher, dist);
        let distribution = self
            .state
            .distributions
            .distribution(dist, None, required)?;
        let Some(path) = self.artifacts.archive(&distribution).await? else {
            return Ok(None);
        };
        let unreadable = || format!("{dist} cannot be read");
        let url = VerbatimUrl::from_absolute_path(&path).context(Kind::Fetch, unreadable)?;
        let file = match dist {
            Dist::Built(BuiltDist::DirectUrl(wheel)) => {
                Dist::Built(BuiltDist::Path(PathBuiltDist {
                    filename: wheel.filename.clone(),
                    install_path: path.clone().into(),
                    url,
                }))
            }
            Dist::Source(SourceDist::DirectUrl(sdist)) if sdist.subdirectory.is_some() => {
                return Ok(None);
            }
            _ => Dist::Source(SourceDist::Path(PathSourceDist {
                name: dist.name().clone(),
                version: None,
                ext: format_of(&path).context(Kind::Fetch, unreadable)?,
                install_path: path.clone().into(),
                url,
            })),
        };
        self.state.distributions.add_archive(path, dist.to_string());
        Ok(Some(file))
    }

    /// Returns `unnamed`, at a URL without a file extension, as the file that the artifact provider fetched.
    pub(crate) async fn file_of_unnamed(
        &self,
        unnamed: &UnnamedRequirement<VerbatimParsedUrl>,
    ) -> Result<Option<UnnamedRequirement<VerbatimParsedUrl>>> {
        let ParsedUrl::Archive(archive) = &unnamed.url.parsed_url else {
            return Ok(None);
        };
        if !lacks_suffix(&archive.url) || archive.subdirectory.is_some() {
            return Ok(None);
        }
        let name = "archive".parse().expect("it is a valid name");
        let dist = Dist::from_http_url(
            name,
            unnamed.url.verbatim.clone(),
            archive.url.clone(),
            None,
            archive.ext,
        );
        let dist = dist.context(Kind::Input, || format!("{} is not an archive", archive.url))?;
        let file = self.file_of_archive(&dist, &HashStrategy::None).await?;
        let Some(Dist::Source(SourceDist::Path(file))) = file else {
            return Ok(None);
        };
        Ok(Some(UnnamedRequirement {
            url: VerbatimParsedUrl {
                parsed_url: ParsedUrl::Path(ParsedPathUrl {
                    url: file.url.to_url(),
                    install_path: file.install_path,
                    ext: DistExtension::Source(file.ext),
                }),
                verbatim: file.url,
            },
            ..unnamed.clone()
        }))
    }

    /// Returns the metadata of the wheel that `dist`, an sdist, builds into.
    pub(crate) async fn metadata_of_build(
        &self,
        dist: &Dist,
        hasher: &HashStrategy,
    ) -> Result<ArchiveMetadata> {
        let required = required_hashes(hasher, dist);
        let distribution = self
            .state
            .distributions
            .distribution(dist, None, required)?;
        let wanted = std::slice::from_ref(&distribution);
        let made = self.artifacts.wheels(wanted).await?;
        let [wheel] = &made[..] else {
            unreachable!("the provider returns one wheel for each distribution");
        };
        let unusable = || format!("the wheel of {distribution} cannot be read");
        let wheel = Dist::Built(BuiltDist::Path(PathBuiltDist {
            filename: wheel.filename.parse().context(Kind::Build, unusable)?,
            url: VerbatimUrl::from_absolute_path(&wheel.path).context(Kind::Build, unusable)?,
            install_path: wheel.path.clone().into_boxed_path(),
        }));
        self.database()
            .get_or_build_wheel_metadata(&wheel, HashPolicy::None)
            .await
            .context(Kind::Build, unusable)
    }

    /// Adds the metadata of the legacy sdists that `requirements` name to `index`.
    pub(crate) async fn read_legacy_sdists(
        &self,
        requirements: impl Iterator<Item = &Requirement>,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<()> {
        for requirement in requirements {
            let name = requirement.name.clone();
            let dist = match requirement.source.clone() {
                RequirementSource::Url {
                    location,
                    subdirectory,
                    ext,
                    url,
                } => Dist::from_http_url(name, url, location, subdirectory, ext),
                RequirementSource::Path {
                    install_path,
                    ext,
                    url,
                } => Dist::from_file_url(name, url, &install_path, ext),
                _ => continue,
            };
            // uv reports other errors.
            let is_ours = |dist: &Dist| is_legacy_sdist(dist) || has_no_directory(dist);
            if let Some(dist) = dist.ok().filter(is_ours) {
                let metadata = self.metadata_of_build(&dist, hasher).await?;
                let found = Arc::new(MetadataResponse::Found(metadata));
                index.distributions().done(dist.distribution_id(), found);
            }
        }
        Ok(())
    }
}
