//! Wants: which requirements a set of distributions leaves open, and who has them.
//!
//! Follows requirements from distribution to distribution as they are written. Names every open
//! one, which a resolver does not: it stops at the first reason for which there is no solution.
//! Never chooses between versions in earnest: that nothing is open is no proof.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::str::FromStr as _;

use uv_pep508::{MarkerEnvironment, Requirement, VerbatimUrl, VersionOrUrl};

use crate::redact::redacted;
use crate::{ExtraName, PackageName, Target, Version};

/// One distribution of the set.
#[derive(Clone, Debug)]
pub struct Offer {
    pub version: Version,
    /// Its `Requires-Dist` lines; empty if they are not known.
    pub requires: Vec<String>,
}

/// A requirement that nothing in the set satisfies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    pub name: PackageName,
    /// As it is written, without its marker.
    pub requirement: String,
    /// Who has it: `alpha 1.0`, or the origin of a line.
    pub wanted_by: String,
    /// The versions that are there and do not do.
    pub present: Vec<Version>,
}

/// What a line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A package and its versions; the text as it was.
    Package(PackageName, String),
    /// A package, and the file or tree that it is to be; the text without the latter.
    Direct(PackageName, String),
    /// A file or tree alone.
    Nameless,
}

type Parsed = Requirement<VerbatimUrl>;

/// Parses `text` if it is within the [limits](crate::limits).
fn parsed(text: &str) -> Option<Parsed> {
    crate::limits::requirement(text).ok()?;
    Parsed::from_str(text).ok()
}

/// Whether `text` is a requirement as PEP 508 has it.
#[must_use]
pub fn is_requirement(text: &str) -> bool {
    parsed(text).is_some()
}

/// Reads what `text`, one line of requirements, names.
#[must_use]
pub fn named(text: &str) -> Named {
    if let Some(mut parsed) = parsed(text) {
        let name = parsed.name.clone();
        if matches!(parsed.version_or_url, Some(VersionOrUrl::Url(_))) {
            parsed.clear_url();
            return Named::Direct(name, parsed.to_string());
        }
        return Named::Package(name, text.to_owned());
    }
    // A relative path after the name is more than the specification allows.
    let (name, marker) = match text.split_once('@') {
        Some((name, rest)) => (name.trim(), rest.split_once(" ;").map(|(_, marker)| marker)),
        None => return Named::Nameless,
    };
    let line = match marker {
        Some(marker) => format!("{name} ;{marker}"),
        None => name.to_owned(),
    };
    match parsed(&line) {
        Some(parsed) if parsed.version_or_url.is_none() => Named::Direct(parsed.name, line),
        _ => Named::Nameless,
    }
}

/// Finds every requirement that `offers` leave open for `target`, beginning with `roots`: lines
/// and who has them. `None` when the markers of the target are not known.
#[must_use]
pub fn open(
    roots: &[(String, String)],
    offers: &BTreeMap<PackageName, Vec<Offer>>,
    target: &Target,
) -> Option<Vec<Open>> {
    let environment = target.marker_environment()?;
    let mut walk = Walk {
        offers,
        environment,
        waiting: VecDeque::new(),
        seen: BTreeSet::new(),
        open: BTreeSet::new(),
    };
    for (line, origin) in roots {
        walk.want(line, origin, &[]);
    }
    while let Some((name, extras, version)) = walk.waiting.pop_front() {
        walk.visit(&name, &extras, &version);
    }
    Some(walk.open.into_iter().collect())
}

struct Walk<'a> {
    offers: &'a BTreeMap<PackageName, Vec<Offer>>,
    environment: MarkerEnvironment,
    waiting: VecDeque<(PackageName, Vec<ExtraName>, Version)>,
    seen: BTreeSet<(PackageName, Vec<ExtraName>, Version)>,
    open: BTreeSet<Open>,
}

