//! The way in which a file came into a wheelhouse, by its manifest.

use std::collections::HashMap;

use wheelhouse_types::manifest::Built;
use wheelhouse_types::{Manifest, Origin, redact};

use super::{PLACE, VERSION};
use crate::text;

/// The way in which a file came into the wheelhouse.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileOrigin {
    pub(crate) kind: FileOriginKind,
    /// The index, the find-links location, or the source of a direct reference.
    pub(crate) place: String,
    /// The Python and the build requirements of a wheel that was built.
    pub(crate) built: Option<(String, Vec<String>)>,
    /// True if only builds and tools need it.
    pub(crate) is_build_only: bool,
}

/// The kind of a [`FileOrigin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FileOriginKind {
    /// Built from source.
    Built,
    /// Taken as it was published.
    Fetched,
    /// Not in a manifest.
    #[default]
    Unknown,
}

impl FileOrigin {
    pub(super) fn of(entry: &ManifestEntry<'_>) -> Self {
        let place = match entry.origin {
            // The place of a built wheel is that of its source.
            _ if entry.built.is_some() => entry.source,
            Origin::Index { url } => url,
            Origin::FindLinks { location } => location,
            Origin::Direct | Origin::Upload => entry.source,
        };
        let built = entry.built.map(|built| {
            let requirements = built.requirements.iter().take(100);
            let requirements = requirements.map(|line| text::line(line, PLACE)).collect();
            (text::line(&built.python, VERSION), requirements)
        });
        Self {
            kind: if built.is_some() {
                FileOriginKind::Built
            } else {
                FileOriginKind::Fetched
            },
            place: text::line(&redact::redacted(place), PLACE),
            built,
            is_build_only: entry.build_only,
        }
    }
}

/// The entries of a manifest by file name.
pub(super) struct Origins<'a>(pub(super) HashMap<&'a str, ManifestEntry<'a>>);

#[derive(Clone, Copy)]
pub(super) struct ManifestEntry<'a> {
    pub(super) origin: &'a Origin,
    pub(super) source: &'a str,
    pub(super) built: Option<&'a Built>,
    pub(super) dependencies: &'a [String],
    pub(super) build_only: bool,
}

impl<'a> Origins<'a> {
    pub(super) fn of(manifest: &'a Manifest) -> Self {
        let wheels = manifest.wheels.iter().map(|wheel| {
            let entry = ManifestEntry {
                origin: &wheel.origin,
                source: &wheel.source,
                built: wheel.built.as_ref(),
                dependencies: &wheel.dependencies,
                build_only: wheel.build_only,
            };
            (wheel.filename.as_str(), entry)
        });
        let sdists = manifest.sdists.iter().map(|sdist| {
            let entry = ManifestEntry {
                origin: &sdist.origin,
                source: &sdist.source,
                built: None,
                dependencies: &[],
                build_only: sdist.build_only,
            };
            (sdist.filename.as_str(), entry)
        });
        Self(wheels.chain(sdists).collect())
    }
}
