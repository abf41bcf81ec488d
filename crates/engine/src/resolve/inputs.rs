//! A request in uv's target_env.
//!
//! 1. The lines that are for the target are parsed; local trees are replaced by copies, so that no hook touches them.
//! 2. Those without a name get one from their metadata.
//! 3. The metadata of direct references is read, for what they refer to themselves. Where that is a
//!    local tree, it is a copy of it from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_pypi_types::ParsedUrl;
use uv_requirements::{LookaheadResolver, NamedRequirementsResolver};
use uv_resolver::{FlatIndex, InMemoryIndex, Preferences};
use uv_types::{HashStrategy, RequestedRequirements};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::HashPolicy;
use wheelhouse_types::{Error, Kind, PackageName, Request, Result, request};

use crate::build::build_system::Backend;
use crate::dispatch::BuildDispatch;
use crate::requirements::{self, is_pinned, refuse_idle_hashes};
use crate::target::TargetEnvironment;

/// A request in uv's target_env.
pub(crate) struct ResolverInputs {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) constraints: Constraints,
    pub(crate) overrides: Overrides,
    /// Versions to choose where they fit.
    pub(crate) preferences: Preferences,
    pub(crate) lookaheads: Vec<RequestedRequirements>,
    pub(crate) hasher: HashStrategy,
    pub(crate) target_env: TargetEnvironment,
    /// What `--find-links` offers the target.
    pub(crate) flat_index: FlatIndex,
    /// Metadata of direct references, read while the inputs was stated.
    pub(crate) index: InMemoryIndex,
}

impl ResolverInputs {
    /// States what the request of the state is for the target of `target_env`.
    pub(crate) async fn state(
        dispatch: &BuildDispatch<'_>,
        target_env: &TargetEnvironment,
    ) -> Result<Self> {
        let state = dispatch.state;
        let request = &state.request;
        let mut parsed = dispatch.parsed(&request.requirements, target_env).await?;
        let mut constraints = requirements::parse_constraints(&request.constraints)?;
        let mut overrides = requirements::parse_overrides(&request.overrides)?;
        dispatch.copy_trees(&mut constraints).await?;
        dispatch.copy_trees(&mut overrides).await?;
        let mut limits = limits(&request.constraints, &constraints, target_env);
        agree_on_hashes(&mut parsed, &mut limits)?;
        let hasher = hasher(request, &parsed, &limits, target_env)?;
        let mut index = InMemoryIndex::default();
        let mut requirements = dispatch.named(parsed, &hasher, &index).await?;
        dedup_preserving_order(&mut requirements);
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Input, || {
                "the hashes of the requirements do not hold together".to_owned()
            })?;
        let named = requirements.iter().chain(&constraints).chain(&overrides);
        let markers = target_env.markers.markers();
        let wanted = named.filter(|named| named.evaluate_markers(Some(markers), &[]));
        let wanted: Vec<&Requirement> = wanted.collect();
        Box::pin(dispatch.read_legacy_sdists(wanted.iter().copied(), &hasher, &index)).await?;
        Box::pin(dispatch.read_archives(wanted.into_iter(), markers, &hasher, &index)).await?;
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
            dispatch.database(),
        )
        .resolve(&target_env.environment())
        .await
        .map_err(|error| {
            state.explained(error, "failed to read the metadata of a direct reference")
        })?;
        if dispatch.copy_trees_of(&mut lookaheads).await? {
            // It has the metadata as it was read.
            index = InMemoryIndex::default();
        }
        Ok(Self {
            requirements,
            constraints,
            overrides,
            preferences: Preferences::default(),
            lookaheads,
            flat_index: state.flat_index(target_env, &hasher, &state.build_options),
            hasher,
            target_env: target_env.clone(),
            index,
        })
    }
}

