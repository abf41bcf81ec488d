//! One search of the resolver: versions that fit together, for one target.

use uv_configuration::BuildOptions;
use uv_pypi_types::Conflicts;
use uv_resolver::{
    AllowedYanks, DefaultResolverProvider, DependencyMode, FlatIndex, InMemoryIndex, Manifest,
    Options, ResolveError, Resolver, ResolverOutput,
};
use uv_types::{EmptyInstalledPackages, HashStrategy};

use crate::dispatch::BuildDispatch;
use crate::resolve::metadata_cache::{BacktrackLimit, MetadataCache};
use crate::resolve::provider::Provider;
use crate::target::TargetEnvironment;

/// What a search looks through, and what it remembers.
pub(crate) struct Solve<'a> {
    pub(crate) dispatch: &'a BuildDispatch<'a>,
    pub(crate) target_env: &'a TargetEnvironment,
    pub(crate) hasher: &'a HashStrategy,
    pub(crate) build_options: &'a BuildOptions,
    pub(crate) flat_index: &'a FlatIndex,
    pub(crate) index: &'a InMemoryIndex,
    pub(crate) metadata_cache: &'a MetadataCache,
    pub(crate) backtracking: &'a BacktrackLimit,
    /// Whether versions are taken to require nothing.
    pub(crate) without_dependencies: bool,
}

impl Solve<'_> {
    pub(crate) async fn run(
        &self,
        manifest: Manifest,
        options: Options,
    ) -> Result<ResolverOutput, ResolveError> {
        let state = self.dispatch.state;
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
                state.exclude_newer.clone(),
                &state.locations,
                self.build_options,
                &state.capabilities,
            )
        };
        let (dispatch, hasher) = (self.dispatch, self.hasher);
        let with_yanked = {
            let environment = environment.clone();
            move |pins, is_cached| {
                let pins = Manifest::simple(pins);
                let mode = DependencyMode::Direct;
                let yanks = AllowedYanks::from_manifest(&pins, &environment, mode);
                let database = if is_cached {
                    dispatch.cached_database()
                } else {
                    dispatch.brief_database()
                };
                provider(database, hasher, &yanks)
            }
        };
        let provider = Provider {
            dispatch: self.dispatch,
            target_env: self.target_env,
            build_options: self.build_options,
            reads_old_metadata: self.target_env.target.pip_is_lenient(),
            inner: provider(dispatch.database(), hasher, &yanks),
            brief: provider(dispatch.brief_database(), hasher, &yanks),
            cached: provider(dispatch.cached_database(), hasher, &yanks),
            at_hand: provider(dispatch.database(), &HashStrategy::None, &yanks),
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
            &state.capabilities,
            &state.locations,
            provider,
            EmptyInstalledPackages,
        );
        Box::pin(resolver.resolve()).await
    }
}
