//! The strategy of a resolution: attempts with different package priorities, and the choice among their solutions.
//!
//! uv's resolver decides packages in the order of the requirements, and on a conflict it moves the package that it decides
//! later to older versions: with `boto3` late in a list, it tries hundreds of old versions of boto3 until one does not
//! conflict with earlier decisions. pip would have moved the other packages. So a resolution consists of attempts:
//!
//! 1. Resolving the direct requirements without dependencies gives the best version of each. It is an upper bound in
//!    every attempt: uv treats each newer version, which is for another Python, as a conflict, and restarts with other
//!    priorities after a few of them.
//! 2. Each attempt decides direct requirements with an upper bound before the others, as pip does. Otherwise the first
//!    attempt follows the order of the requirements. It is aborted after [`BUDGET`] versions of one package.
//! 3. If a direct requirement ended below its best version, the next attempt decides it first. After an aborted attempt,
//!    that applies to direct requirements of which many versions were considered; for other such packages, the direct
//!    requirements are constrained to what the newest version of the package requires.
//! 4. If no attempt finds a solution, the last one is repeated with ten times the budget, and then once more without a
//!    limit. Only that attempt can report that there is no solution. Any other error, such as an old source that does not
//!    build, rules out one attempt only.
//! 5. If step 4 was necessary and a direct requirement is below the major version of its best, that version is required.
//! 6. A solution replaces an earlier one only if it is better for every order of the requirements; see
//!    [`Standings::is_better_than`].
//!
//! The strategy works on plain values. [`Attempts`] runs one attempt.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uv_distribution_types::{Requirement, RequirementSource};
use uv_pep440::Operator;
use uv_pep508::MarkerTree;
use uv_resolver::DependencyMode;
use wheelhouse_types::request;
use wheelhouse_types::{PackageName, Version};

use super::metadata_cache::BacktrackLimit;
use crate::requirements;

/// The number of versions of one package that an attempt may consider.
const BUDGET: usize = 25;

/// The budget of the last attempt with a limit.
const EXTENDED_BUDGET: usize = 10 * BUDGET;

/// The maximum number of attempts with changed priorities.
const REORDERINGS: usize = 2;

/// A package with more considered versions than this caused an attempt to be aborted.
const FREQUENT: usize = 3;

/// Runs attempts of a resolution.
pub(super) trait Attempts {
    type Solution;
    type Failure;

    /// Runs one attempt, in which at most `budget` versions of each package are considered.
    async fn run(
        &self,
        priority: &PackagePriority,
        dependencies: DependencyMode,
        budget: usize,
    ) -> AttemptOutcome<Self::Solution, Self::Failure>;

    /// Returns the versions of a solution that come from an index.
    fn versions(&self, solution: &Self::Solution) -> Versions;

    /// Returns the requirements of each package of a solution that apply to the target.
    fn dependencies(&self, solution: &Self::Solution) -> HashMap<PackageName, Vec<Requirement>>;

    /// Returns the requirements of the newest version of `name` considered so far that apply to the target.
    fn newest_requirements(&self, name: &PackageName) -> Vec<Requirement>;
}

/// The result of an attempt.
pub(super) enum AttemptOutcome<Solution, Failure> {
    Solved(Solution),
    /// The requirements contradict each other.
    NoSolution(Failure),
    BudgetExceeded(BacktrackLimit),
    /// Another error, such as a source that does not build.
    Failed(Failure, BacktrackLimit),
}

/// Versions by package.
pub(super) type Versions = HashMap<PackageName, Version>;

/// The priorities of packages in an attempt.
#[derive(Clone, Default)]
pub(super) struct PackagePriority {
    /// The direct requirements that are decided first.
    pub(super) first: BTreeSet<PackageName>,
    /// Constraints in addition to those of the request.
    pub(super) constraints: Vec<Requirement>,
}

impl PackagePriority {
    /// Adds what `other` has in addition. Returns whether there was anything.
    fn merge(&mut self, other: Self) -> bool {
        let count = |priority: &Self| priority.first.len() + priority.constraints.len();
        let before = count(self);
        self.first.extend(other.first);
        for constraint in other.constraints {
            if !self.constraints.contains(&constraint) {
                self.constraints.push(constraint);
            }
        }
        count(self) > before
    }
}

