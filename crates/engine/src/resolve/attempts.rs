//! Attempts of a resolution with uv's resolver, and the outer loop that allows pre-releases and URLs on demand.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use uv_configuration::{Constraints, Excludes};
use uv_distribution_types::{Identifier as _, Name as _, Requirement, Resolution, ResolvedDist};
use uv_resolver::{
    DependencyMode, Exclusions, Flexibility, InMemoryIndex, Manifest, OptionsBuilder, ResolveError,
};
use uv_types::BuildContext;
use wheelhouse_types::{PackageName, Result};

use super::format_policy::FormatPolicy;
use super::inputs::ResolverInputs;
use super::metadata_cache::{BacktrackLimit, MetadataCache};
use super::solution::Solution;
use super::solve::Solve;
use super::strategy::{
    AttemptOutcome, Attempts, DirectRequirements, PackagePriority, Strategy, Versions,
};
use super::{ResolverContext, prereleases, report};

/// Resolves `inputs` under `policy`, in as many attempts as necessary.
///
/// As for pip, a requirement with a pre-release allows all pre-releases of the package. The requirements of a version are
/// known once it is chosen; then the resolution restarts.
///
/// # Errors
/// As [`ResolverContext::resolve`].
pub(super) async fn resolve<C: BuildContext>(
    context: &ResolverContext<'_, C>,
    inputs: &ResolverInputs,
    policy: &FormatPolicy,
) -> Result<Solution> {
    let markers = inputs.target_env.markers.markers();
    let applicable = |all: &mut dyn Iterator<Item = &Requirement>| -> Vec<Requirement> {
        all.filter(|one| one.evaluate_markers(Some(markers), &[]))
            .cloned()
            .collect()
    };
    let direct = DirectRequirements {
        requirements: applicable(&mut inputs.requirements.iter()),
        constraints: applicable(&mut inputs.constraints.requirements()),
    };
    let mut attempts = UvAttempts {
        context,
        inputs,
        policy,
        direct: &direct,
        metadata_cache: MetadataCache::default(),
        index: RefCell::new(policy.index.clone()),
        prereleases: prereleases::of_inputs(inputs),
        urls: Vec::new(),
    };
    loop {
        let solution = Strategy {
            attempts: &attempts,
            direct: &direct,
            ignores_dependencies: context.state.request.resolution.no_dependencies,
        }
        .solve()
        .await;
        if let Err(error) = &solution
            && let Some((name, url)) = disallowed_url(error)
            && let Some(allowed) = attempts.metadata_cache.allowed_url(name, url)
            && !attempts.urls.contains(&allowed)
        {
            tracing::debug!(package = %name, "following a URL that a package requires");
            attempts.urls.push(allowed);
            attempts.index.replace(InMemoryIndex::default());
            continue;
        }
        let solution = match solution {
            Ok(solution) => solution,
            Err(error) => {
                let lines = context.state.request.lines();
                return Err(report::explain_failure(
                    error,
                    lines,
                    &attempts.metadata_cache,
                    context.state,
                )
                .await);
            }
        };
        let before = attempts.prereleases.len();
        let required = prereleases::of_solution(&solution, inputs);
        attempts.prereleases.extend(required);
        if attempts.prereleases.len() == before {
            return Ok(solution);
        }
        tracing::debug!(packages = ?attempts.prereleases, "restarting with pre-releases that packages require");
    }
}

/// Returns the package and the URL of a requirement that uv does not follow.
fn disallowed_url(error: &ResolveError) -> Option<(&PackageName, &str)> {
    match error {
        ResolveError::DisallowedUrl { name, url } => Some((name, url)),
        ResolveError::Dependencies(error, ..) => disallowed_url(error),
        _ => None,
    }
}

struct UvAttempts<'a, C> {
    context: &'a ResolverContext<'a, C>,
    inputs: &'a ResolverInputs,
    policy: &'a FormatPolicy,
    direct: &'a DirectRequirements,
    metadata_cache: MetadataCache,
    /// Shared by attempts until one is aborted: that leaves pending entries that never complete.
    index: RefCell<InMemoryIndex>,
    /// The packages of which a pre-release is required.
    prereleases: BTreeSet<PackageName>,
    /// Requirements of packages at URLs, as constraints: uv follows no others.
    urls: Vec<Requirement>,
}

