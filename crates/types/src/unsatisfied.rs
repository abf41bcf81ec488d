//! The requirements that a set of distributions does not satisfy, with their dependents.
//!
//! Follows requirements from distribution to distribution as they are written, and reports all that are unsatisfied,
//! while a resolver stops at the first conflict. Does not search for a solution: an empty result does not prove that
//! one exists.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uv_pep508::{MarkerEnvironment, VersionOrUrl};

use crate::redact::redacted;
use crate::requirement::parse_bounded;
use crate::{ExtraName, PackageName, Target, Version};

/// One distribution of the set.
#[derive(Clone, Debug)]
pub struct Available {
    /// The version.
    pub version: Version,
    /// Its `Requires-Dist` lines; empty if they are not known.
    pub requires: Vec<String>,
}

/// A requirement that nothing in the set satisfies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsatisfied {
    /// The normalized name.
    pub name: PackageName,
    /// The text of the requirement without its marker.
    pub requirement: String,
    /// The dependent: `alpha 1.0`, or the origin of a line.
    pub required_by: String,
    /// The versions that are there and do not do.
    pub present: Vec<Version>,
}

/// Finds every requirement that `offers` leave open for `target`, beginning with `roots`: lines
/// and their origins. Returns `None` if the markers of the target are not known.
#[must_use]
pub fn find_unsatisfied(
    roots: &[(String, String)],
    offers: &BTreeMap<PackageName, Vec<Available>>,
    target: &Target,
) -> Option<Vec<Unsatisfied>> {
    let environment = target.marker_environment()?;
    let mut walk = Traversal {
        offers,
        environment,
        waiting: VecDeque::new(),
        seen: BTreeSet::new(),
        open: BTreeSet::new(),
    };
    for (line, origin) in roots {
        walk.follow(line, origin, &[]);
    }
    while let Some((name, extras, version)) = walk.waiting.pop_front() {
        walk.visit(&name, &extras, &version);
    }
    Some(walk.open.into_iter().collect())
}

struct Traversal<'a> {
    offers: &'a BTreeMap<PackageName, Vec<Available>>,
    environment: MarkerEnvironment,
    waiting: VecDeque<(PackageName, Vec<ExtraName>, Version)>,
    seen: BTreeSet<(PackageName, Vec<ExtraName>, Version)>,
    open: BTreeSet<Unsatisfied>,
}

impl Traversal<'_> {
    fn follow(&mut self, line: &str, required_by: &str, extras: &[ExtraName]) {
        // The resolver reports requirements that cannot be parsed.
        let Some(mut parsed) = parse_bounded(line) else {
            return;
        };
        if !parsed.evaluate_markers(&self.environment, extras) {
            return;
        }
        let offers = self.offers.get(&parsed.name).map_or(&[][..], Vec::as_slice);
        let best = offers
            .iter()
            .filter(|offer| match &parsed.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(versions)) => versions.contains(&offer.version),
                Some(VersionOrUrl::Url(_)) | None => true,
            })
            .max_by_key(|offer| offer.version.clone());
        if let Some(offer) = best {
            let next = (
                parsed.name.clone(),
                parsed.extras.to_vec(),
                offer.version.clone(),
            );
            if self.seen.insert(next.clone()) {
                self.waiting.push_back(next);
            }
            return;
        }
        parsed.marker = uv_pep508::MarkerTree::TRUE;
        self.open.insert(Unsatisfied {
            requirement: redacted(&parsed.to_string()),
            name: parsed.name,
            required_by: required_by.to_owned(),
            present: offers.iter().map(|offer| offer.version.clone()).collect(),
        });
    }

    fn visit(&mut self, name: &PackageName, extras: &[ExtraName], version: &Version) {
        let offers = self.offers;
        let offer = offers
            .get(name)
            .and_then(|offers| offers.iter().find(|offer| offer.version == *version));
        for line in offer.iter().flat_map(|offer| &offer.requires) {
            self.follow(line, &format!("{name} {version}"), extras);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        "3.11.7-manylinux_2_36_x86_64".parse().unwrap()
    }

    fn offers(given: &[(&str, &str, &[&str])]) -> BTreeMap<PackageName, Vec<Available>> {
        let mut offers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, version, requires) in given {
            offers
                .entry(name.parse().unwrap())
                .or_default()
                .push(Available {
                    version: version.parse().unwrap(),
                    requires: requires.iter().map(ToString::to_string).collect(),
                });
        }
        offers
    }

    fn unsatisfied_messages(roots: &[&str], given: &[(&str, &str, &[&str])]) -> Vec<String> {
        let roots: Vec<_> = roots
            .iter()
            .map(|line| (line.to_string(), "you".to_owned()))
            .collect();
        let open = find_unsatisfied(&roots, &offers(given), &target()).unwrap();
        let unsatisfied_messages = |open: Unsatisfied| {
            format!(
                "{} by {} {:?}",
                open.requirement, open.required_by, open.present
            )
        };
        open.into_iter().map(unsatisfied_messages).collect()
    }

    #[test]
    fn reports_unsatisfied_requirements_with_dependents() {
        let given: [(&str, &str, &[&str]); 2] = [
            ("alpha", "1.0", &["beta>=2", "gamma", "alpha[more]"]),
            ("beta", "1.0", &["delta"]),
        ];
        let open = unsatisfied_messages(&["alpha", "epsilon<3"], &given);
        assert_eq!(
            open,
            [
                "beta>=2 by alpha 1.0 [\"1.0\"]",
                "epsilon<3 by you []",
                "gamma by alpha 1.0 []"
            ]
        );
    }

    #[test]
    fn evaluates_markers_and_extras() {
        let given: [(&str, &str, &[&str]); 1] = [(
            "alpha",
            "1.0",
            &[
                "never; sys_platform == 'win32'",
                "more; extra == 'more'",
                "old; python_version < '3'",
            ],
        )];
        assert_eq!(
            unsatisfied_messages(&["alpha"], &given),
            Vec::<String>::new()
        );
        assert_eq!(
            unsatisfied_messages(&["alpha[more]"], &given),
            ["more by alpha 1.0 []"]
        );
        assert_eq!(
            unsatisfied_messages(&["x; sys_platform == 'win32'"], &given),
            Vec::<String>::new()
        );
    }

    #[test]
    fn skips_target_without_markers() {
        let mut target = target();
        target.markers.clear();
        assert_eq!(find_unsatisfied(&[], &BTreeMap::new(), &target), None);
    }
}
