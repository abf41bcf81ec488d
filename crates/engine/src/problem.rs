//! A request in uv's terms.
//!
//! 1. Requirements are parsed; local trees are replaced by copies, so that no hook touches them.
//! 2. Those without a name get one from their metadata.
//! 3. The metadata of direct references is read, for what they refer to themselves. Where that is a
//!    local tree, it is a copy of it from then on.

use std::collections::{BTreeMap, BTreeSet};

use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution_types::{Requirement, UnresolvedRequirement};
use uv_requirements::{LookaheadResolver, NamedRequirementsResolver};
use uv_resolver::{FlatIndex, InMemoryIndex, Preferences};
use uv_types::{HashStrategy, RequestedRequirements};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::request::HashPolicy;
use wheelhouse_model::{Error, Kind, PackageName, Request, Result, request};

use crate::context::Bench;
use crate::requirements::{self, is_pinned, refuse_idle_hashes};
use crate::target::Terms;

/// A request in uv's terms.
pub(crate) struct Problem {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) constraints: Constraints,
    pub(crate) overrides: Overrides,
    /// Versions to choose where they fit.
    pub(crate) preferences: Preferences,
    pub(crate) lookaheads: Vec<RequestedRequirements>,
    pub(crate) hasher: HashStrategy,
    pub(crate) terms: Terms,
    /// What `--find-links` offers the target.
    pub(crate) flat_index: FlatIndex,
    /// Metadata of direct references, read while the problem was stated.
    pub(crate) index: InMemoryIndex,
}

impl Problem {
    /// States what the request of the workshop is for the target of `terms`.
    pub(crate) async fn state(bench: &Bench<'_>, terms: &Terms) -> Result<Self> {
        let workshop = bench.workshop;
        let request = &workshop.request;
        let mut parsed = bench.parsed(&request.requirements).await?;
        agree_on_hashes(&mut parsed, terms)?;
        let mut constraints = requirements::parse_constraints(&request.constraints)?;
        let mut overrides = requirements::parse_named(&request.overrides)?;
        bench.copy_trees(&mut constraints).await?;
        bench.copy_trees(&mut overrides).await?;
        let hasher = hasher(request, &parsed, &constraints, terms)?;
        let mut index = InMemoryIndex::default();
        let mut requirements = bench.named(parsed, &hasher, &index).await?;
        dedup_preserving_order(&mut requirements);
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Input, || {
                "the hashes of the requirements do not hold together".to_owned()
            })?;
        let named = requirements.iter().chain(&constraints).chain(&overrides);
        let markers = terms.markers.markers();
        let wanted = named.filter(|named| named.evaluate_markers(Some(markers), &[]));
        Box::pin(bench.read_legacy_sdists(wanted, &hasher, &index)).await?;
        let constraints = Constraints::from_requirements(constraints.into_iter());
        let overrides = Overrides::from_requirements(overrides);
        let excludes = Excludes::default();
        let (mut lookaheads, hasher) = LookaheadResolver::new(
            &requirements,
            &constraints,
            &overrides,
            &excludes,
            &hasher,
            &index,
            bench.database(),
        )
        .resolve(&terms.environment())
        .await
        .map_err(|error| {
            workshop.explained(error, "failed to read the metadata of a direct reference")
        })?;
        if bench.copy_trees_of(&mut lookaheads).await? {
            // It has the metadata as it was read.
            index = InMemoryIndex::default();
        }
        Ok(Self {
            requirements,
            constraints,
            overrides,
            preferences: Preferences::default(),
            lookaheads,
            flat_index: workshop.flat_index(terms, &hasher, &workshop.build_options),
            hasher,
            terms: terms.clone(),
            index,
        })
    }
}

impl Problem {
    /// Lets `constraints` hold beside those of the request.
    pub(crate) fn constrain(&mut self, constraints: &[request::Requirement]) -> Result<()> {
        let more = requirements::parse_named(constraints)?;
        let known = self.constraints.requirements().cloned();
        self.constraints = Constraints::from_requirements(known.chain(more));
        Ok(())
    }
}

