//! Choosing versions at least as well as pip does.
//!
//! uv's resolver decides packages in the order in which the requirements name them, and may thereby
//! push a direct requirement back by years: with `boto3` late in a list, it tries hundreds of old
//! versions of boto3 until one is content with what was chosen before. pip would have moved the
//! others. So a resolution is an attempt, judged by how far it pushes direct requirements back:
//!
//! 1. What each direct requirement could have at best is found by resolving them without their
//!    dependencies. It is the ceiling of every attempt: uv takes each newer version, which is for
//!    another Python, as a conflict, and begins anew in another order after a few of them.
//! 2. Each attempt decides the direct requirements with an upper bound before the others, as pip does. Apart
//!    from that, the first attempt takes the order as written. It is given up once it has considered more
//!    than [`BUDGET`] versions of one package.
//! 3. If a direct requirement ended below its best, the next attempt decides it first. If the attempt
//!    was given up, that goes for direct requirements that were considered often; and where it was
//!    another package, the direct requirements have to be what its newest version requires of them:
//!    a new `python-dateutil` is not worth all versions of `botocore`.
//! 4. When no attempt comes to a good end in time, the last of them gets more of it; and when that has
//!    no end either, one goes on without limits, for as long as it takes. Only it says that there is no
//!    solution. What else ends a further attempt, such as an old source that does not build, rules out
//!    that attempt alone.
//! 5. Where it came to that and a direct requirement still is below the major version of its best, that
//!    is required, and the others have to move.
//! 6. A result replaces an earlier one only if it is better in every order of the lines; see
//!    [`Standings::is_better_than`].

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uv_configuration::{Constraints, Excludes};
use uv_distribution_types::{
    Identifier as _, Name as _, Requirement, RequirementSource, Resolution, ResolvedDist,
};
use uv_pep440::Operator;
use uv_pep508::MarkerTree;
use uv_resolver::{
    DependencyMode, Exclusions, Flexibility, InMemoryIndex, Manifest, OptionsBuilder, ResolveError,
};
use wheelhouse_types::request;
use wheelhouse_types::{PackageName, Result, Version};

use crate::dispatch::BuildDispatch;
use crate::network::client;
use crate::requirements;
use crate::resolve::inputs::ResolverInputs;
use crate::resolve::metadata_cache::{BacktrackLimit, MetadataCache};
use crate::resolve::prefer_binary::FormatPolicy;
use crate::resolve::prereleases;
use crate::resolve::solve::Solve;

/// How many versions of one package an attempt may consider before another order is tried.
const BUDGET: usize = 25;

/// The same for the attempt that everything else depends on.
const EXTENDED_BUDGET: usize = 10 * BUDGET;

/// Attempts with another order, at most.
const REORDERINGS: usize = 2;

/// Of how many versions a package has more that was considered often.
const FREQUENT: usize = 3;

pub(crate) struct Solution {
    pub(crate) resolution: Resolution,
    pub(crate) index: InMemoryIndex,
}

enum Outcome {
    Solution(Solution),
    GivenUp(BacktrackLimit),
    /// Something else than the lack of a solution ended the attempt, such as a source that does not build.
    Failed(ResolveError, BacktrackLimit),
}

/// Settles `inputs` under `rule`, in as many attempts as it takes.
///
/// As for pip, whoever requires a pre-release of a package allows them all. What the chosen versions
/// require is known when they are chosen: then the search begins anew.
///
/// # Errors
/// As [`EngineState::resolve`].
pub(crate) async fn settle(
    dispatch: &BuildDispatch<'_>,
    inputs: &ResolverInputs,
    rule: &FormatPolicy,
) -> Result<Solution> {
    let mut solver = Solver {
        dispatch,
        inputs,
        rule,
        metadata_cache: MetadataCache::default(),
        index: RefCell::new(rule.index.clone()),
        prereleases: prereleases::of_problem(inputs),
        urls: Vec::new(),
    };
    loop {
        let settled = solver.settle().await;
        if let Err(error) = &settled
            && let Some((name, url)) = disallowed_url(error)
            && let Some(allowed) = solver.metadata_cache.allowed_url(name, url)
            && !solver.urls.contains(&allowed)
        {
            solver.urls.push(allowed);
            solver.index.replace(InMemoryIndex::default());
            continue;
        }
        let state = dispatch.state;
        let lines = state.request.lines();
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                return Err(state
                    .resolve_error(error, lines, &solver.metadata_cache)
                    .await);
            }
        };
        let before = solver.prereleases.len();
        let required = prereleases::of_settled(&settled, inputs);
        solver.prereleases.extend(required);
        if solver.prereleases.len() == before {
            return Ok(settled);
        }
    }
}

