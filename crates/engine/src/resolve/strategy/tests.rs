use std::cell::RefCell;
use std::collections::BTreeMap;

use futures::FutureExt as _;

use super::bounds::{allows, constraints};
use super::*;

/// Packages with versions, and a resolver that decides them in the order of the requirements, as uv does: on a conflict, the
/// package that is decided later moves to an older version.
struct Script {
    direct: DirectRequirements,
    packages: BTreeMap<PackageName, BTreeMap<Version, Release>>,
    attempts: RefCell<Vec<String>>,
}

#[derive(Default)]
struct Release {
    requires: Vec<Requirement>,
    /// True if its metadata cannot be read.
    is_broken: bool,
}

type Solved = BTreeMap<PackageName, Version>;

fn requirement(text: &str) -> Requirement {
    let parsed = constraints(std::iter::once(text.to_owned()));
    let [parsed] = <[Requirement; 1]>::try_from(parsed).expect("a valid requirement");
    parsed
}

impl Script {
    /// Reads one release per line, `NAME VERSION`, then its requirements after a colon, or `broken`.
    fn new(direct: &[&str], releases: &str) -> Self {
        let mut packages: BTreeMap<PackageName, BTreeMap<Version, Release>> = BTreeMap::new();
        for line in releases
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (release, requires) = line.split_once(':').unwrap_or((line, ""));
            let mut words = release.split_whitespace();
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let release = Release {
                is_broken: words.next() == Some("broken"),
                requires: requires.split_whitespace().map(requirement).collect(),
            };
            packages
                .entry(name.parse().unwrap())
                .or_default()
                .insert(version.parse().unwrap(), release);
        }
        Self {
            direct: DirectRequirements {
                requirements: direct.iter().map(|text| requirement(text)).collect(),
                constraints: Vec::new(),
            },
            packages,
            attempts: RefCell::default(),
        }
    }

    fn solve(&self) -> Result<String, &'static str> {
        let strategy = Strategy {
            attempts: self,
            direct: &self.direct,
            ignores_dependencies: false,
        };
        let solved = strategy.solve().now_or_never().expect("nothing waits")?;
        let solved = solved
            .iter()
            .map(|(name, version)| format!("{name} {version}"));
        Ok(solved.collect::<Vec<_>>().join(", "))
    }

    fn attempts(&self) -> Vec<String> {
        self.attempts.borrow().clone()
    }

    /// Decides the first package of `pending`, and all others after it.
    fn decide(&self, search: &mut Search<'_>, pending: &[Requirement], chosen: &Solved) -> Step {
        let mut undecided = pending.iter().filter(|one| !chosen.contains_key(&one.name));
        let Some(next) = undecided.next() else {
            return Step::Solved(chosen.clone());
        };
        let versions = self.packages.get(&next.name);
        for (version, release) in versions.into_iter().flatten().rev() {
            let mut all = pending.iter().chain(search.constraints);
            if !all.all(|one| one.name != next.name || allows(one, version)) {
                continue;
            }
            search.limit.count_version(&next.name, version);
            if search
                .limit
                .considered_more_than(search.budget)
                .contains(&next.name)
            {
                return Step::Exceeded;
            }
            if release.is_broken {
                search.limit.record_failure(&next.name);
                return Step::Failed;
            }
            let mut chosen = chosen.clone();
            chosen.insert(next.name.clone(), version.clone());
            let mut pending = pending.to_vec();
            if search.transitive {
                let seen = search
                    .newest
                    .entry(next.name.clone())
                    .or_insert_with(|| version.clone());
                *seen = version.max(seen).clone();
                let conflicts = release.requires.iter().any(|one| {
                    let decided = chosen.get(&one.name);
                    decided.is_some_and(|decided| !allows(one, decided))
                });
                if conflicts {
                    continue;
                }
                pending.extend(release.requires.iter().cloned());
            }
            match self.decide(search, &pending, &chosen) {
                Step::Conflict => {}
                step => return step,
            }
        }
        Step::Conflict
    }
}

enum Step {
    Solved(Solved),
    Conflict,
    Exceeded,
    Failed,
}

