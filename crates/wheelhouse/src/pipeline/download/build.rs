//! Builds the sdists of a download: each target then has a wheelhouse of its own.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use futures::future::try_join_all;
use tracing::instrument;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::LinkMode;
use wheelhouse_types::{Error, Lock, Result};

use super::super::attestations;
use super::super::context::RunContext;
use super::super::published_files::report_published;
use super::super::report::RunReport;
use super::super::worker::{LocalWorker, Worker as _};
use super::collect::{CollectedFile, CollectedTarget};
use super::failures::{TargetFailures, for_target};
use super::publish::CollectedSet;

/// Replaces the sdists of `collected` by wheels that are built from them: those for this machine as every build of the run, and
/// those for other targets on the farm.
///
/// # Errors
/// When a wheel cannot be built; with `keep_going` one error that lists all failures.
#[instrument(name = "build sdists", skip_all)]
pub(super) async fn build_all(
    worker: &Rc<LocalWorker>,
    collected: Vec<CollectedTarget>,
    failures: &TargetFailures,
) -> Result<Vec<CollectedTarget>> {
    let context = &worker.context;
    let building = collected.into_iter().map(|target| async move {
        let label = target.target.clone();
        let built = build_target(worker, target).await;
        built.map_err(|error| for_target(context, &label, error))
    });
    let built = failures.run_all(context, building).await?;
    failures.check(context)?;
    Ok(built)
}

/// Returns `collected` with the wheels of its lock only.
async fn build_target(
    worker: &Rc<LocalWorker>,
    collected: CollectedTarget,
) -> Result<CollectedTarget> {
    let target = &collected.target;
    let files = collected.files.iter().filter(|file| file.is_locked);
    let wheels = files.map(async |file| {
        if file.is_wheel() {
            return Ok(file.clone());
        }
        let distribution = &file.distribution;
        let wheel = match target.interpreter {
            Some(_) => worker.make(distribution).await?,
            None => worker.make_for(distribution, target, None).await?,
        };
        Ok::<_, Error>(CollectedFile {
            distribution: distribution.clone(),
            filename: wheel.filename,
            stored: wheel.stored,
            outcome: wheel.outcome,
            built: wheel.built,
            sdist: wheel.sdist,
            is_locked: true,
        })
    });
    let files = try_join_all(wheels.collect::<Vec<_>>()).await?;
    Ok(CollectedTarget {
        files,
        crates: Vec::new(),
        lock: Lock {
            builds: Vec::new(),
            ..collected.lock
        },
        ..collected
    })
}

/// Publishes a wheelhouse for each target into a directory with its name, below the output of the run.
///
/// # Errors
/// When a wheel cannot be read, or a directory cannot be written.
pub(super) async fn publish_each(
    worker: &LocalWorker,
    collected: Vec<CollectedTarget>,
    link_mode: LinkMode,
    has_attestations: bool,
) -> Result<RunReport> {
    let context = &worker.context;
    let mut sum = RunReport::default();
    for target in collected {
        let output = context.output.join(&target.name);
        let mut set = CollectedSet::new(&context.request, vec![target])?;
        if has_attestations {
            set.attestations = attestations::fetch(context, set.attested_files()).await?;
        }
        let report = set.report();
        let foreign = publish_one(context, set, &output, link_mode).await?;
        sum = RunReport {
            fetched: sum.fetched + report.fetched,
            built: sum.built + report.built,
            reused: sum.reused + report.reused,
            copied: sum.copied + report.copied,
            bytes: sum.bytes + report.bytes,
            foreign: [sum.foreign, foreign].concat(),
            wheelhouses: [sum.wheelhouses, vec![output]].concat(),
            ..sum
        };
    }
    sum.bytes_fetched = worker.bytes_fetched();
    sum.time_fetching = worker.time_fetching();
    Ok(sum)
}

async fn publish_one(
    context: &RunContext,
    set: CollectedSet,
    output: &Path,
    link_mode: LinkMode,
) -> Result<Vec<String>> {
    let (store, directory) = (context.store.clone(), output.to_owned());
    let published = blocking(move || set.publish(&store, &directory, link_mode)).await?;
    report_published(&*Arc::clone(&context.observer), output, &published);
    Ok(published.foreign)
}