impl ResolverInputs {
    /// Lets `constraints` hold beside those of the request.
    pub(crate) fn constrain(&mut self, constraints: &[request::Requirement]) -> Result<()> {
        let more = requirements::parse_named(constraints)?;
        let known = self.constraints.requirements().cloned();
        self.constraints = Constraints::from_requirements(known.chain(more));
        Ok(())
    }
}

/// A line of the request.
struct Parsed<'a> {
    line: &'a request::Requirement,
    requirement: UnresolvedRequirement,
    hashes: Vec<String>,
}

impl Parsed<'_> {
    fn named(&self) -> Option<&Requirement> {
        match &self.requirement {
            UnresolvedRequirement::Named(named) => Some(named),
            UnresolvedRequirement::Unnamed(_) => None,
        }
    }

    /// Whether it is about one file or tree.
    fn is_direct(&self) -> bool {
        self.named()
            .is_none_or(|named| !matches!(named.source, RequirementSource::Registry { .. }))
    }
}

/// The constraints that are for the target, with their lines.
fn limits<'a>(
    lines: &'a [request::Requirement],
    constraints: &[Requirement],
    target_env: &TargetEnvironment,
) -> Vec<Parsed<'a>> {
    let markers = target_env.markers.markers();
    let limits = lines.iter().zip(constraints);
    let limits = limits.filter(|(_, named)| named.evaluate_markers(Some(markers), &[]));
    let limits = limits.map(|(line, named)| Parsed {
        line,
        requirement: UnresolvedRequirement::Named(named.clone()),
        hashes: line.hashes.clone(),
    });
    limits.collect()
}