impl Walk<'_> {
    fn want(&mut self, line: &str, wanted_by: &str, extras: &[ExtraName]) {
        // What cannot be read is told by whoever resolves.
        let Some(mut parsed) = parsed(line) else {
            return;
        };
        if !parsed.evaluate_markers(&self.environment, extras) {
            return;
        }
        let offers = self.offers.get(&parsed.name).map_or(&[][..], Vec::as_slice);
        let fitting = offers
            .iter()
            .filter(|offer| match &parsed.version_or_url {
                Some(VersionOrUrl::VersionSpecifier(versions)) => versions.contains(&offer.version),
                Some(VersionOrUrl::Url(_)) | None => true,
            })
            .max_by_key(|offer| offer.version.clone());
        if let Some(offer) = fitting {
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
        self.open.insert(Open {
            requirement: redacted(&parsed.to_string()),
            name: parsed.name,
            wanted_by: wanted_by.to_owned(),
            present: offers.iter().map(|offer| offer.version.clone()).collect(),
        });
    }

    fn visit(&mut self, name: &PackageName, extras: &[ExtraName], version: &Version) {
        let offers = self.offers;
        let offer = offers
            .get(name)
            .and_then(|offers| offers.iter().find(|offer| offer.version == *version));
        for line in offer.iter().flat_map(|offer| &offer.requires) {
            self.want(line, &format!("{name} {version}"), extras);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        "3.11.7-manylinux_2_36_x86_64".parse().unwrap()
    }

    fn offers(given: &[(&str, &str, &[&str])]) -> BTreeMap<PackageName, Vec<Offer>> {
        let mut offers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, version, requires) in given {
            offers
                .entry(name.parse().unwrap())
                .or_default()
                .push(Offer {
                    version: version.parse().unwrap(),
                    requires: requires.iter().map(ToString::to_string).collect(),
                });
        }
        offers
    }

    fn told(roots: &[&str], given: &[(&str, &str, &[&str])]) -> Vec<String> {
        let roots: Vec<_> = roots
            .iter()
            .map(|line| (line.to_string(), "you".to_owned()))
            .collect();
        let open = open(&roots, &offers(given), &target()).unwrap();
        let told = |open: Open| {
            format!(
                "{} by {} {:?}",
                open.requirement, open.wanted_by, open.present
            )
        };
        open.into_iter().map(told).collect()
    }

    #[test]
    fn every_open_requirement_is_told_with_who_has_it() {
        let given: [(&str, &str, &[&str]); 2] = [
            ("alpha", "1.0", &["beta>=2", "gamma", "alpha[more]"]),
            ("beta", "1.0", &["delta"]),
        ];
        let open = told(&["alpha", "epsilon<3"], &given);
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
    fn markers_and_extras_decide() {
        let given: [(&str, &str, &[&str]); 1] = [(
            "alpha",
            "1.0",
            &[
                "never; sys_platform == 'win32'",
                "more; extra == 'more'",
                "old; python_version < '3'",
            ],
        )];
        assert_eq!(told(&["alpha"], &given), Vec::<String>::new());
        assert_eq!(told(&["alpha[more]"], &given), ["more by alpha 1.0 []"]);
        assert_eq!(
            told(&["x; sys_platform == 'win32'"], &given),
            Vec::<String>::new()
        );
    }

    #[test]
    fn lines_name_packages_and_files() {
        let package =
            |name: &str, text: &str| Named::Package(name.parse().unwrap(), text.to_owned());
        let direct = |name: &str, text: &str| Named::Direct(name.parse().unwrap(), text.to_owned());
        assert_eq!(named("alpha >= 1"), package("alpha", "alpha >= 1"));
        assert_eq!(
            named("alpha[x] @ https://host/a.whl"),
            direct("alpha", "alpha[x]")
        );
        assert_eq!(named("alpha @ ./libs/alpha"), direct("alpha", "alpha"));
        assert_eq!(named("./libs/alpha"), Named::Nameless);
        assert_eq!(named("git+https://host/alpha@main"), Named::Nameless);
    }

    #[test]
    fn a_target_without_markers_is_not_judged() {
        let mut target = target();
        target.markers.clear();
        assert_eq!(open(&[], &BTreeMap::new(), &target), None);
    }
}
