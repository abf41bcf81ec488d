//! Resolving a request into a lock.
//!
//! 1. [`ResolverInputs::state`] puts the request in uv's target_env.
//! 2. [`prefer_binary`] and [`version_order`](crate::resolve::strategy) settle the versions, in one or
//!    more attempts.
//! 3. What was settled becomes a [`Lock`].

pub(crate) mod inputs;
pub(crate) mod metadata_cache;
pub(crate) mod prefer_binary;
pub(crate) mod prereleases;
pub(crate) mod provider;
pub(crate) mod requires_python;
pub(crate) mod solve;
pub(crate) mod strategy;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::visit::EdgeRef as _;
use uv_distribution_types::{
    BuiltDist, Diagnostic, Dist, Identifier as _, Name as _, Node, RegistrySourceDist, Resolution,
    ResolvedDist, SourceDist,
};
use uv_pep440::VersionSpecifiers;
use uv_platform_tags::PlatformTag;
use uv_resolver::{InMemoryIndex, MetadataResponse};
use uv_types::HashStrategy;
use wheelhouse_types::lock::Package;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{
    Artifact, Distribution, Error, Kind, Lock, PackageName, Result, Target, Version,
};

use crate::artifact_provider::ArtifactProvider;
use crate::dispatch::BuildDispatch;
use crate::requirements;
use crate::resolve::inputs::ResolverInputs;
use crate::resolve::provider::{published_python, required_hashes};
use crate::state::EngineState;
use crate::target::TargetEnvironment;

/// What one resolution keeps to beside the request.
pub struct ResolveOptions<'a> {
    /// Versions that are chosen where they fit.
    pub preferences: &'a [(PackageName, Version)],
    /// Constraints that hold beside those of the request.
    pub constraints: &'a [Requirement],
}

/// A settled resolution.
pub struct ResolveOutput {
    pub lock: Lock,
    /// The sdists that were published beside the wheels of the lock.
    pub sdists: BTreeMap<PackageName, Artifact>,
    /// The sdists whose version has wheels for some platforms and none for all: they build into a wheel
    /// for one platform, too.
    pub bound: BTreeSet<PackageName>,
    /// Yanked versions, extras that do not exist and the like.
    pub warnings: Vec<String>,
}

impl EngineState {
    pub(crate) async fn resolve(
        &self,
        target_env: &TargetEnvironment,
        bounds: &ResolveOptions<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<ResolveOutput> {
        let _turn = self.resolutions.acquire().await;
        let dispatch = BuildDispatch::new(self, artifacts);
        let mut inputs = ResolverInputs::state(&dispatch, target_env).await?;
        inputs.preferences =
            requirements::preferences(bounds.preferences, &target_env.environment());
        inputs.constrain(bounds.constraints)?;
        let settled = prefer_binary::settle(&dispatch, &inputs).await?;
        let warnings = settled
            .resolution
            .diagnostics()
            .iter()
            .map(Diagnostic::message)
            .chain(self.pages.oddities.answers())
            .collect();
        let lock = self.lock(&settled.resolution, &settled.index, &inputs)?;
        Ok(ResolveOutput {
            lock,
            sdists: sdists(&settled.resolution, self)?,
            bound: bound(&settled.resolution),
            warnings,
        })
    }

    fn lock(
        &self,
        resolution: &Resolution,
        index: &InMemoryIndex,
        inputs: &ResolverInputs,
    ) -> Result<Lock> {
        let dependencies = dependencies(resolution);
        let mut packages = Vec::new();
        for (resolved, _) in resolution.hashes() {
            let ResolvedDist::Installable { dist, version } = resolved else {
                continue;
            };
            let required = required_hashes(&inputs.hasher, dist);
            let metadata = index.distributions().get(&dist.distribution_id());
            let metadata = metadata.as_deref().and_then(|response| match response {
                MetadataResponse::Found(archive) => Some(&archive.metadata),
                _ => None,
            });
            let version = version
                .as_ref()
                .or_else(|| metadata.map(|metadata| &metadata.version));
            let distribution = self.distribution(dist, version, required)?;
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
            requires_python: Some(format!(">={}", minor_version(target))),
            packages,
            builds: Vec::new(),
        })
    }
}

/// Checks that `dist` is for the target where uv does not: a wheel that is named itself, and the Pythons that
/// such a file, or one whose metadata nobody looked at, is for.
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

/// The sdists that an index has beside the wheels of `resolution`.
fn sdists(resolution: &Resolution, state: &EngineState) -> Result<BTreeMap<PackageName, Artifact>> {
    let mut sdists = BTreeMap::new();
    for resolved in resolution.distributions() {
        if let ResolvedDist::Installable { dist, .. } = resolved
            && let Dist::Built(BuiltDist::Registry(wheel)) = &**dist
            && let Some(sdist) = &wheel.sdist
        {
            sdists.insert(dist.name().clone(), state.artifact(&sdist.file)?);
        }
    }
    Ok(sdists)
}

/// The sdists of `resolution` that are published as wheels for some platforms alone.
fn bound(resolution: &Resolution) -> BTreeSet<PackageName> {
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

/// `3.11` of 3.11.7.
fn minor_version(target: &Target) -> String {
    let parts: Vec<&str> = target.python_version.splitn(3, '.').collect();
    parts[..parts.len().min(2)].join(".")
}

/// The distributions of `resolution`, with the digests that `hasher` demands.
pub(crate) fn settled_distributions(
    state: &EngineState,
    resolution: &Resolution,
    hasher: &HashStrategy,
) -> Result<Vec<Distribution>> {
    let installable = resolution
        .distributions()
        .filter_map(|resolved| match resolved {
            ResolvedDist::Installable { dist, version } => Some((dist, version)),
            ResolvedDist::Installed { .. } => None,
        });
    installable
        .map(|(dist, version)| {
            state.distribution(dist, version.as_ref(), required_hashes(hasher, dist))
        })
        .collect()
}

/// The names that each package depends on.
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

/// The environments that a lock for `target` serves, as a marker.
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
