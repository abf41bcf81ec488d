//! The verb `download`.
//!
//! Responsible for making a job of the options, and for what a dry run prints. Never resolves or
//! fetches anything itself.

use clap::ArgMatches;
use wheelhouse_types::Result;

use crate::cli::args::{Download, Globals};
use crate::cli::commands::dry_run;
use crate::cli::commands::session::Preparation;
use crate::pipeline::Audience;
use crate::pipeline::download::{self, Job};
use wheelhouse_oci::find_links::Architectures;

/// Runs the verb.
pub(crate) fn run(download: Download, globals: &Globals, matches: &ArgMatches) -> Result<()> {
    let raw = download.raw(globals, matches);
    let (source, dry_run) = (download.inputs.source.clone(), download.conduct.dry_run);
    let preparation = Preparation::new(raw, source, globals, dry_run)?;
    preparation.carry_out(move |preparation| Box::pin(carry_out(preparation, download)))
}

async fn carry_out(preparation: Preparation, arguments: Download) -> Result<()> {
    let mut begun = preparation.begin(Architectures::All).await?;
    let (conduct, scope) = (&arguments.conduct, begun.scope.clone());
    let job = Job {
        python: begun.python.take(),
        request: begun.request.clone(),
        store: begun.store.clone(),
        output: begun.preparation.settings.output.clone(),
        link_mode: conduct.link_mode(),
        audience: Audience {
            targets: arguments
                .targets
                .choice(&begun.preparation.settings.targets)?,
            admit: Box::new(move |target| scope.check(target)),
        },
        bootstrap: !arguments.no_bootstrap,
        sources: arguments.sources(),
        reuse: conduct.reuse(),
        keep_going: conduct.keep_going,
        same_versions: arguments.same_versions,
    };
    if conduct.dry_run {
        let previews = download::preview(job, begun.observer).await?;
        begun.preparation.renderer.close();
        dry_run::print_targets(&previews, begun.preparation.json);
        return Ok(());
    }
    let report = download::download(job, begun.observer.clone()).await?;
    begun.finish(&report, conduct.verify).await
}
