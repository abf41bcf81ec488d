//! Sdists in formats that pip accepts and PEP 625 does not, such as `.tar.bz2`: uv skips them.

use std::borrow::Cow;
use std::io::BufReader;
use std::path::Component;

use uv_distribution_filename::{
    DistExtension, LegacySourceDistExtension as Legacy, SourceDistExtension,
};
use uv_distribution_types::{Dist, RequirementSource, SourceDist, UnresolvedRequirement};
use uv_pypi_types::ParsedUrl;

/// Returns whether sdists of this format are legacy sdists.
pub(crate) fn is_legacy(format: SourceDistExtension) -> bool {
    use Legacy::{Tar, TarBz2, TarXz, Tbz, Tgz, Txz};
    let SourceDistExtension::Legacy(format) = format else {
        return false;
    };
    matches!(format, Tar | TarBz2 | TarXz | Tbz | Tgz | Txz)
}

/// Returns whether `dist` is a legacy sdist.
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

/// Returns whether `dist` is a local sdist whose first file is not in a directory. pip builds it; uv takes the file for the
/// source tree.
pub(crate) fn has_no_directory(dist: &Dist) -> bool {
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

/// Declares a legacy sdist that `requirement` names as a `.zip`, so that uv accepts the requirement. uv never unpacks it.
pub(crate) fn accept_legacy_sdist(requirement: &mut UnresolvedRequirement) {
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
