//! Resolving a request into a lock.
//!
//! 1. Requirements are parsed; local trees are replaced by copies, so that no hook touches them.
//! 2. Those without a name get one from their metadata.
//! 3. [`prefer_binary`] and [`version_order`](crate::version_order) settle the versions, in one or
//!    more attempts.
//! 4. What was settled becomes a [`Lock`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use petgraph::visit::EdgeRef as _;
use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution_types::{
    Diagnostic, Dist, Identifier as _, Name as _, Node, Requirement, RequirementSource, Resolution,
    ResolvedDist, UnresolvedRequirement,
};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_requirements::{LookaheadResolver, NamedRequirementsResolver};
use uv_resolver::{InMemoryIndex, MetadataResponse, ResolverEnvironment};
use uv_types::{HashStrategy, RequestedRequirements};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::lock::Package;
use wheelhouse_model::{Error, Kind, Lock, PackageName, Result, Target};

use crate::companion::Companion;
use crate::provider::required_hashes;
use crate::workshop::Workshop;
use crate::{convert, prefer_binary, requirements};

/// A settled resolution.
pub struct Resolved {
    pub lock: Lock,
    /// Yanked versions, extras that do not exist and the like.
    pub warnings: Vec<String>,
}

/// A request in uv's terms.
pub(crate) struct Problem {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) constraints: Constraints,
    pub(crate) overrides: Overrides,
    pub(crate) lookaheads: Vec<RequestedRequirements>,
    pub(crate) hasher: HashStrategy,
    pub(crate) environment: ResolverEnvironment,
    /// Metadata of direct references, read while the problem was stated.
    pub(crate) index: InMemoryIndex,
}

impl Workshop {
    pub(crate) async fn resolve(&self, companion: &dyn Companion) -> Result<Resolved> {
        let problem = self.state_problem(companion).await?;
        let settled = prefer_binary::settle(self, &problem, companion).await?;
        let warnings = settled
            .resolution
            .diagnostics()
            .iter()
            .map(Diagnostic::message)
            .collect();
        let lock = self.lock(&settled.resolution, &settled.index, &problem)?;
        Ok(Resolved { lock, warnings })
    }