/// Which hashes whatever is chosen must have.
fn hasher(
    request: &Request,
    parsed: &[Parsed<'_>],
    limits: &[Parsed<'_>],
    target_env: &TargetEnvironment,
) -> Result<HashStrategy> {
    let mode = hash_checking(request);
    let named = parsed
        .iter()
        .filter_map(|parsed| Some((parsed.line, parsed.named()?)));
    refuse_idle_hashes(named)?;
    let direct = limits
        .iter()
        .filter(|limit| limit.is_direct() && !limit.hashes.is_empty());
    // uv wants constraints to be pinned where hashes are required; for pip, as here, that is the
    // business of requirements.
    let pinned = limits.iter().filter_map(|limit| {
        let named = limit.named().filter(|named| is_pinned(named))?;
        Some((named, limit.hashes.as_slice()))
    });
    HashStrategy::from_requirements(
        parsed
            .iter()
            .chain(direct)
            .map(|parsed| (&parsed.requirement, parsed.hashes.as_slice())),
        pinned,
        Some(&target_env.markers),
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
fn agree_on_hashes<'a>(parsed: &mut [Parsed<'a>], limits: &mut [Parsed<'a>]) -> Result<()> {
    let mut agreed: BTreeMap<PackageName, BTreeSet<String>> = BTreeMap::new();
    for one in parsed.iter().chain(&*limits) {
        let Some(Requirement { name, .. }) = one.named().filter(|_| !one.hashes.is_empty()) else {
            continue;
        };
        let own: BTreeSet<String> = one.hashes.iter().cloned().collect();
        let known = agreed.entry(name.clone()).or_insert_with(|| own.clone());
        known.retain(|hash| own.contains(hash));
        if known.is_empty() {
            let message = format!("the hashes of `{name}` on several lines exclude one another");
            let hint = "Give one line with all hashes that are right.";
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
    }
    for one in parsed.iter_mut().chain(limits) {
        // What is at a URL has the hashes that another line gives.
        let known = one.named().and_then(|named| agreed.get(&named.name));
        if let Some(known) = known.filter(|_| one.is_direct() || !one.hashes.is_empty()) {
            one.hashes = known.iter().cloned().collect();
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

impl BuildDispatch<'_> {
    /// Parses those of `lines` that are for the target, and replaces local trees by copies.
    async fn parsed<'a>(
        &self,
        lines: &'a [request::Requirement],
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Parsed<'a>>> {
        let markers = target_env.markers.markers();
        let mut parsed = Vec::new();
        for line in lines {
            let mut requirement = requirements::parse(line)?;
            if !requirement.evaluate_markers(Some(markers), &[]) {
                continue;
            }
            let copied = match missing_path(&requirement) {
                Some(path) => Err(no_such_path(path)),
                None => match self.copy_tree_of(&mut requirement).await {
                    Ok(()) => match self.rename_wheel_of(&mut requirement, target_env).await {
                        Ok(()) => check_project(&requirement),
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                },
            };
            copied.map_err(|error| {
                let (text, origin) = (redacted(&line.text), &line.origin);
                let message = format!("`{text}` in {origin} cannot be had");
                Error::new(error.kind(), message).caused_by(error)
            })?;
            parsed.push(Parsed {
                line,
                requirement,
                hashes: line.hashes.clone(),
            });
        }
        Ok(parsed)
    }

    async fn named(
        &self,
        parsed: Vec<Parsed<'_>>,
        hasher: &HashStrategy,
        index: &InMemoryIndex,
    ) -> Result<Vec<Requirement>> {
        let mut named = Vec::new();
        for parsed in parsed {
            match parsed.requirement {
                UnresolvedRequirement::Named(requirement) => named.push(requirement),
                UnresolvedRequirement::Unnamed(unnamed) => {
                    let text = unnamed.url.verbatim.to_string();
                    if let ParsedUrl::Path(archive) = &unnamed.url.parsed_url {
                        self.artifacts.check_archive(&archive.install_path).await?;
                    }
                    let file = self.file_of_unnamed(&unnamed).await?;
                    let source = file.is_some().then(|| unnamed.url.clone());
                    let unnamed = file.unwrap_or(unnamed);
                    let resolver = NamedRequirementsResolver::new(hasher, index, self.database());
                    let resolved = resolver.resolve(std::iter::once(unnamed)).await;
                    let mut resolved = resolved.map_err(|error| {
                        self.state
                            .explained(error, &format!("failed to read the metadata of {text}"))
                    })?;
                    if let (Some(url), [resolved]) = (source, &mut resolved[..])
                        && let ParsedUrl::Archive(archive) = url.parsed_url
                    {
                        resolved.source = RequirementSource::Url {
                            location: archive.url,
                            subdirectory: archive.subdirectory,
                            ext: archive.ext,
                            url: url.verbatim,
                        };
                    }
                    named.extend(resolved);
                }
            }
        }
        Ok(named)
    }
}

/// The path that `requirement` names, if nothing is there.
fn missing_path(requirement: &UnresolvedRequirement) -> Option<&Path> {
    let path = match requirement {
        UnresolvedRequirement::Named(named) => match &named.source {
            RequirementSource::Path { install_path, .. }
            | RequirementSource::Directory { install_path, .. } => install_path,
            _ => return None,
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &unnamed.url.parsed_url {
            ParsedUrl::Path(path) => &path.install_path,
            ParsedUrl::Directory(directory) => &directory.install_path,
            _ => return None,
        },
    };
    (!path.exists()).then_some(path)
}

/// Refuses a tree whose `pyproject.toml` is not valid, which uv would take for a failure to fetch it.
fn check_project(requirement: &UnresolvedRequirement) -> Result<()> {
    let tree = match requirement {
        UnresolvedRequirement::Named(named) => match &named.source {
            RequirementSource::Directory { install_path, .. } => install_path,
            _ => return Ok(()),
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &unnamed.url.parsed_url {
            ParsedUrl::Directory(directory) => &directory.install_path,
            _ => return Ok(()),
        },
    };
    if tree.join("pyproject.toml").is_file() {
        Backend::read(tree)?;
    }
    Ok(())
}

fn no_such_path(path: &Path) -> Error {
    Error::new(Kind::Input, format!("{} is not there", path.display()))
}
