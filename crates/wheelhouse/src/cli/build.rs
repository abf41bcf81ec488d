//! The verb `build`.
//!
//! Responsible for making a job of the options, here and for other verbs that build. Never resolves,
//! fetches or builds anything itself.

use clap::ArgMatches;
use wheelhouse_model::Result;

use super::arguments::{Build, Conduct, Globals};
use super::dry_run;
use super::preparation::{Begun, Preparation};
use crate::execute::{self, Job};
use crate::oci::linked::Architectures;

/// Runs the verb.
pub(super) fn run(build: Build, globals: &Globals, matches: &ArgMatches) -> Result<()> {
    let raw = build.raw(globals, matches);
    let (source, conduct) = (build.inputs.source, build.conduct);
    let preparation = Preparation::new(raw, source, globals, conduct.dry_run)?;
    preparation.carry_out(move |preparation| Box::pin(carry_out(preparation, conduct)))
}

/// Builds what was prepared.
pub(super) async fn carry_out(preparation: Preparation, conduct: Conduct) -> Result<()> {
    let (begun, job) = begin(preparation, &conduct).await?;
    if conduct.dry_run {
        let preview = execute::preview(job, begun.observer).await?;
        begun.preparation.renderer.close();
        dry_run::print(&preview, begun.preparation.json);
        return Ok(());
    }
    let report = execute::build(job, begun.observer.clone()).await?;
    begun.finish(&report, conduct.verify).await
}

/// Builds what was prepared as a part of something else, whose end is not told.
pub(super) async fn carry_out_quietly(preparation: Preparation) -> Result<()> {
    let (begun, job) = begin(preparation, &Conduct::default()).await?;
    let built = execute::build(job, begun.observer.clone()).await;
    begun.preparation.renderer.close();
    built.map(drop)
}

/// Makes the request, and a job of it.
async fn begin(preparation: Preparation, conduct: &Conduct) -> Result<(Begun, Job)> {
    let mut begun = preparation.begin(Architectures::Own).await?;
    begun
        .preparation
        .check_scope(
            &begun.scope,
            &begun.request,
            begun.python.as_deref(),
            &begun.opened.store,
        )
        .await?;
    let job = Job {
        python: begun.python.take(),
        request: begun.request.clone(),
        store: begun.opened.store.clone(),
        output: begun.preparation.settings.output.clone(),
        link_mode: conduct.link_mode(),
        reuse: conduct.reuse(),
        keep_going: conduct.keep_going,
    };
    Ok((begun, job))
}
