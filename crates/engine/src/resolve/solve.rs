//! One search of the resolver: versions that fit together, for one target.

use uv_configuration::BuildOptions;
use uv_pypi_types::Conflicts;
use uv_resolver::{
    AllowedYanks, DefaultResolverProvider, DependencyMode, FlatIndex, InMemoryIndex, Manifest,
    Options, ResolveError, Resolver, ResolverOutput,
};
use uv_types::{EmptyInstalledPackages, HashStrategy};

use crate::dispatch::Bench;
use crate::resolve::metadata_cache::{Memory, Watch};
use crate::resolve::provider::Provider;
use crate::target::Terms;

/// What a search looks through, and what it remembers.
pub(crate) struct Search<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) terms: &'a Terms,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) build_options: &'a BuildOptions,
    pub(crate) flat_index: &'a FlatIndex,
    pub(crate) index: &'a InMemoryIndex,
    pub(crate) memory: &'a Memory,
    pub(crate) watch: &'a Watch,
    /// Whether versions are taken to require nothing.
    pub(crate) without_dependencies: bool,
}

impl Search<'_> {
    pub(crate) async fn run(
        &self,
        manifest: Manifest,
        options: Options,
    ) -> Result<ResolverOutput, ResolveError> {
        let workshop = self.bench.workshop;
        let environment = self.terms.environment();
        let yanks = AllowedYanks::from_manifest(&manifest, &environment, options.dependency_mode);
        let provider = move |database, hasher, yanks: &AllowedYanks| {
            DefaultResolverProvider::new(
                database,
                self.flat_index,
                Some(&self.terms.tags),
                &self.terms.requires_python,
                yanks.clone(),
                hasher,
                workshop.exclude_newer.clone(),
                &workshop.locations,
                self.build_options,
                &workshop.capabilities,
            )
        };
        let (bench, hasher) = (self.bench, self.hasher);
        let with_yanked = {
            let environment = environment.clone();
            move |pins, is_cached| {
                let pins = Manifest::simple(pins);
                let mode = DependencyMode::Direct;
                let yanks = AllowedYanks::from_manifest(&pins, &environment, mode);
                let database = if is_cached {
                    bench.cached_database()
                } else {
                    bench.brief_database()
                };
                provider(database, hasher, &yanks)
            }
        };
        let provider = Provider {
            bench: self.bench,
            terms: self.terms,
            build_options: self.build_options,
            reads_old_metadata: self.terms.target.pip_is_lenient(),
            inner: provider(bench.database(), hasher, &yanks),
            brief: provider(bench.brief_database(), hasher, &yanks),
            cached: provider(bench.cached_database(), hasher, &yanks),
            at_hand: provider(bench.database(), &HashStrategy::None, &yanks),
            with_yanked: Box::new(with_yanked),
            hasher: self.hasher,
            memory: self.memory,
            watch: self.watch,
            without_dependencies: self.without_dependencies,
        };
        let resolver = Resolver::new_custom_io(
            manifest,
            options,
            self.hasher,
            environment,
            self.terms.markers.markers(),
            Some(self.terms.tags.clone()),
            &self.terms.python,
            Conflicts::empty(),
            self.index,
            &workshop.git,
            &workshop.capabilities,
            &workshop.locations,
            provider,
            EmptyInstalledPackages,
        );
        Box::pin(resolver.resolve()).await
    }
}
