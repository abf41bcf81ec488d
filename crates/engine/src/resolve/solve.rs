//! One run of uv's resolver for one target.

use uv_configuration::BuildOptions;
use uv_pypi_types::Conflicts;
use uv_resolver::{
    AllowedYanks, DefaultResolverProvider, DependencyMode, FlatIndex, InMemoryIndex, Manifest,
    Options, ResolveError, Resolver, ResolverOutput,
};
use uv_types::{BuildContext, EmptyInstalledPackages, HashStrategy};

use super::ResolverContext;
use super::metadata_cache::{BacktrackLimit, MetadataCache};
use super::provider::Provider;
use crate::target::TargetEnvironment;

/// The inputs of one run, and the caches that it fills.
pub(crate) struct Solve<'a, C> {
    pub(crate) context: &'a ResolverContext<'a, C>,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) build_options: &'a BuildOptions,
    pub(crate) flat_index: &'a FlatIndex,
    pub(crate) index: &'a InMemoryIndex,
    pub(crate) metadata_cache: &'a MetadataCache,
    pub(crate) backtracking: &'a BacktrackLimit,
    /// True if dependencies are ignored.
    pub(crate) without_dependencies: bool,
}

impl<C: BuildContext> Solve<'_, C> {
    pub(crate) async fn run(
        &self,
        manifest: Manifest,
        options: Options,
    ) -> Result<ResolverOutput, ResolveError> {
        let state = self.context.state;
        let environment = self.target_env.environment();
        let yanks = AllowedYanks::from_manifest(&manifest, &environment, options.dependency_mode);
        let provider = move |database, hasher, yanks: &AllowedYanks| {
            DefaultResolverProvider::new(
                database,
                self.flat_index,
                Some(&self.target_env.tags),
                &self.target_env.requires_python,
                yanks.clone(),
                hasher,
                state.index.exclude_newer().clone(),
                state.index.locations(),
                self.build_options,
                state.index.capabilities(),
            )
        };
        let (context, hasher) = (self.context, self.hasher);
        let with_yanked = {
            let environment = environment.clone();
            move |pins, is_cached| {
                let pins = Manifest::simple(pins);
                let mode = DependencyMode::Direct;
                let yanks = AllowedYanks::from_manifest(&pins, &environment, mode);
                let database = if is_cached {
                    context.cache_only_database()
                } else {
                    context.single_attempt_database()
                };
                provider(database, hasher, &yanks)
            }
        };
        let provider = Provider {
            context: self.context,
            target_env: self.target_env,
            build_options: self.build_options,
            lenient_metadata: self.target_env.target.pip_is_lenient(),
            inner: provider(context.database(), hasher, &yanks),
            single_attempt: provider(context.single_attempt_database(), hasher, &yanks),
            cache_only: provider(context.cache_only_database(), hasher, &yanks),
            local: provider(context.database(), &HashStrategy::None, &yanks),
            with_yanked: Box::new(with_yanked),
            hasher: self.hasher,
            metadata_cache: self.metadata_cache,
            backtracking: self.backtracking,
            without_dependencies: self.without_dependencies,
        };
        let resolver = Resolver::new_custom_io(
            manifest,
            options,
            self.hasher,
            environment,
            self.target_env.markers.markers(),
            Some(self.target_env.tags.clone()),
            &self.target_env.python,
            Conflicts::empty(),
            self.index,
            &state.git,
            state.index.capabilities(),
            state.index.locations(),
            provider,
            EmptyInstalledPackages,
        );
        Box::pin(resolver.resolve()).await
    }
}
