//! The verb `build`.
//!
//! Responsible for making a job of the options, and for what a dry run prints. Never resolves,
//! fetches or builds anything itself.

use std::sync::Arc;
use std::time::Instant;

use clap::ArgMatches;
use wheelhouse_model::{Observer, Result};

use super::arguments::{Build, Conduct, Globals};
use super::preparation::{Preparation, WithoutEnd};
use super::{dry_run, store, verify};
use crate::config::Joined;
use crate::execute::{self, Job};

/// Runs the verb.
pub(super) fn run(build: Build, globals: &Globals, matches: &ArgMatches) -> Result<()> {
    let raw = build.raw(globals, matches);
    let (source, conduct) = (build.inputs.source, build.conduct);
    let preparation = Preparation::new(raw, source, globals, conduct.dry_run)?;
    preparation.carry_out(move |preparation| Box::pin(carry_out(preparation, conduct)))
}

async fn carry_out(preparation: Preparation, conduct: Conduct) -> Result<()> {
    let started = Instant::now();
    let (preparation, joined, _source) = preparation.request().await?;
    let Joined { request, scope, .. } = joined;
    let observer: Arc<dyn Observer> = preparation.renderer.clone();
    let opened = store::open(preparation.settings.cache.as_deref(), &*observer)?;
    let python = preparation.process.locate_python(request.python.as_deref());
    preparation
        .check_scope(&scope, &request, python.as_deref(), &opened.store)
        .await?;
    let job = Job {
        python,
        request,
        store: opened.store.clone(),
        output: preparation.settings.output.clone(),
        link_mode: conduct.link_mode(),
        reuse: conduct.reuse(),
        keep_going: conduct.keep_going,
    };
    if conduct.dry_run {
        let preview = execute::preview(job, observer).await?;
        preparation.renderer.close();
        dry_run::print(&preview, preparation.json);
        return Ok(());
    }
    let report = execute::build(job, Arc::new(WithoutEnd(observer.clone()))).await?;
    preparation.renderer.close();
    preparation.tell_end(&report, started);
    drop(opened.temporary);
    if conduct.verify {
        let python = preparation.settings.python.clone();
        let (output, quiet) = (&preparation.settings.output, preparation.settings.quiet > 0);
        return verify::after_build(
            &preparation.process,
            output,
            python,
            preparation.json,
            quiet,
        )
        .await;
    }
    Ok(())
}
