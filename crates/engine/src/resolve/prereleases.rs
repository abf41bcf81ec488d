//! Of which packages pre-releases are taken.
//!
//! What the user says of a package counts first. Else, as for pip, they are where somebody requires
//! one by a specifier (`>=2.0rc1`), and where nothing else fits.

use std::collections::BTreeSet;

use uv_distribution_types::{Identifier as _, Requirement, RequirementSource, ResolvedDist};
use uv_pep440::{Operator, VersionSpecifier};
use uv_resolver::{MetadataResponse, Prerelease, PrereleaseMode};
use wheelhouse_types::PackageName;
use wheelhouse_types::request::Prereleases;

use crate::resolve::inputs::ResolverInputs;
use crate::resolve::strategy::Solution;
use crate::target::TargetEnvironment;

/// What uv is told, when pre-releases of the packages `required` are required.
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

/// The packages of which `inputs` itself requires a pre-release. What an override replaces does not count.
pub(crate) fn of_problem(inputs: &ResolverInputs) -> BTreeSet<PackageName> {
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

/// The packages whose requirements an override of `inputs` replaces.
fn overridden(inputs: &ResolverInputs) -> BTreeSet<&PackageName> {
    let overrides = inputs.overrides.global_requirements();
    overrides.map(|requirement| &requirement.name).collect()
}

/// The packages of which a version that was chosen requires a pre-release.
pub(crate) fn of_settled(settled: &Solution, inputs: &ResolverInputs) -> BTreeSet<PackageName> {
    let (target_env, overridden) = (&inputs.target_env, overridden(inputs));
    let mut names = BTreeSet::new();
    for resolved in settled.resolution.distributions() {
        let ResolvedDist::Installable { dist, .. } = resolved else {
            continue;
        };
        let response = settled.index.distributions().get(&dist.distribution_id());
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

/// Whether it counts for the target, without regard to extras.
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
