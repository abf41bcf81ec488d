//! Builds the wheel of a source, unless the store has it from an earlier build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tracing::{debug, instrument};
use wheelhouse_archive::Limits;
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_engine::{BuildRequest, BuildRequirements, Engine, build_cycle_error};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Store, StoredFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::provenance::{BuildRun, InputFile};
use wheelhouse_types::request::{DEFAULT_EPOCH, SOURCE_DATE_EPOCH};
use wheelhouse_types::{Distribution, Error, Event, Kind, Outcome, Result, Sha256, Source, Target};

use super::super::published_files::GENERATOR;
use super::artifact::{WheelArtifact, Worker as _};
use super::build_dir::{self, BuildDir, Claim, DirectoryOrder, SourceInput};
use super::build_key;
use super::cache::find_built_wheel;
use super::examine::examine_stored;
use super::local::LocalWorker;
use super::provider::Prefetcher;
use super::tasks::identity;

/// 1980-01-01 in seconds since 1970-01-01 UTC, the first time that a zip file can have.
const ZIP_BEGIN: i64 = 315_532_800;

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
        let request = BuildRequest {
            label: distribution.to_string(),
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            tree: &build_dir.root,
            source_date_epoch: epoch.for_hooks(),
            directory: &build_dir.directory,
            original: build_dir.original(),
            wheel_directory: &build_dir.root,
        };
        let prefetcher = Prefetcher::for_build(self, distribution);
        let requirements = self.engine.build_requirements(request, &prefetcher).await?;
        self.note_crates(distribution, &build_dir.root).await?;
        Ok(requirements)
    }

    pub(super) async fn unpack(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<(BuildDir, Claim<'_>)> {
        let sdist = self.sdist_digest(distribution).await?;
        let key = self.build_key(distribution, sdist);
        self.prepare(distribution, &key).await
    }

    fn build_key(&self, distribution: &Distribution, sdist: Option<Sha256>) -> BuildKey {
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
        let request = BuildRequest {
            label: distribution.to_string(),
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            tree: &build_dir.root,
            source_date_epoch: epoch.for_hooks(),
            directory: &build_dir.directory,
            original: build_dir.original(),
            wheel_directory: wheels.path(),
        };
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

    /// Unpacks or copies a source into its build directory.
    async fn prepare<'a>(
        self: &'a Rc<Self>,
        distribution: &Distribution,
        key: &BuildKey,
    ) -> Result<(BuildDir, Claim<'a>)> {
        let claim = self.claim(distribution, key.to_string()).await?;
        let (input, subdirectory) = match &distribution.source {
            Source::Sdist(artifact) => {
                let stored = self.file(distribution, artifact).await?;
                let filename = artifact.filename.clone();
                examine_stored(&self.context.store, &stored, &filename).await?;
                let input = SourceInput::Sdist { stored, filename };
                (input, artifact.subdirectory.clone())
            }
            Source::Tree { path } => {
                let tree = self.trees.input(path, LargeFiles::Link).await?;
                (SourceInput::Tree(tree), None)
            }
            Source::Git { subdirectory, .. } => {
                let checkout = self.engine.checkout(&distribution.source).await?;
                (SourceInput::Checkout(checkout), subdirectory.clone())
            }
            Source::Wheel(_) => unreachable!("a wheel is not built"),
        };
        let build_dir = self.create_build_dir(key, input, subdirectory).await;
        let build_dir = build_dir.map_err(|error| {
            let message = format!("failed to unpack the source of {distribution}");
            Error::new(error.kind(), message).caused_by(error)
        })?;
        Ok((build_dir, claim))
    }

    fn source_date_epoch(&self, build_dir: &BuildDir) -> SourceDateEpoch {
        let environment = &self.context.request.building.environment;
        let given = environment.get(SOURCE_DATE_EPOCH).map(String::as_str);
        SourceDateEpoch::new(given, build_dir.modified, SystemTime::now())
    }

    async fn create_build_dir(
        &self,
        key: &BuildKey,
        input: SourceInput,
        subdirectory: Option<PathBuf>,
    ) -> Result<BuildDir> {
        let builds = self.context.store.root().join("builds");
        let order = if self.context.request.building.is_varied {
            DirectoryOrder::Reversed
        } else {
            DirectoryOrder::Unpacked
        };
        build_dir::create(&builds, key.to_string(), input, subdirectory, order).await
    }

    /// Waits until no other task of this process uses the build directory of `key`, and claims it. The lock of
    /// the directory excludes other processes only: a task that waits for a file lock would be missing from the
    /// graph that detects build cycles.
    ///
    /// # Errors
    /// When the task that uses the directory waits for `distribution`: the same source under another name.
    async fn claim(self: &Rc<Self>, distribution: &Distribution, key: String) -> Result<Claim<'_>> {
        let source = identity(distribution);
        while let Some(usage) = self.build_dirs.usage(&key) {
            debug!(%distribution, user = usage.source, "waiting for a build directory");
            let waiting = self.waits.wait(&source, &usage.source);
            if waiting.is_none() && usage.source != source {
                return Err(build_cycle_error(&distribution.to_string()));
            }
            // The sender is dropped with the claim, so this returns an error.
            let _ = usage.released.await;
        }
        Ok(self.build_dirs.claim(key, source))
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

/// The time of the files in a wheel, in seconds since 1970-01-01 UTC (`SOURCE_DATE_EPOCH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceDateEpoch {
    seconds: i64,
    /// Set if the user has set the variable.
    is_given: bool,
}

