//! Archives at URLs: the companion fetches each, once and as it was published, and uv reads the metadata from its file.
//!
//! pip takes the URL of an archive whatever it ends with, and uv wants a suffix. So a URL without one is parsed as if it had
//! [one](SUFFIX), and the contents of the file decide on its format.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use uv_distribution_filename::{
    DistExtension, LegacySourceDistExtension as Legacy, SourceDistExtension,
};
use uv_distribution_types::{
    Dist, HashPolicy, Identifier as _, Name as _, PathSourceDist, Requirement, RequirementSource,
    SourceDist, UnresolvedRequirement,
};
use uv_pep508::{UnnamedRequirement, VerbatimUrl};
use uv_pypi_types::{ParsedPathUrl, ParsedUrl, VerbatimParsedUrl};
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{InMemoryIndex, MetadataResponse};
use uv_types::HashStrategy;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use crate::context::Bench;
use crate::legacy_sdists::is_legacy;
use crate::provider::required_hashes;

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

impl Bench<'_> {
    /// Puts the metadata of the archives at URLs that `requirements` name into `index`.
    pub(crate) async fn read_archives(
        &self,
        requirements: impl Iterator<Item = &Requirement>,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<()> {
        for requirement in requirements {
            // uv knows the parts of an archive, and what of it is a legacy sdist was read before.
            let RequirementSource::Url {
                location,
                subdirectory: None,
                ext: ext @ DistExtension::Source(format),
                url,
            } = requirement.source.clone()
            else {
                continue;
            };
            let name = requirement.name.clone();
            let Ok(dist) = Dist::from_http_url(name, url, location, None, ext) else {
                continue;
            };
            if is_legacy(format) || index.distributions().get(&dist.distribution_id()).is_some() {
                continue;
            }
            let Some(file) = self.file_of_archive(&dist, hasher).await? else {
                continue;
            };
            let metadata = match &file {
                SourceDist::Path(file) if is_legacy(file.ext) => {
                    self.metadata_of_build(&dist, hasher).await?
                }
                _ => {
                    let file = Dist::Source(file);
                    let read = self
                        .database()
                        .get_or_build_wheel_metadata(&file, HashPolicy::None)
                        .await;
                    read.map_err(|error| {
                        let message = format!("failed to read the metadata of {dist}");
                        self.workshop.explained(error, &message)
                    })?
                }
            };
            let found = Arc::new(MetadataResponse::Found(metadata));
            index.distributions().done(dist.distribution_id(), found);
        }
        Ok(())
    }

    /// `dist`, an archive at a URL, as the file that the companion has of it.
    async fn file_of_archive(
        &self,
        dist: &Dist,
        hasher: &HashStrategy,
    ) -> Result<Option<SourceDist>> {
        let required = required_hashes(hasher, dist);
        let distribution = self.workshop.distribution(dist, None, required)?;
        let Some(path) = self.companion.archive(&distribution).await? else {
            return Ok(None);
        };
        let unreadable = || format!("{dist} cannot be read");
        let ext = format_of(&path).context(Kind::Fetch, unreadable)?;
        let url = VerbatimUrl::from_absolute_path(&path).context(Kind::Fetch, unreadable)?;
        let mut archives = self
            .workshop
            .archives
            .lock()
            .expect("no panic while locked");
        archives.insert(path.clone(), dist.to_string());
        Ok(Some(SourceDist::Path(PathSourceDist {
            name: dist.name().clone(),
            version: None,
            install_path: path.into(),
            ext,
            url,
        })))
    }

    /// `unnamed`, at a URL that says nothing of what is there, as the file that the companion has of it.
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
        let Some(SourceDist::Path(file)) = file else {
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
