//! Plans a download: the files to fetch for a target, or the wheels to build there.

use std::rc::Rc;

use futures::future::try_join_all;
use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::{Action, Error, Lock, Plan, Result, Source, Step, Target};

use super::super::cached_wheels::inventory;
use super::super::worker::LocalWorker;
use super::collect::serves;

/// Returns the files of `lock` that must be downloaded, and the sources that must be built in any case.
pub(super) async fn files(worker: &LocalWorker, lock: &Lock) -> Result<Plan> {
    let steps = lock.packages.iter().map(async |package| {
        let action = match &package.source {
            Source::Wheel(artifact) | Source::Sdist(artifact) => {
                match worker.find(artifact, &package.required_hashes).await? {
                    Some(stored) => Action::Reuse {
                        sha256: stored.sha256,
                        filename: artifact.filename.clone(),
                    },
                    None => Action::Fetch {
                        bytes: artifact.size,
                    },
                }
            }
            Source::Tree { .. } | Source::Git { .. } => Action::Build,
        };
        let package = package.clone();
        Ok::<_, Error>(Step { package, action })
    });
    let steps = try_join_all(steps).await?;
    Ok(Plan { steps })
}

/// Returns the steps to the wheels of `lock`. Whether a machine of the run can build a source for another target is unknown
/// until its wheel shows that it fits every platform.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn wheels(worker: &Rc<LocalWorker>, target: &Target, lock: &Lock) -> Result<Plan> {
    let context = &worker.context;
    if target.interpreter.is_some() {
        return Ok(Plan::new(lock, &inventory(context, lock).await?));
    }
    let mut plan = files(worker, lock).await?;
    let fit = WheelCompatibility::new(target);
    for step in &mut plan.steps {
        let distribution = step.package.distribution();
        if let Source::Wheel(_) = distribution.source {
            continue;
        }
        let mut built = worker.find_built_for(&distribution, target).await?;
        if built.is_none() {
            let here = worker.find_built_for(&distribution, &context.host_target);
            built = here.await?.filter(|built| serves(&built.filename, &fit));
        }
        step.action = built.map_or(Action::Build, |built| Action::Reuse {
            sha256: built.sha256,
            filename: built.filename,
        });
    }
    Ok(plan)
}
