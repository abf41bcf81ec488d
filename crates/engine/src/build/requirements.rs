//! Build requirements: settled like any others, made by the companion like any others, and unpacked
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
use crate::build::constraints::{Allowance, Builder};
use crate::dispatch::Bench;
use crate::network::client;
use crate::resolve::metadata_cache::Watch;
use crate::resolve::settled_distributions;
use crate::resolve::solve::Search;
use crate::target::Terms;

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

impl Bench<'_> {
    /// Settles `wanted` and all that it depends on, for the target of `terms`.
    pub(crate) async fn settle(
        &self,
        wanted: &BuildRequirements,
        terms: &Terms,
    ) -> Result<Vec<Distribution>> {
        let allowance = self.workshop.allowance(wanted.builder.as_ref(), terms)?;
        let requirements = &wanted.requirements;
        let wanted = sentence(requirements);
        let key = (
            terms.target.full_name(),
            format!("{wanted} {}", allowance.key),
        );
        let known = self
            .workshop
            .settled
            .lock()
            .expect("no panic while locked")
            .get(&key)
            .cloned();
        if let Some(settled) = known {
            return Ok(settled);
        }
        let settled = self
            .search_build_requirements(requirements, &allowance, terms)
            .await
            .map_err(|error| allowance.explain(error))
            .context(Kind::Build, || {
                format!("failed to resolve the build requirements {wanted}")
            })?;
        allowance.check(&settled)?;
        self.workshop
            .settled
            .lock()
            .expect("no panic while locked")
            .insert(key, settled.clone());
        Ok(settled)
    }

    async fn search_build_requirements(
        &self,
        requirements: &[Requirement],
        allowance: &Allowance,
        terms: &Terms,
    ) -> Result<Vec<Distribution>> {
        let workshop = self.workshop;
        let hasher = allowance.hasher.clone();
        let hasher = hasher
            .augment_with_requirements(requirements.iter())
            .context(Kind::Build, || {
                "the hashes of the build requirements do not hold together".to_owned()
            })?;
        let (overrides, excludes) = (Overrides::default(), Excludes::default());
        // Not shared: whoever fails leaves questions behind that nobody answers any more.
        let index = InMemoryIndex::default();
        let markers = terms.markers.markers();
        let wanted = requirements.iter();
        let wanted: Vec<&Requirement> = wanted
            .filter(|requirement| requirement.evaluate_markers(Some(markers), &[]))
            .collect();
        Box::pin(self.read_legacy_sdists(wanted.iter().copied(), &hasher, &index)).await?;
        Box::pin(self.read_archives(wanted.into_iter(), markers, &hasher, &index)).await?;
        let (lookaheads, hasher) = LookaheadResolver::new(
            requirements,
            &allowance.constraints,
            &overrides,
            &excludes,
            &hasher,
            &index,
            self.database(),
        )
        .resolve(&terms.environment())
        .await
        .map_err(|error| workshop.explained(error, "failed to read a direct reference"))?;
        let manifest = Manifest::simple(requirements.to_vec())
            .with_constraints(allowance.constraints.clone())
            .with_lookaheads(lookaheads);
        let options = OptionsBuilder::new()
            .exclude_newer(workshop.exclude_newer.clone())
            .index_strategy(client::strategy(workshop.request.indexes.strategy))
            .build_options(workshop.build_options.clone())
            .flexibility(Flexibility::Fixed)
            .build();
        let search = Search {
            bench: self,
            terms,
            hasher: &hasher,
            build_options: &workshop.build_options,
            flat_index: &workshop.flat_index(terms, &hasher, &workshop.build_options),
            index: &index,
            memory: &workshop.build_memory,
            watch: &Watch::unlimited(),
            without_dependencies: false,
        };
        let output = search.run(manifest, options).await;
        let lines = &workshop.request.build_constraints;
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                let memory = &workshop.build_memory;
                return Err(workshop.resolve_error(error, lines, memory).await);
            }
        };
        settled_distributions(workshop, &Resolution::from(output), &hasher)
    }

    /// Unpacks wheels into the cache and compiles them, each once.
    pub(crate) async fn unpack(&self, wheels: &[WheelFile]) -> Result<Vec<CachedDist>> {
        let workshop = self.workshop;
        let cache = workshop.cache.root().display();
        let failed = || format!("failed to unpack the build requirements in {cache}");
        let dists: Vec<Arc<Dist>> = wheels.iter().map(dist).collect::<Result<_>>()?;
        let unpacked = Preparer::new(
            &workshop.cache,
            &workshop.host.tags,
            &HashStrategy::None,
            &BuildOptions::default(),
            self.database(),
        )
        .prepare(dists, &workshop.in_flight, &Resolution::default())
        .await
        .context(Kind::Build, failed)?;
        let (interpreter, cache) = (&workshop.interpreter, &workshop.cache);
        workshop
            .bytecode
            .compile(&unpacked, interpreter, cache)
            .await;
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
