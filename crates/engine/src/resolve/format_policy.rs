//! The choice between wheels and builds in one resolution.

use uv_configuration::{BuildOptions, NoBuild};
use uv_resolver::{FlatIndex, InMemoryIndex};

use super::ResolveState;
use super::inputs::ResolverInputs;

/// The formats that a resolution may use.
pub(crate) struct FormatPolicy {
    pub(crate) build_options: BuildOptions,
    pub(crate) flat_index: FlatIndex,
    /// The versions of each package, which depend on the policy.
    pub(crate) index: InMemoryIndex,
}

impl FormatPolicy {
    pub(super) fn of_request(state: &ResolveState, inputs: &ResolverInputs) -> Self {
        Self {
            build_options: state.build_options.clone(),
            flat_index: inputs.flat_index.clone(),
            index: inputs.index.clone(),
        }
    }

    /// Returns the policy of the request, without the builds that `forbidden` names.
    pub(super) fn forbidding(
        state: &ResolveState,
        inputs: &ResolverInputs,
        forbidden: NoBuild,
    ) -> Self {
        let requested = state.build_options.clone();
        let build_options = BuildOptions::new(
            requested.no_binary().clone(),
            requested.no_build().clone().combine(forbidden),
        );
        let flat_index = state
            .index
            .flat_index(&inputs.target_env, &inputs.hasher, &build_options);
        Self {
            build_options,
            flat_index,
            index: InMemoryIndex::default(),
        }
    }
}