struct Search<'a> {
    constraints: &'a [Requirement],
    limit: &'a BacktrackLimit,
    budget: usize,
    transitive: bool,
    newest: BTreeMap<PackageName, Version>,
}

impl Attempts for Script {
    type Solution = Solved;
    type Failure = &'static str;

    async fn run(
        &self,
        priority: &PackagePriority,
        dependencies: DependencyMode,
        budget: usize,
    ) -> AttemptOutcome<Solved, &'static str> {
        let mut requirements = self.direct.requirements.clone();
        requirements.sort_by_key(|one| {
            (
                !self.direct.is_bounded(&one.name),
                !priority.first.contains(&one.name),
            )
        });
        let limit = BacktrackLimit::new(budget);
        let transitive = matches!(dependencies, DependencyMode::Transitive);
        let mut search = Search {
            constraints: &priority.constraints,
            limit: &limit,
            budget,
            transitive,
            newest: BTreeMap::new(),
        };
        let step = self.decide(&mut search, &requirements, &Solved::new());
        let budget = match budget {
            usize::MAX => "unlimited".to_owned(),
            budget => budget.to_string(),
        };
        let mode = if transitive { "" } else { " alone" };
        let first = &priority.first;
        let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
        let result = match step {
            Step::Solved(_) => "solved",
            Step::Conflict => "no solution",
            Step::Exceeded => "exceeded",
            Step::Failed => "failed",
        };
        let attempt = format!("{budget}{mode} [{}] {result}", first.join(" "));
        self.attempts.borrow_mut().push(attempt);
        match step {
            Step::Solved(solved) => AttemptOutcome::Solved(solved),
            Step::Conflict => AttemptOutcome::NoSolution("no solution"),
            Step::Exceeded => AttemptOutcome::BudgetExceeded(limit),
            Step::Failed => AttemptOutcome::Failed("failed", limit),
        }
    }

    fn versions(&self, solution: &Solved) -> Versions {
        solution.clone().into_iter().collect()
    }

    fn dependencies(&self, solution: &Solved) -> HashMap<PackageName, Vec<Requirement>> {
        let releases = solution.iter().map(|(name, version)| {
            let release = &self.packages[name][version];
            (name.clone(), release.requires.clone())
        });
        releases.collect()
    }

    fn newest_requirements(&self, name: &PackageName) -> Vec<Requirement> {
        let newest = self.packages[name].values().next_back();
        newest.map_or_else(Vec::new, |newest| newest.requires.clone())
    }
}

/// Returns `count` releases of `name`, each with the same requirements.
fn many(name: &str, count: usize, requires: &str) -> String {
    let releases = (1..=count).map(|minor| format!("{name} 1.{minor}: {requires}\n"));
    releases.collect()
}

#[test]
fn first_attempt_follows_order_of_requirements() {
    let releases = "a 2: c<2\na 1\nb 2: c>=2\nb 1\nc 2\nc 1";
    let script = Script::new(&["a", "b"], releases);
    assert_eq!(script.solve().unwrap(), "a 2, b 1, c 1");
    let script = Script::new(&["b", "a"], releases);
    assert_eq!(script.solve().unwrap(), "a 1, b 2, c 2");
}

#[test]
fn one_attempt_suffices_without_conflict() {
    let script = Script::new(&["a", "b"], "a 2: b\na 1\nb 2\nb 1");
    assert_eq!(script.solve().unwrap(), "a 2, b 2");
    assert_eq!(
        script.attempts(),
        ["unlimited alone [] solved", "25 [] solved"]
    );
}

#[test]
fn fixed_requirements_need_no_best_versions() {
    let script = Script::new(&["a==1"], "a 2\na 1: b<2\nb 2\nb 1");
    assert_eq!(script.solve().unwrap(), "a 1, b 1");
    assert_eq!(script.attempts(), ["25 [] solved"]);
}

#[test]
fn requirements_with_upper_bound_are_decided_first() {
    let releases = "
        flask 1.1.4: werkzeug<2
        flask 1.1.2
        werkzeug 3
        werkzeug 1";
    for direct in [["werkzeug", "flask<2"], ["flask<2", "werkzeug"]] {
        let script = Script::new(&direct, releases);
        assert_eq!(script.solve().unwrap(), "flask 1.1.4, werkzeug 1");
    }
}

