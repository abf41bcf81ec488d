//! A request in uv's types.
//!
//! 1. The lines that apply to the target are parsed; local trees are replaced by copies, so that no hook changes them.
//! 2. Requirements without a name get it from their metadata.
//! 3. The metadata of direct references is read, for their own direct references. Local trees among these are replaced by
//!    copies, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_pypi_types::ParsedUrl;
use uv_requirements::{LookaheadResolver, NamedRequirementsResolver};
use uv_resolver::{FlatIndex, InMemoryIndex, Preferences};
use uv_types::{BuildContext, HashStrategy, RequestedRequirements};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::HashPolicy;
use wheelhouse_types::{Error, Kind, PackageName, Request, Result, request};

use super::ResolverContext;
use crate::build::build_system::BuildSystem;
use crate::error::explain;
use crate::requirements::{self, is_pinned, refuse_idle_hashes};
use crate::target::TargetEnvironment;

/// A request in uv's types.
pub(crate) struct ResolverInputs {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) constraints: Constraints,
    pub(crate) overrides: Overrides,
    /// Versions to choose where the requirements allow them.
    pub(crate) preferences: Preferences,
    pub(crate) lookaheads: Vec<RequestedRequirements>,
    pub(crate) hasher: HashStrategy,
    pub(crate) target_env: TargetEnvironment,
    /// The files of the `--find-links` locations for the target.
    pub(crate) flat_index: FlatIndex,
    /// The metadata of direct references.
    pub(crate) index: InMemoryIndex,
}

impl ResolverInputs {
    /// Converts the request for a target.
    pub(crate) async fn prepare<C: BuildContext>(
        context: &ResolverContext<'_, C>,
        target_env: &TargetEnvironment,
    ) -> Result<Self> {
        let (state, artifacts) = (context.state, context.artifacts);
        let request = &state.request;
        let mut parsed = context.parsed(&request.requirements, target_env).await?;
        let mut constraints = requirements::parse_constraints(&request.constraints)?;
        let mut overrides = requirements::parse_overrides(&request.overrides)?;
        state.trees.copy_all(&mut constraints, artifacts).await?;
        state.trees.copy_all(&mut overrides, artifacts).await?;
        let mut constraint_lines = constraint_lines(&request.constraints, &constraints, target_env);
        agree_on_hashes(&mut parsed, &mut constraint_lines)?;
        let hasher = hasher(request, &parsed, &constraint_lines, target_env)?;
        let mut index = InMemoryIndex::default();
        let mut requirements = context.named(parsed, &hasher, &index).await?;
        dedup_preserving_order(&mut requirements);
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Input, || {
                "the hashes of the requirements contradict each other".to_owned()
            })?;
        let named = requirements.iter().chain(&constraints).chain(&overrides);
        let markers = target_env.markers.markers();
        let wanted = named.filter(|named| named.evaluate_markers(Some(markers), &[]));
        let wanted: Vec<&Requirement> = wanted.collect();
        Box::pin(context.read_legacy_sdists(wanted.iter().copied(), &hasher, &index)).await?;
        Box::pin(context.read_archives(wanted.into_iter(), markers, &hasher, &index)).await?;
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
            context.database(),
        )
        .resolve(&target_env.environment())
        .await
        .map_err(|error| explain(&error, "failed to read the metadata of a direct reference"))?;
        if state
            .trees
            .copy_lookaheads(&mut lookaheads, artifacts)
            .await?
        {
            // It has the metadata with the original paths.
            index = InMemoryIndex::default();
        }
        Ok(Self {
            requirements,
            constraints,
            overrides,
            preferences: Preferences::default(),
            lookaheads,
            flat_index: state
                .index
                .flat_index(target_env, &hasher, &state.build_options),
            hasher,
            target_env: target_env.clone(),
            index,
        })
    }
}

impl ResolverInputs {
    /// Adds constraints to those of the request.
    pub(crate) fn add_constraints(&mut self, constraints: &[request::Requirement]) -> Result<()> {
        let more = requirements::parse_named(constraints)?;
        let known = self.constraints.requirements().cloned();
        self.constraints = Constraints::from_requirements(known.chain(more));
        Ok(())
    }
}

/// A line of the request.
struct InputLine<'a> {
    line: &'a request::Requirement,
    requirement: UnresolvedRequirement,
    hashes: Vec<String>,
}

impl InputLine<'_> {
    fn named(&self) -> Option<&Requirement> {
        match &self.requirement {
            UnresolvedRequirement::Named(named) => Some(named),
            UnresolvedRequirement::Unnamed(_) => None,
        }
    }

    /// Returns whether it is a direct reference.
    fn is_direct(&self) -> bool {
        self.named()
            .is_none_or(|named| !matches!(named.source, RequirementSource::Registry { .. }))
    }
}

