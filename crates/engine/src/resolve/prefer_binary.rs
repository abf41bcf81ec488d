//! Choosing an older wheel rather than a newer sdist, when the request prefers wheels.
//!
//! uv's resolver knows only packages that may be built and packages that may not. So all are barred
//! from building first; if that has no solution, each package that would be built is barred in turn,
//! and stays so where a solution remains.

use std::collections::BTreeSet;

use uv_configuration::{BuildOptions, NoBuild};
use uv_distribution_types::{Dist, Name as _, Resolution, ResolvedDist, SourceDist};
use uv_resolver::{FlatIndex, InMemoryIndex};
use wheelhouse_types::{PackageName, Result};

use crate::dispatch::BuildDispatch;
use crate::resolve::inputs::ResolverInputs;
use crate::resolve::strategy::{self, Solution};
use crate::state::EngineState;

/// What may be built, and what `--find-links` offers under that rule.
pub(crate) struct FormatPolicy {
    pub(crate) build_options: BuildOptions,
    pub(crate) flat_index: FlatIndex,
    /// What is known of versions depends on the rule.
    pub(crate) index: InMemoryIndex,
}

impl FormatPolicy {
    fn of_request(engine: &EngineState, inputs: &ResolverInputs) -> Self {
        Self {
            build_options: engine.build_options.clone(),
            flat_index: inputs.flat_index.clone(),
            index: inputs.index.clone(),
        }
    }

    /// The request's rule, with what `barred` says.
    fn barring(engine: &EngineState, inputs: &ResolverInputs, barred: NoBuild) -> Self {
        let given = engine.build_options.clone();
        let build_options = BuildOptions::new(
            given.no_binary().clone(),
            given.no_build().clone().combine(barred),
        );
        let flat_index = engine.flat_index(&inputs.target_env, &inputs.hasher, &build_options);
        Self {
            build_options,
            flat_index,
            index: InMemoryIndex::default(),
        }
    }
}

/// Settles `inputs` under the rules of the request.
///
/// # Errors
/// As [`strategy::settle`].
pub(crate) async fn settle(
    dispatch: &BuildDispatch<'_>,
    inputs: &ResolverInputs,
) -> Result<Solution> {
    let engine = dispatch.state;
    let given = FormatPolicy::of_request(engine, inputs);
    if !engine.request.formats.prefer_binary {
        return strategy::settle(dispatch, inputs, &given).await;
    }
    let wheels_only = FormatPolicy::barring(engine, inputs, NoBuild::All);
    if let Ok(settled) = strategy::settle(dispatch, inputs, &wheels_only).await {
        return Ok(settled);
    }
    let mut settled = strategy::settle(dispatch, inputs, &given).await?;
    let (mut barred, mut tried) = (Vec::new(), BTreeSet::new());
    while let Some(name) = built(&settled.resolution)
        .into_iter()
        .find(|name| !tried.contains(name))
    {
        tried.insert(name.clone());
        let names = barred.iter().cloned().chain([name.clone()]).collect();
        let rule = FormatPolicy::barring(engine, inputs, NoBuild::Packages(names));
        if let Ok(without) = strategy::settle(dispatch, inputs, &rule).await {
            settled = without;
            barred.push(name);
        }
    }
    Ok(settled)
}

/// The packages of an index that would be built.
fn built(resolution: &Resolution) -> Vec<PackageName> {
    let built = resolution.distributions().filter_map(|dist| match dist {
        ResolvedDist::Installable { dist, .. } => match &**dist {
            Dist::Source(SourceDist::Registry(source)) => Some(source.name().clone()),
            _ => None,
        },
        ResolvedDist::Installed { .. } => None,
    });
    built.collect()
}