/// The direct requirements and constraints of a request, as far as they apply to the target.
pub(super) struct DirectRequirements {
    pub(super) requirements: Vec<Requirement>,
    pub(super) constraints: Vec<Requirement>,
}

impl DirectRequirements {
    /// Returns whether `name` is required directly without one fixed version.
    fn is_free(&self, name: &PackageName) -> bool {
        self.free().any(|free| free == name)
    }

    fn free(&self) -> impl Iterator<Item = &PackageName> {
        let free = self.requirements.iter().filter(|one| !is_fixed(one));
        free.map(|requirement| &requirement.name)
    }

    /// Returns whether all requirements have fixed versions.
    pub(super) fn are_all_pinned(&self) -> bool {
        self.requirements.iter().all(requirements::is_pinned)
    }

    /// Returns whether a requirement or constraint limits the versions of `name` from above.
    pub(super) fn is_bounded(&self, name: &PackageName) -> bool {
        let mut all = self.requirements.iter().chain(&self.constraints);
        all.any(|requirement| requirement.name == *name && has_upper_bound(requirement))
    }
}

/// A solution with its standings.
struct BestSolution<Solution> {
    solution: Solution,
    standings: Standings,
}

/// Finds the solution for direct requirements by several attempts.
pub(super) struct Strategy<'a, A> {
    pub(super) attempts: &'a A,
    pub(super) direct: &'a DirectRequirements,
    pub(super) ignores_dependencies: bool,
}

