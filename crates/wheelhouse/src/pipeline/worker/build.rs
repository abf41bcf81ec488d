//! Builds the wheel of a source, unless the store has it from an earlier build.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tracing::{debug, instrument};
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_engine::{BuildRequest, BuildRequirements, Engine};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{BuildKey, BuildRecord, StoredFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::provenance::{BuildRun, InputFile};
use wheelhouse_types::request::SOURCE_DATE_EPOCH;
use wheelhouse_types::{Distribution, Error, Event, Kind, Outcome, Result, Sha256, Source, Target};

use super::super::published_files::GENERATOR;
use super::artifact::{WheelArtifact, Worker as _};
use super::build_dir::{BuildDir, SourceInput};
use super::build_key;
use super::built_wheel::store_wheel;
use super::cache::find_built_wheel;
use super::local::LocalWorker;
use super::provider::Prefetcher;
use super::source_date_epoch::SourceDateEpoch;
use super::tasks::identity;

impl LocalWorker {
    /// Returns the wheel of a source, from an earlier build or a new one.
    ///
    /// # Errors
    /// When the source cannot be downloaded or unpacked, or its build fails.
    #[instrument(name = "build wheel", skip_all, fields(%distribution))]
    pub(super) async fn build(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<WheelArtifact> {
        let sdist = self.sdist_digest(distribution).await?;
        if let Source::Tree { path } = &distribution.source {
            self.trees.digest(path).await?;
        }
        let key = self.build_key(distribution, sdist);
        let artifact = |(built, stored): (BuildRecord, StoredFile), outcome| WheelArtifact {
            stored,
            filename: built.filename.clone(),
            outcome,
            built: Some(built),
            sdist,
        };
        if let Some(built) = self.find_built(&key, distribution).await? {
            return Ok(artifact(built, Outcome::Reused));
        }
        if let Some(built) = self.find_shared(&key, distribution).await? {
            return Ok(artifact(built, Outcome::Copied));
        }
        let target = &self.context.host_target;
        if let Some((farm, source)) = self.farm_for(distribution, target) {
            let building = self.build_on_farm(&farm, distribution, &source, sdist, &key, target);
            return Box::pin(building).await;
        }
        let (mut build_dir, _claim) = self.prepare(distribution, &key).await?;
        // Another process, or the build of the same source under another name, may have built the wheel while
        // this task waited for the directory.
        if let Some(built) = self.find_built(&key, distribution).await? {
            return Ok(artifact(built, Outcome::Reused));
        }
        let package = distribution.to_string();
        let observer = &self.context.observer;
        observer.observe(&Event::BuildStarted {
            package: package.clone(),
        });
        let mut built = self.build_in(&build_dir, distribution, sdist).await;
        if let Source::Tree { path } = &distribution.source {
            if let (Err(error), true) = (&built, build_dir.has_links) {
                // Some build backends reject files that are links to another directory.
                debug!(%error, "building again without links");
                drop(build_dir);
                let tree = self.trees.input(path, LargeFiles::Copy).await?;
                let input = SourceInput::Tree(tree);
                build_dir = self.create_build_dir(&key, input, None).await?;
                built = self.build_in(&build_dir, distribution, sdist).await;
            }
            self.trees.note_seen(path, &build_dir).await?;
        }
        let mut built = built?;
        if self.context.request.building.isolated {
            // The build may have read files beside the tree, which change the key.
            let key = self.build_key(distribution, sdist);
            built.0.key = Some(key);
            self.context.store.save_build_record(&key, &built.0)?;
            self.share(&key, distribution, &built).await;
        }
        let seconds = built.0.seconds;
        debug!(filename = built.0.filename, seconds, "built a wheel");
        observer.observe(&Event::BuildFinished { package, seconds });
        let removing = blocking(move || {
            drop(build_dir);
            Ok(())
        });
        removing.await?;
        Ok(artifact(built, Outcome::Built))
    }

    /// Returns whether building the wheel of an sdist would compile something, judged by its files. If the
    /// wheel exists already, nothing is compiled.
    ///
    /// # Errors
    /// When the sdist cannot be downloaded or unpacked.
    pub(in crate::pipeline) async fn would_compile(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<bool> {
        if self.has_begun(distribution) {
            return Ok(false);
        }
        let sdist = self.sdist_digest(distribution).await?;
        let key = self.build_key(distribution, sdist);
        if self.find_built(&key, distribution).await?.is_some()
            || self.find_shared(&key, distribution).await?.is_some()
        {
            return Ok(false);
        }
        let (build_dir, _claim) = self.prepare(distribution, &key).await?;
        blocking(move || Ok(wheelhouse_archive::has_extension_modules(&build_dir.root))).await
    }

    /// Returns the build requirements of a source: those that it declares, and those that its build backend
    /// reports.
    ///
    /// # Errors
    /// When the source cannot be unpacked, or its build backend fails.
    pub(in crate::pipeline) async fn build_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let pending = self.requirements.run_once(identity(distribution), || {
            let (worker, distribution) = (Rc::clone(self), distribution.clone());
            async move { worker.query_requirements(&distribution).await }
        });
        pending.await.map_err(Error::from)
    }

    /// Returns the build requirements that a source declares.
    ///
    /// # Errors
    /// When the source cannot be unpacked, or its declaration is not valid.
    pub(in crate::pipeline) async fn declared_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let (build_dir, _claim) = self.unpack(distribution).await?;
        self.note_crates(distribution, &build_dir.root).await?;
        Engine::declared_requirements(&build_dir.root)
    }

    #[instrument(name = "query build requirements", skip_all, fields(%distribution))]
    async fn query_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let (build_dir, _claim) = self.unpack(distribution).await?;
        let epoch = self.source_date_epoch(&build_dir);
        let request = build_request(distribution, &build_dir, epoch, &build_dir.root);
        let prefetcher = Prefetcher::for_build(self, distribution);
        let requirements = self.engine.build_requirements(request, &prefetcher).await?;
        self.note_crates(distribution, &build_dir.root).await?;
        Ok(requirements)
    }

    pub(super) fn build_key(&self, distribution: &Distribution, sdist: Option<Sha256>) -> BuildKey {
        self.build_key_for(distribution, sdist, &self.context.host_target)
    }

    pub(super) fn build_key_for(
        &self,
        distribution: &Distribution,
        sdist: Option<Sha256>,
        target: &Target,
    ) -> BuildKey {
        let source = self
            .trees
            .with_digests(|trees| build_key::source(distribution, sdist, trees));
        build_key::build_key(&self.context.request, target, distribution, &source)
    }

    /// Returns the digest of an sdist, which is downloaded if the published digest is missing or not one of the
    /// required ones. Other sources have none.
    pub(super) async fn sdist_digest(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<Option<Sha256>> {
        let Source::Sdist(artifact) = &distribution.source else {
            return Ok(None);
        };
        match artifact.hashes.sha256() {
            Some(sha256) if distribution.required_hashes.is_empty() => Ok(Some(sha256)),
            _ => Ok(Some(self.file(distribution, artifact).await?.sha256)),
        }
    }

    /// Returns the wheel that was built under `key`. Wheels of builds without isolation are never reused: the
    /// contents of the user's environment are not part of the key.
    pub(super) async fn find_built(
        &self,
        key: &BuildKey,
        distribution: &Distribution,
    ) -> Result<Option<(BuildRecord, StoredFile)>> {
        let context = &self.context;
        if !context.request.building.isolated {
            return Ok(None);
        }
        let (store, observer) = (context.store.clone(), Arc::clone(&context.observer));
        let (key, distribution) = (*key, distribution.clone());
        let required = context
            .request
            .building
            .required_protections(&distribution.name);
        let find = move || find_built_wheel(&store, &*observer, &key, &distribution, &required);
        self.digest(find).await
    }

    async fn build_in(
        self: &Rc<Self>,
        build_dir: &BuildDir,
        distribution: &Distribution,
        sdist: Option<Sha256>,
    ) -> Result<(BuildRecord, StoredFile)> {
        let building = &self.context.request.building;
        // With this variable, the user wants output that does not depend on the time.
        let is_timed = !building.environment.contains_key(SOURCE_DATE_EPOCH);
        let now = || is_timed.then(|| Timestamp::now().as_millisecond());
        let started = now();
        let wheels = tempfile::tempdir_in(&build_dir.directory)
            .context(Kind::Build, || format!("failed to build {distribution}"))?;
        let epoch = self.source_date_epoch(build_dir);
        let request = build_request(distribution, build_dir, epoch, wheels.path());
        let prefetcher = Prefetcher::for_build(self, distribution);
        let wheel = self.engine.build_wheel(request, &prefetcher).await;
        let wheel = wheel.map_err(|error| match &distribution.source {
            // The error shows the paths of the user's tree instead of those of its copy.
            Source::Tree { .. } => error.rewritten(|text| build_dir.with_originals(text)),
            _ => error,
        })?;
        let mut inputs = wheel.inputs;
        inputs.sdist = sdist_file(distribution, sdist);
        inputs.crates = self.crates.of_tree(&build_dir.root);
        let (store, distribution) = (self.context.store.clone(), distribution.clone());
        let path = wheel.path;
        let storing = move || store_wheel(&store, &distribution, &path, epoch.seconds);
        let checked = blocking(storing).await?;
        if let [difference, others @ ..] = &checked.differences[..] {
            let more = match others.len() {
                0 => String::new(),
                count => format!(" (and {count} similar differences)"),
            };
            let message = format!("{}, built here: {difference}{more}", checked.filename);
            self.context.observer.observe(&Event::warning(message));
        }
        let compilers = if checked.filename.ends_with("-none-any.whl") {
            BTreeMap::new()
        } else {
            self.context.compilers().await.clone()
        };
        let target = &self.context.host_target;
        let built = BuildRecord {
            key: None,
            filename: checked.filename,
            sha256: checked.stored.sha256,
            size: checked.stored.size,
            requirements: wheel.requirements.iter().map(ToString::to_string).collect(),
            python: format!("{} {}", target.implementation, target.python_version),
            seconds: seconds(wheel.worked),
            glibc: checked.glibc,
            inputs: Some(inputs),
            run: Some(BuildRun {
                generator: GENERATOR.to_owned(),
                started,
                finished: now(),
                platform: target.platform.clone(),
                sandbox: wheel.protections,
                compilers,
            }),
        };
        Ok((built, checked.stored))
    }

    fn source_date_epoch(&self, build_dir: &BuildDir) -> SourceDateEpoch {
        let environment = &self.context.request.building.environment;
        let given = environment.get(SOURCE_DATE_EPOCH).map(String::as_str);
        SourceDateEpoch::new(given, build_dir.modified, SystemTime::now())
    }
}

fn build_request<'a>(
    distribution: &Distribution,
    build_dir: &'a BuildDir,
    epoch: SourceDateEpoch,
    wheel_directory: &'a Path,
) -> BuildRequest<'a> {
    BuildRequest {
        label: distribution.to_string(),
        name: distribution.name.clone(),
        version: distribution.version.clone(),
        tree: &build_dir.root,
        source_date_epoch: epoch.for_hooks(),
        directory: &build_dir.directory,
        original: build_dir.original(),
        wheel_directory,
    }
}

/// Returns the sdist with the digest `sha256` that `distribution` is built from.
pub(super) fn sdist_file(distribution: &Distribution, sha256: Option<Sha256>) -> Option<InputFile> {
    let Source::Sdist(artifact) = &distribution.source else {
        return None;
    };
    Some(InputFile {
        filename: artifact.filename.clone(),
        sha256: sha256?,
        source: artifact.location.to_string(),
        built_from: None,
        requirements: Vec::new(),
        crates: Vec::new(),
    })
}
