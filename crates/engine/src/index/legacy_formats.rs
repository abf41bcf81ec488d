//! Sdists in formats that pip takes and uv passes over, since they are not what PEP 625 wants: `.tar.bz2` and the like.
//!
//! Responsible for recognizing them, and for their metadata: uv cannot unpack most of them, so their wheels are built
//! for it. What there is of them on an index is for the [shelf](crate::index::legacy_candidates).

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::BufReader;
use std::path::Component;
use std::sync::Arc;

use uv_client::{FlatIndexEntries, MetadataFormat};
use uv_distribution::ArchiveMetadata;
use uv_distribution_filename::{
    DistExtension, DistFilename, LegacySourceDistExtension as Legacy, SourceDistExtension,
};
use uv_distribution_types::{
    BuiltDist, Dist, HashPolicy, Identifier as _, PathBuiltDist, Requirement, RequirementSource,
    SourceDist, UnresolvedRequirement,
};
use uv_normalize::PackageName;
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_resolver::{InMemoryIndex, MetadataResponse};
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::dispatch::BuildDispatch;
use crate::resolve::provider::required_hashes;

/// Whether sdists of this format are legacy ones.
pub(crate) fn is_legacy(format: SourceDistExtension) -> bool {
    use Legacy::{Tar, TarBz2, TarXz, Tbz, Tgz, Txz};
    let SourceDistExtension::Legacy(format) = format else {
        return false;
    };
    matches!(format, Tar | TarBz2 | TarXz | Tbz | Tgz | Txz)
}

/// Whether `dist` is a legacy sdist.
pub(crate) fn is_legacy_sdist(dist: &Dist) -> bool {
    let Dist::Source(sdist) = dist else {
        return false;
    };
    let format = match sdist {
        SourceDist::Registry(sdist) => return is_legacy(sdist.ext),
        SourceDist::Path(sdist) => SourceDistExtension::from_path(&sdist.install_path),
        SourceDist::DirectUrl(sdist) => SourceDistExtension::from_path(sdist.location.path()),
        _ => return false,
    };
    format.is_ok_and(is_legacy)
}

/// Whether `dist` is a local sdist whose first file lies in no directory: pip builds such a one, and uv takes its
/// `setup.py` for the tree.
fn is_of_one_file(dist: &Dist) -> bool {
    let Dist::Source(SourceDist::Path(sdist)) = dist else {
        return false;
    };
    let Ok(file) = fs_err::File::open(&*sdist.install_path) else {
        return false;
    };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let Ok(entries) = archive.entries() else {
        return false;
    };
    let file = entries
        .map_while(Result::ok)
        .find(|entry| entry.header().entry_type().is_file());
    let path = file.and_then(|entry| entry.path().ok().map(Cow::into_owned));
    path.is_some_and(|path| {
        let parts = path.components();
        parts
            .filter(|part| matches!(part, Component::Normal(_)))
            .count()
            == 1
    })
}

/// Whether `page` has a version of which every sdist is a legacy one.
pub(crate) fn has_legacy_versions(page: &MetadataFormat) -> bool {
    let MetadataFormat::Simple(page) = page else {
        return false;
    };
    page.iter().any(|datum| {
        let mut formats = datum.files.source_dists.iter().filter_map(|sdist| {
            let sdist = rkyv::deserialize::<_, rkyv::rancor::Error>(sdist);
            SourceDistExtension::from_path(sdist.expect("uv wrote it").filename()).ok()
        });
        formats.next().is_some_and(is_legacy) && formats.all(is_legacy)
    })
}

/// The packages of which `entries` have a legacy sdist.
pub(crate) fn packages(entries: &FlatIndexEntries) -> HashSet<PackageName> {
    let (entries, _) = entries.clone().into_parts();
    let names = entries
        .into_iter()
        .filter_map(|entry| match entry.into_parts() {
            (DistFilename::SourceDistFilename(sdist), ..) if is_legacy(sdist.extension) => {
                Some(sdist.name)
            }
            _ => None,
        });
    names.collect()
}

/// Lets uv take a legacy sdist that `requirement` names, for what it does not get to unpack.
pub(crate) fn admit(requirement: &mut UnresolvedRequirement) {
    let format = match requirement {
        UnresolvedRequirement::Named(named) => match &mut named.source {
            RequirementSource::Url { ext, .. } | RequirementSource::Path { ext, .. } => ext,
            _ => return,
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &mut unnamed.url.parsed_url {
            ParsedUrl::Archive(archive) => &mut archive.ext,
            ParsedUrl::Path(path) => &mut path.ext,
            _ => return,
        },
    };
    if matches!(*format, DistExtension::Source(format) if is_legacy(format)) {
        *format = DistExtension::Source(SourceDistExtension::Legacy(Legacy::Zip));
    }
}

impl BuildDispatch<'_> {
    /// The metadata of the wheel that `dist`, an sdist, builds into.
    pub(crate) async fn metadata_of_build(
        &self,
        dist: &Dist,
        hasher: &HashStrategy,
    ) -> Result<ArchiveMetadata> {
        let required = required_hashes(hasher, dist);
        let distribution = self.state.distribution(dist, None, required)?;
        let wanted = std::slice::from_ref(&distribution);
        let made = self.artifacts.wheels(wanted).await?;
        let [wheel] = &made[..] else {
            unreachable!("one is made for each that is wanted");
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

    /// Puts the metadata of the legacy sdists that `requirements` name into `index`.
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
            // What is wrong with it is told by whoever reads the others.
            let is_ours = |dist: &Dist| is_legacy_sdist(dist) || is_of_one_file(dist);
            if let Some(dist) = dist.ok().filter(is_ours) {
                let metadata = self.metadata_of_build(&dist, hasher).await?;
                let found = Arc::new(MetadataResponse::Found(metadata));
                index.distributions().done(dist.distribution_id(), found);
            }
        }
        Ok(())
    }
}
