//! Runs a download: resolve all targets, collect their files, publish the directory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tracing::instrument;
use wheelhouse_engine::BuildRequirements;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::LinkMode;
use wheelhouse_types::{Event, Observer, Phase, Result, Target};

use super::super::attestations;
use super::super::check_metadata::{self, SetMember};
use super::super::context::{RunContext, RunInputs};
use super::super::published_files::report_published;
use super::super::report::{Preview, RunReport};
use super::super::target_selection::TargetSelection;
use super::super::wheel_metadata::CoreMetadata;
use super::super::worker::{LocalWorker, Prefetch};
use super::collect::{CollectedTarget, Collector};
use super::failures::{TargetFailures, for_target};
use super::publish::CollectedSet;
use super::resolve::{Resolver, SdistSelection, TargetResolution};
use super::{build, plan};

/// The request for a download.
pub struct DownloadJob {
    /// The inputs that all runs share.
    pub inputs: RunInputs,
    /// The directory for the files.
    pub output: PathBuf,
    /// The way in which files get from the cache into the output.
    pub link_mode: LinkMode,
    /// The targets.
    pub targets: TargetSelection,
    /// Adds the newest pip, setuptools and wheel for each target.
    pub bootstrap: bool,
    /// The source distributions to download.
    pub sdists: SdistSelection,
    /// Requires the same version of a package for all targets.
    pub same_versions: bool,
    /// Fetches the attestations that indexes offer for the files.
    pub attestations: bool,
    /// Builds the sdists, and publishes a wheelhouse for each target.
    pub build: bool,
}

/// The packages with which every new environment starts.
const BOOTSTRAP: [&str; 3] = ["pip", "setuptools", "wheel"];

/// Downloads the files of `job` into its output.
///
/// # Errors
/// The first failure; with `keep_going` one error whose detail lists all failures. The output stays as it was.
#[instrument(name = "download", skip_all, fields(output = %job.output.display()))]
pub async fn download(job: DownloadJob, observer: Arc<dyn Observer>) -> Result<RunReport> {
    let (bootstrap, link_mode, attestations) = (job.bootstrap, job.link_mode, job.attestations);
    let is_built = job.build;
    let (context, resolver, failures) = start(job, observer, Prefetch::Wheels).await?;
    let resolutions = context
        .during(Phase::Resolve, resolver.resolve(&failures))
        .await?;
    let worker = &resolver.worker;
    let collecting = collect(worker, resolutions, bootstrap, &failures);
    let making = async {
        let collected = collecting.await?;
        if is_built {
            build::build_all(worker, collected, &failures).await
        } else {
            Ok(collected)
        }
    };
    let collected = context.during(Phase::Execute, making).await?;
    if is_built {
        let publishing = build::publish_each(worker, collected, link_mode, attestations);
        return context.during(Phase::Publish, publishing).await;
    }
    let publishing = publish(worker, collected, link_mode, attestations);
    context.during(Phase::Publish, publishing).await
}

/// Plans `job`: returns the files to download for each target, and the sdists among them or the wheels to build. Build
/// requirements are unknown until the sdists are downloaded.
///
/// # Errors
/// As [`download`].
#[instrument(name = "plan", skip_all)]
pub async fn preview(
    job: DownloadJob,
    observer: Arc<dyn Observer>,
) -> Result<Vec<(Target, Preview)>> {
    let is_built = job.build;
    let (context, resolver, failures) = start(job, observer, Prefetch::Nothing).await?;
    let resolutions = context
        .during(Phase::Resolve, resolver.resolve(&failures))
        .await?;
    let mut previews = Vec::new();
    for resolution in resolutions {
        let (worker, lock) = (&resolver.worker, &resolution.lock);
        let plan = if is_built {
            plan::wheels(worker, &resolution.target, lock).await?
        } else {
            plan::files(worker, lock).await?
        };
        let preview = Preview {
            plan,
            lock: resolution.lock,
            additional_sets: BTreeMap::new(),
        };
        previews.push((resolution.target, preview));
    }
    failures.check(&context)?;
    Ok(previews)
}

