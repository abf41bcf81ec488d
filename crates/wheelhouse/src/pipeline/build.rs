//! Builds a wheelhouse.
//!
//! 1. [`SetRun`] locks the set of the request and makes its wheels.
//! 2. Each [`AdditionalSet`] does the same with its own lock.
//! 3. The wheels of all sets are published into one directory.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::instrument;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::LinkMode;
use wheelhouse_types::target::Platform;
use wheelhouse_types::{Observer, Phase, Result, Target};

use super::additional_set::{self, AdditionalSet};
use super::attestations::{self, ProvenanceObjects};
use super::context::{RunContext, RunInputs};
use super::platform_fit;
use super::publish::{self, FinishedBuild, ResolvedSet};
use super::published_files::report_published;
use super::report::{Preview, RunReport};
use super::set_run::SetRun;
use super::worker::Prefetch;

/// The request for a wheelhouse.
pub struct BuildJob {
    /// The inputs that all runs share.
    pub inputs: RunInputs,
    /// Sets that are resolved by themselves and published into the same output.
    pub additional_sets: Vec<AdditionalSet>,
    /// The directory for the wheels.
    pub output: PathBuf,
    /// The system that all wheels must fit, which may be older than the host.
    pub platform: Option<Platform>,
    /// Warns of wheels that do not fit common systems.
    pub warn_new_systems: bool,
    /// The way in which files get from the cache into the output.
    pub link_mode: LinkMode,
    /// Fetches the attestations that indexes offer for the wheels.
    pub attestations: bool,
}

/// Builds the wheelhouse of `job`.
///
/// # Errors
/// The first failure; with `keep_going` one error whose detail lists all failures. The output stays as it was.
#[instrument(name = "build", skip_all, fields(output = %job.output.display()))]
pub async fn build(mut job: BuildJob, observer: Arc<dyn Observer>) -> Result<RunReport> {
    let additional_sets = std::mem::take(&mut job.additional_sets);
    let (platform, warn_new_systems, link_mode) =
        (job.platform.clone(), job.warn_new_systems, job.link_mode);
    let attestations = job.attestations;
    let mut run = start(job, observer, Prefetch::WheelsAndBuilds).await?;
    run.warn_unknown_upgrades = additional_sets.is_empty();
    let mut sets = vec![Box::pin(run.run()).await?];
    for set in additional_sets {
        let lock = &sets[0].lock;
        let additional = additional_set::run(set, &mut run, platform.as_ref(), lock);
        sets.extend(Box::pin(additional).await?);
    }
    if platform.is_some() {
        platform_fit::check(&sets, &run.target)?;
    } else if warn_new_systems {
        platform_fit::warn(&sets, &*run.context.observer);
    }
    publish_sets(&run, sets, link_mode, attestations).await
}

/// Plans `job` without executing it; build backends may be asked for metadata.
///
/// # Errors
/// As [`build`].
#[instrument(name = "plan", skip_all)]
pub async fn preview(mut job: BuildJob, observer: Arc<dyn Observer>) -> Result<Preview> {
    let additional_sets = std::mem::take(&mut job.additional_sets);
    let platform = job.platform.clone();
    let mut run = start(job, observer, Prefetch::Nothing).await?;
    run.warn_unknown_upgrades = additional_sets.is_empty();
    let mut preview = Box::pin(run.preview()).await?;
    for set in additional_sets {
        let name = set.name.clone();
        let started = additional_set::start(set, &mut run, platform.as_ref(), &preview.lock);
        if let Some(mut additional) = Box::pin(started).await? {
            let planned = Box::pin(additional.preview()).await?;
            preview.additional_sets.insert(name, planned);
        }
    }
    Ok(preview)
}

async fn start(job: BuildJob, observer: Arc<dyn Observer>, prefetch: Prefetch) -> Result<SetRun> {
    let plan = |host: &Target| {
        let target = platform_fit::target(host, job.platform.as_ref())?;
        Ok((vec![target], job.output))
    };
    let context = Box::pin(RunContext::start(job.inputs, observer, plan)).await?;
    let fingerprint = context.fingerprint(&context.targets[0]);
    Ok(SetRun::new(context, fingerprint, prefetch))
}

/// Publishes `sets`, of which that of the request is the first.
async fn publish_sets(
    run: &SetRun,
    sets: Vec<ResolvedSet>,
    link_mode: LinkMode,
    attestations: bool,
) -> Result<RunReport> {
    let context = &run.context;
    let mut report = publish::report(&sets);
    let attestations = if attestations {
        attestations::fetch(context, publish::attested_files(&sets)).await?
    } else {
        ProvenanceObjects::new()
    };
    let finished = FinishedBuild {
        target: run.target.clone(),
        sets,
        store: context.store.clone(),
        output: context.output.clone(),
        link_mode,
        attestations,
        observer: Arc::clone(&context.observer),
    };
    let publishing = async {
        let published = blocking(move || publish::publish(finished)).await?;
        report_published(&*context.observer, &context.output, &published);
        Ok(published)
    };
    let published = context.during(Phase::Publish, publishing).await?;
    report.foreign = published.foreign;
    report.wheelhouses = vec![context.output.clone()];
    Ok(report)
}
