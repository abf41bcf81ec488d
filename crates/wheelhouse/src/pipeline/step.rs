//! The worker's side of a farm: carries out one build step.
//!
//! 1. The step and its files are read from the shared cache, by digest, into the store.
//! 2. The wheels are linked into a directory for `--find-links`; no index is used.
//! 3. The step is built as every sdist is, with the build requirements pinned to exactly these wheels.
//! 4. The wheel and the record of its build are written to the shared cache.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tracing::{debug, instrument};
use wheelhouse_engine::python::DiscoveryEnvironment;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_shared_cache::SharedCaches;
use wheelhouse_store::{BuildRecord, LinkMode, LinkOptions, Store};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::{Build, Pin};
use wheelhouse_types::request::{
    Building, HashPolicy, Indexes, Network, Prereleases, Resolution, SandboxMode,
};
use wheelhouse_types::step::{BuildStep, StepFile, StepSandboxMode};
use wheelhouse_types::target::Platform;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Event, Hashes, Kind, Listing, Observer,
    Origin, Request, Result, Sha256, Source, Target, WheelFilename,
};

use super::context::{RunContext, RunInputs};
use super::lock_policy::LockPolicy;
use super::step_cache::StepCache;
use super::worker::{LocalWorker, Prefetch, Worker as _};

/// The number of files that are read at the same time.
const DOWNLOADS: usize = 8;

/// A step to carry out.
pub struct StepJob {
    /// The digest of the step.
    pub step: Sha256,
    /// The shared cache.
    pub steps: StepCache,
    /// The store.
    pub store: Store,
    /// The Python that the user has chosen; `None` is that of the step.
    pub python: Option<String>,
    /// The variables and directories in which the Python is looked for.
    pub surroundings: DiscoveryEnvironment,
    /// The settings of builds on this machine, which those of the step replace in part.
    pub building: Building,
    /// Network settings, for builds with network access.
    pub network: Network,
}

/// Carries out the step of `job`, and returns the record of its build.
///
/// # Errors
/// When the shared cache cannot be used, the Python of the step is missing, or the build fails.
#[instrument(name = "step", skip_all, fields(step = %job.step))]
pub async fn carry_out(job: StepJob, observer: Arc<dyn Observer>) -> Result<BuildRecord> {
    let step = job.steps.step(&job.store, job.step).await?;
    // Another worker may have finished the step since this one was started.
    if let Some(record) = job.steps.record(&job.step).await? {
        let (filename, size) = (&record.filename, Some(record.size));
        let found = job.steps.get(&job.store, record.sha256, filename, size);
        if found.await.is_ok() {
            debug!(filename, "the step is finished already");
            return Ok(record);
        }
    }
    let target: Target = step.target.parse()?;
    let scratch = Scratch::new()?;
    // The engine identifies files by URLs, which must not contain links or `..`.
    let directory = fs_err::canonicalize(scratch.path())
        .context(Kind::Publish, || {
            "the temporary directory cannot be found".to_owned()
        })?
        .join("files");
    let source = job.fetch(&step, &directory).await?;
    let python = job.python.clone().unwrap_or_else(|| python(&target));
    let inputs = RunInputs {
        request: job.request(&step, &python, &directory)?,
        python: wheelhouse_engine::python::locate(Some(&python), &job.surroundings),
        store: job.store.clone(),
        lock_policy: LockPolicy::Prefer,
        keep_going: false,
        // A wheel that was built with other build requirements is not the result of the step.
        shared: Arc::new(SharedCaches::none()),
        farm: None,
    };
    let output = scratch.path().join("wheelhouse");
    let starting = RunContext::start(inputs, Arc::clone(&observer), |host| {
        check_host(host, &target)?;
        Ok((vec![host.clone()], output))
    });
    let context = Rc::new(Box::pin(starting).await?);
    let worker = LocalWorker::start(context, Prefetch::Nothing).await?;
    let distribution = Distribution {
        name: step.name.clone(),
        version: Some(step.version.clone()),
        origin: Origin::Direct,
        source: Source::Sdist(Artifact {
            filename: step.source.filename.clone(),
            location: ArtifactLocation::Path(source),
            size: Some(step.source.size),
            hashes: Hashes::sha256_only(step.source.sha256),
            listing: Listing::default(),
            project_status: None,
            subdirectory: step.subdirectory.clone(),
        }),
        required_hashes: Vec::new(),
    };
    let wheel = worker.make(&distribution).await?;
    let record = wheel.built.ok_or_else(|| {
        let message = format!("{step} was not built");
        Error::new(Kind::Build, message)
    })?;
    job.steps.save(&job.step, &record, &wheel.stored).await?;
    debug!(filename = record.filename, "wrote the result of the step");
    observer.observe(&Event::StepFinished {
        package: step.to_string(),
        filename: record.filename.clone(),
        sha256: wheel.stored.sha256,
        bytes: wheel.stored.size,
        outcome: wheel.outcome,
    });
    Ok(record)
}