/// The package that metadata requires at a URL, and the URL, if that is what `error` is about.
fn disallowed_url(error: &ResolveError) -> Option<(&PackageName, &str)> {
    match error {
        ResolveError::DisallowedUrl { name, url } => Some((name, url)),
        ResolveError::Dependencies(error, ..) => disallowed_url(error),
        _ => None,
    }
}

/// The distance of direct requirements from their best: summed differences of the major, minor and
/// micro numbers, compared in this order.
type Distance = (u64, u64, u64);

/// Returns the distance between two versions. Before 1.0, the second number is the major one.
fn distance(chosen: &Version, best: &Version) -> Distance {
    let number = |version: &Version, position| version.release().get(position).copied();
    let differences: Vec<u64> = (0..4)
        .map(|position| {
            let number = |version| number(version, position).unwrap_or(0);
            number(best).abs_diff(number(chosen))
        })
        .collect();
    let is_early = number(best, 0) == Some(0) && number(chosen, 0) == Some(0);
    match &differences[usize::from(is_early)..] {
        [0, 0, micro, ..] => (0, 0, *micro),
        [0, minor, ..] => (0, *minor, 0),
        [major, ..] => (*major, 0, 0),
        [] => unreachable!("there are four differences"),
    }
}

/// The place of one direct requirement in a result.
#[derive(Clone, Debug)]
struct Standing {
    chosen: Version,
    best: Version,
    /// Whether the user limits its versions from above.
    is_bounded: bool,
    /// Whether it is below its best although no package of the result limits it: what it requires
    /// itself conflicts, and an older release states fewer limits.
    is_lax: bool,
    /// The direct requirements that the chosen version limits from above.
    limits: BTreeSet<PackageName>,
}

impl Standing {
    fn distance(&self) -> Distance {
        if self.chosen < self.best {
            distance(&self.chosen, &self.best)
        } else {
            (0, 0, 0)
        }
    }
}

/// The places of the direct requirements in a result.
#[derive(Clone, Debug, Default)]
struct Standings(BTreeMap<PackageName, Standing>);

impl Standings {
    fn distance(&self, counts: impl Fn(&PackageName, &Standing) -> bool) -> Distance {
        let distances = self.0.iter().filter(|(name, one)| counts(name, one));
        distances
            .map(|(_, one)| one.distance())
            .fold((0, 0, 0), |sum, one| {
                (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2)
            })
    }

