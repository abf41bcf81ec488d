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
//! 2. The first attempt takes the order as written. It is given up once it has considered more than
//!    [`PATIENCE`] versions of one package.
//! 3. If a direct requirement ended below its best, the next attempt decides it first. If the attempt
//!    was given up, that goes for direct requirements that were considered often; and where it was
//!    another package, the direct requirements have to be what its newest version requires of them:
//!    a new `python-dateutil` is not worth all versions of `botocore`.
//! 4. When no attempt comes to a good end in time, the last of them gets more of it; and when that has
//!    no end either, one goes on without limits, for as long as it takes. Only it says that there is no
//!    solution.
//! 5. Where it came to that and a direct requirement still is below the major version of its best, that
//!    is required, and the others have to move. Of all results the one stays whose direct requirements are, all in
//!    all, least far from their best.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use uv_configuration::{Constraints, Excludes};
use uv_distribution_types::{Name as _, Requirement, RequirementSource, Resolution, ResolvedDist};
use uv_pep440::Operator;
use uv_pep508::MarkerTree;
use uv_resolver::{
    DependencyMode, Exclusions, Flexibility, InMemoryIndex, Manifest, OptionsBuilder, ResolveError,
};
use wheelhouse_model::request;
use wheelhouse_model::{PackageName, Result, Version};

use crate::context::Bench;
use crate::memory::{Memory, Watch};
use crate::prefer_binary::Rule;
use crate::problem::Problem;
use crate::search::Search;
use crate::{network, prereleases, requirements};

/// How many versions of one package an attempt may consider before another order is tried.
const PATIENCE: usize = 25;

/// The same for the attempt that everything else depends on.
const GREAT_PATIENCE: usize = 10 * PATIENCE;

/// Attempts with another order, at most.
const REORDERINGS: usize = 2;

/// Of how many versions a package has more that was considered often.
const FEW: usize = 3;

pub(crate) struct Settled {
    pub(crate) resolution: Resolution,
    pub(crate) index: InMemoryIndex,
}

enum Outcome {
    Settled(Settled),
    GivenUp(Watch),
}

