//! Archives at URLs: the artifact provider fetches each, once and as it was published, and uv reads the metadata from its file.
//!
//! pip takes the URL of an archive whatever it ends with, and uv wants a suffix. So a URL without one is parsed as if it had
//! [one](SUFFIX), and the contents of the file decide on its format.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use uv_distribution::ArchiveMetadata;
use uv_distribution_filename::{
    DistExtension, LegacySourceDistExtension as Legacy, SourceDistExtension,
};
use uv_distribution_types::{
    BuiltDist, Dist, HashPolicy, Identifier as _, Name as _, PathBuiltDist, PathSourceDist,
    Requirement, RequirementSource, SourceDist, UnresolvedRequirement,
};
use uv_pep508::{MarkerEnvironment, UnnamedRequirement, VerbatimUrl};
use uv_pypi_types::{ParsedPathUrl, ParsedUrl, VerbatimParsedUrl};
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{InMemoryIndex, MetadataResponse};
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, limits};

use crate::dispatch::BuildDispatch;
use crate::index::legacy_formats::is_legacy;
use crate::resolve::provider::required_hashes;

/// The suffix with which a URL of an archive is parsed that has none.
const SUFFIX: &str = "/archive.tar.gz";

/// The suffix that the file of such a URL is given.
pub(crate) const FILE_SUFFIX: &str = ".tar.gz";

/// `text`, a requirement with an HTTP URL that does not end as an archive does, with a suffix.
pub(crate) fn with_suffix(text: &str) -> Option<String> {
    let start = text
        .match_indices("http")
        .map(|(start, _)| start)
        .find(|start| {
            let before = text[..*start].trim_end_matches(char::is_whitespace);
            before.is_empty() || before.ends_with('@')
        })?;
    let end = text[start..].find(char::is_whitespace);
    let end = end.map_or(text.len(), |length| start + length);
    let path_end = text[start..end].find(['?', '#']);
    let path_end = path_end.map_or(end, |length| start + length);
    let (before, rest) = text.split_at(path_end);
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| before[start..].starts_with(scheme));
    let has_suffix = DistExtension::from_path(before).is_ok();
    (is_url && !has_suffix).then(|| format!("{before}{SUFFIX}{rest}"))
}

/// Takes the suffix away again.
pub(crate) fn without_suffix(requirement: &mut UnresolvedRequirement) {
    let (location, verbatim) = match requirement {
        UnresolvedRequirement::Named(named) => match &mut named.source {
            RequirementSource::Url { location, url, .. } => (location, url),
            _ => return,
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &mut unnamed.url.parsed_url {
            ParsedUrl::Archive(archive) => (&mut archive.url, &mut unnamed.url.verbatim),
            _ => return,
        },
    };
    let shorten = |url: &mut DisplaySafeUrl| {
        let path = url.path().strip_suffix(SUFFIX).map(ToOwned::to_owned);
        if let Some(path) = path {
            url.set_path(&path);
        }
    };
    let mut url = verbatim.to_url();
    shorten(&mut url);
    shorten(location);
    *verbatim = VerbatimUrl::from_url(url);
}

/// Returns whether the archive at `url` has no suffix that says what it is.
fn lacks_suffix(url: &DisplaySafeUrl) -> bool {
    DistExtension::from_path(url.path()).is_err()
}

/// The format of the archive at `path`, by its contents.
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

/// The archive that `requirement` names, unless it is in a Git repository.
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

/// The path of an archive on this machine.
fn local_path(dist: &Dist) -> Option<&Path> {
    match dist {
        Dist::Built(BuiltDist::Path(wheel)) => Some(&wheel.install_path),
        Dist::Source(SourceDist::Path(sdist)) => Some(&sdist.install_path),
        _ => None,
    }
}

impl BuildDispatch<'_> {
    /// Puts the metadata of the archives that `requirements` name by URLs, and of those that these require so, into
    /// `index`. What is not read here is examined: uv reads it.
    pub(crate) async fn read_archives(
        &self,
        requirements: impl Iterator<Item = &Requirement>,
        markers: &MarkerEnvironment,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<()> {
        let mut waiting: Vec<Requirement> = requirements.cloned().collect();
        let mut count = 0;
        while let Some(requirement) = waiting.pop() {
            let extras = requirement.extras.clone();
            let Some(dist) = archive_of(requirement) else {
                continue;
            };
            count += 1;
            if count > limits::DIRECT_REFERENCES {
                let message = format!("{dist} is refused: too many URLs lead to it");
                return Err(Error::new(Kind::Fetch, message).with_hint(
                    "The requirements at these URLs name further URLs without an end.",
                ));
            }
            if index.distributions().get(&dist.distribution_id()).is_some() {
                continue;
            }
            let Some(metadata) = self.metadata_of_archive(&dist, hasher).await? else {
                continue;
            };
            let requires = metadata.metadata.requires_dist.iter().cloned();
            waiting.extend(requires.filter(|requirement| {
                is_direct(requirement) && requirement.evaluate_markers(Some(markers), &extras)
            }));
            let found = Arc::new(MetadataResponse::Found(metadata));
            index.distributions().done(dist.distribution_id(), found);
        }
        Ok(())
    }

    /// The metadata of `dist`, an archive at a URL; `None` if it is uv that reads it.
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
            self.state.explained(error, &message)
        });
        read.map(Some)
    }

    /// The file of `dist`, an archive at a URL or on this machine, for uv to read within limits. `None` if uv has to read
    /// `dist` itself, which is examined then.
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

    /// `dist`, an archive at a URL, as the file that the artifact provider has of it. uv takes no part of a file, so of an archive
    /// with a subdirectory there is none, but it is examined.
    async fn file_of_archive(&self, dist: &Dist, hasher: &HashStrategy) -> Result<Option<Dist>> {
        let required = required_hashes(hasher, dist);
        let distribution = self.state.distribution(dist, None, required)?;
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
        let mut archives = self.state.archives.lock().expect("no panic while locked");
        archives.insert(path, dist.to_string());
        Ok(Some(file))
    }

    /// `unnamed`, at a URL that says nothing of what is there, as the file that the artifact provider has of it.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_without_a_suffix_get_one() {
        let suffixed = |text: &str| with_suffix(text);
        assert_eq!(
            suffixed("a @ https://host/tar.gz/v1?x=1#egg=a ; python_version > '3'").as_deref(),
            Some("a @ https://host/tar.gz/v1/archive.tar.gz?x=1#egg=a ; python_version > '3'")
        );
        assert_eq!(
            suffixed("http://host/download?id=5").as_deref(),
            Some("http://host/download/archive.tar.gz?id=5")
        );
        for text in [
            "a @ https://host/a.zip",
            "git+https://host/a",
            "a>=1",
            "a @ git+https://host/a",
            "http",
        ] {
            assert_eq!(suffixed(text), None, "{text}");
        }
    }
}