    /// The direct requirements that are below their best, the farthest first.
    fn pushed_back(&self) -> Vec<PackageName> {
        let below = self.0.iter().filter(|(_, one)| one.chosen < one.best);
        let mut names: Vec<_> = below
            .map(|(name, one)| (Reverse(one.distance()), name))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Returns the direct requirements that are limited from above: by the user, or by one of these that
    /// has the same version in both results.
    fn bounded(&self, other: &Self) -> BTreeSet<&PackageName> {
        let is_bounded = |(_, one): &(_, &Standing)| one.is_bounded;
        let mut unseen: Vec<_> = self.0.iter().filter(is_bounded).collect();
        let mut bounded = BTreeSet::new();
        while let Some((name, one)) = unseen.pop() {
            let theirs = other.0.get(name);
            if bounded.insert(name) && theirs.is_some_and(|theirs| theirs.chosen == one.chosen) {
                unseen.extend(
                    one.limits
                        .iter()
                        .filter_map(|name| self.0.get_key_value(name)),
                );
            }
        }
        bounded
    }

    /// Returns whether this result has a newer version of one of `names` than `other` has.
    fn has_newer(&self, other: &Self, names: &BTreeSet<&PackageName>) -> bool {
        names.iter().any(|&name| {
            let (ours, theirs) = (self.0.get(name), other.0.get(name));
            ours.zip(theirs)
                .is_some_and(|(ours, theirs)| ours.chosen > theirs.chosen)
        })
    }

    /// Returns whether this result replaces `other`, an earlier one.
    ///
    /// What is limited from above counts first: an older release may be compatible with anything only
    /// because its metadata states no limits. Then all direct requirements count.
    ///
    /// 1. A result that has none of them at an older version, and one at a newer, is better.
    /// 2. One that has some older and some newer is a matter of the order of the lines: the earlier one stays.
    ///    The exception is a result that is nearer to the best versions where no package of it limits
    ///    them, unless that costs the others a major version.
    fn is_better_than(&self, other: &Self) -> bool {
        for names in [self.bounded(other), self.0.keys().collect()] {
            match (self.has_newer(other, &names), other.has_newer(self, &names)) {
                (false, false) => {}
                (true, true) => {
                    let is_lax = |name: &PackageName| other.0.get(name).is_some_and(|it| it.is_lax);
                    let lax = |one: &Self| {
                        one.distance(|name, standing| names.contains(name) && standing.is_lax)
                    };
                    let rest =
                        |one: &Self| one.distance(|name, _| names.contains(name) && !is_lax(name));
                    return lax(self) < lax(other) && rest(self).0 <= rest(other).0;
                }
                (is_newer, _) => return is_newer,
            }
        }
        false
    }
}

/// Versions by packages.
type Versions = HashMap<PackageName, Version>;

/// In which order an attempt decides packages.
#[derive(Clone, Default)]
struct PackagePriority {
    /// The direct requirements that are decided before the others.
    first: BTreeSet<PackageName>,
    /// What holds beside the constraints of the request: upper_bounds of direct requirements, and less.
    limits: Vec<Requirement>,
}

impl PackagePriority {
    /// Adds to the order what it does not have. Tells whether there was anything.
    fn change(&mut self, change: PackagePriority) -> bool {
        let count = |order: &Self| order.first.len() + order.limits.len();
        let before = count(self);
        self.first.extend(change.first);
        for limit in change.limits {
            if !self.limits.contains(&limit) {
                self.limits.push(limit);
            }
        }
        count(self) > before
    }
}

/// The best result so far.
struct BestSolution {
    settled: Solution,
    standings: Standings,
}

struct Solver<'a> {
    dispatch: &'a BuildDispatch<'a>,
    inputs: &'a ResolverInputs,
    rule: &'a FormatPolicy,
    metadata_cache: MetadataCache,
    /// Shared by all attempts until one is given up: what that one asked for and did not wait for
    /// would never arrive.
    index: RefCell<InMemoryIndex>,
    /// The packages of which a pre-release is required.
    prereleases: BTreeSet<PackageName>,
    /// What the metadata of packages requires at URLs: uv follows those alone that constraints have, too.
    urls: Vec<Requirement>,
}

