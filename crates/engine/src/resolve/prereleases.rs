//! The packages of which pre-releases are allowed.
//!
//! The settings of the request take precedence. Otherwise, as for pip, pre-releases of a package are allowed if a
//! requirement has one in its specifier (`>=2.0rc1`), or if nothing else satisfies the requirements.

use std::collections::BTreeSet;

use uv_distribution_types::{Identifier as _, Requirement, RequirementSource, ResolvedDist};
use uv_pep440::{Operator, VersionSpecifier};
use uv_resolver::{MetadataResponse, Prerelease, PrereleaseMode};
use wheelhouse_types::PackageName;
use wheelhouse_types::request::Prereleases;

use super::inputs::ResolverInputs;
use super::solution::Solution;
use crate::target::TargetEnvironment;

/// Returns uv's setting, with pre-releases of the packages `required`.
pub(crate) fn allowed(wanted: &Prereleases, required: &BTreeSet<PackageName>) -> Prerelease {
    let mode = |allowed| {
        if allowed {
            PrereleaseMode::Allow
        } else {
            PrereleaseMode::Disallow
        }
    };
    let mut prerelease = Prerelease {
        global: wanted.others.map_or(PrereleaseMode::IfNecessary, mode),
        ..Prerelease::default()
    };
    if wanted.others.is_none() {
        let required = required.iter();
        let required = required.map(|name| (name.clone(), PrereleaseMode::Allow));
        prerelease.package.extend(required);
    }
    for (name, allowed) in &wanted.packages {
        prerelease.package.insert(name.clone(), mode(*allowed));
    }
    prerelease
}

/// Returns the packages of which the request requires a pre-release. Requirements that an override replaces do not count.
pub(crate) fn of_inputs(inputs: &ResolverInputs) -> BTreeSet<PackageName> {
    let overridden = overridden(inputs);
    let requirements = inputs.requirements.iter();
    let requirements = requirements.filter(|requirement| !overridden.contains(&requirement.name));
    let others = inputs.constraints.requirements();
    let all = requirements
        .chain(others)
        .chain(inputs.overrides.global_requirements());
    all.filter(|requirement| {
        applies(requirement, &inputs.target_env) && is_of_prerelease(requirement)
    })
    .map(|requirement| requirement.name.clone())
    .collect()
}

/// Returns the packages whose requirements an override replaces.
fn overridden(inputs: &ResolverInputs) -> BTreeSet<&PackageName> {
    let overrides = inputs.overrides.global_requirements();
    overrides.map(|requirement| &requirement.name).collect()
}

/// Returns the packages of which a chosen version requires a pre-release.
pub(crate) fn of_solution(solution: &Solution, inputs: &ResolverInputs) -> BTreeSet<PackageName> {
    let (target_env, overridden) = (&inputs.target_env, overridden(inputs));
    let mut names = BTreeSet::new();
    for resolved in solution.resolution.distributions() {
        let ResolvedDist::Installable { dist, .. } = resolved else {
            continue;
        };
        let response = solution.index.distributions().get(&dist.distribution_id());
        let Some(MetadataResponse::Found(archive)) = response.as_deref() else {
            continue;
        };
        let required = archive.metadata.requires_dist.iter();
        let of_prerelease = required.filter(|requirement| {
            applies(requirement, target_env)
                && is_of_prerelease(requirement)
                && !overridden.contains(&requirement.name)
        });
        names.extend(of_prerelease.map(|requirement| requirement.name.clone()));
    }
    names
}

/// Returns whether a requirement applies to the target, without extras.
fn applies(requirement: &Requirement, target_env: &TargetEnvironment) -> bool {
    requirement.evaluate_markers(Some(target_env.markers.markers()), &[])
}

fn is_of_prerelease(requirement: &Requirement) -> bool {
    let RequirementSource::Registry { specifier, .. } = &requirement.source else {
        return false;
    };
    let excludes = |specifier: &VersionSpecifier| {
        let operator = specifier.operator();
        matches!(operator, Operator::NotEqual | Operator::NotEqualStar)
    };
    let mut specifiers = specifier.iter();
    specifiers.any(|specifier| specifier.any_prerelease() && !excludes(specifier))
}
