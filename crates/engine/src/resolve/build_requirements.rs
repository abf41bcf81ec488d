//! Resolves the requirements of builds.

use uv_distribution_types::{Requirement, Resolution};
use uv_requirements::LookaheadResolver;
use uv_resolver::{Flexibility, InMemoryIndex, Manifest, OptionsBuilder, ResolveError};
use uv_types::BuildContext;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Distribution, Error, Kind, Result};

use super::metadata_cache::BacktrackLimit;
use super::solve::Solve;
use super::{ResolverContext, report};
use crate::build::constraints::BuildConstraints;
use crate::error::explain;
use crate::target::TargetEnvironment;

impl<C: BuildContext> ResolverContext<'_, C> {
    /// Resolves build requirements within `constraints`, once for each target.
    ///
    /// # Errors
    /// `Build` if no set of versions satisfies them, or the constraints do not allow the solution.
    pub(crate) async fn resolve_build_requirements(
        &self,
        requirements: &[Requirement],
        constraints: &BuildConstraints,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let resolutions = || {
            let resolutions = self.state.build_resolutions.lock();
            resolutions.expect("no panic while locked")
        };
        let texts: Vec<String> = requirements.iter().map(|one| format!("`{one}`")).collect();
        let texts = texts.join(", ");
        let key = (
            target_env.target.full_name(),
            format!("{texts} {}", constraints.key),
        );
        if let Some(known) = resolutions().get(&key) {
            tracing::debug!(
                requirements = texts,
                "build requirements are resolved already"
            );
            return Ok(known.clone());
        }
        tracing::debug!(requirements = texts, "resolving build requirements");
        let resolved = self
            .solve_build_requirements(requirements, constraints, target_env)
            .await
            .map_err(|error| constraints.with_upgrade_hint(error))
            .context(Kind::Build, || {
                format!("failed to resolve the build requirements {texts}")
            })?;
        constraints.check(&resolved)?;
        resolutions().insert(key, resolved.clone());
        Ok(resolved)
    }

    async fn solve_build_requirements(
        &self,
        requirements: &[Requirement],
        constraints: &BuildConstraints,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let state = self.state;
        let hasher = constraints.hasher.clone();
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Build, || {
                "the hashes of the build requirements contradict each other".to_owned()
            })?;
        // An aborted resolution leaves pending entries that never complete, so the index is not shared.
        let index = InMemoryIndex::default();
        let markers = target_env.markers.markers();
        let applicable: Vec<&Requirement> = requirements
            .iter()
            .filter(|requirement| requirement.evaluate_markers(Some(markers), &[]))
            .collect();
        Box::pin(self.read_legacy_sdists(applicable.iter().copied(), &hasher, &index)).await?;
        Box::pin(self.read_archives(applicable.into_iter(), markers, &hasher, &index)).await?;
        let (lookaheads, hasher) = LookaheadResolver::new(
            requirements,
            &constraints.constraints,
            &uv_configuration::Overrides::default(),
            &uv_configuration::Excludes::default(),
            &hasher,
            &index,
            self.database(),
        )
        .resolve(&target_env.environment())
        .await
        .map_err(|error| explain(&error, "failed to read a direct reference"))?;
        let manifest = Manifest::simple(requirements.to_vec())
            .with_constraints(constraints.constraints.clone())
            .with_lookaheads(lookaheads);
        let options = OptionsBuilder::new()
            .exclude_newer(state.index.exclude_newer().clone())
            .index_strategy(state.index.strategy())
            .build_options(state.build_options.clone())
            .flexibility(Flexibility::Fixed)
            .build();
        let solve = Solve {
            context: self,
            target_env,
            hasher: &hasher,
            build_options: &state.build_options,
            flat_index: &state
                .index
                .flat_index(target_env, &hasher, &state.build_options),
            index: &index,
            metadata_cache: &state.build_metadata,
            backtracking: &BacktrackLimit::unlimited(),
            without_dependencies: false,
        };
        match solve.run(manifest, options).await {
            Ok(output) => state
                .distributions
                .of_resolution(&Resolution::from(output), &hasher),
            Err(error) => Err(self.build_failure(error).await),
        }
    }

    async fn build_failure(&self, error: ResolveError) -> Error {
        let lines = &self.state.request.build_constraints;
        report::explain_failure(error, lines, &self.state.build_metadata, self.state).await
    }
}
