//! Compares solutions: how far the direct requirements are from their best versions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uv_distribution_types::Requirement;
use wheelhouse_types::{PackageName, Version};

use super::bounds::{allows, has_upper_bound};
use super::{DirectRequirements, Versions};

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
pub(super) struct Standings(BTreeMap<PackageName, Standing>);

impl Standings {
    pub(super) fn new(
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

    /// Returns whether a direct requirement is below the major version of its best one.
    pub(super) fn are_below_major(&self) -> bool {
        self.distance(|_, _| true).0 > 0
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
    pub(super) fn below_best(&self) -> Vec<PackageName> {
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
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::bounds::major_floors;
    use super::*;

    fn between(chosen: &str, best: &str) -> Distance {
        distance(&chosen.parse().unwrap(), &best.parse().unwrap())
    }

    #[test]
    fn older_major_version_is_more_distant_than_any_minor_one() {
        assert!(between("0.0.3", "1.44.2") > between("2.1.0", "2.99.9"));
        assert!(between("2.1.0", "2.2.0") > between("2.1.0", "2.1.99"));
        assert_eq!(between("2.1", "2.1.0"), (0, 0, 0));
    }

    #[test]
    fn second_number_is_major_one_before_1_0() {
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

    /// Parses `name chosen/best`, followed by `<` for an upper bound, `?` for lax metadata, and the names of limited packages.
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

    /// Asserts that `old` does not replace `new`.
    #[track_caller]
    fn assert_stays(new: &str, old: &str) {
        assert!(
            !standings(old).is_better_than(&standings(new)),
            "{new} stays"
        );
    }

    #[test]
    fn requirement_with_upper_bound_keeps_its_version() {
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
    fn dependency_limited_by_bounded_requirement_keeps_its_version() {
        let (limited, lax) = (
            "flask-socketio 4.3.2/4.3.2< python-socketio, python-socketio 4.6.1/5.12 python-engineio, \
             python-engineio 3.14/4.11",
            "flask-socketio 4.3.2/4.3.2< python-socketio, python-socketio 4.6.0/5.12, \
             python-engineio 4.11/4.11",
        );
        assert_replaces(limited, lax);
        // A limit of only one of two versions does not apply to the other solution.
        let stricter = "a 1.0/2.0< b, b 1.0/3.0 c, c 1.0/2.0";
        assert_stays(stricter, "a 1.0/2.0< b, b 0.9/3.0?, c 2.0/2.0");
    }

    #[test]
    fn solution_of_other_order_does_not_replace_earlier_one() {
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
    fn solution_without_lax_metadata_replaces_earlier_one() {
        assert_replaces(
            "boto3 1.44.2/1.44.2, urllib3 2.4/2.5",
            "boto3 0.0.3/1.44.2?, urllib3 2.5/2.5",
        );
        assert_replaces(
            "boto3 1.36.3/1.36.11?, s3fs 2024.12/2024.12",
            "boto3 1.36.11/1.36.11, s3fs 0.4.2/2024.12?",
        );
        // The others would be equally distant.
        assert_stays("a 1.0/3.0?, b 3.0/3.0", "a 3.0/3.0, b 1.0/3.0");
        // It may cost the others a minor version, but not a major one.
        assert_replaces(
            "connexion 2.14.2/2.14.2< werkzeug, werkzeug 2.2.3/2.3.8<",
            "connexion 2.14.1/2.14.2<?, werkzeug 2.3.8/2.3.8<",
        );
        let (first, other) = ("a 1.0/3.0, b 3.0/3.0 a", "a 3.0/3.0, b 2.9/3.0?");
        assert_stays(first, other);
        assert_stays(other, first);
    }
}
