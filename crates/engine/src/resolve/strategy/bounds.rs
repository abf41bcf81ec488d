//! Limits of versions: those of requirements, and constraints that a strategy adds.

use uv_distribution_types::{Requirement, RequirementSource};
use uv_pep440::Operator;
use wheelhouse_types::request;
use wheelhouse_types::{PackageName, Version};

use super::Versions;
use crate::requirements;

/// Returns whether a requirement has one version (among those of an `==` clause), or is a direct reference.
pub(super) fn is_fixed(requirement: &Requirement) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.iter().any(|specifier| {
            matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual)
        }),
        _ => true,
    }
}

/// Returns whether `requirement` allows `version`.
pub(super) fn allows(requirement: &Requirement, version: &Version) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.contains(version),
        _ => false,
    }
}

/// Returns whether `requirement` limits the versions from above without fixing one.
pub(super) fn has_upper_bound(requirement: &Requirement) -> bool {
    let RequirementSource::Registry { specifier, .. } = &requirement.source else {
        return false;
    };
    specifier.iter().any(|specifier| {
        matches!(
            specifier.operator(),
            Operator::LessThan
                | Operator::LessThanEqual
                | Operator::TildeEqual
                | Operator::EqualStar
        )
    })
}

/// Returns constraints that exclude versions above the `best` ones.
pub(super) fn upper_bounds(best: &Versions) -> Vec<Requirement> {
    // `<=` does not cover local versions, and one with a pre-release would allow others.
    let plain = best
        .iter()
        .filter(|(_, best)| best.is_stable() && !best.is_local());
    constraints(plain.map(|(name, best)| format!("{name}<={best}")))
}

/// Returns constraints that exclude versions below the major versions of the best ones of `names`.
pub(super) fn major_floors(names: &[PackageName], best: &Versions) -> Vec<Requirement> {
    let major = |name| {
        let floor = match &*best.get(name)?.release() {
            [0, second, ..] => format!("0.{second}"),
            [major, ..] => major.to_string(),
            [] => return None,
        };
        Some(format!("{name}>={floor}"))
    };
    constraints(names.iter().filter_map(major))
}

pub(super) fn constraints(texts: impl Iterator<Item = String>) -> Vec<Requirement> {
    let lines = texts.map(|text| request::Requirement {
        text,
        ..request::Requirement::default()
    });
    requirements::parse_named(&lines.collect::<Vec<_>>()).unwrap_or_default()
}