impl Solver<'_> {
    async fn settle(&self) -> Result<Solution, ResolveError> {
        let best = self.best().await?;
        let mut order = PackagePriority {
            limits: upper_bounds(&best),
            ..PackagePriority::default()
        };
        if let Some(best_solution) = self.try_within_budget(&mut order, &best).await? {
            return Ok(best_solution.settled);
        }
        let settled = match self
            .attempt(&order, DependencyMode::Transitive, EXTENDED_BUDGET)
            .await
        {
            Ok(Outcome::Solution(settled)) => settled,
            Ok(Outcome::GivenUp(_)) | Err(ResolveError::NoSolution(_)) => {
                self.solve_unbounded(&mut order).await?
            }
            Ok(Outcome::Failed(error, _)) | Err(error) => return Err(error),
        };
        let found = self.score(settled, &best);
        Ok(self.retry_with_major_floors(&order, &best, found).await)
    }

    /// The attempt that goes on for as long as it takes.
    ///
    /// # Errors
    /// When there is no solution.
    async fn solve_unbounded(&self, order: &mut PackagePriority) -> Result<Solution, ResolveError> {
        order.limits.clear();
        let attempt = self.attempt(order, DependencyMode::Transitive, usize::MAX);
        match attempt.await? {
            Outcome::Solution(settled) => Ok(settled),
            Outcome::Failed(error, _) => Err(error),
            Outcome::GivenUp(_) => unreachable!("an attempt without a limit is not given up"),
        }
    }

    /// The attempt that comes best_solution to the best versions of direct requirements; `None` if none
    /// came to a good end. `order` is left as the last attempt would have had it.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn try_within_budget(
        &self,
        order: &mut PackagePriority,
        best: &Versions,
    ) -> Result<Option<BestSolution>, ResolveError> {
        let mut best_solution: Option<BestSolution> = None;
        let mut failure = None;
        for _ in 0..=REORDERINGS {
            let attempt = self
                .attempt(order, DependencyMode::Transitive, BUDGET)
                .await;
            let change = match attempt {
                Ok(Outcome::Solution(settled)) => {
                    let found = self.score(settled, best);
                    let first = found.standings.pushed_back().into_iter().collect();
                    if best_solution
                        .as_ref()
                        .is_none_or(|near| found.standings.is_better_than(&near.standings))
                    {
                        best_solution = Some(found);
                    }
                    PackagePriority {
                        first,
                        ..PackagePriority::default()
                    }
                }
                Ok(Outcome::GivenUp(backtracking)) => self.next_priority(&backtracking),
                Err(ResolveError::NoSolution(_)) => break,
                // What this attempt met on its way to old versions is not needed for a result.
                Ok(Outcome::Failed(error, backtracking)) => {
                    tracing::debug!("an attempt failed: {error}");
                    let mut first = backtracking.failed_going_back();
                    first.retain(|name| self.is_free(name));
                    failure.get_or_insert(error);
                    PackagePriority {
                        first,
                        ..PackagePriority::default()
                    }
                }
                Err(error) => return Err(error),
            };
            if !order.change(change) {
                break;
            }
        }
        match (best_solution, failure) {
            (None, Some(error)) => Err(error),
            (best_solution, _) => Ok(best_solution),
        }
    }

    /// Requires the best major version of those that `best_solution` has pushed back below it, and then of
    /// the farthest of them alone. An attempt that fails is left out.
    async fn retry_with_major_floors(
        &self,
        order: &PackagePriority,
        best: &Versions,
        mut best_solution: BestSolution,
    ) -> Solution {
        if best_solution.standings.distance(|_, _| true).0 == 0 {
            return best_solution.settled;
        }
        let mut wanted = best_solution.standings.pushed_back();
        while !wanted.is_empty() {
            let mut order = order.clone();
            order.limits.extend(major_floors(&wanted, best));
            let attempt = self
                .attempt(&order, DependencyMode::Transitive, EXTENDED_BUDGET)
                .await;
            match attempt {
                Ok(Outcome::Solution(settled)) => {
                    let found = self.score(settled, best);
                    if found.standings.is_better_than(&best_solution.standings) {
                        best_solution = found;
                    }
                    break;
                }
                Ok(Outcome::GivenUp(_)) => {}
                Ok(Outcome::Failed(error, _)) | Err(error) => {
                    tracing::debug!("a further attempt failed: {error}");
                }
            }
            let alone = usize::from(wanted.len() > 1);
            wanted.truncate(alone);
        }
        best_solution.settled
    }

    /// Compares `settled` with the best versions of direct requirements.
    fn score(&self, settled: Solution, best: &Versions) -> BestSolution {
        let required = self.required(&settled.resolution);
        let is_limited = |name: &PackageName, best: &Version| {
            let of_name = required.values().flatten().filter(|one| one.name == *name);
            of_name.into_iter().any(|one| !allows(one, best))
        };
        let chosen = versions(&settled.resolution).into_iter();
        let standings = chosen.filter_map(|(name, chosen)| {
            let best = best.get(&name).filter(|_| self.is_free(&name))?.clone();
            let limiting = required.get(&name).into_iter().flatten();
            let standing = Standing {
                is_bounded: self.is_bounded(&name),
                is_lax: chosen < best && !is_limited(&name, &best),
                limits: limiting
                    .filter(|one| has_upper_bound(one))
                    .map(|one| one.name.clone())
                    .collect(),
                chosen,
                best,
            };
            Some((name, standing))
        });
        BestSolution {
            standings: Standings(standings.collect()),
            settled,
        }
    }

    /// Returns what each package of `resolution` requires on the target, with the extras that the request names.
    fn required(&self, resolution: &Resolution) -> HashMap<PackageName, Vec<Requirement>> {
        let markers = self.inputs.target_env.markers.markers();
        let extras = |name: &PackageName| {
            let requirements = self.inputs.requirements.iter();
            let of_name = requirements.filter(|requirement| requirement.name == *name);
            of_name
                .flat_map(|requirement| requirement.extras.iter().cloned())
                .collect::<Vec<_>>()
        };
        let known = resolution.distributions().filter_map(|resolved| {
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

    /// What to do about an attempt that went through too many versions of a package.
    fn next_priority(&self, backtracking: &BacktrackLimit) -> PackagePriority {
        let often = backtracking.considered_more_than(FREQUENT);
        let (first, others): (BTreeSet<_>, BTreeSet<_>) =
            often.into_iter().partition(|name| self.is_free(name));
        let markers = self.inputs.target_env.markers.markers();
        let required = others
            .iter()
            .flat_map(|name| self.metadata_cache.newest_requires(name));
        let limits = required.filter(|requirement| {
            self.is_free(&requirement.name)
                && matches!(requirement.source, RequirementSource::Registry { .. })
                && requirement.evaluate_markers(Some(markers), &[])
        });
        let limits = limits.map(|requirement| Requirement {
            extras: Box::default(),
            marker: MarkerTree::TRUE,
            ..requirement
        });
        PackagePriority {
            limits: limits.collect(),
            first,
        }
    }

    /// Whether the version of `name` is required directly and left open.
    fn is_free(&self, name: &PackageName) -> bool {
        let mut requirements = self.inputs.requirements.iter();
        requirements.any(|requirement| requirement.name == *name && !is_pinned(requirement))
    }

    /// Returns whether the user limits the versions of `name` from above, in a requirement or a constraint.
    fn is_bounded(&self, name: &PackageName) -> bool {
        let markers = self.inputs.target_env.markers.markers();
        let requirements = self.inputs.requirements.iter();
        let all = requirements.chain(self.inputs.constraints.requirements());
        all.filter(|requirement| {
            requirement.name == *name && requirement.evaluate_markers(Some(markers), &[])
        })
        .any(has_upper_bound)
    }

    /// What each direct requirement could have, were it not for the dependencies. Empty where there
    /// is nothing to balance, or no solution at all.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn best(&self) -> Result<Versions, ResolveError> {
        let requirements = self.inputs.requirements.iter();
        let free = requirements.filter(|requirement| !is_pinned(requirement));
        let names: BTreeSet<&PackageName> = free.map(|requirement| &requirement.name).collect();
        let resolution = &self.dispatch.state.request.resolution;
        if names.is_empty() || resolution.no_dependencies {
            return Ok(Versions::new());
        }
        let alone = self
            .attempt(
                &PackagePriority::default(),
                DependencyMode::Direct,
                usize::MAX,
            )
            .await;
        match alone {
            Ok(Outcome::Solution(alone)) => Ok(versions(&alone.resolution)),
            Ok(Outcome::GivenUp(_)) | Err(ResolveError::NoSolution(_)) => Ok(Versions::new()),
            Ok(Outcome::Failed(error, _)) | Err(error) => Err(error),
        }
    }

    async fn attempt(
        &self,
        order: &PackagePriority,
        dependencies: DependencyMode,
        budget: usize,
    ) -> Result<Outcome, ResolveError> {
        let (engine, inputs) = (self.dispatch.state, self.inputs);
        let manifest = self.manifest(order);
        let without_dependencies = engine.request.resolution.no_dependencies;
        let is_settled = inputs.requirements.iter().all(requirements::is_pinned);
        let options = OptionsBuilder::new()
            // In the other mode uv reads no metadata, which says for which Pythons a version is.
            .dependency_mode(if without_dependencies && is_settled {
                DependencyMode::Direct
            } else {
                dependencies
            })
            .prerelease(prereleases::allowed(
                &engine.request.resolution.prereleases,
                &self.prereleases,
            ))
            .exclude_newer(engine.exclude_newer.clone())
            .index_strategy(client::strategy(engine.request.indexes.strategy))
            .build_options(self.rule.build_options.clone())
            .flexibility(Flexibility::Configurable)
            .build();
        let backtracking = BacktrackLimit::new(budget);
        let index = self.index.borrow().clone();
        let search = Solve {
            dispatch: self.dispatch,
            target_env: &inputs.target_env,
            hasher: &inputs.hasher,
            build_options: &self.rule.build_options,
            flat_index: &self.rule.flat_index,
            index: &index,
            metadata_cache: &self.metadata_cache,
            backtracking: &backtracking,
            without_dependencies,
        };
        let output = tokio::select! {
            biased;
            () = backtracking.exceeded() => None,
            output = search.run(manifest, options) => Some(output),
        };
        let output = match output {
            Some(Ok(output)) => output,
            Some(Err(error @ ResolveError::NoSolution(_))) => return Err(error),
            Some(Err(error)) => {
                self.index.replace(InMemoryIndex::default());
                return Ok(Outcome::Failed(error, backtracking));
            }
            None => {
                self.index.replace(InMemoryIndex::default());
                return Ok(Outcome::GivenUp(backtracking));
            }
        };
        let settled = Solution {
            resolution: Resolution::from(output),
            index,
        };
        Ok(Outcome::Solution(settled))
    }

    fn manifest(&self, order: &PackagePriority) -> Manifest {
        let inputs = self.inputs;
        let mut requirements = inputs.requirements.clone();
        // A stable sort: within the groups the order stays as written.
        requirements.sort_by_cached_key(|requirement| {
            let name = &requirement.name;
            (!self.is_bounded(name), !order.first.contains(name))
        });
        let constraints = inputs.constraints.requirements();
        let constraints = constraints.chain(&self.urls).cloned();
        Manifest::new(
            requirements,
            Constraints::from_requirements(constraints.chain(order.limits.iter().cloned())),
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

/// Whether a requirement leaves no choice: one version, or a direct reference.
fn is_pinned(requirement: &Requirement) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.iter().any(|specifier| {
            matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual)
        }),
        _ => true,
    }
}

/// Returns whether `requirement` does not exclude `version`.
fn allows(requirement: &Requirement, version: &Version) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.contains(version),
        _ => false,
    }
}

