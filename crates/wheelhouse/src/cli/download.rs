//! The verb `download`.
//!
//! Responsible for making a job of the options. Never resolves or fetches anything itself.

use std::sync::Arc;
use std::time::Instant;

use clap::ArgMatches;
use wheelhouse_model::{Observer, Result};

use super::arguments::{Download, Globals};
use super::preparation::{Preparation, WithoutEnd};
use super::{store, verify};
use crate::config::Joined;
use crate::execute::download::{self, Job};

/// Runs the verb.
pub(super) fn run(download: Download, globals: &Globals, matches: &ArgMatches) -> Result<()> {
    let raw = download.raw(globals, matches);
    let preparation = Preparation::new(raw, download.inputs.source.clone(), globals, false)?;
    preparation.carry_out(move |preparation| Box::pin(carry_out(preparation, download)))
}

async fn carry_out(preparation: Preparation, arguments: Download) -> Result<()> {
    let started = Instant::now();
    let (preparation, joined, _source) = preparation.request().await?;
    let Joined { request, scope, .. } = joined;
    let observer: Arc<dyn Observer> = preparation.renderer.clone();
    let opened = store::open(preparation.settings.cache.as_deref(), &*observer)?;
    let python = preparation.process.locate_python(request.python.as_deref());
    let job = Job {
        python,
        request,
        store: opened.store.clone(),
        output: preparation.settings.output.clone(),
        link_mode: arguments.link_mode(),
        targets: arguments.targets.choice()?,
        admit: Box::new(move |target| scope.check(target)),
        bootstrap: !arguments.no_bootstrap,
        sources: arguments.sources(),
    };
    let report = download::download(job, Arc::new(WithoutEnd(observer.clone()))).await?;
    preparation.renderer.close();
    preparation.tell_end(&report, started);
    drop(opened.temporary);
    if arguments.verify {
        let (process, settings) = (&preparation.process, &preparation.settings);
        let (output, python, quiet) = (
            &settings.output,
            settings.python.clone(),
            settings.quiet > 0,
        );
        return verify::after_build(process, output, python, preparation.json, quiet).await;
    }
    Ok(())
}