impl SourceDateEpoch {
    /// Chooses the number that the user has `given`, else the time of the newest file of the source, else a fixed time. The time
    /// of a file counts from the year in which zip files begin, since 0 stands for none, and up to `now`.
    fn new(given: Option<&str>, modified: Option<SystemTime>, now: SystemTime) -> Self {
        let of_file = || {
            let modified = modified.filter(|modified| *modified <= now)?;
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let seconds = i64::try_from(since.as_secs()).ok()?;
            (seconds >= ZIP_BEGIN).then_some(seconds)
        };
        let number = given.and_then(|text| text.trim().parse().ok());
        Self {
            seconds: number.or_else(of_file).unwrap_or(DEFAULT_EPOCH),
            is_given: given.is_some(),
        }
    }

    /// Returns the number for the variable of hooks, unless the user has set it.
    fn for_hooks(self) -> Option<i64> {
        (!self.is_given).then_some(self.seconds)
    }
}

/// A wheel from a build backend that was checked and stored.
struct CheckedWheel {
    filename: String,
    stored: StoredFile,
    /// Differences between the wheel and its own RECORD.
    differences: Vec<String>,
    /// The newest version of glibc that its binaries need.
    glibc: Option<(u16, u16)>,
}

/// Checks the wheel at `path`, which was built from `distribution`, and adds it to `store` in canonical form, with the time
/// `modified` of its files in seconds since 1970-01-01 UTC.
fn store_wheel(
    store: &Store,
    distribution: &Distribution,
    path: &Path,
    modified: i64,
) -> Result<CheckedWheel> {
    let filename = path.file_name().unwrap_or_default();
    let filename = filename.to_string_lossy().into_owned();
    let invalid =
        || format!("the build backend of {distribution} built an invalid wheel, {filename}");
    let inspection = wheelhouse_archive::inspect(path, &filename).context(Kind::Build, invalid)?;
    let differences =
        wheelhouse_archive::canonicalize(path, &filename, modified, &Limits::default())
            .context(Kind::Build, invalid)?;
    let version = distribution.version.as_ref();
    let has_other_version = version.is_some_and(|version| *version != inspection.version);
    if inspection.name != distribution.name || has_other_version {
        return Err(Error::new(Kind::Build, invalid()));
    }
    let stored = store.add_file(path, ExpectedFile::any(&filename))?;
    store.save_metadata(&stored.sha256, &inspection.metadata);
    let glibc = wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())?;
    Ok(CheckedWheel {
        filename,
        stored,
        differences: differences.iter().map(ToString::to_string).collect(),
        glibc,
    })
}

/// Checks a wheel in `store` that another machine has built from `distribution`, and saves its metadata. Returns the newest
/// version of glibc that its binaries need.
///
/// # Errors
/// [`Kind::Build`] if the wheel is not valid, or is that of another distribution.
pub(super) fn check_wheel(
    store: &Store,
    distribution: &Distribution,
    stored: &StoredFile,
    filename: &str,
) -> Result<Option<(u16, u16)>> {
    let invalid = || format!("the wheel {filename} of {distribution} is not valid");
    let inspection =
        wheelhouse_archive::inspect(&stored.path, filename).context(Kind::Build, invalid)?;
    let version = distribution.version.as_ref();
    let has_other_version = version.is_some_and(|version| *version != inspection.version);
    if inspection.name != distribution.name || has_other_version {
        let message = format!(
            "{}: it is that of {}=={}",
            invalid(),
            inspection.name,
            inspection.version
        );
        return Err(Error::new(Kind::Build, message));
    }
    store.save_metadata(&stored.sha256, &inspection.metadata);
    wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn takes_time_of_newest_file_unless_user_gives_one() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(1_700_000_000);
        let epoch = |given, modified: Option<u64>| {
            let epoch = SourceDateEpoch::new(given, modified.map(at), now);
            (epoch.seconds, epoch.for_hooks())
        };
        let number = 1_600_000_000;
        assert_eq!(epoch(None, Some(1_600_000_000)), (number, Some(number)));
        assert_eq!(epoch(Some("1"), Some(1_600_000_000)), (1, None));
        assert_eq!(epoch(Some("soon"), Some(1_600_000_000)), (number, None));
        let fallback = (DEFAULT_EPOCH, Some(DEFAULT_EPOCH));
        for unusable in [None, Some(0), Some(1_700_000_001)] {
            assert_eq!(epoch(None, unusable), fallback);
        }
    }
}