impl<C> UvAttempts<'_, C> {
    fn manifest(&self, priority: &PackagePriority) -> Manifest {
        let inputs = self.inputs;
        let mut requirements = inputs.requirements.clone();
        // The sort is stable: within the groups the order stays as written.
        requirements.sort_by_cached_key(|requirement| {
            let name = &requirement.name;
            (
                !self.direct.is_bounded(name),
                !priority.first.contains(name),
            )
        });
        let constraints = inputs.constraints.requirements();
        let constraints = constraints.chain(&self.urls).chain(&priority.constraints);
        Manifest::new(
            requirements,
            Constraints::from_requirements(constraints.cloned()),
            inputs.overrides.clone(),
            Excludes::default(),
            inputs.preferences.clone(),
            None,
            BTreeSet::new(),
            Exclusions::default(),
            inputs.lookaheads.clone(),
        )
    }
}

impl<C: BuildContext> Attempts for UvAttempts<'_, C> {
    type Solution = Solution;
    type Failure = ResolveError;

    async fn run(
        &self,
        priority: &PackagePriority,
        dependencies: DependencyMode,
        budget: usize,
    ) -> AttemptOutcome<Solution, ResolveError> {
        let (state, inputs) = (self.context.state, self.inputs);
        let manifest = self.manifest(priority);
        let without_dependencies = state.request.resolution.no_dependencies;
        let options = OptionsBuilder::new()
            // In direct mode uv reads no metadata, and so no `Requires-Python`.
            .dependency_mode(if without_dependencies && self.direct.are_all_pinned() {
                DependencyMode::Direct
            } else {
                dependencies
            })
            .prerelease(prereleases::allowed(
                &state.request.resolution.prereleases,
                &self.prereleases,
            ))
            .exclude_newer(state.index.exclude_newer().clone())
            .index_strategy(state.index.strategy())
            .build_options(self.policy.build_options.clone())
            .flexibility(Flexibility::Configurable)
            .build();
        let backtracking = BacktrackLimit::new(budget);
        let index = self.index.borrow().clone();
        let solve = Solve {
            context: self.context,
            target_env: &inputs.target_env,
            hasher: &inputs.hasher,
            build_options: &self.policy.build_options,
            flat_index: &self.policy.flat_index,
            index: &index,
            metadata_cache: &self.metadata_cache,
            backtracking: &backtracking,
            without_dependencies,
        };
        tracing::debug!(
            target = inputs.target_env.target.label(),
            mode = ?dependencies,
            // None is an attempt without a limit.
            budget = (budget < usize::MAX).then_some(budget),
            first = ?priority.first,
            "starting an attempt"
        );
        let output = tokio::select! {
            biased;
            () = backtracking.exceeded() => None,
            output = solve.run(manifest, options) => Some(output),
        };
        match output {
            Some(Ok(output)) => {
                tracing::debug!("the attempt found a solution");
                AttemptOutcome::Solved(Solution {
                    resolution: Resolution::from(output),
                    index,
                })
            }
            Some(Err(error @ ResolveError::NoSolution(_))) => {
                tracing::debug!("the attempt found no solution");
                AttemptOutcome::NoSolution(error)
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the attempt failed");
                self.index.replace(InMemoryIndex::default());
                AttemptOutcome::Failed(error, backtracking)
            }
            None => {
                tracing::debug!(budget, "the attempt exceeded its budget");
                self.index.replace(InMemoryIndex::default());
                AttemptOutcome::BudgetExceeded(backtracking)
            }
        }
    }

    fn versions(&self, solution: &Solution) -> Versions {
        let distributions = solution.resolution.distributions();
        distributions
            .filter_map(|dist| match dist {
                ResolvedDist::Installable { dist, version } => {
                    Some((dist.name().clone(), version.clone()?))
                }
                ResolvedDist::Installed { .. } => None,
            })
            .collect()
    }

    fn dependencies(&self, solution: &Solution) -> HashMap<PackageName, Vec<Requirement>> {
        let markers = self.inputs.target_env.markers.markers();
        let extras = |name: &PackageName| {
            let requirements = self.inputs.requirements.iter();
            let of_name = requirements.filter(|requirement| requirement.name == *name);
            of_name
                .flat_map(|requirement| requirement.extras.iter().cloned())
                .collect::<Vec<_>>()
        };
        let known = solution.resolution.distributions().filter_map(|resolved| {
            let ResolvedDist::Installable { dist, .. } = resolved else {
                return None;
            };
            let metadata = self
                .metadata_cache
                .metadata(&dist.distribution_id())?
                .metadata;
            let extras = extras(dist.name());
            let mut required = metadata.requires_dist.into_vec();
            required.retain(|one| one.evaluate_markers(Some(markers), &extras));
            Some((dist.name().clone(), required))
        });
        known.collect()
    }

    fn newest_requirements(&self, name: &PackageName) -> Vec<Requirement> {
        let markers = self.inputs.target_env.markers.markers();
        let mut required = self.metadata_cache.newest_requires(name);
        required.retain(|one| one.evaluate_markers(Some(markers), &[]));
        required
    }
}