impl StepJob {
    /// Reads the files of `step` into the store, and links the sdist and the wheels into `directory`. Returns the path of the
    /// sdist.
    async fn fetch(&self, step: &BuildStep, directory: &Path) -> Result<PathBuf> {
        let named = step.requirements.iter().chain([&step.source]);
        let named = named.map(|file| (file.clone(), true));
        let crates = step.crates.iter().map(|one| {
            let lacking = || {
                let message = format!("the build step has no digest of the crate {}", one.locked);
                Error::new(Kind::Input, message)
            };
            let file = StepFile {
                filename: one.locked.filename(),
                sha256: one.locked.sha256.ok_or_else(lacking)?,
                size: one.size,
            };
            Ok((file, false))
        });
        let files: Vec<_> = named.map(Ok).chain(crates).collect::<Result<_>>()?;
        let fetching = stream::iter(files).map(async |(file, is_linked)| {
            let StepFile {
                filename, sha256, ..
            } = &file;
            let stored = self
                .steps
                .get(&self.store, *sha256, filename, Some(file.size))
                .await?;
            Ok::<_, Error>(is_linked.then(|| (directory.join(filename), stored)))
        });
        let fetched: Vec<_> = fetching.buffer_unordered(DOWNLOADS).try_collect().await?;
        let (store, directory) = (self.store.clone(), directory.to_owned());
        let source = directory.join(&step.source.filename);
        blocking(move || {
            let failed = || format!("failed to create {}", directory.display());
            fs_err::create_dir_all(&directory).context(Kind::Publish, failed)?;
            for (path, stored) in fetched.into_iter().flatten() {
                let options = LinkOptions {
                    mode: LinkMode::Auto,
                    linked_before: false,
                };
                store.link(&stored, &path, options)?;
            }
            Ok(())
        })
        .await?;
        Ok(source)
    }

    fn request(&self, step: &BuildStep, python: &str, directory: &Path) -> Result<Request> {
        let mut building = self.building.clone();
        let path = building.environment.remove_entry("PATH");
        building.environment.clone_from(&step.environment);
        building.environment.extend(path);
        building.config_settings.clone_from(&step.config_settings);
        building.package_settings.clear();
        if !step.package_settings.is_empty() {
            let settings = step.package_settings.clone();
            building
                .package_settings
                .insert(step.name.clone(), settings);
        }
        building.isolated = true;
        building.timeout = Duration::from_secs(step.hook_timeout);
        building.is_varied = step.variation.is_some();
        building.sandbox.mode = match step.sandbox.mode {
            StepSandboxMode::Auto => SandboxMode::Auto,
            StepSandboxMode::Require => SandboxMode::Require,
            StepSandboxMode::Off => SandboxMode::Off,
        };
        building.sandbox.network.clear();
        if step.sandbox.network {
            building.sandbox.network.insert(step.name.clone());
        }
        building.sandbox.writable.clear();
        if !step.sandbox.writable.is_empty() {
            let writable = step.sandbox.writable.clone();
            building
                .sandbox
                .writable
                .insert(step.name.clone(), writable);
        }
        Ok(Request {
            builds: vec![build(step)?],
            python: Some(python.to_owned()),
            indexes: Indexes {
                find_links: vec![directory.display().to_string()],
                no_index: true,
                ..Indexes::default()
            },
            network: self.network.clone(),
            resolution: Resolution {
                prereleases: Prereleases {
                    others: Some(true),
                    ..Prereleases::default()
                },
                hashes: HashPolicy::Optional,
                ..Resolution::default()
            },
            building,
            ..Request::default()
        })
    }
}

/// Returns the pins of the build environment of `step`.
fn build(step: &BuildStep) -> Result<Build> {
    let pins = step.requirements.iter().map(|file| {
        let invalid = || {
            format!(
                "`{}` is not the name of a wheel",
                file.filename.escape_debug()
            )
        };
        let wheel = WheelFilename::from_str(&file.filename).context(Kind::Input, invalid)?;
        Ok(Pin {
            requirement: format!("{}=={}", wheel.name, wheel.version),
            hashes: vec![format!("sha256:{}", file.sha256)],
        })
    });
    let mut closure = pins.collect::<Result<Vec<_>>>()?;
    closure.sort();
    Ok(Build {
        name: step.name.clone(),
        version: step.version.clone(),
        requires: step.requires.clone(),
        closure,
        crates: step.crates.iter().map(|one| one.locked.clone()).collect(),
    })
}

/// Returns the name under which the Python of `target` is looked for.
fn python(target: &Target) -> String {
    let minor: Vec<&str> = target.python_version.split('.').take(2).collect();
    let version = minor.join(".");
    let build = if target.free_threaded { "t" } else { "" };
    match target.implementation.as_str() {
        "cpython" => format!("{version}{build}"),
        other => format!("{other}{version}"),
    }
}

/// Checks that this machine builds wheels for `target`: the wheel itself shows whether it needs a newer system.
fn check_host(host: &Target, target: &Target) -> Result<()> {
    let system = |target: &Target| {
        let platform: Option<Platform> = target.platform.parse().ok();
        platform.map(|platform| (std::mem::discriminant(&platform.system), platform.machine))
    };
    if python(host) == python(target) && system(host) == system(target) {
        return Ok(());
    }
    let message = format!(
        "the build step is for {}, and this is {}",
        target.label(),
        host.label()
    );
    Err(Error::new(Kind::Input, message)
        .with_hint("Correct `python` and `platform` of the image in farm.toml."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_must_have_python_and_system_of_the_step() {
        let check =
            |host: &str, target: &str| check_host(&host.parse().unwrap(), &target.parse().unwrap());
        check("3.12.4-manylinux_2_36_x86_64", "3.12-manylinux_2_28_x86_64").unwrap();
        for (host, target) in [
            ("3.11-linux", "3.12-linux"),
            ("3.13-linux", "3.13t-linux"),
            ("3.12-linux", "3.12-linux-arm64"),
            ("3.12-linux", "3.12-alpine"),
        ] {
            let error = check(host, target).unwrap_err();
            assert!(
                error.to_string().contains("the build step is for"),
                "{error}"
            );
        }
    }
}