impl<A: Attempts> Strategy<'_, A> {
    /// # Errors
    /// The failure of the last attempt, or the first one that is not due to contradicting requirements.
    pub(super) async fn solve(&self) -> Result<A::Solution, A::Failure> {
        let best = self.best_versions().await?;
        let mut priority = PackagePriority {
            constraints: upper_bounds(&best),
            ..PackagePriority::default()
        };
        if let Some(found) = self.try_within_budget(&mut priority, &best).await? {
            return Ok(found.solution);
        }
        let solution = match self.attempt(&priority, EXTENDED_BUDGET).await {
            AttemptOutcome::Solved(solution) => solution,
            AttemptOutcome::BudgetExceeded(_) | AttemptOutcome::NoSolution(_) => {
                priority.constraints.clear();
                self.solve_unbounded(&priority).await?
            }
            AttemptOutcome::Failed(failure, _) => return Err(failure),
        };
        let found = self.score(solution, &best);
        Ok(self.retry_with_major_floors(&priority, &best, found).await)
    }

    async fn attempt(
        &self,
        priority: &PackagePriority,
        budget: usize,
    ) -> AttemptOutcome<A::Solution, A::Failure> {
        let mode = DependencyMode::Transitive;
        self.attempts.run(priority, mode, budget).await
    }

    async fn solve_unbounded(&self, priority: &PackagePriority) -> Result<A::Solution, A::Failure> {
        match self.attempt(priority, usize::MAX).await {
            AttemptOutcome::Solved(solution) => Ok(solution),
            AttemptOutcome::NoSolution(failure) | AttemptOutcome::Failed(failure, _) => {
                Err(failure)
            }
            AttemptOutcome::BudgetExceeded(_) => unreachable!("the budget is unlimited"),
        }
    }

    /// Returns the best version of each direct requirement, regardless of dependencies. Returns nothing if all versions are
    /// fixed, or if there is no solution.
    async fn best_versions(&self) -> Result<Versions, A::Failure> {
        if self.ignores_dependencies || self.direct.free().next().is_none() {
            return Ok(Versions::new());
        }
        let priority = PackagePriority::default();
        let mode = DependencyMode::Direct;
        match self.attempts.run(&priority, mode, usize::MAX).await {
            AttemptOutcome::Solved(solution) => Ok(self.attempts.versions(&solution)),
            AttemptOutcome::BudgetExceeded(_) | AttemptOutcome::NoSolution(_) => {
                Ok(Versions::new())
            }
            AttemptOutcome::Failed(failure, _) => Err(failure),
        }
    }

    /// Returns the best solution of the attempts with the normal budget. `priority` becomes that of the next attempt.
    ///
    /// # Errors
    /// A failure that is not due to contradicting requirements, if no attempt has a solution.
    async fn try_within_budget(
        &self,
        priority: &mut PackagePriority,
        best: &Versions,
    ) -> Result<Option<BestSolution<A::Solution>>, A::Failure> {
        let mut best_solution: Option<BestSolution<A::Solution>> = None;
        let mut first_failure = None;
        for _ in 0..=REORDERINGS {
            let next = match self.attempt(priority, BUDGET).await {
                AttemptOutcome::Solved(solution) => {
                    let found = self.score(solution, best);
                    let below_best = found.standings.below_best();
                    tracing::debug!(?below_best, "found a solution");
                    if best_solution
                        .as_ref()
                        .is_none_or(|known| found.standings.is_better_than(&known.standings))
                    {
                        best_solution = Some(found);
                    }
                    PackagePriority {
                        first: below_best.into_iter().collect(),
                        ..PackagePriority::default()
                    }
                }
                AttemptOutcome::BudgetExceeded(backtracking) => self.next_priority(&backtracking),
                AttemptOutcome::NoSolution(_) => break,
                // The failure may concern an old version that no solution needs.
                AttemptOutcome::Failed(failure, backtracking) => {
                    let mut first = backtracking.failed_after_backtracking();
                    first.retain(|name| self.direct.is_free(name));
                    first_failure.get_or_insert(failure);
                    PackagePriority {
                        first,
                        ..PackagePriority::default()
                    }
                }
            };
            if !priority.merge(next) {
                break;
            }
        }
        match (best_solution, first_failure) {
            (None, Some(failure)) => Err(failure),
            (best_solution, _) => Ok(best_solution),
        }
    }

    /// Requires the major version of the best version of all direct requirements below it, or else of the most distant one
    /// only. A failed attempt is ignored.
    async fn retry_with_major_floors(
        &self,
        priority: &PackagePriority,
        best: &Versions,
        mut best_solution: BestSolution<A::Solution>,
    ) -> A::Solution {
        if best_solution.standings.distance(|_, _| true).0 == 0 {
            return best_solution.solution;
        }
        let mut names = best_solution.standings.below_best();
        while !names.is_empty() {
            let mut priority = priority.clone();
            priority.constraints.extend(major_floors(&names, best));
            if let AttemptOutcome::Solved(solution) = self.attempt(&priority, EXTENDED_BUDGET).await
            {
                let found = self.score(solution, best);
                if found.standings.is_better_than(&best_solution.standings) {
                    best_solution = found;
                }
                break;
            }
            names.truncate(usize::from(names.len() > 1));
        }
        best_solution.solution
    }

    fn score(&self, solution: A::Solution, best: &Versions) -> BestSolution<A::Solution> {
        let versions = self.attempts.versions(&solution);
        let dependencies = self.attempts.dependencies(&solution);
        BestSolution {
            standings: Standings::new(versions, &dependencies, best, self.direct),
            solution,
        }
    }

    /// Returns the changes for the attempt after one that exceeded its budget.
    fn next_priority(&self, backtracking: &BacktrackLimit) -> PackagePriority {
        let frequent = backtracking.considered_more_than(FREQUENT);
        let (first, others): (BTreeSet<_>, BTreeSet<_>) = frequent
            .into_iter()
            .partition(|name| self.direct.is_free(name));
        let required = others
            .iter()
            .flat_map(|name| self.attempts.newest_requirements(name));
        let constraints = required
            .filter(|requirement| {
                self.direct.is_free(&requirement.name)
                    && matches!(requirement.source, RequirementSource::Registry { .. })
            })
            .map(|requirement| Requirement {
                extras: Box::default(),
                marker: MarkerTree::TRUE,
                ..requirement
            });
        let next = PackagePriority {
            constraints: constraints.collect(),
            first,
        };
        tracing::debug!(first = ?next.first, constraints = next.constraints.len(), "changing the priorities");
        next
    }
}

/// The distance from the best version: the sums of the differences of the major, minor and micro numbers, compared in this
/// order.
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

