//! Build requirements: settled like any others, made by the artifact provider like any others, and unpacked
//! into the cache that build environments are copied from.

use std::sync::Arc;

use uv_configuration::{BuildOptions, Excludes, Overrides};
use uv_distribution_filename::WheelFilename;
use uv_distribution_types::{BuiltDist, CachedDist, Dist, PathBuiltDist, Requirement, Resolution};
use uv_installer::Preparer;
use uv_pep508::VerbatimUrl;
use uv_requirements::LookaheadResolver;
use uv_resolver::{Flexibility, InMemoryIndex, Manifest, OptionsBuilder};
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Distribution, Kind, Result};

use crate::artifact_provider::WheelFile;
use crate::build::build_system::build_requirements;
use crate::build::constraints::{BuildConstraints, Builder};
use crate::dispatch::BuildDispatch;
use crate::network::client;
use crate::resolve::metadata_cache::BacktrackLimit;
use crate::resolve::settled_distributions;
use crate::resolve::solve::Solve;
use crate::target::TargetEnvironment;

/// What the builds of a source require, not settled yet.
#[derive(Clone, Debug)]
pub struct BuildRequirements {
    /// The source, if there is one.
    pub(crate) builder: Option<Builder>,
    pub(crate) requirements: Vec<Requirement>,
}

impl BuildRequirements {
    /// Reads PEP 508 requirements.
    ///
    /// # Errors
    /// When one is not valid.
    pub fn parse(texts: &[String]) -> Result<Self> {
        Ok(Self {
            builder: None,
            requirements: build_requirements(texts)?,
        })
    }

    /// The requirements as PEP 508 writes them.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.requirements.iter().map(ToString::to_string).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl BuildDispatch<'_> {
    /// Settles `wanted` and all that it depends on, for the target of `target_env`.
    pub(crate) async fn settle(
        &self,
        wanted: &BuildRequirements,
        target_env: &TargetEnvironment,
    ) -> Result<Vec<Distribution>> {
        let constraints = self
            .state
            .constraints(wanted.builder.as_ref(), target_env)?;
        let requirements = &wanted.requirements;
        let wanted = sentence(requirements);
        let key = (
            target_env.target.full_name(),
            format!("{wanted} {}", constraints.key),
        );
        let known = self
            .state
            .settled
            .lock()
            .expect("no panic while locked")
            .get(&key)
            .cloned();
        if let Some(settled) = known {
            return Ok(settled);
        }
        let settled = self
            .search_build_requirements(requirements, &constraints, target_env)
            .await
            .map_err(|error| constraints.explain(error))
            .context(Kind::Build, || {
                format!("failed to resolve the build requirements {wanted}")
            })?;
        constraints.check(&settled)?;
        self.state
            .settled
            .lock()
            .expect("no panic while locked")
            .insert(key, settled.clone());
        Ok(settled)
    }

    async fn search_build_requirements(
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
                "the hashes of the build requirements do not hold together".to_owned()
            })?;
        let (overrides, excludes) = (Overrides::default(), Excludes::default());
        // Not shared: whoever fails leaves questions behind that nobody answers any more.
        let index = InMemoryIndex::default();
        let markers = target_env.markers.markers();
        let wanted = requirements.iter();
        let wanted: Vec<&Requirement> = wanted
            .filter(|requirement| requirement.evaluate_markers(Some(markers), &[]))
            .collect();
        Box::pin(self.read_legacy_sdists(wanted.iter().copied(), &hasher, &index)).await?;
        Box::pin(self.read_archives(wanted.into_iter(), markers, &hasher, &index)).await?;
        let (lookaheads, hasher) = LookaheadResolver::new(
            requirements,
            &constraints.constraints,
            &overrides,
            &excludes,
            &hasher,
            &index,
            self.database(),
        )
        .resolve(&target_env.environment())
        .await
        .map_err(|error| state.explained(error, "failed to read a direct reference"))?;
        let manifest = Manifest::simple(requirements.to_vec())
            .with_constraints(constraints.constraints.clone())
            .with_lookaheads(lookaheads);
        let options = OptionsBuilder::new()
            .exclude_newer(state.exclude_newer.clone())
            .index_strategy(client::strategy(state.request.indexes.strategy))
            .build_options(state.build_options.clone())
            .flexibility(Flexibility::Fixed)
            .build();
        let search = Solve {
            dispatch: self,
            target_env,
            hasher: &hasher,
            build_options: &state.build_options,
            flat_index: &state.flat_index(target_env, &hasher, &state.build_options),
            index: &index,
            metadata_cache: &state.build_metadata,
            backtracking: &BacktrackLimit::unlimited(),
            without_dependencies: false,
        };
        let output = search.run(manifest, options).await;
        let lines = &state.request.build_constraints;
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                let metadata_cache = &state.build_metadata;
                return Err(state.resolve_error(error, lines, metadata_cache).await);
            }
        };
        settled_distributions(state, &Resolution::from(output), &hasher)
    }

    /// Unpacks wheels into the cache and compiles them, each once.
    pub(crate) async fn unpack(&self, wheels: &[WheelFile]) -> Result<Vec<CachedDist>> {
        let state = self.state;
        let cache = state.cache.root().display();
        let failed = || format!("failed to unpack the build requirements in {cache}");
        let dists: Vec<Arc<Dist>> = wheels.iter().map(dist).collect::<Result<_>>()?;
        let unpacked = Preparer::new(
            &state.cache,
            &state.host.tags,
            &HashStrategy::None,
            &BuildOptions::default(),
            self.database(),
        )
        .prepare(dists, &state.in_flight, &Resolution::default())
        .await
        .context(Kind::Build, failed)?;
        let (interpreter, cache) = (&state.interpreter, &state.cache);
        state.bytecode.compile(&unpacked, interpreter, cache).await;
        Ok(unpacked)
    }
}

fn dist(wheel: &WheelFile) -> Result<Arc<Dist>> {
    let invalid = || format!("{} is no usable wheel", wheel.path.display());
    let filename: WheelFilename = wheel.filename.parse().context(Kind::Build, invalid)?;
    let url = VerbatimUrl::from_absolute_path(&wheel.path).context(Kind::Build, invalid)?;
    Ok(Arc::new(Dist::Built(BuiltDist::Path(PathBuiltDist {
        filename,
        install_path: wheel.path.clone().into_boxed_path(),
        url,
    }))))
}

fn sentence(requirements: &[Requirement]) -> String {
    let texts: Vec<String> = requirements
        .iter()
        .map(|requirement| format!("`{requirement}`"))
        .collect();
    texts.join(", ")
}