#[test]
fn requirement_below_best_is_decided_first() {
    // boto3 moves back to the release that states no limits.
    let releases = "
        urllib3 2.5
        urllib3 2.4
        boto3 1.44: urllib3<2.5
        boto3 1.43: urllib3<2.5
        boto3 0.0.3";
    let script = Script::new(&["urllib3", "boto3"], releases);
    assert_eq!(script.solve().unwrap(), "boto3 1.44, urllib3 2.4");
    assert_eq!(
        script.attempts()[1..],
        [
            "25 [] solved",
            "25 [boto3] solved",
            "25 [boto3 urllib3] solved"
        ]
    );
}

#[test]
fn frequent_direct_requirement_is_decided_first_after_exceeded_budget() {
    let releases = format!(
        "urllib3 2.5\nurllib3 2.4\n{}",
        many("boto3", 40, "urllib3<2.5")
    );
    let script = Script::new(&["urllib3", "boto3"], &releases);
    assert_eq!(script.solve().unwrap(), "boto3 1.40, urllib3 2.4");
    assert_eq!(
        script.attempts()[1..3],
        ["25 [] exceeded", "25 [boto3] solved"]
    );
}

#[test]
fn direct_requirements_yield_to_newest_version_of_frequent_dependency() {
    let releases = format!(
        "app 1: botocore\ndateutil 3\ndateutil 2\n{}",
        many("botocore", 40, "dateutil<3")
    );
    let script = Script::new(&["dateutil", "app"], &releases);
    assert_eq!(script.solve().unwrap(), "app 1, botocore 1.40, dateutil 2");
    assert_eq!(script.attempts()[1..3], ["25 [] exceeded", "25 [] solved"]);
}

#[test]
fn budget_is_extended_and_then_lifted() {
    for (count, last) in [(100, "250"), (300, "unlimited")] {
        let releases = format!("a 1: c\nb 1\nc 0.1\n{}", many("c", count, "b>1"));
        let script = Script::new(&["b==1", "a"], &releases);
        assert_eq!(script.solve().unwrap(), "a 1, b 1, c 0.1");
        let solved: Vec<String> = script.attempts().split_off(1);
        assert_eq!(solved.last(), Some(&format!("{last} [] solved")));
        assert_eq!(solved[0], "25 [] exceeded");
    }
}

#[test]
fn only_unlimited_attempt_reports_lack_of_solution() {
    let script = Script::new(&["a", "b"], "a 1: c<2\nb 1: c>=2\nc 1\nc 2");
    assert_eq!(script.solve(), Err("no solution"));
    assert_eq!(
        script.attempts(),
        [
            "unlimited alone [] solved",
            "25 [] no solution",
            "250 [] no solution",
            "unlimited [] no solution"
        ]
    );
}

#[test]
fn failure_on_way_to_old_versions_rules_out_one_attempt() {
    let releases = "
        urllib3 2.5
        urllib3 2.4
        boto3 1.44: urllib3<2.5
        boto3 1.43 broken";
    let script = Script::new(&["urllib3", "boto3"], releases);
    assert_eq!(script.solve().unwrap(), "boto3 1.44, urllib3 2.4");
    assert_eq!(
        script.attempts()[1..3],
        ["25 [] failed", "25 [boto3] solved"]
    );
}

#[test]
fn failure_of_all_attempts_is_reported() {
    let script = Script::new(&["a"], "a 2: b\na 1\nb 1 broken");
    assert_eq!(script.solve(), Err("failed"));
}

#[test]
fn major_version_of_best_is_required_after_extended_budget() {
    let releases = format!(
        "x 2.1\nx 2.0\np 1\na 2.0: x<2.1\na 1.0: c\nc 0.1\n{}",
        many("c", 100, "p>1")
    );
    let script = Script::new(&["x", "p==1", "a"], &releases);
    assert_eq!(script.solve().unwrap(), "a 2.0, p 1, x 2.0");
    assert_eq!(
        script.attempts()[1..],
        ["25 [] exceeded", "250 [] solved", "250 [] solved"]
    );
}