/// Settles `problem` under `rule`, in as many attempts as it takes.
///
/// As for pip, whoever requires a pre-release of a package allows them all. What the chosen versions
/// require is known when they are chosen: then the search begins anew.
///
/// # Errors
/// As [`Workshop::resolve`].
pub(crate) async fn settle(bench: &Bench<'_>, problem: &Problem, rule: &Rule) -> Result<Settled> {
    let mut solver = Solver {
        bench,
        problem,
        rule,
        memory: Memory::default(),
        index: RefCell::new(rule.index.clone()),
        prereleases: prereleases::of_problem(problem),
        urls: Vec::new(),
    };
    loop {
        let settled = solver.settle().await;
        if let Err(error) = &settled
            && let Some((name, url)) = disallowed_url(error)
            && let Some(allowed) = solver.memory.allowed_url(name, url)
            && !solver.urls.contains(&allowed)
        {
            solver.urls.push(allowed);
            solver.index.replace(InMemoryIndex::default());
            continue;
        }
        let workshop = bench.workshop;
        let lines = workshop.request.lines();
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => return Err(workshop.resolve_error(error, lines, &solver.memory).await),
        };
        let before = solver.prereleases.len();
        let required = prereleases::of_settled(&settled, &problem.terms);
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

/// How far direct requirements are from their best: summed differences of the major, minor and
/// micro numbers, compared in this order.
type Distance = (u64, u64, u64);

fn distance(chosen: &Version, best: &Version) -> Distance {
    let part = |position: usize| {
        let number = |version: &Version| version.release().get(position).copied().unwrap_or(0);
        number(best).abs_diff(number(chosen))
    };
    match (part(0), part(1), part(2)) {
        (0, 0, micro) => (0, 0, micro),
        (0, minor, _) => (0, minor, 0),
        (major, ..) => (major, 0, 0),
    }
}

/// Versions by packages.
type Versions = HashMap<PackageName, Version>;

/// In which order an attempt decides packages.
#[derive(Clone, Default)]
struct Order {
    /// The direct requirements that are decided before the others.
    first: BTreeSet<PackageName>,
    /// What holds beside the constraints of the request: ceilings of direct requirements, and less.
    limits: Vec<Requirement>,
}

impl Order {
    /// Adds to the order what it does not have. Tells whether there was anything.
    fn change(&mut self, change: Order) -> bool {
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
struct Nearest {
    distance: Distance,
    settled: Settled,
    /// The direct requirements that are below their best, the farthest first.
    pushed_back: Vec<PackageName>,
}

struct Solver<'a> {
    bench: &'a Bench<'a>,
    problem: &'a Problem,
    rule: &'a Rule,
    memory: Memory,
    /// Shared by all attempts until one is given up: what that one asked for and did not wait for
    /// would never arrive.
    index: RefCell<InMemoryIndex>,
    /// The packages of which a pre-release is required.
    prereleases: BTreeSet<PackageName>,
    /// What the metadata of packages requires at URLs: uv follows those alone that constraints have, too.
    urls: Vec<Requirement>,
}

impl Solver<'_> {
    async fn settle(&self) -> Result<Settled, ResolveError> {
        let best = self.best().await?;
        let mut order = Order {
            limits: ceilings(&best),
            ..Order::default()
        };
        if let Some(nearest) = self.settle_near(&mut order, &best).await? {
            return Ok(nearest.settled);
        }
        let settled = match self
            .attempt(&order, DependencyMode::Transitive, GREAT_PATIENCE)
            .await
        {
            Ok(Outcome::Settled(settled)) => settled,
            Ok(Outcome::GivenUp(_)) | Err(ResolveError::NoSolution(_)) => {
                self.settle_at_all(&mut order).await?
            }
            Err(error) => return Err(error),
        };
        let found = self.judge(settled, &best);
        self.settle_nearer(&order, &best, found).await
    }

    /// The attempt that goes on for as long as it takes.
    ///
    /// # Errors
    /// When there is no solution.
    async fn settle_at_all(&self, order: &mut Order) -> Result<Settled, ResolveError> {
        order.limits.clear();
        let attempt = self.attempt(order, DependencyMode::Transitive, usize::MAX);
        match attempt.await? {
            Outcome::Settled(settled) => Ok(settled),
            Outcome::GivenUp(_) => unreachable!("an attempt without a limit is not given up"),
        }
    }

    /// The attempt that comes nearest to the best versions of direct requirements; `None` if none
    /// came to a good end. `order` is left as the last attempt would have had it.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn settle_near(
        &self,
        order: &mut Order,
        best: &Versions,
    ) -> Result<Option<Nearest>, ResolveError> {
        let mut nearest: Option<Nearest> = None;
        for _ in 0..=REORDERINGS {
            let attempt = self
                .attempt(order, DependencyMode::Transitive, PATIENCE)
                .await;
            let change = match attempt {
                Ok(Outcome::Settled(settled)) => {
                    let found = self.judge(settled, best);
                    let first = found.pushed_back.iter().cloned().collect();
                    if nearest
                        .as_ref()
                        .is_none_or(|near| found.distance < near.distance)
                    {
                        nearest = Some(found);
                    }
                    Order {
                        first,
                        ..Order::default()
                    }
                }
                Ok(Outcome::GivenUp(watch)) => self.remedy(&watch),
                Err(ResolveError::NoSolution(_)) => break,
                Err(error) => return Err(error),
            };
            if !order.change(change) {
                break;
            }
        }
        Ok(nearest)
    }

    /// Requires the best major version of those that `nearest` has pushed back below it, and then of
    /// the farthest of them alone.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn settle_nearer(
        &self,
        order: &Order,
        best: &Versions,
        mut nearest: Nearest,
    ) -> Result<Settled, ResolveError> {
        if nearest.distance.0 == 0 {
            return Ok(nearest.settled);
        }
        let mut wanted = nearest.pushed_back.clone();
        while !wanted.is_empty() {
            let mut order = order.clone();
            order.limits.extend(floors(&wanted, best));
            let attempt = self
                .attempt(&order, DependencyMode::Transitive, GREAT_PATIENCE)
                .await;
            match attempt {
                Ok(Outcome::Settled(settled)) => {
                    let found = self.judge(settled, best);
                    if found.distance < nearest.distance {
                        nearest = found;
                    }
                    break;
                }
                Ok(Outcome::GivenUp(_)) | Err(ResolveError::NoSolution(_)) => {}
                Err(error) => return Err(error),
            }
            let alone = usize::from(wanted.len() > 1);
            wanted.truncate(alone);
        }
        Ok(nearest.settled)
    }

    /// How far `settled` is from the best versions of direct requirements.
    fn judge(&self, settled: Settled, best: &Versions) -> Nearest {
        let mut total = (0, 0, 0);
        let mut pushed_back = Vec::new();
        for (name, chosen) in versions(&settled.resolution) {
            let Some(best) = best
                .get(&name)
                .filter(|best| self.is_free(&name) && **best > chosen)
            else {
                continue;
            };
            let (major, minor, micro) = distance(&chosen, best);
            total = (total.0 + major, total.1 + minor, total.2 + micro);
            pushed_back.push((Reverse((major, minor, micro)), name));
        }
        pushed_back.sort();
        Nearest {
            distance: total,
            settled,
            pushed_back: pushed_back.into_iter().map(|(_, name)| name).collect(),
        }
    }

    /// What to do about an attempt that went through too many versions of a package.
    fn remedy(&self, watch: &Watch) -> Order {
        let often = watch.considered_more_than(FEW);
        let (first, others): (BTreeSet<_>, BTreeSet<_>) =
            often.into_iter().partition(|name| self.is_free(name));
        let markers = self.problem.terms.markers.markers();
        let required = others
            .iter()
            .flat_map(|name| self.memory.newest_requires(name));
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
        Order {
            limits: limits.collect(),
            first,
        }
    }

    /// Whether the version of `name` is required directly and left open.
    fn is_free(&self, name: &PackageName) -> bool {
        let mut requirements = self.problem.requirements.iter();
        requirements.any(|requirement| requirement.name == *name && !is_pinned(requirement))
    }

    /// What each direct requirement could have, were it not for the dependencies. Empty where there
    /// is nothing to balance, or no solution at all.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn best(&self) -> Result<Versions, ResolveError> {
        let requirements = self.problem.requirements.iter();
        let free = requirements.filter(|requirement| !is_pinned(requirement));
        let names: BTreeSet<&PackageName> = free.map(|requirement| &requirement.name).collect();
        let resolution = &self.bench.workshop.request.resolution;
        if names.is_empty() || resolution.no_dependencies {
            return Ok(Versions::new());
        }
        let alone = self
            .attempt(&Order::default(), DependencyMode::Direct, usize::MAX)
            .await;
        match alone {
            Ok(Outcome::Settled(alone)) => Ok(versions(&alone.resolution)),
            Ok(Outcome::GivenUp(_)) | Err(ResolveError::NoSolution(_)) => Ok(Versions::new()),
            Err(error) => Err(error),
        }
    }

    async fn attempt(
        &self,
        order: &Order,
        dependencies: DependencyMode,
        patience: usize,
    ) -> Result<Outcome, ResolveError> {
        let (engine, problem) = (self.bench.workshop, self.problem);
        let manifest = self.manifest(order);
        let options = OptionsBuilder::new()
            .dependency_mode(if engine.request.resolution.no_dependencies {
                DependencyMode::Direct
            } else {
                dependencies
            })
            .prerelease(prereleases::allowed(
                &engine.request.resolution.prereleases,
                &self.prereleases,
            ))
            .exclude_newer(engine.exclude_newer.clone())
            .index_strategy(network::strategy(engine.request.indexes.strategy))
            .build_options(self.rule.build_options.clone())
            .flexibility(Flexibility::Configurable)
            .build();
        let watch = Watch::new(patience);
        let index = self.index.borrow().clone();
        let search = Search {
            bench: self.bench,
            terms: &problem.terms,
            hasher: &problem.hasher,
            build_options: &self.rule.build_options,
            flat_index: &self.rule.flat_index,
            index: &index,
            memory: &self.memory,
            watch: &watch,
        };
        let output = tokio::select! {
            biased;
            () = watch.exceeded() => None,
            output = search.run(manifest, options) => Some(output?),
        };
        Ok(match output {
            None => {
                self.index.replace(InMemoryIndex::default());
                Outcome::GivenUp(watch)
            }
            Some(output) => Outcome::Settled(Settled {
                resolution: Resolution::from(output),
                index,
            }),
        })
    }

    fn manifest(&self, order: &Order) -> Manifest {
        let problem = self.problem;
        let mut requirements = problem.requirements.clone();
        // A stable sort: within both groups the order stays as written.
        requirements.sort_by_key(|requirement| !order.first.contains(&requirement.name));
        let constraints = problem.constraints.requirements();
        let constraints = constraints.chain(&self.urls).cloned();
        Manifest::new(
            requirements,
            Constraints::from_requirements(constraints.chain(order.limits.iter().cloned())),
            problem.overrides.clone(),
            Excludes::default(),
            problem.preferences.clone(),
            None,
            BTreeSet::new(),
            Exclusions::default(),
            problem.lookaheads.clone(),
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

/// `best` as constraints that nothing exceeds.
fn ceilings(best: &Versions) -> Vec<Requirement> {
    // `<=` says nothing of local versions, and a pre-release in it would allow others.
    let plain = best
        .iter()
        .filter(|(_, best)| best.is_stable() && !best.is_local());
    constraints(plain.map(|(name, best)| format!("{name}<={best}")))
}

/// The major versions of the best of `names` as constraints that nothing falls below.
fn floors(names: &[PackageName], best: &Versions) -> Vec<Requirement> {
    let major = |name| Some((name, *best.get(name)?.release().first()?));
    let majors = names.iter().filter_map(major);
    constraints(majors.map(|(name, major)| format!("{name}>={major}")))
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
}
