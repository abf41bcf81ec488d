//! Rebuilds the built wheels of a wheelhouse, and compares them with the originals bit by bit.
//!
//! Each wheel is a run of its own, with a request for its recorded source alone, and with the recorded build requirements
//! pinned as a lock pins them. The files that the run needs are taken from the cache and the wheelhouse; the index is asked for
//! those that are missing, by digest. The builds have an empty cache at another path, and other surroundings
//! ([`Building::is_varied`](wheelhouse_types::request::Building::is_varied)).

mod collected_files;
mod recipe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use tracing::{debug, instrument};
use wheelhouse_archive::{Limits, WheelDifference, compare_wheels};
use wheelhouse_fs::digest;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::remove::remove_all;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_shared_cache::SharedCaches;
use wheelhouse_store::{LinkMode, Store};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, Wheel};
use wheelhouse_types::{Error, Event, Kind, Manifest, Observer, Result, Sha256};

use super::build::{self, BuildJob};
use super::context::RunInputs;
use super::lock_policy::LockPolicy;
use collected_files::CollectedFiles;
use recipe::Recipe;

/// The wheels to rebuild.
pub struct RebuildJob {
    /// The Python, the cache, and the request that the indexes and network settings are taken from.
    pub inputs: RunInputs,
    /// The directory with the wheels, `sdists` and the manifest.
    pub directory: PathBuf,
    /// The wheels of the manifest that were built.
    pub wheels: Vec<Wheel>,
    /// The directory for the rebuilt wheels that differ, which is created if there are any.
    pub output: PathBuf,
    /// Called when the work on a wheel begins, and with its result.
    pub progress: Arc<dyn Fn(RebuildProgress<'_>) + Send + Sync>,
}

/// The progress of a rebuild.
pub enum RebuildProgress<'a> {
    /// A build begins; the file name of its wheel.
    Started(&'a str),
    /// A wheel was compared.
    Finished(&'a RebuiltWheel),
}

/// The result for one wheel.
#[derive(Clone, Debug, Serialize)]
pub struct RebuiltWheel {
    /// The file name of the original.
    pub filename: String,
    /// The comparison.
    #[serde(flatten)]
    pub outcome: RebuildOutcome,
}

/// The result of rebuilding a wheel.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RebuildOutcome {
    /// The wheels are the same, bit by bit.
    Identical,
    /// The wheels differ.
    Different {
        /// The differences. Empty if the archives differ in a way that is not recognized.
        differences: Vec<WheelDifference>,
        /// The path of the rebuilt wheel.
        rebuilt: PathBuf,
    },
    /// The wheel could not be built again.
    Failed {
        /// The reason.
        reason: String,
        /// The end of the output of the build.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The manifest does not have what is needed, or the original is missing.
    NotChecked {
        /// The reason.
        reason: String,
    },
}

/// Rebuilds the wheels of `job`. Returns the results in the order of the wheels.
///
/// # Errors
/// When no temporary directory can be created, or the run is interrupted. A failed build is a result.
#[instrument(name = "rebuild", skip_all, fields(wheels = job.wheels.len()))]
pub async fn rebuild(job: RebuildJob) -> Result<Vec<RebuiltWheel>> {
    let scratch = Scratch::new()?;
    let store = Store::open(scratch.path().join("store"))?;
    let jobs = job.inputs.request.building.jobs.max(1);
    let wheels = stream::iter(job.wheels.iter().enumerate()).map(async |(number, wheel)| {
        (job.progress)(RebuildProgress::Started(&wheel.filename));
        let place = scratch.path().join(number.to_string());
        let outcome = match Box::pin(job.rebuild_wheel(wheel, &place, &store)).await {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => RebuildOutcome::Failed {
                reason: error.display_chain(),
                detail: error.detail().map(str::to_owned),
            },
        };
        let rebuilt = RebuiltWheel {
            filename: wheel.filename.clone(),
            outcome,
        };
        // The rest is removed at the end. All sources of a large set take much space.
        let _ = blocking(move || Ok(remove_all(&place))).await?;
        (job.progress)(RebuildProgress::Finished(&rebuilt));
        Ok((number, rebuilt))
    });
    let results: Vec<Result<_>> = wheels.buffer_unordered(jobs).collect().await;
    let mut results = results.into_iter().collect::<Result<Vec<_>>>()?;
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, rebuilt)| rebuilt).collect())
}