/// Returns whether `requirement` limits the versions from above, and leaves a choice.
fn has_upper_bound(requirement: &Requirement) -> bool {
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

/// `best` as constraints that nothing exceeds.
fn upper_bounds(best: &Versions) -> Vec<Requirement> {
    // `<=` says nothing of local versions, and a pre-release in it would allow others.
    let plain = best
        .iter()
        .filter(|(_, best)| best.is_stable() && !best.is_local());
    constraints(plain.map(|(name, best)| format!("{name}<={best}")))
}

/// The major versions of the best of `names` as constraints that nothing falls below.
fn major_floors(names: &[PackageName], best: &Versions) -> Vec<Requirement> {
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

fn constraints(texts: impl Iterator<Item = String>) -> Vec<Requirement> {
    let lines = texts.map(|text| request::Requirement {
        text,
        ..request::Requirement::default()
    });
    requirements::parse_named(&lines.collect::<Vec<_>>()).unwrap_or_default()
}

/// The version of each distribution that came from an index.
fn versions(resolution: &Resolution) -> Versions {
    resolution
        .distributions()
        .filter_map(|dist| match dist {
            ResolvedDist::Installable { dist, version } => {
                Some((dist.name().clone(), version.clone()?))
            }
            ResolvedDist::Installed { .. } => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(chosen: &str, best: &str) -> Distance {
        distance(&chosen.parse().unwrap(), &best.parse().unwrap())
    }

    #[test]
    fn an_older_major_version_is_farther_than_any_minor_one() {
        assert!(between("0.0.3", "1.44.2") > between("2.1.0", "2.99.9"));
        assert!(between("2.1.0", "2.2.0") > between("2.1.0", "2.1.99"));
        assert_eq!(between("2.1", "2.1.0"), (0, 0, 0));
    }

    #[test]
    fn before_1_0_the_second_number_is_the_major_one() {
        assert_eq!(between("0.0.27", "0.2.17"), (2, 0, 0));
        assert_eq!(between("0.23.1", "0.23.3"), (0, 2, 0));
        assert_eq!(between("0.23", "1.0"), (1, 0, 0));
        let best = [("a", "0.2.17"), ("b", "3.1")];
        let best = best.map(|(name, best)| (name.parse().unwrap(), best.parse().unwrap()));
        let names = best.clone().map(|(name, _)| name);
        let major_floors = major_floors(&names, &best.into_iter().collect());
        let major_floors: Vec<String> = major_floors.iter().map(ToString::to_string).collect();
        assert_eq!(major_floors, ["a>=0.2", "b>=3"]);
    }

    /// Reads `name chosen/best`, with `<` after what has an upper bound, `?` after what is lax, and the name of
    /// what it limits.
    fn standings(text: &str) -> Standings {
        let read = |one: &str| {
            let mut words = one.split(' ');
            let (name, versions) = (words.next().unwrap(), words.next().unwrap());
            let (chosen, best) = versions
                .trim_end_matches(['<', '?'])
                .split_once('/')
                .unwrap();
            let standing = Standing {
                chosen: chosen.parse().unwrap(),
                best: best.parse().unwrap(),
                is_bounded: versions.contains('<'),
                is_lax: versions.contains('?'),
                limits: words.map(|name| name.parse().unwrap()).collect(),
            };
            (name.parse().unwrap(), standing)
        };
        Standings(text.split(", ").map(read).collect())
    }

    #[track_caller]
    fn assert_replaces(new: &str, old: &str) {
        assert!(
            standings(new).is_better_than(&standings(old)),
            "{new} replaces {old}"
        );
        assert_stays(new, old);
    }

    /// `new` does not give way to `old`.
    #[track_caller]
    fn assert_stays(new: &str, old: &str) {
        assert!(
            !standings(old).is_better_than(&standings(new)),
            "{new} stays"
        );
    }

    #[test]
    fn what_has_an_upper_bound_never_gives_way() {
        let (flask, lax) = (
            "flask 1.1.4/1.1.4<, werkzeug 1.0.1/3.1.3",
            "flask 1.1.2/1.1.4<, werkzeug 3.1.3/3.1.3",
        );
        assert_replaces(flask, lax);
        let (langchain, lax) = (
            "langchain 0.2.17/0.2.17<, openai 0.1.25/1.7",
            "langchain 0.0.27/0.2.17<, openai 1.7/1.7",
        );
        assert_replaces(langchain, lax);
    }

    #[test]
    fn so_does_what_something_bounded_limits() {
        let (limited, lax) = (
            "flask-socketio 4.3.2/4.3.2< python-socketio, python-socketio 4.6.1/5.12 python-engineio, \
             python-engineio 3.14/4.11",
            "flask-socketio 4.3.2/4.3.2< python-socketio, python-socketio 4.6.0/5.12, \
             python-engineio 4.11/4.11",
        );
        assert_replaces(limited, lax);
        // A limit that only one of two versions has says nothing of the other result.
        let stricter = "a 1.0/2.0< b, b 1.0/3.0 c, c 1.0/2.0";
        assert_stays(stricter, "a 1.0/2.0< b, b 0.9/3.0?, c 2.0/2.0");
    }

    #[test]
    fn a_result_of_another_order_replaces_none() {
        let (first, other) = (
            "pyramid 2.1/2.1, setuptools 81/84",
            "pyramid 2.0.2/2.1, setuptools 84/84",
        );
        assert_stays(first, other);
        assert_stays(other, first);
        assert_replaces("a 2.1/2.1, b 81/84", "a 2.0/2.1, b 81/84");
        assert_stays("a 2.1/2.1, b 81/84", "a 2.1/2.1, b 81/84");
    }

    #[test]
    fn what_was_pushed_back_to_lax_metadata_comes_back() {
        assert_replaces(
            "boto3 1.44.2/1.44.2, urllib3 2.4/2.5",
            "boto3 0.0.3/1.44.2?, urllib3 2.5/2.5",
        );
        assert_replaces(
            "boto3 1.36.3/1.36.11?, s3fs 2024.12/2024.12",
            "boto3 1.36.11/1.36.11, s3fs 0.4.2/2024.12?",
        );
        // At the cost of what is as far from its best, it does not.
        assert_stays("a 1.0/3.0?, b 3.0/3.0", "a 3.0/3.0, b 1.0/3.0");
        // It may cost others a minor version that it limits, but not a major one.
        assert_replaces(
            "connexion 2.14.2/2.14.2< werkzeug, werkzeug 2.2.3/2.3.8<",
            "connexion 2.14.1/2.14.2<?, werkzeug 2.3.8/2.3.8<",
        );
        let (first, other) = ("a 1.0/3.0, b 3.0/3.0 a", "a 3.0/3.0, b 2.9/3.0?");
        assert_stays(first, other);
        assert_stays(other, first);
    }
}