async fn start(
    job: DownloadJob,
    observer: Arc<dyn Observer>,
    prefetch: Prefetch,
) -> Result<(Rc<RunContext>, Resolver, TargetFailures)> {
    let context = RunContext::start(job.inputs, observer, |host| {
        Ok((job.targets.resolve(host)?, job.output))
    })
    .await?;
    let context = Rc::new(context);
    let resolver = Resolver {
        worker: LocalWorker::start(Rc::clone(&context), prefetch).await?,
        sdists: job.sdists,
        same_versions: job.same_versions,
    };
    Ok((context, resolver, TargetFailures::default()))
}

/// Collects the files of all targets.
async fn collect(
    worker: &Rc<LocalWorker>,
    resolutions: Vec<TargetResolution>,
    bootstrap: bool,
    failures: &TargetFailures,
) -> Result<Vec<CollectedTarget>> {
    let context = &worker.context;
    let packages: &[&str] = if bootstrap { &BOOTSTRAP } else { &[] };
    let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
    let bootstrap = &BuildRequirements::parse(&packages)?;
    // Targets share most warnings.
    let warnings = &RefCell::default();
    let collecting = resolutions.into_iter().map(|resolution| async move {
        let collecting = async {
            let collector = Collector::new(worker, &resolution);
            let collected = collector.collect(bootstrap).await?;
            check_metadata(context, &collected, resolution.is_kept, warnings)?;
            context.observer.observe(&collected.event());
            Ok(collected)
        };
        let collected = collecting.await;
        collected.map_err(|error| for_target(context, &resolution.target, error))
    });
    let collected = failures.run_all(context, collecting).await?;
    failures.check(context)?;
    Ok(collected)
}

/// Checks the metadata of the wheels of a target against its lock. `warnings` has those of other targets.
fn check_metadata(
    context: &RunContext,
    collected: &CollectedTarget,
    is_kept: bool,
    warnings: &RefCell<BTreeSet<String>>,
) -> Result<()> {
    let locked = || collected.files.iter().filter(|file| file.is_locked);
    let metadata = locked().map(|file| {
        // Sdists have no reliable metadata.
        let read = || CoreMetadata::read(&context.store, &file.stored, &file.filename);
        file.is_wheel().then(read).transpose()
    });
    let metadata: Vec<_> = metadata.collect::<Result<_>>()?;
    let members = locked().zip(&metadata).filter_map(|(file, metadata)| {
        Some(SetMember {
            name: &file.distribution.name,
            version: file.distribution.version.as_ref()?,
            metadata: metadata.as_ref().map(|metadata| &metadata.bytes[..]),
        })
    });
    let members: Vec<_> = members.collect();
    for message in check_metadata::pip_incompatibilities(&collected.target, &members) {
        if warnings.borrow_mut().insert(message.clone()) {
            context.observer.observe(&Event::warning(message));
        }
    }
    check_metadata::check(&context.request, &collected.target, &members, is_kept)
}

async fn publish(
    worker: &LocalWorker,
    collected: Vec<CollectedTarget>,
    link_mode: LinkMode,
    attestations: bool,
) -> Result<RunReport> {
    let context = &worker.context;
    let mut download = CollectedSet::new(&context.request, collected)?;
    if attestations {
        download.attestations = attestations::fetch(context, download.attested_files()).await?;
    }
    let mut report = download.report();
    report.bytes_fetched = worker.bytes_fetched();
    let (store, output) = (context.store.clone(), context.output.clone());
    let published = blocking(move || download.publish(&store, &output, link_mode)).await?;
    report_published(&*context.observer, &context.output, &published);
    report.foreign = published.foreign;
    report.wheelhouses = vec![context.output.clone()];
    Ok(report)
}