impl RebuildJob {
    async fn rebuild_wheel(
        &self,
        wheel: &Wheel,
        place: &Path,
        store: &Store,
    ) -> Result<RebuildOutcome> {
        let not_checked = |reason: String| Ok(RebuildOutcome::NotChecked { reason });
        let recipe = match Recipe::of(wheel) {
            Ok(recipe) => recipe,
            Err(reason) => return not_checked(reason),
        };
        let original = self.directory.join(&wheel.filename);
        let (path, expected) = (original.clone(), wheel.sha256);
        let is_intact = blocking(move || {
            let digest = fs_err::File::open(path).and_then(|mut file| digest::sha256(&mut file));
            Ok(digest.is_ok_and(|(sha256, _)| sha256 == expected))
        });
        if !is_intact.await? {
            return not_checked("the file is missing or is not that of the manifest".to_owned());
        }
        let published = self.published();
        let (inputs, cache) = (recipe.inputs.clone(), self.inputs.store.clone());
        let directory = place.join("files");
        let collecting = move || CollectedFiles::collect(&inputs, directory, &cache, &published);
        let files = blocking(collecting).await?;
        debug!(
            filename = wheel.filename,
            files = files.paths.len(),
            complete = files.is_complete,
            "rebuilding a wheel"
        );
        let output = place.join("wheelhouse");
        let job = BuildJob {
            inputs: RunInputs {
                request: recipe.request(&self.inputs.request, &files)?,
                python: self.inputs.python.clone(),
                store: store.clone(),
                lock_policy: LockPolicy::Prefer,
                keep_going: false,
                // A wheel from there would not show that a build is reproducible.
                shared: Arc::new(SharedCaches::none()),
                farm: self.inputs.farm.clone(),
            },
            additional_sets: Vec::new(),
            output: output.clone(),
            platform: None,
            warn_new_systems: false,
            link_mode: LinkMode::Copy,
            attestations: false,
        };
        Box::pin(build::build(job, Arc::new(Unobserved))).await?;
        let bytes = wheelhouse_fs::input::read(&output.join(MANIFEST_NAME));
        let manifest = bytes.context(Kind::Build, || "the build published nothing".to_owned())?;
        let manifest = Manifest::parse(&manifest)
            .context(Kind::Build, || "the build published no manifest".to_owned())?;
        let [rebuilt] = &manifest.wheels[..] else {
            return Err(Error::new(
                Kind::Build,
                "the build published several wheels",
            ));
        };
        if rebuilt.sha256 == wheel.sha256 {
            return Ok(RebuildOutcome::Identical);
        }
        let python = |wheel: &Wheel| wheel.built.as_ref().map(|built| built.python.clone());
        let (before, now) = (python(wheel), python(rebuilt));
        if before != now {
            let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
            return not_checked(format!("it was built by {before}, and this is {now}"));
        }
        let kept = self.output.join(&rebuilt.filename);
        let path = output.join(&rebuilt.filename);
        let comparing = move || {
            let differences = compare_wheels(&original, &path, &Limits::default())?;
            let failed = || format!("failed to write {}", kept.display());
            let directory = kept.parent().unwrap_or(Path::new(""));
            fs_err::create_dir_all(directory).context(Kind::Publish, failed)?;
            fs_err::copy(&path, &kept).context(Kind::Publish, failed)?;
            Ok(RebuildOutcome::Different {
                differences,
                rebuilt: kept,
            })
        };
        blocking(comparing).await
    }

    /// Returns the files of the wheelhouse by digest.
    fn published(&self) -> BTreeMap<Sha256, PathBuf> {
        let bytes = wheelhouse_fs::input::read(&self.directory.join(MANIFEST_NAME));
        let manifest = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
        let manifest = manifest.unwrap_or_default();
        let files = manifest.distributions();
        files
            .map(|file| (file.sha256, self.directory.join(file.filename)))
            .collect()
    }
}

/// Ignores all events.
struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _event: &Event) {}
}