/// Which hashes whatever is chosen must have.
fn hasher(
    request: &Request,
    parsed: &[(UnresolvedRequirement, Vec<String>)],
    constraints: &[Requirement],
    terms: &Terms,
) -> Result<HashStrategy> {
    let mode = hash_checking(request);
    let named = request.requirements.iter().zip(parsed);
    let named = named.filter_map(|(line, (parsed, _))| match parsed {
        UnresolvedRequirement::Named(parsed) => Some((line, parsed)),
        UnresolvedRequirement::Unnamed(_) => None,
    });
    refuse_idle_hashes(named)?;
    // uv wants constraints to be pinned where hashes are required; for pip, as here, that is the
    // business of requirements.
    let lines = request.constraints.iter().zip(constraints);
    let pinned = lines.filter(|(_, parsed)| is_pinned(parsed));
    HashStrategy::from_requirements(
        parsed
            .iter()
            .map(|(requirement, hashes)| (requirement, hashes.as_slice())),
        pinned.map(|(line, parsed)| (parsed, line.hashes.as_slice())),
        Some(&terms.markers),
        mode,
    )
    .context(Kind::Input, || {
        "the hashes of the requirements do not hold together".to_owned()
    })
}

/// Leaves lines about the same package with the hashes that all of them have, as pip does.
///
/// # Errors
/// `Input` when there is none.
fn agree_on_hashes(
    parsed: &mut [(UnresolvedRequirement, Vec<String>)],
    terms: &Terms,
) -> Result<()> {
    let mut agreed: BTreeMap<PackageName, BTreeSet<String>> = BTreeMap::new();
    let markers = terms.markers.markers();
    let counts = |requirement: &Requirement, hashes: &[String]| {
        !hashes.is_empty() && requirement.evaluate_markers(Some(markers), &[])
    };
    for (requirement, hashes) in &*parsed {
        if let UnresolvedRequirement::Named(named) = requirement
            && counts(named, hashes)
        {
            let own: BTreeSet<String> = hashes.iter().cloned().collect();
            let known = agreed
                .entry(named.name.clone())
                .or_insert_with(|| own.clone());
            known.retain(|hash| own.contains(hash));
            if known.is_empty() {
                let message = format!(
                    "the hashes of `{}` on several lines exclude one another",
                    named.name
                );
                let hint = "Give one line with all hashes that are right.";
                return Err(Error::new(Kind::Input, message).with_hint(hint));
            }
        }
    }
    for (requirement, hashes) in parsed {
        if let UnresolvedRequirement::Named(named) = requirement
            && counts(named, hashes)
        {
            hashes.retain(|hash| agreed[&named.name].contains(hash));
        }
    }
    Ok(())
}

/// As for pip, one hash anywhere means that everything must have one, unless that is not wanted.
fn hash_checking(request: &Request) -> HashCheckingMode {
    let mut lines = request.requirements.iter();
    match request.resolution.hashes {
        HashPolicy::All => HashCheckingMode::Require,
        HashPolicy::AllOrNone if lines.any(|line| !line.hashes.is_empty()) => {
            HashCheckingMode::Require
        }
        HashPolicy::AllOrNone | HashPolicy::Optional => HashCheckingMode::Verify,
    }
}

/// A requirement written twice counts once.
fn dedup_preserving_order(requirements: &mut Vec<Requirement>) {
    let mut seen = std::collections::HashSet::new();
    requirements.retain(|requirement| seen.insert(requirement.clone()));
}

impl Bench<'_> {
    /// Parses `lines`, with their hashes, and replaces local trees by copies.
    async fn parsed(
        &self,
        lines: &[request::Requirement],
    ) -> Result<Vec<(UnresolvedRequirement, Vec<String>)>> {
        let mut parsed = Vec::new();
        for line in lines {
            let mut requirement = requirements::parse(line)?;
            self.copy_tree_of(&mut requirement).await?;
            parsed.push((requirement, line.hashes.clone()));
        }
        Ok(parsed)
    }

    async fn named(
        &self,
        parsed: Vec<(UnresolvedRequirement, Vec<String>)>,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<Vec<Requirement>> {
        let mut named = Vec::new();
        for (requirement, _) in parsed {
            match requirement {
                UnresolvedRequirement::Named(requirement) => named.push(requirement),
                UnresolvedRequirement::Unnamed(unnamed) => {
                    let text = unnamed.url.verbatim.to_string();
                    let resolver = NamedRequirementsResolver::new(hasher, index, self.database());
                    let resolved = resolver.resolve(std::iter::once(unnamed)).await;
                    named.extend(resolved.map_err(|error| {
                        self.workshop
                            .explained(error, &format!("failed to read the metadata of {text}"))
                    })?);
                }
            }
        }
        Ok(named)
    }
}
