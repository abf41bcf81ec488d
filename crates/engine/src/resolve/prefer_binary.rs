//! Choosing an older wheel instead of a newer sdist, with `--prefer-binary`.
//!
//! uv's resolver can only allow or forbid building a package. So all builds are forbidden first. If that has no solution,
//! each package that would be built is forbidden in turn, and stays so if a solution remains.

use std::collections::BTreeSet;

use uv_configuration::NoBuild;
use uv_distribution_types::{Dist, Name as _, Resolution, ResolvedDist, SourceDist};
use uv_types::BuildContext;
use wheelhouse_types::{PackageName, Result};

use super::ResolverContext;
use super::attempts;
use super::format_policy::FormatPolicy;
use super::inputs::ResolverInputs;
use super::solution::Solution;

/// Resolves `inputs` with the formats of the request.
///
/// # Errors
/// As [`attempts::resolve`].
pub(super) async fn resolve<C: BuildContext>(
    context: &ResolverContext<'_, C>,
    inputs: &ResolverInputs,
) -> Result<Solution> {
    let state = context.state;
    let requested = FormatPolicy::of_request(state, inputs);
    if !state.request.formats.prefer_binary {
        return attempts::resolve(context, inputs, &requested).await;
    }
    let wheels_only = FormatPolicy::forbidding(state, inputs, NoBuild::All);
    if let Ok(solution) = attempts::resolve(context, inputs, &wheels_only).await {
        return Ok(solution);
    }
    let mut solution = attempts::resolve(context, inputs, &requested).await?;
    let (mut forbidden, mut tried) = (Vec::new(), BTreeSet::new());
    while let Some(name) = built(&solution.resolution)
        .into_iter()
        .find(|name| !tried.contains(name))
    {
        tried.insert(name.clone());
        let names = forbidden.iter().cloned().chain([name.clone()]).collect();
        let policy = FormatPolicy::forbidding(state, inputs, NoBuild::Packages(names));
        if let Ok(without) = attempts::resolve(context, inputs, &policy).await {
            tracing::debug!(package = %name, "choosing a wheel instead of a newer sdist");
            solution = without;
            forbidden.push(name);
        }
    }
    Ok(solution)
}

/// Returns the packages of an index that would be built.
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
