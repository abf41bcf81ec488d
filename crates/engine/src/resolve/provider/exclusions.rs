//! Metadata that makes uv's resolver choose another version instead of a candidate that cannot be used.

use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{Dist, Name as _};
use uv_pep440::VersionSpecifiers;
use uv_pypi_types::ResolutionMetadata;
use uv_resolver::MetadataResponse;
use uv_types::BuildContext;

use super::super::requires_python;
use super::Provider;
use super::dist::file_name;
use crate::convert::published_python;

impl<C: BuildContext> Provider<'_, C> {
    /// Returns metadata that no Python satisfies, so that uv chooses another version instead of the wheel `dist`, whose own
    /// metadata is unusable for this `reason`. uv would request it again.
    pub(super) fn unusable(&self, dist: &Dist, reason: &str) -> Option<ResolutionMetadata> {
        let skipped = self.context.state.index.skipped();
        skipped.unusable(dist.name(), &file_name(dist), reason);
        metadata_for(dist, requires_python::inconsistent())
    }

    /// Returns whether the Python of the target does not satisfy `requires`.
    fn excludes_target(&self, requires: &VersionSpecifiers) -> bool {
        !requires.contains(&self.target_env.python_version())
    }

    /// Returns metadata that excludes `dist`, if the index states that it is not for the Python of the target.
    pub(super) fn published_incompatibility(&self, dist: &Dist) -> Option<MetadataResponse> {
        let requires = published_python(dist).filter(|requires| self.excludes_target(requires))?;
        let requires = self
            .context
            .state
            .requires_python
            .placeholder_specifier(requires);
        let metadata = metadata_for(dist, requires)?;
        let metadata = ArchiveMetadata::from_metadata23(metadata);
        Some(MetadataResponse::Found(metadata))
    }

    /// Returns metadata that excludes a wheel with the metadata of another distribution, so that uv chooses another version.
    pub(super) fn inconsistent(
        &self,
        dist: &Dist,
        mut metadata: ArchiveMetadata,
    ) -> MetadataResponse {
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
    pub(super) fn mark_incompatible(&self, mut metadata: ArchiveMetadata) -> MetadataResponse {
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
}

/// Returns metadata of `dist` with nothing but `requires_python`.
fn metadata_for(dist: &Dist, requires_python: VersionSpecifiers) -> Option<ResolutionMetadata> {
    Some(ResolutionMetadata {
        name: dist.name().clone(),
        version: dist.version()?.clone(),
        requires_dist: Box::default(),
        requires_python: Some(requires_python),
        provides_extra: Box::default(),
        dynamic: false,
    })
}
