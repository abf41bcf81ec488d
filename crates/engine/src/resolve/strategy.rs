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

mod bounds;
mod standings;

use std::collections::{BTreeSet, HashMap};

use uv_distribution_types::{Requirement, RequirementSource};
use uv_pep508::MarkerTree;
use uv_resolver::DependencyMode;
use wheelhouse_types::{PackageName, Version};

use super::metadata_cache::BacktrackLimit;
use crate::requirements;
use bounds::{has_upper_bound, is_fixed, major_floors, upper_bounds};
use standings::Standings;

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
        if !best_solution.standings.are_below_major() {
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

#[cfg(test)]
mod tests;
