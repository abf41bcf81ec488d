//! The source distributions of a directory: whether each builds from what is there, with no
//! network.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;
use wheelhouse_types::request::{Building, Requirement};
use wheelhouse_types::{Error, Event, Kind, Observer, Request, Result, Target};

use super::super::Progress;
use super::super::inventory::Survey;
use super::super::report::{Check, Examination, Finding, Name};
use super::super::requirements::sdist_name;
use super::super::runner::Verification;
use crate::pipeline::{self, BuildJob, LockPolicy, RunInputs};
use wheelhouse_store::{LinkMode, Store};

/// Builds `sdists` of `survey`, into nothing that stays.
///
/// # Errors
/// When the run is interrupted, or a temporary store cannot be made.
pub(crate) async fn check(
    survey: &Survey,
    sdists: &[&String],
    target: &Target,
    verification: &Verification<'_>,
) -> Result<Check> {
    let mut check = Examination::of(Name::Sources).target(&target.label());
    check.count(sdists.len(), "source distribution");
    let (scratch, building) = (verification.scratch, &verification.building);
    let confinement = building.confinement.as_ref();
    if confinement.is_none_or(|confinement| confinement.launcher.is_empty()) {
        let message = "were not kept from the network: network namespaces are not permitted here";
        check.warn(Finding::new("build hooks", message));
    }
    let store = Store::open(scratch.join("store"))?;
    for (position, sdist) in sdists.iter().enumerate() {
        (verification.job.watch)(Progress::Begins {
            name: Name::Sources,
            about: Some(sdist),
        });
        let request = request(survey, sdist, building)?;
        let output = scratch.join(format!("built-{position}"));
        let job = scratch_build(request, target, store.clone(), output);
        match pipeline::build(job, Arc::new(Nobody)).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let message = format!("does not build: {}", error.sentence());
                let finding = Finding::new(*sdist, message);
                check.fail(finding.detail(error.detail().unwrap_or_default()));
            }
        }
    }
    Ok(check.finish())
}

fn request(survey: &Survey, sdist: &str, building: &Building) -> Result<Request> {
    let path = survey.directory.join(sdist);
    let url = Url::from_file_path(&path).map_err(|()| {
        let message = format!("{} is no usable path", path.display());
        Error::new(Kind::Input, message)
    })?;
    let text = match sdist_name(sdist) {
        Some(name) => format!("{name} @ {url}"),
        None => url.to_string(),
    };
    let mut request = super::super::alone(&survey.directory);
    request.requirements.push(Requirement {
        text,
        origin: survey.directory.display().to_string(),
        base: survey.directory.clone(),
        ..Requirement::default()
    });
    request.resolution.no_dependencies = true;
    request.building = building.clone();
    Ok(request)
}

/// Returns the job of a build whose output is discarded.
pub(crate) fn scratch_build(
    request: Request,
    target: &Target,
    store: Store,
    output: PathBuf,
) -> BuildJob {
    BuildJob {
        inputs: RunInputs {
            request,
            python: target.interpreter.clone(),
            store,
            lock_policy: LockPolicy::Upgrade,
            keep_going: false,
        },
        additional_sets: Vec::new(),
        output,
        platform: None,
        warn_new_systems: false,
        link_mode: LinkMode::Copy,
    }
}

/// Hears what happens and tells nobody.
pub(crate) struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _event: &Event) {}
}