/// Returns the constraints that apply to the target, with their lines.
fn constraint_lines<'a>(
    lines: &'a [request::Requirement],
    constraints: &[Requirement],
    target_env: &TargetEnvironment,
) -> Vec<InputLine<'a>> {
    let markers = target_env.markers.markers();
    let constraint_lines = lines.iter().zip(constraints);
    let constraint_lines =
        constraint_lines.filter(|(_, named)| named.evaluate_markers(Some(markers), &[]));
    let constraint_lines = constraint_lines.map(|(line, named)| InputLine {
        line,
        requirement: UnresolvedRequirement::Named(named.clone()),
        hashes: line.hashes.clone(),
    });
    constraint_lines.collect()
}

/// Returns the hashes that files must have.
fn hasher(
    request: &Request,
    parsed: &[InputLine<'_>],
    constraint_lines: &[InputLine<'_>],
    target_env: &TargetEnvironment,
) -> Result<HashStrategy> {
    let mode = hash_checking(request);
    let named = parsed
        .iter()
        .filter_map(|parsed| Some((parsed.line, parsed.named()?)));
    refuse_idle_hashes(named)?;
    let direct = constraint_lines
        .iter()
        .filter(|line| line.is_direct() && !line.hashes.is_empty());
    // With required hashes, uv requires pinned constraints; for pip, as here, that applies to requirements only.
    let pinned = constraint_lines.iter().filter_map(|line| {
        let named = line.named().filter(|named| is_pinned(named))?;
        Some((named, line.hashes.as_slice()))
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
        "the hashes of the requirements contradict each other".to_owned()
    })
}

/// Reduces the hashes of lines about the same package to those that all of them have, as pip does.
///
/// # Errors
/// `Input` if there is none.
fn agree_on_hashes<'a>(
    parsed: &mut [InputLine<'a>],
    constraint_lines: &mut [InputLine<'a>],
) -> Result<()> {
    let mut agreed: BTreeMap<PackageName, BTreeSet<String>> = BTreeMap::new();
    for one in parsed.iter().chain(&*constraint_lines) {
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
    for one in parsed.iter_mut().chain(constraint_lines) {
        // A direct reference has the hashes of other lines, too.
        let known = one.named().and_then(|named| agreed.get(&named.name));
        if let Some(known) = known.filter(|_| one.is_direct() || !one.hashes.is_empty()) {
            one.hashes = known.iter().cloned().collect();
        }
    }
    Ok(())
}

/// Returns the mode of hash checking. As for pip, one hash makes hashes required, unless they are optional.
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

/// Removes duplicates.
fn dedup_preserving_order(requirements: &mut Vec<Requirement>) {
    let mut seen = std::collections::HashSet::new();
    requirements.retain(|requirement| seen.insert(requirement.clone()));
}

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Parses the `lines` that apply to the target, and replaces local trees by copies.
    async fn parsed<'a>(
        &self,
        lines: &'a [request::Requirement],
        target_env: &TargetEnvironment,
    ) -> Result<Vec<InputLine<'a>>> {
        let markers = target_env.markers.markers();
        let mut parsed = Vec::new();
        for line in lines {
            let mut requirement = requirements::parse(line)?;
            if !requirement.evaluate_markers(Some(markers), &[]) {
                continue;
            }
            let copied = match missing_path(&requirement) {
                Some(path) => Err(no_such_path(path)),
                None => match self
                    .state
                    .trees
                    .copy_unresolved(&mut requirement, self.artifacts)
                    .await
                {
                    Ok(()) => match self.rename_wheel_of(&mut requirement, target_env).await {
                        Ok(()) => check_project(&requirement),
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                },
            };
            copied.map_err(|error| {
                let (text, origin) = (redacted(&line.text), &line.origin);
                let message = format!("`{text}` in {origin} cannot be used");
                Error::new(error.kind(), message).caused_by(error)
            })?;
            parsed.push(InputLine {
                line,
                requirement,
                hashes: line.hashes.clone(),
            });
        }
        Ok(parsed)
    }

    async fn named(
        &self,
        parsed: Vec<InputLine<'_>>,
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
                        explain(&error, &format!("failed to read the metadata of {text}"))
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

/// Returns the path that `requirement` names, if it does not exist.
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

/// Rejects a tree whose `pyproject.toml` is not valid, which uv would report as a failure to fetch it.
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
        BuildSystem::read(tree)?;
    }
    Ok(())
}

fn no_such_path(path: &Path) -> Error {
    Error::new(Kind::Input, format!("{} does not exist", path.display()))
}