/// The version of one direct requirement in a solution, compared with its best version.
#[derive(Clone, Debug)]
struct Standing {
    chosen: Version,
    best: Version,
    /// True if the user limits its versions from above.
    is_bounded: bool,
    /// True if it is below its best version although no package of the solution limits it: its own requirements conflict,
    /// and an older release states fewer of them.
    is_lax: bool,
    /// The packages that the chosen version limits from above.
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

/// The standings of the direct requirements without fixed versions in a solution.
#[derive(Clone, Debug, Default)]
struct Standings(BTreeMap<PackageName, Standing>);

impl Standings {
    fn new(
        versions: Versions,
        dependencies: &HashMap<PackageName, Vec<Requirement>>,
        best: &Versions,
        direct: &DirectRequirements,
    ) -> Self {
        let is_limited = |name: &PackageName, best: &Version| {
            let mut all = dependencies.values().flatten();
            all.any(|one| one.name == *name && !allows(one, best))
        };
        let standings = versions.into_iter().filter_map(|(name, chosen)| {
            let best = best.get(&name).filter(|_| direct.is_free(&name))?.clone();
            let own = dependencies.get(&name).into_iter().flatten();
            let standing = Standing {
                is_bounded: direct.is_bounded(&name),
                is_lax: chosen < best && !is_limited(&name, &best),
                limits: own
                    .filter(|one| has_upper_bound(one))
                    .map(|one| one.name.clone())
                    .collect(),
                chosen,
                best,
            };
            Some((name, standing))
        });
        Self(standings.collect())
    }

    fn distance(&self, counts: impl Fn(&PackageName, &Standing) -> bool) -> Distance {
        let distances = self.0.iter().filter(|(name, one)| counts(name, one));
        distances
            .map(|(_, one)| one.distance())
            .fold((0, 0, 0), |sum, one| {
                (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2)
            })
    }

    /// Returns the direct requirements below their best versions, the most distant first.
    fn below_best(&self) -> Vec<PackageName> {
        let below = self.0.iter().filter(|(_, one)| one.chosen < one.best);
        let mut names: Vec<_> = below
            .map(|(name, one)| (Reverse(one.distance()), name))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Returns the direct requirements that are limited from above: by the user, or by another one of these that has the
    /// same version in both solutions.
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

    /// Returns whether this solution has a newer version of one of `names` than `other` has.
    fn has_newer(&self, other: &Self, names: &BTreeSet<&PackageName>) -> bool {
        names.iter().any(|&name| {
            let (ours, theirs) = (self.0.get(name), other.0.get(name));
            ours.zip(theirs)
                .is_some_and(|(ours, theirs)| ours.chosen > theirs.chosen)
        })
    }

    /// Returns whether this solution replaces `other`, an earlier one.
    ///
    /// Requirements limited from above are compared first: an older release may be compatible with anything only because
    /// its metadata states no limits. Then all direct requirements are compared.
    ///
    /// 1. A solution with a newer version of one of them, and an older version of none, is better.
    /// 2. If some are older and some newer, the order of the requirements decides: the earlier solution stays. The
    ///    exception is a solution closer to the best versions of those that no package of the other one limits, unless
    ///    it costs the rest a major version.
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

/// Returns whether a requirement has one version (among those of an `==` clause), or is a direct reference.
fn is_fixed(requirement: &Requirement) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.iter().any(|specifier| {
            matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual)
        }),
        _ => true,
    }
}

/// Returns whether `requirement` allows `version`.
fn allows(requirement: &Requirement, version: &Version) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => specifier.contains(version),
        _ => false,
    }
}

/// Returns whether `requirement` limits the versions from above without fixing one.
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

/// Returns constraints that exclude versions above the `best` ones.
fn upper_bounds(best: &Versions) -> Vec<Requirement> {
    // `<=` does not cover local versions, and one with a pre-release would allow others.
    let plain = best
        .iter()
        .filter(|(_, best)| best.is_stable() && !best.is_local());
    constraints(plain.map(|(name, best)| format!("{name}<={best}")))
}

/// Returns constraints that exclude versions below the major versions of the best ones of `names`.
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

#[cfg(test)]
mod tests;