    async fn state_problem(&self, companion: &dyn Companion) -> Result<Problem> {
        let mut parsed = Vec::new();
        for requirement in &self.request.requirements {
            let mut unresolved = requirements::parse(requirement)?;
            self.copy_tree(&mut unresolved, companion).await?;
            parsed.push((unresolved, requirement.hashes.clone()));
        }
        let constraints = requirements::parse_named(&self.request.constraints)?;
        let overrides = requirements::parse_named(&self.request.overrides)?;
        let markers = self.interpreter.to_resolver_marker_environment();
        let constraint_hashes = self
            .request
            .constraints
            .iter()
            .map(|line| line.hashes.as_slice());
        let hasher = HashStrategy::from_requirements(
            parsed
                .iter()
                .map(|(requirement, hashes)| (requirement, hashes.as_slice())),
            constraints.iter().zip(constraint_hashes),
            Some(&markers),
            self.hash_checking(),
        )
        .context(Kind::Input, || {
            "the hashes of the requirements do not hold together".to_owned()
        })?;
        let environment = ResolverEnvironment::specific(markers);
        let index = InMemoryIndex::default();
        let mut requirements = self.named(parsed, &hasher, &index).await?;
        dedup_preserving_order(&mut requirements);
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Input, || {
                "the hashes of the requirements do not hold together".to_owned()
            })?;
        let constraints = Constraints::from_requirements(constraints.into_iter());
        let overrides = Overrides::from_requirements(overrides);
        let excludes = Excludes::default();
        let (lookaheads, hasher) = LookaheadResolver::new(
            &requirements,
            &constraints,
            &overrides,
            &excludes,
            &hasher,
            &index,
            self.database(),
        )
        .resolve(&environment)
        .await
        .map_err(|error| {
            self.explained(error, "failed to read the metadata of a direct reference")
        })?;
        Ok(Problem {
            requirements,
            constraints,
            overrides,
            lookaheads,
            hasher,
            environment,
            index,
        })
    }

    /// As for pip, one hash anywhere means that everything must have one.
    fn hash_checking(&self) -> HashCheckingMode {
        let hashed = self
            .request
            .requirements
            .iter()
            .any(|line| !line.hashes.is_empty());
        if hashed || self.request.resolution.require_hashes {
            HashCheckingMode::Require
        } else {
            HashCheckingMode::Verify
        }
    }

    async fn named(
        &self,
        parsed: Vec<(UnresolvedRequirement, Vec<String>)>,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<Vec<Requirement>> {
        let mut named = Vec::new();
        for (requirement, _) in parsed {
            match requirement {
                UnresolvedRequirement::Named(requirement) => named.push(requirement),
                UnresolvedRequirement::Unnamed(unnamed) => {
                    let text = unnamed.url.verbatim.to_string();
                    let resolver = NamedRequirementsResolver::new(hasher, index, self.database());
                    let resolved = resolver.resolve(std::iter::once(unnamed)).await;
                    named.extend(resolved.map_err(|error| {
                        self.explained(error, &format!("failed to read the metadata of {text}"))
                    })?);
                }
            }
        }
        Ok(named)
    }

    /// Replaces a local tree by a copy of it.
    async fn copy_tree(
        &self,
        requirement: &mut UnresolvedRequirement,
        companion: &dyn Companion,
    ) -> Result<()> {
        match requirement {
            UnresolvedRequirement::Named(Requirement {
                source:
                    RequirementSource::Directory {
                        install_path, url, ..
                    },
                ..
            }) => {
                let copy = self.copied(install_path, companion).await?;
                *url = VerbatimUrl::from_absolute_path(&copy).context(Kind::Input, || {
                    format!("{} is no usable path", copy.display())
                })?;
                *install_path = copy.into_boxed_path();
            }
            UnresolvedRequirement::Unnamed(unnamed) => {
                if let ParsedUrl::Directory(directory) = &mut unnamed.url.parsed_url {
                    let copy = self.copied(&directory.install_path, companion).await?;
                    let url = VerbatimUrl::from_absolute_path(&copy)
                        .context(Kind::Input, || {
                            format!("{} is no usable path", copy.display())
                        })?;
                    directory.url = url.to_url();
                    directory.install_path = copy.into_boxed_path();
                    unnamed.url.verbatim = url;
                }
            }
            UnresolvedRequirement::Named(_) => {}
        }
        Ok(())
    }

    async fn copied(&self, tree: &Path, companion: &dyn Companion) -> Result<std::path::PathBuf> {
        let copy = companion.copy_tree(tree).await?;
        let mut trees = self.trees.lock().expect("no panic while locked");
        trees.insert(copy.clone(), tree.to_owned());
        Ok(copy)
    }

    fn lock(
        &self,
        resolution: &Resolution,
        index: &InMemoryIndex,
        problem: &Problem,
    ) -> Result<Lock> {
        let dependencies = dependencies(resolution);
        let mut packages = Vec::new();
        for (resolved, _) in resolution.hashes() {
            let ResolvedDist::Installable { dist, version } = resolved else {
                continue;
            };
            let required = required_hashes(&problem.hasher, dist);
            let metadata = index.distributions().get(&dist.distribution_id());
            let metadata = metadata.as_deref().and_then(|response| match response {
                MetadataResponse::Found(archive) => Some(&archive.metadata),
                _ => None,
            });
            let version = version
                .as_ref()
                .or_else(|| metadata.map(|metadata| &metadata.version));
            let distribution = self.distribution(dist, version, required)?;
            packages.push(Package {
                version: distribution.version.ok_or_else(|| unknown_version(dist))?,
                requires_python: metadata
                    .and_then(|metadata| metadata.requires_python.as_ref())
                    .map(ToString::to_string),
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
        let target = convert::target(&self.interpreter);
        Ok(Lock {
            request: String::new(),
            environment: environment_marker(&target),
            requires_python: Some(format!(
                ">={}.{}",
                self.interpreter.python_major(),
                self.interpreter.python_minor()
            )),
            packages,
        })
    }
}

fn unknown_version(dist: &Dist) -> Error {
    Error::new(
        Kind::Resolution,
        format!("the version of {} is not known", dist.name()),
    )
}

/// A requirement written twice counts once.
fn dedup_preserving_order(requirements: &mut Vec<Requirement>) {
    let mut seen = std::collections::HashSet::new();
    requirements.retain(|requirement| seen.insert(requirement.clone()));
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
