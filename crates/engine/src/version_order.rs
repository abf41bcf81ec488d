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
//! 3. If a direct requirement ended below its best, or the attempt was given up, the next attempt
//!    decides these requirements first. The better result stays: the one whose direct requirements
//!    are, all in all, less far from their best.
//! 4. When no attempt comes to a good end in time, the last one takes the requirements as written,
//!    without ceilings, for as long as it takes. Only it says that there is no solution.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use uv_configuration::{Constraints, Excludes};
use uv_distribution_types::{Name as _, Requirement, RequirementSource, Resolution, ResolvedDist};
use uv_pep440::Operator;
use uv_resolver::{
    DependencyMode, Exclusions, Flexibility, InMemoryIndex, Manifest, OptionsBuilder, ResolveError,
};
use wheelhouse_model::request;
use wheelhouse_model::{PackageName, Result, Version};

use crate::context::Bench;
use crate::prefer_binary::Rule;
use crate::problem::Problem;
use crate::provider::{Memory, Watch};
use crate::search::Search;
use crate::{network, prereleases, requirements};

/// How many versions of one package an attempt may consider before another order is tried.
const PATIENCE: usize = 25;

/// Attempts with another order, at most.
const REORDERINGS: usize = 2;

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
    };
    loop {
        let settled = solver.settle().await;
        let workshop = bench.workshop;
        let settled =
            settled.map_err(|error| workshop.resolve_error(error, workshop.request.lines()))?;
        let before = solver.prereleases.len();
        let required = prereleases::of_settled(&settled, &problem.terms);
        solver.prereleases.extend(required);
        if solver.prereleases.len() == before {
            return Ok(settled);
        }
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
#[derive(Default)]
struct Order {
    /// The direct requirements that are decided before the others.
    first: BTreeSet<PackageName>,
    /// What the versions of direct requirements cannot exceed.
    ceilings: Vec<Requirement>,
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
}

impl Solver<'_> {
    async fn settle(&self) -> Result<Settled, ResolveError> {
        let best = self.best().await?;
        if let Some(settled) = self.settle_near(&best).await? {
            return Ok(settled);
        }
        let (order, mode) = (Order::default(), DependencyMode::Transitive);
        match self.attempt(&order, mode, usize::MAX).await? {
            Outcome::Settled(settled) => Ok(settled),
            Outcome::GivenUp(_) => unreachable!("an attempt without a limit is not given up"),
        }
    }

    /// The attempt that comes nearest to the best versions of direct requirements; `None` if none
    /// came to a good end.
    ///
    /// # Errors
    /// What is not for want of a solution.
    async fn settle_near(&self, best: &Versions) -> Result<Option<Settled>, ResolveError> {
        let mut order = Order {
            ceilings: ceilings(best),
            ..Order::default()
        };
        let mut nearest: Option<(Distance, Settled)> = None;
        for _ in 0..=REORDERINGS {
            let attempt = self
                .attempt(&order, DependencyMode::Transitive, PATIENCE)
                .await;
            let pushed_back = match attempt {
                Ok(Outcome::Settled(settled)) => {
                    let (distance, pushed_back) = self.judge(&settled, best);
                    if nearest.as_ref().is_none_or(|(least, _)| distance < *least) {
                        nearest = Some((distance, settled));
                    }
                    pushed_back
                }
                Ok(Outcome::GivenUp(watch)) => self.often_considered(&watch),
                Err(ResolveError::NoSolution(_)) => break,
                Err(error) => return Err(error),
            };
            let before = order.first.len();
            order.first.extend(pushed_back);
            if order.first.len() == before {
                break;
            }
        }
        Ok(nearest.map(|(_, settled)| settled))
    }

    /// The total distance of `settled` and the direct requirements that are below their best.
    fn judge(&self, settled: &Settled, best: &Versions) -> (Distance, BTreeSet<PackageName>) {
        let mut total = (0, 0, 0);
        let mut pushed_back = BTreeSet::new();
        for (name, chosen) in versions(&settled.resolution) {
            let Some(best) = best
                .get(&name)
                .filter(|best| self.is_free(&name) && **best > chosen)
            else {
                continue;
            };
            let (major, minor, micro) = distance(&chosen, best);
            total = (total.0 + major, total.1 + minor, total.2 + micro);
            pushed_back.insert(name);
        }
        (total, pushed_back)
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
        if names.len() < 2 || resolution.no_dependencies {
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

    /// The direct requirements of which an attempt considered more than a few versions.
    fn often_considered(&self, watch: &Watch) -> BTreeSet<PackageName> {
        let mut counted: Vec<_> = self
            .problem
            .requirements
            .iter()
            .filter(|requirement| !is_pinned(requirement))
            .map(|requirement| (Reverse(watch.count(&requirement.name)), &requirement.name))
            .filter(|(Reverse(count), _)| *count > 3)
            .collect();
        counted.sort();
        counted.into_iter().map(|(_, name)| name.clone()).collect()
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
        let constraints = problem.constraints.requirements().cloned();
        Manifest::new(
            requirements,
            Constraints::from_requirements(constraints.chain(order.ceilings.iter().cloned())),
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

/// `best` as constraints.
fn ceilings(best: &Versions) -> Vec<Requirement> {
    // `<=` says nothing of local versions, and a pre-release in it would allow others.
    let plain = best
        .iter()
        .filter(|(_, best)| best.is_stable() && !best.is_local());
    let ceilings = plain.map(|(name, best)| request::Requirement {
        text: format!("{name}<={best}"),
        ..request::Requirement::default()
    });
    requirements::parse_named(&ceilings.collect::<Vec<_>>()).unwrap_or_default()
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
