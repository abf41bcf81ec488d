//! Converts the solution of uv's resolver into a lock.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::visit::EdgeRef as _;
use uv_distribution_types::{
    BuiltDist, Dist, Identifier as _, Name as _, Node, RegistrySourceDist, Resolution,
    ResolvedDist, SourceDist,
};
use uv_pep440::VersionSpecifiers;
use uv_platform_tags::PlatformTag;
use uv_resolver::MetadataResponse;
use uv_types::BuildContext;
use wheelhouse_types::lock::Package;
use wheelhouse_types::{Artifact, Distribution, Error, Kind, Lock, PackageName, Result, Target};

use super::ResolverContext;
use super::inputs::ResolverInputs;
use super::solution::Solution;
use crate::convert::{Distributions, published_python, required_hashes};
use crate::target::{TargetEnvironment, minor_version};

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Converts `solution` into the lock for the target of `inputs`.
    ///
    /// # Errors
    /// `Resolution` if a distribution is not for the target, or if its version is not known.
    pub(super) fn lock(&self, solution: &Solution, inputs: &ResolverInputs) -> Result<Lock> {
        let dependencies = dependencies(&solution.resolution);
        let mut packages = Vec::new();
        for (resolved, _) in solution.resolution.hashes() {
            let ResolvedDist::Installable { dist, version } = resolved else {
                continue;
            };
            let required = required_hashes(&inputs.hasher, dist);
            let metadata = solution.index.distributions().get(&dist.distribution_id());
            let metadata = metadata.as_deref().and_then(|response| match response {
                MetadataResponse::Found(archive) => Some(&archive.metadata),
                _ => None,
            });
            let version = version
                .as_ref()
                .or_else(|| metadata.map(|metadata| &metadata.version));
            let distribution = self
                .state
                .distributions
                .distribution(dist, version, required)?;
            let requires_python = metadata.and_then(|metadata| metadata.requires_python.as_ref());
            check_target(&inputs.target_env, dist, &distribution, requires_python)?;
            packages.push(Package {
                version: distribution.version.ok_or_else(|| unknown_version(dist))?,
                requires_python: requires_python.map(ToString::to_string),
                dependencies: dependencies
                    .get(dist.name())
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
                name: distribution.name,
                origin: distribution.origin,
                source: distribution.source,
                required_hashes: distribution.required_hashes,
            });
        }
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        let target = &inputs.target_env.target;
        Ok(Lock {
            request: String::new(),
            files: BTreeMap::new(),
            environment: environment_marker(target),
            requires_python: Some(format!(">={}", minor_version(&target.python_version))),
            packages,
            builds: Vec::new(),
        })
    }
}

/// Checks what uv does not: that a wheel of a direct reference is for the target, and the `Requires-Python` of direct
/// references and of files whose metadata was not read.
fn check_target(
    target_env: &TargetEnvironment,
    dist: &Dist,
    distribution: &Distribution,
    requires_python: Option<&VersionSpecifiers>,
) -> Result<()> {
    let filename = match dist {
        Dist::Built(BuiltDist::DirectUrl(wheel)) => Some(&wheel.filename),
        Dist::Built(BuiltDist::Path(wheel)) => Some(&wheel.filename),
        _ => None,
    };
    let target = target_env.target.label();
    if let Some(filename) = filename
        && !target_env.compatibility(filename).is_compatible()
    {
        let message = format!("{filename} is not a wheel for {target}");
        return Err(Error::new(Kind::Resolution, message)
            .with_hint("Name the wheel for this Python and platform, or the package alone."));
    }
    match requires_python.or_else(|| published_python(dist)) {
        Some(requires) if !requires.contains(&target_env.python_version()) => {
            let message =
                format!("{distribution} requires Python {requires}, which {target} is not");
            Err(Error::new(Kind::Resolution, message)
                .with_hint("Name a Python that it is for with --python, or allow other versions."))
        }
        _ => Ok(()),
    }
}

fn unknown_version(dist: &Dist) -> Error {
    Error::new(
        Kind::Resolution,
        format!("the version of {} is not known", dist.name()),
    )
}

/// Returns the sdists that an index has beside the wheels of `resolution`.
pub(super) fn sdists(
    resolution: &Resolution,
    distributions: &Distributions,
) -> Result<BTreeMap<PackageName, Artifact>> {
    let mut sdists = BTreeMap::new();
    for resolved in resolution.distributions() {
        if let ResolvedDist::Installable { dist, .. } = resolved
            && let Dist::Built(BuiltDist::Registry(wheel)) = &**dist
            && let Some(sdist) = &wheel.sdist
        {
            let artifact =
                distributions.indexed_artifact(&sdist.index, &sdist.name, &sdist.file)?;
            sdists.insert(dist.name().clone(), artifact);
        }
    }
    Ok(sdists)
}

/// Returns the packages with an sdist in `resolution` whose wheels are all platform-specific.
pub(super) fn platform_bound(resolution: &Resolution) -> BTreeSet<PackageName> {
    let sdists = resolution.distributions().filter_map(|resolved| {
        let ResolvedDist::Installable { dist, .. } = resolved else {
            return None;
        };
        match &**dist {
            Dist::Source(SourceDist::Registry(sdist)) => Some(sdist),
            _ => None,
        }
    });
    let is_bound = |sdist: &RegistrySourceDist| {
        let mut wheels = sdist.wheels.iter().peekable();
        wheels.peek().is_some()
            && wheels.all(|wheel| wheel.filename.platform_tags() != [PlatformTag::Any])
    };
    sdists
        .filter(|sdist| is_bound(sdist))
        .map(|sdist| sdist.name.clone())
        .collect()
}

/// Returns the names of the dependencies of each package.
fn dependencies(resolution: &Resolution) -> BTreeMap<PackageName, BTreeSet<PackageName>> {
    let graph = resolution.graph();
    let name = |node| match &graph[node] {
        Node::Dist { dist, .. } => Some(dist.name().clone()),
        Node::Root => None,
    };
    let mut dependencies: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for edge in graph.edge_references() {
        if let (Some(from), Some(to)) = (name(edge.source()), name(edge.target()))
            && from != to
        {
            dependencies.entry(from).or_default().insert(to);
        }
    }
    dependencies
}

/// Returns the marker of the environments that a lock for `target` covers.
fn environment_marker(target: &Target) -> String {
    let names = [
        "implementation_name",
        "platform_machine",
        "python_version",
        "sys_platform",
    ];
    let clauses: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{name} == '{}'", target.markers.get(*name)?)))
        .collect();
    clauses.join(" and ")
}
